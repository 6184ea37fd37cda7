/* session: one client: its connection, its SMTP server core, its transaction. docs/states/session.md.
 *
 * For: inbound.c, which accepts and counts. Not for: what SMTP says (smtp/server.h), who may relay (policy.h), storing
 * (depot.h): this is where their questions and answers meet.
 *   TRY(session_new(inbound, door, fd));      from then on it lives by itself, until its connection is closed
 *   session_stop(session)                     we are going down: 421 4.3.2 when nothing is under way
 * Lifetime: until the connection's `closed`; it then takes itself off inbound's list. Threads: none. */
#ifndef MANSIO_INBOUND_SESSION_H
#define MANSIO_INBOUND_SESSION_H

#include "daemon/config/config.h"
#include "daemon/config/rewriting.h"
#include "daemon/edge/conn.h"
#include "daemon/edge/loop.h"
#include "daemon/edge/tls_store.h"
#include "daemon/inbound/bans.h"
#include "daemon/inbound/census.h"
#include "daemon/inbound/clerk.h"
#include "daemon/inbound/counts.h"
#include "daemon/inbound/depot.h"
#include "daemon/inbound/inquiry.h"
#include "daemon/inbound/turnstile.h"
#include "daemon/inbound/users.h"
#include "smtp/server.h"

struct session;

/* One listening class: what its sessions are told and offered. */
struct door {
    const struct config_listen *listen; /* NULL: run_dir/inject */
    enum listen_class class;
    enum listen_tls tls;
    struct smtp_server_config smtp;
};

/* By its listen block; `listen` NULL: run_dir/inject. */
void door_fill(struct door *door, const struct config *cfg, const struct config_listen *listen);

struct inbound {
    struct loop *loop;
    const struct config *cfg;
    struct conn_room *room;
    struct depot *depot;
    struct clerk *clerk;     /* NULL: no listener has auth */
    struct inquiry *inquiry; /* whom lookup knows */
    struct repute *repute;   /* what the DNS says of clients; NULL in tests that do not ask */
    struct census *census;
    struct tls_store *tls; /* NULL: no certificate */
    struct users users;
    const struct rewriting *rewriting; /* NULL: addresses stay as they are */
    struct bans *bans;                 /* NULL in tests that ban nobody */
    struct counts *counts;             /* NULL in tests that do not count */
    struct session *first;
    uint64_t last_session;
    uint64_t begun_count, refused_count; /* sessions, for the metrics of queued */
    struct loop_timer telling;           /* session_counts_changed */
    bool tells;
    struct turnstile turnstile; /* sessions that wait for their TLS handshake */
    struct loop_timer turn;
    uint32_t held_count; /* sessions that wait for the answer to an error */
    bool draining;
    void (*stocked)(struct inbound *in);  /* mail can be taken */
    void (*orphaned)(struct inbound *in); /* queued is gone, or has dropped us */
    void (*emptied)(struct inbound *in);  /* the last session of a draining process is gone */
};

/* Takes the descriptor. Turned away (421) when the limits say so. */
void session_new(struct inbound *in, const struct door *door, int fd);
void session_stop(struct session *s);
/* Queued is told a second later, of all that changed meanwhile. */
void session_counts_changed(struct inbound *in);
struct session *session_next(const struct session *s);
extern const struct depot_handlers SESSION_DEPOT_HANDLERS;
/* Bans on their way: what queued says, what auth says, and all of them to an auth that has just come. */
void session_banned(void *context, const struct msg_ban_set *ban);
void session_ban_made(void *context, const struct msg_ban_made *ban);
void session_bans_tell(struct inbound *in);
/* The clerk's handler. */
void session_answered(void *owner, enum auth_outcome outcome, struct bytes text);
void session_rcpt_known(void *owner, enum rcpt_known known);
void session_client_known(void *owner, struct bytes name, bool nameless, uint32_t listed);

#endif
