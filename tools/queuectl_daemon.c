/* reload, stop, drain: the daemon as a whole. The other end of the control socket was bound by the supervisor, so the kernel
 * itself says which process to tell; there is no pid file that could be stale. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/ask.h"
#include "tools/render.h"

enum { STOP_WAIT_MS = 30000, POLL_MS = 100, DRAIN_POLL_MS = 500 };

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* 0 when no daemon answers. */
static pid_t daemon_pid(const struct tool *t)
{
    struct desk desk;
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    struct result r = desk_open(t->cfg, &desk);

    if (is_ok(r) && desk_is_online(&desk) && getsockopt(desk.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        peer.pid = 0;
    desk_close(&desk);
    return peer.pid;
}

static enum tool_exit daemon_signal(const struct tool *t, int sig, pid_t *pid_out)
{
    *pid_out = daemon_pid(t);
    if (*pid_out <= 0) {
        fprintf(stderr, "%s: no daemon answers; start one with: mansiod -c %s\n", t->program, t->config_path);
        return TOOL_UNAVAILABLE;
    }
    if (kill(*pid_out, sig) == 0)
        return TOOL_OK;
    fprintf(stderr, "%s: cannot signal process %d: %s\n", t->program, (int)*pid_out, strerror(errno));
    return errno == EPERM ? TOOL_NO_RIGHT : TOOL_FAILED;
}

static void done_say(const struct tool *t, const char *words)
{
    puts(t->json ? "{\"v\":1,\"done\":true}" : words);
}

enum tool_exit tool_reload(const struct tool *t)
{
    pid_t pid;
    enum tool_exit exit = daemon_signal(t, SIGHUP, &pid);

    if (exit == TOOL_OK)
        done_say(t, "told to take the configuration up; the log says reloaded, or why not");
    return tool_finish(t, exit);
}

/* Also when its parent has not yet taken notice. */
static bool has_ended(pid_t pid)
{
    char path[64], text[512] = "";
    const char *state;
    FILE *file;

    if (kill(pid, 0) != 0)
        return errno == ESRCH;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return true;
    (void)!fgets(text, sizeof text, file);
    fclose(file);
    state = strrchr(text, ')');
    return state != NULL && strncmp(state, ") Z", 3) == 0;
}

enum tool_exit tool_stop(const struct tool *t)
{
    pid_t pid;
    enum tool_exit exit = daemon_signal(t, SIGTERM, &pid);

    if (exit != TOOL_OK)
        return exit;
    for (unsigned waited = 0; waited < STOP_WAIT_MS; waited += POLL_MS) {
        if (has_ended(pid)) {
            done_say(t, "stopped");
            return tool_finish(t, TOOL_OK);
        }
        pause_ms(POLL_MS);
    }
    fprintf(stderr, "%s: process %d is still there after 30 s\n", t->program, (int)pid);
    return TOOL_FAILED;
}

struct bustle {
    bool flies, due, all_suspended;
};

static void lane_look(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    struct bustle *b = context;
    const char *state = render_str(line, "state");

    (void)t;
    (void)index;
    if (strcmp(render_str(line, "lane"), "*") == 0)
        b->all_suspended = strcmp(state, "suspended") == 0;
    else
        b->due = b->due || strcmp(state, "due") == 0;
    b->flies = b->flies || render_num(line, "in_flight") > 0;
}

/* Whether anything is on its way or could go now: not what a suspended lane keeps, or one whose hosts are down. */
static enum tool_exit lanes_busy(const struct tool *t, bool *busy_out)
{
    struct bustle b = {0};
    json_t *end;

    enum tool_exit exit =
        tool_ask_quietly(t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "lanes"), lane_look, &b, &end);
    json_decref(end);
    *busy_out = b.flies || (b.due && !b.all_suspended);
    return exit;
}

static enum tool_exit recipients_count(const struct tool *t, int64_t *count_out)
{
    json_t *end;
    enum tool_exit exit = tool_ask_quietly(
        t, json_pack("{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", "count", "filter", "all"), NULL, NULL, &end);

    *count_out = render_num(end, "recipients");
    json_decref(end);
    return exit;
}

enum tool_exit tool_drain(const struct tool *t)
{
    enum tool_exit exit = tool_pause(t, true, "accepting");
    int64_t left = 0;
    bool busy = true;

    while (exit == TOOL_OK && busy) {
        exit = lanes_busy(t, &busy);
        if (exit == TOOL_OK && busy)
            pause_ms(DRAIN_POLL_MS);
    }
    if (exit == TOOL_OK)
        exit = recipients_count(t, &left);
    if (exit == TOOL_OK && !t->json)
        printf("all that could go has gone; %" PRId64 " recipients wait for a later try or are held\n", left);
    return tool_finish(t, exit);
}
