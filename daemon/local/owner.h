/* owner: a user of the host who has mail, and becoming that user. The one place of local where root's rights are used.
 *
 * For: nursery.c, which makes a process for each owner. Not for: what that then does.
 * Started as root, the nursery gives its rights away but keeps root as its saved id (rights_lower): owner_become takes it back in the
 * hand and gives it away for good before anything else is done. Nobody acts as root: mail for root wants an alias.
 *   TRY(owner_find(BYTES("alice"), &owner));                 CODE_GONE: no such user; CODE_IO: not to be told now
 *   if (fork() == 0 && !is_ok(owner_become(&owner))) _exit(1);
 * Threads: none; owner_become is for a child of one thread. */
#ifndef MANSIO_LOCAL_OWNER_H
#define MANSIO_LOCAL_OWNER_H

#include "daemon/base/base.h"

enum { OWNER_NAME_SIZE_MAX = 64, OWNER_PATH_SIZE_MAX = 512 };

struct owner {
    char name[OWNER_NAME_SIZE_MAX + 1]; /* empty: the server's own user, without a home */
    uint32_t uid, gid;
    char home[OWNER_PATH_SIZE_MAX + 1], shell[OWNER_PATH_SIZE_MAX + 1];
};

/* An empty name is the user we run as. CODE_REFUSED: mail is not written as this user (root; anybody else than ourselves when
 * we were not started as root). */
RESULT owner_find(struct bytes name, struct owner *owner_out);
/* Kills a hand, whoever it has become. */
void owner_kill(int pid_fd);
/* Groups, gid, uid, bounds; a proof that there is no way back; and that the child dies with its parent. */
RESULT owner_become(const struct owner *owner);

#endif
