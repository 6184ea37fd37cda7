/* guard: a guesser in fake time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/auth/guard.h"

static struct guard g;
static struct instant now;

static int setup(void **state)
{
    (void)state;
    guard_init(&g, 5, 60000, 240000);
    now = (struct instant){1000};
    return 0;
}

static void answers_come_later_and_later(void **state)
{
    static const int64_t delays[] = {0, 0, 1000, 2000, 4000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        assert_true(guard_admit(&g, 7, now));
        assert_int_equal(guard_failed(&g, 7, now), delays[i]);
    }
    assert_false(guard_admit(&g, 7, now));
    assert_true(guard_admit(&g, 8, now)); /* another block is not concerned */
    assert_int_equal(guard_shut_until(&g, 7).ms, now.ms + 60000);
}

static void bans_double_up_to_their_bound(void **state)
{
    static const int64_t bans[] = {60000, 120000, 240000, 240000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bans); i++) {
        for (unsigned n = 0; n < 5; n++)
            guard_failed(&g, 7, now);
        assert_false(guard_admit(&g, 7, instant_after(now, bans[i] - 1)));
        now = instant_after(now, bans[i]);
        assert_true(guard_admit(&g, 7, now));
    }
}

static void what_is_old_is_forgotten(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 4; n++)
        guard_failed(&g, 7, now);
    now = instant_after(now, GUARD_FORGET_MS);
    assert_int_equal(guard_failed(&g, 7, now), 0);
    assert_true(guard_admit(&g, 7, now));
}

/* A name that is guessed at from everywhere; its own client is still heard. */
static void logins_and_their_acquaintances(void **state)
{
    static struct acquaintances a;
    uint64_t alice = guard_login_key(BYTES("alice")), bob = guard_login_key(BYTES("bob"));

    (void)state;
    assert_int_not_equal(alice, bob);
    assert_int_equal(alice >> 56, 0xff); /* never that of an address */
    for (unsigned n = 0; n < 5; n++)
        guard_failed(&g, alice, now);
    assert_false(guard_admit(&g, alice, now));
    assert_true(guard_admit(&g, bob, now));
    acquaintance_add(&a, alice, 7);
    assert_true(acquaintance_is(&a, alice, 7));
    assert_false(acquaintance_is(&a, alice, 8));
    assert_false(acquaintance_is(&a, bob, 7));
    for (uint64_t block = 100; block < 200; block++)
        acquaintance_add(&a, bob, block);
    assert_true(acquaintance_is(&a, bob, 199));
    guard_set(&g, alice, now, (struct instant){0}, 0);
    assert_true(guard_admit(&g, alice, now));
}

static void few_hashes_at_a_time(void **state)
{
    (void)state;
    for (unsigned n = 0; n < GUARD_PENDING_MAX; n++)
        assert_true(guard_begin(&g, 7, now));
    assert_false(guard_begin(&g, 7, now));
    assert_false(guard_admit(&g, 7, now));
    assert_true(guard_begin(&g, 8, now));
    guard_end(&g, 7);
    assert_true(guard_begin(&g, 7, now));
}

/* More blocks than the table holds: the quiet ones go, those with a hash under way stay. */
static void a_full_table(void **state)
{
    (void)state;
    assert_true(guard_begin(&g, 1, now));
    for (uint64_t key = 2; key < 50000; key++) {
        now = instant_after(now, 1);
        guard_failed(&g, key, now);
    }
    guard_end(&g, 1);
    for (unsigned n = 0; n < 5; n++)
        guard_failed(&g, 49999, now);
    assert_false(guard_admit(&g, 49999, now));
}

static void zero_shuts_nobody_out(void **state)
{
    (void)state;
    guard_init(&g, 0, 60000, 240000);
    for (unsigned n = 0; n < 100; n++)
        assert_in_range(guard_failed(&g, 7, now), 0, GUARD_DELAY_MAX_MS);
    assert_int_equal(guard_failed(&g, 7, now), GUARD_DELAY_MAX_MS);
    assert_true(guard_admit(&g, 7, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(answers_come_later_and_later, setup),
        cmocka_unit_test_setup(bans_double_up_to_their_bound, setup),
        cmocka_unit_test_setup(what_is_old_is_forgotten, setup),
        cmocka_unit_test_setup(logins_and_their_acquaintances, setup),
        cmocka_unit_test_setup(few_hashes_at_a_time, setup),
        cmocka_unit_test_setup(a_full_table, setup),
        cmocka_unit_test_setup(zero_shuts_nobody_out, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
