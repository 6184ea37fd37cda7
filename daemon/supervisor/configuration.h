/* configuration: the file as text and as tree, read together, so that all processes work from the same octets.
 *
 * For: the supervisor and `mansiod -t`. Children get the text in a memory file and need no right to read the real one.
 *   struct configuration c;
 *   TRY(configuration_read(path_or_NULL, &c, &error));    error.text: "file:line: message"
 *   configuration_free(&c); */
#ifndef MANSIO_SUPERVISOR_CONFIGURATION_H
#define MANSIO_SUPERVISOR_CONFIGURATION_H

#include "daemon/config/config.h"

#define CONFIGURATION_PATH_DEFAULT "/etc/mansio/mansio.conf"
enum { CONFIGURATION_PATH_SIZE_MAX = 1000 };

struct configuration {
    char path[CONFIGURATION_PATH_SIZE_MAX + 1];
    int text_fd;                /* a sealed memory file */
    int logins_fd;              /* another, for outbound; -1: no route logs in */
    int table_fds[TABLE_COUNT]; /* more of them (tables.h) */
    struct config *tree;
};

/* NULL: MANSIO_CONFIG unless we are privileged, else the default path, whose absence means an empty file. */
RESULT configuration_read(const char *path, struct configuration *c_out, struct config_error *error_out);
void configuration_free(struct configuration *c);

#endif
