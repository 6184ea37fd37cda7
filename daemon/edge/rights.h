/* rights: which user a process becomes, and becoming it for good.
 *
 * For: the supervisor (owners of folders, clear errors at start) and process.c. Not for: acting as mailbox owners.
 * Started by an ordinary user nothing changes: everything runs as that user.
 *   TRY(rights_find("mansio", ROLE_QUEUED, &rights));      mansio-queue if it exists, else mansio
 *   TRY(rights_drop(&rights)); */
#ifndef MANSIO_EDGE_RIGHTS_H
#define MANSIO_EDGE_RIGHTS_H

#include "daemon/ipc/words.h"

enum { RIGHTS_NAME_SIZE_MAX = 64 };

struct rights {
    bool change; /* false: we are not root, nothing to drop */
    uint32_t uid, gid;
    char name[RIGHTS_NAME_SIZE_MAX];
};

/* `user` is the configured one (NUL-terminated). The role users are USER-in, USER-out, USER-queue and USER-auth, each taken when it
 * exists. CODE_GONE when not even USER exists. */
RESULT rights_find(const char *user, enum ipc_role role, struct rights *rights_out);
/* Groups, gid, uid, in that order, and a proof that there is no way back. */
RESULT rights_drop(const struct rights *rights);
/* The same for local and pam, which keep root aside (as its saved id) for processes that act as other users (local/nursery.h, helper.h). */
RESULT rights_lower(const struct rights *rights);
/* Takes back what was set aside; nothing where nothing was. */
RESULT rights_raise(void);

#endif
