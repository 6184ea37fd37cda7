/* house: the whole of mansiod behind its options: check the configuration, supervise, or be one role.
 *
 * For: mansiod.c, and tests that bring roles of their own. A role without a main is not started.
 *   static const struct house_role roles[ROLE_COUNT] = {[ROLE_INBOUND] = {inbound_main}, ...};
 *   int main(int argc, char **argv) { return house_main(argc, argv, roles); } */
#ifndef MANSIO_SUPERVISOR_HOUSE_H
#define MANSIO_SUPERVISOR_HOUSE_H

#include "daemon/edge/process.h"

struct house_role {
    int (*main)(struct process *p); /* NULL: this build has none */
};

/* The exit status of the program. */
int house_main(int argc, char **argv, const struct house_role roles[ROLE_COUNT]);

#endif
