/* map: 64-bit keys to pointers, for ids in memory. Open addressing, grows by doubling, no tombstones.
 *
 * For: finding a transaction, job or session by its id. Not for: keys that an outsider chooses (no flooding defence) or
 * order. Key 0 is not allowed (no id is 0).
 *   struct map m = {0};
 *   TRY(map_put(&m, id.value, tx));
 *   struct tx *tx = map_get(&m, id.value);
 *   map_remove(&m, id.value);  ...  map_fini(&m);
 * Walking: for (size_t i = 0; map_next(&m, &i, &value);) — nothing may be put or removed meanwhile. */
#ifndef MANSIO_MAP_H
#define MANSIO_MAP_H

#include "daemon/base/base.h"

struct map_slot {
    uint64_t key; /* 0: free */
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;
};

/* Replaces the value of a key that is there. CODE_FULL when the heap has none. */
RESULT map_put(struct map *m, uint64_t key, void *value);
void *map_get(const struct map *m, uint64_t key);
/* The removed value, or NULL. */
void *map_remove(struct map *m, uint64_t key);
bool map_next(const struct map *m, size_t *cursor, void **value_out);
void map_fini(struct map *m);

#endif
