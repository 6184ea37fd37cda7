/* bans: told, replaced, ended, forgotten, and a table that is full. */
#include "daemon/inbound/bans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct bans bans;

static int setup(void **state)
{
    (void)state;
    bans.count = 0;
    return 0;
}

static void told_and_forgotten(void **state)
{
    (void)state;
    assert_null(bans_find(&bans, 7, (struct walltime){0}));
    bans_set(&bans, &(struct ban){.block = 7, .until = {100}, .count = 1});
    bans_set(&bans, &(struct ban){.block = 8, .until = {200}, .by_hand = true});
    assert_int_equal(1, bans_find(&bans, 7, (struct walltime){99})->count);
    assert_null(bans_find(&bans, 7, (struct walltime){100}));
    assert_true(bans_find(&bans, 8, (struct walltime){100})->by_hand);
    bans_set(&bans, &(struct ban){.block = 7, .until = {300}, .count = 2});
    assert_int_equal(2, bans.count);
    assert_int_equal(2, bans_find(&bans, 7, (struct walltime){100})->count);
    bans_set(&bans, &(struct ban){.block = 7});
    bans_set(&bans, &(struct ban){.block = 7});
    assert_null(bans_find(&bans, 7, (struct walltime){0}));
    assert_non_null(bans_find(&bans, 8, (struct walltime){0}));
    assert_int_equal(1, bans.count);
}

static void the_first_to_end_makes_room(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= BANS_MAX; i++)
        bans_set(&bans, &(struct ban){.block = i, .until = {(int64_t)(1000 + (i * 7) % BANS_MAX)}});
    assert_int_equal(BANS_MAX, bans.count);
    bans_set(&bans, &(struct ban){.block = BANS_MAX + 1, .until = {5000}});
    assert_int_equal(BANS_MAX, bans.count);
    assert_non_null(bans_find(&bans, BANS_MAX + 1, (struct walltime){0}));
    assert_null(bans_find(&bans, BANS_MAX, (struct walltime){0})); /* it ended first: 1000 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(told_and_forgotten, setup), cmocka_unit_test_setup(the_first_to_end_makes_room, setup)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
