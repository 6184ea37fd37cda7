/* (A1) The child has no thread and nothing open that it needs when it is made, so fork alone is enough: it closes everything but
 *      its channel, the log and the server's lock, becomes its owner (owner.c), and makes an event loop of its own.
 * (A2) Children are reaped by the kernel (SIGCHLD is ignored here) and signalled through descriptors, so no number is ever taken for
 *      another process. */
#include "daemon/local/hand.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/process.h"
#include "daemon/local/job.h"

enum { END_WAIT_MS = 3000, END_STEP_MS = 10 };

/* --- in the child --- */

static void others_close(int fd)
{
    int kept[3] = {PROCESS_LOCK_FD, log_fd(), fd};
    unsigned from = STDERR_FILENO + 1;

    for (size_t i = 0; i < COUNT_OF(kept); i++)
        for (size_t k = i + 1; k < COUNT_OF(kept); k++)
            if (kept[k] < kept[i]) {
                int swap = kept[i];
                kept[i] = kept[k];
                kept[k] = swap;
            }
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        if (kept[i] < (int)from)
            continue;
        if (kept[i] > (int)from)
            close_range(from, (unsigned)kept[i] - 1, 0);
        from = (unsigned)kept[i] + 1;
    }
    close_range(from, ~0U, 0);
}

__attribute__((noreturn)) static void child_main(const struct hands *set, const struct owner *owner, int fd)
{
    log_level_raise(LOG_LEVEL_WARNING); /* that its channel closes is no news */
    signal(SIGCHLD, SIG_DFL);
    others_close(fd);
    umask(077);
    if (!is_ok(owner_become(owner)))
        _exit(1);
    local_hand_main(set->cfg, owner, set->doubt, fd);
    log_flush();
    _exit(0);
}

/* --- in the parent --- */

static void timer_settle(struct hands *set);

static void hand_free(struct hand *hand)
{
    struct hand **at = &hand->set->first;

    while (*at != hand)
        at = &(*at)->next;
    *at = hand->next;
    hand->set->count--;
    channel_free(&hand->channel); /* it ends when it notices */
    if (hand->pid_fd >= 0)
        close(hand->pid_fd);
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
        LOG(OWNER_FAILED, LOG_STR("user", hand->owner.name), LOG_STR("why", "it ended before its work was done"));
        set->on_gone(set->ctx, hand);
    }
    hand_free(hand);
    set->on_freed(set->ctx);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static RESULT hand_start(struct hands *set, const struct owner *owner, struct hand **hand_out)
{
    struct hand *hand = mem_take_zero(sizeof *hand);
    int fd[2];

    if (hand == NULL)
        return FAIL_SYS(ENOMEM, "out of memory");
    struct result r = channel_pair(fd);
    if (!is_ok(r)) {
        mem_free(hand);
        return r;
    }
    *hand = (struct hand){.next = set->first, .set = set, .owner = *owner, .pid_fd = -1, .begun = loop_now(set->loop)};
    log_flush(); /* else the child has the same lines */
    pid_t pid = fork();
    if (pid == 0)
        child_main(set, owner, fd[1]);
    int sys = errno;
    close(fd[1]);
    if (pid < 0) {
        close(fd[0]);
        mem_free(hand);
        return FAIL_SYS(sys, "no process for the owner of the mailbox");
    }
    hand->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* (A2); without it the closed channel alone must end it */
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

RESULT hands_get(struct hands *set, struct bytes name, struct hand **hand_out)
{
    struct owner owner;

    for (struct hand *h = set->first; h != NULL; h = h->next)
        if (!h->dead && bytes_equal(bytes_of(h->owner.name), name) &&
            !instant_reached(instant_after(h->begun, HAND_AGE_MS), loop_now(set->loop))) {
            *hand_out = h;
            return OK;
        }
    TRY(owner_find(name, &owner));
    if (set->count >= HANDS_MAX && !idlest_end(set))
        return FAIL(CODE_FULL, "all hands are busy");
    struct result r = hand_start(set, &owner, hand_out);
    if (!is_ok(r))
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
    if (hand->pid_fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, hand->pid_fd, SIGKILL, NULL, 0);
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

void hands_init(struct hands *set)
{
    signal(SIGCHLD, SIG_IGN);
    set->timer = (struct loop_timer){.fn = on_timer, .ctx = set};
}

void hands_wait(void)
{
    /* SIGCHLD is ignored, so nobody is reported: there are children (0), or there are none. */
    for (unsigned ms = 0; ms < END_WAIT_MS && waitpid(-1, NULL, WNOHANG) == 0; ms += END_STEP_MS)
        poll(NULL, 0, END_STEP_MS);
}

void hands_fini(struct hands *set)
{
    while (set->first != NULL)
        hand_free(set->first);
    loop_timer_stop(set->loop, &set->timer);
}
