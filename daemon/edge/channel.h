/* channel: one end of the stream of frames between two of our processes.
 *
 * For: messages of daemon/ipc/messages.def in both directions. Not for: descriptors (the supervisor's packets carry
 * those, see passing.h and process.h). Threads: none.
 * Lifetime: channel_new takes the descriptor; channel_free may be called anywhere, also inside the channel's own
 * callbacks, and after it nothing of the channel is called again. After on_closed the channel is dead (sends go nowhere)
 * and waits for its owner's channel_free.
 * A peer that sends nonsense, or something that is not its to say, loses its channel (event CHANNEL_MALFORMED), never
 * our process.
 *
 * Sends gather in the channel and leave with one system call at the end of the turn. Nothing is refused: an owner that
 * sees channel_congested stops reading whatever makes it send (its own peers) until on_drained.
 *   static const struct channel_handlers handlers = {on_message, on_closed, on_drained};
 *   struct channel *ch = channel_new(loop, fd, ROLE_INBOUND, ROLE_QUEUED, &handlers, inbound);
 *   channel_send(ch, &(struct msg){.kind = MSG_ids_want, .ids_want = {.count = 100}});
 *   channel_free(&ch); */
#ifndef MANSIO_EDGE_CHANNEL_H
#define MANSIO_EDGE_CHANNEL_H

#include "daemon/edge/loop.h"
#include "daemon/ipc/codec.h"

struct channel;

enum channel_end {
    CHANNEL_END_PEER,      /* the other process closed or died: normal when it restarts */
    CHANNEL_END_MALFORMED, /* it sent what does not decode; already logged */
    CHANNEL_END_NO_MEMORY,
};

/* on_drained may be NULL. Views in `m` are good until the handler returns. None of them runs inside a channel_* call
 * (channel_send, channel_resume...): always from the loop. */
struct channel_handlers {
    void (*on_message)(void *ctx, const struct msg *m);
    void (*on_closed)(void *ctx, enum channel_end why);
    void (*on_drained)(void *ctx); /* was congested, has room again */
};

/* A pair of connected stream sockets with buffers large enough that a peer may go on while the other end waits for its
 * disk. Close-on-exec, non-blocking. */
RESULT channel_pair(int fd_out[2]);

/* NULL (and fd closed) when the system has no room for it. The handlers are not called before the next turn. */
struct channel *channel_new(struct loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
    const struct channel_handlers *handlers, void *ctx);
/* Closes at once: what still waits to be written is given one last try. Frees *ch and clears it; NULL is fine. */
void channel_free(struct channel **ch);

/* Copies the message into what leaves at the end of the turn. On a dead channel it does nothing. */
void channel_send(struct channel *ch, const struct msg *m);
/* The same for what the other end can do nothing with yet: it leaves with the next channel_send, when
 * 32 KiB wait, or after channel_hurry. */
void channel_send_later(struct channel *ch, const struct msg *m);
/* What waits leaves at the end of the turn. */
void channel_hurry(struct channel *ch);
/* More than CHANNEL_QUEUE_SIZE_HIGH octets wait; true until they are below CHANNEL_QUEUE_SIZE_LOW. */
bool channel_congested(const struct channel *ch);
size_t channel_queue_size(const struct channel *ch);
/* Writes what waits now instead of at the end of the turn; for an owner about to block (a commit). */
void channel_flush(struct channel *ch);

/* Stops on_message, at once, even between two frames that were read together; the peer's sends then gather at its end. */
void channel_pause(struct channel *ch);
void channel_resume(struct channel *ch);

bool channel_is_dead(const struct channel *ch);

#endif
