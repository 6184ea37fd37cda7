/* job: one message for up to JOB_RCPT_COUNT_MAX mailboxes of this host, from job_begin to job_end.
 *
 * For: main.c, which hears queued. The body comes once and is written to all mailboxes piece by piece; then one mailbox a turn
 * is committed and reported, so that the channel is served in between.
 * A recipient's failure is its own; the lane `local` is always LANE_OK: one full mailbox must not hold up the others. */
#ifndef MANSIO_LOCAL_JOB_H
#define MANSIO_LOCAL_JOB_H

#include "daemon/config/config.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/loop.h"
#include "daemon/local/mailbox.h"

enum {
    LOCAL_SLOTS = 16,                       /* jobs at once: each may hold two descriptors a recipient */
    LOCAL_ARENA_SIZE_MAX = 4 * 1024 * 1024, /* JOB_RCPT_COUNT_MAX recipients with their last replies */
};

struct local_job;

struct local {
    struct process *process;
    struct loop *loop;
    const struct config *cfg;
    struct channel *queued;
    struct local_job *jobs;
    uint32_t job_count;
    uint64_t file_count; /* names of files */
    bool draining;
    void (*job_ended)(struct local *local);
};

void local_job_begin(struct local *local, const struct msg_job_begin *m);
void local_job_rcpt(struct local *local, const struct msg_job_rcpt *m);
void local_job_body(struct local *local, const struct msg_job_body *m);
void local_job_run(struct local *local, struct job_id id);
void local_job_cancel(struct local *local, struct job_id id);
/* queued is gone: nothing of what is under way reaches a mailbox; the next queued gives it again. */
void local_jobs_drop(struct local *local);

#endif
