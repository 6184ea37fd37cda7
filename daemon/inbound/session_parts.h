/* session_parts: what the files of a session share: session.c (its turns and its end), session_mail.c (its transaction),
 * session_peer.c (who the client is: logins, TLS, trust), session_birth.c (admission, a balancer's header, the first words),
 * session_limits.c (how often, and how slowly).
 *
 * Not for: anybody else; see session.h. */
#ifndef MANSIO_INBOUND_SESSION_PARTS_H
#define MANSIO_INBOUND_SESSION_PARTS_H

#include "daemon/base/log.h"
#include "daemon/edge/loop.h"
#include "daemon/inbound/letter.h"
#include "daemon/inbound/policy.h"
#include "daemon/inbound/score.h"
#include "daemon/inbound/session.h"

enum { PROXY_MS = 10000 };

/* Why nothing is said for a while (S4). */
enum session_hold { HOLD_NONE, HOLD_GREETING, HOLD_ERROR };

struct session {
    struct inbound *in;
    const struct door *door;
    struct conn *io;
    struct session *next, **link;
    struct depot_tx *tx;
    struct clerk_seat login;
    struct letter *letter; /* between us and the depot for what is submitted; it then owns tx */
    struct inquiry_question question;
    struct repute_question repute;
    struct smtp_mail
        asked_mail; /* of a MAIL that waits for what the DNS or a lookup says; its views live in the core */
    struct verp_delimiters verp; /* of the transaction */
    struct smtp_rcpt asked;      /* the recipient of the open question; its views live in the core */
    struct bytes asked_path;
    bool mail_is_asked;              /* the open question is about the sender of asked_mail */
    struct smtp_commit asked_commit; /* of a message whose authors are looked at; its views live in the core */
    size_t author_count;             /* of those that are the login's */
    bool author_is_asked;            /* the open question is about the next one */
    struct session_id id;
    struct conn_end client; /* who it is: the connection's peer, or whom a load balancer names */
    struct buf proxy;       /* the balancer's header while it is not whole */
    uint8_t who[16];        /* its address, or the one that XCLIENT named */
    uint64_t block;         /* of that address: what counts as one client */
    uint64_t size_max; /* of the open transaction: the least of its recipients' domains; 0: no more than the server's */
    uint64_t size_declared; /* at MAIL; 0: not said */
    struct instant held_until;
    struct turnstile_place turn; /* while it waits for its handshake; then it is shaking already */
    enum session_hold hold;
    uint32_t commands_counted;
    uint32_t place; /* in the census */
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
    bool certified; /* its certificate is one of relay_certificates */
    bool exempt;    /* from rates and checks, by its address */
    bool verifying; /* the open question is VRFY's */
    const char *why;
    const char *rcpt_why; /* of the policy's last refusal, until it is logged */
    bool mail_waits;      /* asked_mail */
    bool nameless;        /* facts for the score, as lookup told them */
    bool scored;          /* `score` is in the log */
    bool score_refuses;   /* it is refused at RCPT */
    int32_t score;
    uint32_t listed;
    struct arena arena;
    uint8_t name_room[DOMAIN_SIZE_MAX];            /* what peer.rdns shows */
    uint8_t fingerprint[2 * TLS_FINGERPRINT_SIZE]; /* in hexadecimal digits, what peer.tls_client shows */
    bool certificate_shown;
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
void session_check_vrfy(struct session *s, const struct smtp_rcpt *rcpt);
void session_body(struct session *s, struct bytes body);
void session_commit(struct session *s, const struct smtp_commit *commit);
void session_abort(struct session *s);
/* The client is gone: a committed transaction ends by itself, another is aborted. */
void session_mail_leave(struct session *s);

/* --- session_peer.c --- */
void session_auth(struct session *s, const struct smtp_auth *auth);
void session_trust_refresh(struct session *s);
void session_tls_begin(struct session *s);
/* The handshake is over: what it showed of the client. False: nothing, where that is required; the connection is closed. */
bool session_tls_over(struct session *s);
struct bytes session_fingerprint(const struct session *s);
/* At its turn (session_limits.c), or at once. */
void session_tls_start(struct session *s);
/* Asks what the DNS says of the client's address; nothing of an earlier one counts any more. */
void session_client_ask(struct session *s);
/* At MAIL, when that is known or was not asked. */
void session_score(struct session *s);

/* --- session_limits.c --- */
/* The client is (now) at this address. */
void session_who_set(struct session *s, const uint8_t address[16]);
/* NULL: may connect; else why not, and what to say. */
const char *session_limit_connect(struct session *s, struct reply *reply_out);
/* Counts the commands since the last call; the session ends where they are too many. */
void session_limit_commands(struct session *s);
/* NULL, or the refusal. `sender_domain` is empty for the null reverse-path. */
const struct reply *session_limit_mail(struct session *s, struct bytes sender_domain);
/* `domain`: ours that the recipient is in; NULL elsewhere. */
const struct reply *session_limit_rcpt(
    struct session *s, struct bytes sender_domain, const struct config_domain *domain);
/* At the end of a message. */
void session_limit_octets(struct session *s, struct bytes sender_domain, uint64_t size);
/* Whether the handshake may begin now; else session_tls_start is called at its turn. */
bool session_limit_handshake(struct session *s);
void session_turn_leave(struct session *s);
void session_hold_greeting(struct session *s);
/* After a 5xx reply: it is counted, and waits if there is room for one more that does. */
void session_error_counted(struct session *s);
void session_hold_end(struct session *s);

/* --- session_rewrite.c --- */
/* NULL: addresses of this client's mail stay as they are. */
const struct rewriting *session_rewriting(const struct session *s);
/* Whether generic maps are for its mail when it leaves. */
bool session_leaves_generic(const struct session *s);
/* What stands for the reverse-path: in `room` (ADDRESS_SIZE_MAX), or itself. */
struct bytes session_rewrite_sender(const struct session *s, struct bytes reverse_path, struct buf *room);
/* The recipient in its place; the one the client named becomes its ORCPT. CODE_FULL: no memory. */
RESULT session_rewrite_rcpt(struct session *s, struct smtp_rcpt *rcpt);

/* --- session_birth.c --- */
/* The core begins: greeting first. */
void session_begin(struct session *s);
/* Octets of the balancer's header are eaten; what stands behind it comes again. */
size_t session_proxy_input(struct session *s, struct bytes in);

#endif
