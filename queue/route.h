/* route: which next hop (lane) a forward-path takes. Pure; the table is made by the configuration.
 *
 * For: queued at the moment a recipient is stored, `queuectl route`. Not for: MX look-ups (dns/mx.h), which happen when a
 * lane's job runs.
 * Patterns: "user@example.net" before "example.net" before "*.example.net"; then the sender's, "from:user@example.org" before
 * "from:@example.org"; then "*". A `domain` block wins over a `route` of the same name, an address over its domain's block.
 *   struct route_choice choice;
 *   route_choose(&cfg->routes, domain, &lane_room, &choice);
 *   if (choice.kind == ROUTE_LANE) ... choice.lane is "mx:example.org"
 * Lane names are the contract between queued, scheduler and couriers:
 *   mx:DOMAIN            MX of DOMAIN (its port is in the route table: route_mx_port); mx:[192.0.2.1] an address literal
 *   relay:[HOST]:PORT    that host; several, separated by commas, are tried in order; those at one place, separated by |, by
 *                        lot, where [HOST]:PORT*3 is drawn three times as often
 *   lmtp:[HOST]:PORT, lmtp:unix:/PATH
 *   mx:…/NAME, relay:…/NAME   the same, sent as the block `source "NAME"` says: a lane of its own
 *   local                our own mailboxes, process `local`
 *   pipe:…               process `local` */
#ifndef MANSIO_QUEUE_ROUTE_H
#define MANSIO_QUEUE_ROUTE_H

#include "daemon/base/base.h"

enum { ROUTE_HOPS_MAX = 8, ROUTE_WEIGHT_MAX = 100, ROUTE_SOURCE_NAME_SIZE_MAX = 32 };

enum route_kind {
    ROUTE_MX,
    ROUTE_RELAY,
    ROUTE_LMTP,
    ROUTE_LOCAL, /* maildir and what else process `local` does */
    ROUTE_PIPE,
    ROUTE_HOLD,
    ROUTE_DISCARD,
    ROUTE_ERROR,
};

/* What `via = "…"` or `deliver = "…"` says, parsed. */
struct route_target {
    enum route_kind kind;
    struct bytes hop;    /* relay, lmtp: what follows the colon, checked and in canonical form; pipe: the command */
    struct bytes status; /* error: "5.1.1" */
    struct bytes text;   /* error: the words */
};

/* How a connection of a route is encrypted. */
enum route_tls {
    ROUTE_TLS_OPPORTUNISTIC, /* where the peer offers it, whoever it is (RFC 7435) */
    ROUTE_TLS_NONE,
    ROUTE_TLS_DANE,      /* as TLSA records say where DNSSEC vouches for them (RFC 7672), else opportunistic */
    ROUTE_TLS_ENCRYPT,   /* always, whoever it is */
    ROUTE_TLS_DANE_ONLY, /* always, as TLSA records say */
    ROUTE_TLS_VERIFY,    /* always, with a certificate of a known root for the host's name */
    ROUTE_TLS_SECURE,    /* … for a name in the recipient's domain: DNS may not say who is meant */
};

struct route {
    struct bytes pattern; /* lower case; "*.example.net" is kept as ".example.net", "*" as "" */
    bool wildcard;
    bool is_domain; /* from a domain block */
    struct route_target target;
    uint16_t port;                /* of ROUTE_MX; default 25 */
    int tls;                      /* enum route_tls */
    struct bytes tls_fingerprint; /* of ROUTE_RELAY and ROUTE_TLS_VERIFY: SHA-256, parted by blanks; empty: none */
    struct bytes credentials;     /* of ROUTE_RELAY: the name of the login there; empty: none */
    bool auth_without_tls;        /* … and it may be said in the clear */
    struct bytes source;          /* of ROUTE_MX, ROUTE_RELAY: name of a `source` block; empty: none */
    int64_t give_up_after_ms;     /* of its recipients; 0: as for all */
};

struct route_table {
    const struct route *items; /* sorted by route_table_sort */
    size_t count;
};

enum route_choice_kind { ROUTE_CHOICE_LANE, ROUTE_CHOICE_HOLD, ROUTE_CHOICE_DISCARD, ROUTE_CHOICE_ERROR };

struct route_choice {
    enum route_choice_kind kind;
    struct bytes lane; /* LANE, HOLD: in the room of `lane_out` */
    const struct route *route;
};

/* Parses a target: "mx", "maildir", "relay:[h]:p", "lmtp:…", "hold", "discard", "error:5.1.1 text", "pipe:…".
 * Canonical pieces are copied into the arena. CODE_SYNTAX with `why` for anything else, CODE_FULL from the arena.
 * Hosts come out as [host]:port in lower case, the port filled in (relay 25, lmtp 24), lists joined by commas. A name means
 * that host itself, in brackets or not: no MX look-up is made for it. An IPv6 address needs the brackets. "a*3|b,c": a or b, a
 * three times as often; the other when that one fails; then c. At most ROUTE_HOPS_MAX hosts. */
RESULT route_target_parse(struct arena *a, struct bytes text, struct route_target *target_out);
/* Orders by specificity so that the first match wins; stable. */
void route_table_sort(struct route *items, size_t count);
/* `domain` in lower case (a name, or an address literal with brackets, which takes the "*" route by MX to itself).
 * Always finds: the table ends with "*". CODE_FULL when the lane's name would not fit, CODE_SYNTAX for an empty domain.
 * The lane of a HOLD is the MX of the domain: where it goes when the postmaster releases it. DISCARD and ERROR have none. */
RESULT route_choose(
    const struct route_table *table, struct bytes domain, struct buf *lane_out, struct route_choice *choice_out);
/* The same for an address and its sender, both local@domain in any case, the domains as A-labels; `sender` may be empty. */
RESULT route_choose_for(const struct route_table *table, struct bytes path, struct bytes sender, struct buf *lane_out,
    struct route_choice *choice_out);
/* The same for a route that is known already. */
RESULT route_take(
    const struct route *route, struct bytes domain, struct buf *lane_out, struct route_choice *choice_out);
/* The lane without its source, and the name of that (empty: none). */
struct bytes route_lane_bare(struct bytes lane, struct bytes *source_out);
/* Of a canonical list of hosts its first place; `rest` loses it. Empty: none is left. */
struct bytes route_place_take(struct bytes *rest);
/* A host of a place that is not in *tried yet, by weight, as "[host]:port"; it is then. Empty: there is none. */
struct bytes route_host_pick(struct bytes place, uint32_t *tried, struct rng *rng);
/* The port for an mx: lane of this domain. */
uint16_t route_mx_port(const struct route_table *table, struct bytes domain);
/* Of the route that leads to this lane; of several the one that asks for most. */
enum route_tls route_lane_tls(const struct route_table *table, struct bytes lane);
/* The fingerprints that the host of this lane is known by, as they are written; empty: none. */
struct bytes route_lane_fingerprint(const struct route_table *table, struct bytes lane);
/* The route to this lane that has credentials (the configuration sees to it that all to the lane have the same); NULL: none. */
const struct route *route_lane_login(const struct route_table *table, struct bytes lane);

#endif
