#include "daemon/inbound/bans.h"

void bans_set(struct bans *bans, const struct ban *ban)
{
    uint32_t at = 0, first = 0;

    for (; at < bans->count && bans->items[at].block != ban->block; at++)
        if (bans->items[at].until.ms < bans->items[first].until.ms)
            first = at;
    if (ban->until.ms == 0) {
        if (at < bans->count)
            bans->items[at] = bans->items[--bans->count];
        return;
    }
    if (at == BANS_MAX)
        at = first;
    else if (at == bans->count)
        bans->count++;
    bans->items[at] = *ban;
}

const struct ban *bans_find(const struct bans *bans, uint64_t block, struct walltime now)
{
    for (uint32_t i = 0; i < bans->count; i++)
        if (bans->items[i].block == block)
            return bans->items[i].until.ms > now.ms ? &bans->items[i] : NULL;
    return NULL;
}
