/* Two processes may meet in one slot; whoever loses the exchange looks again. Order between key and bucket is not kept: in the
 * worst case a key begins with what its predecessor owed, for one burst at most. */
#include "daemon/inbound/rates.h"

uint64_t rates_key(unsigned kind, struct bytes subject)
{
    uint64_t h = (0xcbf29ce484222325u ^ kind) * 0x100000001b3u;

    for (size_t i = 0; i < subject.size; i++)
        h = (h ^ subject.data[i]) * 0x100000001b3u;
    h ^= h >> 31;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    return h == 0 ? 1 : h;
}

/* The slot of a key, or NULL; *spare_out is the one to take for it. */
static struct rates_slot *slot_find(
    struct rates_slot *table, uint64_t key, uint64_t now_us, struct rates_slot **spare_out)
{
    struct rates_slot *spare = NULL;
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < RATES_WALK; i++) {
        struct rates_slot *slot = &table[(key + i) % RATES_SLOT_COUNT];
        uint64_t held = atomic_load_explicit(&slot->key, memory_order_relaxed);
        uint64_t bucket = held == 0 ? 0 : atomic_load_explicit(&slot->bucket, memory_order_relaxed);

        if (held == key)
            return slot;
        if (bucket <= now_us) /* full: as good as unused */
            bucket = 0;
        if (bucket < least) {
            least = bucket;
            spare = slot;
        }
    }
    *spare_out = spare;
    return NULL;
}

static struct rates_slot *slot_take(struct rates_slot *table, uint64_t key, uint64_t now_us)
{
    struct rates_slot *spare, *slot = slot_find(table, key, now_us, &spare);

    if (slot != NULL)
        return slot;
    atomic_store_explicit(&spare->key, key, memory_order_relaxed);
    atomic_store_explicit(&spare->bucket, 0, memory_order_relaxed);
    return spare;
}

bool rates_take(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms, uint64_t n)
{
    if (rate->count == 0)
        return true;
    struct rates_slot *slot = slot_take(table, key, (uint64_t)now_ms * 1000);
    uint64_t before = atomic_load_explicit(&slot->bucket, memory_order_relaxed), after;
    do {
        after = before;
        if (!rate_take(rate, &after, now_ms, n))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->bucket, &before, after, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void rates_spend(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms, uint64_t n)
{
    if (rate->count == 0)
        return;
    struct rates_slot *slot = slot_take(table, key, (uint64_t)now_ms * 1000);
    uint64_t before = atomic_load_explicit(&slot->bucket, memory_order_relaxed), after;
    do {
        after = before;
        rate_spend(rate, &after, now_ms, n);
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->bucket, &before, after, memory_order_relaxed, memory_order_relaxed));
}

bool rates_spent(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms)
{
    struct rates_slot *spare, *slot;

    if (rate->count == 0)
        return false;
    slot = slot_find(table, key, (uint64_t)now_ms * 1000, &spare);
    return slot != NULL && rate_ready(rate, atomic_load_explicit(&slot->bucket, memory_order_relaxed), now_ms) > now_ms;
}
