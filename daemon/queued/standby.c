#include "daemon/queued/standby.h"

#include "daemon/base/map.h"

struct waiter {
    struct waiter *next;
    uint64_t key;
    size_t size;
    uint8_t lane[];
};

struct line {
    struct waiter *first, **end;
};

struct standby {
    uint64_t seed; /* domains are chosen by strangers */
    struct map known;
    struct line lines[ROLE_COUNT];
};

struct standby *standby_new(uint64_t seed)
{
    struct standby *s = mem_take_zero(sizeof *s);

    if (s == NULL)
        return NULL;
    s->seed = seed;
    for (size_t i = 0; i < COUNT_OF(s->lines); i++)
        s->lines[i].end = &s->lines[i].first;
    return s;
}

void standby_free(struct standby **s)
{
    struct standby *gone = *s;

    if (gone == NULL)
        return;
    *s = NULL;
    for (size_t i = 0; i < COUNT_OF(gone->lines); i++)
        while (gone->lines[i].first != NULL) {
            struct waiter *next = gone->lines[i].first->next;
            mem_free(gone->lines[i].first);
            gone->lines[i].first = next;
        }
    map_fini(&gone->known);
    mem_free(gone);
}

bool standby_put(struct standby *s, enum ipc_role role, struct bytes lane)
{
    uint64_t key = bytes_hash(lane, s->seed) | 1; /* two lanes of one key: the second is asked by the clock */
    const struct waiter *other = map_get(&s->known, key);

    ASSERT(role < ROLE_COUNT && lane.size <= LANE_NAME_SIZE_MAX);
    if (other != NULL)
        return bytes_equal((struct bytes){other->lane, other->size}, lane);
    if (s->known.count >= STANDBY_COUNT_MAX)
        return false;
    struct waiter *w = mem_take(sizeof *w + lane.size);
    if (w == NULL)
        return false;
    *w = (struct waiter){.key = key, .size = lane.size};
    memcpy(w->lane, lane.data, lane.size);
    if (!is_ok(map_put(&s->known, key, w))) {
        mem_free(w);
        return false;
    }
    *s->lines[role].end = w;
    s->lines[role].end = &w->next;
    return true;
}

bool standby_take(struct standby *s, enum ipc_role role, struct buf *lane_out)
{
    struct line *line = &s->lines[role];
    struct waiter *w = line->first;

    if (w == NULL)
        return false;
    line->first = w->next;
    if (line->first == NULL)
        line->end = &line->first;
    map_remove(&s->known, w->key);
    buf_reset(lane_out);
    struct result put = buf_put(lane_out, (struct bytes){w->lane, w->size});
    ASSERT(is_ok(put));
    mem_free(w);
    return true;
}

bool standby_is_empty(const struct standby *s, enum ipc_role role)
{
    return s->lines[role].first == NULL;
}
