/* outbound: the process that carries jobs of queued to other hosts: DNS, connections, SMTP and LMTP as a client.
 *
 * For: mansiod.c. Several run beside each other, each with its own jobs and kept connections. */
#ifndef MANSIO_OUTBOUND_H
#define MANSIO_OUTBOUND_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int outbound_main(struct process *p);

#endif
