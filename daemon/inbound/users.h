/* users: the names of this host's users by number, read once before the process gives up the file system.
 *
 * For: the Received field and the log of messages from local programs. Not for: rights; the uid decides those.
 *   users_load(&users);  users_name(&users, 1000)  -- "alice", or "" when nobody has that number */
#ifndef MANSIO_INBOUND_USERS_H
#define MANSIO_INBOUND_USERS_H

#include "daemon/base/base.h"

enum { USERS_COUNT_MAX = 4096 }; /* of a host with more (a directory service) the rest are shown by number */

struct users {
    struct arena arena;
    struct user {
        uint32_t uid;
        struct bytes name;
    } * items;
    size_t count;
};

void users_load(struct users *users);
struct bytes users_name(const struct users *users, uint32_t uid);
void users_fini(struct users *users);

#endif
