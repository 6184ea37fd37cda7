/* service: a listening socket of queued's own, and the connections that came by it: how control and metrics begin and end alike.
 *
 * For: control_serve.c, metrics_serve.c. Not for: what is said on a connection.
 *   TRY(service_open(&serve->service, loop, fd, on_accept, serve));      takes fd in any case
 *   service_close(&serve->service);                                     every connection has called `closed`
 * Lifetime: the loop outlives it; it lies in its owner and does not move. Threads: none. */
#ifndef MANSIO_QUEUED_SERVICE_H
#define MANSIO_QUEUED_SERVICE_H

#include "daemon/edge/conn.h"
#include "daemon/edge/listener.h"

struct service {
    struct loop *loop;
    struct conn_room *room;
    struct listener *listener;
};

/* CODE_FULL when there is no room; then nothing is open. */
RESULT service_open(struct service *s, struct loop *loop, int fd,
    void (*on_accept)(void *owner, struct listener *l, int fd), void *owner);
/* No new connections, and the end of those that are there, their own work already put aside. */
void service_close(struct service *s);

#endif
