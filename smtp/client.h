/* client: one outbound SMTP or LMTP session, many transactions over it (RFC 5321, 2033, 2920, 1870, 6152, 3030, 3461,
 * 3207, 4954, 6531). docs/states/client.md draws it.
 *
 * For: whoever owns a connection to a mail host (outbound, sendmail's submission). Not for: choosing hosts (courier.h,
 * dns/mx.h), sockets, TLS, pooling: it is fed octets and the time and hands back events and a deadline.
 *
 * The edge, whole:
 *   smtp_client_init(&c, &cfg, now);                               on connect
 *   smtp_client_job_start(&c, now, &job);                          at any time no job is there; waits for the greeting
 *   turn: while (smtp_client_next(&c, &event)) switch (event.kind) {
 *       case SMTP_CLIENT_WRITE:       gather (or copy) event.bytes                                      break;
 *       case SMTP_CLIENT_WANT_BODY:   fetch event.want; later smtp_client_body(&c, now, bytes, last)    break;
 *       case SMTP_CLIENT_WANT_CONVERT: smtp_client_convert(&c, now, room for a struct convert)          break;
 *       case SMTP_CLIENT_RCPT_RESULT: one recipient's fate: event.rcpt                                  break;
 *       case SMTP_CLIENT_JOB_DONE:    recipients without a result share event.done.reply                break;
 *       case SMTP_CLIENT_START_TLS:   handshake; later smtp_client_answer(&c, now, ..TLS_UP, NULL)      break;
 *       case SMTP_CLIENT_CLOSE:       close the connection after what was written                       break; }
 *     send all that was gathered in one write (one segment); set the timer to smtp_client_deadline(&c)
 *   input: while (in.size > 0) { in = bytes_after(in, smtp_client_feed(&c, now, in)); turn; }
 *   timer: smtp_client_tick(&c, now); turn.        peer closed or error: smtp_client_lost(&c, now, why); turn.
 *   When the peer reads slowly, stop calling next; call tick before going on (the core has no clock but the last `now`).
 *
 * A turn must follow every call; feed eats nothing while results wait to be pulled. After CLOSE nothing comes any more and
 * feed swallows what it is given. Views in an event are good until the next call on the client; a view of body octets
 * (event.is_body) points into what smtp_client_body got and stays good as long as the caller keeps that.
 * Lifetime: plain memory (about 20 KiB), no fini; `cfg` is borrowed for the session, a job until its JOB_DONE, body octets
 * until the next WANT_BODY or JOB_DONE.
 * Of a message that is converted WANT_BODY asks twice from 0 on. */
#ifndef MANSIO_SMTP_CLIENT_H
#define MANSIO_SMTP_CLIENT_H

#include "smtp/client_job.h"
#include "smtp/client_login.h"
#include "smtp/client_peer.h"
#include "smtp/client_reply.h"
#include "smtp/convert.h"
#include "smtp/dot.h"

enum {
    SMTP_CLIENT_OUT_SIZE = 8192,                 /* commands gathered for one write; a longer group takes several */
    SMTP_CLIENT_BODY_SIZE = BODY_FRAME_SIZE_MAX, /* body octets asked for at once */
    SMTP_CLIENT_EAGER_SIZE = 65536, /* a body up to this goes out with BDAT before the replies to RCPT are there */
    SMTP_CLIENT_WHY_SIZE_MAX = 192,
};

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NONE,          /* STARTTLS is not used */
    SMTP_CLIENT_TLS_OPPORTUNISTIC, /* used when offered; a refusal (not a failed handshake) is passed over */
    SMTP_CLIENT_TLS_REQUIRED,      /* no mail without it */
    SMTP_CLIENT_TLS_IMPLICIT,      /* the connection is encrypted already */
};

struct smtp_client_config {
    struct bytes helo; /* our host name, or an address literal */
    bool lmtp;
    enum smtp_eight_bit eight_bit;
    downgrade_domain_fn *domain_ascii; /* idna_to_ascii, for what is converted */
    bool no_chunking;                  /* never BDAT */
    bool no_pipelining;
    enum smtp_client_tls tls;
    struct client_login *login; /* borrowed; NULL: none. No mail goes to a host that refuses it. For one session */
    /* RFC 5321 4.5.3.2, milliseconds. Each runs anew from the reply (or the body portion) before it. */
    int64_t greeting_ms, ehlo_ms, mail_ms, rcpt_ms, data_ms, block_ms, dot_ms, quit_ms;
};

enum smtp_client_event_kind {
    SMTP_CLIENT_WRITE,
    SMTP_CLIENT_WANT_BODY,
    SMTP_CLIENT_WANT_CONVERT, /* the message is to be converted: smtp_client_convert brings the room for it */
    SMTP_CLIENT_RCPT_RESULT,
    SMTP_CLIENT_JOB_DONE,
    SMTP_CLIENT_START_TLS,
    SMTP_CLIENT_CLOSE,
};

enum smtp_rcpt_outcome {
    SMTP_RCPT_DELIVERED,
    SMTP_RCPT_DEFERRED,
    SMTP_RCPT_FAILED,
    SMTP_RCPT_AGAIN, /* 452 or 421 behind accepted recipients: put it into another transaction at once */
};

/* How a job left its session. */
enum smtp_client_end {
    SMTP_CLIENT_END_DONE,            /* every recipient has got its result */
    SMTP_CLIENT_END_REFUSED_4XX,     /* greeting, EHLO, HELO or MAIL: 421 or 4yz of the host, not of this mail */
    SMTP_CLIENT_END_REFUSED_5XX,     /* greeting, or EHLO and HELO */
    SMTP_CLIENT_END_TLS_UNAVAILABLE, /* required, and not offered or refused */
    SMTP_CLIENT_END_TLS_FAILED,      /* handshake failed, or plaintext stood behind the 220 */
    SMTP_CLIENT_END_LOST,            /* the peer closed, or the network failed */
    SMTP_CLIENT_END_TIMEOUT,
    SMTP_CLIENT_END_GARBAGE,      /* replies that are none, or where none was due */
    SMTP_CLIENT_END_SHUT_DOWN,    /* 421 within a transaction, before it was decided */
    SMTP_CLIENT_END_BODY_GONE,    /* our own body was not to be had: nothing the peer did */
    SMTP_CLIENT_END_LOGIN_FAILED, /* not offered, refused, called off, or not to be said without TLS */
};

struct smtp_client_event {
    enum smtp_client_event_kind kind;
    union {
        struct { /* WRITE */
            struct bytes bytes;
            bool is_body; /* `bytes` lies in the body the caller handed in */
        };
        struct { /* WANT_BODY */
            uint64_t offset;
            size_t size_max;
        } want;
        struct {          /* RCPT_RESULT */
            size_t index; /* in job->rcpts */
            enum smtp_rcpt_outcome outcome;
            struct peer_reply reply; /* the status is always filled in; code 0: decided by us */
            bool dsn_passed;         /* the peer has taken over what NOTIFY asks */
        } rcpt;
        struct { /* JOB_DONE */
            enum smtp_client_end end;
            struct peer_reply reply; /* for recipients without a result, unless DONE */
            size_t undecided_count;  /* recipients without a result */
            bool reusable;           /* the session takes another job */
            bool uncertain;          /* the whole message was sent and the undecided ones may have got it (Q4) */
            bool nothing_sent;       /* no octet of the body went out */
            bool decided_some;       /* a recipient got a result that is not AGAIN */
            bool stale;              /* a kept session turned out to be dead before a reply to this job: dial anew */
        } done;
        struct { /* CLOSE */
            enum smtp_client_end end;
            struct bytes why;
        } close;
    };
};

enum smtp_client_answer { SMTP_CLIENT_TLS_UP, SMTP_CLIENT_TLS_BROKEN, SMTP_CLIENT_BODY_BROKEN };

enum smtp_client_rcpt_state { SMTP_CLIENT_RCPT_OPEN, SMTP_CLIENT_RCPT_ACCEPTED, SMTP_CLIENT_RCPT_DECIDED };

/* Private to client*.c from here on. */
struct smtp_client {
    const struct smtp_client_config *cfg;
    const struct smtp_job *job; /* NULL: none */
    struct instant now;         /* of the last call that said it */
    struct instant deadline;
    uint8_t state;        /* enum client_state, client.c: which reply is waited for */
    uint8_t sending;      /* enum client_sending, client.c: what goes out next */
    unsigned ahead_count; /* commands sent whose replies have not been read */
    struct client_peer peer;
    unsigned jobs_done;
    bool tls_up;
    bool open_transaction; /* MAIL was accepted: RSET before the next one */
    bool no_reuse;         /* the peer said 421 */

    bool begun;     /* this job's transaction has begun */
    bool decided;   /* one of its recipients is not put off */
    bool replied;   /* this job has got a reply */
    bool bdat;      /* BDAT, not DATA */
    bool eager;     /* BDAT and content go out before the replies to RCPT are there */
    bool data_sent; /* DATA or BDAT was written */
    bool lone_dot;  /* 354 with no recipient: an empty content is due */
    bool body_sent, whole_sent, uncertain, stale;
    size_t rcpt_sent;      /* recipients before it have been written (or refused here) */
    size_t rcpt_at;        /* whose reply is next: to RCPT, in LMTP to the content */
    size_t accepted_count; /* and not yet decided */
    size_t undecided_count;
    uint8_t rcpt_states[JOB_RCPT_COUNT_MAX]; /* enum smtp_client_rcpt_state */

    uint8_t way;             /* enum client_way: as it is, or converted */
    bool convert_due;        /* WANT_CONVERT is to be said */
    struct convert *convert; /* borrowed until JOB_DONE; NULL: the content goes as it is */
    uint64_t content_size;   /* that MAIL tells; 0: not known */

    struct smtp_dot dot;
    struct bytes raw;     /* handed in, to be converted */
    struct bytes body;    /* handed in or converted, not yet given out */
    struct bytes piece;   /* of it, made transparent, to be the next write */
    uint64_t body_offset; /* octets handed in so far */
    bool body_last, body_wanted;

    struct {           /* what feed left for next to say */
        uint8_t scope; /* enum client_result_scope, client.c */
        size_t at;     /* the recipient, or where to look on for those it is for */
        enum smtp_rcpt_outcome outcome;
        struct peer_reply reply;
    } result;
    bool done_due, tls_due, close_due;
    enum smtp_client_end end;
    struct peer_reply end_reply;

    struct client_reply reply;
    struct buf out;
    struct buf transcript;
    uint8_t why_room[SMTP_CLIENT_WHY_SIZE_MAX];
    uint8_t out_room[SMTP_CLIENT_OUT_SIZE];
    uint8_t transcript_room[ATTEMPT_TRANSCRIPT_SIZE_MAX];
};

/* A connection has just been made; the greeting is waited for. */
void smtp_client_init(struct smtp_client *c, const struct smtp_client_config *cfg, struct instant now);

/* Begins a job; with the session not ready yet it begins by itself later. There must be no other job and the session must
 * not have said CLOSE or JOB_DONE without `reusable`. Recipients that cannot go to this peer (SIZE 5.3.4, 8BITMIME 5.6.3,
 * SMTPUTF8 5.6.7, controls in an address 5.1.3) get their result without a word to it. A message that must be converted for
 * the peer is read once before the transaction, and once within it. */
void smtp_client_job_start(struct smtp_client *c, struct instant now, const struct smtp_job *job);

/* A job is there, and nothing of its transaction has been said to the peer or been decided: it may still grow. That ends in
 * the turn that finds the session ready. */
bool smtp_client_job_open(const struct smtp_client *c);
/* Puts in the place of an open job one that takes the same message to its recipients and to more, in whatever order. */
void smtp_client_job_grow(struct smtp_client *c, const struct smtp_job *job);

/* Octets from the peer; returns how many were eaten. Once STARTTLS has been answered 220, any more plaintext ends the
 * session (RFC 3207 section 6: it may have been injected). */
size_t smtp_client_feed(struct smtp_client *c, struct instant now, struct bytes in);
/* Time has passed: ends the session when its deadline is reached. */
void smtp_client_tick(struct smtp_client *c, struct instant now);
bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *event_out);
/* The body octets that WANT_BODY asked for (any size above 0 from its offset on, or none with `last`). `last`: the body ends
 * with them; it must then have been job->body_size octets in all, else nothing is delivered (BODY_GONE). */
void smtp_client_body(struct smtp_client *c, struct instant now, struct bytes bytes, bool last);
/* Room for WANT_CONVERT, the caller's until JOB_DONE; NULL: there is none, and the job is put off. */
void smtp_client_convert(struct smtp_client *c, struct instant now, struct convert *room);
/* What became of START_TLS or of the body; `why` (a literal or kept by the caller until the next turn) is for the reply. */
void smtp_client_answer(struct smtp_client *c, struct instant now, enum smtp_client_answer answer, const char *why);
/* The connection is gone, or broken in either direction; `why` may be NULL. */
void smtp_client_lost(struct smtp_client *c, struct instant now, const char *why);
/* Ends an idle session with QUIT; CLOSE follows after the reply, or cfg->quit_ms. No job may be there. */
void smtp_client_quit(struct smtp_client *c, struct instant now);
struct instant smtp_client_deadline(const struct smtp_client *c);

/* READY for a job at once: greeted, no job, not closing. */
bool smtp_client_idle(const struct smtp_client *c);
/* What the peer offers, enum smtp_extension; 0 before EHLO. */
uint32_t smtp_client_extensions(const struct smtp_client *c);
/* The last dialogue of the present or last job ("C: …", "S: …", lines ended by LF), its newest
 * ATTEMPT_TRANSCRIPT_SIZE_MAX octets; message content is not in it. Good until the next call. */
struct bytes smtp_client_transcript(const struct smtp_client *c);

#endif
