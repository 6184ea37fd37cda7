/* child: one supervised process: starting it, talking to it, and when to start it again.
 *
 * For: supervisor.c. Not for: deciding how many there are or when they go.
 *   TRY(child_spawn(&c, &kit, now));       started, and given its log, configuration and listeners
 *   child_connect(&c, &queued);            a new channel between the two
 *   child_say(&c, MSG_sup_go);
 *   child_ended(&c, now);                  after waitpid: closes our end */
#ifndef MANSIO_SUPERVISOR_CHILD_H
#define MANSIO_SUPERVISOR_CHILD_H

#include "daemon/ipc/codec.h"
#include "daemon/supervisor/configuration.h"
#include "daemon/supervisor/listeners.h"

#include <sys/types.h>

enum {
    RESTART_MS_FIRST = 100,
    RESTART_MS_MAX = 30000,
    RESTART_FORGOTTEN_MS = 60000, /* a process that lived so long starts with the first delay again */
};

enum child_state {
    CHILD_NONE,     /* the slot is free */
    CHILD_WAITING,  /* ended; starts again at restart_at */
    CHILD_STARTING, /* runs, has not said that it is ready */
    CHILD_READY,
    CHILD_DRAINING, /* finishes what it has, takes nothing new; is not started again */
};

struct child {
    enum child_state state;
    enum ipc_role role;
    uint32_t number;     /* of its role: no two living ones share it */
    uint32_t generation; /* of the configuration that it serves */
    pid_t pid;           /* 0: does not run */
    int socket;          /* our end, or -1 */
    struct instant started, restart_at;
    int64_t restart_ms; /* the last delay */
};

/* What every new process is given. */
struct child_kit {
    const struct configuration *configuration;
    uint32_t generation;
    const struct listeners *listeners;
    int inject_fd, control_fd, metrics_fd, log_fd, lock_fd, credentials_fd;
};

/* Forks and runs this program again as the child's role. */
RESULT child_spawn(struct child *c, const struct child_kit *kit, struct instant now);
/* A pair of sockets, one end for each. Nothing happens when one of them does not run. */
void child_connect(struct child *a, struct child *b);
/* A packet without content, or with `fd`. A child that does not read its packets is killed. */
void child_say(struct child *c, enum msg_kind kind);
void child_send(struct child *c, const struct msg *m, int fd);
void child_give_log(struct child *c, const struct child_kit *kit);
/* Certificates and keys to the keys process, logins to outbound. */
void child_give_credentials(struct child *c, const struct child_kit *kit);
void child_give_tables(struct child *c, const struct child_kit *kit);
void child_give_configuration(struct child *c, const struct child_kit *kit);
/* To queued: where metrics are told by HTTP, again behind each configuration. */
void child_give_metrics(struct child *c, const struct child_kit *kit);
void child_kill(const struct child *c);
/* It does not run any more. */
void child_ended(struct child *c);
/* Sets the state WAITING and the time: 100 ms, doubling to 30 s. */
void child_restart_plan(struct child *c, struct instant now);

#endif
