/* explain: why a message is still here, in sentences; trace: its whole life. Both are made of what `show` and `lanes` say and
 * of the configuration, so they work on a stopped queue as well. */
#include <stdio.h>
#include <time.h>

#include "tools/ask.h"
#include "tools/query.h"
#include "tools/render.h"

enum { IDS_TRACED_MAX = 1000 };

/* --- sentences --- */

struct sentence {
    char *text;
    size_t size;
    FILE *out;
};

static FILE *sentence_begin(struct sentence *s)
{
    s->out = open_memstream(&s->text, &s->size);
    ASSERT(s->out != NULL);
    return s->out;
}

static void sentence_end(struct sentence *s, json_t *list)
{
    fclose(s->out);
    json_array_append_new(list, json_string(s->text));
    free(s->text);
}

static void when_put(FILE *out, int64_t at, int64_t now)
{
    render_date(out, at);
    fputs(at >= now ? " (in " : " (", out);
    render_span(out, at >= now ? at - now : now - at);
    fputs(at >= now ? ")" : " ago)", out);
}

static void lane_say(FILE *out, const json_t *lane, int64_t now)
{
    if (strcmp(render_str(lane, "state"), "suspended") == 0) {
        fprintf(out, " Its next hop %s is suspended by the postmaster until `queuectl lanes resume %s`.",
            render_str(lane, "lane"), render_str(lane, "lane"));
    } else if (strcmp(render_str(lane, "state"), "backing-off") == 0) {
        fprintf(out,
            " Its next hop %s as a whole does not answer: after %" PRId64 " failures in a row it is probed again ",
            render_str(lane, "lane"), render_num(lane, "failures"));
        when_put(out, render_num(lane, "backoff_until"), now);
        fprintf(out, "; the last error was: %s.", render_str(lane, "last_error"));
    } else {
        fprintf(out, " Of its next hop %s %" PRId64 " of at most %" PRId64 " connections are busy.",
            render_str(lane, "lane"), render_num(lane, "in_flight"), render_num(lane, "slots"));
    }
}

static void deferred_say(FILE *out, const struct tool *t, const json_t *rcpt, const json_t *lane, int64_t now)
{
    int64_t attempts = render_num(rcpt, "attempts"), next = render_num(rcpt, "next_try");

    if (attempts > 0)
        fprintf(out, "tried %" PRId64 " time%s; the last answer%s%s was: %s. ", attempts, attempts == 1 ? "" : "s",
            render_str(rcpt, "host")[0] != 0 ? " of " : "", render_str(rcpt, "host"),
            render_str(rcpt, "reply")[0] != 0 ? render_str(rcpt, "reply") : "none");
    fputs("It is tried next ", out);
    when_put(out, next, now);
    if (render_num(lane, "backoff_until") >= next && render_num(lane, "backoff_until") > now) {
        fputs(", when its next hop is probed.", out);
    } else if (attempts > 0) {
        fprintf(out, ": the plan has ");
        render_span(out, retry_step_ms(&t->cfg->retry, (uint32_t)attempts) / 1000);
        fprintf(out, " behind attempt %" PRId64 ", spread by %u %%.", attempts, t->cfg->retry.jitter_percent);
    } else {
        fputc('.', out);
    }
}

/* The addresses on the envelope that are others than the sender wrote. */
static void names_say(FILE *out, const json_t *rcpt)
{
    const char *orcpt = render_str(rcpt, "orcpt"), *sender = render_str(rcpt, "sender");

    if (strncasecmp(orcpt, "rfc822;", 7) == 0 && strcasecmp(orcpt + 7, render_str(rcpt, "to")) != 0)
        fprintf(out, " The mail was sent to %s.", orcpt + 7);
    if (sender[0] != 0)
        fprintf(out, " It goes out in the name of %s.", sender);
}

static void recipient_say(
    const struct tool *t, const json_t *message, const json_t *rcpt, const json_t *lane, int64_t now, json_t *list)
{
    const char *state = render_str(rcpt, "state"), *id = render_str(message, "id");
    struct sentence s;
    FILE *out = sentence_begin(&s);

    fprintf(out, "%s: ", render_str(rcpt, "to"));
    if (strcmp(state, "active") == 0) {
        fprintf(out, "being delivered right now, attempt %" PRId64 ".", render_num(rcpt, "attempts") + 1);
    } else if (strcmp(state, "held") == 0) {
        fprintf(out, "held until `queuectl release %s`.", id);
    } else if (strcmp(state, "leaving") == 0) {
        bool bounce = strcmp(render_str(rcpt, "leaving"), "bounce") == 0;
        fprintf(out, "%s by the postmaster; that happens ", bounce ? "bounced" : "deleted");
        when_put(out, render_num(rcpt, "next_try"), now);
        fprintf(out, "; until then `queuectl undo %s` takes it back.", id);
    } else if (strcmp(state, "due") == 0) {
        fputs("its time has come; it waits for a free connection.", out);
        if (lane != NULL)
            lane_say(out, lane, now);
    } else {
        deferred_say(out, t, rcpt, lane, now);
        if (lane != NULL && strcmp(render_str(lane, "state"), "waiting") != 0)
            lane_say(out, lane, now);
    }
    names_say(out, rcpt);
    sentence_end(&s, list);
}

/* The first of its recipients to be given up, each by its route. */
static int64_t give_up_ms(const struct tool *t, const json_t *message)
{
    const json_t *rcpts = json_object_get(message, "recipients");
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < json_array_size(rcpts); i++) {
        uint8_t room[LANE_NAME_SIZE_MAX];
        struct buf lane = BUF(room);
        struct route_choice choice;
        struct result r = route_choose_for(&t->cfg->routes, bytes_of(render_str(json_array_get(rcpts, i), "to")),
            bytes_of(render_str(message, "from")), &lane, &choice);
        int64_t own = is_ok(r) && choice.route != NULL ? choice.route->give_up_after_ms : 0;

        if (own > 0 && own < least)
            least = own;
        else if (own == 0 && t->cfg->retry.give_up_after_ms < least)
            least = t->cfg->retry.give_up_after_ms;
    }
    return least == INT64_MAX ? t->cfg->retry.give_up_after_ms : least;
}

static void deadlines_say(const struct tool *t, const json_t *message, int64_t now, json_t *list)
{
    int64_t arrival = render_num(message, "arrival"), warn = arrival + t->cfg->retry.warn_after_ms / 1000,
            end = arrival + give_up_ms(t, message) / 1000;
    struct sentence s;
    FILE *out = sentence_begin(&s);

    fputs("It arrived ", out);
    when_put(out, arrival, now);
    if (render_str(message, "from")[0] == 0) {
        fputs(". It is a notification itself, so nobody is warned; it is given up ", out);
    } else if (t->cfg->retry.warn_after_ms > 0) {
        fputs(warn > now ? ". Its sender is warned of the delay " : ". Its sender's warning was due ", out);
        when_put(out, warn, now);
        fputs(" and told of the failure ", out);
    } else {
        fputs(". Its sender is told of the failure ", out);
    }
    when_put(out, end, now);
    fprintf(out, ". To try it now: queuectl retry %s", render_str(message, "id"));
    sentence_end(&s, list);
}

static void gone_say(const json_t *message, json_t *list)
{
    const json_t *history = json_object_get(message, "history");
    struct sentence s;
    FILE *out = sentence_begin(&s);

    fputs("It is no longer in the queue. What became of it:", out);
    sentence_end(&s, list);
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *row = json_array_get(history, i);

        if (strcmp(render_str(row, "event"), "deferred") == 0)
            continue;
        out = sentence_begin(&s);
        fprintf(out, "%s: %s ", render_str(row, "to"), render_str(row, "event"));
        render_date(out, render_num(row, "at"));
        if (render_str(row, "host")[0] != 0)
            fprintf(out, " at %s", render_str(row, "host"));
        if (render_str(row, "reply")[0] != 0)
            fprintf(out, ": %s", render_str(row, "reply"));
        sentence_end(&s, list);
    }
}

static void keep_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)index;
    json_array_append(context, (json_t *)(uintptr_t)line);
}

static json_t *request_of(const char *verb, const char *key, const char *value)
{
    return json_pack("{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", verb, key, value);
}

/* The lane's own line, from those already asked for or from the desk. */
static const json_t *lane_of(const struct tool *t, json_t *lanes, const char *name)
{
    json_t *end;

    for (size_t i = 0; i < json_array_size(lanes); i++)
        if (strcmp(render_str(json_array_get(lanes, i), "lane"), name) == 0)
            return json_array_get(lanes, i);
    (void)tool_ask_quietly(t, request_of("lanes", "lane", name), keep_line, lanes, &end);
    json_decref(end);
    for (size_t i = 0; i < json_array_size(lanes); i++)
        if (strcmp(render_str(json_array_get(lanes, i), "lane"), name) == 0)
            return json_array_get(lanes, i);
    return NULL;
}

/* What was said in the last attempt that kept its words; empty: none did. */
static const char *transcript_of(const json_t *message)
{
    const json_t *history = json_object_get(message, "history");

    for (size_t i = json_array_size(history); i > 0; i--) {
        const char *text = render_str(json_array_get(history, i - 1), "transcript");

        if (text[0] != 0)
            return text;
    }
    return "";
}

/* Behind the line. */
static const char *line_end(const char *text)
{
    size_t size = strcspn(text, "\n");

    return text + size + (text[size] == '\n');
}

/* Lines before the dialogue: DNS answers with the MX candidates, and hosts dialed (outbound/findings.h). */
static bool is_finding(const char *text)
{
    return strncmp(text, "dns ", 4) == 0 || strncmp(text, "dial ", 5) == 0;
}

static json_t *findings_of(const json_t *message)
{
    json_t *list = json_array();

    for (const char *text = transcript_of(message); is_finding(text); text = line_end(text))
        json_array_append_new(list, json_stringn(text, strcspn(text, "\n")));
    return list;
}

static void lines_print(const char *heading, const char *from, const char *end)
{
    if (from != end)
        puts(heading);
    for (; from < end; from = line_end(from)) {
        char line[1024];

        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(from, "\n"), from);
        fputs("    ", stdout);
        render_text(stdout, line);
        putchar('\n');
    }
}

static void dialogue_print(const json_t *message)
{
    const char *text = transcript_of(message), *dialogue = text;

    while (is_finding(dialogue))
        dialogue = line_end(dialogue);
    lines_print("What the DNS said in the last attempt, and whom it dialed:", text, dialogue);
    lines_print("The last dialogue:", dialogue, dialogue + strlen(dialogue));
}

static void explain_print(const json_t *message, const json_t *list)
{
    printf("%s from ", render_str(message, "id"));
    render_text(stdout, render_str(message, "from")[0] != 0 ? render_str(message, "from") : "MAILER-DAEMON");
    if (render_str(message, "subject")[0] != 0) {
        fputs(", Subject: ", stdout);
        render_text(stdout, render_str(message, "subject"));
    }
    putchar('\n');
    for (size_t i = 0; i < json_array_size(list); i++) {
        fputs("  ", stdout);
        render_text(stdout, json_string_value(json_array_get(list, i)));
        putchar('\n');
    }
    dialogue_print(message);
}

static void explain_one(const struct tool *t, json_t *message)
{
    const json_t *rcpts = json_object_get(message, "recipients");
    json_t *list = json_array(), *lanes = json_array();
    int64_t now = tool_now();
    char *text;

    if (!json_is_true(json_object_get(message, "queued"))) {
        gone_say(message, list);
    } else {
        for (size_t i = 0; i < json_array_size(rcpts); i++) {
            const json_t *rcpt = json_array_get(rcpts, i);

            recipient_say(t, message, rcpt, lane_of(t, lanes, render_str(rcpt, "lane")), now, list);
        }
        deadlines_say(t, message, now, list);
    }
    if (t->json) {
        json_object_set(message, "why", list);
        json_object_set(message, "lanes", lanes);
        json_object_set_new(message, "findings", findings_of(message));
        text = json_dumps(message, JSON_COMPACT);
        if (text != NULL)
            puts(text);
        free(text);
    } else {
        explain_print(message, list);
    }
    json_decref(list);
    json_decref(lanes);
}

enum tool_exit tool_explain(const struct tool *t, char *const *args, size_t count)
{
    enum tool_exit worst;
    json_t *ids = json_array();
    struct query q;

    if (!query_read(t, args, count, &q)) {
        json_decref(ids);
        return TOOL_USAGE;
    }
    worst = tool_ids(t, &q, ids);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        json_t *found = json_array(), *end;
        enum tool_exit exit = tool_ask_quietly(t, request_of("show", "id", id), keep_line, found, &end);

        if (exit != TOOL_OK)
            worst = exit;
        if (json_array_size(found) > 0)
            explain_one(t, json_array_get(found, 0));
        json_decref(found);
        json_decref(end);
    }
    json_decref(ids);
    return tool_finish(t, worst);
}

/* --- trace --- */

static bool holds(const json_t *ids, const char *id)
{
    for (size_t i = 0; i < json_array_size(ids); i++)
        if (strcmp(json_string_value(json_array_get(ids, i)), id) == 0)
            return true;
    return false;
}

static void id_add(json_t *ids, const char *id)
{
    if (id[0] != 0 && !holds(ids, id) && json_array_size(ids) < IDS_TRACED_MAX)
        json_array_append_new(ids, json_string(id));
}

static void id_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)index;
    id_add(context, render_str(line, "id"));
}

/* One message: how it came, what was tried, where it stands; notifications that it caused join the list. */
static void trace_one(const struct tool *t, const json_t *message, json_t *ids)
{
    const json_t *history = json_object_get(message, "history");
    char *text;

    for (size_t i = 0; i < json_array_size(history); i++)
        id_add(ids, render_str(json_array_get(history, i), "caused"));
    if (!t->json) {
        render_trace(stdout, message, tool_now());
        return;
    }
    text = json_dumps(message, JSON_COMPACT);
    if (text != NULL)
        puts(text);
    free(text);
}

enum tool_exit tool_trace(const struct tool *t, char *const *args, size_t count)
{
    enum tool_exit worst = TOOL_OK;
    json_t *ids = json_array(), *end;
    struct message_id parsed;

    for (size_t i = 0; i < count && worst == TOOL_OK; i++) {
        if (is_ok(message_id_parse(bytes_of(args[i]), &parsed))) {
            id_add(ids, args[i]);
            continue;
        }
        worst = tool_ask_quietly(t, request_of("trace", "text", args[i]), id_line, ids, &end);
        json_decref(end);
    }
    if (worst == TOOL_OK && json_array_size(ids) == 0) {
        fprintf(stderr, "%s: nothing of that name is in the queue or in the history that is kept\n", t->program);
        worst = TOOL_FAILED;
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_t *found = json_array();
        enum tool_exit exit = tool_ask_quietly(
            t, request_of("show", "id", json_string_value(json_array_get(ids, i))), keep_line, found, &end);

        if (exit != TOOL_OK && i < count)
            worst = exit; /* a notification may be older than the history that is kept */
        if (json_array_size(found) > 0)
            trace_one(t, json_array_get(found, 0), ids);
        json_decref(found);
        json_decref(end);
    }
    json_decref(ids);
    return tool_finish(t, worst);
}
