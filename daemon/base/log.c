#include "daemon/base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_SIZE_MAX = 8192, LOG_BUFFER_SIZE = 65536, LOG_VALUE_SIZE_MAX = 1024 };

struct event_row {
    const char *name;
    enum log_level level;
    const char *fields;
    const char *meaning;
};

static const struct event_row event_rows[LOG_EVENT_COUNT] = {
#define EVENT(name, level, fields, meaning) {#name, LOG_LEVEL_##level, fields, meaning},
#include "daemon/base/events.def"
#undef EVENT
};

static struct log_config config = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .process = "mansio"};
static uint8_t pending_room[LOG_BUFFER_SIZE];
static struct buf pending = {pending_room, 0, sizeof pending_room};

void log_level_raise(enum log_level level)
{
    if (config.level < level)
        config.level = level;
}

int log_fd(void)
{
    return config.fd;
}

void log_init(const struct log_config *cfg)
{
    log_flush();
    config = *cfg;
}

const char *log_event_name(enum log_event event)
{
    static char names[LOG_EVENT_COUNT][32];
    char *name = names[event];

    if (name[0] == 0)
        for (size_t i = 0; i + 1 < sizeof names[event] && event_rows[event].name[i] != 0; i++)
            name[i] = (char)octet_lower((uint8_t)event_rows[event].name[i]);
    return name;
}

const char *log_event_meaning(enum log_event event)
{
    return event_rows[event].meaning;
}

const char *log_event_fields(enum log_event event)
{
    return event_rows[event].fields;
}

enum log_level log_event_level(enum log_event event)
{
    return event_rows[event].level;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "notice", "warning", "error"};
    return names[level];
}

/* Length of the well-formed UTF-8 sequence (RFC 3629) at the start of b that shows no C1 control, or 0. */
static size_t utf8_sequence_size(struct bytes b)
{
    uint8_t first = b.data[0];
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (first < 0xc2 || first > 0xf4 || b.size < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((b.data[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && b.data[1] < 0xa0) || (first == 0xed && b.data[1] > 0x9f) ||
        (first == 0xf0 && b.data[1] < 0x90) || (first == 0xf4 && b.data[1] > 0x8f) ||
        (first == 0xc2 && b.data[1] < 0xa0))
        return 0;
    return size;
}

static RESULT value_put(struct buf *out, struct bytes value, enum log_format format)
{
    static const char hex[] = "0123456789abcdef";

    value = bytes_head(value, LOG_VALUE_SIZE_MAX);
    TRY(buf_put_octet(out, '"'));
    while (value.size > 0) {
        uint8_t octet = value.data[0];
        size_t size = 1;
        if (octet >= 0x80 && (size = utf8_sequence_size(value)) > 0) {
            TRY(buf_put(out, bytes_head(value, size)));
        } else if (octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\') {
            TRY(buf_put_octet(out, octet));
        } else {
            size = 1;
            TRY(buf_put_str(out, format == LOG_FORMAT_JSON ? "\\u00" : "\\x"));
            TRY(buf_put_octet(out, (uint8_t)hex[octet >> 4]));
            TRY(buf_put_octet(out, (uint8_t)hex[octet & 15]));
        }
        value = bytes_after(value, size);
    }
    return buf_put_octet(out, '"');
}

static bool is_plain_word(struct bytes value)
{
    if (value.size == 0 || value.size > LOG_VALUE_SIZE_MAX)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (!isalnum(value.data[i]) && strchr("@._-+:/[]<>", value.data[i]) == NULL)
            return false;
    return memchr(value.data, 0, value.size) == NULL;
}

static RESULT field_put(struct buf *out, const struct log_field *f, enum log_format format)
{
    uint8_t id_room[MESSAGE_ID_SIZE_MAX];
    struct buf id = BUF(id_room);
    struct bytes text = f->text;

    if (format == LOG_FORMAT_JSON) {
        TRY(buf_put_str(out, ",\""));
        TRY(buf_put_str(out, f->name));
        TRY(buf_put_str(out, "\":"));
    } else {
        TRY(buf_put_octet(out, ' '));
        TRY(buf_put_str(out, f->name));
        TRY(buf_put_octet(out, '='));
    }
    if (f->kind == LOG_FIELD_NUMBER) {
        if (f->number < 0)
            TRY(buf_put_octet(out, '-'));
        return buf_put_u64(out, f->number < 0 ? 0 - (uint64_t)f->number : (uint64_t)f->number);
    }
    if (f->kind == LOG_FIELD_MESSAGE_ID) {
        TRY(message_id_put(&id, (struct message_id){(uint64_t)f->number}));
        text = buf_bytes(&id);
    }
    if (format == LOG_FORMAT_TEXT && is_plain_word(text))
        return buf_put(out, text);
    return value_put(out, text, format);
}

static RESULT head_put(struct buf *out, const struct log_config *cfg, struct walltime now, enum log_event event)
{
    static const char *const priority[] = {"<7>", "<6>", "<5>", "<4>", "<3>"};
    enum log_level level = event_rows[event].level;

    if (cfg->journal)
        TRY(buf_put_str(out, priority[level]));
    if (cfg->format == LOG_FORMAT_JSON) {
        TRY(buf_put_str(out, "{\"time\":\""));
        TRY(walltime_put_iso(out, now));
        TRY(buf_put_str(out, "\",\"level\":\""));
        TRY(buf_put_str(out, log_level_name(level)));
        TRY(buf_put_str(out, "\",\"process\":\""));
        TRY(buf_put_str(out, cfg->process));
        TRY(buf_put_str(out, "\",\"event\":\""));
        TRY(buf_put_str(out, log_event_name(event)));
        return buf_put_octet(out, '"');
    }
    if (!cfg->journal) {
        TRY(walltime_put_iso(out, now));
        TRY(buf_put_octet(out, ' '));
    }
    TRY(buf_put_str(out, cfg->process));
    TRY(buf_put_str(out, " event="));
    return buf_put_str(out, log_event_name(event));
}

void log_line_put(struct buf *out, const struct log_config *cfg, struct walltime now, enum log_event event,
    const struct log_field *fields, size_t field_count)
{
    enum { TAIL_SIZE = 16 }; /* room for the mark and the end, kept free by the smaller view below */
    struct buf body;
    bool cut = buf_left(out) < TAIL_SIZE + 200;

    if (cut)
        return;
    buf_init(&body, out->data + out->size, buf_left(out) - TAIL_SIZE);
    cut = !is_ok(head_put(&body, cfg, now, event));
    for (size_t i = 0; i < field_count && !cut; i++) {
        size_t before = body.size;
        if (!is_ok(field_put(&body, &fields[i], cfg->format))) {
            body.size = before;
            cut = true;
        }
    }
    out->size += body.size;
    bool json = cfg->format == LOG_FORMAT_JSON;
    struct result put = OK;
    if (cut)
        put = buf_put_str(out, json ? ",\"cut\":1" : " cut=1");
    if (is_ok(put))
        put = buf_put_str(out, json ? "}\n" : "\n");
    ASSERT(is_ok(put));
}

void log_emit(enum log_event event, const struct log_field *fields, size_t field_count)
{
    struct timespec now;

    if (event_rows[event].level < config.level)
        return;
    if (buf_left(&pending) < LOG_LINE_SIZE_MAX)
        log_flush();
    clock_gettime(CLOCK_REALTIME, &now);
    struct buf line;
    buf_init(&line, pending.data + pending.size, LOG_LINE_SIZE_MAX);
    log_line_put(
        &line, &config, (struct walltime){now.tv_sec * 1000 + now.tv_nsec / 1000000}, event, fields, field_count);
    pending.size += line.size;
    if (event_rows[event].level >= LOG_LEVEL_WARNING)
        log_flush();
}

void log_flush(void)
{
    size_t done = 0;

    while (done < pending.size) {
        ssize_t n = write(config.fd, pending.data + done, pending.size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nobody can be told; losing log lines must not stop mail */
        done += (size_t)n;
    }
    pending.size = 0;
}
