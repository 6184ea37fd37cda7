/* filter: the language in which queuectl says which mail is meant. Pure.
 *
 * For: queued, which runs a filter over its rows, and the tools, which parse it first to show where it is wrong. Not for:
 * reading rows (daemon/queued/control_find.c) and not for what is done with them.
 * A filter speaks about one recipient of one message: `to=a@x.example` on a message to two means that one recipient.
 *
 *   filter = { term "or" } term        term = { factor ["and"] } factor        factor = "not" factor | "(" filter ")" | test
 *   test   = FIELD OPERATOR VALUE | "held" | "all" | MESSAGE-ID
 *   operators: = != ~ !~ for text, = != < > <= >= for numbers, times (90s 2h 1h30m 5d) and sizes (812 5K 1.5M)
 * Text compares without case. = takes the globs * and ?; ~ finds the value anywhere (globs allowed). A value with blanks,
 * parentheses or quotes stands in "…", where \ takes the next octet as it is. The words and, or, not are in lower case.
 *
 *   if (!is_ok(filter_parse(text, &filter, &error))) show(error.at, error.why, error.nearest);
 *   switch (filter_match(&filter, &(struct filter_subject){.head = &head, .rcpt = &rcpt, .now = now})) ...
 * Half a subject is enough where it decides: without a recipient, or without a head, the answer may be FILTER_UNKNOWN.
 * Bounds: FILTER_SIZE_MAX octets, FILTER_STEPS_MAX tests and operators, FILTER_DEPTH_MAX parentheses and nots.
 * Lifetime: a filter is one plain struct, copied freely; it borrows nothing. Threads: none. */
#ifndef MANSIO_QUEUE_FILTER_H
#define MANSIO_QUEUE_FILTER_H

#include "queue/envelope.h"

enum { FILTER_SIZE_MAX = 8192, FILTER_STEPS_MAX = 256, FILTER_DEPTH_MAX = 32 };

/* In which half of a subject a field is found, and how it compares. */
enum filter_kind { FILTER_TEXT, FILTER_COUNT, FILTER_SPAN, FILTER_OCTETS, FILTER_ID, FILTER_WORD };

/*    name          kind           of the recipient  words (for FILTER_WORD)  */
#define FILTER_FIELDS(FIELD)                                                                                           \
    FIELD(ID, "id", FILTER_ID, false)                                                                                  \
    FIELD(FROM, "from", FILTER_TEXT, false)                                                                            \
    FIELD(TO, "to", FILTER_TEXT, true)                                                                                 \
    FIELD(DOMAIN, "domain", FILTER_TEXT, true)                                                                         \
    FIELD(LANE, "lane", FILTER_TEXT, true)                                                                             \
    FIELD(AGE, "age", FILTER_SPAN, false)                                                                              \
    FIELD(SIZE, "size", FILTER_OCTETS, false)                                                                          \
    FIELD(ATTEMPTS, "attempts", FILTER_COUNT, true)                                                                    \
    FIELD(NEXT, "next", FILTER_SPAN, true)                                                                             \
    FIELD(STATE, "state", FILTER_WORD, true)                                                                           \
    FIELD(REASON, "reason", FILTER_TEXT, true)                                                                         \
    FIELD(HOST, "host", FILTER_TEXT, true)                                                                             \
    FIELD(SUBJECT, "subject", FILTER_TEXT, false)                                                                      \
    FIELD(HEADER_SUBJECT, "header.subject", FILTER_TEXT, false)                                                        \
    FIELD(MESSAGE_ID, "message-id", FILTER_TEXT, false)                                                                \
    FIELD(HEADER_MESSAGE_ID, "header.message-id", FILTER_TEXT, false)                                                  \
    FIELD(ORIGIN, "origin", FILTER_WORD, false)                                                                        \
    FIELD(LOGIN, "login", FILTER_TEXT, false)                                                                          \
    FIELD(CLIENT, "client", FILTER_TEXT, false)

enum filter_field {
#define FIELD(id, name, kind, of_rcpt) FILTER_FIELD_##id,
    FILTER_FIELDS(FIELD)
#undef FIELD
        FILTER_FIELD_COUNT
};

enum filter_operator { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_GT, FILTER_LE, FILTER_GE, FILTER_LIKE, FILTER_UNLIKE };

/* Steps stand in postfix order: a test pushes its verdict, NOT turns the last one, AND and OR join the last two. */
enum filter_step_kind { FILTER_STEP_TEST, FILTER_STEP_ALL, FILTER_STEP_AND, FILTER_STEP_OR, FILTER_STEP_NOT };

struct filter_step {
    enum filter_step_kind kind;
    enum filter_field field;
    enum filter_operator op;
    uint16_t at, size; /* the value in `text`, its quotes taken off */
    int64_t number;    /* ms, octets, count, or the id */
};

struct filter {
    struct filter_step steps[FILTER_STEPS_MAX];
    uint16_t step_count;
    uint32_t fields; /* bit 1 << field for each that is asked about */
    uint16_t text_size;
    uint8_t text[FILTER_SIZE_MAX];
};

struct filter_error {
    size_t at, size;     /* the place in the text, and how much of it is meant (0: its end) */
    const char *why;     /* a literal */
    const char *nearest; /* the valid word that is nearest to what stands there, or NULL */
};

/* CODE_SYNTAX or CODE_FULL (a bound) with error_out filled. An empty text is an error: say "all". */
RESULT filter_parse(struct bytes text, struct filter *filter_out, struct filter_error *error_out);

struct filter_subject {
    const struct envelope_head *head; /* may be NULL */
    const struct recipient *rcpt;     /* may be NULL */
    const char *state;                /* due, active, deferred, held, leaving; NULL while unknown */
    struct walltime next;             /* when it is tried next, its lane's back-off counted in */
    struct walltime now;
};

enum filter_verdict { FILTER_NO, FILTER_YES, FILTER_UNKNOWN };

enum filter_verdict filter_match(const struct filter *f, const struct filter_subject *subject);
/* Whether a head, or a recipient's state and next try, can be needed for an answer. */
bool filter_needs_head(const struct filter *f);
bool filter_needs_state(const struct filter *f);
/* No message outside [*first_out, *last_out] can match. */
void filter_id_range(const struct filter *f, struct message_id *first_out, struct message_id *last_out);

/* The one domain, as it stands in the filter, that every recipient has who can match: `domain=x.example`, `to=*@x.example`, and
 * whatever is joined to these by `and`. False where there is none. */
bool filter_domain(const struct filter *f, struct bytes *domain_out);
/* Whether the filter is no more than that: then whoever has the domain matches. */
bool filter_is_domain(const struct filter *f);

/* Whether `pattern` with its globs * and ? covers the whole of `text`, without case. */
bool filter_glob(struct bytes pattern, struct bytes text);
/* Single-letter edits between two words of at most 31 letters; SIZE_MAX beyond. For "did you mean". */
size_t filter_distance(struct bytes a, struct bytes b);

#endif
