/* parts: what the files of outbound share: the process, its deliveries (jobs) and its links (connections).
 *
 * A delivery owns a courier and the message's body window; a link owns a connection and the SMTP client core. While one is
 * dialed or a session runs they know each other by seats; else a delivery waits for DNS, and a link waits in the pool.
 * Deliveries of one message whose next hops turn out to be the same host share the dial and the transaction (joint.c).
 * Lifetime: a delivery from job_begin to job_end; a link from its dial to its connection's `closed`. Threads: none. */
#ifndef MANSIO_OUTBOUND_PARTS_H
#define MANSIO_OUTBOUND_PARTS_H

#include "daemon/config/rewriting.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/conn.h"
#include "daemon/edge/dns_edge.h"
#include "daemon/edge/loop.h"
#include "daemon/outbound/clear_hosts.h"
#include "daemon/outbound/courier.h"
#include "daemon/outbound/dane_check.h"
#include "daemon/outbound/findings.h"
#include "daemon/outbound/resumption.h"
#include "smtp/client_auth.h"
#include "smtp/reply.h"

enum {
    OUTBOUND_SLOTS = 256,                      /* jobs at once in one process */
    POOL_LINKS_MAX = 128,                      /* kept connections; beyond it the oldest is quit */
    POOL_IDLE_MS = 5000,                       /* how long a connection is kept without a job: peers count us too */
    DELIVERY_ARENA_SIZE_MAX = 4 * 1024 * 1024, /* JOB_RCPT_COUNT_MAX recipients with their last replies */
};

/* Marks, in the number that comes back with an answer, a link where else a delivery is meant. */
#define LINK_ASK_BIT ((uint64_t)1 << 63)

struct outbound;
struct delivery;

struct joint;

/* A delivery's place on a link: it waits for the dial, or has the session. Part of the delivery. */
struct seat {
    struct link *link; /* NULL: none */
    struct delivery *delivery;
    struct seat *next, **at; /* of the link */
    unsigned slot;           /* of the delivery's courier, of a dial */
    bool dialing;            /* it is to be told when the link is connected */
    bool in_job;             /* its recipients are in the job that the client core has */
    bool untold;             /* that job is over, and it has not heard yet */
};

/* How a link logs in. */
struct link_login {
    struct client_credentials credentials; /* views into outbound's logins */
    struct client_auth auth;
};

/* A connection to a next hop. */
struct link {
    struct outbound *ob;
    struct conn *io;
    struct link *next, **at;    /* in the pool; at is NULL elsewhere */
    struct seat *seats;         /* whose dial or session this is, first come first */
    const struct smtp_job *job; /* the client core's, while `joint` is NULL */
    struct joint *joint;        /* several deliveries share, or may share, the next transaction; NULL: no */
    bool begun;                 /* the client core is there */
    bool running;               /* its events are being pulled */
    bool late;                  /* its time is up: they are pulled although the peer does not read */
    bool shaking;               /* a TLS handshake is under way */
    bool over;                  /* CLOSE was pulled, or the connection is gone */
    bool tls_due;               /* START_TLS was pulled */
    bool second_try;            /* in the clear, since a handshake with this peer has just failed */
    uint32_t jobs;
    struct loop_hook work;
    enum route_tls level;
    struct dns_answer *tlsa;            /* records that DNSSEC vouches for; NULL: none */
    struct resolver_token tlsa_ask;     /* while tlsa_open */
    bool tlsa_open, tlsa_failed;        /* the question is out; it has no answer that can be used */
    struct bytes fingerprint;           /* of its route: what the host is known by instead of roots; empty: none */
    bool dane;                          /* a record could be used: the peer is proved by it */
    bool connected;                     /* and waits for it */
    struct courier_peer peer;           /* views into the room */
    const struct config_source *source; /* from where, and as whom; NULL: as the host */
    struct bytes credentials;           /* name of the login of its route; empty: none */
    struct link_login *login;           /* NULL: none */
    struct bytes lane;                  /* of its last job */
    struct smtp_client_config cfg;
    struct convert *convert; /* while a message is converted; NULL: none is */
    struct smtp_client client;
    char address_text[DNS_ADDRESS_TEXT_SIZE_MAX + 1];
    uint8_t host_room[DOMAIN_SIZE_MAX + 1], base_room[DOMAIN_SIZE_MAX + 1], path_room[CONN_TEXT_SIZE_MAX];
    uint8_t lane_room[LANE_NAME_SIZE_MAX];
};

/* A piece of the body: what the client core is sending, or what comes after it. */
struct body_piece {
    uint64_t offset;
    size_t size;
    uint8_t *data; /* BODY_FRAME_SIZE_MAX octets; NULL: not needed yet */
};

/* One job. */
struct delivery {
    struct outbound *ob;
    struct delivery *next, **at; /* of all; or next among the spare */
    struct job_id id;
    struct arena arena;
    struct bytes lane;
    struct envelope_head head;
    struct recipient *rcpts;
    uint32_t rcpt_count, rcpt_room;
    bool running;                 /* the courier is there */
    bool pulling;                 /* its events are being pulled */
    bool damaged;                 /* a frame did not fit: it ends without a try */
    struct bytes first;           /* the body from 0 on, as it came with the job: kept for the next host */
    int64_t grown;                /* by so many octets, when its header was rewritten (generic.c) */
    struct body_piece now, ahead; /* beyond `first`; their offsets are those of the queue */
    bool body_wanted;             /* the client core waits for body_offset */
    uint64_t body_offset;
    bool body_asked; /* a job_want is under way, for asked_offset */
    uint64_t asked_offset;
    struct seat session;   /* of the running session */
    bool session_reusable; /* as its JOB_DONE said */
    struct seat dials[COURIER_DIAL_COUNT];
    struct seat kept; /* offered with courier_offer_kept */
    struct resolver_token asks[MX_ASK_COUNT_MAX];
    bool ask_open[MX_ASK_COUNT_MAX];
    struct loop_timer timer;
    enum route_tls tls;
    struct bytes fingerprint;           /* of its route */
    const struct route *login;          /* whose credentials it needs; NULL: none */
    const struct config_source *source; /* which its lane names; NULL: none */
    struct courier_config cfg;          /* the process's, with what `tls` asks for */
    struct courier_job job;
    struct findings findings;
    struct bytes ask_names[MX_ASK_COUNT_MAX];
    struct instant began;
    bool troubled; /* somebody did not get it: what was found is kept */
    struct courier courier;
    uint8_t findings_room[FINDINGS_SIZE_MAX];
};

struct outbound {
    struct process *process;
    struct loop *loop;
    const struct config *cfg;
    struct conn_room *room;
    struct dns_edge *dns;
    struct tls_context *tls;       /* NULL: not needed yet */
    struct tls_context *tls_roots; /* with trusted roots; NULL: no route wants them */
    struct bytes logins;           /* config/login_file.h; wiped at the end */
    struct rewriting rewriting;
    struct channel *queued;
    struct resumption resumption;
    struct clear_hosts clear_hosts;
    struct dane_check *dane_check;
    bool dane_known, dane_live;
    struct mx_self self;
    struct courier_config courier;
    struct rng rng;
    struct delivery *deliveries, *spare;
    uint32_t delivery_count, spare_count;
    struct link *pool; /* newest first */
    uint32_t pool_count;
    bool draining;
};

/* --- main.c --- */
/* A draining process ends when it has neither jobs nor connections. */
void outbound_look_for_end(struct outbound *ob);

/* --- generic.c --- */
/* Sender and header as the world is to see them; when all of the job is here. */
void delivery_generic(struct delivery *d);

/* --- delivery.c --- */
void delivery_begin(struct outbound *ob, const struct msg_job_begin *m);
void delivery_rcpt(struct outbound *ob, const struct msg_job_rcpt *m);
void delivery_body(struct outbound *ob, const struct msg_job_body *m);
void delivery_run(struct outbound *ob, struct job_id id);
void delivery_cancel(struct outbound *ob, struct job_id id);
/* queued is gone: every job is dropped; the new queued gives them again. */
void deliveries_drop(struct outbound *ob);
void deliveries_free_spare(struct outbound *ob);
void delivery_on_answer(void *owner, uint64_t user, struct resolver_token token, const struct dns_answer *answer);

/* What a link says to those who sit on it. */
void delivery_dialed(struct seat *s);
/* The seat is free already. */
void delivery_dial_failed(struct seat *s, struct result why);
void delivery_client_event(struct seat *s, const struct smtp_client_event *event);
void delivery_want_body(struct delivery *d, uint64_t offset);

/* --- joint.c --- */
/* A link to this peer that is being dialed, or whose transaction has not begun, for the same message as d's: with room for
 * d's recipients and made ready to take them. NULL: none. */
struct link *joint_find(struct delivery *d, const struct courier_peer *peer);
/* The seat's recipients join the transaction to come. */
void joint_add(struct seat *s, const struct smtp_job *job);
/* Client events of a joint transaction, each to whom it is for. */
void joint_rcpt_result(struct link *l, const struct smtp_client_event *event);
void joint_done(struct link *l, const struct smtp_client_event *event);
/* Results for this seat are not wanted any more. */
void joint_forget(struct seat *s);

/* --- link.c --- */
void seat_take(struct seat *s, struct link *l, struct delivery *d, unsigned slot);
void seat_move(struct seat *from, struct seat *to);
/* Without a word to the link: its client ends it. */
void seat_leave(struct seat *s);
/* Begins to connect, and takes a seat for the one who waits for that; CODE_… when the kernel refuses at once. */
RESULT link_dial(struct delivery *d, unsigned slot, const struct courier_peer *peer);
/* The session of this link takes a job (at once, or when it is greeted). */
void link_job_start(struct seat *s, const struct smtp_job *job, enum smtp_client_tls tls);
/* The answer to a question of this link's (its user number has LINK_ASK_BIT). */
void link_on_tlsa(struct link *l, const struct dns_answer *answer);
/* Body octets that delivery_want_body asked for. */
void link_body(struct link *l, struct bytes body, bool last);
void link_body_broken(struct link *l, const char *why);
/* The seat is given up; the last one to go leaves a session that may serve another job. */
void link_release(struct seat *s);
/* The seat is given up in the middle of a transaction: the link ends, and those who share it are told. */
void link_abandon(struct seat *s);
/* At once. */
void link_close(struct link *l);
/* Would its session do for this delivery's job to this peer: under its route's rule for TLS, from the same source, and logged in as
 * the same? */
bool link_peer_same(const struct link *l, const struct courier_peer *peer, const struct delivery *d);
/* A turn of the client core in the loop's work. */
void link_wake(struct link *l);

/* Its peer's name; the socket's path for unix. */
struct bytes link_host(const struct link *l);

/* --- link_tls.c --- */
/* Ready to shake hands; CODE_REFUSED when nothing could prove what the route asks for. */
RESULT link_tls_make(struct link *l, struct tls **tls_out);
/* With or without TLS, for a session that is about to begin; `tls` is what the courier asks for. */
enum smtp_client_tls link_tls_wanted(struct link *l, enum smtp_client_tls tls);
/* A job went its way in the clear after a handshake that failed. A host that did not get so far may have been about to go down, and is
 * asked for TLS again. */
void link_clear_noted(struct link *l);
/* How the peer's name was proved: "", " pinned", " verified" or " dane"; for logs, behind version and cipher. */
const char *link_tls_proof(const struct link *l);

/* --- the pool, in link.c --- */
/* Kept links: by lane, or by where they go; taken out of the pool. NULL: none. */
struct link *pool_take_lane(struct outbound *ob, struct bytes lane);
struct link *pool_take_peer(struct delivery *d, const struct courier_peer *peer);
/* Ends all with QUIT. */
void pool_quit(struct outbound *ob);

#endif
