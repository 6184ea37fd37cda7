#include "daemon/local/hand.h"

#include <unistd.h>

#include "daemon/base/log.h"

static void timer_settle(struct hands *set);

static void hand_free(struct hand *hand)
{
    struct hand **at = &hand->set->first;

    while (*at != hand)
        at = &(*at)->next;
    *at = hand->next;
    hand->set->count--;
    channel_free(&hand->channel); /* it ends when it notices */
    mem_free(hand);
}

static void on_message(void *ctx, const struct msg *m)
{
    struct hand *hand = ctx;

    if (m->kind != MSG_worker_hello && !hand->dead)
        hand->set->on_message(hand->set->ctx, hand, m);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct hand *hand = ctx;
    struct hands *set = hand->set;

    (void)why; /* the channel has logged it */
    hand->dead = true;
    if (hand->work > 0) {
        LOG(OWNER_FAILED, LOG_STR("user", hand->name), LOG_STR("why", "it ended before its work was done"));
        set->on_gone(set->ctx, hand);
    }
    hand_free(hand);
    set->on_freed(set->ctx);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static RESULT hand_start(struct hands *set, struct bytes name, bool commands, struct hand **hand_out)
{
    struct hand *hand = mem_take_zero(sizeof *hand);
    int fd[2];

    if (hand == NULL)
        return FAIL_SYS(ENOMEM, "out of memory");
    struct result r =
        name.size <= OWNER_NAME_SIZE_MAX ? channel_pair(fd) : FAIL(CODE_GONE, "there is no such user here");
    if (!is_ok(r)) {
        mem_free(hand);
        return r;
    }
    *hand = (struct hand){.set = set, .number = ++set->last, .commands = commands, .begun = loop_now(set->loop)};
    if (name.size > 0)
        memcpy(hand->name, name.data, name.size);
    r = nursery_make(&set->nursery,
        &(struct nursery_wish){.number = hand->number, .name = name, .commands = commands, .doubt = set->doubt}, fd[1]);
    close(fd[1]);
    if (!is_ok(r)) {
        close(fd[0]);
        mem_free(hand);
        if (r.code == CODE_CORRUPT)
            set->on_lost(set->ctx);
        return r;
    }
    hand->next = set->first;
    hand->channel = channel_new(set->loop, fd[0], ROLE_QUEUED, ROLE_LOCAL, &CHANNEL_HANDLERS, hand);
    set->first = hand;
    set->count++;
    if (hand->channel == NULL) {
        hand_free(hand);
        return FAIL_SYS(ENOMEM, "out of memory");
    }
    *hand_out = hand;
    return OK;
}

/* Makes room: the one that has been idle longest. */
static bool idlest_end(struct hands *set)
{
    struct hand *idlest = NULL;

    for (struct hand *h = set->first; h != NULL; h = h->next)
        if (h->work == 0 && !h->dead && (idlest == NULL || h->idle_since.ms < idlest->idle_since.ms))
            idlest = h;
    if (idlest != NULL)
        hand_free(idlest);
    return idlest != NULL;
}

RESULT hands_get(struct hands *set, struct bytes name, bool commands, struct hand **hand_out)
{
    for (struct hand *h = set->first; h != NULL; h = h->next)
        if (!h->dead && h->commands == commands && bytes_equal(bytes_of(h->name), name) &&
            !instant_reached(instant_after(h->begun, HAND_AGE_MS), loop_now(set->loop))) {
            *hand_out = h;
            return OK;
        }
    if (set->count >= HANDS_MAX && !idlest_end(set))
        return FAIL(CODE_FULL, "all hands are busy");
    struct result r = hand_start(set, name, commands, hand_out);
    if (!is_ok(r) && r.code != CODE_GONE && r.code != CODE_REFUSED)
        LOG(OWNER_FAILED, LOG_TEXT("user", name), LOG_STR("why", r.sys != 0 ? strerrordesc_np(r.sys) : r.why));
    return r;
}

void hand_done(struct hand *hand)
{
    ASSERT(hand->work > 0);
    if (--hand->work > 0)
        return;
    hand->idle_since = loop_now(hand->set->loop);
    timer_settle(hand->set);
    hand->set->on_freed(hand->set->ctx);
}

void hand_kill(struct hand *hand)
{
    hand->dead = true;
    nursery_end(&hand->set->nursery, hand->number);
}

/* --- ends --- */

static struct instant end_of(const struct hand *h)
{
    struct instant age = instant_after(h->begun, HAND_AGE_MS), idle = instant_after(h->idle_since, HAND_IDLE_MS);

    return h->work > 0 || h->dead ? INSTANT_NEVER : age.ms < idle.ms ? age : idle;
}

static void timer_settle(struct hands *set)
{
    struct instant next = INSTANT_NEVER;

    for (const struct hand *h = set->first; h != NULL; h = h->next)
        next = instant_min(next, end_of(h));
    loop_timer_set(set->loop, &set->timer, next);
}

static void on_timer(void *ctx)
{
    struct hands *set = ctx;

    for (struct hand *h = set->first; h != NULL;) {
        struct hand *next = h->next;

        if (instant_reached(end_of(h), loop_now(set->loop)))
            hand_free(h);
        h = next;
    }
    timer_settle(set);
}

RESULT hands_init(struct hands *set)
{
    set->timer = (struct loop_timer){.fn = on_timer, .ctx = set};
    return nursery_start(&set->nursery, set->cfg);
}

void hands_fini(struct hands *set)
{
    while (set->first != NULL)
        hand_free(set->first);
    loop_timer_stop(set->loop, &set->timer);
}
