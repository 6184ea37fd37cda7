#include <unistd.h>

#include "daemon/edge/work.h"
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

/* Commits under way are finished: they may be in the mailboxes already. */
static void on_closed(void *ctx, enum channel_end why)
{
    struct local *local = ctx;

    (void)why;
    channel_free(&local->queued);
    local->ending = true;
    local_jobs_drop(local);
    if (local->job_count == 0)
        loop_stop(local->loop);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

void local_hand_main(const struct config *cfg, const struct owner *owner, struct walltime doubt, int fd)
{
    struct local local = {.loop = loop_new(), .cfg = cfg, .owner = owner, .doubt = doubt, .patient = true};

    if (local.loop == NULL)
        return;
    local_init(&local);
    work_prepare(local.loop, LOCAL_COMMITS);
    local.queued = channel_new(local.loop, fd, ROLE_LOCAL, ROLE_QUEUED, &CHANNEL_HANDLERS, &local);
    if (local.queued != NULL)
        loop_run(local.loop);
}
