#include "tests/sim/lib/edge.h"

#include <sys/resource.h>

#include "daemon/edge/clock.h"
#include "daemon/inbound/census.h"
#include "tests/sim/lib/edge_parts.h"

struct edge_ports edge_ports;

/* --- clock --- */

struct instant clock_instant(void)
{
    return (struct instant){world.now_ms};
}

struct walltime clock_walltime(void)
{
    return world_walltime();
}

uint64_t clock_seed(void)
{
    return rng_next(&world.rng);
}

/* The store asks how many pages it has touched, after each commit; the kernel's answer costs more than the rest of the commit. */
int getrusage(__rusage_who_t who, struct rusage *usage)
{
    (void)who;
    memset(usage, 0, sizeof *usage);
    return 0;
}

/* --- loop: hooks by lists, timers by the world's heap --- */

struct loop {
    struct loop *next;
    struct loop_hook *hooks[LOOP_STAGE_COUNT];
};

struct timer_box {
    struct world_timer timer;
    struct loop_timer *of;
};

static struct loop *loops;

struct loop *loop_new(void)
{
    struct loop *l = world_take(sizeof *l);

    l->next = loops;
    loops = l;
    return l;
}

void loop_free(struct loop **loop)
{
    for (struct loop **at = &loops; *at != NULL; at = &(*at)->next)
        if (*at == *loop) {
            *at = (*loop)->next;
            break;
        }
    ASSERT((*loop)->hooks[LOOP_WORK] == NULL && (*loop)->hooks[LOOP_FLUSH] == NULL);
    free(*loop);
    *loop = NULL;
}

size_t edge_loop_count(void)
{
    size_t count = 0;

    for (const struct loop *l = loops; l != NULL; l = l->next)
        count++;
    return count;
}

struct instant loop_now(const struct loop *loop)
{
    (void)loop;
    return (struct instant){world.now_ms};
}

static void on_timer_box(void *ctx)
{
    struct timer_box *box = ctx;
    struct loop_timer *t = box->of;

    free(box);
    t->child = NULL;
    t->armed = false;
    t->fn(t->ctx);
}

/* The library's own pointer field holds our timer. */
void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    struct timer_box *box = (struct timer_box *)(void *)timer->child;

    (void)loop;
    if (box == NULL)
        return;
    world_timer_stop(&box->timer);
    free(box);
    timer->child = NULL;
    timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, struct instant deadline)
{
    struct timer_box *box = (struct timer_box *)(void *)timer->child;

    if (deadline.ms == INSTANT_NEVER.ms) {
        loop_timer_stop(loop, timer);
        return;
    }
    if (box == NULL) {
        box = world_take(sizeof *box);
        *box = (struct timer_box){.timer = {.fn = on_timer_box, .ctx = box}, .of = timer};
        timer->child = (struct loop_timer *)(void *)box;
    }
    timer->armed = true;
    timer->deadline = deadline;
    world_timer_set(&box->timer, deadline.ms);
}

void loop_hook_drop(struct loop *loop, struct loop_hook *hook)
{
    (void)loop;
    if (hook->link == NULL)
        return;
    *hook->link = hook->next;
    if (hook->next != NULL)
        hook->next->link = hook->link;
    hook->next = NULL;
    hook->link = NULL;
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, enum loop_stage stage)
{
    struct loop_hook **at = &loop->hooks[stage];

    if (hook->link != NULL)
        return;
    while (*at != NULL)
        at = &(*at)->next;
    hook->next = NULL;
    hook->link = at;
    *at = hook;
}

static bool hooks_run(struct loop *loop, enum loop_stage stage)
{
    bool any = false;

    for (struct loop_hook *hook; (hook = loop->hooks[stage]) != NULL; any = true) {
        loop_hook_drop(loop, hook);
        hook->fn(hook->ctx);
    }
    return any;
}

void edge_turn_end(void)
{
    for (bool any = true; any;) {
        any = false;
        for (struct loop *l = loops; l != NULL; l = l->next) {
            any = hooks_run(l, LOOP_WORK) || any;
            any = hooks_run(l, LOOP_FLUSH) || any;
        }
    }
}

/* --- who is who --- */

enum { DESCRIPTOR_FIRST = 1 << 20, DESCRIPTORS_MAX = 256 };

static struct descriptor {
    struct net_end *near;
    struct dns_address peer;
} descriptors[DESCRIPTORS_MAX];

int edge_descriptor(struct net_end *near, const struct dns_address *peer)
{
    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        if (descriptors[i].near == NULL) {
            descriptors[i] = (struct descriptor){near, *peer};
            return DESCRIPTOR_FIRST + i;
        }
    ASSERT(false);
    return -1;
}

struct net_end *edge_descriptor_take(int fd)
{
    struct descriptor *d = &descriptors[fd - DESCRIPTOR_FIRST];
    struct net_end *near = d->near;

    d->near = NULL;
    return near;
}

size_t edge_descriptor_count(void)
{
    size_t count = 0;

    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        count += descriptors[i].near != NULL;
    return count;
}

struct bytes conn_end_text(const struct conn_end *end)
{
    return (struct bytes){(const uint8_t *)end->text, end->text_size};
}

RESULT conn_address_parse(struct bytes text, uint8_t address_out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct dns_address address;

    TRY(dns_address_parse(text, &address));
    memcpy(address_out, address.family == 4 ? mapped : address.octets, 12);
    memcpy(address_out + 12, address.octets + (address.family == 4 ? 0 : 12), 4);
    return OK;
}

void edge_end_fill(struct conn_end *end, const struct dns_address *address, uint16_t port)
{
    uint8_t room[DNS_ADDRESS_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    struct result r = dns_address_put(&text, address);

    ASSERT(is_ok(r));
    *end = (struct conn_end){.ipv6 = address->family == 6, .port = port, .text_size = (uint8_t)text.size};
    memcpy(end->text, room, text.size);
    r = conn_address_parse(buf_bytes(&text), end->address);
    ASSERT(is_ok(r));
}

void conn_end_set(struct conn_end *end, const uint8_t address[16], uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct dns_address a = {.family = memcmp(address, mapped, sizeof mapped) == 0 ? 4 : 6};

    memcpy(a.octets, address + (a.family == 4 ? 12 : 0), a.family == 4 ? 4 : 16);
    edge_end_fill(end, &a, port);
}

RESULT conn_peer_read(int fd, struct conn_end *peer_out)
{
    edge_end_fill(peer_out, &descriptors[fd - DESCRIPTOR_FIRST].peer, 40000);
    return OK;
}

/* --- census: one count for all inbound processes, as in shared memory --- */

enum { CENSUS_PLACES = 1024 };

struct census {
    uint32_t count;
    uint64_t keys[CENSUS_PLACES]; /* 0: free */
    int64_t worked_at;
    struct rates_slot rates[RATES_SLOT_COUNT];
};
static struct census census;

RESULT census_open(uint64_t group, uint32_t sessions_max, struct census **census_out)
{
    (void)group;
    (void)sessions_max;
    if (census.count == 0)
        memset(&census, 0, sizeof census); /* of another run */
    *census_out = &census;
    return OK;
}

void census_close(struct census **c)
{
    *c = NULL;
}

uint32_t census_count(const struct census *c, uint64_t key)
{
    uint32_t count = 0;

    if (key == 0)
        return c->count;
    for (size_t i = 0; i < CENSUS_PLACES; i++)
        count += c->keys[i] == key;
    return count;
}

bool census_enter(struct census *c, uint64_t key, uint32_t *place_out)
{
    ASSERT(key != 0);
    for (uint32_t i = 0; i < CENSUS_PLACES; i++)
        if (c->keys[i] == 0) {
            c->keys[i] = key;
            c->count++;
            *place_out = i;
            return true;
        }
    return false;
}

void census_leave(struct census *c, uint32_t place)
{
    ASSERT(place < CENSUS_PLACES && c->keys[place] != 0 && c->count > 0);
    c->keys[place] = 0;
    c->count--;
}

void census_worked(struct census *c, int64_t now_ms)
{
    c->worked_at = now_ms;
}

int64_t census_worked_at(const struct census *c)
{
    return c->worked_at;
}

struct rates_slot *census_rates(struct census *c)
{
    return c->rates;
}
