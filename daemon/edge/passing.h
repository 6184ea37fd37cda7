/* passing: the supervisor's packets to a child and back: one message, and a descriptor where the table says so.
 *
 * For: the socket between supervisor and child (SOCK_SEQPACKET: a packet is whole or not there). Not for: mail (channel.h).
 * Small and rare, so there is no queue: a child that lets its socket fill up is stuck, and the sender is told.
 *   TRY(passing_pair(fds));
 *   TRY(passing_send(fds[0], &m, listener_fd));           the descriptor is copied, ours stays open
 *   TRY(passing_receive(fds[1], ROLE_SUPERVISOR, ROLE_INBOUND, &room, &m, &fd));     fd: the receiver's, or -1 */
#ifndef MANSIO_EDGE_PASSING_H
#define MANSIO_EDGE_PASSING_H

#include "daemon/ipc/codec.h"

enum { PASSING_SIZE_MAX = 2048 };

struct passing_room { /* what the message's views borrow from */
    uint8_t octets[PASSING_SIZE_MAX];
};

/* Close-on-exec; non-blocking. */
RESULT passing_pair(int fd_out[2]);
/* `fd` below 0: none. CODE_FULL when the socket is full, CODE_GONE when the other end is closed, CODE_IO. */
RESULT passing_send(int socket_fd, const struct msg *m, int fd);
/* CODE_MORE: nothing there now. CODE_GONE: the other end is closed. CODE_CORRUPT, CODE_REFUSED as msg_decode (any
 * descriptor is closed). *fd_out is the receiver's, close-on-exec, or -1. */
RESULT passing_receive(
    int socket_fd, enum ipc_role from, enum ipc_role to, struct passing_room *room, struct msg *m_out, int *fd_out);

#endif
