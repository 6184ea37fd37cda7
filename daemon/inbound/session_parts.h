/* session_parts: what the files of a session share: session.c (its turns and its end), session_mail.c (its transaction),
 * session_peer.c (who the client is: logins, TLS, trust), session_birth.c (admission, a balancer's header, the first words).
 *
 * Not for: anybody else; see session.h. */
#ifndef MANSIO_INBOUND_SESSION_PARTS_H
#define MANSIO_INBOUND_SESSION_PARTS_H

#include "daemon/base/log.h"
#include "daemon/edge/loop.h"
#include "daemon/inbound/letter.h"
#include "daemon/inbound/policy.h"
#include "daemon/inbound/session.h"

enum { PROXY_MS = 10000 };

struct session {
    struct inbound *in;
    const struct door *door;
    struct conn *io;
    struct session *next, **link;
    struct depot_tx *tx;
    struct clerk_seat login;
    struct letter *letter; /* between us and the depot for what is submitted; it then owns tx */
    struct inquiry_question question;
    struct smtp_rcpt asked; /* the recipient of the open question; its views live in the core */
    struct bytes asked_path;
    struct session_id id;
    struct conn_end client; /* who it is: the connection's peer, or whom a load balancer names */
    struct buf proxy;       /* the balancer's header while it is not whole */
    uint32_t place;         /* in the census */
    uint32_t messages, rcpts;
    uint32_t uid;
    char uid_text[16];
    bool counted;
    bool proxied; /* the balancer's header is still to come */
    bool begun;   /* the core is there (with implicit TLS: after the handshake) */
    bool running; /* (S2) */
    bool shaking; /* a TLS handshake is under way: the connection is its own master */
    bool ended;   /* (S3) */
    bool over;    /* CLOSE was pulled */
    bool may_relay;
    const char *why;
    const char *rcpt_why; /* of the policy's last refusal, until it is logged */
    struct arena arena;
    struct smtp_server smtp;
};

/* --- session.c --- */
/* After anything that may have ended a wait (S1). */
void session_go_on(struct session *s);
struct bytes session_client(const struct session *s);
void session_answer_no(struct session *s, struct reply reply);
extern const struct conn_handler SESSION_HANDLER;

/* --- session_mail.c: the answers to the core's questions about mail --- */
void session_check_mail(struct session *s, const struct smtp_mail *mail);
void session_check_rcpt(struct session *s, const struct smtp_rcpt *rcpt);
void session_body(struct session *s, struct bytes body);
void session_commit(struct session *s, const struct smtp_commit *commit);
void session_abort(struct session *s);
/* The client is gone: a committed transaction ends by itself, another is aborted. */
void session_mail_leave(struct session *s);

/* --- session_peer.c --- */
void session_auth(struct session *s, const struct smtp_auth *auth);
void session_trust_refresh(struct session *s);
void session_tls_begin(struct session *s);

/* --- session_birth.c --- */
/* The core begins: greeting first. */
void session_begin(struct session *s);
/* Octets of the balancer's header are eaten; what stands behind it comes again. */
size_t session_proxy_input(struct session *s, struct bytes in);

#endif
