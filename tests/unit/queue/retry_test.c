#include "queue/retry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MINUTE_MS = 60000 };
static const struct walltime arrival = {1795000000000};

static void default_plan_is_the_documented_one(void **state)
{
    static const int64_t minutes[] = {2, 5, 10, 20, 40, 80, 160, 240, 240, 240};
    struct retry_plan plan;

    (void)state;
    retry_plan_default(&plan);
    for (uint32_t i = 0; i < COUNT_OF(minutes); i++)
        assert_int_equal(retry_step_ms(&plan, i + 1), minutes[i] * MINUTE_MS);
    assert_int_equal(retry_step_ms(&plan, UINT32_MAX), 240 * MINUTE_MS);
    assert_int_equal(retry_step_ms(&plan, 0), 2 * MINUTE_MS);
    assert_int_equal(plan.warn_after_ms, 240 * MINUTE_MS);
    assert_int_equal(plan.give_up_after_ms, (int64_t)5 * 24 * 60 * MINUTE_MS);
    assert_int_equal(plan.jitter_percent, 20);
}

static void jitter_stays_in_bounds_and_reaches_them(void **state)
{
    struct rng rng = {1};

    (void)state;
    for (uint32_t percent = 0; percent <= 100; percent += 10) {
        struct retry_plan plan = {.steps_ms = {1000}, .step_count = 1, .jitter_percent = percent};
        int64_t low = INT64_MAX, high = INT64_MIN, spread = percent * 10;

        for (int i = 0; i < 20000; i++) {
            int64_t step = retry_next_try(&plan, 1, arrival, &rng).ms - arrival.ms;
            assert_true(step >= 1000 - spread && step <= 1000 + spread);
            low = step < low ? step : low;
            high = step > high ? step : high;
        }
        assert_true(low <= 1000 - spread + spread / 20);
        assert_true(high >= 1000 + spread - spread / 20);
    }
}

static void the_same_seed_gives_the_same_tries(void **state)
{
    struct retry_plan plan;
    struct rng a = {42}, b = {42};

    (void)state;
    retry_plan_default(&plan);
    for (uint32_t i = 1; i < 100; i++)
        assert_int_equal(retry_next_try(&plan, i, arrival, &a).ms, retry_next_try(&plan, i, arrival, &b).ms);
}

/* A message's whole life, for many seeds: tries only move forward, none is later than the give-up time, the last one is
 * at it, the delay warning is due exactly from its time on. */
static void a_life_ends_with_a_try_at_give_up_time(void **state)
{
    struct retry_plan plan;

    (void)state;
    retry_plan_default(&plan);
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct rng rng = {seed};
        struct walltime end = walltime_after(arrival, plan.give_up_after_ms), now = arrival;
        uint32_t attempts = 0;

        for (;;) {
            struct walltime next;
            attempts++;
            assert_int_equal(retry_warns(&plan, arrival, now), now.ms - arrival.ms >= plan.warn_after_ms);
            if (retry_gives_up(&plan, arrival, now))
                break;
            next = retry_clamp(&plan, arrival, retry_next_try(&plan, attempts, now, &rng));
            assert_true(next.ms > now.ms);
            assert_true(next.ms <= end.ms);
            now = next;
        }
        assert_int_equal(now.ms, end.ms);
        assert_in_range(attempts, 32, 46); /* about 8 in the first five hours, then every four hours */
    }
}

static void steps_that_overflow_mean_never(void **state)
{
    struct retry_plan plan = {
        .steps_ms = {INT64_MAX}, .step_count = 1, .jitter_percent = 100, .give_up_after_ms = INT64_MAX};
    struct rng rng = {1};

    (void)state;
    assert_int_equal(retry_next_try(&plan, 1, arrival, &rng).ms, INT64_MAX);
    plan.steps_ms[0] = INT64_MAX / 150;
    for (int i = 0; i < 1000; i++)
        assert_true(retry_next_try(&plan, 1, arrival, &rng).ms >= arrival.ms);
    assert_false(retry_gives_up(&plan, arrival, walltime_after(arrival, INT64_MAX / 2)));
}

static void warning_can_be_switched_off(void **state)
{
    struct retry_plan plan;

    (void)state;
    retry_plan_default(&plan);
    plan.warn_after_ms = 0;
    assert_false(retry_warns(&plan, arrival, walltime_after(arrival, plan.give_up_after_ms)));
    plan.give_up_after_ms = 0;
    assert_true(retry_gives_up(&plan, arrival, arrival));
}

static void zero_steps_are_legal(void **state)
{
    struct retry_plan plan = {.steps_ms = {0}, .step_count = 1, .jitter_percent = 20};
    struct rng rng = {1};

    (void)state;
    assert_int_equal(retry_next_try(&plan, 1, arrival, &rng).ms, arrival.ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_plan_is_the_documented_one),
        cmocka_unit_test(jitter_stays_in_bounds_and_reaches_them),
        cmocka_unit_test(the_same_seed_gives_the_same_tries),
        cmocka_unit_test(a_life_ends_with_a_try_at_give_up_time),
        cmocka_unit_test(steps_that_overflow_mean_never),
        cmocka_unit_test(warning_can_be_switched_off),
        cmocka_unit_test(zero_steps_are_legal),
    };
    return cmocka_run_group_tests_name("queue/retry", tests, NULL, NULL);
}
