/* Recipients held before their time: a mark beside the row reads as a state of its own, through every reader, over reopening, and goes
 * with whatever else happens to the recipient. */
#include "tests/support/queue_kit.h"

static const struct message_id one = {1};

static struct recipient rcpt_of(uint32_t n)
{
    return (struct recipient){
        .n = n, .forward_path = BYTES("a@one.test"), .lane = BYTES("mx:any"), .next_try = {1000000 + n}, .attempts = 1};
}

/* A message of three waiting recipients, the second of them held. */
static void fill(struct kit *kit)
{
    struct envelope_head head = kit_head(one.value, 0, 3);
    struct recipient rcpt;

    assert_ok(store_begin(kit->store));
    assert_ok(store_message_put(kit->store, &head));
    for (uint32_t n = 0; n < 3; n++) {
        rcpt = rcpt_of(n);
        assert_ok(store_recipient_put(kit->store, one, &rcpt));
    }
    assert_ok(store_commit(kit->store));
    rcpt = rcpt_of(1);
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_park(kit->store, one, &rcpt));
    assert_ok(store_commit(kit->store));
}

static enum recipient_state state_of(struct kit *kit, uint32_t n)
{
    struct recipient rcpt;

    assert_ok(store_read_begin(kit->store));
    assert_ok(store_recipient_get(kit->store, one, n, &rcpt));
    enum recipient_state state = rcpt.state;
    store_read_end(kit->store);
    return state;
}

static void test_every_reader_sees_it(void **state)
{
    struct kit *kit = *state;
    struct store_place place = {{0}, 0};
    struct message_id id;
    struct recipient rcpt;
    uint64_t cursor = 0;

    fill(kit);
    kit_reopen(kit);
    assert_int_equal(kit_stats(kit).parked, 1);
    assert_int_equal(state_of(kit, 1), RECIPIENT_PARKED);
    assert_int_equal(state_of(kit, 0), RECIPIENT_WAITING);
    assert_ok(store_read_begin(kit->store));
    for (uint32_t n = 0; n < 3; n++) {
        assert_ok(store_recipient_walk(kit->store, &place, &id, &rcpt));
        assert_int_equal(rcpt.state, n == 1 ? RECIPIENT_PARKED : RECIPIENT_WAITING);
        assert_ok(store_recipient_next(kit->store, one, &cursor, &rcpt));
        assert_int_equal(rcpt.state, n == 1 ? RECIPIENT_PARKED : RECIPIENT_WAITING);
    }
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

static void update(struct kit *kit, enum recipient_state from, enum recipient_state to, int64_t next)
{
    struct recipient before = rcpt_of(1), after = before;

    before.state = from;
    after.state = to;
    after.next_try.ms = next;
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_update(kit->store, one, &before, &after));
    assert_ok(store_commit(kit->store));
    kit_assert_clean(kit);
}

static void test_what_changes_it_takes_the_mark(void **state)
{
    struct kit *kit = *state;
    static const enum recipient_state to[] = {
        RECIPIENT_WAITING, RECIPIENT_HELD, RECIPIENT_PARKED, RECIPIENT_DELETED_HELD};

    for (size_t i = 0; i < COUNT_OF(to); i++) {
        fill(kit);
        update(kit, RECIPIENT_PARKED, to[i], 1000001);
        assert_int_equal(state_of(kit, 1), to[i]);
        assert_int_equal(kit_stats(kit).parked, to[i] == RECIPIENT_PARKED);
        assert_ok(store_begin(kit->store));
        assert_ok(store_message_delete(kit->store, one));
        assert_ok(store_commit(kit->store));
        kit_assert_clean(kit);
        assert_int_equal(kit_stats(kit).parked, 0);
    }
}

static void test_it_goes_with_its_recipient(void **state)
{
    struct kit *kit = *state;
    struct recipient rcpt = rcpt_of(1);

    fill(kit);
    rcpt.state = RECIPIENT_PARKED;
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_delete(kit->store, one, &rcpt));
    rcpt.state = RECIPIENT_WAITING;
    assert_ok(store_recipient_put(kit->store, one, &rcpt));
    assert_ok(store_commit(kit->store));
    assert_int_equal(state_of(kit, 1), RECIPIENT_WAITING);
    kit_assert_clean(kit);
}

/* A transaction that was abandoned leaves neither mark nor count. */
static void test_abandoned(void **state)
{
    struct kit *kit = *state;
    struct recipient rcpt = rcpt_of(0);

    fill(kit);
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_park(kit->store, one, &rcpt));
    store_abandon(kit->store);
    assert_int_equal(state_of(kit, 0), RECIPIENT_WAITING);
    assert_int_equal(kit_stats(kit).parked, 1);
}

static void test_the_check_finds_a_mark_of_nobody(void **state)
{
    struct kit *kit = *state;
    static const uint8_t nobody[12] = {0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5};
    struct bytes nothing = {nobody, 0};
    struct store_fsck found;

    fill(kit);
    store_close(&kit->store);
    kit_raw_put(kit, "held", (struct bytes){nobody, sizeof nobody}, &nothing);
    kit_open(kit);
    assert_ok(store_fsck(kit->store, &found, NULL, NULL));
    assert_int_equal(found.orphan_held, 1);
    assert_false(store_fsck_clean(&found));
}

/* A queue of the schema before has no marks; read only it is read as it is, opened for writing it may have some. */
static void test_schema_2_is_taken_over(void **state)
{
    struct kit *kit = *state;
    uint8_t room[ROW_HEADER_SIZE + 4];
    struct buf value = row_buf(room, sizeof room);
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max, .read_only = true};

    fill(kit);
    store_close(&kit->store);
    assert_ok(wire_put_u32(&value, 2));
    row_seal(BYTES("schema"), &value);
    struct bytes row = buf_bytes(&value);
    kit_raw_put(kit, "meta", BYTES("schema"), &row);
    kit_raw_drop(kit, "held");
    assert_ok(store_open(&cfg, &kit->store));
    assert_int_equal(state_of(kit, 1), RECIPIENT_WAITING);
    kit_assert_clean(kit);
    store_close(&kit->store);
    kit_open(kit);
    struct recipient rcpt = rcpt_of(1);
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_park(kit->store, one, &rcpt));
    assert_ok(store_commit(kit->store));
    assert_int_equal(state_of(kit, 1), RECIPIENT_PARKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        TEST(test_every_reader_sees_it),
        TEST(test_what_changes_it_takes_the_mark),
        TEST(test_it_goes_with_its_recipient),
        TEST(test_abandoned),
        TEST(test_the_check_finds_a_mark_of_nobody),
        TEST(test_schema_2_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
