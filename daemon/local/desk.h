/* desk: local's own part: jobs of queued, each dealt out to the hands of those whose mailboxes it is for.
 *
 * For: main.c, which hears queued. Not for: files, users' rights (hand.h, owner.h): what runs here never touches a mailbox.
 * A job has a part for each owner. A part has a job number of its own, under which its hand gets head, recipients and body; what the
 * hand says goes on to queued at once under the job's number. Parts wait here while all hands are busy. A part has a bound on its
 * time: then its hand is killed and its recipients wait for another day.
 * Frames of a hand are as little trusted as any: it speaks of its own parts and their recipients, or is not heard. */
#ifndef MANSIO_LOCAL_DESK_H
#define MANSIO_LOCAL_DESK_H

#include "daemon/local/hand.h"

enum {
    DESK_SLOTS = 256, /* jobs at once: what waits together is synced together */
    PART_MAILBOX_MS = 300000,
    PART_FILE_MS = 420000, /* mbox: with its wait for locks */
    PART_COMMAND_GRACE_MS = 60000,
};

struct desk_job;

struct desk {
    struct loop *loop;
    const struct config *cfg;
    struct channel *queued;
    struct hands hands;
    struct desk_job *jobs;
    uint32_t job_count;
    uint64_t last_part;
    struct loop_hook deal;
    void *ctx;
    bool command_user_is_other; /* and we cannot become him */
    void (*job_ended)(void *ctx);
    void (*lost)(void *ctx); /* nothing can be delivered by this process any more */
};

/* Makes the nursery of its hands, which keeps the rights that this process has now: they can be dropped then. */
RESULT desk_init(struct desk *desk);
void desk_fini(struct desk *desk);
/* A frame of queued. */
void desk_receive(struct desk *desk, const struct msg *m);
/* Another queued, or none: what is under way is called back; the next queued gives it again. */
void desk_queued(struct desk *desk, struct channel *queued);

#endif
