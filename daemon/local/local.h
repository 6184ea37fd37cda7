/* local: the process that writes our own mailboxes.
 *
 * For: mansiod.c. It does nothing else, so its file work may block it; queued keeps its jobs waiting meanwhile. */
#ifndef MANSIO_LOCAL_H
#define MANSIO_LOCAL_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int local_main(struct process *p);

#endif
