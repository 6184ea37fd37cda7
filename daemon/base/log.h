/* log: events, not sentences. One event a line, key=value or JSON, declared once in events.def.
 *
 * For: processes and edges. Not for cores: they hand back events and their edge logs them.
 *   LOG(RCPT_REFUSED, LOG_ID("session", s.value), LOG_TEXT("to", rcpt), LOG_NUM("code", 550));
 * Every value goes through the one encoder here: control octets, quotes, backslash and non-UTF-8 leave as \xHH (text)
 * or \u00HH (JSON), so nothing that an outsider sent can become a second line or reach a terminal.
 * Lines gather in a buffer; log_flush writes them with one call (edges do so once a loop turn; WARNING and above flush
 * by themselves). Lifetime: one log per process. Threads: none. */
#ifndef MANSIO_LOG_H
#define MANSIO_LOG_H

#include "daemon/base/base.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_event {
#define EVENT(name, level, fields, meaning) LOG_EVENT_##name,
#include "daemon/base/events.def"
#undef EVENT
    LOG_EVENT_COUNT
};

enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_MESSAGE_ID };

struct log_field {
    const char *name; /* one of those that the event declares */
    enum log_field_kind kind;
    struct bytes text;
    int64_t number;
};

#define LOG_TEXT(name_, bytes_) ((struct log_field){.name = (name_), .kind = LOG_FIELD_TEXT, .text = (bytes_)})
#define LOG_STR(name_, string_) LOG_TEXT(name_, bytes_of(string_))
#define LOG_NUM(name_, number_)                                                                                        \
    ((struct log_field){.name = (name_), .kind = LOG_FIELD_NUMBER, .number = (int64_t)(number_)})
#define LOG_MSG(name_, id_)                                                                                            \
    ((struct log_field){.name = (name_), .kind = LOG_FIELD_MESSAGE_ID, .number = (int64_t)(id_).value})
#define LOG(event, ...)                                                                                                \
    log_emit(LOG_EVENT_##event, (const struct log_field[]){__VA_ARGS__},                                               \
        sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

struct log_config {
    int fd; /* where lines go; the caller opened it and keeps it open */
    enum log_format format;
    enum log_level level; /* events below it are dropped */
    const char *process;  /* "inbound", with its number: "inbound.1"; a literal or longer-lived string */
    bool journal;         /* prefix each line with <priority> for the journal and leave the time out */
};

void log_init(const struct log_config *cfg);
void log_emit(enum log_event event, const struct log_field *fields, size_t field_count);
void log_flush(void);
/* Where lines go; for a child process that closes all else. */
int log_fd(void);
/* From now on only events of this level and above. */
void log_level_raise(enum log_level level);

/* For the operator's manual and the tests. */
const char *log_event_name(enum log_event event); /* "rcpt_refused" */
const char *log_event_meaning(enum log_event event);
const char *log_event_fields(enum log_event event);
enum log_level log_event_level(enum log_event event);
const char *log_level_name(enum log_level level);

/* The pure part: one line with its LF into `out`; a line that does not fit is cut at a field and marked cut=1. */
void log_line_put(struct buf *out, const struct log_config *cfg, struct walltime now, enum log_event event,
    const struct log_field *fields, size_t field_count);

#endif
