/* roll: the users file in memory, read again when it changes.
 *
 * For: the auth process. Not for: editing (tools/queuectl_user.c).
 * Looked at before each login, at most once a second. What cannot be read any more is not used any more: a removed user must not
 * get in. Single bad lines are named in the log and left out.
 *   roll_init(&roll, path);   if (is_ok(roll_find(&roll, now, name, &account))) ...   roll_fini(&roll); */
#ifndef MANSIO_AUTH_ROLL_H
#define MANSIO_AUTH_ROLL_H

#include "daemon/auth/account.h"

#include <sys/stat.h>

struct roll {
    const char *path;
    uint8_t *octets;
    size_t size;
    bool loaded;
    struct stat seen;
    struct instant next_look;
};

void roll_init(struct roll *roll, const char *path);
/* CODE_GONE: no such user; CODE_IO: the file cannot be used. Views are good until the next call. */
RESULT
roll_find(struct roll *roll, struct instant now, struct bytes name, struct account *account_out);
void roll_fini(struct roll *roll);

#endif
