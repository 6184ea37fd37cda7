/* job: one message for up to JOB_RCPT_COUNT_MAX mailboxes, commands and files of one owner, from job_begin to job_end; in a hand.
 *
 * For: child.c, which hears desk.c. The body comes once and is written to all mailboxes piece by piece. Mailboxes that are whole are
 * committed by helper threads, whatever job they are of: as many at once as there are threads, the rest shared out (mailbox.h).
 * A recipient is reported as soon as its fate is certain. Its failure is its own; the lane `local` is always LANE_OK: one full mailbox
 * must not hold up the others. */
#ifndef MANSIO_LOCAL_JOB_H
#define MANSIO_LOCAL_JOB_H

#include "daemon/config/config.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/loop.h"
#include "daemon/local/mailbox.h"
#include "daemon/local/owner.h"

enum {
    LOCAL_ARENA_SIZE_MAX = 8 * 1024 * 1024, /* JOB_RCPT_COUNT_MAX recipients with their last replies */
    LOCAL_COMMIT_MAX = 16,                  /* mailboxes in one commit */
    LOCAL_COMMITS = 8,                      /* under way at once: the file system makes one journal commit of them */
    LOCAL_COMMITS_OF_USER = 2,              /* in the hand of a user of the host: there are other hands beside it */
};

struct local_job;
struct local_commit;
struct target;

struct local {
    struct loop *loop;
    const struct config *cfg;
    const struct owner *owner;
    struct walltime doubt;  /* what had arrived before may have been delivered already */
    struct channel *queued; /* desk.c's end */
    struct local_job *jobs;
    uint32_t job_count, commit_count, ready_count;
    struct target *ready, **ready_end; /* whole mailboxes that wait for a commit */
    struct loop_hook commit;
    bool patient; /* a file that is being appended to is finished, whatever becomes of its job */
    bool ending;
};

void local_init(struct local *local);
void local_job_begin(struct local *local, const struct msg_job_begin *m);
void local_job_rcpt(struct local *local, const struct msg_job_rcpt *m);
void local_job_body(struct local *local, const struct msg_job_body *m);
void local_job_run(struct local *local, struct job_id id);
void local_job_cancel(struct local *local, struct job_id id);
/* The other end is gone: nothing of what is under way reaches a mailbox, but what is being committed. */
void local_jobs_drop(struct local *local);

/* The life of a hand (child.c): serves the channel `fd` until it closes. */
void local_hand_main(const struct config *cfg, const struct owner *owner, struct walltime doubt, int fd);

#endif
