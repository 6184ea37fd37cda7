/* Outbound processes of the house. */
#include "tests/sim/lib/house_parts.h"

static void on_outbound_message(void *ctx, const struct msg *m)
{
    struct outbound_process *p = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        delivery_begin(&p->ob, &m->job_begin);
        break;
    case MSG_job_rcpt:
        delivery_rcpt(&p->ob, &m->job_rcpt);
        break;
    case MSG_job_body:
        delivery_body(&p->ob, &m->job_body);
        break;
    case MSG_job_run:
        delivery_run(&p->ob, m->job_run.job);
        break;
    case MSG_job_cancel:
        delivery_cancel(&p->ob, m->job_cancel.job);
        break;
    default:
        break;
    }
}

static void on_outbound_closed(void *ctx, enum channel_end why)
{
    struct outbound_process *p = ctx;

    (void)why;
    channel_free(&p->ob.queued);
    deliveries_drop(&p->ob);
    if (!p->draining)
        world_timer_set(&p->orphan, world.now_ms + PROCESS_ORPHAN_MS);
}

static const struct channel_handlers outbound_handlers = {
    .on_message = on_outbound_message, .on_closed = on_outbound_closed};

static void say_hello(struct outbound_process *p, uint32_t slots)
{
    if (p->ob.queued != NULL)
        channel_send(p->ob.queued,
            &(struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_OUTBOUND, .slots = slots}});
}

void house_outbound_link(struct outbound_process *p)
{
    unsigned number = LINK_OUTBOUND + (unsigned)(p - house.outbound);
    int fd = house_link_open(number, ROLE_OUTBOUND);

    if (fd < 0)
        return;
    if (p->ob.queued != NULL)
        on_outbound_closed(p, CHANNEL_END_PEER);
    world_timer_stop(&p->orphan);
    p->ob.queued = channel_new(p->loop, fd, ROLE_OUTBOUND, ROLE_QUEUED, &outbound_handlers, p);
    say_hello(p, p->draining ? 0 : 40);
}

static void on_outbound_orphan(void *ctx)
{
    struct outbound_process *p = ctx;

    house_kill_outbound((unsigned)(p - house.outbound));
}

static void on_outbound_restart(void *ctx)
{
    house_outbound_start(ctx);
}

void house_outbound_start(struct outbound_process *p)
{
    p->restart = (struct world_timer){.fn = on_outbound_restart, .ctx = p};
    p->orphan = (struct world_timer){.fn = on_outbound_orphan, .ctx = p};
    p->loop = loop_new();
    p->ob = (struct outbound){.loop = p->loop, .cfg = house.cfg};
    p->self_name = house.cfg->hostname;
    p->self_endpoint = (struct dns_endpoint){.address = {.family = 4, .octets = {192, 0, 2, 1}}, .port = OUR_PORT};
    p->ob.self =
        (struct mx_self){.names = &p->self_name, .name_count = 1, .endpoints = &p->self_endpoint, .endpoint_count = 1};
    p->ob.courier = (struct courier_config){.self = &p->ob.self,
        .ipv4 = true,
        .ipv6 = true,
        .tls = SMTP_CLIENT_TLS_OPPORTUNISTIC,
        .dial_ms = house.cfg->timeouts.connect,
        .overlap_ms = COURIER_OVERLAP_DEFAULT_MS};
    p->ob.rng.state = rng_next(&world.rng);
    struct result r = tls_context_client(&p->ob.tls);
    if (is_ok(r))
        r = conn_room_new(p->loop, &p->ob.room);
    if (is_ok(r))
        r = dns_edge_new(p->loop, NULL, delivery_on_answer, &p->ob, &p->ob.dns);
    ASSERT(is_ok(r));
    p->up = true;
    p->draining = false;
    house_outbound_link(p);
}

static void outbound_end(struct outbound_process *p)
{
    unsigned number = LINK_OUTBOUND + (unsigned)(p - house.outbound);

    p->up = false;
    world_timer_stop(&p->orphan);
    if (house.links[number].channel != NULL)
        edge_channel_die(house.links[number].fds[1]);
    channel_free(&p->ob.queued);
    deliveries_drop(&p->ob);
    deliveries_free_spare(&p->ob);
    while (p->ob.pool != NULL)
        link_close(p->ob.pool);
    dns_edge_free(&p->ob.dns);
    edge_room_kill(p->ob.room);
    conn_room_free(&p->ob.room);
    tls_context_free(&p->ob.tls);
    loop_free(&p->loop);
}

void house_spares_drop(void)
{
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        if (house.outbound[i].up)
            deliveries_free_spare(&house.outbound[i].ob);
}

void house_kill_outbound(unsigned which)
{
    struct outbound_process *p = &house.outbound[which];

    if (!p->up)
        return;
    world_say("outbound %u dies", which);
    house.last_down_ms = world.now_ms;
    outbound_end(p);
    ledger_died(false);
    p->restart.fn = on_outbound_restart;
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}

static void on_outbound_drained(void *ctx)
{
    struct outbound_process *p = ctx;

    outbound_end(p);
    ledger_died(false);
    house_outbound_start(p);
}

/* Stands for the process's end: called by delivery.c in the middle of its own work. */
void outbound_look_for_end(struct outbound *ob)
{
    struct outbound_process *p = (struct outbound_process *)((char *)ob - offsetof(struct outbound_process, ob));

    if (!ob->draining || ob->delivery_count > 0 || !p->up)
        return;
    p->restart.fn = on_outbound_drained;
    world_timer_set(&p->restart, world.now_ms + 10);
}

void house_drain_outbound(unsigned which)
{
    struct outbound_process *p = &house.outbound[which];

    if (!p->up || p->draining)
        return;
    world_say("outbound %u drains", which);
    p->draining = true;
    p->ob.draining = true;
    say_hello(p, 0);
    pool_quit(&p->ob);
    outbound_look_for_end(&p->ob);
}
