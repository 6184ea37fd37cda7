/* nursery: the process that makes hands, so that local itself needs neither root's rights nor new processes.
 *
 * For: hand.c. Not for: what hands do (child.c), or who may be an owner (owner.h, which runs in here).
 * Started as root, local is split before it serves: the nursery keeps root set aside (rights_lower), local gives it away for good and
 * closes its sandbox. What the nursery hears is one packet of at most 256 octets at a time: a user's name, and whether programs will be
 * run. Nothing of a message reaches it. It ends with local, and its hands with it.
 *   TRY(nursery_start(&n, cfg));                                before anything has threads
 *   TRY(nursery_make(&n, &wish, channel_fd));                   waits for the answer, as looking up a user always did
 *   nursery_end(&n, number);  nursery_stop(&n);
 * `why` of a result lives until the next call. */
#ifndef MANSIO_LOCAL_NURSERY_H
#define MANSIO_LOCAL_NURSERY_H

#include "daemon/config/config.h"

enum { NURSERY_WHY_SIZE_MAX = 128 };

struct nursery {
    int socket; /* -1: it is gone */
    char why[NURSERY_WHY_SIZE_MAX + 1];
};

struct nursery_wish {
    uint64_t number;   /* the caller's, of no other hand */
    struct bytes name; /* of the owner; empty: the server's own user */
    bool commands;
    struct walltime doubt;
};

RESULT nursery_start(struct nursery *n, const struct config *cfg);
/* A hand on the other end of `fd`, which stays the caller's. Results as owner_find, and CODE_CORRUPT: the nursery is gone. */
RESULT nursery_make(struct nursery *n, const struct nursery_wish *wish, int fd);
/* Kills it, if it still lives. */
void nursery_end(struct nursery *n, uint64_t number);
/* Waits, with a bound, until all hands have ended; those that have not die with us. */
void nursery_stop(struct nursery *n);

#endif
