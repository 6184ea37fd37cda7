/* world: the simulator's clock, its list of things to come, its dice, and where it says what happens.
 *
 * For: everything in tests/sim. One world a process, and everything that happens in it follows from the seed: time moves
 * only from one timer to the next, and every choice is drawn from world_rng.
 *   world_begin(seed, talk);
 *   timer = (struct world_timer){.fn = arrive, .ctx = thing};
 *   world_timer_set(&timer, world.now_ms + 30);
 *   while (world_step(until_ms)) ...                 one event, then whatever the processes have left for the end of their turn
 *   world_wrong("...");                              a property is broken: says seed and step; world.wrong counts
 *   world_end(); */
#ifndef MANSIO_SIM_WORLD_H
#define MANSIO_SIM_WORLD_H

#include <stdio.h>

#include "daemon/base/base.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

#define WORLD_EPOCH_MS INT64_C(1800000000000)

struct world_timer {
    void (*fn)(void *ctx);
    void *ctx;
    /* the world's own */
    int64_t at;
    uint64_t order;
    size_t place; /* in the heap, from 1; 0: not armed */
};

/* What went wrong on purpose, and how often. */
enum fault {
#define FAULT(name, words) FAULT_##name,
#include "tests/sim/lib/faults.def"
#undef FAULT
    FAULT_COUNT
};

/* Calls of which one may be chosen to fail: the n-th since the run began. */
enum world_call {
    CALL_NONE,
    CALL_ACCEPT,
    CALL_CONNECT,
    CALL_DNS,
    CALL_READ,
    CALL_WRITE,
    CALL_FORK,
    CALL_FILE,
    CALL_FILE_LAST
};

struct world {
    uint64_t seed;
    struct rng rng;
    int64_t now_ms;       /* monotonic; walltime is WORLD_EPOCH_MS later */
    int64_t clock_off_ms; /* by which the wall clock has jumped, */
    int64_t jumped_ms;    /* forward alone */
    uint64_t step;
    bool talk;
    unsigned wrong;
    uint64_t faults[FAULT_COUNT];
    enum world_call fail_call;
    uint64_t fail_left;     /* 0: it has failed, or none was to */
    void (*turn_end)(void); /* the processes' hooks */
    struct world_timer **heap;
    size_t heap_count, heap_room;
    uint64_t order;
};
extern struct world world;

void world_begin(uint64_t seed, bool talk);
void world_end(void);
/* False when nothing is to come at or before until_ms. */
bool world_step(int64_t until_ms);
/* (Re)arms; a time in the past is now. Two timers of one moment run in the order in which they were set. */
void world_timer_set(struct world_timer *t, int64_t at_ms);
void world_timer_stop(struct world_timer *t);

/* Whether this call is the one that fails. */
bool world_fails(enum world_call call);

uint64_t world_below(uint64_t bound);
bool world_chance(unsigned per_mille);
/* From lo to hi, both included. */
int64_t world_between(int64_t lo, int64_t hi);
struct walltime world_walltime(void);
void world_fault(enum fault fault);
const char *world_fault_words(enum fault fault);

/* A line of the event log (with LF added). */
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The heap without mem_fail_nth; aborts without memory. Release with free. */
void *world_take(size_t size);

/* Octets that grow. */
struct heap_buf {
    uint8_t *data;
    size_t size, room;
};
void heap_buf_put(struct heap_buf *b, struct bytes in);
void heap_buf_put_text(struct heap_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void heap_buf_drop(struct heap_buf *b, size_t size);
void heap_buf_free(struct heap_buf *b);
static inline struct bytes heap_buf_bytes(const struct heap_buf *b)
{
    return (struct bytes){b->data, b->size};
}

#endif
