/* tables: files that processes without a right to open them work with (enum config_table), read by root and handed over in sealed
 * memory files, each to those alone that need it.
 *
 * For: configuration.c, so that a mistake is seen before anything starts, and a reload reads them anew; child.c hands them out. */
#ifndef MANSIO_SUPERVISOR_TABLES_H
#define MANSIO_SUPERVISOR_TABLES_H

#include "daemon/config/config.h"
#include "daemon/ipc/codec.h"

/* fds_out[table]: the caller's; -1 where there is no such table or its file is empty. CODE_IO, CODE_REFUSED or CODE_SYNTAX with
 * error_out filled, and then all are -1. */
RESULT tables_read(const struct config *cfg, int fds_out[TABLE_COUNT], struct config_error *error_out);
void tables_close(int fds[TABLE_COUNT]);
/* Whether a process of this role works with it. */
bool table_is_for(enum config_table table, enum ipc_role role);

#endif
