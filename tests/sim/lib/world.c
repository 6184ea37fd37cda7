#include "tests/sim/lib/world.h"

#include <stdarg.h>

struct world world;

/* --- the heap of timers: earliest first, equal times in the order of setting --- */

static bool earlier(const struct world_timer *a, const struct world_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_place(size_t i, struct world_timer *t)
{
    world.heap[i] = t;
    t->place = i + 1;
}

static void heap_up(size_t i, struct world_timer *t)
{
    for (; i > 0 && earlier(t, world.heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_place(i, world.heap[(i - 1) / 2]);
    heap_place(i, t);
}

static void heap_down(size_t i, struct world_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= world.heap_count)
            break;
        if (child + 1 < world.heap_count && earlier(world.heap[child + 1], world.heap[child]))
            child++;
        if (!earlier(world.heap[child], t))
            break;
        heap_place(i, world.heap[child]);
        i = child;
    }
    heap_place(i, t);
}

void world_timer_stop(struct world_timer *t)
{
    size_t i = t->place;

    if (i == 0)
        return;
    t->place = 0;
    struct world_timer *last = world.heap[--world.heap_count];
    if (last == t)
        return;
    if (i - 1 > 0 && earlier(last, world.heap[(i - 2) / 2]))
        heap_up(i - 1, last);
    else
        heap_down(i - 1, last);
}

void world_timer_set(struct world_timer *t, int64_t at_ms)
{
    world_timer_stop(t);
    t->at = at_ms < world.now_ms ? world.now_ms : at_ms;
    t->order = ++world.order;
    if (world.heap_count == world.heap_room) {
        world.heap_room = world.heap_room == 0 ? 256 : world.heap_room * 2;
        world.heap = realloc(world.heap, world.heap_room * sizeof(struct world_timer *));
        ASSERT(world.heap != NULL);
    }
    heap_up(world.heap_count++, t);
}

/* --- life --- */

void world_begin(uint64_t seed, bool talk)
{
    world = (struct world){.seed = seed, .rng = {seed}, .talk = talk};
    (void)rng_next(&world.rng);
}

void world_end(void)
{
    free(world.heap);
    world.heap = NULL;
    world.heap_count = world.heap_room = 0;
}

bool world_step(int64_t until_ms)
{
    if (world.heap_count == 0 || world.heap[0]->at > until_ms)
        return false;
    struct world_timer *t = world.heap[0];
    world_timer_stop(t);
    world.now_ms = t->at;
    world.step++;
    t->fn(t->ctx);
    if (world.turn_end != NULL)
        world.turn_end();
    return true;
}

bool world_fails(enum world_call call)
{
    if (call != world.fail_call || world.fail_left == 0 || --world.fail_left > 0)
        return false;
    world_fault(FAULT_CALL);
    world_say("a call fails: %d", (int)call);
    return true;
}

uint64_t world_below(uint64_t bound)
{
    return rng_below(&world.rng, bound);
}

bool world_chance(unsigned per_mille)
{
    return per_mille > 0 && rng_below(&world.rng, 1000) < per_mille;
}

int64_t world_between(int64_t lo, int64_t hi)
{
    return lo + (int64_t)rng_below(&world.rng, (uint64_t)(hi - lo) + 1);
}

struct walltime world_walltime(void)
{
    return (struct walltime){WORLD_EPOCH_MS + world.now_ms + world.clock_off_ms};
}

void world_fault(enum fault fault)
{
    world.faults[fault]++;
}

const char *world_fault_words(enum fault fault)
{
    static const char *const words[] = {
#define FAULT(name, words_) words_,
#include "tests/sim/lib/faults.def"
#undef FAULT
    };
    return words[fault];
}

/* --- words --- */

static void stamp(FILE *out)
{
    int64_t ms = world.now_ms;

    fprintf(out, "%3dd %02d:%02d:%02d.%03d  ", (int)(ms / DAY), (int)(ms / HOUR % 24), (int)(ms / MINUTE % 60),
        (int)(ms / SECOND % 60), (int)(ms % SECOND));
}

void world_say(const char *format, ...)
{
    va_list list;

    if (!world.talk)
        return;
    stamp(stdout);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
}

void world_wrong(const char *format, ...)
{
    va_list list;

    world.wrong++;
    if (world.wrong > 20)
        return;
    fflush(stdout);
    FILE *out = world.talk ? stdout : stderr;
    fprintf(out, "WRONG seed=%" PRIu64 " step=%" PRIu64 " ", world.seed, world.step);
    stamp(out);
    va_start(list, format);
    vfprintf(out, format, list);
    va_end(list);
    fputc('\n', out);
    fflush(out);
}

/* --- memory --- */

void *world_take(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);

    ASSERT(memory != NULL);
    return memory;
}

void heap_buf_put(struct heap_buf *b, struct bytes in)
{
    if (in.size == 0)
        return;
    if (b->size + in.size > b->room) {
        b->room = (b->size + in.size) * 2 + 256;
        b->data = realloc(b->data, b->room);
        ASSERT(b->data != NULL);
    }
    memcpy(b->data + b->size, in.data, in.size);
    b->size += in.size;
}

void heap_buf_put_text(struct heap_buf *b, const char *format, ...)
{
    char room[2048];
    va_list list;

    va_start(list, format);
    int size = vsnprintf(room, sizeof room, format, list);
    va_end(list);
    ASSERT(size >= 0 && (size_t)size < sizeof room);
    heap_buf_put(b, (struct bytes){(const uint8_t *)room, (size_t)size});
}

void heap_buf_drop(struct heap_buf *b, size_t size)
{
    ASSERT(size <= b->size);
    if (size == 0)
        return;
    memmove(b->data, b->data + size, b->size - size);
    b->size -= size;
}

void heap_buf_free(struct heap_buf *b)
{
    free(b->data);
    *b = (struct heap_buf){0};
}
