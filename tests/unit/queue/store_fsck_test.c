/* Damage: what the check finds, what reads make of it, and where quarantine leaves the queue. */
#include "tests/support/queue_kit.h"

static const struct bytes lane_two = BYTES_INIT("mx:two.example");

static struct bytes key_id(struct row_key *key, uint64_t id)
{
    row_key_id(key, (struct message_id){id});
    return row_key_bytes(key);
}

static struct bytes key_id_n(struct row_key *key, uint64_t id, uint32_t n)
{
    row_key_id_n(key, (struct message_id){id}, n);
    return row_key_bytes(key);
}

static struct bytes key_due(struct row_key *key, struct bytes lane, int64_t at, uint64_t id, uint32_t n)
{
    row_key_due(key, lane, (struct walltime){at}, (struct message_id){id}, n);
    return row_key_bytes(key);
}

static uint32_t quarantine(struct kit *kit)
{
    uint32_t count;

    assert_ok(store_begin(kit->store));
    assert_ok(store_quarantine_noted(kit->store, &count));
    assert_ok(store_commit(kit->store));
    return count;
}

/* The ids that the lane still offers, in order; what is damaged on the way is noted. */
static size_t lane_ids(struct kit *kit, struct bytes lane, uint64_t *ids, size_t ids_max)
{
    struct store_due row = {0};
    size_t count = 0;

    assert_ok(store_read_begin(kit->store));
    while (is_ok(store_due_next(kit->store, lane, &row, &row))) {
        struct envelope_head head;
        struct recipient rcpt;
        struct bytes body;
        assert_true(count < ids_max);
        if (is_ok(store_message_get(kit->store, row.id, &head)) &&
            is_ok(store_recipient_get(kit->store, row.id, row.n, &rcpt)) &&
            is_ok(store_body_get(kit->store, row.id, 0, 10, &body)))
            ids[count++] = row.id.value;
        row = store_due_after(&row);
    }
    store_read_end(kit->store);
    return count;
}

static void assert_lane(struct kit *kit, const uint64_t *expected, size_t count)
{
    uint64_t ids[16];

    assert_int_equal(lane_ids(kit, lane_two, ids, COUNT_OF(ids)), count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
}

/* --- the check --- */

static void test_check_finds(void **state)
{
    struct kit *kit = *state;
    struct row_key key;
    uint8_t empty[ROW_HEADER_SIZE];
    struct buf due = row_buf(empty, sizeof empty);
    struct store_fsck f;

    kit_message_to(kit, 1, 2, lane_two, 10);
    kit_assert_clean(kit);
    /* one finding after the other; each state holds those before it too */
    kit_raw_put(kit, "lane_due", key_due(&key, lane_two, 10, 1, 1), NULL);
    kit_open(kit);
    f = kit_fsck(kit);
    assert_int_equal(f.missing_due, 1);
    assert_false(store_fsck_clean(&f));

    struct bytes elsewhere = key_due(&key, BYTES("mx:else"), 10, 1, 1);
    row_seal(elsewhere, &due);
    struct bytes row = buf_bytes(&due);
    kit_raw_put(kit, "lane_due", elsewhere, &row);
    kit_open(kit);
    f = kit_fsck(kit);
    assert_int_equal(f.orphan_due, 1);

    kit_raw_put(kit, "body", key_id_n(&key, 1, 0), NULL);
    kit_open(kit);
    f = kit_fsck(kit);
    assert_int_equal(f.missing_bodies, 1);

    kit_raw_put(kit, "message", key_id(&key, 1), NULL);
    kit_open(kit);
    f = kit_fsck(kit);
    assert_int_equal(f.orphan_recipients, 2);
    assert_int_equal(f.messages, 0);

    assert_ok(store_begin(kit->store));
    assert_ok(store_body_put(kit->store, (struct message_id){77}, 0, BYTES("lost")));
    struct envelope_head head = kit_head(78, 0, 0);
    assert_ok(store_message_put(kit->store, &head));
    assert_ok(store_commit(kit->store));
    f = kit_fsck(kit);
    assert_int_equal(f.orphan_bodies, 1);
    assert_int_equal(f.empty_messages, 1);
    assert_int_equal(f.damaged, 0);
    assert_false(store_fsck_clean(&f));
}

/* The names of those whom an expanded message goes to. */
static void test_check_finds_names(void **state)
{
    struct kit *kit = *state;
    struct envelope_head head = kit_head(5, 0, 3);
    struct recipient rcpt = {.n = 1, .forward_path = BYTES("Ann@home.test"), .lane = BYTES("local"), .parent = 1};
    struct store_fsck f;
    bool fresh;

    assert_ok(store_begin(kit->store));
    assert_ok(store_message_put(kit->store, &head));
    assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    assert_ok(store_seen_put(kit->store, head.id, BYTES("ann@home.test"), &fresh));
    rcpt = (struct recipient){.n = 2, .forward_path = BYTES("list@home.test"), .lane = BYTES("pipe:x"), .parent = 1};
    assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    assert_ok(store_seen_put(kit->store, head.id, BYTES("pipe:x"), &fresh));
    assert_ok(store_commit(kit->store));
    f = kit_fsck(kit);
    assert_int_equal(f.seen_rows, 2);
    assert_true(store_fsck_clean(&f));

    assert_ok(store_begin(kit->store));
    rcpt.n = 3;
    rcpt.lane = BYTES("file:/y");
    assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    assert_ok(store_seen_put(kit->store, (struct message_id){9}, BYTES("b@home.test"), &fresh));
    assert_ok(store_commit(kit->store));
    f = kit_fsck(kit);
    assert_int_equal(f.missing_seen, 1);
    assert_int_equal(f.orphan_seen, 1);
    assert_int_equal(f.seen_rows, 3);
    assert_false(store_fsck_clean(&f));
}

static void say_count(void *context, struct bytes line)
{
    size_t *lines = context;

    assert_true(line.size > 0 && bytes_index(line, '\n') == BYTES_NOT_FOUND);
    ++*lines;
}

static void test_check_finds_each_damaged_row(void **state)
{
    struct kit *kit = *state;
    struct lane_health health = {.failures = 1};
    struct row_key key;
    struct store_fsck f;
    size_t lines = 0;

    kit_message(kit, 1, lane_two, 10);
    assert_ok(store_begin(kit->store));
    assert_ok(store_lane_put(kit->store, lane_two, &health));
    assert_ok(store_history_put(kit->store, (struct message_id){1}, (struct walltime){5}, BYTES("attempt")));
    assert_ok(store_commit(kit->store));
    kit_assert_clean(kit);
    kit_damage(kit, "message", key_id(&key, 1), 9);
    kit_damage(kit, "body", key_id_n(&key, 1, 0), ROW_HEADER_SIZE + 4);
    kit_damage(kit, "recipient", key_id_n(&key, 1, 0), 0);
    kit_damage(kit, "lane_due", key_due(&key, lane_two, 10, 1, 0), 3);
    kit_damage(kit, "lane", lane_two, ROW_HEADER_SIZE);
    kit_damage(kit, "history", key_id_n(&key, 1, 0), ROW_HEADER_SIZE + 8);
    assert_ok(store_fsck(kit->store, &f, say_count, &lines));
    assert_int_equal(f.damaged, 6);
    assert_true(lines >= 6);
}

/* --- quarantine --- */

static void test_damaged_head_takes_its_message(void **state)
{
    struct kit *kit = *state;
    struct row_key key;
    struct envelope_head head = {0};

    kit_message_to(kit, 1, 3, lane_two, 10);
    kit_message(kit, 2, lane_two, 20);
    kit_damage(kit, "message", key_id(&key, 1), ROW_HEADER_SIZE + 20);
    assert_ok(store_read_begin(kit->store));
    assert_code(store_message_get(kit->store, (struct message_id){1}, &head), CODE_CORRUPT);
    assert_ok(store_message_next(kit->store, (struct message_id){0}, &head)); /* skipped by the walk */
    assert_int_equal(head.id.value, 2);
    store_read_end(kit->store);
    assert_lane(kit, (uint64_t[]){2}, 1);
    assert_int_equal(quarantine(kit), 5); /* head, chunk, three recipients */
    assert_int_equal(quarantine(kit), 0);
    struct store_stats stats = kit_stats(kit);
    assert_int_equal(stats.quarantine, 5);
    assert_int_equal(stats.due_rows, 1);
    assert_lane(kit, (uint64_t[]){2}, 1);
    kit_assert_clean(kit);
}

static void test_damaged_body_takes_its_message(void **state)
{
    struct kit *kit = *state;
    struct row_key key;

    kit_message(kit, 1, lane_two, 10);
    kit_message(kit, 2, lane_two, 20);
    kit_damage(kit, "body", key_id_n(&key, 1, 0), ROW_HEADER_SIZE);
    assert_lane(kit, (uint64_t[]){2}, 1);
    assert_int_equal(quarantine(kit), 3);
    assert_int_equal(kit_stats(kit).due_rows, 1);
    kit_assert_clean(kit);
}

/* Its lane is not stalled, the others are delivered, and then head and body wait beside it in quarantine. */
static void test_damaged_recipient(void **state)
{
    struct kit *kit = *state;
    struct row_key key;
    struct recipient rcpt = kit_rcpt(1, lane_two, 10);
    bool done;

    kit_message_to(kit, 1, 2, lane_two, 10);
    kit_message(kit, 2, lane_two, 20);
    kit_damage(kit, "recipient", key_id_n(&key, 1, 0), ROW_HEADER_SIZE + 10);
    assert_lane(kit, (uint64_t[]){1, 2}, 2); /* n 1 of the first, and the second */
    assert_int_equal(quarantine(kit), 1);
    assert_int_equal(kit_stats(kit).due_rows, 2);
    kit_assert_clean(kit);
    assert_ok(store_begin(kit->store));
    assert_ok(store_recipient_delete(kit->store, (struct message_id){1}, &rcpt));
    assert_ok(store_message_finish(kit->store, (struct message_id){1}, &done));
    assert_ok(store_commit(kit->store));
    assert_true(done);
    assert_int_equal(kit_stats(kit).quarantine, 3);
    assert_int_equal(kit_stats(kit).messages, 1);
    kit_assert_clean(kit);
}

static void test_damaged_place_is_made_again(void **state)
{
    struct kit *kit = *state;
    struct row_key key;

    kit_message(kit, 1, lane_two, 10);
    kit_message(kit, 2, lane_two, 20);
    kit_damage(kit, "lane_due", key_due(&key, lane_two, 10, 1, 0), 2);
    assert_lane(kit, (uint64_t[]){2}, 1);
    assert_int_equal(quarantine(kit), 1);
    assert_lane(kit, (uint64_t[]){1, 2}, 2);
    kit_assert_clean(kit);
}

static void test_damaged_lane_and_history(void **state)
{
    struct kit *kit = *state;
    struct lane_health health = {.failures = 2};
    struct bytes lane = BYTES_NONE, row;
    struct row_key key;
    struct walltime at;
    uint64_t cursor = 0;

    assert_ok(store_begin(kit->store));
    assert_ok(store_lane_put(kit->store, BYTES("a"), &health));
    assert_ok(store_lane_put(kit->store, BYTES("b"), &health));
    assert_ok(store_history_put(kit->store, (struct message_id){1}, (struct walltime){5}, BYTES("first")));
    assert_ok(store_history_put(kit->store, (struct message_id){1}, (struct walltime){6}, BYTES("second")));
    assert_ok(store_commit(kit->store));
    kit_damage(kit, "lane", BYTES("a"), ROW_HEADER_SIZE);
    kit_damage(kit, "history", key_id_n(&key, 1, 0), ROW_HEADER_SIZE + 1);
    assert_ok(store_read_begin(kit->store));
    assert_ok(store_lane_next(kit->store, lane, &lane, &health));
    assert_true(bytes_equal(lane, BYTES("b")));
    assert_ok(store_history_next(kit->store, (struct message_id){1}, &cursor, &at, &row));
    assert_true(bytes_equal(row, BYTES("second")));
    store_read_end(kit->store);
    assert_int_equal(quarantine(kit), 2);
    kit_assert_clean(kit);
}

/* The row of the last id is lost: no id that any row names comes again. */
static void test_damaged_last_id(void **state)
{
    struct kit *kit = *state;
    struct message_id id;

    assert_ok(store_begin(kit->store));
    assert_ok(store_ids_reserve(kit->store, 100, 50, &id));
    assert_ok(store_commit(kit->store));
    kit_message(kit, 120, lane_two, 0);
    kit_damage(kit, "meta", BYTES("last_id"), ROW_HEADER_SIZE + 7);
    assert_ok(store_begin(kit->store));
    assert_ok(store_ids_reserve(kit->store, 0, 1, &id));
    assert_ok(store_commit(kit->store));
    assert_int_equal(id.value, 121);
    assert_int_equal(quarantine(kit), 0); /* replaced since it was noted */
    kit_assert_clean(kit);
}

/* A damaged message that the postmaster deletes leaves nothing in the schedule. */
static void test_delete_with_damaged_rows(void **state)
{
    struct kit *kit = *state;
    struct row_key key;

    kit_message_to(kit, 1, 3, lane_two, 10);
    kit_damage(kit, "recipient", key_id_n(&key, 1, 1), ROW_HEADER_SIZE + 10);
    kit_damage(kit, "message", key_id(&key, 1), ROW_HEADER_SIZE + 10);
    assert_ok(store_begin(kit->store));
    assert_ok(store_message_delete(kit->store, (struct message_id){1}));
    assert_ok(store_commit(kit->store));
    struct store_stats stats = kit_stats(kit);
    assert_int_equal(stats.messages + stats.recipients + stats.due_rows, 0);
    kit_assert_clean(kit);
}

/* More damage than is remembered at once is settled over several rounds. */
static void test_much_damage(void **state)
{
    struct kit *kit = *state;
    struct row_key key;
    uint64_t ids[128];

    for (uint64_t id = 1; id <= 70; id++)
        kit_message(kit, id, lane_two, (int64_t)id);
    for (uint64_t id = 1; id <= 69; id++)
        kit_damage(kit, "recipient", key_id_n(&key, id, 0), ROW_HEADER_SIZE + 9);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(lane_ids(kit, lane_two, ids, COUNT_OF(ids)), 1);
        quarantine(kit);
    }
    assert_int_equal(ids[0], 70);
    assert_int_equal(kit_stats(kit).due_rows, 1);
    assert_int_equal(kit_stats(kit).quarantine, 69);
}

/* Every single bit of every stored octet of a small message: never a crash, always noticed. */
static void test_every_bit(void **state)
{
    struct kit *kit = *state;
    struct row_key key;
    static uint8_t room[4096];
    struct envelope_head head;
    struct recipient rcpt;

    kit_message(kit, 1, lane_two, 10);
    size_t size = kit_raw_get(kit, "message", key_id(&key, 1), room, sizeof room);
    for (size_t bit = 0; bit < size * 8; bit++) {
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_code(row_message_open(row_key_bytes(&key), (struct bytes){room, size}, &head), CODE_CORRUPT);
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_ok(row_message_open(row_key_bytes(&key), (struct bytes){room, size}, &head));
    size = kit_raw_get(kit, "recipient", key_id_n(&key, 1, 0), room, sizeof room);
    for (size_t cut = 0; cut < size; cut++)
        assert_code(row_recipient_open(row_key_bytes(&key), (struct bytes){room, cut}, &rcpt), CODE_CORRUPT);
    assert_ok(row_recipient_open(row_key_bytes(&key), (struct bytes){room, size}, &rcpt));
    assert_code(row_recipient_open(key_id_n(&key, 1, 1), (struct bytes){room, size}, &rcpt), CODE_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_check_finds),
        TEST(test_check_finds_names),
        TEST(test_check_finds_each_damaged_row),
        TEST(test_damaged_head_takes_its_message),
        TEST(test_damaged_body_takes_its_message),
        TEST(test_damaged_recipient),
        TEST(test_damaged_place_is_made_again),
        TEST(test_damaged_lane_and_history),
        TEST(test_damaged_last_id),
        TEST(test_delete_with_damaged_rows),
        TEST(test_much_damage),
        TEST(test_every_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
