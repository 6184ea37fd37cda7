/* pickup: looks into state_dir/drop, where sendmail leaves messages while nobody answers, and has them handed in.
 *
 * For: supervisor.c. Not for: reading those messages: that is a program of its own (sendmail --pick-up), which runs only while
 * there are any, hands each in as its owner through run_dir/inject, and ends.
 *   pickup_turn(&pickup, tree, path, now);            when the house is running; often: it looks at the folder by its own clock
 *   deadline = instant_min(deadline, pickup_deadline(&pickup));
 *   if (!pickup_ended(&pickup, pid, status, now)) ... it was another child
 *   pickup_stop(&pickup, SIGTERM);           it finishes the message it is at
 * Lifetime: the supervisor's. A round that leaves something waits longer and longer before the next. */
#ifndef MANSIO_SUPERVISOR_PICKUP_H
#define MANSIO_SUPERVISOR_PICKUP_H

#include <sys/types.h>

#include "daemon/config/config.h"

struct pickup {
    pid_t pid; /* 0: none runs */
    bool armed;
    struct instant look_at;
    int64_t wait_ms;
};

/* Looks when it is time, and starts the program when something is there. `path`: of the configuration file. */
void pickup_turn(struct pickup *p, const struct config *cfg, const char *path, struct instant now);
struct instant pickup_deadline(const struct pickup *p);
/* True when `pid` was ours. */
bool pickup_ended(struct pickup *p, pid_t pid, int status, struct instant now);
void pickup_stop(const struct pickup *p, int signal_number);

#endif
