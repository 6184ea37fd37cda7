/* hand: a process that acts as one mailbox owner, kept for a while because the next message may be for the same one.
 *
 * For: desk.c. Not for: what is written (job.h, which runs in it), how it is made (nursery.h), or who may (owner.h).
 * A hand speaks the frames of a worker, so for it local is queued. There are at most HANDS_MAX; one without work is ended after
 * HAND_IDLE_MS, when its place is needed, or when it is older than HAND_AGE_MS. A hand that is busy and silent for too long is
 * its user's trouble: desk.c has a clock for each piece of work and ends the hand.
 *   TRY(hands_get(&hands, name, false, &hand));         CODE_FULL: all are busy, ask again at `freed`
 *   hand->work++; channel_send(hand->channel, ...);   on_message(ctx, hand, m);   hand_done(hand)
 *   on_gone(ctx, hand): it is dead, what it had is not done; the hand is freed afterwards */
#ifndef MANSIO_LOCAL_HAND_H
#define MANSIO_LOCAL_HAND_H

#include "daemon/config/config.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/loop.h"
#include "daemon/local/nursery.h"
#include "daemon/local/owner.h"

enum { HANDS_MAX = 24, HAND_IDLE_MS = 10000, HAND_AGE_MS = 60000 };

struct hands;

struct hand {
    struct hand *next;
    struct hands *set;
    uint64_t number;
    char name[OWNER_NAME_SIZE_MAX + 1]; /* of its owner; empty: the server's own user */
    bool commands;
    struct channel *channel;
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
    void (*on_lost)(void *ctx);  /* no hand can be made any more: this process must be started again */
    struct walltime
        doubt; /* what arrived before may have been delivered: a hand, or we ourselves, ended before it was told */
    struct nursery nursery;
    struct hand *first;
    uint32_t count;
    uint64_t last;
    struct loop_timer timer;
};

/* Once, while the process has nothing but its log open: it makes the nursery (nursery.h). */
RESULT hands_init(struct hands *set);
/* Ends them all; others can be got afterwards. */
void hands_fini(struct hands *set);
/* One that runs commands and appends to files is another than the one that writes the user's mailbox: the latter's sandbox is closer. */
RESULT hands_get(struct hands *set, struct bytes name, bool commands, struct hand **hand_out);
/* One piece of its work is done. */
void hand_done(struct hand *hand);
/* It is killed; on_gone follows from a later turn. */
void hand_kill(struct hand *hand);

#endif
