/* tally: what happened, counted for the metrics: histograms, and results by next hop.
 *
 * For: the engine, which adds, and metrics.c, which writes. Not for: decisions.
 * Bounds: TALLY_LANES_MAX next hops are counted by name, in the order in which they came; all later ones together.
 *   histogram_add(&stats.batch, tally_batch_bounds, ops);
 *   tally_lane_add(&stats.lanes, lane, TALLY_DELIVERED); */
#ifndef MANSIO_QUEUED_TALLY_H
#define MANSIO_QUEUED_TALLY_H

#include "daemon/base/base.h"

enum { HISTOGRAM_BOUNDS = 11, TALLY_LANES_MAX = 128 };

struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each value once: in the first whose bound it does not exceed */
    uint64_t count, sum;
};

extern const uint64_t tally_delay_bounds_ms[HISTOGRAM_BOUNDS];
extern const uint64_t tally_batch_bounds[HISTOGRAM_BOUNDS];
extern const uint64_t tally_stage_bounds_us[HISTOGRAM_BOUNDS];

void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value);

/* The stages of a message's way through the house, and how long each took, in microseconds:
 *   id, label, from and to */
#define TALLY_STAGES(STAGE)                                                                                            \
    STAGE(ACCEPT, "accept")     /* the first word of a transaction to its being durable */                             \
    STAGE(COMMIT, "commit")     /* one group commit */                                                                 \
    STAGE(SCHEDULE, "schedule") /* a recipient's time to its job's start */                                            \
    STAGE(CONNECT, "connect")   /* that to the first connection, DNS included */                                       \
    STAGE(DELIVER, "deliver")   /* that to the job's end */

enum tally_stage {
#define STAGE(id, name) TALLY_##id,
    TALLY_STAGES(STAGE)
#undef STAGE
        TALLY_STAGE_COUNT
};

enum tally_dns { TALLY_DNS_FOUND, TALLY_DNS_NONE, TALLY_DNS_FAILED, TALLY_DNS_COUNT };

enum tally_result { TALLY_DELIVERED, TALLY_DEFERRED, TALLY_FAILED, TALLY_RESULT_COUNT };

/* How much passed in each of the last minutes; a rate looks back 1, 5 or 15 of them. */
enum { TALLY_MINUTES = 16 };
struct tally_flow {
    int64_t minute; /* the youngest that is counted */
    uint32_t counts[TALLY_MINUTES];
};

void tally_flow_add(struct tally_flow *flow, struct walltime now, uint64_t count);
/* Thousandths a second over the last `minutes` (1 to 15); the oldest minute counts for the part of it that lies within. */
uint64_t tally_flow_rate(const struct tally_flow *flow, struct walltime now, unsigned minutes);

struct tally_lane {
    uint64_t hash;
    uint16_t name_size;
    uint8_t name[LANE_NAME_SIZE_MAX];
    uint64_t results[TALLY_RESULT_COUNT];
    struct tally_flow in, out; /* recipients put into it, and delivered */
};

struct tally_lanes {
    struct walltime now; /* of the turn; whoever adds has set it */
    struct tally_lane rows[TALLY_LANES_MAX];
    size_t count;
    uint64_t others[TALLY_RESULT_COUNT];
};

/* What processes have told about TLS. */
enum { TALLY_CERTIFICATES_MAX = 64, TALLY_NAME_SIZE_MAX = 255 };

struct tally_certificate {
    int64_t ends; /* seconds since 1970 */
    bool rsa;
    uint8_t name_size;
    uint8_t name[TALLY_NAME_SIZE_MAX];
};

struct tally_tls {
    struct tally_certificate certificates[TALLY_CERTIFICATES_MAX];
    uint32_t count;
    bool dane_known, dane_live;
};

/* What the front door told (ipc/words.h, enum door_family). */
enum { TALLY_DOORS_MAX = 128, TALLY_LABEL_SIZE_MAX = 64 };

struct tally_door {
    unsigned family;
    uint8_t label_size;
    uint8_t label[TALLY_LABEL_SIZE_MAX];
    uint64_t count;
};

struct tally_doors {
    struct tally_door rows[TALLY_DOORS_MAX];
    size_t count;
    uint64_t bans_by_guessing, bans_by_hand; /* made since the start */
};

/* Beyond TALLY_DOORS_MAX pairs of family and label they are left out. */
void tally_door_add(struct tally_doors *doors, unsigned family, struct bytes label, uint64_t count);
/* One of `count`, by its index; beyond TALLY_CERTIFICATES_MAX they are left out. */
void tally_certificate_set(
    struct tally_tls *tls, uint32_t index, uint32_t count, struct bytes name, bool rsa, int64_t ends);
void tally_lane_add(struct tally_lanes *lanes, struct bytes name, enum tally_result result);
/* `count` recipients were put into the lane. */
void tally_lane_in(struct tally_lanes *lanes, struct bytes name, uint64_t count);
/* NULL when it is not counted by name. */
const struct tally_lane *tally_lane_find(const struct tally_lanes *lanes, struct bytes name);

#endif
