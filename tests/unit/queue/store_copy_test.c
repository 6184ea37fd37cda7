/* Copies of the queue, as backup and compact make them, and what an operator is told of damaged rows before they are moved. */
#include "tests/support/queue_kit.h"

static const struct bytes lane_two = BYTES_INIT("mx:two.example");

static void test_a_copy_is_the_same_queue(void **state)
{
    struct kit *kit = *state, copy = {.size_max = kit->size_max, .index_tail = kit->index_tail};
    struct envelope_head head;
    struct bytes body;

    for (uint64_t id = 1; id <= 40; id++)
        kit_message_to(kit, id, 3, lane_two, 5000);
    folder_make(copy.folder);
    assert_ok(store_copy(kit->store, copy.folder, true));
    kit_message(kit, 41, lane_two, 5000); /* later: not in the copy */
    kit_open(&copy);
    kit_assert_clean(&copy);
    assert_int_equal(kit_stats(&copy).messages, 40);
    assert_int_equal(kit_stats(&copy).recipients, 120);
    assert_int_equal(kit_stats(&copy).due_rows, 120);
    assert_int_equal(kit_stats(kit).messages, 41);
    assert_ok(store_read_begin(copy.store));
    assert_ok(store_message_get(copy.store, (struct message_id){40}, &head));
    assert_ok(store_body_get(copy.store, head.id, 0, SIZE_MAX, &body));
    assert_true(bytes_equal(body, BYTES("Hi!\r\n")));
    store_read_end(copy.store);
    store_close(&copy.store);
    folder_remove(copy.folder);
}

static void test_a_copy_that_cannot_be_made(void **state)
{
    struct kit *kit = *state;
    static char long_name[PATH_MAX + 10];

    kit_message(kit, 1, lane_two, 5000);
    assert_code(store_copy(kit->store, "/nowhere/at/all", true), CODE_IO);
    memset(long_name, 'x', sizeof long_name - 1);
    assert_false(is_ok(store_copy(kit->store, long_name, true)));
    assert_false(is_ok(store_copy(kit->store, kit->folder, true))); /* over itself: LMDB makes no file that is there */
    kit_assert_clean(kit);
    assert_int_equal(kit_stats(kit).messages, 1);
}

static void test_noted_rows_have_names(void **state)
{
    struct kit *kit = *state;
    struct store_noted noted;
    struct row_key key;
    struct recipient rcpt;
    struct envelope_head head;
    uint32_t count;

    kit_message_to(kit, 7, 2, lane_two, 5000);
    kit_message(kit, 8, lane_two, 5000);
    row_key_id_n(&key, (struct message_id){7}, 1);
    kit_damage(kit, "recipient", row_key_bytes(&key), ROW_HEADER_SIZE);
    row_key_id(&key, (struct message_id){8});
    kit_damage(kit, "message", row_key_bytes(&key), ROW_HEADER_SIZE);
    assert_false(store_noted(kit->store, 0, &noted));
    assert_ok(store_read_begin(kit->store));
    assert_code(store_recipient_get(kit->store, (struct message_id){7}, 1, &rcpt), CODE_CORRUPT);
    assert_code(store_message_get(kit->store, (struct message_id){8}, &head), CODE_CORRUPT);
    store_read_end(kit->store);
    assert_true(store_noted(kit->store, 0, &noted));
    assert_string_equal(noted.table, "recipient");
    assert_int_equal(noted.id.value, 7);
    assert_int_equal(noted.n, 1);
    assert_true(store_noted(kit->store, 1, &noted));
    assert_string_equal(noted.table, "message");
    assert_int_equal(noted.id.value, 8);
    assert_false(store_noted(kit->store, 2, &noted));
    assert_ok(store_begin(kit->store));
    assert_ok(store_quarantine_noted(kit->store, &count));
    assert_ok(store_commit(kit->store));
    assert_true(count >= 2);
    assert_false(store_noted(kit->store, 0, &noted));
    kit_assert_clean(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_copy_is_the_same_queue, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_a_copy_that_cannot_be_made, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_noted_rows_have_names, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests_name("queue/store_copy", tests, NULL, NULL);
}
