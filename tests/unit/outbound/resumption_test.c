/* resumption: each session serves once, only for its key, only for its time; the table is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/outbound/resumption.h"

static struct resumption table;
static uint8_t octets[RESUMPTION_SESSION_SIZE_MAX + 1];

static bool take(const char *key, int64_t now_ms, const char *expected)
{
    struct buf room = BUF(octets);

    return resumption_take(&table, bytes_of(key), (struct instant){now_ms}, &room) &&
           bytes_equal(buf_bytes(&room), bytes_of(expected));
}

static void once_for_its_key_and_time(void **state)
{
    (void)state;
    resumption_put(&table, BYTES("a"), BYTES("one"), (struct instant){1000});
    resumption_put(&table, BYTES("b"), BYTES("two"), (struct instant){1000});
    assert_false(take("c", 1000, ""));
    assert_true(take("a", 1000, "one"));
    assert_false(take("a", 1000, "one"));
    resumption_put(&table, BYTES("b"), BYTES("three"), (struct instant){1000});
    assert_true(take("b", 999 + RESUMPTION_KEEP_MS, "three"));
    resumption_put(&table, BYTES("b"), BYTES("four"), (struct instant){1000});
    assert_false(take("b", 1000 + RESUMPTION_KEEP_MS, "four"));
    resumption_fini(&table);
}

static void the_oldest_goes(void **state)
{
    char key[16];

    (void)state;
    for (int i = 0; i <= RESUMPTION_COUNT_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        resumption_put(&table, bytes_of(key), BYTES("s"), (struct instant){i});
    }
    assert_false(take("k0", 1000, "s"));
    assert_true(take("k1", 1000, "s"));
    assert_true(take("k256", 1000, "s"));
    resumption_fini(&table);
}

static void what_is_too_large(void **state)
{
    static uint8_t large[RESUMPTION_SESSION_SIZE_MAX + 1];

    (void)state;
    resumption_put(&table, BYTES("a"), (struct bytes){large, sizeof large}, (struct instant){0});
    resumption_put(&table, BYTES("b"), BYTES_NONE, (struct instant){0});
    resumption_put(&table, BYTES_NONE, BYTES("x"), (struct instant){0});
    resumption_put(&table, (struct bytes){large, RESUMPTION_KEY_SIZE_MAX + 1}, BYTES("x"), (struct instant){0});
    for (size_t i = 0; i < RESUMPTION_COUNT_MAX; i++)
        assert_null(table.entries[i].octets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(once_for_its_key_and_time), cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(what_is_too_large)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
