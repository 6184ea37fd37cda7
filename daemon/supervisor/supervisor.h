/* supervisor: reads the configuration, binds, starts the others, starts them again, reloads, stops; carries no mail.
 *
 * For: mansiod without --role. docs/states/process.md draws its states and those of its children.
 *   return supervisor_run(path_or_NULL, roles); */
#ifndef MANSIO_SUPERVISOR_SUPERVISOR_H
#define MANSIO_SUPERVISOR_SUPERVISOR_H

#include "daemon/supervisor/house.h"

/* Returns the exit status when all children have ended: 0 after SIGTERM or SIGINT. */
int supervisor_run(const char *path, const struct house_role roles[ROLE_COUNT]);

#endif
