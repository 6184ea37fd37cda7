/* clear_hosts: each for its hour, by its whole key; the table is bounded and the oldest goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/outbound/clear_hosts.h"

static struct clear_hosts table;

static int empty(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    return 0;
}

static bool has(const char *key, int64_t now_ms)
{
    return clear_hosts_has(&table, bytes_of(key), (struct instant){now_ms});
}

static void put(const char *key, int64_t now_ms)
{
    clear_hosts_put(&table, bytes_of(key), (struct instant){now_ms});
}

static void for_its_key_and_time(void **state)
{
    (void)state;
    assert_false(has("mx.one.test 192.0.2.1 25", 1000));
    put("mx.one.test 192.0.2.1 25", 1000);
    assert_true(has("mx.one.test 192.0.2.1 25", 1000));
    assert_false(has("mx.two.test 192.0.2.1 25", 1000));
    assert_false(has("mx.one.test 192.0.2.2 25", 1000));
    assert_false(has("mx.one.test 192.0.2.1 2", 1000));
    assert_true(has("mx.one.test 192.0.2.1 25", 999 + CLEAR_HOSTS_KEEP_MS));
    assert_false(has("mx.one.test 192.0.2.1 25", 1000 + CLEAR_HOSTS_KEEP_MS));
    assert_int_equal(0, table.count);
}

static void again_begins_its_time_anew(void **state)
{
    (void)state;
    put("a", 0);
    put("b", 5);
    put("a", 10);
    assert_int_equal(2, table.count);
    assert_false(has("b", 5 + CLEAR_HOSTS_KEEP_MS));
    assert_true(has("a", 9 + CLEAR_HOSTS_KEEP_MS));
    assert_false(has("a", 10 + CLEAR_HOSTS_KEEP_MS));
}

static const char *name(int i)
{
    static char text[16];

    snprintf(text, sizeof text, "k%d", i);
    return text;
}

static void the_oldest_goes(void **state)
{
    (void)state;
    for (int i = 0; i < CLEAR_HOSTS_COUNT_MAX; i++)
        put(name(i), i);
    put(name(0), CLEAR_HOSTS_COUNT_MAX);
    assert_true(has(name(1), 2000)); /* what is there needs no new place */
    put("new", 2000);
    assert_int_equal(CLEAR_HOSTS_COUNT_MAX, table.count);
    assert_true(has("new", 2000));
    assert_false(has(name(1), 2000));
    assert_true(has(name(0), 2000));
    for (int i = 2; i < CLEAR_HOSTS_COUNT_MAX; i++)
        assert_true(has(name(i), 2000));
}

static void one_that_ends_leaves_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < CLEAR_HOSTS_COUNT_MAX; i++)
        put(name(i), i);
    assert_false(has(name(0), CLEAR_HOSTS_KEEP_MS));
    assert_int_equal(CLEAR_HOSTS_COUNT_MAX - 1, table.count);
    for (int i = 1; i < CLEAR_HOSTS_COUNT_MAX; i++)
        assert_true(has(name(i), CLEAR_HOSTS_KEEP_MS));
    put("new", CLEAR_HOSTS_KEEP_MS);
    assert_true(has(name(1), CLEAR_HOSTS_KEEP_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(for_its_key_and_time, empty),
        cmocka_unit_test_setup(again_begins_its_time_anew, empty),
        cmocka_unit_test_setup(the_oldest_goes, empty),
        cmocka_unit_test_setup(one_that_ends_leaves_the_others, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
