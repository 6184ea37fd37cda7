/* places: where mail goes in the simulation: domains, what the DNS says of them, hosts and their moods, mailboxes.
 *
 * For: the scenario, the ledger and the hosts' sessions (sink.h). Everything is drawn from the world's dice at places_begin.
 *   places_begin();  edge_ports.dns = places_dns;  edge_ports.dial_fate = places_dial_fate; */
#ifndef MANSIO_SIM_PLACES_H
#define MANSIO_SIM_PLACES_H

#include "tests/sim/lib/edge.h"

enum { HOSTS_MAX = 16, DOMAINS_MAX = 24, MX_MAX = 3, PLACE_NAME_MAX = 40, OUR_PORT = 25, LMTP_PORT = 24 };

#define OUR_HOSTNAME "mta.home.test"

enum mood { MOOD_GOOD, MOOD_REFUSES, MOOD_HANGS, MOOD_GREETS_4XX, MOOD_GREETS_5XX, MOOD_FLAKY };

struct host {
    char name[PLACE_NAME_MAX];
    struct dns_address v4, v6; /* v6.family 0: none */
    bool v6_dead;
    bool steady; /* never fails */
    bool lmtp;
    bool no_ehlo;
    uint32_t offers; /* enum smtp_extension */
    enum net_tls tls;
    unsigned trouble; /* per mille of commands that meet a fault */
    uint32_t rcpts_per_transaction, transactions_per_session;
    enum mood mood;
    int64_t mood_until;
};

enum domain_kind {
    DOMAIN_MX,
    DOMAIN_IMPLICIT,   /* no MX: the domain is the host */
    DOMAIN_NULL_MX,    /* RFC 7505 */
    DOMAIN_GONE,       /* NXDOMAIN */
    DOMAIN_HOSTS_GONE, /* MX hosts that do not exist */
    DOMAIN_LOOP,       /* only we ourselves are its MX */
    DOMAIN_DARK,       /* its servers never answer */
    DOMAIN_HOME,       /* ours, by LMTP */
    DOMAIN_LOCAL,      /* ours, here: mailboxes, aliases, programs */
    DOMAIN_RELAYED,    /* by a relay: route */
    DOMAIN_DISCARDED,
    DOMAIN_REFUSED, /* an error: route */
    DOMAIN_HELD,
};

struct domain {
    char name[PLACE_NAME_MAX];
    enum domain_kind kind;
    struct host *hosts[MX_MAX];
    uint16_t preferences[MX_MAX];
    unsigned host_count;
    bool ourselves_too; /* we stand in the MX list, behind the first host */
};

struct places {
    struct host hosts[HOSTS_MAX];
    unsigned host_count;
    struct domain domains[DOMAINS_MAX];
    unsigned domain_count;
    bool calm; /* no faults at all from here on */
};
extern struct places places;

void places_begin(void);
/* From now on everything works, so that what can be delivered is. */
void places_calm(void);
struct domain *domain_find(struct bytes name);
/* The domain of an address. */
struct domain *domain_of(struct bytes address);
bool domain_has_host(const struct domain *d, const struct host *h);
/* Mail for it cannot be delayed by anything but ourselves. */
bool domain_is_steady(const struct domain *d);

/* A host of it takes SMTPUTF8, or its mail stays here. */
bool domain_takes_utf8(const struct domain *d);

void places_dns(struct bytes name, enum dns_type type, struct dns_answer *answer_out, int64_t *after_ms_out);
enum dial_fate places_dial_fate(const struct conn_dial *to, int64_t *after_ms_out);
struct host *places_host_at(const struct conn_dial *to);

/* --- mailboxes: the local part says what they do: ok17, no3, grey5, full2, flaky9, never4, late1 --- */
enum box_answer { BOX_TAKES, BOX_LATER, BOX_FULL, BOX_UNKNOWN, BOX_FORBIDS };
enum box_answer box_ask(struct bytes address);
void boxes_end(void);

#endif
