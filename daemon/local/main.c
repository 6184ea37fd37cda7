#include "daemon/local/local.h"

#include <unistd.h>

#include "daemon/local/desk.h"

struct local_process {
    struct process *process;
    struct desk desk;
    struct channel *queued;
    bool draining;
};

static void on_message(void *ctx, const struct msg *m)
{
    struct local_process *l = ctx;

    desk_receive(&l->desk, m);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct local_process *l = ctx;

    (void)why; /* the channel has logged it */
    desk_queued(&l->desk, NULL);
    channel_free(&l->queued);
    if (!l->draining)
        process_orphaned(l->process);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void say_hello(struct local_process *l, uint32_t slots)
{
    struct msg m = {.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_LOCAL, .slots = slots}};

    if (l->queued != NULL)
        channel_send(l->queued, &m);
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct local_process *l = ctx;

    (void)peer_index;
    if (peer != ROLE_QUEUED) {
        close(fd);
        return;
    }
    if (l->queued != NULL)
        on_closed(l, CHANNEL_END_PEER);
    l->queued = channel_new(l->desk.loop, fd, ROLE_LOCAL, ROLE_QUEUED, &CHANNEL_HANDLERS, l);
    desk_queued(&l->desk, l->queued);
    say_hello(l, l->draining ? 0 : DESK_SLOTS);
}

static void on_go(void *ctx)
{
    struct local_process *l = ctx;

    process_ready(l->process);
}

static void look_for_end(void *ctx)
{
    struct local_process *l = ctx;

    if (l->draining && l->desk.job_count == 0)
        process_exit(l->process, 0);
}

static void on_lost(void *ctx)
{
    struct local_process *l = ctx;

    process_exit(l->process, 1);
}

static void on_drain(void *ctx)
{
    struct local_process *l = ctx;

    l->draining = true;
    say_hello(l, 0);
    look_for_end(l);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel, .on_go = on_go, .on_drain = on_drain};

int local_main(struct process *p)
{
    struct local_process l = {.process = p,
        .desk = {
            .loop = process_loop(p), .cfg = process_config(p), .job_ended = look_for_end, .lost = on_lost, .ctx = &l}};

    struct result r = desk_init(&l.desk);
    if (is_ok(r))
        r = process_rights_drop(p); /* what needs root is the nursery's from here on */
    if (!is_ok(r))
        process_fail(p, r.why);
    int status = process_serve(p, &HANDLERS, &l);
    desk_fini(&l.desk);
    nursery_stop(&l.desk.hands.nursery);
    channel_free(&l.queued);
    return status;
}
