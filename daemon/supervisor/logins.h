/* logins: the logins to smarthosts, read by root and handed to the outbound processes in a memory file.
 *
 * For: configuration.c, so that a mistake is seen before anything starts, and a reload reads them anew. No other process needs a
 * right to open the file, and none but outbound gets what is in it. */
#ifndef MANSIO_SUPERVISOR_LOGINS_H
#define MANSIO_SUPERVISOR_LOGINS_H

#include "daemon/config/config.h"

/* *fd_out: a sealed memory file with the text, the caller's; -1 when no route logs in. CODE_IO, CODE_REFUSED or CODE_SYNTAX with
 * error_out filled: the file cannot be read, others can read it, or a route's login is not in it. `path` is that of the
 * configuration, for messages. */
RESULT logins_read(const char *path, const struct config *cfg, int *fd_out, struct config_error *error_out);

#endif
