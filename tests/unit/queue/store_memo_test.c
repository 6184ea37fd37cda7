/* store_memo: memos are kept, replaced, walked in their order and forgotten; a damaged one is passed over. */
#include "tests/support/queue_kit.h"

static void put(struct kit *kit, const char *name, const char *value)
{
    assert_ok(store_begin(kit->store));
    assert_ok(store_memo_put(kit->store, bytes_of(name), bytes_of(value)));
    assert_ok(store_commit(kit->store));
}

/* "name=value name=value " of all there are. */
static const char *all(struct kit *kit)
{
    static char text[1024];
    uint8_t room[STORE_MEMO_NAME_SIZE_MAX];
    struct buf after = BUF(room);
    struct bytes name, value;
    struct result r;

    text[0] = 0;
    assert_ok(store_read_begin(kit->store));
    while (is_ok(r = store_memo_next(kit->store, buf_bytes(&after), &name, &value))) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%.*s=%.*s ", BYTES_ARG(name), BYTES_ARG(value));
        buf_reset(&after);
        assert_ok(buf_put(&after, name));
    }
    assert_code(r, CODE_GONE);
    store_read_end(kit->store);
    return text;
}

static void test_kept_in_order(void **state)
{
    struct kit *kit = *state;

    assert_string_equal(all(kit), "");
    put(kit, "login/b", "2");
    put(kit, "ban/x", "1");
    put(kit, "login/a", "");
    put(kit, "login/b", "3");
    assert_string_equal(all(kit), "ban/x=1 login/a= login/b=3 ");
    kit_reopen(kit);
    assert_string_equal(all(kit), "ban/x=1 login/a= login/b=3 ");
    assert_ok(store_begin(kit->store));
    assert_ok(store_memo_delete(kit->store, BYTES("login/a")));
    assert_ok(store_memo_delete(kit->store, BYTES("was never there")));
    assert_ok(store_commit(kit->store));
    assert_string_equal(all(kit), "ban/x=1 login/b=3 ");
}

static void test_bounds(void **state)
{
    struct kit *kit = *state;
    uint8_t name[STORE_MEMO_NAME_SIZE_MAX + 1], value[STORE_MEMO_SIZE_MAX + 1];

    memset(name, 'n', sizeof name);
    memset(value, 'v', sizeof value);
    assert_ok(store_begin(kit->store));
    assert_ok(store_memo_put(
        kit->store, (struct bytes){name, STORE_MEMO_NAME_SIZE_MAX}, (struct bytes){value, STORE_MEMO_SIZE_MAX}));
    assert_code(store_memo_put(kit->store, (struct bytes){name, sizeof name}, BYTES("")), CODE_REFUSED);
    assert_code(store_memo_put(kit->store, BYTES("x"), (struct bytes){value, sizeof value}), CODE_FULL);
    assert_ok(store_memo_delete(kit->store, (struct bytes){name, sizeof name}));
    assert_ok(store_commit(kit->store));
    assert_int_equal(strlen(all(kit)), STORE_MEMO_NAME_SIZE_MAX + STORE_MEMO_SIZE_MAX + 2);
}

static void test_damaged_ones_are_passed_over(void **state)
{
    struct kit *kit = *state;
    static const char key[] = "memo/ban/b";

    put(kit, "ban/a", "1");
    put(kit, "ban/b", "2");
    put(kit, "ban/c", "3");
    kit_damage(kit, "meta", (struct bytes){(const uint8_t *)key, sizeof key - 1}, ROW_HEADER_SIZE);
    assert_string_equal(all(kit), "ban/a=1 ban/c=3 ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    static const struct CMUnitTest tests[] = {
        TEST(test_kept_in_order),
        TEST(test_bounds),
        TEST(test_damaged_ones_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
