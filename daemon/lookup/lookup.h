/* lookup: the process that reads alias data: it tells inbound who is known, and queued whom a recipient stands for.
 *
 * For: mansiod.c. One runs. Files are looked at at most once a second and read again when they have changed; one with an
 * error is refused whole, with its line in the log, and the reading before it stays in force (docs/decisions). */
#ifndef MANSIO_LOOKUP_H
#define MANSIO_LOOKUP_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int lookup_main(struct process *p);

#endif
