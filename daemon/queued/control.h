/* control: the conversation on the control socket: one request a line, answered by JSON lines. Loop-free.
 *
 * For: queued (one struct control per connection, driven by control_serve.c) and for queuectl itself, which runs the same
 * code over a store it opened read-only when the daemon is down. Not for: sockets, and not for deciding anything about
 * mail (ports).
 *
 * A request:  {"v":1,"verb":"list"}  {"v":1,"verb":"show","id":"…"}  {"v":1,"verb":"stats"}  {"v":1,"verb":"lanes"}
 *             {"v":1,"verb":"retry","id":"…"}  {"v":1,"verb":"retry","lane":"mx:…"}  {"v":1,"verb":"retry","all":true}
 *             {"v":1,"verb":"delete"|"hold"|"release","ids":["…",…]}  or with "all":true
 * An answer:  lines of the verb's own form, then exactly one last line, {"end":true,…} or {"error":"words","code":"word"}.
 *             code: usage, denied, gone, read-only, failed. Several requests may follow one another.
 * Bounds: a request has at most CONTROL_REQUEST_SIZE_MAX octets; one control_pull looks at no more than CONTROL_ROWS_MAX
 * rows in one read transaction (Q5) or makes CONTROL_CHANGES_MAX changes, and writes no more than the room it is given.
 * A listing resumes behind the last id and n, so that it neither holds the database nor grows with it.
 * Rights: root and the daemon's own user may do everything; anybody else may list and show the mail that they sent.
 *
 *   control_init(&c, &setup);
 *   eaten = control_feed(&c, bytes);                 eats nothing while an answer is being made
 *   while (control_busy(&c)) { control_pull(&c, now, &out); send(buf_bytes(&out)); buf_reset(&out); }
 *   control_fini(&c);
 * Lifetime: store, scheduler and what ports point to outlive it. Threads: none. */
#ifndef MANSIO_QUEUED_CONTROL_H
#define MANSIO_QUEUED_CONTROL_H

#include "daemon/base/base.h"
#include "queue/scheduler.h"
#include "queue/store.h"

enum {
    CONTROL_VERSION = 1,
    CONTROL_REQUEST_SIZE_MAX = 65536,
    CONTROL_IDS_MAX = 2000,    /* in one request */
    CONTROL_ROOM_MIN = 131072, /* what control_pull must be given: the largest single piece fits */
    CONTROL_ROWS_MAX = 1000,   /* recipients looked at in one pull */
    CONTROL_CHANGES_MAX = 16,  /* messages changed in one pull: each is a transaction that waits for the disk */
};

/* What the engine does for a changing verb. Each is durable when it returns; count_out is the number of recipients
 * changed; CODE_GONE: no such message. */
struct control_ports {
    void *context;
    RESULT (*retry_message)(void *context, struct message_id id, struct walltime now, uint32_t *count_out);
    RESULT (*retry_lane)(void *context, struct bytes lane, struct walltime now, uint32_t *count_out);
    RESULT (*retry_all)(void *context, struct walltime now, uint32_t *count_out);
    RESULT (*hold)(void *context, struct message_id id, bool held, struct walltime now, uint32_t *count_out);
    RESULT (*delete)(void *context, struct message_id id, struct walltime now, uint32_t *count_out);
    /* Whether a recipient is being delivered right now. May be NULL: nothing is. */
    bool (*is_active)(void *context, struct message_id id, uint32_t n);
    /* A changing command was carried out, for the log. May be NULL. */
    void (*changed)(void *context, uint32_t uid, const char *verb, uint64_t count);
};

struct control_setup {
    struct store *store;
    struct scheduler *scheduler;       /* NULL: offline, lanes are read from the store */
    const struct control_ports *ports; /* NULL: offline, changing verbs are refused as read-only */
    uint32_t uid;                      /* of the peer */
    bool may_all;                      /* root or the daemon's own user */
};

enum control_verb {
    CONTROL_NONE,
    CONTROL_LIST,
    CONTROL_SHOW,
    CONTROL_STATS,
    CONTROL_LANES,
    CONTROL_RETRY,
    CONTROL_DELETE,
    CONTROL_HOLD,
    CONTROL_RELEASE,
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
    uint8_t lane[LANE_NAME_SIZE_MAX];
    size_t lane_size;

    /* where its answer stands */
    struct message_id after; /* the last message looked at */
    struct walltime began;   /* `all` ends at the first message that came later */
    bool in_message;         /* its line is begun */
    bool first;              /* no element of the array under way has been written */
    uint64_t cursor;         /* recipient, history or lane */
    unsigned stage;          /* of show */
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
