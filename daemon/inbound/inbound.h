/* inbound: the process that faces strangers: it accepts connections and speaks SMTP, and hands messages to queued.
 *
 * For: mansiod.c. Several run beside each other on the same listening sockets. No files once it serves. */
#ifndef MANSIO_INBOUND_H
#define MANSIO_INBOUND_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int inbound_main(struct process *p);

#endif
