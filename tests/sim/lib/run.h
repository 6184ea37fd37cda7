/* run: one scenario from one seed: who sends when, what breaks when, and the end.
 *
 * For: sim.c and the tests beside it. */
#ifndef MANSIO_SIM_RUN_H
#define MANSIO_SIM_RUN_H

#include "tests/sim/lib/ledger.h"

struct run_options {
    uint64_t seed, count;
    unsigned messages; /* 0: by the seed */
    unsigned days;     /* in which mail comes; then it drains */
    bool talk;
    bool power;    /* on the recording disk, with cuts */
    bool rich;     /* a sweep looks for a scenario with content */
    bool quiet;    /* no process is killed by chance */
    size_t cut_at; /* SIZE_MAX: none */
    uint64_t cut_fate;
    enum world_call fail_call; /* its n-th fails */
    uint64_t fail_call_nth;
    uint64_t break_at;    /* from this step on a property is said to be broken; 0: never */
    uint64_t fail_memory; /* the n-th request; 0: none */
    uint64_t fail_disk;   /* the n-th write or sync; 0: none */
    uint64_t fail_disk_count;
    int fail_error;      /* ENOSPC: refused; EIO: lost at a sync */
    bool fail_short;     /* a write that is refused has done its first half */
    uint64_t map_size;   /* the queue's map grows no further; 0: no bound that is ever met */
    bool heavy;          /* most messages are large */
    size_t *events_out;  /* what the disk has seen */
    bool *failed_out;    /* whether the n-th came */
    size_t *held_out;    /* octets that the daemon's objects hold when all mail is over */
    uint64_t *calls_out; /* how many of fail_call there were up to the n-th */
    uint64_t *print_out; /* a number that only the same run has */
};

struct run_figures {
    uint64_t runs, steps, letters, accepted, recipients, delivered, failed, dsns, deferrals, attempts, expanded,
        no_space, deleted, local_copies, doubles, doubles_by[DOUBLE_REASON_COUNT], simulated_hours, worst_wait_ms,
        worst_turns;
    uint64_t faults[FAULT_COUNT];
    unsigned wrong;
};

/* How much was wrong. Adds to `total` (may be NULL). */
unsigned run_once(const struct run_options *o, struct run_figures *total);
void run_figures_print(const struct run_figures *f);

#endif
