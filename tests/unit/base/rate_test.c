/* rate: bursts, refill, debts, clocks that jump. */
#include "daemon/base/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned takes(const struct rate *rate, uint64_t *bucket, int64_t now, unsigned tries)
{
    unsigned count = 0;

    for (unsigned i = 0; i < tries; i++)
        count += rate_take(rate, bucket, now, 1);
    return count;
}

static void burst_then_refill(void **state)
{
    const struct rate rate = {.count = 60, .burst = 10, .per_ms = 60000};
    uint64_t bucket = 0;

    (void)state;
    assert_int_equal(10, takes(&rate, &bucket, 5000, 20));
    assert_int_equal(0, takes(&rate, &bucket, 5999, 3));
    assert_int_equal(1, takes(&rate, &bucket, 6000, 3));
    assert_int_equal(5, takes(&rate, &bucket, 11000, 20));
    assert_int_equal(10, takes(&rate, &bucket, 9000000, 20));
}

static void whole_bursts_of_awkward_rates(void **state)
{
    (void)state;
    for (uint64_t count = 1; count < 200; count++) {
        const struct rate rate = {.count = count, .burst = count, .per_ms = 1000};
        uint64_t bucket = 0;

        assert_int_equal(count, takes(&rate, &bucket, 77, (unsigned)count + 5));
    }
}

static void many_at_once(void **state)
{
    const struct rate rate = {.count = 1000, .burst = 1000, .per_ms = 1000};
    uint64_t bucket = 0;

    (void)state;
    assert_false(rate_take(&rate, &bucket, 0, 1001));
    assert_int_equal(0, bucket);
    assert_true(rate_take(&rate, &bucket, 0, 400));
    assert_false(rate_take(&rate, &bucket, 0, 601));
    assert_true(rate_take(&rate, &bucket, 0, 600));
    assert_true(rate_take(&rate, &bucket, 1, 1));
}

static void debts_are_bounded(void **state)
{
    const struct rate rate = {.count = 1 << 20, .burst = 1 << 20, .per_ms = 1000};
    uint64_t bucket = 0;

    (void)state;
    rate_spend(&rate, &bucket, 0, UINT64_MAX / 2);
    assert_false(rate_take(&rate, &bucket, 999, 1));
    assert_int_equal(1001, rate_ready(&rate, bucket, 0)); /* one burst of debt, and a little for the one */
    assert_true(rate_take(&rate, &bucket, 1001, 1));
}

static void no_bound(void **state)
{
    const struct rate rate = {.count = 0};
    uint64_t bucket = 5;

    (void)state;
    assert_true(rate_take(&rate, &bucket, 0, UINT64_MAX));
    rate_spend(&rate, &bucket, 0, 9);
    assert_int_equal(5, bucket);
    assert_int_equal(3, rate_ready(&rate, bucket, 3));
}

/* A bucket from another clock (a reboot, a clock set back) holds nobody up for longer than a burst and its debt. */
static void clock_set_back(void **state)
{
    const struct rate rate = {.count = 10, .burst = 10, .per_ms = 10000};
    uint64_t bucket = 0;

    (void)state;
    assert_int_equal(10, takes(&rate, &bucket, 1000000000, 20));
    assert_int_equal(0, takes(&rate, &bucket, 1000, 1));
    assert_true(rate_ready(&rate, bucket, 1000) <= 1000 + 11000);
}

static void huge_numbers(void **state)
{
    const struct rate rate = {.count = 1, .burst = INT64_MAX, .per_ms = INT64_MAX};
    uint64_t bucket = 0;

    (void)state;
    assert_true(rate_take(&rate, &bucket, INT64_MAX / 1000000, 1));
    rate_spend(&rate, &bucket, INT64_MAX / 1000000, UINT64_MAX);
    (void)rate_ready(&rate, bucket, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_then_refill),
        cmocka_unit_test(whole_bursts_of_awkward_rates),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(debts_are_bounded),
        cmocka_unit_test(no_bound),
        cmocka_unit_test(clock_set_back),
        cmocka_unit_test(huge_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
