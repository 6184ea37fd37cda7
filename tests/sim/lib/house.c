#include "tests/sim/lib/house_parts.h"

#include "tests/sim/lib/fair.h"
#include "tests/support/disk.h"

enum { DOWN_EXCUSE_MS = 15 * MINUTE, TURN_MS = 20 };

struct house house;

/* --- queued --- */

static void turn_at(int64_t at_ms)
{
    if (house.engine != NULL && (house.turn.place == 0 || house.turn.at > at_ms))
        world_timer_set(&house.turn, at_ms);
}

void house_turn_wanted(void)
{
    turn_at(world.now_ms + (int64_t)world_below(TURN_MS));
}

bool house_cut_look(void)
{
    size_t at = house.cut_at;

    if (at == SIZE_MAX || disk_event_count() < at)
        return false;
    house.cut_at = SIZE_MAX;
    house_power_cut(at, house.cut_seed);
    return true;
}

static void on_turn(void *ctx)
{
    (void)ctx;
    ledger.turn++;
    house.in_turn = true;
    fair_look(engine_scheduler(house.engine));
    engine_turn(house.engine, world_walltime());
    fair_look(engine_scheduler(house.engine));
    house.in_turn = false;
    ledger_deleted_look();
    if (house_cut_look())
        return;
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
    house_turn_wanted();
}

static void on_queued_closed(void *ctx, enum channel_end why)
{
    (void)why;
    link_drop(ctx);
    house_turn_wanted();
}

static const struct channel_handlers queued_handlers = {.on_message = on_queued_message, .on_closed = on_queued_closed};

static void port_send(void *context, void *channel, const struct msg *m)
{
    static struct message_id beginning; /* of the job whose recipients follow */

    (void)context;
    if (m->kind == MSG_tx_done)
        ledger_committed(m->tx_done.id, m->tx_done.outcome == TX_ACCEPTED);
    else if (m->kind == MSG_job_begin) {
        beginning = m->job_begin.head.id;
        fair_served(engine_scheduler(house.engine), m->job_begin.lane);
    } else if (m->kind == MSG_job_rcpt)
        ledger_job_rcpt(m->job_rcpt.job, channel, beginning, &m->job_rcpt.rcpt);
    channel_send(channel, m);
}

/* A channel between queued and one of the others, when both are up; the other end's descriptor, or -1. */
int house_link_open(unsigned number, enum ipc_role role)
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
        house_turn_wanted();
        return fd;
    }
    house_turn_wanted();
    return link->fds[1];
}

static struct result queued_start(bool cut)
{
    struct store_config cfg = {.path = house.path, .size_max = house.size_max, .index_tail = 3};

    TRY(store_open(&cfg, &house.store));
    house_fsck("after a start");
    house.engine = engine_new(&(struct engine_setup){
        .config = house.cfg, .store = house.store, .ports = {.send = port_send}, .seed = rng_next(&world.rng)});
    struct result r = house.engine == NULL ? FAIL(CODE_FULL, "out of memory") : OK;
    ledger.turn++;
    fair_forget();
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
            house_inbound_link(&house.inbound[i]);
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        if (house.outbound[i].up)
            house_outbound_link(&house.outbound[i]);
    house_local_link(&house.local);
    house_lookup_link(&house.lookup);
    house_turn_wanted();
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

static void on_cut(void *ctx)
{
    (void)ctx;
    if (house.disk)
        house_power_cut(disk_event_count(), rng_next(&world.rng));
}

void house_power_cut_soon(void)
{
    world_timer_set(&house.cut, world.now_ms);
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
    house_kill_local();
    house_kill_lookup();
    house_kill_auth();
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
    house.cut = (struct world_timer){.fn = on_cut};
    on_queued_restart(NULL);
    house_auth_start(&house.auth);
    house_lookup_start(&house.lookup);
    house_local_start(&house.local);
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        house_inbound_start(&house.inbound[i]);
    for (unsigned i = 0; i < HOUSE_OUTBOUND; i++)
        house_outbound_start(&house.outbound[i]);
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
    house_kill_local();
    world_timer_stop(&house.local.restart);
    world_timer_stop(&house.local.dying);
    house_kill_lookup();
    world_timer_stop(&house.lookup.restart);
    house_kill_auth();
    world_timer_stop(&house.auth.restart);
    world_timer_stop(&house.restart);
    world_timer_stop(&house.cut);
    world_timer_stop(&house.turn);
    house_hand_rest();
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
    return house_lanes_bound() ||
           (house.last_down_ms > 0 && house.last_down_ms + wait_ms + DOWN_EXCUSE_MS > world.now_ms);
}

void house_clock_jump(int64_t by_ms)
{
    world_say("the clock jumps by %" PRId64 " s", by_ms / 1000);
    world_fault(FAULT_CLOCK_JUMP);
    world.clock_off_ms += by_ms;
    if (by_ms > 0)
        world.jumped_ms += by_ms;
    house.last_down_ms = world.now_ms;
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
