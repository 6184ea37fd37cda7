/* (A1) The nursery has no thread and nothing open that a hand needs when it is made, so fork alone is enough: a hand closes everything
 *      but its channel, the log and the server's lock, becomes its owner (owner.c), closes its sandbox, and makes an event loop of its own.
 * (A2) Hands are reaped by the kernel (SIGCHLD is ignored here) and signalled through descriptors, so no number is ever taken for
 *      another process.
 * (A3) Who does not answer in time is given up with its socket: a late answer is never taken for that of the next question. */
#include "daemon/local/nursery.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/passing.h"
#include "daemon/edge/process.h"
#include "daemon/edge/sandbox.h"
#include "daemon/local/job.h"
#include "daemon/local/owner.h"

enum {
    ANSWER_WAIT_MS = 30000,
    END_WAIT_MS = 3000,
    END_STEP_MS = 10,
    LIVING_MAX = 128, /* with those that a lost queued has left to finish */
};

struct cradle {
    const struct config *cfg;
    int socket;
    size_t count;
    uint64_t numbers[LIVING_MAX];
    int pid_fds[LIVING_MAX];
};

/* --- in the hand --- */

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

__attribute__((noreturn)) static void hand_main(
    const struct config *cfg, const struct owner *owner, const struct msg_hand_want *want, int fd)
{
    struct sandbox_hand hand = {.home = owner->home, .commands = want->commands, .is_server = owner->uid == geteuid()};
    struct walltime doubt = {(int64_t)want->doubt};

    log_level_raise(LOG_LEVEL_WARNING); /* that its channel closes is no news */
    signal(SIGCHLD, SIG_DFL);
    others_close(fd);
    umask(077);
    if (!is_ok(owner_become(owner)))
        _exit(1);
    struct result r = SANDBOX_BUILD && cfg->sandbox ? sandbox_enter_hand(&hand, cfg) : OK;
    if (is_ok(r))
        local_hand_main(cfg, owner, doubt, fd);
    else
        LOG(OWNER_FAILED, LOG_STR("user", owner->name), LOG_STR("why", r.why));
    log_flush();
    _exit(is_ok(r) ? 0 : 1);
}

/* --- in the nursery --- */

static RESULT hand_make(struct cradle *c, const struct msg_hand_want *want, int fd)
{
    struct owner owner;

    TRY(owner_find(want->name, &owner));
    if (fd < 0 || c->count == LIVING_MAX)
        return FAIL(CODE_IO, "too many processes of mailbox owners have not ended");
    log_flush(); /* else the hand has the same lines */
    pid_t pid = fork();
    if (pid == 0)
        hand_main(c->cfg, &owner, want, fd);
    if (pid < 0)
        return FAIL_SYS(errno, "no process for the owner of the mailbox");
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* (A2); without it the closed channel alone must end it */
    if (pid_fd >= 0) {
        (void)fcntl(pid_fd, F_SETFD, FD_CLOEXEC);
        c->numbers[c->count] = want->number;
        c->pid_fds[c->count++] = pid_fd;
    }
    return OK;
}

static void hand_forget(struct cradle *c, size_t at)
{
    close(c->pid_fds[at]);
    c->count--;
    c->numbers[at] = c->numbers[c->count];
    c->pid_fds[at] = c->pid_fds[c->count];
}

static void packet_handle(struct cradle *c, const struct msg *m, int fd)
{
    if (m->kind == MSG_hand_want) {
        struct result r = hand_make(c, &m->hand_want, fd);
        struct bytes why = r.why != NULL ? bytes_head(bytes_of(r.why), NURSERY_WHY_SIZE_MAX) : BYTES_NONE;
        struct msg answer = {.kind = MSG_hand_made, .hand_made = {.code = r.code, .sys = (uint32_t)r.sys, .why = why}};
        r = passing_send(c->socket, &answer, -1);
        (void)r; /* who does not hear it is gone, which the next look tells */
    } else if (m->kind == MSG_hand_end) {
        for (size_t i = 0; i < c->count; i++)
            if (c->numbers[i] == m->hand_end.number)
                owner_kill(c->pid_fds[i]);
    }
    if (fd >= 0)
        close(fd);
}

/* The kernel forgets this whenever ids change. */
static bool die_with(pid_t parent)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

static void children_wait(void)
{
    /* SIGCHLD is ignored, so nobody is reported: there are children (0), or there are none. */
    for (unsigned ms = 0; ms < END_WAIT_MS && waitpid(-1, NULL, WNOHANG) == 0; ms += END_STEP_MS)
        poll(NULL, 0, END_STEP_MS);
}

__attribute__((noreturn)) static void nursery_main(const struct config *cfg, int socket, pid_t parent)
{
    struct cradle c = {.cfg = cfg, .socket = socket};
    struct result r = OK;

    others_close(socket);
    while (die_with(parent) && (is_ok(r) || r.code == CODE_MORE)) {
        struct pollfd fds[1 + LIVING_MAX] = {{.fd = socket, .events = POLLIN}};
        struct passing_room room;
        struct msg m;
        int fd = -1;

        for (size_t i = 0; i < c.count; i++)
            fds[1 + i] = (struct pollfd){.fd = c.pid_fds[i], .events = POLLIN};
        log_flush();
        if (poll(fds, (nfds_t)(1 + c.count), -1) < 0)
            continue;
        for (size_t i = c.count; i > 0; i--)
            if (fds[i].revents != 0)
                hand_forget(&c, i - 1);
        if (fds[0].revents == 0)
            continue;
        r = passing_receive(socket, ROLE_LOCAL, ROLE_LOCAL, &room, &m, &fd);
        if (is_ok(r))
            packet_handle(&c, &m, fd);
    }
    children_wait();
    log_flush();
    _exit(0);
}

/* --- in local --- */

RESULT nursery_start(struct nursery *n, const struct config *cfg)
{
    pid_t parent = getpid();
    int pair[2];

    *n = (struct nursery){.socket = -1};
    TRY(passing_pair(pair));
    signal(SIGCHLD, SIG_IGN);
    log_flush();
    pid_t pid = fork();
    if (pid == 0)
        nursery_main(cfg, pair[1], parent);
    int sys = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return FAIL_SYS(sys, "no process that makes hands for mailbox owners");
    }
    n->socket = pair[0];
    return OK;
}

static RESULT lost(struct nursery *n)
{
    close(n->socket);
    n->socket = -1;
    return FAIL(CODE_CORRUPT, "the process that makes hands is gone");
}

RESULT nursery_make(struct nursery *n, const struct nursery_wish *wish, int fd)
{
    struct msg want = {.kind = MSG_hand_want,
        .hand_want = {
            .number = wish->number, .name = wish->name, .commands = wish->commands, .doubt = (uint64_t)wish->doubt.ms}};
    struct pollfd ready = {.fd = n->socket, .events = POLLIN};
    struct passing_room room;
    struct msg m;
    int none = -1;

    if (wish->name.size > OWNER_NAME_SIZE_MAX)
        return FAIL(CODE_GONE, "there is no such user here");
    if (n->socket < 0)
        return FAIL(CODE_CORRUPT, "the process that makes hands is gone");
    struct result r = passing_send(n->socket, &want, fd);
    if (is_ok(r) && poll(&ready, 1, ANSWER_WAIT_MS) == 1)
        r = passing_receive(n->socket, ROLE_LOCAL, ROLE_LOCAL, &room, &m, &none);
    else
        return lost(n); /* (A3) */
    if (none >= 0)
        close(none);
    if (!is_ok(r) || m.kind != MSG_hand_made || m.hand_made.code > CODE_TIMEOUT ||
        m.hand_made.why.size > NURSERY_WHY_SIZE_MAX)
        return lost(n);
    if (m.hand_made.why.size > 0)
        memcpy(n->why, m.hand_made.why.data, m.hand_made.why.size);
    n->why[m.hand_made.why.size] = 0;
    return (struct result){(enum code)m.hand_made.code, (int)m.hand_made.sys, n->why};
}

void nursery_end(struct nursery *n, uint64_t number)
{
    struct msg m = {.kind = MSG_hand_end, .hand_end = {.number = number}};

    if (n->socket < 0)
        return;
    struct result r = passing_send(n->socket, &m, -1);
    (void)r; /* its closed channel ends it too, once it reads again */
}

void nursery_stop(struct nursery *n)
{
    if (n->socket >= 0)
        close(n->socket);
    n->socket = -1;
    children_wait();
}
