/* Linear probing at a load of at most one half; removal shifts the run behind the hole back (Knuth 6.4, algorithm R), so
 * that a long-lived map never fills with dead slots. */
#include "daemon/base/map.h"

enum { MAP_SLOT_COUNT_MIN = 16 };

static size_t map_home(const struct map *m, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (m->slot_count - 1);
}

static struct map_slot *map_find(const struct map *m, uint64_t key)
{
    size_t i = map_home(m, key);

    while (m->slots[i].key != 0 && m->slots[i].key != key)
        i = (i + 1) & (m->slot_count - 1);
    return &m->slots[i];
}

static RESULT map_grow(struct map *m)
{
    struct map bigger = {.slot_count = m->slot_count == 0 ? MAP_SLOT_COUNT_MIN : m->slot_count * 2, .count = m->count};

    bigger.slots = mem_take_zero(bigger.slot_count * sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return FAIL(CODE_FULL, "out of memory");
    for (size_t i = 0; i < m->slot_count; i++)
        if (m->slots[i].key != 0)
            *map_find(&bigger, m->slots[i].key) = m->slots[i];
    mem_free(m->slots);
    *m = bigger;
    return OK;
}

RESULT map_put(struct map *m, uint64_t key, void *value)
{
    ASSERT(key != 0);
    if (m->slot_count < (m->count + 1) * 2)
        TRY(map_grow(m));
    struct map_slot *slot = map_find(m, key);
    if (slot->key == 0)
        m->count++;
    *slot = (struct map_slot){key, value};
    return OK;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->slot_count == 0 || key == 0 ? NULL : map_find(m, key)->value;
}

void *map_remove(struct map *m, uint64_t key)
{
    if (m->slot_count == 0 || key == 0)
        return NULL;
    struct map_slot *hole = map_find(m, key);
    if (hole->key == 0)
        return NULL;
    void *value = hole->value;
    size_t mask = m->slot_count - 1;
    size_t at = (size_t)(hole - m->slots);
    for (size_t i = (at + 1) & mask; m->slots[i].key != 0; i = (i + 1) & mask) {
        size_t home = map_home(m, m->slots[i].key);
        if (((i - home) & mask) >= ((i - at) & mask)) {
            m->slots[at] = m->slots[i];
            at = i;
        }
    }
    m->slots[at] = (struct map_slot){0, NULL};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *cursor, void **value_out)
{
    while (*cursor < m->slot_count) {
        const struct map_slot *slot = &m->slots[(*cursor)++];
        if (slot->key != 0) {
            *value_out = slot->value;
            return true;
        }
    }
    return false;
}

void map_fini(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}
