/* metrics: what a monitor reads: Prometheus text about the queue. Pure.
 *
 * For: the metrics socket and `queuectl metrics`. Not for: counting (tally.h, engine.h).
 *   TRY(metrics_put(&out, &(struct metrics){.engine = &stats, .store = &store_stats, .now = now}));
 * Bounds: METRICS_SIZE_MAX octets; of next hops at most METRICS_LANES_MAX are named. */
#ifndef MANSIO_QUEUED_METRICS_H
#define MANSIO_QUEUED_METRICS_H

#include "daemon/queued/engine.h"

enum { METRICS_SIZE_MAX = 131072, METRICS_LANES_MAX = 100 };

struct metrics {
    const struct engine_stats *engine;
    const struct store_stats *store;
    const struct tally_lanes *results; /* NULL: who asks may not know the next hops */
    const struct scheduler *scheduler; /* the same */
    const struct tally_tls *tls;       /* NULL: nothing is known */
    const struct tally_doors *doors;   /* NULL: nothing is known */
    uint64_t bans, logins_held;        /* in force */
    int64_t oldest_ms;                 /* age of the oldest message; 0: the queue is empty */
    struct walltime now;
};

/* CODE_FULL when `out` has not METRICS_SIZE_MAX octets of room. */
RESULT metrics_put(struct buf *out, const struct metrics *m);

#endif
