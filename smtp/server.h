/* server: one SMTP session as the receiving side, without sockets, clocks or files (docs/states/server.md).
 *
 * For: what a peer may say, in which order, within which bounds, and what it is told. Not for: who may send to whom (the
 * edge answers CHECK_MAIL and CHECK_RCPT), storing (BODY and COMMIT), passwords (AUTH) or TLS (START_TLS).
 *
 * One turn of an edge:
 *     for (;;) {
 *         while (smtp_server_next(&s, &event))
 *             ... act; a question may be answered at once with smtp_server_answer or in a later turn ...
 *         if (input.size == 0 || smtp_server_waiting(&s))
 *             break;
 *         input = bytes_after(input, smtp_server_feed(&s, now, input));
 *     }
 *     ... keep the rest of the input; stop reading the socket while smtp_server_waiting ...
 *     set a timer for smtp_server_deadline(&s); when it fires call smtp_server_tick and run a turn.
 *
 * Rules for the edge:
 *  - Pull events until false after every other call. Feed what was left over before anything newer, and feed it as soon as
 *    the session is not waiting: replies to a pipelined group are kept back until its input is eaten, then leave as one.
 *  - Views in an event are good until the next call on the session; a BODY view may point into the input last fed.
 *  - After START_TLS throw away what is left of the input: it was sent in the clear (RFC 3207 section 4.2).
 *  - At the end of the peer's input, once all of it is fed and the session is not waiting, call smtp_server_hangup.
 *  - After CLOSE nothing more comes; send what was given, then close.
 *
 * Lifetime: config, peer's views and the arena are borrowed and outlive the session; the arena is the session's alone
 * (a transaction or an AUTH exchange lives in it). The struct may not be moved while events are being pulled. No threads. */
#ifndef MANSIO_SMTP_SERVER_H
#define MANSIO_SMTP_SERVER_H

#include "daemon/base/base.h"
#include "smtp/address.h"
#include "smtp/esmtp.h"
#include "smtp/reply.h"
#include "smtp/verp.h"

enum smtp_class {
    SMTP_CLASS_MX,         /* strangers */
    SMTP_CLASS_SUBMISSION, /* our users, by password or network */
    SMTP_CLASS_LOCAL,      /* programs on this host, by UNIX socket: known by uid */
};

/* What VRFY is answered (RFC 5321 3.5.3, 7.3). */
enum smtp_vrfy {
    SMTP_VRFY_NONCOMMITTAL, /* 252 */
    SMTP_VRFY_REFUSE,       /* 502 */
    SMTP_VRFY_ANSWER,       /* what the edge says: CHECK_VRFY */
};

struct smtp_server_config {
    struct bytes hostname;
    enum smtp_class class;
    uint32_t extensions; /* enum smtp_extension: what may be offered. STARTTLS is offered until TLS is on, AUTH when
                                      there are mechanisms and TLS is on or auth_without_tls, XCLIENT to allowed peers */
    struct bytes auth_mechanisms; /* "PLAIN LOGIN" */
    uint64_t size_max;            /* octets of a message; 0: no bound */
    uint32_t rcpt_max;            /* accepted recipients in one transaction; the rest get 452 4.5.3 */
    uint32_t error_max;           /* the error after this many is answered 421 4.7.0; 0: no bound */
    uint32_t received_max;        /* more Received fields than this: 554 5.4.6; 0: no bound */
    enum smtp_vrfy vrfy;
    bool expn_noncommittal; /* 252 instead of 502 */
    bool tls_required;      /* 530 5.7.0 before TLS */
    bool auth_required;     /* 530 5.7.0 to MAIL before AUTH */
    bool auth_without_tls;
    bool bare_newline_convert;     /* LF and CR in content become CRLF; for local injection only */
    bool strict_pipelining;        /* 554 5.5.0 and close when a peer talks before it may */
    int64_t idle_timeout_ms;       /* for a whole command to come; 0: no bound, here and below */
    int64_t data_block_timeout_ms; /* between two pieces of content */
    int64_t session_max_ms;        /* the whole session: the bound against slow peers */
};

struct smtp_peer {
    struct bytes address; /* "192.0.2.1", "2001:db8::1"; empty when local */
    uint16_t port;
    struct bytes rdns;  /* the verified name of the address; empty: unknown */
    struct bytes login; /* OS user when local, else empty until AUTH */
    uint32_t uid;       /* when local */
    bool local;
    bool trusted; /* may relay by its address: COMMAND_COUNT_MAX_UNPROVEN does not count for it */
    bool xclient_allowed;
    bool tls; /* TLS is on from the first octet (implicit) */
    struct bytes tls_version, tls_cipher;
    struct bytes tls_client; /* SHA-256 of its certificate in hexadecimal digits; empty: none */
};

enum smtp_event_kind {
    SMTP_EVENT_REPLY,      /* bytes: send them */
    SMTP_EVENT_CHECK_MAIL, /* mail: answer */
    SMTP_EVENT_CHECK_RCPT, /* rcpt: answer */
    SMTP_EVENT_CHECK_VRFY, /* rcpt (its forward-path alone): answer */
    SMTP_EVENT_BODY,       /* bytes: the next of the message to store; our Received field comes first */
    SMTP_EVENT_COMMIT,     /* commit: the message is whole; answer when it is durable (or refused) */
    SMTP_EVENT_ABORT,      /* the transaction that CHECK_MAIL opened ended without COMMIT: forget it */
    SMTP_EVENT_START_TLS,  /* begin a handshake after the replies so far; then smtp_server_tls_started, or close */
    SMTP_EVENT_AUTH,       /* auth: answer */
    SMTP_EVENT_XCLIENT,    /* notice: smtp_server_peer is now somebody else */
    SMTP_EVENT_REFUSED,    /* notice for the log: refused */
    SMTP_EVENT_CLOSE,      /* close_why: send what was given, then close */
};

/* At which step something was refused. */
enum smtp_step {
    SMTP_STEP_COMMAND, /* unknown, malformed or out of order */
    SMTP_STEP_MAIL,
    SMTP_STEP_RCPT,
    SMTP_STEP_DATA,    /* DATA or BDAT itself */
    SMTP_STEP_CONTENT, /* what came after it */
    SMTP_STEP_COMMIT,
    SMTP_STEP_AUTH,
    SMTP_STEP_SESSION, /* too many errors, too slow, talked too early, we are stopping */
    SMTP_STEP_COUNT,
};

enum smtp_close_why {
    SMTP_CLOSE_QUIT,
    SMTP_CLOSE_GONE,        /* the peer hung up */
    SMTP_CLOSE_TIMEOUT,     /* idle */
    SMTP_CLOSE_SLOW,        /* session_max_ms */
    SMTP_CLOSE_ERRORS,      /* error_max, COMMAND_COUNT_MAX_UNPROVEN */
    SMTP_CLOSE_PIPELINING,  /* talked before it may */
    SMTP_CLOSE_PROTOCOL,    /* a BDAT whose size cannot be read: what follows cannot be told from commands */
    SMTP_CLOSE_TURNED_AWAY, /* smtp_server_turn_away */
    SMTP_CLOSE_STOPPING,    /* smtp_server_stop */
    SMTP_CLOSE_NO_MEMORY,
    SMTP_CLOSE_WHY_COUNT,
};

struct smtp_mail {
    struct address reverse_path; /* text empty: the null reverse-path */
    enum body_type body;
    uint64_t size; /* declared; 0: not said */
    enum dsn_ret ret;
    struct bytes envid; /* decoded; empty: none */
    bool smtputf8;
    struct verp_delimiters verp; /* {0}: not asked for */
};

struct smtp_rcpt {
    struct address forward_path;
    uint8_t notify;     /* enum dsn_notify; 0: not said */
    struct bytes orcpt; /* "rfc822;decoded"; empty: none */
    bool tell_refusal;  /* a refusal is to be told to the sender by mail, not here */
};

struct smtp_commit {
    struct message_id id;
    uint64_t body_size; /* octets given by BODY events, the Received field included */
    uint32_t rcpt_count;
    bool header_8bit;               /* raw 8-bit octets in the header block */
    bool body_8bit;                 /* raw 8-bit octets after it */
    struct bytes header_message_id; /* for display, at most DISPLAY_FIELD_SIZE_MAX, unfolded, no control characters */
    struct bytes header_subject;
};

struct smtp_auth {
    struct bytes mechanism; /* upper case; empty in continuations */
    struct bytes response;  /* decoded from base64 */
    bool has_response;      /* false: AUTH without an initial response */
};

struct smtp_refused {
    enum smtp_step step;
    uint16_t code;
    struct enhanced_status status;
    struct bytes line;    /* the reply as sent, without its last CRLF */
    struct bytes subject; /* the address at MAIL and RCPT where it could be parsed; else empty */
};

struct smtp_event {
    enum smtp_event_kind kind;
    struct bytes bytes; /* REPLY, BODY */
    union {
        struct smtp_mail mail;
        struct smtp_rcpt rcpt;
        struct smtp_commit commit;
        struct smtp_auth auth;
        struct smtp_refused refused;
        enum smtp_close_why close_why;
    };
};

enum smtp_answer_kind {
    SMTP_ANSWER_YES,
    SMTP_ANSWER_NO,        /* with reply, whose code is 4xx or 5xx */
    SMTP_ANSWER_CHALLENGE, /* AUTH only */
};

struct smtp_answer {
    enum smtp_answer_kind kind;
    struct reply reply;          /* NO. A 421 closes the session after it */
    struct message_id id;        /* YES to MAIL */
    struct walltime received_at; /* YES to MAIL: the date of the Received field */
    struct bytes challenge;      /* CHALLENGE, before base64 */
    struct bytes login;          /* YES to AUTH; at most LOCAL_PART_SIZE_MAX octets */
};

enum {
    SERVER_OUT_SIZE = 1024,
    SERVER_SCRATCH_SIZE = ADDRESS_SIZE_MAX + ORCPT_SIZE_MAX + ENVID_SIZE_MAX,
    SERVER_PEER_TEXT_SIZE = 576,     /* login and what XCLIENT said: name 255, address 45, login 256 and a little */
    SERVER_CHALLENGE_SIZE_MAX = 192, /* of an AUTH challenge, before base64 */
    SERVER_EVENTS_MAX = 5,
};

struct smtp_transaction;

/* The fields are the session's own: read them through the functions below. */
struct smtp_server {
    const struct smtp_server_config *config;
    struct arena *arena;
    struct smtp_transaction *transaction; /* in the arena; NULL: none */
    struct smtp_peer peer;
    struct instant idle_deadline, session_deadline;
    uint8_t state; /* enum server_state */
    uint8_t close_why;
    uint8_t event_first, event_count;
    bool esmtp; /* greeted with EHLO */
    bool authenticated;
    bool proven;     /* a recipient was accepted in this session */
    bool greeted;    /* our greeting has left */
    bool input_left; /* the edge still holds input: replies may wait for more company */
    bool out_given;  /* the last event was the content of `out` */
    bool line_skip;  /* inside a line over its limit */
    bool line_cr;    /* of which the last octet was CR */
    bool early;      /* the peer spoke before it may: the session ends after the open question */
    bool stopping;
    bool chunk_last;
    bool out_full; /* input waits for room in `out` */
    uint16_t helo_size;
    uint16_t path_size; /* of the address at the start of scratch */
    uint16_t login_at;  /* where in peer_text the login begins; it is the last thing there */
    uint32_t command_count, error_count;
    uint64_t chunk_left;               /* octets of a BDAT chunk still to come */
    const struct reply *last_words;    /* smtp_server_expel */
    const struct reply *chunk_refusal; /* what to say after a chunk that may not be; NULL: it may */
    struct smtp_event events[SERVER_EVENTS_MAX];
    struct buf line; /* a partial line: line_room, or a larger one in the arena during AUTH */
    struct buf out;
    struct buf scratch; /* what the open question's views point into */
    struct buf peer_text;
    uint8_t helo[HELO_SIZE_MAX];
    uint8_t peer_room[SERVER_PEER_TEXT_SIZE];
    uint8_t line_room[COMMAND_SIZE_MAX];
    uint8_t out_room[SERVER_OUT_SIZE];
    uint8_t scratch_room[SERVER_SCRATCH_SIZE];
};

/* A session whose first event is the greeting. */
void smtp_server_init(struct smtp_server *s, const struct smtp_server_config *config, const struct smtp_peer *peer,
    struct arena *arena, struct instant now);
/* Instead of the greeting: `reply` (421 or 554) and CLOSE. Only before the first event was pulled. */
void smtp_server_turn_away(struct smtp_server *s, const struct reply *reply);

/* How many octets of `in` it ate; 0 while waiting, and after CLOSE. It stops early when there is an event to pull. */
size_t smtp_server_feed(struct smtp_server *s, struct instant now, struct bytes in);
/* Acts on a deadline that has passed: 421 4.4.2 and CLOSE. Harmless at any other moment. */
void smtp_server_tick(struct smtp_server *s, struct instant now);
/* The next thing to do; false when there is none. */
bool smtp_server_next(struct smtp_server *s, struct smtp_event *event_out);
/* The answer to the open question. CODE_GONE when none is open (the session ended meanwhile): drop it. */
RESULT
smtp_server_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer);
/* When smtp_server_tick wants to be called; INSTANT_NEVER while waiting for an answer. */
struct instant smtp_server_deadline(const struct smtp_server *s);

/* True from a question to its answer, from START_TLS to smtp_server_tls_started, and after CLOSE: feed eats nothing. */
bool smtp_server_waiting(const struct smtp_server *s);
/* The handshake that START_TLS asked for is done: the session starts anew, without a greeting (RFC 3207 4.2). The views
 * outlive the session. */
void smtp_server_tls_started(struct smtp_server *s, struct instant now, struct bytes version, struct bytes cipher);
/* The client has shown a certificate, tls_client (for the Received field); the view stays good as long as the session. */
void smtp_server_tls_client(struct smtp_server *s, struct bytes fingerprint);
/* The peer is gone: ABORT where a transaction is open and its COMMIT is not, then CLOSE. */
void smtp_server_hangup(struct smtp_server *s);
/* We are going down: 421 4.3.2 and CLOSE, at once between commands, after the reply when a message is on its way. */
void smtp_server_stop(struct smtp_server *s);

/* The peer has had enough of us: `reply` (421, a static one) and CLOSE, at the moments of smtp_server_stop. */
void smtp_server_expel(struct smtp_server *s, const struct reply *reply);

/* The verified name of the peer's address, for the trace field; the view outlives the session or the next call of this. */
void smtp_server_rdns(struct smtp_server *s, struct bytes name);
/* Whether the peer that XCLIENT named may relay by its address (smtp_peer.trusted is for the one that connected). */
void smtp_server_trust(struct smtp_server *s, bool trusted);

/* Who the peer is now: XCLIENT, AUTH and STARTTLS change it. Good until the next call that feeds the session. */
const struct smtp_peer *smtp_server_peer(const struct smtp_server *s);
struct bytes smtp_server_helo(const struct smtp_server *s);
/* Commands so far. */
uint32_t smtp_server_command_count(const struct smtp_server *s);
bool smtp_server_authenticated(const struct smtp_server *s);
/* The protocol word of the Received field: SMTP, ESMTPS, UTF8SMTPSA, local (RFC 3848, RFC 6531 4.3). */
const char *smtp_server_protocol(const struct smtp_server *s);

/* Words for the log. */
const char *smtp_step_name(enum smtp_step step);
const char *smtp_close_why_name(enum smtp_close_why why);

#endif
