/* auth: the process that alone reads the passwords: it judges the logins that inbound brings.
 *
 * For: mansiod.c. Started when a listener has `auth = true`. It sees no mail and no socket of a stranger's. */
#ifndef MANSIO_AUTH_AUTH_H
#define MANSIO_AUTH_AUTH_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int auth_main(struct process *p);

#endif
