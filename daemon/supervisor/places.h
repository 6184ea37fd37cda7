/* places: the folders on disk, made with their owners, and the lock that keeps two servers from one queue.
 *
 *   TRY(places_lock(cfg, &lock_fd, &error));     waits a few seconds for a killed server's children to end
 *   TRY(places_make(cfg, &error)); */
#ifndef MANSIO_SUPERVISOR_PLACES_H
#define MANSIO_SUPERVISOR_PLACES_H

#include "daemon/config/config.h"

enum { PLACES_PATH_SIZE_MAX = 1024 };

/* Makes state_dir if it is missing and takes state_dir/mansiod.lock. The kernel frees it when the supervisor and all its
 * children (who hold the same descriptor) are gone, however they went. CODE_REFUSED: another server has it. */
RESULT places_lock(const struct config *cfg, int *lock_fd_out, struct config_error *error_out);
/* run_dir (0755), state_dir/queue (0700, the queue's user). */
RESULT places_make(const struct config *cfg, struct config_error *error_out);

/* "folder/name"; CODE_FULL when it is too long. `path_out` has PLACES_PATH_SIZE_MAX octets. */
RESULT places_path(char *path_out, struct bytes folder, const char *name);

#endif
