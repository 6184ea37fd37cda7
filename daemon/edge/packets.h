/* packets: one end of a socket of whole packets between two of our processes: a message each, with a descriptor where the table says so.
 *
 * For: keys and inbound (sign_ask, sign_answer, key_certificates). Not for: mail (channel.h). Threads: none.
 * Lifetime: packets_new takes the descriptor; packets_free may be called anywhere, also inside on_message and on_closed; after it
 * nothing of it is called again. After on_closed it is dead and waits for its owner's packets_free.
 *   struct packets *p = packets_new(loop, fd, ROLE_KEYS, ROLE_INBOUND, &HANDLERS, desk);
 *   TRY(packets_send(p, &answer, -1));
 *   TRY(packets_wait(p, 100, &room, &m, &fd));       for one that has to stand and wait */
#ifndef MANSIO_EDGE_PACKETS_H
#define MANSIO_EDGE_PACKETS_H

#include "daemon/edge/loop.h"
#include "daemon/edge/passing.h"

struct packets;

struct packet_handlers {
    /* Views in `m` are good until it returns; fd (or -1) is the handler's. */
    void (*on_message)(void *ctx, const struct msg *m, int fd);
    /* The other end is gone, or talks nonsense (then it has been logged). */
    void (*on_closed)(void *ctx);
};

/* NULL, and fd closed, when the system has no room for it. */
struct packets *packets_new(struct loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
    const struct packet_handlers *handlers, void *ctx);
void packets_free(struct packets **p);
/* As passing_send. */
RESULT packets_send(struct packets *p, const struct msg *m, int fd);
/* The next packet, without the loop: blocks the process for at most wait_ms. CODE_TIMEOUT; else as passing_receive. */
RESULT packets_wait(struct packets *p, int64_t wait_ms, struct passing_room *room, struct msg *m_out, int *fd_out);

#endif
