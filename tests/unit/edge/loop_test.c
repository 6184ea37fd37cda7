/* loop: timers fire in order of their deadlines, hooks once a turn and stage by stage. */
#include "daemon/edge/loop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/edge/clock.h"

enum { TIMER_COUNT = 500 };

struct note {
    struct loop_timer timer;
    struct loop *loop;
    int id;
};

static int fired[4 * TIMER_COUNT];
static size_t fired_count;

static void note_fired(void *ctx)
{
    struct note *n = ctx;

    fired[fired_count++] = n->id;
}

static int setup(void **state)
{
    fired_count = 0;
    *state = loop_new();
    return *state == NULL;
}

static int teardown(void **state)
{
    struct loop *loop = *state;

    loop_free(&loop);
    return loop != NULL;
}

/* Deadlines lie in the past, so no test waits; the heap's order is what is looked at. */
static void test_timers_in_order(void **state)
{
    struct loop *loop = *state;
    static struct note notes[TIMER_COUNT];
    struct rng rng = {11};
    struct instant now = clock_instant();

    for (int i = 0; i < TIMER_COUNT; i++) {
        notes[i] = (struct note){.timer = {.fn = note_fired, .ctx = &notes[i]}, .loop = loop, .id = i};
        loop_timer_set(loop, &notes[i].timer, (struct instant){now.ms - 1 - (int64_t)rng_below(&rng, 100000)});
    }
    for (int i = 0; i < TIMER_COUNT; i += 3)
        loop_timer_stop(loop, &notes[i].timer);
    for (int i = 1; i < TIMER_COUNT; i += 3) /* earlier than it was, by any amount */
        loop_timer_set(loop, &notes[i].timer, (struct instant){now.ms - 100000 - (int64_t)rng_below(&rng, 100000)});
    while (fired_count < TIMER_COUNT - (TIMER_COUNT + 2) / 3)
        loop_turn(loop, true);
    loop_turn(loop, false);
    assert_int_equal(fired_count, TIMER_COUNT - (TIMER_COUNT + 2) / 3);
    for (size_t i = 0; i < fired_count; i++) {
        assert_int_not_equal(fired[i] % 3, 0);
        if (i > 0)
            assert_true(notes[fired[i - 1]].timer.deadline.ms <= notes[fired[i]].timer.deadline.ms);
    }
}

static void test_timer_moved_further_off(void **state)
{
    struct loop *loop = *state;
    struct note n = {.timer = {.fn = note_fired, .ctx = &n}, .id = 1},
                m = {.timer = {.fn = note_fired, .ctx = &m}, .id = 2};
    struct instant now = clock_instant();

    loop_timer_set(loop, &n.timer, (struct instant){now.ms - 10});
    loop_timer_set(loop, &n.timer, instant_after(now, 3600000));
    loop_timer_set(loop, &m.timer, (struct instant){now.ms - 5});
    while (fired_count < 1)
        loop_turn(loop, true);
    assert_int_equal(fired[0], 2);
    assert_true(n.timer.armed);
    loop_timer_set(loop, &n.timer, INSTANT_NEVER);
    assert_false(n.timer.armed);
    loop_timer_stop(loop, &n.timer);
}

static void set_again(void *ctx)
{
    struct note *n = ctx;

    fired[fired_count++] = n->id;
    loop_timer_set(n->loop, &n->timer, (struct instant){0});
}

/* A timer whose owner always wants it now does not keep the loop from anything else. */
static void test_greedy_timer(void **state)
{
    struct loop *loop = *state;
    struct note n = {.timer = {.fn = set_again, .ctx = &n}, .loop = loop, .id = 1};
    size_t turns = 0;

    loop_timer_set(loop, &n.timer, (struct instant){0});
    while (fired_count < 3 && turns++ < 1000)
        loop_turn(loop, true);
    assert_true(fired_count >= 3);
    assert_true(turns >= 2);
    loop_timer_stop(loop, &n.timer);
}

struct hooked {
    struct loop_hook hook;
    struct loop *loop;
    struct hooked *other;
    enum loop_stage other_stage;
    int id;
};

static void hook_ran(void *ctx)
{
    struct hooked *h = ctx;

    fired[fired_count++] = h->id;
    if (h->other != NULL)
        loop_hook_add(h->loop, &h->other->hook, h->other_stage);
}

static void test_stages(void **state)
{
    struct loop *loop = *state;
    struct hooked flush = {.hook = {.fn = hook_ran, .ctx = &flush}, .loop = loop, .id = 2};
    struct hooked work = {
        .hook = {.fn = hook_ran, .ctx = &work}, .loop = loop, .id = 1, .other = &flush, .other_stage = LOOP_FLUSH};

    loop_hook_add(loop, &flush.hook, LOOP_FLUSH);
    loop_hook_add(loop, &work.hook, LOOP_WORK);
    loop_hook_add(loop, &work.hook, LOOP_WORK);
    loop_turn(loop, false);
    assert_int_equal(fired_count, 2);
    assert_int_equal(fired[0], 1);
    assert_int_equal(fired[1], 2);
    loop_hook_add(loop, &work.hook, LOOP_WORK);
    loop_hook_add(loop, &flush.hook, LOOP_FLUSH);
    loop_hook_drop(loop, &work.hook);
    loop_hook_drop(loop, &work.hook);
    loop_hook_drop(loop, &flush.hook);
    loop_hook_add(loop, &flush.hook, LOOP_FLUSH);
    loop_turn(loop, false);
    assert_int_equal(fired_count, 3);
    assert_int_equal(fired[2], 2);
}

/* Work that makes more work gets one run a turn, and the loop does not sleep in between. */
static void test_work_for_the_next_turn(void **state)
{
    struct loop *loop = *state;
    struct hooked work = {.hook = {.fn = hook_ran, .ctx = &work}, .loop = loop, .id = 1, .other_stage = LOOP_WORK};

    work.other = &work;
    loop_hook_add(loop, &work.hook, LOOP_WORK);
    loop_turn(loop, false); /* ends its turn before and after it looks at the sockets */
    size_t before = fired_count;
    assert_true(before >= 1 && before <= 2);
    loop_turn(loop, true);
    assert_true(fired_count > before && fired_count <= before + 2);
    loop_hook_drop(loop, &work.hook);
}

static void stop_now(void *ctx)
{
    struct hooked *h = ctx;

    loop_hook_add(h->loop, &h->other->hook, LOOP_FLUSH);
    loop_stop(h->loop);
}

static void test_stop_still_flushes(void **state)
{
    struct loop *loop = *state;
    struct hooked flush = {.hook = {.fn = hook_ran, .ctx = &flush}, .loop = loop, .id = 7};
    struct hooked stop = {.loop = loop, .other = &flush};
    struct loop_timer timer = {.fn = stop_now, .ctx = &stop};

    loop_timer_set(loop, &timer, clock_instant());
    loop_run(loop);
    assert_int_equal(fired_count, 1);
    assert_int_equal(fired[0], 7);
}

static void test_clock(void **state)
{
    (void)state;
    struct instant a = clock_instant(), b = clock_instant();
    assert_true(b.ms >= a.ms);
    assert_true(clock_walltime().ms > 1700000000000);
    assert_int_not_equal(clock_seed(), clock_seed());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timers_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_moved_further_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_greedy_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_work_for_the_next_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_still_flushes, setup, teardown),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
