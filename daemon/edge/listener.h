/* listener: a listening socket on the loop; hands out accepted descriptors.
 *
 * For: inbound. Not for: making or binding sockets (the supervisor does; the descriptor is inherited).
 *   TRY(listener_new(loop, fd, on_accept, owner, &listener));
 * on_accept owns the descriptor (non-blocking, close-on-exec) and usually calls conn_adopt. Several processes may listen
 * on one socket: each takes only a few connections per turn, so that a burst spreads over them.
 * Lifetime: until listener_free, which closes our copy of the descriptor. Threads: none. */
#ifndef MANSIO_LISTENER_H
#define MANSIO_LISTENER_H

#include "daemon/base/base.h"

struct loop;
struct listener;

typedef void listener_on_accept(void *owner, struct listener *l, int fd);

/* Takes `fd` on success. */
RESULT
listener_new(struct loop *loop, int fd, listener_on_accept *on_accept, void *owner, struct listener **listener_out);
/* May be called from on_accept. */
void listener_free(struct listener **l);

#endif
