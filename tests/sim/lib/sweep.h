/* sweep: one short scenario again and again, each time with one thing gone wrong at the next possible place, until a run is
 * clean: every event of the disk at which the power may be cut, every write and sync that may fail, every request for
 * memory. Prints one line; false when a property was broken.
 *
 * For: sim.c (--sweep NAME). Each run is a whole run with all its properties. */
#ifndef MANSIO_SIM_SWEEP_H
#define MANSIO_SIM_SWEEP_H

#include "tests/sim/lib/run.h"

/* CALL_NONE when there is none of that name. */
enum world_call sweep_call(const char *name);
/* `what`: cuts, full, error, memory, calls, or one call: accept, connect, dns, read, write, fork, file, file_last. `stride`: every how many-th place (1: each). */
bool sweep_run(const char *what, const struct run_options *scenario, uint64_t stride);

#endif
