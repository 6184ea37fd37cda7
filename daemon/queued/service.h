/* service: a listening socket of queued's own, and the connections that came by it: how control and metrics begin and end alike.
 *
 * For: control_serve.c, metrics_serve.c. Not for: what is said on a connection.
 *   TRY(service_open(&serve->service, loop, fd, on_accept, serve));      takes fd in any case
 *   client = service_take(&serve->service, fd, sizeof *client, &handler);   a struct whose first member is its struct served
 *   from the handler's `closed`: served_end(&client->served);            client is gone
 *   service_close(&serve->service);                                     every connection has called `closed`
 * Lifetime: the loop outlives it; it lies in its owner and does not move. Threads: none. */
#ifndef MANSIO_QUEUED_SERVICE_H
#define MANSIO_QUEUED_SERVICE_H

#include "daemon/edge/conn.h"
#include "daemon/edge/listener.h"

struct served {
    struct served *next;
    struct service *service;
    struct conn *conn;
};

struct service {
    struct loop *loop;
    struct conn_room *room;
    struct listener *listener;
    struct served *all;
    size_t count_max; /* connections at once; more are closed as they come */
    int64_t idle_ms;
};

/* CODE_FULL when there is no room; then nothing is open. */
RESULT service_open(struct service *s, struct loop *loop, int fd,
    void (*on_accept)(void *owner, struct listener *l, int fd), void *owner);
/* No new connections, and the end of those that are there, their own work already put aside. */
void service_close(struct service *s);

/* A connection of its own for an accepted descriptor: `size` zeroed octets that begin with a struct served, and idle_ms to say
 * something. NULL, and fd closed, when there are enough or no memory. */
void *service_take(struct service *s, int fd, size_t size, const struct conn_handler *handler);
/* It has idle_ms again. */
void served_wait(struct served *c);
/* Behind its `closed`: gives its memory back. */
void served_end(struct served *c);

#endif
