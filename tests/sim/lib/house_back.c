/* lookup and local: the processes behind queued. */
#include "tests/sim/lib/edge_files.h"
#include "tests/sim/lib/house_parts.h"

#include "daemon/edge/work.h"

#include "daemon/lookup/files.h"

enum { LOOK_EVERY_MS = 1000 };

/* --- lookup --- */

static void look(struct lookup_process *p)
{
    if (!instant_reached(p->look_after, loop_now(p->loop)))
        return;
    p->look_after = instant_after(loop_now(p->loop), LOOK_EVERY_MS);
    files_refresh(&p->book);
}

static void on_lookup_question(void *ctx, const struct msg *m)
{
    struct channel **channel = ctx;
    struct msg answer = {.kind = MSG_rcpt_answer};

    if (m->kind != MSG_rcpt_ask)
        return;
    look(&house.lookup);
    answer.rcpt_answer.session = m->rcpt_ask.session;
    enum rcpt_known known;
    if (!lookup_known(
            &house.lookup.desk, m->rcpt_ask.path, &known)) /* its configurations have no lookups to wait for */
        abort();
    answer.rcpt_answer.known = known;
    channel_send(*channel, &answer);
}

static void on_inbound_gone(void *ctx, enum channel_end why)
{
    (void)why;
    channel_free(ctx);
}

static const struct channel_handlers lookup_inbound_handlers = {
    .on_message = on_lookup_question, .on_closed = on_inbound_gone};

static void on_lookup_job(void *ctx, const struct msg *m)
{
    struct lookup_process *p = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        lookup_job_begin(&p->desk, &m->job_begin);
        break;
    case MSG_job_rcpt:
        lookup_job_rcpt(&p->desk, &m->job_rcpt);
        break;
    case MSG_job_body:
        lookup_job_body(&p->desk, &m->job_body);
        break;
    case MSG_job_run:
        look(p);
        lookup_job_run(&p->desk, m->job_run.job);
        break;
    case MSG_job_cancel:
        lookup_job_cancel(&p->desk, m->job_cancel.job);
        break;
    default:
        break;
    }
}

static void on_lookup_closed(void *ctx, enum channel_end why)
{
    struct lookup_process *p = ctx;

    (void)why;
    channel_free(&p->desk.queued);
    lookup_jobs_drop(&p->desk);
    world_timer_set(&p->orphan, world.now_ms + PROCESS_ORPHAN_MS);
}

static const struct channel_handlers lookup_queued_handlers = {
    .on_message = on_lookup_job, .on_closed = on_lookup_closed};

static void hello(struct channel *channel, enum ipc_role role, uint32_t slots)
{
    channel_send(channel, &(struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = role, .slots = slots}});
}

void house_lookup_link(struct lookup_process *p)
{
    int fd = p->up ? house_link_open(LINK_LOOKUP, ROLE_LOOKUP) : -1;

    if (fd < 0)
        return;
    if (p->desk.queued != NULL)
        on_lookup_closed(p, CHANNEL_END_PEER);
    world_timer_stop(&p->orphan);
    p->desk.queued = channel_new(p->loop, fd, ROLE_LOOKUP, ROLE_QUEUED, &lookup_queued_handlers, p);
    hello(p->desk.queued, ROLE_LOOKUP, LOOKUP_SLOTS);
}

void house_lookup_meet(struct inbound_process *at)
{
    struct lookup_process *p = &house.lookup;
    unsigned i = (unsigned)(at - house.inbound);

    if (!p->up || !at->up)
        return;
    channel_free(&p->inbound[i]);
    struct result r = channel_pair(p->fds[i]);
    ASSERT(is_ok(r));
    p->inbound[i] =
        channel_new(p->loop, p->fds[i][1], ROLE_LOOKUP, ROLE_INBOUND, &lookup_inbound_handlers, &p->inbound[i]);
    inquiry_channel(at->in.inquiry, p->fds[i][0]);
}

static void on_lookup_restart(void *ctx)
{
    house_lookup_start(ctx);
}

static void on_lookup_orphan(void *ctx)
{
    (void)ctx;
    house_kill_lookup();
}

void house_lookup_start(struct lookup_process *p)
{
    *p = (struct lookup_process){.orphan = {.fn = on_lookup_orphan}, .restart = {.fn = on_lookup_restart, .ctx = p}};
    struct result r = files_want(&p->book, house.cfg);
    if (!is_ok(r)) { /* no memory: it fails and is started again */
        files_fini(&p->book);
        world_timer_set(&p->restart, world.now_ms + SECOND);
        return;
    }
    p->loop = loop_new();
    p->desk = (struct lookup_desk){.book = &p->book, .cfg = house.cfg};
    p->up = true;
    look(p);
    house_lookup_link(p);
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        house_lookup_meet(&house.inbound[i]);
}

void house_kill_lookup(void)
{
    struct lookup_process *p = &house.lookup;

    if (!p->up)
        return;
    world_say("lookup dies");
    p->up = false;
    world_timer_stop(&p->orphan);
    house.last_down_ms = world.now_ms;
    if (house.links[LINK_LOOKUP].channel != NULL)
        edge_channel_die(house.links[LINK_LOOKUP].fds[1]);
    channel_free(&p->desk.queued);
    lookup_jobs_drop(&p->desk);
    for (unsigned i = 0; i < HOUSE_INBOUND; i++) {
        if (p->inbound[i] != NULL)
            edge_channel_die(p->fds[i][1]);
        channel_free(&p->inbound[i]);
    }
    files_fini(&p->book);
    loop_free(&p->loop);
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}

/* --- local: one of its hands, which writes all mailboxes. Commits are made in the loop, without a thread. --- */

enum { LOCAL_SLOTS = 16 };
static const struct owner nobody;

bool work_submit(struct loop *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    (void)loop;
    (void)run;
    (void)done;
    (void)ctx;
    return false;
}

static void on_local_message(void *ctx, const struct msg *m)
{
    struct local_process *p = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        local_job_begin(&p->local, &m->job_begin);
        break;
    case MSG_job_rcpt:
        local_job_rcpt(&p->local, &m->job_rcpt);
        break;
    case MSG_job_body:
        local_job_body(&p->local, &m->job_body);
        break;
    case MSG_job_run:
        local_job_run(&p->local, m->job_run.job);
        break;
    case MSG_job_cancel:
        local_job_cancel(&p->local, m->job_cancel.job);
        break;
    default:
        break;
    }
}

static void on_local_closed(void *ctx, enum channel_end why)
{
    struct local_process *p = ctx;

    (void)why;
    channel_free(&p->local.queued);
    local_jobs_drop(&p->local);
    world_timer_set(&p->orphan, world.now_ms + PROCESS_ORPHAN_MS);
}

static const struct channel_handlers local_handlers = {.on_message = on_local_message, .on_closed = on_local_closed};

void house_local_link(struct local_process *p)
{
    int fd = p->up ? house_link_open(LINK_LOCAL, ROLE_LOCAL) : -1;

    if (fd < 0)
        return;
    if (p->local.queued != NULL)
        on_local_closed(p, CHANNEL_END_PEER);
    world_timer_stop(&p->orphan);
    p->local.queued = channel_new(p->loop, fd, ROLE_LOCAL, ROLE_QUEUED, &local_handlers, p);
    p->local.doubt = world_walltime();
    hello(p->local.queued, ROLE_LOCAL, LOCAL_SLOTS);
}

static void on_local_restart(void *ctx)
{
    house_local_start(ctx);
}

static void on_local_dying(void *ctx)
{
    (void)ctx;
    house_kill_local();
}

void house_local_start(struct local_process *p)
{
    *p = (struct local_process){.restart = {.fn = on_local_restart, .ctx = p},
        .dying = {.fn = on_local_dying},
        .orphan = {.fn = on_local_dying}};
    p->loop = loop_new();
    p->local = (struct local){.loop = p->loop, .cfg = house.cfg, .owner = &nobody};
    local_init(&p->local);
    p->up = true;
    house_local_link(p);
}

void house_local_dies_here(void)
{
    struct local_process *p = &house.local;

    world_say("local dies in the middle of its work");
    if (house.links[LINK_LOCAL].channel != NULL)
        edge_channel_die(house.links[LINK_LOCAL].fds[1]);
    world_timer_set(&p->dying, world.now_ms);
}

void house_kill_local(void)
{
    struct local_process *p = &house.local;

    if (!p->up)
        return;
    world_say("local dies");
    p->up = false;
    house.last_down_ms = world.now_ms;
    world_timer_stop(&p->dying);
    world_timer_stop(&p->orphan);
    if (house.links[LINK_LOCAL].channel != NULL)
        edge_channel_die(house.links[LINK_LOCAL].fds[1]);
    channel_free(&p->local.queued);
    files_freeze(true); /* a dead process tidies nothing up */
    local_jobs_drop(&p->local);
    loop_hook_drop(p->loop, &p->local.commit);
    files_freeze(false);
    loop_free(&p->loop);
    ledger.local_deaths++;
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}
