/* standby: lanes that have due work while every worker who could carry it is busy; each gets a slot when one is free.
 *
 * For: dispatch. Without it such a lane could only be asked again after a while, and slots would stand idle meanwhile.
 * Not for: fairness among lanes (the scheduler's), or lanes that have no worker at all (those are asked again by the clock).
 * Lifetime: the engine's. Bounded by STANDBY_COUNT_MAX lanes; one that finds no room is asked again by the clock, too. Threads: none.
 *
 *   if (worker == NULL) standby_put(e->standby, lane_role(name), name);
 *   while (a worker of `role` has a slot && standby_take(e->standby, role, &room)) scheduler_lane_due(..., buf_bytes(&room), now); */
#ifndef MANSIO_QUEUED_STANDBY_H
#define MANSIO_QUEUED_STANDBY_H

#include "daemon/base/base.h"
#include "daemon/ipc/words.h"

struct standby;

enum { STANDBY_COUNT_MAX = 8192 };

/* NULL when the heap has none. */
struct standby *standby_new(uint64_t seed);
void standby_free(struct standby **s);

/* A lane stands in line once, however often it is put. False: there is no room for it. */
bool standby_put(struct standby *s, enum ipc_role role, struct bytes lane);
/* The lane that has stood longest, into `lane_out` (room for LANE_NAME_SIZE_MAX); false when none stands there. */
bool standby_take(struct standby *s, enum ipc_role role, struct buf *lane_out);
bool standby_is_empty(const struct standby *s, enum ipc_role role);

#endif
