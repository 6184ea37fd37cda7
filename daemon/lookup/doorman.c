/* Design. One visit for each question. Its DNS questions carry the visit's number and what they are about in `user`, so an
 * answer to a visit that is over finds none; what was asked for it is not taken back: its answers are worth keeping in the
 * resolver's cache. */
#include "daemon/lookup/doorman.h"

#include "daemon/base/map.h"
#include "daemon/edge/dns_edge.h"
#include "dns/stranger.h"

enum { VISITS_MAX = 4096, USER_BITS = 8, DOORMAN_ASKS_MAX = 32768 };

STATIC_ASSERT((int)CHECKS_LIST_COUNT_MAX <= (int)STRANGER_LIST_COUNT_MAX);

struct doorman {
    struct loop *loop;
    const struct config *cfg;
    struct dns_edge *dns; /* NULL: nobody was asked about yet */
    struct stranger_list lists[STRANGER_LIST_COUNT_MAX];
    struct map visits; /* by number */
    uint64_t last;
};

struct visit {
    struct doorman *doorman;
    struct channel *channel;
    uint64_t number, session;
    struct loop_timer timer;
    struct stranger stranger;
};

RESULT doorman_new(struct loop *loop, const struct config *cfg, struct doorman **doorman_out)
{
    struct doorman *d = mem_take_zero(sizeof *d);

    if (d == NULL)
        return FAIL(CODE_FULL, "out of memory");
    d->loop = loop;
    d->cfg = cfg;
    for (size_t i = 0; i < cfg->checks.list_count; i++) {
        const struct config_dnslist *from = &cfg->checks.lists[i];
        struct dns_address answer;

        d->lists[i].zone = from->zone;
        d->lists[i].one_answer = is_ok(dns_address_parse(from->answer, &answer));
        if (d->lists[i].one_answer)
            memcpy(d->lists[i].answer, answer.octets, sizeof d->lists[i].answer);
    }
    *doorman_out = d;
    return OK;
}

static void visit_free(struct visit *v)
{
    loop_timer_stop(v->doorman->loop, &v->timer);
    map_remove(&v->doorman->visits, v->number);
    mem_free(v);
}

static void visit_end(struct visit *v)
{
    const struct stranger *s = &v->stranger;

    channel_send(v->channel, &(struct msg){.kind = MSG_client_answer,
                                 .client_answer = {.session = v->session,
                                     .name = dns_name_bytes(&s->name),
                                     .nameless = stranger_is_nameless(s),
                                     .listed = s->listed}});
    visit_free(v);
}

static void on_time(void *ctx)
{
    visit_end(ctx);
}

static void visit_go_on(struct visit *v)
{
    struct resolver_token token;
    struct stranger_ask ask;

    while (stranger_next(&v->stranger, &ask))
        if (!is_ok(dns_edge_ask(
                v->doorman->dns, dns_name_bytes(&ask.name), ask.type, v->number << USER_BITS | ask.user, &token)))
            stranger_answer(&v->stranger, ask.user, NULL);
    if (stranger_done(&v->stranger))
        visit_end(v);
}

static void on_answer(void *owner, uint64_t user, struct resolver_token token, const struct dns_answer *answer)
{
    struct doorman *d = owner;
    struct visit *v = map_get(&d->visits, user >> USER_BITS);

    (void)token;
    if (v == NULL)
        return;
    stranger_answer(&v->stranger, (uint32_t)(user & ((1 << USER_BITS) - 1)), answer);
    visit_go_on(v);
}

static RESULT resolver_want(struct doorman *d)
{
    struct resolver_config resolver = {
        .servers = d->cfg->dns.servers.items,
        .server_count = d->cfg->dns.servers.count,
        .timeout_ms = d->cfg->dns.timeout,
        .tries = d->cfg->dns.tries,
        .asks_max = DOORMAN_ASKS_MAX,
        .cache = {.entries = RESOLVER_CACHE_ENTRIES_DEFAULT},
    };

    if (d->dns != NULL)
        return OK;
    if (resolver.server_count > RESOLVER_SERVER_COUNT_MAX)
        resolver.server_count = RESOLVER_SERVER_COUNT_MAX;
    return dns_edge_new(d->loop, &resolver, on_answer, d, &d->dns);
}

static bool address_take(struct bytes octets, struct dns_address *address_out)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool ipv4 = octets.size == 16 && memcmp(octets.data, mapped, sizeof mapped) == 0;

    *address_out = (struct dns_address){.family = ipv4 ? 4 : 6};
    if (octets.size == 16)
        memcpy(address_out->octets, octets.data + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
    return octets.size == 16;
}

void doorman_ask(struct doorman *d, struct channel *channel, const struct msg_client_ask *ask)
{
    struct dns_address address;
    struct visit *v = NULL;

    if (address_take(ask->address, &address) && d->visits.count < VISITS_MAX && is_ok(resolver_want(d)))
        v = mem_take_zero(sizeof *v);
    if (v != NULL && !is_ok(map_put(&d->visits, d->last + 1, v))) {
        mem_free(v);
        v = NULL;
    }
    if (v == NULL) {
        channel_send(channel, &(struct msg){.kind = MSG_client_answer, .client_answer = {.session = ask->session}});
        return;
    }
    v->doorman = d;
    v->channel = channel;
    v->number = ++d->last;
    v->session = ask->session;
    v->timer = (struct loop_timer){.fn = on_time, .ctx = v};
    stranger_init(
        &v->stranger, &address, d->lists, ask->lists ? (unsigned)d->cfg->checks.list_count : 0, d->cfg->checks.names);
    loop_timer_set(d->loop, &v->timer, instant_after(loop_now(d->loop), d->cfg->checks.time));
    visit_go_on(v);
}

void doorman_leave(struct doorman *d, const struct channel *channel)
{
    bool found = true;
    void *value;

    while (found) { /* removal moves slots: begin anew after each */
        found = false;
        for (size_t cursor = 0; !found && map_next(&d->visits, &cursor, &value);) {
            struct visit *v = value;

            found = v->channel == channel || channel == NULL;
            if (found)
                visit_free(v);
        }
    }
}

void doorman_free(struct doorman **doorman)
{
    struct doorman *d = *doorman;

    if (d == NULL)
        return;
    doorman_leave(d, NULL);
    dns_edge_free(&d->dns);
    map_fini(&d->visits);
    mem_free(d);
    *doorman = NULL;
}
