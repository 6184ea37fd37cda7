/* turnstile: one of each client before a second of any, in the order in which they came. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/inbound/turnstile.h"

enum { FLOOD = 50 };

static void all_clients_take_turns(void **state)
{
    struct turnstile t = {0};
    struct turnstile_place of_one[FLOOD] = {0}, of_two[2] = {0}, late = {0};

    (void)state;
    assert_null(turnstile_next(&t));
    for (size_t i = 0; i < FLOOD; i++)
        turnstile_enter(&t, &of_one[i], 1);
    turnstile_enter(&t, &of_two[0], 2);
    turnstile_enter(&t, &of_two[1], 2);
    assert_int_equal(t.count, FLOOD + 2);
    assert_ptr_equal(turnstile_next(&t), &of_one[0]);
    assert_ptr_equal(turnstile_next(&t), &of_two[0]);
    assert_ptr_equal(turnstile_next(&t), &of_one[1]);
    turnstile_enter(&t, &late, 3); /* who comes into a flood is not behind it */
    assert_ptr_equal(turnstile_next(&t), &of_two[1]);
    assert_ptr_equal(turnstile_next(&t), &late);
    for (size_t i = 2; i < FLOOD; i++)
        assert_ptr_equal(turnstile_next(&t), &of_one[i]);
    assert_null(turnstile_next(&t));
    assert_int_equal(t.count, 0);
}

static void who_gives_up_leaves_the_others(void **state)
{
    struct turnstile t = {0};
    struct turnstile_place places[3] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(places); i++)
        turnstile_enter(&t, &places[i], i + 1);
    turnstile_leave(&t, &places[1]);
    turnstile_leave(&t, &places[1]);
    assert_ptr_equal(turnstile_next(&t), &places[0]);
    turnstile_leave(&t, &places[0]);
    assert_ptr_equal(turnstile_next(&t), &places[2]);
    assert_null(turnstile_next(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_clients_take_turns),
        cmocka_unit_test(who_gives_up_leaves_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
