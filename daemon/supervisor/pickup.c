#include "daemon/supervisor/pickup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/supervisor/places.h"

enum {
    LOOK_MS = 5000,       /* how long a dropped message waits at most while we run */
    LOOK_MS_MAX = 600000, /* when what is there cannot be handed in */
};

/* Whether there is a file that is not put aside. */
static bool something_dropped(const struct config *cfg)
{
    char path[PLACES_PATH_SIZE_MAX];
    const struct dirent *entry;
    DIR *folder;
    bool found = false;

    if (!is_ok(places_path(path, cfg->state_dir, "drop")) || (folder = opendir(path)) == NULL)
        return false;
    while (!found && (entry = readdir(folder)) != NULL)
        found = entry->d_name[0] != '.';
    closedir(folder);
    return found;
}

/* After fork: sendmail stands beside mansiod, in the build tree as in sbin. */
__attribute__((noreturn)) static void program_run(char *const program, char *const *argv, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* as child.c */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
        execv(program, argv);
    _exit(EXIT_FAILURE);
}

static void program_start(struct pickup *p, const char *path)
{
    char program[PATH_MAX + sizeof "/sendmail"];
    char *const argv[] = {(char *)"sendmail", (char *)"--pick-up", (char *)"-C", (char *)path, NULL};
    ssize_t size = readlink("/proc/self/exe", program, PATH_MAX - 1);
    pid_t parent = getpid(), pid;
    char *slash;

    if (size <= 0)
        return;
    program[size] = 0;
    slash = strrchr(program, '/');
    memcpy(slash, "/sendmail", sizeof "/sendmail");
    log_flush(); /* or the child's copy of the buffer would be written too */
    pid = fork();
    if (pid == 0)
        program_run(program, argv, parent);
    if (pid > 0)
        p->pid = pid;
}

void pickup_turn(struct pickup *p, const struct config *cfg, const char *path, struct instant now)
{
    if (!p->armed) {
        p->armed = true;
        p->wait_ms = LOOK_MS;
        p->look_at = now; /* at the start at once */
    }
    if (p->pid > 0 || !instant_reached(p->look_at, now))
        return;
    p->look_at = instant_after(now, p->wait_ms);
    if (something_dropped(cfg))
        program_start(p, path);
}

struct instant pickup_deadline(const struct pickup *p)
{
    return !p->armed || p->pid > 0 ? INSTANT_NEVER : p->look_at;
}

bool pickup_ended(struct pickup *p, pid_t pid, int status, struct instant now)
{
    bool all = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    if (pid != p->pid)
        return false;
    p->pid = 0;
    p->wait_ms = all ? LOOK_MS : p->wait_ms > LOOK_MS_MAX / 2 ? LOOK_MS_MAX : p->wait_ms * 2;
    p->look_at = instant_after(now, p->wait_ms);
    LOG(DROP_PICKED_UP, LOG_NUM("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
        LOG_NUM("next_ms", p->wait_ms));
    return true;
}

void pickup_stop(const struct pickup *p, int signal_number)
{
    if (p->pid > 0)
        kill(p->pid, signal_number);
}
