/* job: recipients of one message to be expanded, from job_begin to job_end.
 *
 * For: main.c, which hears queued. Everything is answered at job_run, in one go: children of each recipient, then its result; a
 * recipient who waits for cards (cards.h) is answered when they are there.
 * The first octets of the body serve to find our own Delivered-To fields: a message that has been here comes in a circle. */
#ifndef MANSIO_LOOKUP_JOB_H
#define MANSIO_LOOKUP_JOB_H

#include "daemon/edge/channel.h"
#include "daemon/lookup/cards.h"
#include "daemon/lookup/expand.h"

struct srs;

enum { LOOKUP_SLOTS = 16, LOOKUP_JOB_SIZE_MAX = 268435456 };

struct lookup_job;

struct lookup_desk {
    const struct book *book;
    const struct config *cfg;
    struct channel *queued; /* one for each queued that lives: an old one may still be there */
    struct lookup_job *jobs;
    uint32_t job_count;
    struct cards *cards;   /* NULL: none */
    const struct srs *srs; /* NULL: no address is one of SRS */
};

void lookup_job_begin(struct lookup_desk *desk, const struct msg_job_begin *m);
void lookup_job_rcpt(struct lookup_desk *desk, const struct msg_job_rcpt *m);
void lookup_job_body(struct lookup_desk *desk, const struct msg_job_body *m);
void lookup_job_run(struct lookup_desk *desk, struct job_id id);
/* Whether the owner of a waiter is a job; then: a card has come for it. */
bool lookup_job_is(const struct lookup_desk *desk, const void *owner);
void lookup_job_resume(struct lookup_desk *desk, void *owner);
void lookup_job_cancel(struct lookup_desk *desk, struct job_id id);
void lookup_jobs_drop(struct lookup_desk *desk);

/* inbound's question about a recipient. False: a card is being asked for, the same question again when it is there. */
bool lookup_known(const struct lookup_desk *desk, struct bytes path, enum rcpt_known *known_out);
/* A canonical path with its domain as A-labels; CODE_SYNTAX when it has none. */
RESULT lookup_path_put(struct buf *out, struct bytes path);

#endif
