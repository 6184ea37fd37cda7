/* Inbound processes of the house. */
#include "tests/sim/lib/house_parts.h"

void house_inbound_link(struct inbound_process *p)
{
    int fd = house_link_open(LINK_INBOUND + (unsigned)(p - house.inbound), ROLE_INBOUND);

    if (fd < 0)
        return;
    world_timer_stop(&p->orphan);
    depot_channel(p->in.depot, fd);
    world_timer_stop(&p->orphan); /* the old one was dropped for it */
}

static void on_inbound_orphan(void *ctx)
{
    struct inbound_process *p = ctx;

    house_kill_inbound((unsigned)(p - house.inbound));
}

static void on_inbound_lost(struct inbound *in)
{
    struct inbound_process *p = (struct inbound_process *)((char *)in - offsetof(struct inbound_process, in));

    world_timer_set(&p->orphan, world.now_ms + PROCESS_ORPHAN_MS);
}

static void on_inbound_restart(void *ctx)
{
    house_inbound_start(ctx);
}

void house_inbound_start(struct inbound_process *p)
{
    struct result r;

    p->restart = (struct world_timer){.fn = on_inbound_restart, .ctx = p};
    p->orphan = (struct world_timer){.fn = on_inbound_orphan, .ctx = p};
    p->loop = loop_new();
    p->in = (struct inbound){.loop = p->loop, .cfg = house.cfg, .orphaned = on_inbound_lost};
    r = conn_room_new(p->loop, &p->in.room);
    if (is_ok(r))
        r = census_open(0, house.cfg->limits.sessions, &p->in.census);
    ASSERT(is_ok(r));
    p->in.depot = depot_new(p->loop, &SESSION_DEPOT_HANDLERS, &p->in);
    p->in.inquiry = inquiry_new(p->loop, session_rcpt_known);
    p->in.clerk = clerk_new(p->loop, session_answered);
    p->in.tls = edge_tls_store();
    if (p->in.depot == NULL || p->in.inquiry == NULL ||
        p->in.clerk == NULL) { /* no memory: it fails and is started again */
        depot_free(&p->in.depot);
        inquiry_free(&p->in.inquiry);
        clerk_free(&p->in.clerk);
        conn_room_free(&p->in.room);
        loop_free(&p->loop);
        world_timer_set(&p->restart, world.now_ms + SECOND);
        return;
    }
    for (unsigned i = 0; i < HOUSE_DOORS; i++)
        door_fill(&p->doors[i], house.cfg, &house.cfg->listens[i]);
    p->up = true;
    house_inbound_link(p);
    house_lookup_meet(p);
    house_auth_meet(p);
}

void house_kill_inbound(unsigned which)
{
    struct inbound_process *p = &house.inbound[which];
    struct link_to *link = &house.links[which];

    if (!p->up)
        return;
    world_say("inbound %u dies", which);
    p->up = false;
    world_timer_stop(&p->orphan);
    house.last_down_ms = world.now_ms;
    if (link->channel != NULL)
        edge_channel_die(link->fds[1]);
    edge_room_kill(p->in.room);
    loop_timer_stop(p->loop, &p->in.telling);
    conn_room_free(&p->in.room);
    depot_free(&p->in.depot);
    inquiry_free(&p->in.inquiry);
    clerk_free(&p->in.clerk);
    census_close(&p->in.census);
    loop_timer_stop(p->loop, &p->in.telling);
    loop_free(&p->loop);
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}

struct net_end *house_connect(enum house_door door, const struct dns_address *from, const struct net_traits *traits)
{
    struct inbound_process *p = &house.inbound[world_below(HOUSE_INBOUND)];
    struct net_end *near, *far;

    if (!p->up || !depot_is_stocked(p->in.depot))
        return NULL;
    net_pair(traits, &near, &far);
    session_new(&p->in, &p->doors[door], edge_descriptor(near, from));
    return far;
}
