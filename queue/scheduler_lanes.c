#include "queue/scheduler_lanes.h"

/* --- the heap by wake-up time --- */

static void heap_set(struct scheduler *s, size_t at, struct lane *lane)
{
    s->heap[at] = lane;
    lane->heap_at = at;
}

void scheduler_heap_sift(struct scheduler *s, size_t at)
{
    struct lane *lane = s->heap[at];

    while (at > 0 && lane->wake.ms < s->heap[(at - 1) / 2]->wake.ms) {
        heap_set(s, at, s->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->heap_count)
            break;
        if (child + 1 < s->heap_count && s->heap[child + 1]->wake.ms < s->heap[child]->wake.ms)
            child++;
        if (s->heap[child]->wake.ms >= lane->wake.ms)
            break;
        heap_set(s, at, s->heap[child]);
        at = child;
    }
    heap_set(s, at, lane);
}

void scheduler_heap_add(struct scheduler *s, struct lane *lane)
{
    ASSERT(s->heap_count < s->room); /* (S3) */
    heap_set(s, s->heap_count++, lane);
    scheduler_heap_sift(s, lane->heap_at);
}

void scheduler_heap_remove(struct scheduler *s, struct lane *lane)
{
    size_t at = lane->heap_at;
    struct lane *last = s->heap[--s->heap_count];

    lane->heap_at = HEAP_NONE;
    if (last != lane) {
        heap_set(s, at, last);
        scheduler_heap_sift(s, at);
    }
}

/* --- table and roll --- */

static struct lane **table_slot(const struct scheduler *s, uint64_t hash)
{
    return &s->table[hash & (s->table_size - 1)];
}

static void table_resize(struct scheduler *s, size_t size)
{
    struct lane **before = s->table;
    size_t before_size = s->table_size;
    struct lane **table = mem_take_zero(size * sizeof *table);

    if (table == NULL)
        return; /* longer chains, nothing worse */
    s->table = table;
    s->table_size = size;
    for (size_t i = 0; i < before_size; i++)
        for (struct lane *lane = before[i]; lane != NULL;) {
            struct lane *next = lane->chain, **slot = table_slot(s, lane->hash);
            lane->chain = *slot;
            *slot = lane;
            lane = next;
        }
    mem_free(before);
}

static bool room_resize(struct scheduler *s, size_t room)
{
    struct lane **heap;
    struct roll_entry *roll;

    /* Either may succeed alone; `room` is what both surely have. */
    heap = mem_resize(s->heap, room * sizeof *heap);
    if (heap != NULL)
        s->heap = heap;
    roll = mem_resize(s->roll, room * sizeof *roll);
    if (roll != NULL)
        s->roll = roll;
    if (heap != NULL && roll != NULL)
        s->room = room;
    else if (room < s->room)
        s->room = room; /* one was cut already */
    return heap != NULL && roll != NULL;
}

static void roll_close_holes(struct scheduler *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->roll_count; i++)
        if (s->roll[i].lane != NULL)
            s->roll[kept++] = s->roll[i];
    s->roll_count = kept;
}

size_t scheduler_roll_find_after(const struct scheduler *s, uint64_t serial)
{
    size_t low = 0, high = s->roll_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->roll[middle].serial <= serial)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- lanes --- */

struct bytes scheduler_lane_name(const struct lane *lane)
{
    return (struct bytes){lane->name, lane->name_size};
}

struct lane *scheduler_lane_find(struct scheduler *s, struct bytes name)
{
    struct lane *lane = *table_slot(s, bytes_hash(name, s->hash_seed));

    while (lane != NULL && !bytes_equal(scheduler_lane_name(lane), name))
        lane = lane->chain;
    return lane;
}

RESULT scheduler_lane_make(struct scheduler *s, struct bytes name, struct lane **lane_out)
{
    struct lane *lane = scheduler_lane_find(s, name), **slot;

    if (lane != NULL) {
        *lane_out = lane;
        return OK;
    }
    if (name.size == 0 || name.size > LANE_NAME_SIZE_MAX)
        return FAIL(CODE_FULL, "a lane's name is empty or too long");
    if (s->roll_count == s->room && (s->lane_count <= s->room / 2 || !room_resize(s, 2 * s->room)))
        roll_close_holes(s);
    if (s->roll_count == s->room)
        return FAIL(CODE_FULL, "no memory for another lane");
    lane = mem_take_zero(sizeof *lane + name.size);
    if (lane == NULL)
        return FAIL(CODE_FULL, "no memory for another lane");
    memcpy(lane->name, name.data, name.size);
    lane->name_size = name.size;
    lane->hash = bytes_hash(name, s->hash_seed);
    lane->serial = ++s->serial_last;
    lane->due = WALLTIME_NEVER;
    lane->heap_at = HEAP_NONE;
    lane->slots = 1;
    lane->threshold = THRESHOLD_NONE;
    link_init(&lane->line);
    link_init(&lane->saving);
    if (s->lane_count >= s->table_size)
        table_resize(s, 2 * s->table_size);
    slot = table_slot(s, lane->hash);
    lane->chain = *slot;
    *slot = lane;
    s->roll[s->roll_count++] = (struct roll_entry){lane->serial, lane};
    s->lane_count++;
    s->lane_octets += sizeof *lane + lane->name_size;
    *lane_out = lane;
    return OK;
}

void scheduler_error_forget(struct lane *lane)
{
    mem_free((void *)(uintptr_t)lane->health.last_error.data);
    lane->health.last_error = BYTES_NONE;
}

void scheduler_error_keep(struct lane *lane, struct bytes error)
{
    struct bytes cut = bytes_head(error, LANE_ERROR_SIZE_MAX);
    uint8_t *copy = cut.size == 0 ? NULL : mem_take(cut.size);

    scheduler_error_forget(lane);
    if (copy == NULL)
        return; /* for display only */
    memcpy(copy, cut.data, cut.size);
    lane->health.last_error = (struct bytes){copy, cut.size};
}

void scheduler_lane_drop(struct scheduler *s, struct lane *lane)
{
    struct lane **at = table_slot(s, lane->hash);

    ASSERT(lane->in_flight == 0 && lane->place == PLACE_NONE && !lane->save_waits && lane != s->offered);
    while (*at != lane)
        at = &(*at)->chain;
    *at = lane->chain;
    s->roll[scheduler_roll_find_after(s, lane->serial - 1)].lane = NULL;
    s->lane_count--;
    s->lane_octets -= sizeof *lane + lane->name_size;
    scheduler_error_forget(lane);
    mem_free(lane);
}

void scheduler_memory_return(struct scheduler *s)
{
    size_t room = s->room, size = s->table_size;

    while (room > ROLL_SIZE_MIN && s->lane_count < room / 4)
        room /= 2;
    if (room < s->room) {
        roll_close_holes(s);
        (void)room_resize(s, room);
    }
    while (size > TABLE_SIZE_MIN && s->lane_count < size / 4)
        size /= 2;
    if (size < s->table_size)
        table_resize(s, size);
}
