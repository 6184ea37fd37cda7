#include "tests/sim/lib/places.h"

#include "smtp/esmtp.h"
#include "tests/sim/lib/kin.h"

struct places places;

struct box {
    struct box *next;
    char address[80];
    int64_t first_seen, until;
};

static struct box *boxes;

/* --- making --- */

static struct host *host_new(bool steady)
{
    struct host *h = &places.hosts[places.host_count];
    unsigned n = places.host_count++;

    ASSERT(places.host_count <= HOSTS_MAX);
    *h = (struct host){.v4 = {.family = 4, .octets = {198, 51, 100, (uint8_t)(n + 10)}}, .steady = steady};
    (void)snprintf(h->name, sizeof h->name, "h%u.hosts.test", n);
    if (!steady && world_chance(400)) {
        h->v6 = (struct dns_address){.family = 6, .octets = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(n + 10)}};
        h->v6_dead = world_chance(400);
    }
    h->offers = SMTP_EXT_ENHANCEDSTATUSCODES;
    static const struct {
        uint32_t extension;
        unsigned chance;
    } table[] = {{SMTP_EXT_PIPELINING, 700}, {SMTP_EXT_SIZE, 700}, {SMTP_EXT_8BITMIME, 800}, {SMTP_EXT_SMTPUTF8, 400},
        {SMTP_EXT_DSN, 500}, {SMTP_EXT_CHUNKING, 500}, {SMTP_EXT_STARTTLS, 300}};
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (world_chance(table[i].chance))
            h->offers |= table[i].extension;
    if (steady || (h->offers & SMTP_EXT_SMTPUTF8))
        h->offers |= SMTP_EXT_8BITMIME; /* RFC 6531 3.1: with SMTPUTF8 it must */
    h->tls = steady || world_chance(600) ? NET_TLS_WORKS : world_chance(700) ? NET_TLS_FAILS : NET_TLS_HANGS;
    h->no_ehlo = !steady && world_chance(80);
    h->trouble = steady ? 0 : (unsigned)world_between(0, 40);
    h->rcpts_per_transaction = steady || world_chance(500) ? 1000 : (uint32_t)world_between(1, 60);
    h->transactions_per_session = steady || world_chance(600) ? 1000 : (uint32_t)world_between(1, 5);
    return h;
}

static struct domain *domain_new(const char *name, enum domain_kind kind)
{
    struct domain *d = &places.domains[places.domain_count++];

    ASSERT(places.domain_count <= DOMAINS_MAX);
    *d = (struct domain){.kind = kind};
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    return d;
}

static void domain_add_host(struct domain *d, struct host *h)
{
    for (unsigned i = 0; i < d->host_count; i++)
        if (d->hosts[i] == h)
            return;
    d->hosts[d->host_count] = h;
    d->preferences[d->host_count++] = (uint16_t)(10 * world_below(3));
}

void places_begin(void)
{
    static const struct {
        const char *name;
        enum domain_kind kind;
    } odd[] = {{"null.test", DOMAIN_NULL_MX}, {"gone.test", DOMAIN_GONE}, {"nohosts.test", DOMAIN_HOSTS_GONE},
        {"loop.test", DOMAIN_LOOP}, {"dark.test", DOMAIN_DARK}, {"void.test", DOMAIN_DISCARDED},
        {"bad.test", DOMAIN_REFUSED}, {"held.test", DOMAIN_HELD}};
    char name[PLACE_NAME_MAX];

    places = (struct places){0};
    struct host *store = host_new(true);
    store->lmtp = true;
    (void)snprintf(store->name, sizeof store->name, "store.home.test");
    domain_add_host(domain_new("home.test", DOMAIN_HOME), store);
    domain_add_host(domain_new(OUR_HOSTNAME, DOMAIN_HOME), store);
    (void)domain_new(KIN_DOMAIN, DOMAIN_LOCAL);
    domain_add_host(domain_new("steady.test", DOMAIN_MX), host_new(true));
    struct host *provider = host_new(false); /* serves many domains: their mail may share connections */
    unsigned count = (unsigned)world_between(3, 7);
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(name, sizeof name, "d%u.test", i);
        struct domain *d = domain_new(name, world_chance(150) ? DOMAIN_IMPLICIT : DOMAIN_MX);
        unsigned hosts = d->kind == DOMAIN_IMPLICIT ? 1 : (unsigned)world_between(1, MX_MAX);
        for (unsigned k = 0; k < hosts; k++)
            domain_add_host(d, world_chance(250) || places.host_count + 2 >= HOSTS_MAX ? provider : host_new(false));
        d->ourselves_too = world_chance(80);
        if (d->ourselves_too) /* whatever stands behind us is not ours to use */
            d->preferences[0] = 5;
    }
    struct domain *relayed = domain_new("relayed.test", DOMAIN_RELAYED);
    domain_add_host(relayed, provider);
    domain_add_host(relayed, host_new(false));
    for (size_t i = 0; i < COUNT_OF(odd); i++)
        (void)domain_new(odd[i].name, odd[i].kind);
    domain_find(BYTES("held.test"))->hosts[0] = &places.hosts[1];
    domain_find(BYTES("held.test"))->host_count = 1;
}

void places_calm(void)
{
    places.calm = true;
    for (unsigned i = 0; i < places.host_count; i++)
        places.hosts[i].mood_until = 0;
}

struct domain *domain_find(struct bytes name)
{
    for (unsigned i = 0; i < places.domain_count; i++)
        if (bytes_equal_nocase(bytes_of(places.domains[i].name), name))
            return &places.domains[i];
    return NULL;
}

struct domain *domain_of(struct bytes address)
{
    ptrdiff_t at = bytes_rindex(address, '@');

    return at < 0 ? NULL : domain_find(bytes_after(address, (size_t)at + 1));
}

bool domain_has_host(const struct domain *d, const struct host *h)
{
    for (unsigned i = 0; i < d->host_count; i++)
        if (d->hosts[i] == h)
            return true;
    return false;
}

bool domain_is_steady(const struct domain *d)
{
    if (d->kind != DOMAIN_MX && d->kind != DOMAIN_HOME && d->kind != DOMAIN_LOCAL)
        return false;
    for (unsigned i = 0; i < d->host_count; i++)
        if (!d->hosts[i]->steady)
            return false;
    return true;
}

bool domain_takes_utf8(const struct domain *d)
{
    for (unsigned i = 0; i < d->host_count; i++)
        if (!d->hosts[i]->no_ehlo && (d->hosts[i]->offers & SMTP_EXT_SMTPUTF8) != 0)
            return true;
    return d->kind == DOMAIN_LOCAL;
}

/* --- DNS --- */

static bool is_steady_host(struct bytes name)
{
    for (unsigned i = 0; i < places.host_count; i++)
        if (places.hosts[i].steady && bytes_equal_nocase(bytes_of(places.hosts[i].name), name))
            return true;
    return false;
}

static bool dns_trouble(
    struct domain *d, struct bytes name, struct dns_answer *answer, enum dns_type type, int64_t *after_ms)
{
    static const enum dns_status bad[] = {
        DNS_SERVFAIL, DNS_REFUSED, DNS_TIMEOUT, DNS_UNREACHABLE, DNS_MALFORMED, DNS_BUSY};
    bool dark = d != NULL && d->kind == DOMAIN_DARK;

    if (!dark && (places.calm || is_steady_host(name) || (d != NULL && domain_is_steady(d)) || !world_chance(25)))
        return false;
    world_fault(FAULT_DNS_TEMPORARY);
    enum dns_status status = dark ? DNS_TIMEOUT : bad[world_below(COUNT_OF(bad))];
    dns_answer_fail(answer, (uint16_t)type, status);
    *after_ms = status == DNS_TIMEOUT ? 10000 : world_between(1, 500);
    return true;
}

static void name_set(struct dns_name *out, const char *text)
{
    struct result r = dns_name_set(out, bytes_of(text));
    ASSERT(is_ok(r));
}

static void mx_add(struct dns_answer *answer, uint16_t preference, const char *host)
{
    unsigned at = answer->count++;

    while (at > 0 && answer->mx[at - 1].preference > preference) {
        answer->mx[at] = answer->mx[at - 1];
        at--;
    }
    answer->mx[at].preference = preference;
    if (host == NULL)
        answer->mx[at].host.size = 0;
    else
        name_set(&answer->mx[at].host, host);
}

static void mx_answer(struct domain *d, struct dns_answer *answer)
{
    answer->status = DNS_OK;
    switch (d->kind) {
    case DOMAIN_NULL_MX:
        world_fault(FAULT_DNS_PERMANENT);
        mx_add(answer, 0, NULL);
        return;
    case DOMAIN_HOSTS_GONE:
        world_fault(FAULT_DNS_PERMANENT);
        mx_add(answer, 10, "nobody1.hosts.test");
        mx_add(answer, 20, "nobody2.hosts.test");
        return;
    case DOMAIN_LOOP:
        world_fault(FAULT_DNS_PERMANENT);
        mx_add(answer, 10, OUR_HOSTNAME);
        return;
    case DOMAIN_IMPLICIT:
        answer->status = DNS_NODATA;
        return;
    default:
        for (unsigned i = 0; i < d->host_count; i++)
            mx_add(answer, d->preferences[i], d->hosts[i]->name);
        if (d->ourselves_too)
            mx_add(answer, (uint16_t)(d->preferences[0] + 1), OUR_HOSTNAME);
    }
}

static void host_answer(const struct host *h, enum dns_type type, struct dns_answer *answer)
{
    const struct dns_address *a = type == DNS_TYPE_A ? &h->v4 : &h->v6;

    answer->status = a->family == 0 ? DNS_NODATA : DNS_OK;
    if (a->family != 0)
        answer->address[answer->count++] = *a;
}

void places_dns(struct bytes name, enum dns_type type, struct dns_answer *answer, int64_t *after_ms)
{
    struct domain *d = domain_find(name);

    dns_answer_fail(answer, (uint16_t)type, DNS_NXDOMAIN);
    answer->ttl = 300;
    *after_ms = world_chance(900) ? world_between(0, 60) : world_between(0, 4000);
    if (dns_trouble(d, name, answer, type, after_ms))
        return;
    if (bytes_equal_nocase(name, BYTES(OUR_HOSTNAME)) && type == DNS_TYPE_A) {
        answer->status = DNS_OK;
        answer->address[answer->count++] = (struct dns_address){.family = 4, .octets = {192, 0, 2, 1}};
        return;
    }
    if (d != NULL && d->kind == DOMAIN_GONE) {
        world_fault(FAULT_DNS_PERMANENT);
        return;
    }
    if (d != NULL && type == DNS_TYPE_MX) {
        mx_answer(d, answer);
        return;
    }
    if (d != NULL && d->kind == DOMAIN_IMPLICIT) {
        host_answer(d->hosts[0], type, answer);
        return;
    }
    if (d != NULL) {
        answer->status = DNS_NODATA;
        return;
    }
    for (unsigned i = 0; i < places.host_count; i++)
        if (bytes_equal_nocase(bytes_of(places.hosts[i].name), name)) {
            host_answer(&places.hosts[i], type, answer);
            return;
        }
}

/* --- hosts --- */

static void mood_look(struct host *h)
{
    if (h->steady || world.now_ms < h->mood_until)
        return;
    enum mood before = h->mood;
    h->mood_until = world.now_ms + world_between(5 * MINUTE, 8 * HOUR);
    h->mood = places.calm || world_chance(600) ? MOOD_GOOD : (enum mood)world_between(MOOD_REFUSES, MOOD_FLAKY);
    if (h->mood != before)
        world_say("%s is now in mood %d", h->name, (int)h->mood);
}

struct host *places_host_at(const struct conn_dial *to)
{
    for (unsigned i = 0; i < places.host_count; i++) {
        struct host *h = &places.hosts[i];
        const struct dns_address *a = to->ipv6 ? &h->v6 : &h->v4;
        if (a->family != 0 && memcmp(a->octets, to->address, to->ipv6 ? 16 : 4) == 0 &&
            to->port == (h->lmtp ? LMTP_PORT : 25))
            return h;
    }
    return NULL;
}

enum dial_fate places_dial_fate(const struct conn_dial *to, int64_t *after_ms)
{
    struct host *h = places_host_at(to);

    *after_ms = world_between(1, 200);
    if (h == NULL) {
        world_wrong("a connection to an address that is no host's");
        return DIAL_NO_ROUTE;
    }
    mood_look(h);
    if (to->ipv6 && h->v6_dead && world_chance(300)) {
        world_fault(FAULT_DIAL_NO_ROUTE);
        return DIAL_NO_ROUTE;
    }
    if (h->mood == MOOD_HANGS || (to->ipv6 && h->v6_dead) || (h->mood == MOOD_FLAKY && world_chance(200))) {
        world_fault(FAULT_DIAL_HANGS);
        return DIAL_HANGS;
    }
    if (h->mood == MOOD_REFUSES || (h->mood == MOOD_FLAKY && world_chance(300))) {
        world_fault(FAULT_DIAL_REFUSED);
        return DIAL_REFUSED;
    }
    if (to->ipv6 && !places.calm && world_chance(200))
        *after_ms = world_between(1500, 6000);
    return DIAL_CONNECTS;
}

/* --- mailboxes --- */

static struct box *box_of(struct bytes address)
{
    char text[sizeof boxes->address];

    (void)snprintf(text, sizeof text, "%.*s", BYTES_ARG(address));
    for (struct box *b = boxes; b != NULL; b = b->next)
        if (strcmp(b->address, text) == 0)
            return b;
    struct box *b = world_take(sizeof *b);
    memcpy(b->address, text, sizeof text);
    b->first_seen = world.now_ms;
    b->until = world.now_ms + (bytes_starts(address, BYTES("full")) ? world_between(10 * MINUTE, 3 * (int64_t)DAY)
                                                                    : world_between(MINUTE, HOUR));
    b->next = boxes;
    boxes = b;
    return b;
}

enum box_answer box_ask(struct bytes address)
{
    if (bytes_starts(address, BYTES("no")))
        return BOX_UNKNOWN;
    if (bytes_starts(address, BYTES("forbid")))
        return BOX_FORBIDS;
    if (bytes_starts(address, BYTES("never")))
        return BOX_LATER;
    if (bytes_starts(address, BYTES("grey")))
        return world.now_ms < box_of(address)->until ? BOX_LATER : BOX_TAKES;
    if (bytes_starts(address, BYTES("full")))
        return world.now_ms < box_of(address)->until ? BOX_FULL : BOX_TAKES;
    if (bytes_starts(address, BYTES("flaky")) && !places.calm)
        return world_chance(500) ? BOX_LATER : BOX_TAKES;
    return BOX_TAKES;
}

void boxes_end(void)
{
    while (boxes != NULL) {
        struct box *next = boxes->next;
        free(boxes);
        boxes = next;
    }
}
