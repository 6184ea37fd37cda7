#include "daemon/outbound/dane_check.h"

#include "daemon/base/log.h"

enum part { SIGNED, UNSIGNED, BROKEN, PART_COUNT };

struct dane_check {
    struct loop *loop;
    const struct config *cfg;
    struct dns_edge *dns;
    struct loop_timer timer;
    dane_check_on_state *on_state;
    void *owner;
    const char *why; /* the first thing that is wrong in this look; NULL: nothing */
    unsigned open;   /* answers to come */
};

static void look_end(struct dane_check *c)
{
    bool live = c->why == NULL;

    if (live)
        LOG(DANE_LIVE, LOG_TEXT("name", c->cfg->dns.check_signed));
    else
        LOG(DANE_NOT_LIVE, LOG_STR("why", c->why));
    loop_timer_set(
        c->loop, &c->timer, instant_after(loop_now(c->loop), live ? DANE_CHECK_EVERY_MS : DANE_CHECK_AGAIN_MS));
    c->on_state(c->owner, live);
}

static const char *judge(enum part part, const struct dns_answer *answer)
{
    bool temporary = dns_status_is_temporary(answer->status);

    switch (part) {
    case SIGNED:
        return temporary ? "no answer for the name in a signed zone (dns { check_signed })"
               : !answer->authentic
                   ? "the resolver does not vouch for a signed zone: it does not validate, or trust_ad is not set"
                   : NULL;
    case UNSIGNED:
        return temporary           ? "no answer for the name in an unsigned zone (dns { check_unsigned })"
               : answer->authentic ? "the resolver vouches for an unsigned zone: its AD bit means nothing"
                                   : NULL;
    default:
        return temporary ? NULL : "the resolver gives an answer from a zone whose signatures are broken";
    }
}

static void on_answer(void *owner, uint64_t user, struct resolver_token token, const struct dns_answer *answer)
{
    struct dane_check *c = owner;
    const char *why = judge((enum part)user, answer);

    (void)token;
    if (c->why == NULL)
        c->why = why;
    if (--c->open == 0)
        look_end(c);
}

static void look(void *ctx)
{
    struct dane_check *c = ctx;
    const struct bytes names[PART_COUNT] = {
        c->cfg->dns.check_signed, c->cfg->dns.check_unsigned, c->cfg->dns.check_broken};
    struct resolver_token token;

    c->why = NULL;
    c->open = 1; /* ours, until all are asked */
    for (unsigned i = 0; i < PART_COUNT; i++) {
        if (is_ok(dns_edge_ask(c->dns, names[i], DNS_TYPE_A, i, &token)))
            c->open++;
        else
            c->why = "a name to check by cannot be asked for";
    }
    if (--c->open == 0)
        look_end(c);
}

RESULT dane_check_new(struct loop *loop, const struct config *cfg, dane_check_on_state *on_state, void *owner,
    struct dane_check **check_out)
{
    struct resolver_config resolver = {
        .servers = cfg->dns.servers.items,
        .server_count = cfg->dns.servers.count,
        .timeout_ms = cfg->dns.timeout,
        .tries = cfg->dns.tries,
        .trust_ad = cfg->dns.trust_ad,
    };
    bool wanted = false;

    *check_out = NULL;
    for (size_t i = 0; i < cfg->routes.count; i++)
        wanted =
            wanted || cfg->routes.items[i].tls == ROUTE_TLS_DANE || cfg->routes.items[i].tls == ROUTE_TLS_DANE_ONLY;
    if (!wanted)
        return OK;
    struct dane_check *c = mem_take_zero(sizeof *c);
    if (c == NULL)
        return FAIL(CODE_FULL, "out of memory");
    *c = (struct dane_check){.loop = loop, .cfg = cfg, .on_state = on_state, .owner = owner};
    c->timer = (struct loop_timer){.fn = look, .ctx = c};
    struct result r = dns_edge_new(loop, &resolver, on_answer, c, &c->dns);
    if (!is_ok(r)) {
        mem_free(c);
        return r;
    }
    loop_timer_set(loop, &c->timer, loop_now(loop));
    *check_out = c;
    return OK;
}

void dane_check_free(struct dane_check **check)
{
    struct dane_check *c = *check;

    if (c == NULL)
        return;
    loop_timer_stop(c->loop, &c->timer);
    dns_edge_free(&c->dns);
    mem_free(c);
    *check = NULL;
}
