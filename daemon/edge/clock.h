/* clock: the one place where Mansio reads the time; everything else is told it.
 *
 *   struct instant now = clock_instant();      monotonic: deadlines of sessions
 *   struct walltime date = clock_walltime();   UTC: what is stored and shown */
#ifndef MANSIO_EDGE_CLOCK_H
#define MANSIO_EDGE_CLOCK_H

#include "daemon/base/base.h"

struct instant clock_instant(void);
struct walltime clock_walltime(void);
/* clock_instant in microseconds, to measure with. */
int64_t clock_instant_us(void);
/* Microseconds of processor that this thread has used: what a piece of work costs, however long it waited for the disk. */
int64_t clock_cpu_us(void);
/* A seed for struct rng (getrandom(2)). */
uint64_t clock_seed(void);

#endif
