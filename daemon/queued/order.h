/* order: what the postmaster wants done with recipients; spoken by the control socket, carried out by the engine.
 *
 * For: control.h and engine.h, so that neither needs the other. Not for: which recipients are meant (queue/filter.h).
 *   struct order order = {.kind = ORDER_HOLD};
 *   struct order_target targets[] = {{id, 0}, {id, 1}};
 *   TRY(engine_order(e, &order, targets, 2, now, &done));      one transaction, durable when it returns */
#ifndef MANSIO_QUEUED_ORDER_H
#define MANSIO_QUEUED_ORDER_H

#include "daemon/base/base.h"

enum order_kind {
    ORDER_RETRY,   /* due now, and its lane's back-off is over */
    ORDER_HOLD,    /* not delivered until released */
    ORDER_RELEASE, /* due now */
    ORDER_DELETE,  /* forgotten, nobody is told */
    ORDER_BOUNCE,  /* failed, its sender is told */
    ORDER_REROUTE, /* into another lane, due now unless held */
    ORDER_UNDO,    /* of a deletion or bounce whose window is open: as it was before, due now unless it was held */
};

enum lane_order { LANE_ORDER_SUSPEND, LANE_ORDER_RESUME, LANE_ORDER_LIMIT, LANE_ORDER_PACE };

struct order {
    enum order_kind kind;
    struct bytes lane;     /* REROUTE: its canonical name */
    struct walltime until; /* DELETE, BOUNCE: when it really happens; {0}: at once */
    struct bytes reason;   /* BOUNCE: words for the sender, may be empty */
};

enum {
    ORDER_TARGETS_MAX = 4000, /* recipients in one transaction */
    ORDER_TARGETS_WRITTEN =
        1000, /* the same where each has rows written or deleted, not just a mark put: a few milliseconds */
    ORDER_UNDO_WINDOW_MS = 3600000, /* between the word and the deed, unless said otherwise */
    ORDER_UNDO_WINDOW_MAX_MS = 604800000,
    ORDER_REASON_SIZE_MAX = 500,
};

struct order_target {
    struct message_id id;
    uint32_t n;
};

#endif
