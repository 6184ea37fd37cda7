#include "daemon/local/local.h"

#include <unistd.h>

#include "daemon/local/job.h"

static void on_message(void *ctx, const struct msg *m)
{
    struct local *local = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        local_job_begin(local, &m->job_begin);
        break;
    case MSG_job_rcpt:
        local_job_rcpt(local, &m->job_rcpt);
        break;
    case MSG_job_body:
        local_job_body(local, &m->job_body);
        break;
    case MSG_job_run:
        local_job_run(local, m->job_run.job);
        break;
    case MSG_job_cancel:
        local_job_cancel(local, m->job_cancel.job);
        break;
    default:
        break; /* the codec lets nothing else through */
    }
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct local *local = ctx;

    (void)why; /* the channel has logged it */
    channel_free(&local->queued);
    local_jobs_drop(local);
    if (!local->draining)
        process_orphaned(local->process);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void say_hello(struct local *local, uint32_t slots)
{
    struct msg m = {.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_LOCAL, .slots = slots}};

    if (local->queued != NULL)
        channel_send(local->queued, &m);
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct local *local = ctx;

    (void)peer_index;
    if (peer != ROLE_QUEUED) {
        close(fd);
        return;
    }
    if (local->queued != NULL)
        on_closed(local, CHANNEL_END_PEER);
    local->queued = channel_new(local->loop, fd, ROLE_LOCAL, ROLE_QUEUED, &CHANNEL_HANDLERS, local);
    say_hello(local, local->draining ? 0 : LOCAL_SLOTS);
}

static void on_go(void *ctx)
{
    struct local *local = ctx;

    process_ready(local->process);
}

static void look_for_end(struct local *local)
{
    if (local->draining && local->job_count == 0)
        process_exit(local->process, 0);
}

static void on_drain(void *ctx)
{
    struct local *local = ctx;

    local->draining = true;
    say_hello(local, 0);
    look_for_end(local);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel, .on_go = on_go, .on_drain = on_drain};

int local_main(struct process *p)
{
    struct local local = {.process = p, .loop = process_loop(p), .cfg = process_config(p), .job_ended = look_for_end};
    int status = process_serve(p, &HANDLERS, &local);

    channel_free(&local.queued);
    local_jobs_drop(&local);
    return status;
}
