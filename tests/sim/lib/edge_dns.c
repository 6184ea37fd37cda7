/* The resolver of the simulation: what places.c says, after a while. */
#include "tests/sim/lib/edge_parts.h"

struct ask {
    struct ask *next;
    struct dns_edge *dns;
    uint64_t token, user;
    struct world_timer timer;
    struct dns_answer answer;
};

struct dns_edge {
    dns_edge_on_answer *on_answer;
    void *owner;
    struct ask *asks;
    uint64_t last_token;
};

RESULT dns_edge_new(struct loop *loop, const struct resolver_config *cfg, dns_edge_on_answer *on_answer, void *owner,
    struct dns_edge **dns_out)
{
    (void)loop;
    (void)cfg;
    *dns_out = world_take(sizeof **dns_out);
    (*dns_out)->on_answer = on_answer;
    (*dns_out)->owner = owner;
    return OK;
}

void dns_edge_cancel(struct dns_edge *dns, struct resolver_token token)
{
    for (struct ask **at = &dns->asks; *at != NULL; at = &(*at)->next)
        if ((*at)->token == token.value) {
            struct ask *gone = *at;
            *at = gone->next;
            world_timer_stop(&gone->timer);
            free(gone);
            return;
        }
}

void dns_edge_free(struct dns_edge **dns)
{
    if (*dns == NULL)
        return;
    while ((*dns)->asks != NULL)
        dns_edge_cancel(*dns, (struct resolver_token){(*dns)->asks->token});
    free(*dns);
    *dns = NULL;
}

static void on_answer_due(void *ctx)
{
    struct ask *ask = ctx;
    struct dns_edge *dns = ask->dns;
    struct ask **at = &dns->asks;

    while (*at != ask)
        at = &(*at)->next;
    *at = ask->next;
    dns->on_answer(dns->owner, ask->user, (struct resolver_token){ask->token}, &ask->answer);
    free(ask);
}

RESULT dns_edge_ask(
    struct dns_edge *dns, struct bytes name, enum dns_type type, uint64_t user, struct resolver_token *token_out)
{
    int64_t after_ms = 0;

    if (world_fails(CALL_DNS))
        return FAIL(CODE_FULL, "out of memory");
    if (!bytes_starts(name, BYTES("steady")) && !bytes_starts(name, BYTES("store")) && world_chance(2)) {
        world_fault(FAULT_DNS_TEMPORARY);
        return FAIL(CODE_FULL, "too many questions are open");
    }
    struct ask *ask = world_take(sizeof *ask);
    *ask = (struct ask){.next = dns->asks, .dns = dns, .token = ++dns->last_token, .user = user};
    ask->timer = (struct world_timer){.fn = on_answer_due, .ctx = ask};
    dns->asks = ask;
    edge_ports.dns(name, type, &ask->answer, &after_ms);
    world_timer_set(&ask->timer, world.now_ms + after_ms);
    token_out->value = ask->token;
    return OK;
}
