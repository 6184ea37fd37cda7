#include <time.h>

#include "tools/render.h"

const char *render_str(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

int64_t render_num(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Marks that hide or turn around what stands beside them. */
static bool is_deceiving(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || c == 0x061c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* One character of well-formed UTF-8; jansson lets nothing else through. */
static uint32_t character(const char **at)
{
    const uint8_t *p = (const uint8_t *)*at;
    unsigned more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : 0;
    uint32_t c = more == 0 ? p[0] : p[0] & (0x3fu >> more);

    for (unsigned i = 1; i <= more; i++)
        c = c << 6 | (p[i] & 0x3f);
    *at += more + 1;
    return c;
}

void render_text(FILE *out, const char *text)
{
    while (*text != 0) {
        const char *from = text;
        uint32_t c = character(&text);

        if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else if (is_deceiving(c))
            fprintf(out, "\\u{%04x}", c);
        else
            fwrite(from, 1, (size_t)(text - from), out);
    }
}

void render_span(FILE *out, int64_t seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 60)
        fprintf(out, "%ds", (int)seconds);
    else if (seconds < 3600)
        fprintf(out, "%dm", (int)(seconds / 60));
    else if (seconds < 86400)
        fprintf(out, "%dh%02dm", (int)(seconds / 3600), (int)(seconds / 60 % 60));
    else
        fprintf(out, "%" PRId64 "d%02dh", seconds / 86400, (int)(seconds / 3600 % 24));
}

void render_size(FILE *out, int64_t octets)
{
    static const char units[] = "KMGT";
    double value = (double)octets;
    size_t unit = 0;

    if (octets < 1024) {
        fprintf(out, "%" PRId64, octets);
        return;
    }
    for (value /= 1024; value >= 1024 && unit < 3; unit++)
        value /= 1024;
    fprintf(out, value < 100 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

static void text_column(FILE *out, const char *text, size_t width)
{
    render_text(out, text);
    for (size_t n = strlen(text); n < width; n++)
        fputc(' ', out);
}

/* Right-aligned in `width`. */
static void size_column(FILE *out, int64_t octets, int width)
{
    char text[32] = "";
    FILE *into = fmemopen(text, sizeof text, "w");

    if (into != NULL) {
        render_size(into, octets);
        fclose(into);
    }
    fprintf(out, "%*s", width, text);
}

static void span_column(FILE *out, int64_t seconds, int width)
{
    char text[32] = "";
    FILE *into = fmemopen(text, sizeof text, "w");

    if (into != NULL) {
        render_span(into, seconds);
        fclose(into);
    }
    fprintf(out, "%*s", width, text);
}

void render_date(FILE *out, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[64] = "?";

    if (localtime_r(&t, &tm) != NULL)
        strftime(text, sizeof text, "%a %b %e %H:%M:%S", &tm);
    fputs(text, out);
}

static void sender_put(FILE *out, const json_t *message)
{
    const char *from = render_str(message, "from");

    if (from[0] == 0)
        fputs("MAILER-DAEMON", out);
    else
        render_text(out, from);
}

/* When a recipient moves next, in words. */
static void next_put(FILE *out, const json_t *rcpt, int64_t now)
{
    const char *state = render_str(rcpt, "state");
    int64_t attempts = render_num(rcpt, "attempts");

    if (strcmp(state, "active") == 0) {
        fputs("being delivered now", out);
    } else if (strcmp(state, "held") == 0) {
        fputs("held", out);
    } else if (strcmp(state, "due") == 0) {
        fputs("due now", out);
    } else {
        fputs("next try in ", out);
        render_span(out, render_num(rcpt, "next_try") - now);
    }
    if (attempts > 0)
        fprintf(out, ", tried %" PRId64 " time%s", attempts, attempts == 1 ? "" : "s");
}

/* The flag of the traditional listing: * being delivered, ! held. */
static char message_flag(const json_t *message)
{
    const json_t *rcpts = json_object_get(message, "recipients");
    bool all_held = json_array_size(rcpts) > 0;

    for (size_t i = 0; i < json_array_size(rcpts); i++) {
        const char *state = render_str(json_array_get(rcpts, i), "state");

        if (strcmp(state, "active") == 0)
            return '*';
        all_held = all_held && strcmp(state, "held") == 0;
    }
    return all_held ? '!' : ' ';
}

void render_mailq_heading(FILE *out)
{
    fputs("-Queue ID------ --Size-- ----Arrival Time--- -Sender/Recipient-------\n", out);
}

void render_mailq(FILE *out, const json_t *message, int64_t now)
{
    const json_t *rcpts = json_object_get(message, "recipients");
    const char *before = "";

    text_column(out, render_str(message, "id"), 13);
    fprintf(out, "%c %9" PRId64 " ", message_flag(message), render_num(message, "size"));
    render_date(out, render_num(message, "arrival"));
    fputc(' ', out);
    sender_put(out, message);
    fputc('\n', out);
    for (size_t i = 0; i < json_array_size(rcpts); i++) {
        const json_t *rcpt = json_array_get(rcpts, i);
        const char *reply = render_str(rcpt, "reply");

        if (reply[0] != 0 && strcmp(reply, before) != 0) { /* one reason often holds for many recipients */
            fputs("                (", out);
            render_text(out, reply);
            fputs(")\n", out);
        }
        before = reply;
        fprintf(out, "%45s", "");
        render_text(out, render_str(rcpt, "to"));
        fputs("  (", out);
        next_put(out, rcpt, now);
        fputs(")\n", out);
    }
    fputc('\n', out);
}

void render_message(FILE *out, const json_t *message, int64_t now)
{
    const json_t *rcpts = json_object_get(message, "recipients");

    text_column(out, render_str(message, "id"), 14);
    span_column(out, now - render_num(message, "arrival"), 7);
    fputc(' ', out);
    size_column(out, render_num(message, "size"), 7);
    fputs("  from ", out);
    sender_put(out, message);
    fputc('\n', out);
    for (size_t i = 0; i < json_array_size(rcpts); i++) {
        const json_t *rcpt = json_array_get(rcpts, i);

        fputs("    ", out);
        text_column(out, render_str(rcpt, "state"), 8);
        fputs(" to ", out);
        render_text(out, render_str(rcpt, "to"));
        fputs("  (", out);
        next_put(out, rcpt, now);
        fputs(", ", out);
        render_text(out, render_str(rcpt, "lane"));
        fputs(")\n", out);
        if (render_str(rcpt, "reply")[0] != 0) {
            fputs("             ", out);
            render_text(out, render_str(rcpt, "reply"));
            fputc('\n', out);
        }
    }
}

static void field_put(FILE *out, const json_t *object, const char *key, const char *label)
{
    const char *text = render_str(object, key);

    if (text[0] == 0)
        return;
    fprintf(out, "%-12s ", label);
    render_text(out, text);
    fputc('\n', out);
}

static void history_put(FILE *out, const json_t *history)
{
    static const char *const details[][2] = {
        {"host", " at "}, {"address", " ["}, {"tls", " over "}, {"reply", ": "}, {"caused", ", which caused "}};

    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *row = json_array_get(history, i);

        fputs("  ", out);
        render_date(out, render_num(row, "at"));
        fputs("  ", out);
        text_column(out, render_str(row, "event"), 10);
        render_text(out, render_str(row, "to"));
        for (size_t d = 0; d < COUNT_OF(details); d++) {
            if (render_str(row, details[d][0])[0] == 0)
                continue;
            fputs(details[d][1], out);
            render_text(out, render_str(row, details[d][0]));
            if (details[d][1][1] == '[')
                fputc(']', out);
        }
        fputc('\n', out);
    }
}

void render_show(FILE *out, const json_t *message, int64_t now)
{
    static const char *const fields[][2] = {{"client", "client"}, {"helo", "helo"}, {"login", "login"},
        {"origin", "came by"}, {"message_id", "Message-ID"}, {"subject", "Subject"}, {"body", "body"},
        {"envid", "ENVID"}, {"ret", "RET"}};
    const json_t *history = json_object_get(message, "history");

    if (!json_is_true(json_object_get(message, "queued"))) {
        render_text(out, render_str(message, "id"));
        fputs(" is no longer in the queue; its history:\n", out);
        history_put(out, history);
        return;
    }
    render_message(out, message, now);
    fputc('\n', out);
    fprintf(out, "%-12s ", "arrived");
    render_date(out, render_num(message, "arrival"));
    fputc('\n', out);
    if (json_is_true(json_object_get(message, "held")))
        fprintf(out, "%-12s yes, until queuectl release\n", "held");
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        field_put(out, message, fields[i][0], fields[i][1]);
    if (json_array_size(history) > 0)
        fputs("history\n", out);
    history_put(out, history);
}

void render_stats(FILE *out, const json_t *stats)
{
    static const char *const counts[][2] = {{"messages", "messages in the queue"},
        {"recipients", "recipients in the queue"}, {"waiting", "  of them scheduled"}, {"held", "  of them held"},
        {"in_flight", "jobs being delivered"}, {"lanes", "lanes with a remembered state"},
        {"history", "attempts in the history"}, {"quarantine", "damaged rows in quarantine"}};

    for (size_t i = 0; i < COUNT_OF(counts); i++)
        fprintf(out, "%12" PRId64 "  %s\n", render_num(stats, counts[i][0]), counts[i][1]);
    size_column(out, render_num(stats, "used_size"), 12);
    fputs("  of the database in use\n", out);
    size_column(out, render_num(stats, "map_size"), 12);
    fputs("  reserved for it so far\n", out);
    if (!json_is_true(json_object_get(stats, "running")))
        fputs("the daemon is not running; this was read from the queue itself\n", out);
}

void render_lane_heading(FILE *out)
{
    fputs("state       flying slots  next in    in/s   out/s  lane\n", out);
}

void render_lane(FILE *out, const json_t *lane, int64_t now)
{
    int64_t next = render_num(lane, "next"), until = render_num(lane, "backoff_until");

    text_column(out, render_str(lane, "state"), 12);
    fprintf(out, "%6" PRId64 " %5" PRId64 " ", render_num(lane, "in_flight"), render_num(lane, "slots"));
    if (until > next)
        next = until;
    if (next > 0)
        span_column(out, next - now, 8);
    else
        fprintf(out, "%8s", "-");
    if (json_is_number(json_object_get(lane, "in_1m")))
        fprintf(out, "%8.1f%8.1f", json_number_value(json_object_get(lane, "in_1m")),
            json_number_value(json_object_get(lane, "out_1m")));
    else
        fprintf(out, "%8s%8s", "-", "-");
    fputs("  ", out);
    render_text(out, render_str(lane, "lane"));
    if (render_str(lane, "last_error")[0] != 0) {
        fprintf(out, "\n            %" PRId64 " failures in a row: ", render_num(lane, "failures"));
        render_text(out, render_str(lane, "last_error"));
    }
    fputc('\n', out);
}

/* ", label value" where there is one. */
static void detail_put(FILE *out, const json_t *object, const char *key, const char *label)
{
    if (render_str(object, key)[0] == 0)
        return;
    fprintf(out, ", %s ", label);
    render_text(out, render_str(object, key));
}

/* Of whose expansion a recipient is a child: by the history. */
static void parent_put(FILE *out, const json_t *rcpt, const json_t *history)
{
    const json_t *parent = json_object_get(rcpt, "parent");

    for (size_t i = 0; parent != NULL && i < json_array_size(history); i++) {
        const json_t *row = json_array_get(history, i);

        if (strcmp(render_str(row, "event"), "expanded") != 0 || render_num(row, "n") != json_integer_value(parent))
            continue;
        fputs(", expanded from ", out);
        render_text(out, render_str(row, "to"));
        return;
    }
}

void render_trace(FILE *out, const json_t *message, int64_t now)
{
    const json_t *rcpts = json_object_get(message, "recipients"), *history = json_object_get(message, "history");
    bool queued = json_is_true(json_object_get(message, "queued"));
    const json_t *known = queued ? message : json_array_get(history, 0);

    render_text(out, render_str(message, "id"));
    fputs(" from ", out);
    sender_put(out, known);
    fputc(' ', out);
    render_text(out, render_str(known, "message_id"));
    fputc('\n', out);
    if (queued) {
        fputs("  ", out);
        render_date(out, render_num(message, "arrival"));
        fputs("  arrived   by ", out);
        render_text(out, render_str(message, "origin"));
        fputs(" from ", out);
        render_text(out, render_str(message, "client"));
        detail_put(out, message, "helo", "who said");
        detail_put(out, message, "login", "login");
        detail_put(out, message, "subject", "Subject:");
        fputc('\n', out);
    }
    history_put(out, history);
    for (size_t i = 0; i < json_array_size(rcpts); i++) {
        const json_t *rcpt = json_array_get(rcpts, i);

        fputs("  now                  waits     ", out);
        render_text(out, render_str(rcpt, "to"));
        fputs(" (", out);
        next_put(out, rcpt, now);
        parent_put(out, rcpt, history);
        fputs(")\n", out);
    }
}
