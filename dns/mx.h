/* mx: which hosts and addresses a domain's mail goes to, in which order, and why there is none (RFC 5321 5.1, RFC 7505).
 *
 * For: the courier, one walk per delivery attempt of one lane. Not for: looking names up (it asks, someone answers),
 * connecting, timers, caching. Pure: the same seed and the same answers give the same walk. docs/states/mx.md draws it.
 *
 * The walk is pulled. It asks questions, at most MX_ASK_COUNT_MAX unanswered at a time, each under a small number `ask`
 * that the answer names again; then it names one address to try at a time and waits for the result.
 *   mx_walk_init(&w, &target, &self, seed);
 *   while (mx_walk_next(&w, &event))
 *       switch (event.kind) {
 *       case MX_EVENT_ASK:  token[event.ask] = ask the resolver (event.name, event.type); break;
 *       case MX_EVENT_TRY:  connect to event.address, event.port; break;
 *       case MX_EVENT_DONE: all recipients get event.verdict; break;      nothing more comes
 *       }
 *   ... later: mx_walk_answer(&w, ask, &answer) or mx_walk_result(&w, MX_TRY_CONNECT_FAILED), then pull again.
 * A delivery that worked just drops the walk (cancelling what it still has asked): there is nothing to end.
 *
 * Lifetime: plain memory (about 6 KiB), no fini. `target` and `self` are borrowed for the walk's whole life. */
#ifndef MANSIO_DNS_MX_H
#define MANSIO_DNS_MX_H

#include "dns/message.h"

enum {
    MX_ASK_COUNT_MAX = 8,      /* unanswered questions of one walk */
    MX_NAMES_SIZE_MAX = 3072,  /* all host names of one walk; what does not fit is the least preferred */
    MX_ADDRESS_COUNT_MAX = 40, /* addresses held at once */
    MX_HOST_TRIES_MAX = 3,     /* of one host while another host is left, so that one cannot eat all tries */
};

/* Who we are, for loop avoidance (CONTRACT "Ourselves"): our host names, and each address and port that we listen on,
 * a wildcard listener standing for every address of the interfaces. */
struct mx_self {
    const struct bytes *names;
    size_t name_count;
    const struct dns_endpoint *endpoints;
    size_t endpoint_count;
};

struct mx_target {
    struct bytes domain; /* A-labels, or an address literal in brackets (RFC 5321 4.1.3) */
    uint16_t port;
    bool direct; /* a host that the operator named (relay:, lmtp:): its addresses are asked for, no MX. That it
                            is not found is then never permanent, and our own host name (not our address) is allowed.
                            A bare address, or one in brackets without the IPv6 tag, is good too */
    bool ipv4;   /* families that we may use; at least one */
    bool ipv6;
    bool ipv4_first; /* of a host's addresses; else IPv6 */
};

enum mx_event_kind { MX_EVENT_ASK, MX_EVENT_TRY, MX_EVENT_DONE };

enum mx_verdict_kind {
    MX_VERDICT_NONE,
    MX_VERDICT_NULL,       /* 5.1.10 the domain takes no mail (RFC 7505) */
    MX_VERDICT_NO_DOMAIN,  /* 5.1.2  no such domain */
    MX_VERDICT_NO_ADDRESS, /* 5.4.4  neither MX nor address, or none of the MX hosts exists */
    MX_VERDICT_OURSELVES,  /* 5.4.6  only we ourselves are left */
    MX_VERDICT_REJECTED,   /* 5.3.2  each candidate greeted with 5xx; the last one's reply says more */
    MX_VERDICT_DNS,        /* 4.4.3  a temporary DNS failure stands between us and the hosts */
    MX_VERDICT_UNREACHED,  /* 4.4.1  hosts are known, none of those tried took us */
    MX_VERDICT_MISROUTED,  /* 4.4.4  a host that the operator named does not exist; 4.4.6 or is ourselves */
};

/* Why the walk ended without a delivery. */
struct mx_verdict {
    enum mx_verdict_kind kind;
    bool permanent;
    const char *status;  /* enhanced status code, a literal: "5.1.2" */
    const char *why;     /* plain words, a literal */
    enum dns_status dns; /* of the failure that decided, DNS_OK otherwise: dns_status_text says more */
};

struct mx_event {
    enum mx_event_kind kind;
    /* ASK */
    unsigned ask;      /* below MX_ASK_COUNT_MAX; free again after its answer */
    struct bytes name; /* good until the next call on the walk */
    uint16_t type;     /* enum dns_type */
    /* TRY */
    struct bytes host; /* name of the MX host (or the domain, or the literal); good until the next call on the walk */
    struct dns_address address;
    uint16_t port;
    uint16_t preference; /* 0 for an implicit MX */
    bool fallback_left;  /* another address is left to try: do not wait long for this one if it is IPv6 */
    bool secure;         /* MX and address answers were DNSSEC-validated by a trusted resolver: DANE may be asked for */
    struct bytes tlsa_base; /* host after its CNAMEs when those were secure, else host (RFC 7672 2.2.2) */
    /* DONE */
    struct mx_verdict verdict;
};

/* How an address that was tried ended. After all but NO_ROUTE it counts as one of DELIVERY_ADDRESS_TRIES_MAX. */
enum mx_outcome {
    MX_TRY_CONNECT_FAILED, /* refused, reset, timed out */
    MX_TRY_NO_ROUTE,       /* our own host has no way there at all (ENETUNREACH, EAFNOSUPPORT): not counted */
    MX_TRY_LOST,           /* connected, lost before the transaction was decided */
    MX_TRY_GREETED_4XX,    /* or EHLO and HELO answered so */
    MX_TRY_GREETED_5XX,
    MX_TRY_FAILED, /* anything else that makes the next address worth trying (TLS) */
};

/* Private from here on. */
struct mx_host {
    uint16_t preference;
    uint16_t name_offset; /* in names */
    uint16_t base_offset; /* of the name for TLSA, likewise */
    uint8_t name_size;
    uint8_t base_size;
    uint8_t to_ask;      /* families not yet asked for: bits, mx.c */
    uint8_t tries;       /* that count */
    uint8_t last_family; /* tried last */
    uint8_t dns_failed;  /* enum dns_status, the first temporary failure; DNS_OK: none */
    bool secure;
    bool has_address;
    bool refused; /* greeted with 5xx */
    bool failed;  /* tried with another outcome */
};

struct mx_walk_address {
    struct dns_address address;
    uint8_t host; /* index */
    bool used;
};

struct mx_walk {
    const struct mx_target *target;
    const struct mx_self *self;
    struct rng rng;
    uint8_t state; /* enum mx_state, mx.c */
    bool implicit;
    bool mx_secure;
    bool saw_ourselves;
    bool saw_nxdomain;         /* of an address question */
    bool group_is_ours;        /* one host of the group is this server */
    enum dns_status mx_failed; /* the MX question failed so; DNS_OK: it did not */
    unsigned host_count;
    unsigned group_begin; /* hosts of the preference being worked on: [begin, end) */
    unsigned group_end;
    unsigned address_count; /* of the group */
    unsigned trying;        /* index in addresses */
    unsigned tries;         /* that count */
    struct {
        bool busy;
        uint8_t host;
        uint16_t type;
    } asks[MX_ASK_COUNT_MAX];
    struct mx_host hosts[DNS_MX_COUNT_MAX]; /* the best preference first, equal ones shuffled */
    struct mx_walk_address addresses[MX_ADDRESS_COUNT_MAX];
    struct mx_verdict verdict;
    size_t names_size;
    uint8_t names[MX_NAMES_SIZE_MAX];
};

void mx_walk_init(struct mx_walk *w, const struct mx_target *target, const struct mx_self *self, uint64_t seed);
/* Pull until false; false means that the walk waits for an answer or a result, or that DONE was handed out. */
bool mx_walk_next(struct mx_walk *w, struct mx_event *event_out);
/* The answer to the question handed out under `ask` (a failed one too). An ask that is not open is a bug of ours. */
void mx_walk_answer(struct mx_walk *w, unsigned ask, const struct dns_answer *answer);
/* The address handed out last did not work. */
void mx_walk_result(struct mx_walk *w, enum mx_outcome outcome);

#endif
