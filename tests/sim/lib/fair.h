/* fair: while one lane has due work and a free slot, how many jobs of others go first, and how long it waits.
 *
 * For: house.c, which says when queued looks for work and when a job begins. The bounds: no other lane gets two turns (so no
 * more turns pass by than there are lanes), and FAIR_WAIT_MS while others are served.
 *   fair_begin();
 *   fair_look(scheduler);                      what is ready now
 *   fair_served(scheduler, lane);              a job of this one begins */
#ifndef MANSIO_SIM_FAIR_H
#define MANSIO_SIM_FAIR_H

#include "queue/scheduler.h"
#include "tests/sim/lib/world.h"

enum { FAIR_WAIT_MS = 10 * MINUTE };

void fair_begin(void);
/* queued has begun anew. */
void fair_forget(void);
void fair_look(const struct scheduler *s);
void fair_served(const struct scheduler *s, struct bytes lane);
/* The most turns of others that a ready lane has seen pass by. */
uint64_t fair_worst_turns(void);

#endif
