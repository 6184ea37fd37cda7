#include "tests/sim/lib/house.h"

#include "daemon/inbound/policy.h"
#include "daemon/inbound/session.h"
#include "daemon/outbound/parts.h"
#include "daemon/queued/engine.h"
#include "tests/support/disk.h"
#include "tests/support/folder.h"

enum { DOWN_EXCUSE_MS = 15 * MINUTE, TURN_MS = 20 };

struct link_to {
    struct channel *channel; /* queued's end */
    struct engine_peer *peer;
    enum ipc_role role;
    int fds[2]; /* queued's end, the other end */
};

struct inbound_process {
    bool up;
    struct loop *loop;
    struct inbound in;
    struct door door;
    struct world_timer restart;
};

struct outbound_process {
    bool up, draining;
    struct loop *loop;
    struct outbound ob;
    struct bytes self_name;
    struct dns_endpoint self_endpoint;
    struct world_timer restart;
};

static struct {
    const struct config *cfg;
    char path[FOLDER_SIZE_MAX];
    unsigned generation; /* of the path: each power cut makes another */
    bool disk;
    uint64_t size_max;
    struct loop *loop; /* queued's */
    struct store *store;
    struct engine *engine;
    struct link_to links[HOUSE_INBOUND + HOUSE_OUTBOUND];
    struct inbound_process inbound[HOUSE_INBOUND];
    struct outbound_process outbound[HOUSE_OUTBOUND];
    struct world_timer turn, restart;
    int64_t last_down_ms;
    size_t cut_at;
    uint64_t cut_seed;
    bool in_turn;
} house;

/* --- queued --- */

static void turn_at(int64_t at_ms)
{
    if (house.engine != NULL && (house.turn.place == 0 || house.turn.at > at_ms))
        world_timer_set(&house.turn, at_ms);
}

static void turn_wanted(void)
{
    turn_at(world.now_ms + (int64_t)world_below(TURN_MS));
}

static void on_turn(void *ctx)
{
    (void)ctx;
    ledger.turn++;
    house.in_turn = true;
    engine_turn(house.engine, world_walltime());
    house.in_turn = false;
    if (house.cut_at != SIZE_MAX && disk_event_count() >= house.cut_at) {
        size_t at = house.cut_at;
        house.cut_at = SIZE_MAX;
        house_power_cut(at, house.cut_seed);
        return;
    }
    struct walltime next = engine_deadline(house.engine);
    if (next.ms != WALLTIME_NEVER.ms)
        turn_at(world.now_ms + (next.ms > world_walltime().ms ? next.ms - world_walltime().ms : 1));
}

/* queued's end goes; the engine forgets the peer. */
static void link_drop(struct link_to *link)
{
    if (link->peer != NULL)
        engine_peer_gone(house.engine, link->peer, world_walltime());
    ledger_worker_gone(link->channel);
    link->peer = NULL;
    channel_free(&link->channel);
}

static void on_queued_message(void *ctx, const struct msg *m)
{
    struct link_to *link = ctx;

    if (m->kind == MSG_tx_commit)
        ledger_commit_asked(&m->tx_commit.head);
    else if (m->kind == MSG_job_end)
        ledger_job_over(m->job_end.job);
    struct result r = engine_receive(house.engine, link->peer, m, world_walltime());
    if (!is_ok(r)) {
        world_wrong("queued does not take %s of %s: %s", msg_name(m->kind), ipc_role_name(link->role), r.why);
        link_drop(link);
    }
    turn_wanted();
}

static void on_queued_closed(void *ctx, enum channel_end why)
{
    (void)why;
    link_drop(ctx);
    turn_wanted();
}

static const struct channel_handlers queued_handlers = {.on_message = on_queued_message, .on_closed = on_queued_closed};

static void port_send(void *context, void *channel, const struct msg *m)
{
    static struct message_id beginning; /* of the job whose recipients follow */

    (void)context;
    if (m->kind == MSG_tx_done)
        ledger_committed(m->tx_done.id, m->tx_done.outcome == TX_ACCEPTED);
    else if (m->kind == MSG_job_begin)
        beginning = m->job_begin.head.id;
    else if (m->kind == MSG_job_rcpt)
        ledger_job_rcpt(m->job_rcpt.job, channel, beginning, &m->job_rcpt.rcpt);
    channel_send(channel, m);
}

/* A channel between queued and one of the others, when both are up; the other end's descriptor, or -1. */
static int link_open(unsigned number, enum ipc_role role)
{
    struct link_to *link = &house.links[number];

    if (house.engine == NULL)
        return -1;
    if (link->channel != NULL)
        link_drop(link);
    struct result r = channel_pair(link->fds);
    ASSERT(is_ok(r));
    link->role = role;
    link->channel = channel_new(house.loop, link->fds[0], ROLE_QUEUED, role, &queued_handlers, link);
    link->peer = engine_peer_add(house.engine, role, link->channel);
    if (link->peer == NULL) { /* no memory: as in queued.c, the other sees its channel close */
        int fd = link->fds[1];
        channel_free(&link->channel);
        turn_wanted();
        return fd;
    }
    turn_wanted();
    return link->fds[1];
}

/* --- inbound --- */

static void inbound_start(struct inbound_process *p)
{
    struct result r;

    p->loop = loop_new();
    p->in = (struct inbound){.loop = p->loop, .cfg = house.cfg};
    r = conn_room_new(p->loop, &p->in.room);
    if (is_ok(r))
        r = census_open(0, house.cfg->limits.sessions, &p->in.census);
    ASSERT(is_ok(r));
    p->in.depot = depot_new(p->loop, &SESSION_DEPOT_HANDLERS, &p->in);
    if (p->in.depot == NULL) { /* no memory: it fails and is started again */
        conn_room_free(&p->in.room);
        loop_free(&p->loop);
        world_timer_set(&p->restart, world.now_ms + SECOND);
        return;
    }
    p->door = (struct door){.class = LISTEN_SMTP,
        .smtp = {
            .hostname = house.cfg->hostname,
            .class = SMTP_CLASS_MX,
            .extensions = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCEDSTATUSCODES |
                          SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN | SMTP_EXT_CHUNKING,
            .size_max = house.cfg->limits.message_size,
            .rcpt_max = house.cfg->limits.recipients,
            .error_max = house.cfg->limits.errors,
            .received_max = house.cfg->limits.received,
            .strict_pipelining = true,
            .idle_timeout_ms = house.cfg->timeouts.server_idle,
            .data_block_timeout_ms = house.cfg->timeouts.block,
            .session_max_ms = house.cfg->timeouts.session,
        }};
    p->up = true;
    int fd = link_open((unsigned)(p - house.inbound), ROLE_INBOUND);
    if (fd >= 0)
        depot_channel(p->in.depot, fd);
}

static void on_inbound_restart(void *ctx)
{
    inbound_start(ctx);
}

void house_kill_inbound(unsigned which)
{
    struct inbound_process *p = &house.inbound[which];
    struct link_to *link = &house.links[which];

    if (!p->up)
        return;
    world_say("inbound %u dies", which);
    p->up = false;
    house.last_down_ms = world.now_ms;
    if (link->channel != NULL)
        edge_channel_die(link->fds[1]);
    edge_room_kill(p->in.room);
    conn_room_free(&p->in.room);
    depot_free(&p->in.depot);
    census_close(&p->in.census);
    loop_free(&p->loop);
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}

struct net_end *house_connect(const struct dns_address *from, const struct net_traits *traits)
{
    struct inbound_process *p = &house.inbound[world_below(HOUSE_INBOUND)];
    struct net_end *near, *far;

    if (!p->up || !depot_is_stocked(p->in.depot))
        return NULL;
    net_pair(traits, &near, &far);
    session_new(&p->in, &p->door, edge_descriptor(near, from));
    return far;
}

/* --- outbound --- */

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
}

static const struct channel_handlers outbound_handlers = {
    .on_message = on_outbound_message, .on_closed = on_outbound_closed};

static void say_hello(struct outbound_process *p, uint32_t slots)
{
    if (p->ob.queued != NULL)
        channel_send(p->ob.queued,
            &(struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_OUTBOUND, .slots = slots}});
}

static void outbound_link(struct outbound_process *p)
{
    unsigned number = HOUSE_INBOUND + (unsigned)(p - house.outbound);
    int fd = link_open(number, ROLE_OUTBOUND);

    if (fd < 0)
        return;
    if (p->ob.queued != NULL)
        on_outbound_closed(p, CHANNEL_END_PEER);
    p->ob.queued = channel_new(p->loop, fd, ROLE_OUTBOUND, ROLE_QUEUED, &outbound_handlers, p);
    say_hello(p, p->draining ? 0 : 40);
}

static void outbound_start(struct outbound_process *p)
{
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
    outbound_link(p);
}

static void on_outbound_restart(void *ctx)
{
    outbound_start(ctx);
}

static void outbound_end(struct outbound_process *p)
{
    unsigned number = HOUSE_INBOUND + (unsigned)(p - house.outbound);

    p->up = false;
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
    p->restart.fn = on_outbound_restart;
    outbound_start(p);
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

/* --- queued, again --- */

static struct result queued_start(bool cut)
{
    struct store_config cfg = {.path = house.path, .size_max = house.size_max, .index_tail = 3};

    TRY(store_open(&cfg, &house.store));
    house_fsck("after a start");
    house.engine = engine_new(&(struct engine_setup){
        .config = house.cfg, .store = house.store, .ports = {.send = port_send}, .seed = rng_next(&world.rng)});
    struct result r = house.engine == NULL ? FAIL(CODE_FULL, "out of memory") : OK;
    ledger.turn++;
    if (is_ok(r))
        r = engine_start(house.engine, world_walltime());
    if (!is_ok(r)) {
        engine_free(&house.engine);
        store_close(&house.store);
        return r;
    }
    ledger.turn--;
    ledger_audit(house.store, cut);
    ledger.turn++;
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        if (house.inbound[i].up)
            depot_channel(house.inbound[i].in.depot, link_open(i, ROLE_INBOUND));
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        if (house.outbound[i].up)
            outbound_link(&house.outbound[i]);
    turn_wanted();
    return OK;
}

static bool cut_pending;

static void on_queued_restart(void *ctx)
{
    (void)ctx;
    struct result r = queued_start(cut_pending);

    if (is_ok(r))
        cut_pending = false;
    else {
        world_say("queued does not start: %s", r.why);
        world_timer_set(&house.restart, world.now_ms + SECOND);
    }
}

static void queued_end(void)
{
    for (size_t i = 0; i < COUNT_OF(house.links); i++) {
        house.links[i].peer = NULL;
        if (house.links[i].channel == NULL)
            continue;
        edge_channel_die(house.links[i].fds[0]);
        channel_free(&house.links[i].channel);
    }
    world_timer_stop(&house.turn);
    ledger.store = NULL;
    engine_free(&house.engine);
    store_close(&house.store);
    house.last_down_ms = world.now_ms;
    ledger_died(true);
}

void house_kill_queued(void)
{
    if (house.engine == NULL)
        return;
    world_say("queued dies");
    queued_end();
    world_timer_set(&house.restart, world.now_ms + world_between(50, 5000));
}

void house_cut_at(size_t at, uint64_t seed)
{
    house.cut_at = at;
    house.cut_seed = seed;
}

void house_power_cut(size_t at, uint64_t seed)
{
    char image[FOLDER_SIZE_MAX];

    if (house.engine == NULL)
        return;
    world_say("the power is cut behind event %zu of the disk", at);
    world_fault(FAULT_POWER_CUT);
    cut_pending = true;
    queued_end();
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        house_kill_inbound(i);
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        house_kill_outbound(i);
    int size = snprintf(image, sizeof image, "%.200s.%u", house.path, ++house.generation);
    ASSERT(size > 0 && (size_t)size < sizeof image);
    disk_rebuild(at, seed, image);
    disk_forget();
    folder_remove(house.path);
    memcpy(house.path, image, sizeof image);
    disk_watch(house.path);
    world_timer_set(&house.restart, world.now_ms + world_between(50, 60000));
}

/* --- the whole --- */

bool house_open(const struct house_setup *setup)
{
    memset(&house, 0, sizeof house);
    house.cfg = setup->cfg;
    house.size_max = setup->size_max;
    house.disk = setup->disk;
    house.cut_at = SIZE_MAX;
    cut_pending = false;
    (void)snprintf(house.path, sizeof house.path, "%s", setup->path);
    house.loop = loop_new();
    house.turn = (struct world_timer){.fn = on_turn};
    house.restart = (struct world_timer){.fn = on_queued_restart};
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        house.inbound[i].restart = (struct world_timer){.fn = on_inbound_restart, .ctx = &house.inbound[i]};
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        house.outbound[i].restart = (struct world_timer){.fn = on_outbound_restart, .ctx = &house.outbound[i]};
    on_queued_restart(NULL);
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        inbound_start(&house.inbound[i]);
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        outbound_start(&house.outbound[i]);
    return true;
}

void house_close(void)
{
    if (house.engine != NULL) {
        ledger.turn++;
        engine_turn(house.engine, world_walltime());
        house_fsck("at the end");
        queued_end();
    }
    for (unsigned i = 0; i < HOUSE_INBOUND; i++) {
        house_kill_inbound(i);
        world_timer_stop(&house.inbound[i].restart);
    }
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++) {
        house_kill_outbound(i);
        world_timer_stop(&house.outbound[i].restart);
    }
    world_timer_stop(&house.restart);
    loop_free(&house.loop);
    folder_remove(house.path);
}

static void fsck_say(void *context, struct bytes line)
{
    (void)context;
    world_wrong("fsck: %.*s", BYTES_ARG(line));
}

void house_fsck(const char *when)
{
    struct store_fsck found;
    struct result r = store_fsck(house.store, &found, fsck_say, NULL);

    if (!is_ok(r) || !store_fsck_clean(&found))
        world_wrong("the store is not sound %s", when);
}

bool house_was_down(int64_t wait_ms)
{
    return house.last_down_ms > 0 && house.last_down_ms + wait_ms + DOWN_EXCUSE_MS > world.now_ms;
}

bool house_is_up(void)
{
    return house.engine != NULL;
}

bool house_is_idle(void)
{
    struct engine_stats stats;

    if (house.engine == NULL)
        return false;
    engine_stats_get(house.engine, &stats);
    return stats.jobs == 0 && stats.transactions == 0;
}

struct engine *house_engine(void)
{
    return house.engine;
}

/* --- the postmaster's hand --- */

static void order_letter(struct letter *l, enum order_kind kind)
{
    struct order_target targets[ORDER_TARGETS_MAX];
    size_t room = l->fate_count < ORDER_TARGETS_MAX ? l->fate_count : ORDER_TARGETS_MAX;
    uint32_t count = 0;

    for (size_t n = 0; n < room; n++)
        targets[n] = (struct order_target){.id = l->id, .n = (uint32_t)n};
    ledger.turn++;
    struct result r =
        engine_order(house.engine, &(struct order){.kind = kind}, targets, room, world_walltime(), &count);
    world_say("the postmaster's order %d for letter %u: %u, %s", (int)kind, l->number, count, is_ok(r) ? "ok" : r.why);
}

/* All letters that are not over. */
static void order_all(enum order_kind kind)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        if (ledger.letters[i]->committed && !ledger.letters[i]->over)
            order_letter(ledger.letters[i], kind);
}

void house_retry_all(void)
{
    if (house.engine == NULL)
        return;
    world_fault(FAULT_HAND_RETRY);
    order_all(ORDER_RETRY);
    engine_hurry(house.engine, world_walltime());
    turn_wanted();
}

void house_hold(bool held)
{
    if (house.engine == NULL || ledger.letter_count == 0)
        return;
    struct letter *l = ledger.letters[1 + world_below(ledger.letter_count)];
    if (!l->committed || l->over)
        return;
    world_fault(FAULT_HAND_HOLD);
    order_letter(l, held ? ORDER_HOLD : ORDER_RELEASE);
    turn_wanted();
}

void house_release_all(void)
{
    if (house.engine == NULL)
        return;
    order_all(ORDER_RELEASE);
    turn_wanted();
}
