/* attempt: one delivery attempt of one recipient as the history keeps it, for `explain` and `trace`.
 *
 * For: the engine, which writes one per attempt, and the tools that show them. Not for: what happens next; that stands in
 * the recipient's row. Views borrow from what was decoded.
 *   TRY(attempt_put(&row, &attempt));   store_history_put(store, id, now, buf_bytes(&row)); */
#ifndef MANSIO_QUEUE_ATTEMPT_H
#define MANSIO_QUEUE_ATTEMPT_H

#include "daemon/base/base.h"

/* Values stand on disk: add at the end. */
enum attempt_kind {
    ATTEMPT_DELIVERED,
    ATTEMPT_DEFERRED,
    ATTEMPT_FAILED,
    ATTEMPT_EXPANDED,
    ATTEMPT_DISCARDED,
    ATTEMPT_QUEUED,  /* a notification about the message; `reply` says of which kind */
    ATTEMPT_DELETED, /* by the postmaster */
    ATTEMPT_KIND_COUNT,
};

struct attempt {
    enum attempt_kind kind;
    uint32_t n;                /* the recipient within its message */
    uint32_t count;            /* which attempt this was, from 1 */
    struct bytes forward_path; /* so that a finished recipient can still be named */
    struct bytes lane, host, address, tls;
    struct bytes status, reply;
    struct bytes transcript;  /* the dialogue, bounded; empty for all but one recipient of a job */
    struct message_id caused; /* QUEUED: the notification; {0}: none */
    struct bytes from,
        message_id; /* of the message, so that a finished one can still be found; rows of old lack them */
};

enum { ATTEMPT_SIZE_MAX = 16384 };

RESULT attempt_put(struct buf *out, const struct attempt *a);
RESULT attempt_get(struct bytes row, struct attempt *attempt_out);
const char *attempt_kind_name(enum attempt_kind kind);

#endif
