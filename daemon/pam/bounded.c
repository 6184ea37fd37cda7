/* The caller adopts the orphans below it (PR_SET_CHILD_SUBREAPER), so that all of them show up as its own children, one after the other. */
#include "daemon/pam/bounded.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 100 }; /* of a program that starts others faster than they can be ended */

/* As the kernel lists them: numbers parted by blanks. */
static void children_kill(void)
{
    char text[4096];
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    text[size < 0 ? 0 : size] = 0;
    for (char *at = text, *end; *at != 0; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        if (pid > 0)
            kill((pid_t)pid, SIGKILL);
    }
}

static void descendants_end(pid_t child)
{
    kill(child, SIGKILL);
    for (int i = 0; i < ROUNDS_MAX; i++) {
        children_kill();
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            break;
    }
}

int bounded_run(int (*run)(void *ctx), void *ctx, int64_t time_ms)
{
    siginfo_t info = {0};
    struct pollfd ended = {.events = POLLIN};
    int status = -1;
    pid_t child;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    child = fork();
    if (child == 0)
        _exit(run(ctx));
    if (child < 0)
        return -1;
    ended.fd = (int)syscall(SYS_pidfd_open, child, 0);
    if (ended.fd >= 0 && poll(&ended, 1, time_ms > INT32_MAX ? INT32_MAX : (int)time_ms) > 0 &&
        waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0 && info.si_code == CLD_EXITED)
        status = info.si_status;
    descendants_end(child);
    return status;
}
