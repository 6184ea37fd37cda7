/* depot: inbound's end of the channel to queued: message ids in stock, transactions under way, credit for bodies.
 *
 * For: sessions. Not for: replies (session.c words them) or routing (queued).
 * A transaction is opened under an id from the stock; its frames leave with the turn; queued answers tx_commit once, when
 * the message is durable or refused. A transaction whose client is gone is detached and finishes alone. When queued goes away
 * every open transaction ends with TX_TRY_LATER, at once where its commit was waiting, else when it is committed, and new ones
 * are refused until a new channel comes: nothing waits for a dead process.
 *   TRY(depot_tx_open(depot, session, &head, &tx));
 *   depot_tx_rcpt(tx, &rcpt);  depot_tx_body(tx, octets);  depot_tx_commit(tx, &display);   ... handler.done
 *   depot_tx_abort(&tx) instead
 * Never feed a session more than depot_tx_allowance octets: that is the credit: BODY_WINDOW_SIZE ahead of
 * queued, exceeded only by what a trace field or a converted line end adds. All of it must be usable: queued gives credit for
 * whole chunks, which are nearly as large.
 * Handlers run from the loop, never from inside a call made here, except `done` of a transaction that had failed already. */
#ifndef MANSIO_INBOUND_DEPOT_H
#define MANSIO_INBOUND_DEPOT_H

#include "daemon/edge/channel.h"

struct depot;
struct depot_tx;

enum { DEPOT_CLIENT_SIZE_MAX = 64 };

struct depot_handlers {
    /* The transaction is over and gone. `owner` is NULL when it was detached. `reply` may be empty. */
    void (*done)(void *owner, const struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply);
    /* Credit has come for a transaction that had none. */
    void (*credit)(void *owner);
    /* The channel is gone. May be NULL. */
    void (*lost)(void *context);
    /* Ids have come where there were none: new mail can be taken. `context` as given to depot_new. */
    void (*stocked)(void *context);
    /* queued says who is shut out. May be NULL. `context` as given to depot_new. */
    void (*banned)(void *context, const struct msg_ban_set *ban);
};

struct depot *depot_new(struct loop *loop, const struct depot_handlers *handlers, void *context);
void depot_free(struct depot **depot);
/* Takes the descriptor of a new channel to queued; an older one is dropped. */
void depot_channel(struct depot *d, int fd);
/* A message that belongs to no transaction; lost while there is no queued. */
void depot_say(struct depot *d, const struct msg *m);
/* Too much waits for queued: stop reading clients that send bodies. */
/* New mail could be taken now. */
bool depot_is_stocked(const struct depot *d);
bool depot_congested(const struct depot *d);
size_t depot_tx_count(const struct depot *d);

/* Why no transaction may be opened now. */
enum depot_refusal { DEPOT_OPEN, DEPOT_NO_QUEUE, DEPOT_NO_IDS, DEPOT_NOT_ADMITTING };
/* `head` needs what is known at MAIL: reverse_path, envid, body_type, ret, flags, origin, client, helo, login, arrival; copied.
 * NULL with refusal_out otherwise (`reply_out`: queued's words for NOT_ADMITTING, may be empty). */
struct depot_tx *depot_tx_open(struct depot *d, void *owner, const struct envelope_head *head,
    enum depot_refusal *refusal_out, struct bytes *reply_out);
struct message_id depot_tx_id(const struct depot_tx *tx);
const struct envelope_head *depot_tx_head(const struct depot_tx *tx);

/* Its `n` is the depot's affair; a lane only as envelope.h says for inbound. */
void depot_tx_rcpt(struct depot_tx *tx, const struct recipient *rcpt);
void depot_tx_body(struct depot_tx *tx, struct bytes body);
/* `display`: body_size, flags to add, message_id, subject. `done` follows. */
void depot_tx_commit(struct depot_tx *tx, const struct envelope_head *display);
/* The same, and with the next transaction that is committed: both become messages, or none does. Nothing may come between. */
void depot_tx_commit_joined(struct depot_tx *tx, const struct envelope_head *display);
/* Queued has refused it before its end: its commit will say so at once. */
bool depot_tx_has_failed(const struct depot_tx *tx);
void depot_tx_abort(struct depot_tx **tx);
/* The client is gone: a committed transaction finishes alone, another one is aborted. */
void depot_tx_leave(struct depot_tx **tx);
size_t depot_tx_allowance(struct depot_tx *tx);

/* At the end of a session's turn: body octets gathered for fewer frames leave. */
void depot_stage_flush(struct depot *d);

#endif
