/* courier: carries one job (one message, one lane, up to JOB_RCPT_COUNT_MAX recipients) from the lane's name to a result
 * for each recipient and a verdict about the lane. docs/states/delivery.md draws it.
 *
 * For: the outbound process and the simulator. Pure: DNS questions, connections and the SMTP session leave as events,
 * their outcomes come back as calls. Not for: sockets, TLS, pooling of connections, the dialogue itself (smtp/client.h),
 * fetching the body (the session's WANT_BODY goes from the client to queued without the courier).
 *
 * The process, whole:
 *   courier_init(&k, &cfg, &job, now, seed);
 *   [an idle session of this lane is at hand:  courier_offer_kept(&k, now, host, &address, port);]
 *   turn: while (courier_next(&k, &event)) switch (event.kind) {
 *     COURIER_ASK           resolver_ask(event.ask.name, .type); later courier_answer(&k, now, event.ask.number, &answer)
 *     COURIER_DROP_ASKS     forget every open ask of this courier: answers must not come any more
 *     COURIER_DIAL          an idle session to event.dial.address/port (another lane may have left it): courier_dialed with
 *                           kept; else begin to connect; later courier_dialed or courier_dial_failed(&k, now, dial.slot..)
 *     COURIER_DROP_DIAL     close what event.slot dialed, whether it is connected yet or not; no call for it any more
 *     COURIER_USE_SESSION   the connection of event.session.slot becomes the session: unless it is kept, smtp_client_init
 *                           with .lmtp and .tls; then smtp_client_job_start(client, now, event.session.job)
 *     COURIER_RESULT        one recipient's result: to queued
 *     COURIER_FINISHED      verdict, to queued; then drop the courier: cancel its asks, keep or quit a reusable session
 *   }
 *   set the timer to courier_deadline(&k)
 *   from the client's turn: RCPT_RESULT -> courier_rcpt_result, JOB_DONE -> courier_job_done; then a courier turn before
 *   the client is called again (results borrow the client's reply text).
 *
 * A session belongs to the courier from USE_SESSION to JOB_DONE. If JOB_DONE said reusable, the next USE_SESSION or FINISHED
 * says what is to be done with it; if not, the process lets the client end it by itself (until its CLOSE).
 * Lifetime: plain memory (about 20 KiB), no fini; cfg, job and all it points to are borrowed until FINISHED. */
#ifndef MANSIO_OUTBOUND_COURIER_H
#define MANSIO_OUTBOUND_COURIER_H

#include "dns/mx.h"
#include "queue/envelope.h"
#include "queue/lane.h"
#include "queue/route.h"
#include "smtp/client.h"

enum {
    COURIER_OVERLAP_DEFAULT_MS = 2000, /* how long IPv6 may take before the next address is dialed beside it */
    COURIER_HOPS_MAX = ROUTE_HOPS_MAX, /* hosts in one relay: list */
    COURIER_DIAL_COUNT = 2,            /* dials at once: the one tried now and a slow one beside it */
};

struct courier_config {
    const struct mx_self *self;
    bool ipv4, ipv6;          /* families that we may use */
    bool ipv4_first;          /* of a host's addresses */
    enum smtp_client_tls tls; /* for SMTP; LMTP goes without */
    int64_t dial_ms;          /* timeouts.connect, per address */
    int64_t overlap_ms;       /* COURIER_OVERLAP_DEFAULT_MS */
};

struct courier_job {
    struct bytes lane; /* bare: without a source */
    uint16_t mx_port;  /* of an mx: lane: route_mx_port */
    const struct envelope_head *head;
    const struct recipient *rcpts;
    size_t rcpt_count; /* 1..JOB_RCPT_COUNT_MAX */
    /* Addresses with A-labels for hosts without SMTPUTF8, where they differ: NULL or rcpt_count views, empty for none. */
    const struct bytes *forward_paths_ascii;
    struct bytes reverse_path_ascii;
};

enum courier_event_kind {
    COURIER_ASK,
    COURIER_DROP_ASKS,
    COURIER_DIAL,
    COURIER_DROP_DIAL,
    COURIER_USE_SESSION,
    COURIER_RESULT,
    COURIER_FINISHED,
};

/* Where a connection goes: the identity under which an idle one may be shared between lanes. */
struct courier_peer {
    struct bytes host;          /* name for logs, DSNs and TLS; the socket's path for unix */
    struct dns_address address; /* family 0: unix */
    uint16_t port;
    struct bytes unix_path; /* empty unless family is 0 */
    bool lmtp;
    enum smtp_client_tls tls; /* what the session must be: one without TLS must not serve a job that requires it */
    bool secure;              /* host and address came by DNSSEC; DANE may be asked for under tlsa_base */
    struct bytes tlsa_base;
};

struct courier_event {
    enum courier_event_kind kind;
    union {
        struct {
            unsigned number; /* below MX_ASK_COUNT_MAX; used again after its answer */
            struct bytes name;
            uint16_t type; /* enum dns_type */
        } ask;
        struct {
            unsigned slot; /* below COURIER_DIAL_COUNT */
            struct courier_peer peer;
        } dial;
        unsigned slot; /* DROP_DIAL */
        struct {
            unsigned
                slot;   /* COURIER_SLOT_KEPT: what courier_offer_kept told of; else a dialed one, or again the session
                              that has just said JOB_DONE with reusable */
            bool again; /* the same session as before, the next transaction */
            struct courier_peer peer;
            const struct smtp_job *job; /* the courier's; good until its JOB_DONE */
        } session;
        struct {
            size_t index;                   /* in job->rcpts */
            enum smtp_rcpt_outcome outcome; /* never AGAIN */
            struct peer_reply reply;        /* its status is always filled in */
            struct bytes host;              /* who said it, or was tried last; empty: nobody */
            struct dns_address address;     /* family 0: none */
            bool dsn_passed;
        } result;
        struct {
            enum lane_verdict verdict;
            bool uncertain;     /* a whole message went out and its reply never came (Q4) */
            struct bytes error; /* of the lane, for display; empty for LANE_OK */
        } finished;
    };
};

enum { COURIER_SLOT_KEPT = COURIER_DIAL_COUNT };

/* Private from here on. */
struct courier_dial {
    bool busy;   /* DIAL was said, and nothing came of it yet */
    bool plain;  /* without STARTTLS: a handshake with this address has failed */
    bool secure; /* as of the walk */
    struct instant deadline;
    struct dns_address address;
    uint16_t port;
    uint8_t host_size, base_size;
    uint8_t host[DNS_NAME_SIZE_MAX + 2];
    uint8_t base[DNS_NAME_SIZE_MAX + 2];
};

struct courier {
    const struct courier_config *cfg;
    const struct courier_job *job;
    struct instant now; /* of the last call that said it */
    struct rng rng;
    uint8_t state;            /* enum courier_state, courier.c */
    uint8_t lane_kind;        /* enum courier_lane_kind, courier.c */
    struct bytes hops, place; /* of a list: places not yet tried, and the one that is */
    uint32_t place_tried;     /* its hosts that were: route_host_pick */
    unsigned hop_count;
    struct bytes unix_path;

    struct mx_target target; /* of the hop being tried */
    struct mx_walk walk;
    struct mx_verdict verdict;
    bool walk_done;     /* `verdict` stands; a slow dial may still save the attempt */
    unsigned ask_count; /* questions handed out and not answered */
    uint8_t current;    /* slot of the address that the walk waits for; SLOT_NONE: none */
    uint8_t slow;       /* slot still dialing although the walk was told that it failed; SLOT_NONE: none */
    uint8_t session;    /* slot of the session, or COURIER_SLOT_KEPT */
    bool session_again; /* the next USE_SESSION is for the session there is */
    bool current_waits; /* the slow one won: `current` is dialed anew if that fails */
    struct instant overlap_at;
    struct courier_dial dials[COURIER_DIAL_COUNT + 1]; /* the last one is the kept session */

    struct { /* events made and not yet pulled */
        uint8_t kind;
        uint8_t slot;
    } todo[8];
    unsigned todo_count;

    struct smtp_job smtp;
    struct smtp_job_rcpt smtp_rcpts[JOB_RCPT_COUNT_MAX];
    uint8_t smtp_index[JOB_RCPT_COUNT_MAX]; /* of smtp_rcpts, in job->rcpts */
    bool decided[JOB_RCPT_COUNT_MAX];
    size_t decided_count;
    size_t decided_before; /* when the transaction began */
    unsigned stale_count;

    bool result_due;
    struct courier_event result;

    /* What recipients without a result of their own get in the end. */
    enum smtp_rcpt_outcome failure_outcome;
    struct peer_reply failure; /* its text lies in failure_text */
    struct dns_address failure_address;
    bool failed; /* an address or a session did */
    size_t report_at;
    enum lane_verdict lane_verdict;
    bool host_took; /* a host took a transaction */
    bool uncertain;

    struct buf failure_text;
    struct buf failure_host;
    uint8_t failure_text_room[REPLY_KEPT_SIZE_MAX];
    uint8_t failure_host_room[DNS_NAME_SIZE_MAX + 2];
    uint8_t target_room[DNS_NAME_SIZE_MAX + 16];
};

void courier_init(struct courier *k, const struct courier_config *cfg, const struct courier_job *job,
    struct instant now, uint64_t seed);

/* Right after courier_init, before the first courier_next: an idle session for this lane is at hand. It is used before any
 * DNS or dialing; should it turn out to be dead, the courier goes on as if it had never been. */
void courier_offer_kept(struct courier *k, struct instant now, const struct courier_peer *peer);

bool courier_next(struct courier *k, struct courier_event *event_out);
void courier_tick(struct courier *k, struct instant now);
struct instant courier_deadline(const struct courier *k);

/* The answer to an ask, failed ones too; a full resolver is dns_answer_fail(DNS_BUSY). */
void courier_answer(struct courier *k, struct instant now, unsigned number, const struct dns_answer *answer);
void courier_dialed(struct courier *k, struct instant now, unsigned slot);
/* no_route: our own host has no way there at all (ENETUNREACH, EAFNOSUPPORT, ...): such a try does not count.
 * `why`: "connection refused", kept until the next turn. */
void courier_dial_failed(struct courier *k, struct instant now, unsigned slot, bool no_route, const char *why);

/* What the session's client said. */
void courier_rcpt_result(struct courier *k, struct instant now, const struct smtp_client_event *event);
void courier_job_done(struct courier *k, struct instant now, const struct smtp_client_event *event);

#endif
