#include "daemon/supervisor/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/passing.h"
#include "daemon/edge/process.h"
#include "daemon/supervisor/tables.h"

enum { FD_ABOVE_ALL_FIXED = 10 };

/* After fork: only what is safe there. The two descriptors go to their fixed numbers, by way of higher ones so that
 * neither is overwritten by the other; everything else of ours is close-on-exec. */
__attribute__((noreturn)) static void child_exec(const char *role, int socket_fd, int lock_fd)
{
    char *const argv[] = {(char *)"mansiod", (char *)"--role", (char *)role, NULL};
    int high_socket = fcntl(socket_fd, F_DUPFD_CLOEXEC, FD_ABOVE_ALL_FIXED);
    int high_lock = fcntl(lock_fd, F_DUPFD_CLOEXEC, FD_ABOVE_ALL_FIXED);

    /* The supervisor alone may bind low ports where it is not root; a kernel without these capabilities refuses, and there are none. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (high_socket >= 0 && high_lock >= 0 && dup2(high_socket, PROCESS_SUPERVISOR_FD) >= 0 &&
        dup2(high_lock, PROCESS_LOCK_FD) >= 0)
        execv("/proc/self/exe", argv);
    _exit(EXIT_FAILURE);
}

void child_give_metrics(struct child *c, const struct child_kit *kit)
{
    struct msg m = {.kind = MSG_sup_listener};

    for (size_t i = 0; i < kit->listeners->count; i++) {
        const struct listener *l = &kit->listeners->items[i];
        m.sup_listener.listen_index = l->listen_index;
        m.sup_listener.address_index = l->address_index;
        if (l->listen_index == LISTENER_METRICS)
            child_send(c, &m, l->fd);
    }
}

static void give_listeners(struct child *c, const struct child_kit *kit)
{
    struct msg m = {.kind = MSG_sup_listener};

    if (c->role == ROLE_QUEUED) {
        m.sup_listener.listen_index = LISTENER_CONTROL;
        child_send(c, &m, kit->control_fd);
        m.sup_listener.listen_index = LISTENER_METRICS;
        child_send(c, &m, kit->metrics_fd);
        child_give_metrics(c, kit);
    }
    if (c->role != ROLE_INBOUND)
        return;
    for (size_t i = 0; i < kit->listeners->count; i++) {
        const struct listener *l = &kit->listeners->items[i];
        if (l->listen_index == LISTENER_METRICS)
            continue;
        m.sup_listener.listen_index = l->listen_index;
        m.sup_listener.address_index = l->address_index;
        child_send(c, &m, l->fd);
    }
    m.sup_listener.listen_index = LISTENER_INJECT;
    m.sup_listener.address_index = 0;
    child_send(c, &m, kit->inject_fd);
}

RESULT child_spawn(struct child *c, const struct child_kit *kit, struct instant now)
{
    int pair[2];

    TRY(passing_pair(pair));
    log_flush(); /* or the child's copy of the buffer would be written too */
    pid_t pid = fork();
    if (pid == 0)
        child_exec(ipc_role_name(c->role), pair[1], kit->lock_fd);
    int sys = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return FAIL_SYS(sys, "fork");
    }
    c->pid = pid;
    c->socket = pair[0];
    c->state = CHILD_STARTING;
    c->started = now;
    c->generation = kit->generation;
    LOG(CHILD_STARTED, LOG_STR("role", ipc_role_name(c->role)), LOG_NUM("pid", pid));
    child_give_log(c, kit);
    child_give_configuration(c, kit);
    child_give_credentials(c, kit);
    child_give_tables(c, kit);
    give_listeners(c, kit);
    return OK;
}

void child_connect(struct child *a, struct child *b)
{
    struct msg m = {.kind = MSG_sup_channel};
    int pair[2];

    if (a->pid == 0 || b->pid == 0)
        return;
    if (!is_ok(a->role == ROLE_KEYS || b->role == ROLE_KEYS ? passing_pair(pair) : channel_pair(pair))) {
        child_kill(a); /* without channel it is of no use; a new one may have more luck */
        return;
    }
    m.sup_channel.peer = b->role;
    m.sup_channel.index = b->number;
    child_send(a, &m, pair[0]);
    m.sup_channel.peer = a->role;
    m.sup_channel.index = a->number;
    child_send(b, &m, pair[1]);
    close(pair[0]);
    close(pair[1]);
}

void child_send(struct child *c, const struct msg *m, int fd)
{
    if (c->socket < 0)
        return;
    struct result r = passing_send(c->socket, m, fd);
    if (is_ok(r))
        return;
    if (r.code != CODE_GONE)
        LOG(CHILD_FAILED, LOG_STR("role", ipc_role_name(c->role)), LOG_NUM("pid", c->pid), LOG_STR("why", r.why));
    child_kill(c);
}

void child_say(struct child *c, enum msg_kind kind)
{
    struct msg m = {.kind = kind};

    child_send(c, &m, -1);
}

void child_give_log(struct child *c, const struct child_kit *kit)
{
    struct msg m = {.kind = MSG_sup_log};

    child_send(c, &m, kit->log_fd);
}

void child_give_configuration(struct child *c, const struct child_kit *kit)
{
    struct msg m = {.kind = MSG_sup_config,
        .sup_config = {.generation = kit->generation, .index = c->number, .path = bytes_of(kit->configuration->path)}};

    child_send(c, &m, kit->configuration->text_fd);
}

void child_give_credentials(struct child *c, const struct child_kit *kit)
{
    struct msg m = {.kind = MSG_sup_credentials};

    if (c->role == ROLE_KEYS && kit->credentials_fd >= 0)
        child_send(c, &m, kit->credentials_fd);
    if (c->role == ROLE_OUTBOUND && kit->configuration->logins_fd >= 0)
        child_send(c, &m, kit->configuration->logins_fd);
}

void child_give_tables(struct child *c, const struct child_kit *kit)
{
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        struct msg m = {.kind = MSG_sup_table, .sup_table = {.table = i}};

        if (table_is_for(i, c->role) && kit->configuration->table_fds[i] >= 0)
            child_send(c, &m, kit->configuration->table_fds[i]);
    }
}

void child_kill(const struct child *c)
{
    if (c->pid > 0)
        kill(c->pid, SIGKILL);
}

void child_ended(struct child *c)
{
    if (c->socket >= 0)
        close(c->socket);
    c->socket = -1;
    c->pid = 0;
    c->state = CHILD_NONE;
}

void child_restart_plan(struct child *c, struct instant now)
{
    if (c->restart_ms == 0 || now.ms - c->started.ms >= RESTART_FORGOTTEN_MS)
        c->restart_ms = RESTART_MS_FIRST;
    else
        c->restart_ms = c->restart_ms > RESTART_MS_MAX / 2 ? RESTART_MS_MAX : c->restart_ms * 2;
    c->state = CHILD_WAITING;
    c->restart_at = instant_after(now, c->restart_ms);
}
