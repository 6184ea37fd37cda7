/* control: the conversation on the control socket: one request a line, answered by JSON lines. Loop-free.
 *
 * For: queued (one struct control per connection, driven by control_serve.c) and for queuectl itself, which runs the same
 * code over a store it opened read-only when the daemon is down. Not for: sockets, and not for deciding anything about
 * mail (ports).
 *
 * A request:  {"v":1,"verb":"list","filter":"…","limit":n}  {"v":1,"verb":"count","filter":"…"}
 *             {"v":1,"verb":"show","id":"…"}  {"v":1,"verb":"stats"}  {"v":1,"verb":"lanes","lane":"glob"}
 *             {"v":1,"verb":"trace","text":"Message-ID or address"}       lines {"v":1,"id":"…"}, each id once or twice
 *             {"v":1,"verb":"content","id":"…"}                           lines {"v":1,"data":"base64"}
 *             {"v":1,"verb":"metrics"}                                    one line {"v":1,"text":"Prometheus text"}
 *             {"v":1,"verb":"suspend"|"resume","lane":"…"}  {"v":1,"verb":"limit","lane":"…","slots":n or
 *             "pace":milliseconds between two messages}   "*": every lane
 *             {"v":1,"verb":"pause"|"unpause"}                            taking mail in
 *             {"v":1,"verb":"bans"}   {"v":1,"verb":"ban","text":"address","window":seconds}     0: until it is lifted
 *             {"v":1,"verb":"unban","text":"address or login"}
 *             {"v":1,"verb":"hold"|"release"|"retry"|"undo","filter":"…"}
 *             {"v":1,"verb":"delete"|"bounce","filter":"…","window":seconds,"reason":"…"}     window 0: at once
 *             {"v":1,"verb":"reroute","filter":"…","lane":"relay:[…]:25"}
 *             instead of "filter" (queue/filter.h): "id":"…", "ids":["…",…], or "all":true; list and count take nothing
 *             for all; retry takes "lane":"mx:…" instead
 * An answer:  lines of the verb's own form, then exactly one last line, {"end":true,…} or {"error":"words","code":"word"}.
 *             code: usage, denied, gone, read-only, failed. Several requests may follow one another.
 * What is listed, counted and changed are recipients: those that match, of whatever message.
 * Bounds: a request has at most CONTROL_REQUEST_SIZE_MAX octets; one control_pull looks at no more than CONTROL_ROWS_MAX
 * rows in one read transaction (Q5), changes at most ORDER_TARGETS_MAX recipients in one transaction, and writes no more than
 * the room it is given. A walk resumes behind the last id and n, so that it neither holds the database nor grows with it,
 * and it ends at the last message that was there when it began.
 * Rights: root and the daemon's own user may do everything; anybody else may list, count and show the mail that they sent.
 *
 *   control_init(&c, &setup);
 *   eaten = control_feed(&c, bytes);                 eats nothing while an answer is being made
 *   while (control_busy(&c)) { control_pull(&c, now, &out); send(buf_bytes(&out)); buf_reset(&out); }
 *   control_fini(&c);
 * Lifetime: store, scheduler and what ports point to outlive it. Threads: none. */
#ifndef MANSIO_QUEUED_CONTROL_H
#define MANSIO_QUEUED_CONTROL_H

#include "daemon/base/base.h"
#include "daemon/queued/order.h"
#include "daemon/queued/tally.h"
#include "daemon/queued/wards.h"
#include "queue/filter.h"
#include "queue/scheduler.h"
#include "queue/store.h"

enum {
    CONTROL_VERSION = 1,
    CONTROL_REQUEST_SIZE_MAX = 65536,
    CONTROL_IDS_MAX = 2000,     /* in one request */
    CONTROL_ROOM_MIN = 262144,  /* what control_pull must be given: the largest single piece fits */
    CONTROL_ROWS_MAX = 1000,    /* recipients looked at in one pull that writes lines */
    CONTROL_SCAN_MAX = 4000,    /* the same where few or none are written */
    CONTROL_COUNT_MAX = 200000, /* counted in one pull by the index alone: about a millisecond */
};

/* What the engine does for a changing verb. Each is durable when it returns; count_out is the number of recipients changed. */
struct control_ports {
    void *context;
    RESULT(*order)
    (void *context, const struct order *order, const struct order_target *targets, size_t count, struct walltime now,
        uint32_t *count_out);
    /* One portion of a lane's recipients; more_out: call again. */
    RESULT (*retry_lane)(void *context, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out);
    /* No lane backs off any more. */
    void (*hurry)(void *context, struct walltime now);
    RESULT (*lane_order)(void *context, struct bytes lane, enum lane_order order, uint32_t slots, struct walltime now);
    RESULT (*pause_accepting)(void *context, bool paused, struct walltime now);
    /* Prometheus text (metrics.h); outside any transaction. */
    RESULT (*metrics)(void *context, struct walltime now, struct buf *out);
    /* What passed through the lanes since the start. May be NULL. */
    const struct tally_lanes *(*results)(void *context);
    /* Whether a recipient is being delivered right now. May be NULL: nothing is. */
    bool (*is_active)(void *context, struct message_id id, uint32_t n);
    /* A changing command was carried out, for the log. May be NULL. */
    void (*changed)(void *context, uint32_t uid, const char *verb, uint64_t count);
    /* Bans and held logins (wards.h). */
    RESULT (*ban)(void *context, struct bytes who, int64_t for_ms, struct walltime now);
    RESULT (*unban)(void *context, struct bytes who, struct walltime now, uint32_t *count_out);
    bool (*ban_next)(void *context, size_t *cursor, struct walltime now, struct ward_view *view_out);
};

struct control_setup {
    struct store *store;
    struct scheduler *scheduler;       /* NULL: offline, lanes are read from the store */
    const struct control_ports *ports; /* NULL: offline, changing verbs are refused as read-only */
    uint32_t uid;                      /* of the peer */
    bool may_all;                      /* root or the daemon's own user */
};

/*   id, word, whether it changes the queue */
#define CONTROL_VERBS(VERB)                                                                                            \
    VERB(LIST, "list", false)                                                                                          \
    VERB(COUNT, "count", false)                                                                                        \
    VERB(SHOW, "show", false)                                                                                          \
    VERB(STATS, "stats", false)                                                                                        \
    VERB(LANES, "lanes", false)                                                                                        \
    VERB(TRACE, "trace", false)                                                                                        \
    VERB(CONTENT, "content", false)                                                                                    \
    VERB(BANS, "bans", false)                                                                                          \
    VERB(METRICS, "metrics", false)                                                                                    \
    VERB(RETRY, "retry", true)                                                                                         \
    VERB(HOLD, "hold", true)                                                                                           \
    VERB(RELEASE, "release", true)                                                                                     \
    VERB(DELETE, "delete", true)                                                                                       \
    VERB(BOUNCE, "bounce", true)                                                                                       \
    VERB(REROUTE, "reroute", true)                                                                                     \
    VERB(UNDO, "undo", true)                                                                                           \
    VERB(SUSPEND, "suspend", true)                                                                                     \
    VERB(RESUME, "resume", true)                                                                                       \
    VERB(LIMIT, "limit", true)                                                                                         \
    VERB(PAUSE, "pause", true)                                                                                         \
    VERB(UNPAUSE, "unpause", true)                                                                                     \
    VERB(BAN, "ban", true)                                                                                             \
    VERB(UNBAN, "unban", true)

enum control_verb {
    CONTROL_NONE,
#define VERB(id, name, changes) CONTROL_##id,
    CONTROL_VERBS(VERB)
#undef VERB
};

struct control {
    struct control_setup setup;
    uint8_t *line; /* CONTROL_REQUEST_SIZE_MAX, taken when the first octet comes, given back with the answer */
    size_t line_size;
    bool dead; /* a request without end: nothing more is read */

    /* the request under way */
    enum control_verb verb;
    bool all;
    const char *error, *error_code; /* literals; the answer is this error */
    struct message_id *ids;
    size_t id_count, id_index;
    struct filter *filter; /* NULL: every recipient */
    uint64_t limit;        /* of messages listed; 0: none */
    int64_t window_ms;
    uint8_t lane[LANE_NAME_SIZE_MAX];
    size_t lane_size;
    uint8_t reason[ORDER_REASON_SIZE_MAX];
    size_t reason_size;
    uint32_t slots; /* or, `paced`, milliseconds */
    bool paced;
    uint8_t text[ADDRESS_SIZE_MAX]; /* of trace */
    size_t text_size;

    /* where its answer stands */
    bool began;
    struct walltime began_at;
    struct store_place place;            /* the next recipient to look at */
    struct store_place mark;             /* by domain: the index has them up to here; in this transaction */
    struct bytes domain;                 /* in the filter: the one that all have who can match; empty: none */
    struct message_id first_id, last_id; /* no further than that */
    bool id_found;                       /* of ids: the one under way is in the queue */
    struct message_id after;             /* the message whose line or change is under way */
    bool in_message;                     /* its line is begun */
    bool first;                          /* no element of the array under way has been written */
    uint64_t cursor;                     /* history or lane */
    unsigned stage;                      /* of show */
    uint64_t lines, octets, count, missing;
};

void control_init(struct control *c, const struct control_setup *setup);
void control_fini(struct control *c);
/* Returns how much was eaten: up to the end of one request, and nothing while one is answered. */
size_t control_feed(struct control *c, struct bytes in);
/* True while control_pull has something to say. */
bool control_busy(const struct control *c);
/* No further request can be read: close when the answer is out. */
bool control_dead(const struct control *c);
/* The next piece of the answer. `out` is empty and has at least CONTROL_ROOM_MIN octets of room. */
void control_pull(struct control *c, struct walltime now, struct buf *out);

#endif
