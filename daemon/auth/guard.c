#include "daemon/auth/guard.h"

#include "daemon/ipc/words.h"

enum { WALK_MAX = 32 }; /* places that a key may be in, from its hash on */

void guard_init(struct guard *g, uint32_t failures_max, int64_t ban_ms, int64_t ban_max_ms)
{
    memset(g, 0, sizeof *g);
    g->failures_max = failures_max;
    g->ban_ms = ban_ms;
    g->ban_max_ms = ban_max_ms;
}

static size_t place_of(uint64_t key)
{
    return (size_t)(key * 0x9e3779b97f4a7c15u >> 40) % GUARD_BLOCKS_MAX;
}

static struct guard_block *block_find(const struct guard *g, uint64_t key)
{
    for (size_t i = 0; i < WALK_MAX; i++) {
        const struct guard_block *b = &g->blocks[(place_of(key) + i) % GUARD_BLOCKS_MAX];
        if (b->key == key)
            return (struct guard_block *)b;
    }
    return NULL;
}

/* What is forgotten is forgotten here: a block that was quiet for long starts anew, but its bans go one by one. */
static void block_age(struct guard_block *b, struct instant now)
{
    while (b->failures + b->bans > 0 && now.ms - b->last.ms >= GUARD_FORGET_MS) {
        b->failures = 0;
        b->bans -= b->bans > 0;
        b->last = instant_after(b->last, GUARD_FORGET_MS);
    }
}

static struct guard_block *block_take(struct guard *g, uint64_t key, struct instant now)
{
    struct guard_block *best = block_find(g, key);

    if (best != NULL) {
        block_age(best, now);
        return best;
    }
    for (size_t i = 0; i < WALK_MAX; i++) {
        struct guard_block *b = &g->blocks[(place_of(key) + i) % GUARD_BLOCKS_MAX];
        if (b->pending > 0 && b->key != 0)
            continue;
        if (best == NULL || b->key == 0 || (best->key != 0 && b->last.ms < best->last.ms))
            best = b;
        if (b->key == 0)
            break;
    }
    if (best != NULL)
        *best = (struct guard_block){.key = key, .last = now};
    return best;
}

bool guard_admit(struct guard *g, uint64_t key, struct instant now)
{
    const struct guard_block *b = block_find(g, key);

    return b == NULL || (now.ms >= b->shut_until.ms && b->pending < GUARD_PENDING_MAX);
}

bool guard_begin(struct guard *g, uint64_t key, struct instant now)
{
    struct guard_block *b = block_take(g, key, now);

    if (b == NULL || b->pending == GUARD_PENDING_MAX)
        return false;
    b->pending++;
    return true;
}

void guard_end(struct guard *g, uint64_t key)
{
    struct guard_block *b = block_find(g, key);

    ASSERT(b != NULL && b->pending > 0);
    b->pending--;
}

static int64_t doubled(int64_t first, uint32_t times, int64_t most)
{
    int64_t value = first;

    for (uint32_t i = 0; i < times && value < most; i++)
        value = value > most / 2 ? most : value * 2;
    return value < most ? value : most;
}

int64_t guard_failed(struct guard *g, uint64_t key, struct instant now)
{
    struct guard_block *b = block_take(g, key, now);

    if (b == NULL)
        return GUARD_DELAY_MAX_MS;
    b->failures++;
    b->last = now;
    if (g->failures_max > 0 && b->failures >= g->failures_max) {
        b->shut_until = instant_after(now, doubled(g->ban_ms, b->bans, g->ban_max_ms));
        b->bans++;
        b->failures = 0;
    }
    uint32_t counted = b->failures == 0 ? g->failures_max : b->failures;
    if (counted <= GUARD_FREE_FAILURES)
        return 0;
    return doubled(GUARD_DELAY_FIRST_MS, counted - GUARD_FREE_FAILURES - 1, GUARD_DELAY_MAX_MS);
}

struct instant guard_shut_until(const struct guard *g, uint64_t key)
{
    const struct guard_block *b = block_find(g, key);

    return b == NULL ? (struct instant){0} : b->shut_until;
}

void guard_set(struct guard *g, uint64_t key, struct instant now, struct instant until, uint32_t bans)
{
    struct guard_block *b = until.ms > now.ms || bans > 0 ? block_take(g, key, now) : block_find(g, key);

    if (b == NULL)
        return;
    b->shut_until = until;
    b->bans = bans;
    b->failures = 0;
    b->last = now;
}

uint32_t guard_bans(const struct guard *g, uint64_t key)
{
    const struct guard_block *b = block_find(g, key);

    return b == NULL ? 0 : b->bans;
}

uint64_t guard_login_key(struct bytes name)
{
    return bytes_hash(name, 0) | BAN_LOGIN_BITS;
}

static uint64_t pair_of(uint64_t login, uint64_t block)
{
    uint64_t pair = (login ^ (block << 17 | block >> 47)) * 0x9e3779b97f4a7c15u;

    return pair == 0 ? 1 : pair;
}

void acquaintance_add(struct acquaintances *a, uint64_t login, uint64_t block)
{
    uint64_t pair = pair_of(login, block);

    a->pairs[(pair >> 32) % ACQUAINTANCES_MAX] = pair;
}

bool acquaintance_is(const struct acquaintances *a, uint64_t login, uint64_t block)
{
    uint64_t pair = pair_of(login, block);

    return a->pairs[(pair >> 32) % ACQUAINTANCES_MAX] == pair;
}
