/* The end is seen by the process's own descriptor (pidfd), so no signal handler is needed. (H1) The child is reaped before
 * `ended`: its number cannot name somebody else when its group is killed, because it is killed before it is reaped. */
#include "daemon/edge/helper.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

struct helper {
    struct loop *loop;
    helper_ended *ended;
    void *owner;
    pid_t pid;
    int pid_fd, output_fd;
    uv_poll_t end, output;
    unsigned handles; /* open libuv handles; the memory goes with the last */
    struct loop_timer timer;
    bool too_late, too_loud;
    uint64_t said;
    struct buf kept;
    uint8_t kept_room[HELPER_OUTPUT_KEPT];
};

/* --- in the child --- */

static bool user_become(const char *user)
{
    uid_t real, effective, saved;

    if (user == NULL || getresuid(&real, &effective, &saved) != 0 || (effective != 0 && saved != 0))
        return true; /* nobody else can be become */
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL || setresuid(0, 0, 0) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
        initgroups(user, pw->pw_gid) != 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
        return false;
    return pw->pw_uid == 0 || setresuid(0, 0, 0) != 0;
}

__attribute__((noreturn)) static void child_main(const struct helper_spec *spec, int output)
{
    sigset_t none;

    setpgid(0, 0);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(spec->input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
        close_range(STDERR_FILENO + 1, ~0U, 0) != 0 || chdir("/") != 0)
        _exit(HELPER_EXIT_RIGHTS);
    umask(077);
    if (!user_become(spec->user)) {
        static const char why[] = "4.3.5 the configured user cannot be used\n";
        (void)!write(STDOUT_FILENO, why, sizeof why - 1);
        _exit(HELPER_EXIT_RIGHTS);
    }
    lseek(STDIN_FILENO, 0, SEEK_SET);
    _exit(spec->run(spec->ctx));
}

/* --- in the parent --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct helper *h = handle->data;

    if (--h->handles > 0)
        return;
    close(h->pid_fd);
    close(h->output_fd);
    mem_free(h);
}

static void helper_close(struct helper *h)
{
    loop_timer_stop(h->loop, &h->timer);
    uv_close((uv_handle_t *)&h->end, on_handle_closed);
    uv_close((uv_handle_t *)&h->output, on_handle_closed);
}

static void output_read(struct helper *h)
{
    uint8_t room[16384];
    ssize_t got;

    while ((got = read(h->output_fd, room, sizeof room)) > 0) {
        struct bytes piece = bytes_head((struct bytes){room, (size_t)got}, buf_left(&h->kept));
        struct result r = buf_put(&h->kept, piece);
        ASSERT(is_ok(r));
        h->said += (uint64_t)got;
        if (h->said > HELPER_OUTPUT_SIZE_MAX) {
            h->too_loud = true;
            kill(-h->pid, SIGKILL);
            return;
        }
    }
    if (got == 0)
        uv_poll_stop(&h->output);
}

static void on_output(uv_poll_t *poll, int status, int events)
{
    struct helper *h = poll->data;

    (void)events;
    if (status < 0 || h->too_loud)
        uv_poll_stop(poll);
    else
        output_read(h);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    struct helper *h = poll->data;
    siginfo_t info = {0};
    struct helper_end end = {.fate = HELPER_KILLED};

    (void)status;
    (void)events;
    kill(-h->pid, SIGKILL); /* (H1) what it has left behind */
    if (waitid(P_PID, (id_t)h->pid, &info, WEXITED) == 0) {
        end.fate = info.si_code == CLD_EXITED ? HELPER_EXITED : HELPER_KILLED;
        end.status = info.si_status;
    }
    if (!h->too_loud)
        output_read(h);
    if (end.fate == HELPER_KILLED && (h->too_late || h->too_loud))
        end.fate = h->too_loud ? HELPER_TOO_LOUD : HELPER_TOO_LATE;
    end.output = buf_bytes(&h->kept);
    helper_close(h);
    h->ended(h->owner, &end);
}

static void on_late(void *ctx)
{
    struct helper *h = ctx;

    h->too_late = true;
    kill(-h->pid, SIGKILL);
    kill(h->pid, SIGKILL); /* it may not have made its group yet */
}

static RESULT helper_watch(struct helper *h)
{
    if (uv_poll_init(loop_uv(h->loop), &h->end, h->pid_fd) != 0)
        return FAIL(CODE_IO, "no event loop for a helper");
    h->end.data = h;
    h->handles = 1;
    if (uv_poll_init(loop_uv(h->loop), &h->output, h->output_fd) != 0) {
        uv_close((uv_handle_t *)&h->end, on_handle_closed);
        return FAIL(CODE_MORE, "no event loop for a helper");
    }
    h->output.data = h;
    h->handles = 2;
    uv_poll_start(&h->end, UV_READABLE, on_end);
    uv_poll_start(&h->output, UV_READABLE, on_output);
    return OK;
}

static void child_end_now(const struct helper *h)
{
    kill(h->pid, SIGKILL);
    kill(-h->pid, SIGKILL);
    waitpid(h->pid, NULL, 0);
}

RESULT helper_start(
    struct loop *loop, const struct helper_spec *spec, helper_ended *ended, void *owner, struct helper **helper_out)
{
    struct helper *h = mem_take_zero(sizeof *h);
    int out[2];

    *helper_out = NULL;
    if (h == NULL)
        return FAIL(CODE_FULL, "out of memory");
    *h = (struct helper){.loop = loop, .ended = ended, .owner = owner};
    h->kept = BUF(h->kept_room);
    h->timer = (struct loop_timer){.fn = on_late, .ctx = h};
    if (pipe2(out, O_CLOEXEC) != 0) {
        mem_free(h);
        return FAIL_SYS(errno, "no pipe for a helper");
    }
    h->output_fd = out[0];
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    h->pid = fork();
    if (h->pid == 0)
        child_main(spec, out[1]);
    close(out[1]);
    h->pid_fd = h->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, h->pid, 0);
    if (h->pid_fd < 0) {
        int sys = errno;
        if (h->pid > 0)
            child_end_now(h);
        close(out[0]);
        mem_free(h);
        return FAIL_SYS(sys, "a helper cannot be started");
    }
    setpgid(h->pid, h->pid); /* whichever of us is first */
    struct result r = helper_watch(h);
    if (!is_ok(r)) {
        child_end_now(h);
        if (r.code != CODE_MORE) { /* no handle will free it */
            close(h->pid_fd);
            close(h->output_fd);
            mem_free(h);
        }
        return FAIL(CODE_IO, "no event loop for a helper");
    }
    loop_timer_set(loop, &h->timer, instant_after(loop_now(loop), spec->time_ms));
    *helper_out = h;
    return OK;
}

void helper_stop(struct helper **helper)
{
    struct helper *h = *helper;

    if (h == NULL)
        return;
    *helper = NULL;
    child_end_now(h);
    helper_close(h);
}
