/* conn: one TCP or UNIX stream connection on the loop, with TLS when asked for.
 *
 * For: SMTP sessions in and out. Not for: frames between our processes (channel.h) and not for listening (listener.h).
 *   conn_room_new(loop, &room)                     once per process: shared read buffer, spare chunks
 *   conn_adopt(room, fd, &HANDLER, owner, &c)      an accepted socket;     or conn_dial(...)
 *   conn_write(c, view)                            gathered; leaves once per loop turn, as one segment where it fits
 *   conn_set_deadline(c, at)                       handler->deadline then
 *   conn_close_after_flush(c) or conn_close(c)
 * Handlers run from the loop only, never from inside a call made here, so a handler may call anything, conn_close
 * included. After conn_close (or `lost`) only `closed` follows, once, from a later turn; the owner lets go of its own memory
 * there. Input that a handler does not eat is kept and reading stops until conn_resume: a session that waits for an
 * answer holds back its own peer.
 * Lifetime: from adopt or dial to `closed`. An idle connection holds no buffers. Threads: none. */
#ifndef MANSIO_CONN_H
#define MANSIO_CONN_H

#include "daemon/base/base.h"
#include "daemon/edge/conn_end.h"
#include "daemon/edge/tls.h"

struct loop;
struct conn_room;
struct conn;

enum {
    CONN_OUT_SIZE_HIGH = 262144, /* unsent octets over which conn_congested says so */
    CONN_OUT_SIZE_LOW = 65536,   /* under which `drained` is told */
    CONN_FLUSH_MS = 10000,       /* for the last octets after conn_close_after_flush: a peer may never read them */
    CONN_LINGER_MS = 2000,       /* after our last octet, so that a reset does not overtake it */
};

struct conn_handler {
    void (*opened)(void *owner, struct conn *c);                   /* dialled: it is connected */
    size_t (*input)(void *owner, struct conn *c, struct bytes in); /* returns how many octets it ate */
    void (*input_end)(void *owner, struct conn *c);                /* the peer will send no more; we still may */
    void (*secured)(void *owner, struct conn *c);                  /* the TLS handshake is done */
    void (*drained)(void *owner, struct conn *c);                  /* no longer congested */
    void (*deadline)(void *owner, struct conn *c);                 /* the time set has come */
    void (*lost)(void *owner, struct conn *c, struct result why);  /* broken; it closes by itself */
    void (*closed)(void *owner, struct conn *c);                   /* the last call */
};

RESULT
conn_room_new(struct loop *loop, struct conn_room **room_out);
/* All its connections must be closed before. */
void conn_room_free(struct conn_room **room);
/* At the end of a process: conn_close for each, those that linger too. */
void conn_room_close_all(struct conn_room *room);
size_t conn_room_count(const struct conn_room *room);

/* Takes the descriptor (on success). CODE_FULL without memory, CODE_IO when it is no connected socket any more. */
RESULT
conn_adopt(struct conn_room *room, int fd, const struct conn_handler *handler, void *owner, struct conn **conn_out);
/* The same where the peer has been looked at already (conn_peer_read). */
RESULT
conn_adopt_from(struct conn_room *room, int fd, const struct conn_end *peer, const struct conn_handler *handler,
    void *owner, struct conn **conn_out);

/* CODE_IO with errno when the kernel refuses at once (ENETUNREACH: no way there at all). */
RESULT
conn_dial(struct conn_room *room, const struct conn_dial *to, const struct conn_handler *handler, void *owner,
    struct conn **conn_out);

const struct conn_end *conn_peer(const struct conn *c);
/* Of a UNIX socket's other end (SO_PEERCRED). CODE_IO otherwise. */
RESULT
conn_peer_uid(const struct conn *c, uint32_t *uid_out);

/* Copies. Never fails here: without memory the connection is lost, which the handler hears of. */
void conn_write(struct conn *c, struct bytes out);
bool conn_congested(const struct conn *c);
/* Octets not yet handed to the kernel. */
size_t conn_unsent(const struct conn *c);

/* Reading stops until conn_resume; what the handler left uneaten comes again then, before anything newer (alone: octets are
 * never joined). conn_resume from inside `input` means: give me the rest again in the next turn. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* True when input is kept (uneaten), so that input_end was not told yet. */
bool conn_input_left(const struct conn *c);

/* Takes `tls`. What was written before leaves in the clear first; input kept from before is thrown away: it was sent in the
 * clear (RFC 3207 4.2). Then `secured`, or `lost`. */
void conn_start_tls(struct conn *c, struct tls *tls);
/* The same from inside `input`, where what the handler leaves uneaten is the beginning of the TLS stream itself (behind the
 * header of a load balancer). */
void conn_start_tls_here(struct conn *c, struct tls *tls);
/* NULL: in the clear. */
const struct tls *conn_tls(const struct conn *c);

/* INSTANT_NEVER: none. */
void conn_set_deadline(struct conn *c, struct instant at);

void conn_close_after_flush(struct conn *c);
/* At once; unsent octets are dropped. */
void conn_close(struct conn *c);

#endif
