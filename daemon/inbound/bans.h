/* bans: who may not come in, or not log in, as queued tells it.
 *
 * For: session_limits.c at the door; main.c, which passes them on to auth. Not for: deciding (auth's guard, the postmaster) nor
 * keeping (queued/wards.h). Pure: the time comes in. The table is fixed; when it is full the one that ends first goes.
 *   bans_set(&in->bans, &m->ban_set);
 *   if ((ban = bans_find(&in->bans, block, now)) != NULL) ... */
#ifndef MANSIO_INBOUND_BANS_H
#define MANSIO_INBOUND_BANS_H

#include "daemon/base/base.h"

enum { BANS_MAX = 4096 };

struct ban {
    uint64_t block;
    struct walltime until;
    uint32_t count; /* how often it was banned for guessing lately */
    bool by_hand;
};

struct bans {
    uint32_t count;
    struct ban items[BANS_MAX];
};

/* Replaces what is known of the block; `until` 0 forgets it. */
void bans_set(struct bans *bans, const struct ban *ban);
/* NULL: not banned now. */
const struct ban *bans_find(const struct bans *bans, uint64_t block, struct walltime now);

#endif
