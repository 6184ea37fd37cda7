/* whole_file: a small file, read whole, for the supervisor.
 *
 * For: files of which other processes are given the text. Not for: the configuration itself, which may be a pipe. */
#ifndef MANSIO_SUPERVISOR_WHOLE_FILE_H
#define MANSIO_SUPERVISOR_WHOLE_FILE_H

#include "daemon/config/config.h"

/* Into `text`, whose room is the bound. `secret`: nobody may have a right to it but its owner. Else CODE_REFUSED and error_out says
 * what is wrong. */
RESULT whole_file_take(const char *file, bool secret, struct buf *text, struct config_error *error_out);
/* Seals its text into a memory file for other processes. CODE_REFUSED as above. */
RESULT whole_file_seal(const char *file, struct bytes text, int *fd_out, struct config_error *error_out);
/* Always CODE_REFUSED: "file: why". */
RESULT whole_file_refused(struct config_error *error_out, const char *file, const char *why);

#endif
