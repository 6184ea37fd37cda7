/* A pair is one allocation; each end owns what flows towards the other. Octets wait in `flow` for the delay and are then
 * handed over, some or all of them: writes merge and split as they would on a wire. */
#include "tests/sim/lib/net.h"

struct net_end {
    struct net_pair *pair;
    struct net_end *other;
    const struct net_handler *handler; /* NULL: not taken yet, or closed */
    void *owner;
    struct heap_buf flow; /* from here to the other */
    uint64_t written, arrived;
    uint64_t break_at; /* octet of this flow at which the connection breaks; UINT64_MAX: never */
    bool taken, closed, shut, end_told, paused, starved;
    struct world_timer timer; /* hands `flow` over */
    struct world_timer news;  /* lost, or room */
    bool lost_due, lost_told;
};

struct net_pair {
    struct net_end ends[2];
    struct net_traits traits;
    bool dead;   /* reset: nothing flows any more */
    bool hole;   /* nothing arrives any more, and nobody is told */
    bool resets; /* how it breaks */
    enum net_tls tls;
};

static size_t open_count;

static void flow_later(struct net_end *e)
{
    if (e->timer.place == 0)
        world_timer_set(&e->timer,
            world.now_ms + e->pair->traits.delay_ms + (int64_t)world_below((uint64_t)e->pair->traits.jitter_ms + 1));
}

static void news_later(struct net_end *e)
{
    if (!e->closed && e->news.place == 0)
        world_timer_set(&e->news, world.now_ms + e->pair->traits.delay_ms);
}

static void pair_lost(struct net_pair *p)
{
    p->dead = true;
    for (int i = 0; i < 2; i++) {
        p->ends[i].lost_due = true;
        world_timer_stop(&p->ends[i].timer);
        news_later(&p->ends[i]);
    }
}

static void on_news(void *ctx)
{
    struct net_end *e = ctx;

    if (e->closed || !e->taken)
        return;
    if (e->lost_due) {
        if (!e->lost_told) {
            e->lost_told = true;
            e->handler->lost(e->owner);
        }
        return;
    }
    if (e->starved && e->flow.size < NET_WINDOW / 2) {
        e->starved = false;
        if (e->handler->room != NULL)
            e->handler->room(e->owner);
    }
}

/* The whole connection breaks at its octet. */
static bool breaks_here(struct net_end *e)
{
    struct net_pair *p = e->pair;

    if (e->arrived < e->break_at)
        return false;
    if (p->resets) {
        world_fault(FAULT_NET_RESET);
        pair_lost(p);
    } else {
        world_fault(FAULT_NET_BLACK_HOLE);
        p->hole = true;
    }
    return true;
}

static void on_flow(void *ctx)
{
    struct net_end *e = ctx;
    struct net_end *to = e->other;
    uint8_t room[4096];

    if (e->pair->dead || e->pair->hole)
        return;
    if (to->closed) { /* nobody is there: a reset comes back for what was sent */
        if (e->flow.size > 0)
            pair_lost(e->pair);
        return;
    }
    if (to->paused || !to->taken)
        return;
    if (e->flow.size > 0) {
        size_t size = e->flow.size < sizeof room ? e->flow.size : sizeof room;
        if (size > 1 && world_chance(e->pair->traits.split)) {
            world_fault(FAULT_NET_SPLIT);
            size = 1 + (size_t)world_below(size - 1);
        }
        if (e->break_at - e->arrived < size)
            size = (size_t)(e->break_at - e->arrived);
        memcpy(room, e->flow.data, size);
        heap_buf_drop(&e->flow, size);
        e->arrived += size;
        if (e->starved)
            news_later(e);
        if (e->flow.size > 0 || (e->shut && !e->end_told))
            world_timer_set(&e->timer, world.now_ms + (int64_t)world_below(2));
        if (size > 0)
            to->handler->data(to->owner, (struct bytes){room, size}); /* may close either end */
        if (!e->pair->dead && breaks_here(e))
            world_timer_stop(&e->timer);
        return;
    }
    if (e->shut && !e->end_told) {
        e->end_told = true;
        to->handler->end(to->owner);
    }
}

void net_pair(const struct net_traits *traits, struct net_end **near_out, struct net_end **far_out)
{
    struct net_pair *p = world_take(sizeof *p);

    p->traits = *traits;
    for (int i = 0; i < 2; i++) {
        struct net_end *e = &p->ends[i];
        e->pair = p;
        e->other = &p->ends[1 - i];
        e->break_at = UINT64_MAX;
        e->timer = (struct world_timer){.fn = on_flow, .ctx = e};
        e->news = (struct world_timer){.fn = on_news, .ctx = e};
    }
    if (world_chance(traits->break_chance)) {
        static const uint64_t reach[] = {40, 300, 2000, 20000};
        p->resets = world_chance(600);
        p->ends[world_below(2)].break_at = world_below(reach[world_below(COUNT_OF(reach))]);
    }
    *near_out = &p->ends[0];
    *far_out = &p->ends[1];
    open_count++;
}

void net_take(struct net_end *e, const struct net_handler *handler, void *owner)
{
    e->handler = handler;
    e->owner = owner;
    e->taken = true;
    if (e->lost_due)
        news_later(e);
    flow_later(e->other);
}

size_t net_write(struct net_end *e, struct bytes out)
{
    size_t room = e->flow.size < NET_WINDOW ? NET_WINDOW - e->flow.size : 0;

    ASSERT(!e->closed && !e->shut);
    if (e->pair->dead)
        return out.size;
    if (out.size > room) {
        e->starved = true;
        out = bytes_head(out, room);
    }
    heap_buf_put(&e->flow, out);
    e->written += out.size;
    flow_later(e);
    return out.size;
}

void net_shut(struct net_end *e)
{
    e->shut = true;
    if (!e->pair->dead)
        flow_later(e);
}

static void pair_free(struct net_pair *p)
{
    for (int i = 0; i < 2; i++) {
        world_timer_stop(&p->ends[i].timer);
        world_timer_stop(&p->ends[i].news);
        heap_buf_free(&p->ends[i].flow);
    }
    free(p);
    open_count--;
}

static void on_pair_gone(void *ctx)
{
    pair_free(((struct net_end *)ctx)->pair);
}

void net_close(struct net_end *e, bool reset)
{
    struct net_pair *p = e->pair;

    ASSERT(!e->closed);
    e->closed = true;
    world_timer_stop(&e->news);
    if (e->other->closed) { /* both are gone; not at once: we may be inside a call of on_flow */
        world_timer_stop(&e->timer);
        world_timer_stop(&e->other->timer);
        e->news.fn = on_pair_gone;
        world_timer_set(&e->news, world.now_ms);
        return;
    }
    if (p->dead || p->hole)
        return;
    if (reset || (e->other->flow.size > 0 && world_chance(500))) {
        pair_lost(p);
        return;
    }
    e->shut = true;
    flow_later(e);
    if (e->other->flow.size > 0)
        flow_later(e->other); /* finds nobody */
}

void net_pause(struct net_end *e, bool paused)
{
    if (e->paused == paused)
        return;
    e->paused = paused;
    if (!paused && !e->pair->dead)
        flow_later(e->other);
}

uint64_t net_written(const struct net_end *e)
{
    return e->written;
}

uint64_t net_arrived(const struct net_end *e)
{
    return e->arrived;
}

void net_unread(struct net_end *e, size_t size)
{
    e->other->arrived -= size;
}

void net_tls_set(struct net_end *e, enum net_tls tls)
{
    e->pair->tls = tls;
}

enum net_tls net_tls_get(const struct net_end *e)
{
    return e->pair->tls;
}

bool net_is_hole(const struct net_end *e)
{
    return e->pair->hole;
}

size_t net_open_count(void)
{
    return open_count;
}
