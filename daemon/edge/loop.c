/* One libuv timer serves all of ours, which stand in a pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): nothing
 * to allocate, O(1) to add. A session moves its deadline further off with every command, so that case only notes the new
 * deadline; the heap learns of it when the old key comes up.
 *
 * (L1) Every armed timer is in the heap, and its key is no later than its deadline, except that a timer which a timer
 *      sets to a time already past waits for the next millisecond: the sockets have their say in between.
 * (L2) A hook's `link` is NULL exactly when it is in no list; dropping it is safe at any time, also from a hook. */
#include "daemon/edge/loop.h"

#include <unistd.h>
#include <uv.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"

enum { CLOSE_TURNS_MAX = 500 };

struct hook_list {
    struct loop_hook *first;
    struct loop_hook **end;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t turn_end; /* runs when all is done that was ready, before the process sleeps */
    uv_idle_t again;       /* active: the next turn follows at once */
    uv_timer_t alarm;
    struct instant alarm_key; /* what the alarm is set to */
    bool alarm_rings;
    struct loop_timer *heap;
    struct hook_list hooks[LOOP_STAGE_COUNT];
    struct buf scratch;
};

/* --- the heap of timers; `before` is the left sibling, or the parent of a first child --- */

static struct loop_timer *heap_join(struct loop_timer *a, struct loop_timer *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->key.ms < a->key.ms) {
        struct loop_timer *swap = a;
        a = b;
        b = swap;
    }
    b->before = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->before = b;
    a->child = b;
    a->next = NULL;
    a->before = NULL;
    return a;
}

/* Joins a list of siblings: first in pairs from the left, then the pairs from the right. */
static struct loop_timer *heap_join_siblings(struct loop_timer *first)
{
    struct loop_timer *pairs = NULL, *all = NULL;

    while (first != NULL) {
        struct loop_timer *a = first, *b = a->next;
        first = b == NULL ? NULL : b->next;
        a->next = a->before = NULL;
        if (b != NULL)
            b->next = b->before = NULL;
        a = heap_join(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct loop_timer *rest = pairs->next;
        pairs->next = NULL;
        all = heap_join(all, pairs);
        pairs = rest;
    }
    return all;
}

static void heap_remove(struct loop *loop, struct loop_timer *t)
{
    struct loop_timer *below = heap_join_siblings(t->child);

    if (loop->heap == t) {
        loop->heap = below;
    } else {
        if (t->before->child == t)
            t->before->child = t->next;
        else
            t->before->next = t->next;
        if (t->next != NULL)
            t->next->before = t->before;
        loop->heap = heap_join(loop->heap, below);
    }
    t->child = t->next = t->before = NULL;
}

static void heap_add(struct loop *loop, struct loop_timer *t)
{
    t->child = t->next = t->before = NULL;
    t->key = t->deadline;
    if (loop->alarm_rings && instant_reached(t->key, loop_now(loop)))
        t->key = instant_after(loop_now(loop), 1);
    loop->heap = heap_join(loop->heap, t);
}

static void on_alarm(uv_timer_t *alarm)
{
    struct loop *loop = alarm->data;
    struct instant now = loop_now(loop);

    loop->alarm_key = INSTANT_NEVER;
    loop->alarm_rings = true;
    while (loop->heap != NULL && instant_reached(loop->heap->key, now)) {
        struct loop_timer *t = loop->heap;
        heap_remove(loop, t);
        if (instant_reached(t->deadline, now)) {
            t->armed = false;
            t->fn(t->ctx);
        } else {
            heap_add(loop, t);
        }
    }
    loop->alarm_rings = false;
}

static void alarm_set(struct loop *loop)
{
    struct instant key = loop->heap == NULL ? INSTANT_NEVER : loop->heap->key;

    if (key.ms == loop->alarm_key.ms)
        return;
    loop->alarm_key = key;
    if (loop->heap == NULL) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    uv_update_time(&loop->uv);
    int64_t wait = key.ms - loop_now(loop).ms;
    uv_timer_start(&loop->alarm, on_alarm, wait > 0 ? (uint64_t)wait : 0, 0);
}

struct instant loop_now(const struct loop *loop)
{
    return (struct instant){(int64_t)uv_now(&loop->uv)};
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    if (!timer->armed)
        return;
    heap_remove(loop, timer);
    timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, struct instant deadline)
{
    if (deadline.ms == INSTANT_NEVER.ms) {
        loop_timer_stop(loop, timer);
        return;
    }
    timer->deadline = deadline;
    if (timer->armed && deadline.ms >= timer->key.ms)
        return; /* (L1) */
    if (timer->armed)
        heap_remove(loop, timer);
    timer->armed = true;
    heap_add(loop, timer);
}

/* --- the end of a turn --- */

static void hook_unlink(struct hook_list *list, struct loop_hook *hook)
{
    *hook->link = hook->next;
    if (hook->next != NULL)
        hook->next->link = hook->link;
    else
        list->end = hook->link;
    hook->next = NULL;
    hook->link = NULL;
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, enum loop_stage stage)
{
    struct hook_list *list = &loop->hooks[stage];

    if (hook->link != NULL) /* (L2) */
        return;
    hook->next = NULL;
    hook->link = list->end;
    *list->end = hook;
    list->end = &hook->next;
}

void loop_hook_drop(struct loop *loop, struct loop_hook *hook)
{
    if (hook->link == NULL)
        return;
    for (size_t i = 0; i < LOOP_STAGE_COUNT; i++) {
        if (loop->hooks[i].end == &hook->next) {
            hook_unlink(&loop->hooks[i], hook);
            return;
        }
    }
    hook_unlink(&loop->hooks[0], hook); /* not the last of any list: its list's end does not change */
}

static void stage_run(struct loop *loop, enum loop_stage stage, const struct loop_hook *mark)
{
    struct hook_list *list = &loop->hooks[stage];

    while (list->first != NULL && list->first != mark) {
        struct loop_hook *hook = list->first;
        hook_unlink(list, hook);
        hook->fn(hook->ctx);
    }
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_again(uv_idle_t *again)
{
    (void)again;
}

static void turn_end(struct loop *loop)
{
    /* What LOOP_WORK adds to itself stands behind the mark and waits for the next turn. */
    struct loop_hook mark = {.fn = nothing};

    loop_hook_add(loop, &mark, LOOP_WORK);
    stage_run(loop, LOOP_WORK, &mark);
    loop_hook_drop(loop, &mark);
    stage_run(loop, LOOP_FLUSH, NULL);
    log_flush();
    if (loop->hooks[LOOP_WORK].first != NULL)
        uv_idle_start(&loop->again, on_again);
    else
        uv_idle_stop(&loop->again);
    alarm_set(loop);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    turn_end(prepare->data);
}

/* --- life --- */

struct loop *loop_new(void)
{
    struct loop *loop = mem_take_zero(sizeof *loop);

    if (loop == NULL)
        return NULL;
    void *scratch = mem_take(LOOP_SCRATCH_SIZE);
    if (scratch == NULL || uv_loop_init(&loop->uv) != 0) {
        mem_free(scratch);
        mem_free(loop);
        return NULL;
    }
    buf_init(&loop->scratch, scratch, LOOP_SCRATCH_SIZE);
    for (size_t i = 0; i < LOOP_STAGE_COUNT; i++)
        loop->hooks[i].end = &loop->hooks[i].first;
    loop->alarm_key = INSTANT_NEVER;
    uv_prepare_init(&loop->uv, &loop->turn_end);
    uv_idle_init(&loop->uv, &loop->again);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->turn_end.data = loop;
    loop->alarm.data = loop;
    uv_prepare_start(&loop->turn_end, on_turn_end);
    return loop;
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;

    if (l == NULL)
        return;
    uv_close((uv_handle_t *)&l->turn_end, NULL);
    uv_close((uv_handle_t *)&l->again, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    for (int i = 0; i < CLOSE_TURNS_MAX && uv_loop_alive(&l->uv); i++) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        if (uv_loop_alive(&l->uv)) /* a library's thread still works for us */
            usleep(1000);
    }
    ASSERT(uv_loop_close(&l->uv) == 0); /* an owner has not freed its things */
    mem_free(l->scratch.data);
    mem_free(l);
    *loop = NULL;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    turn_end(loop);
}

void loop_turn(struct loop *loop, bool wait)
{
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    turn_end(loop);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

struct buf *loop_scratch(struct loop *loop)
{
    buf_reset(&loop->scratch);
    return &loop->scratch;
}
