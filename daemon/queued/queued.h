/* queued: the process that owns the queue: the only one that opens it. Wiring alone; the mind is engine.h.
 *
 * For: mansiod.c. */
#ifndef MANSIO_QUEUED_QUEUED_H
#define MANSIO_QUEUED_QUEUED_H

#include "daemon/edge/process.h"

int queued_main(struct process *p);

#endif
