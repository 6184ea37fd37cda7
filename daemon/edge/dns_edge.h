/* dns_edge: the resolver on the loop: polls its sockets, keeps its time, calls back with answers.
 *
 * For: outbound. Not for: what to ask (dns/mx.h).
 *   TRY(dns_edge_new(loop, &cfg, on_answer, owner, &dns));
 *   TRY(dns_edge_ask(dns, name, DNS_TYPE_MX, user, &token));
 * on_answer runs from the loop, never inside dns_edge_ask, also for what was cached; it may ask and cancel.
 * Lifetime: dns_edge_free ends open asks without an answer. Threads: none. */
#ifndef MANSIO_DNS_EDGE_H
#define MANSIO_DNS_EDGE_H

#include "dns/resolver.h"

struct loop;
struct dns_edge;

typedef void dns_edge_on_answer(
    void *owner, uint64_t user, struct resolver_token token, const struct dns_answer *answer);

RESULT dns_edge_new(struct loop *loop, const struct resolver_config *cfg, dns_edge_on_answer *on_answer, void *owner,
    struct dns_edge **dns_out);
void dns_edge_free(struct dns_edge **dns);
/* CODE_FULL: too many asks are open. */
RESULT dns_edge_ask(
    struct dns_edge *dns, struct bytes name, enum dns_type type, uint64_t user, struct resolver_token *token_out);
void dns_edge_cancel(struct dns_edge *dns, struct resolver_token token);

#endif
