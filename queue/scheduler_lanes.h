/* scheduler_lanes: the lanes of a scheduler and the places where they stand; shared by scheduler.c and scheduler_lanes.c.
 *
 * Not for: anybody else; the scheduler's face is scheduler.h. The lanes live in four places at once:
 *   - a hash table by name;
 *   - `roll`, an array in order of making, for listings (a lane that goes leaves a hole, closed when holes abound);
 *   - at most one of the places of enum place: the heap by wake-up time, the ring of ready lanes, the line of idle lanes;
 *   - perhaps the line of lanes whose health waits to be saved. */
#ifndef MANSIO_QUEUE_SCHEDULER_LANES_H
#define MANSIO_QUEUE_SCHEDULER_LANES_H

#include "queue/scheduler.h"

enum place { PLACE_NONE, PLACE_HEAP, PLACE_READY, PLACE_IDLE };

enum {
    LANE_IDLE_MS = 10000,      /* what a lane has learned outlives a pause of this length */
    LANE_ASK_AGAIN_MS = 1000,  /* after "due, but nothing could be taken" */
    LANE_DROP_MAX = 1024,      /* in one tick, so that the end of a large mailing makes no pause */
    DNS_BACKOFF_STEPS_MAX = 3, /* a name server in trouble is often our own: do not let every lane climb to hours */
    TABLE_SIZE_MIN = 64,
    ROLL_SIZE_MIN = 64,
};
#define THRESHOLD_NONE UINT32_MAX
#define HEAP_NONE SIZE_MAX

struct link {
    struct link *before, *after;
};

struct lane {
    struct link line;   /* ring or idle line; must stand first (lane_of_line) */
    struct link saving; /* linked while `save_waits` */
    struct lane *chain;
    uint64_t hash, serial;
    size_t heap_at;
    struct walltime wake, due, idle_since;
    struct walltime paced_until; /* by its pace nothing starts before */
    uint32_t in_flight;
    uint32_t slots;     /* now allowed, before limits */
    uint32_t threshold; /* slow start ends here */
    uint32_t credit;    /* successes that still count since all slots were last in use */
    uint32_t gained;    /* successes towards the next additive step */
    uint32_t cohort;    /* jobs under way when slots were last cut: their failures are no news */
    enum place place;
    bool draining; /* (S4) */
    bool save_waits;
    struct lane_health health; /* `slots` in it is filled when it is handed out; last_error is ours */
    size_t name_size;
    uint8_t name[];
};

struct roll_entry {
    uint64_t serial;
    struct lane *lane; /* NULL: gone */
};

struct scheduler {
    struct scheduler_config cfg;
    struct rng rng;
    uint64_t hash_seed;
    struct walltime now;
    bool ticked;
    uint32_t in_flight;
    struct lane *offered; /* by scheduler_next, until started or lane_empty */
    struct lane *every;   /* the lane "*": the operator's word for all; made at birth so that saying it cannot fail */
    struct lane **table;
    size_t table_size; /* a power of two */
    size_t lane_count;
    size_t lane_octets; /* of all lanes together */
    struct lane **heap;
    size_t heap_count;
    struct roll_entry *roll;
    size_t roll_count; /* holes included */
    size_t room;       /* of heap and roll */
    uint64_t serial_last;
    struct link ready, idle, saves;
};

/* --- lines --- */

static inline void link_init(struct link *l)
{
    l->before = l->after = l;
}

static inline bool link_is_empty(const struct link *head)
{
    return head->after == head;
}

static inline void link_remove(struct link *l)
{
    l->before->after = l->after;
    l->after->before = l->before;
    link_init(l);
}

static inline void link_append(struct link *head, struct link *l)
{
    l->before = head->before;
    l->after = head;
    head->before->after = l;
    head->before = l;
}

static inline struct lane *lane_of_line(struct link *l)
{
    return (struct lane *)(void *)((uint8_t *)l - offsetof(struct lane, line));
}

static inline struct lane *lane_of_saving(struct link *l)
{
    return (struct lane *)(void *)((uint8_t *)l - offsetof(struct lane, saving));
}

/* --- the heap by wake-up time --- */
void scheduler_heap_add(struct scheduler *s, struct lane *lane);
/* The lane at this place has another wake-up time. */
void scheduler_heap_sift(struct scheduler *s, size_t at);
void scheduler_heap_remove(struct scheduler *s, struct lane *lane);

/* --- table and roll --- */
/* Index in the roll of the first entry whose serial is above `serial`. */
size_t scheduler_roll_find_after(const struct scheduler *s, uint64_t serial);
/* The lane of that name, made where there is none; CODE_FULL as scheduler_lane_due. */
RESULT scheduler_lane_make(struct scheduler *s, struct bytes name, struct lane **lane_out);
/* It is idle, in no place, and nothing of it waits to be saved. */
void scheduler_lane_drop(struct scheduler *s, struct lane *lane);
void scheduler_error_forget(struct lane *lane);
/* A copy, cut at LANE_ERROR_SIZE_MAX. */
void scheduler_error_keep(struct lane *lane, struct bytes error);
/* Gives back room that few lanes do not need. */
void scheduler_memory_return(struct scheduler *s);

#endif
