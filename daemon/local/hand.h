/* hand: a child of local that acts as one mailbox owner, kept for a while because the next message may be for the same one.
 *
 * For: desk.c. Not for: what is written (job.h, which runs in the child), or who may (owner.h).
 * A hand speaks the frames of a worker, so for it local is queued. There are at most HANDS_MAX; one without work is ended after
 * HAND_IDLE_MS, when its place is needed, or when it is older than HAND_AGE_MS. A hand that is busy and silent for too long is
 * its user's trouble: desk.c has a clock for each piece of work and ends the hand.
 *   TRY(hands_get(&hands, name, &hand));         CODE_FULL: all are busy, ask again at `freed`
 *   hand->work++; channel_send(hand->channel, ...);   on_message(ctx, hand, m);   hand_done(hand)
 *   on_gone(ctx, hand): it is dead, what it had is not done; the hand is freed afterwards */
#ifndef MANSIO_LOCAL_HAND_H
#define MANSIO_LOCAL_HAND_H

#include "daemon/config/config.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/loop.h"
#include "daemon/local/owner.h"

enum { HANDS_MAX = 24, HAND_IDLE_MS = 10000, HAND_AGE_MS = 60000 };

struct hands;

struct hand {
    struct hand *next;
    struct hands *set;
    struct owner owner;
    struct channel *channel;
    int pid_fd;
    uint32_t work; /* pieces that it has */
    struct instant begun, idle_since;
    bool dead;
};

struct hands {
    struct loop *loop;
    const struct config *cfg;
    void *ctx;
    void (*on_message)(void *ctx, struct hand *hand, const struct msg *m);
    void (*on_gone)(void *ctx, struct hand *hand);
    void (*on_freed)(void *ctx); /* a hand has become idle or has ended */
    struct walltime
        doubt; /* what arrived before may have been delivered: a hand, or we ourselves, ended before it was told */
    struct hand *first;
    uint32_t count;
    struct loop_timer timer;
};

void hands_init(struct hands *set);
void hands_fini(struct hands *set);
/* At the end of the process: waits, with a bound, until all have ended; those that have not die with us. */
void hands_wait(void);
RESULT hands_get(struct hands *set, struct bytes name, struct hand **hand_out);
/* One piece of its work is done. */
void hand_done(struct hand *hand);
/* It is killed; on_gone follows from a later turn. */
void hand_kill(struct hand *hand);

#endif
