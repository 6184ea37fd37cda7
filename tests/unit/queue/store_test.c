/* The store through its face: what is put is got, schedule and lanes walk in order, a reopened queue is the same queue. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/queue_kit.h"

static const struct bytes lane_two = BYTES_INIT("mx:two.example");

/* --- messages --- */

static void test_message_round_trip(void **state)
{
    struct kit *kit = *state;
    struct envelope_head head;
    struct recipient rcpt;
    struct bytes body;
    uint64_t cursor = 0;
    bool done;

    kit_message(kit, 7, lane_two, 5000);
    kit_reopen(kit);
    assert_ok(store_read_begin(kit->store));
    assert_ok(store_message_get(kit->store, (struct message_id){7}, &head));
    assert_true(bytes_equal(head.subject, BYTES("Hello")));
    assert_ok(store_body_get(kit->store, head.id, 0, SIZE_MAX, &body));
    assert_true(bytes_equal(body, BYTES("Hi!\r\n")));
    assert_ok(store_body_get(kit->store, head.id, 2, 2, &body));
    assert_true(bytes_equal(body, BYTES("!\r")));
    assert_code(store_body_get(kit->store, head.id, 5, 1, &body), CODE_GONE);
    assert_code(store_body_get(kit->store, head.id, UINT64_MAX, 1, &body), CODE_GONE);
    assert_ok(store_recipient_next(kit->store, head.id, &cursor, &rcpt));
    assert_true(bytes_equal(rcpt.lane, lane_two));
    assert_code(store_recipient_next(kit->store, head.id, &cursor, &rcpt), CODE_GONE);
    assert_code(store_message_get(kit->store, (struct message_id){8}, &head), CODE_GONE);
    store_read_end(kit->store);
    kit_assert_clean(kit);

    rcpt = kit_rcpt(0, lane_two, 5000);
    assert_ok(store_begin(kit->store));
    assert_ok(store_message_finish(kit->store, (struct message_id){7}, &done));
    assert_false(done);
    assert_ok(store_recipient_delete(kit->store, (struct message_id){7}, &rcpt));
    assert_code(store_recipient_delete(kit->store, (struct message_id){7}, &rcpt), CODE_GONE);
    assert_ok(store_message_finish(kit->store, (struct message_id){7}, &done));
    assert_true(done);
    assert_code(store_message_finish(kit->store, (struct message_id){7}, &done), CODE_GONE);
    assert_ok(store_commit(kit->store));
    struct store_stats stats = kit_stats(kit);
    assert_int_equal(stats.messages + stats.recipients + stats.due_rows, 0);
    assert_ok(store_read_begin(kit->store));
    assert_code(store_body_get(kit->store, (struct message_id){7}, 0, 1, &body), CODE_GONE);
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

static void test_large_body_in_slices(void **state)
{
    struct kit *kit = *state;
    static uint8_t body[2 * BODY_CHUNK_SIZE_MAX + 1000];
    struct envelope_head head = kit_head(3, sizeof body, 1);
    struct recipient rcpt = kit_rcpt(0, lane_two, 0);
    struct rng rng = {1};

    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)rng_next(&rng);
    assert_ok(store_begin(kit->store));
    for (uint32_t chunk = 0; chunk < 3; chunk++)
        assert_ok(store_body_put(kit->store, head.id, chunk,
            bytes_head(bytes_after((struct bytes){body, sizeof body}, (size_t)chunk * BODY_CHUNK_SIZE_MAX),
                BODY_CHUNK_SIZE_MAX)));
    assert_ok(store_message_put(kit->store, &head));
    assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    assert_ok(store_commit(kit->store));
    static const size_t slices[] = {1 << 20, BODY_CHUNK_SIZE_MAX, 65536, 1000, 4097};
    for (size_t i = 0; i < COUNT_OF(slices); i++) {
        size_t at = 0;
        struct bytes piece;
        while (at < sizeof body) { /* a turn for each slice */
            assert_ok(store_read_begin(kit->store));
            assert_ok(store_body_get(kit->store, head.id, at, slices[i], &piece));
            assert_true(piece.size <= slices[i] && piece.size <= sizeof body - at);
            assert_memory_equal(piece.data, body + at, piece.size);
            at += piece.size;
            store_read_end(kit->store);
        }
    }
    kit_assert_clean(kit);
}

static void test_ids_out_of_order_and_walks(void **state)
{
    struct kit *kit = *state;
    static const uint64_t put[] = {50, 10, 70, 60, 20}, sorted[] = {10, 20, 50, 60, 70};
    struct envelope_head head = {0};

    for (size_t i = 0; i < COUNT_OF(put); i++)
        kit_message(kit, put[i], lane_two, (int64_t)i);
    assert_ok(store_read_begin(kit->store));
    for (size_t i = 0; i < COUNT_OF(sorted); i++) {
        assert_ok(store_message_next(kit->store, head.id, &head));
        assert_int_equal(head.id.value, sorted[i]);
    }
    assert_code(store_message_next(kit->store, head.id, &head), CODE_GONE);
    assert_code(store_message_next(kit->store, (struct message_id){UINT64_MAX}, &head), CODE_GONE);
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

static void test_abandon_leaves_nothing(void **state)
{
    struct kit *kit = *state;
    struct envelope_head head = kit_head(9, 5, 1);
    struct recipient rcpt = kit_rcpt(0, lane_two, 0);
    struct bytes body;

    assert_ok(store_begin(kit->store));
    assert_ok(store_body_put(kit->store, head.id, 0, BYTES("first")));
    assert_ok(store_message_put(kit->store, &head));
    assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    assert_ok(store_body_get(kit->store, head.id, 0, 9, &body)); /* the transaction sees its own */
    assert_true(bytes_equal(body, BYTES("first")));
    store_abandon(kit->store);
    assert_int_equal(kit_stats(kit).messages, 0);
    kit_message(kit, 9, lane_two, 0);
    assert_ok(store_read_begin(kit->store));
    assert_ok(store_body_get(kit->store, head.id, 0, 9, &body));
    assert_true(bytes_equal(body, BYTES("Hi!\r\n")));
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

static void test_delete_whole_message(void **state)
{
    struct kit *kit = *state;

    kit_message_to(kit, 5, 7, lane_two, 100);
    kit_message(kit, 6, lane_two, 100);
    assert_ok(store_begin(kit->store));
    assert_ok(store_message_delete(kit->store, (struct message_id){5}));
    assert_code(store_message_delete(kit->store, (struct message_id){5}), CODE_GONE);
    assert_ok(store_commit(kit->store));
    struct store_stats stats = kit_stats(kit);
    assert_int_equal(stats.messages, 1);
    assert_int_equal(stats.recipients, 1);
    assert_int_equal(stats.due_rows, 1);
    kit_assert_clean(kit);
}

static void test_ids_only_grow(void **state)
{
    struct kit *kit = *state;
    struct message_id a, b, c, d, e;

    assert_ok(store_begin(kit->store));
    assert_ok(store_ids_reserve(kit->store, 1000, 10, &a));
    assert_ok(store_ids_reserve(kit->store, 5, 10, &b)); /* the clock went back */
    assert_ok(store_commit(kit->store));
    kit_reopen(kit);
    assert_ok(store_begin(kit->store));
    assert_ok(store_ids_reserve(kit->store, 0, 1, &c));
    store_abandon(kit->store);
    assert_ok(store_begin(kit->store));
    assert_ok(store_ids_reserve(kit->store, 0, 1, &d));
    assert_ok(store_ids_reserve(kit->store, 5000, 1, &e));
    assert_code(store_ids_reserve(kit->store, UINT64_MAX, 1, &e), CODE_FULL);
    assert_ok(store_commit(kit->store));
    assert_int_equal(a.value, 1000);
    assert_int_equal(b.value, 1010);
    assert_int_equal(c.value, 1020);
    assert_int_equal(d.value, 1020);
    assert_int_equal(e.value, 5000);
}

/* --- the schedule --- */

static void test_schedule_order(void **state)
{
    struct kit *kit = *state;
    struct store_due row = {0}, first;
    struct bytes lane = BYTES_NONE;

    kit_message(kit, 10, BYTES("mx:b.example"), 300);
    kit_message(kit, 11, BYTES("mx:b.example"), 100);
    kit_message(kit, 12, BYTES("mx:b.example"), -5);
    kit_message(kit, 13, BYTES("mx:b.example.org"), 1);
    kit_message(kit, 14, BYTES("local"), 900);
    assert_ok(store_read_begin(kit->store));
    static const uint64_t expected[] = {12, 11, 10};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_ok(store_due_next(kit->store, BYTES("mx:b.example"), &row, &row));
        assert_int_equal(row.id.value, expected[i]);
        row = store_due_after(&row);
    }
    assert_code(store_due_next(kit->store, BYTES("mx:b.example"), &row, &row), CODE_GONE);
    assert_code(store_due_next(kit->store, BYTES("mx:b"), &(struct store_due){0}, &row), CODE_GONE);
    static const char *const lanes[] = {"local", "mx:b.example", "mx:b.example.org"};
    static const uint64_t firsts[] = {14, 12, 13};
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        assert_ok(store_due_lane_next(kit->store, lane, &lane, &first));
        assert_true(bytes_equal(lane, bytes_of(lanes[i])));
        assert_int_equal(first.id.value, firsts[i]);
    }
    assert_code(store_due_lane_next(kit->store, lane, &lane, &first), CODE_GONE);
    store_read_end(kit->store);
}

static void test_due_after_carries(void **state)
{
    struct store_due row = {.next_try = {7}, .id = {3}, .n = UINT32_MAX};

    (void)state;
    row = store_due_after(&row);
    assert_true(row.next_try.ms == 7 && row.id.value == 4 && row.n == 0);
    row = (struct store_due){.next_try = {7}, .id = {UINT64_MAX}, .n = UINT32_MAX};
    row = store_due_after(&row);
    assert_true(row.next_try.ms == 8 && row.id.value == 0 && row.n == 0);
}

static void test_update_moves_in_the_schedule(void **state)
{
    struct kit *kit = *state;
    struct recipient before = kit_rcpt(0, lane_two, 100), after = before;
    struct message_id id = {5};
    struct store_due due;
    static const struct {
        const char *name;
        struct bytes lane;
        int64_t next_try;
        enum recipient_state held;
    } cases[] = {
        {"later in the same lane", BYTES_INIT("mx:two.example"), 900, RECIPIENT_WAITING},
        {"into another lane", BYTES_INIT("relay:[smtp.isp.example]:587"), 900, RECIPIENT_WAITING},
        {"held", BYTES_INIT("relay:[smtp.isp.example]:587"), 900, RECIPIENT_HELD},
        {"released", BYTES_INIT("relay:[smtp.isp.example]:587"), 50, RECIPIENT_WAITING},
        {"only its reply changes", BYTES_INIT("relay:[smtp.isp.example]:587"), 50, RECIPIENT_WAITING},
    };

    kit_message(kit, id.value, lane_two, 100);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        after.lane = cases[i].lane;
        after.next_try.ms = cases[i].next_try;
        after.state = cases[i].held;
        after.attempts++;
        assert_ok(store_begin(kit->store));
        assert_ok(store_recipient_update(kit->store, id, &before, &after));
        assert_ok(store_commit(kit->store));
        assert_ok(store_read_begin(kit->store));
        struct result r = store_due_next(kit->store, after.lane, &(struct store_due){0}, &due);
        store_read_end(kit->store);
        if (r.code != (after.state == RECIPIENT_WAITING ? CODE_OK : CODE_GONE) ||
            kit_stats(kit).due_rows != (is_ok(r) ? 1 : 0))
            fail_msg("%s", cases[i].name);
        kit_assert_clean(kit);
        before = after;
    }
    assert_ok(store_begin(kit->store));
    before.n = after.n = 9;
    assert_code(store_recipient_update(kit->store, id, &before, &after), CODE_GONE);
    store_abandon(kit->store);
}

/* --- lanes, history --- */

static void test_lane_health(void **state)
{
    struct kit *kit = *state;
    struct lane_health health = {.failures = 3, .slots = 2, .suspended_until = {99}, .last_error = BYTES("timed out")},
                       got;
    struct bytes lane = BYTES_NONE;

    assert_ok(store_begin(kit->store));
    assert_ok(store_lane_put(kit->store, BYTES("mx:b"), &health));
    assert_ok(store_lane_put(kit->store, BYTES("mx:b.c"), &health));
    health.failures = 4;
    assert_ok(store_lane_put(kit->store, BYTES("mx:b"), &health));
    assert_ok(store_lane_delete(kit->store, BYTES("mx:none")));
    assert_ok(store_commit(kit->store));
    assert_ok(store_read_begin(kit->store));
    assert_ok(store_lane_next(kit->store, lane, &lane, &got));
    assert_true(
        bytes_equal(lane, BYTES("mx:b")) && got.failures == 4 && bytes_equal(got.last_error, BYTES("timed out")));
    assert_ok(store_lane_next(kit->store, lane, &lane, &got));
    assert_true(bytes_equal(lane, BYTES("mx:b.c")) && got.failures == 3);
    assert_code(store_lane_next(kit->store, lane, &lane, &got), CODE_GONE);
    store_read_end(kit->store);
    assert_ok(store_begin(kit->store));
    assert_ok(store_lane_delete(kit->store, BYTES("mx:b")));
    assert_ok(store_commit(kit->store));
    assert_int_equal(kit_stats(kit).lanes, 1);
}

static void test_history(void **state)
{
    struct kit *kit = *state;
    struct walltime at;
    struct bytes row;
    uint64_t cursor = 0;
    uint32_t count;

    assert_ok(store_begin(kit->store));
    for (int64_t k = 0; k < 3; k++) {
        assert_ok(store_history_put(kit->store, (struct message_id){5}, (struct walltime){k * 100}, BYTES("five")));
        assert_ok(store_history_put(kit->store, (struct message_id){4}, (struct walltime){k * 1000}, BYTES("four")));
    }
    assert_ok(store_commit(kit->store));
    assert_ok(store_read_begin(kit->store));
    for (int64_t k = 0; k < 3; k++) {
        assert_ok(store_history_next(kit->store, (struct message_id){5}, &cursor, &at, &row));
        assert_true(at.ms == k * 100 && bytes_equal(row, BYTES("five")));
    }
    assert_code(store_history_next(kit->store, (struct message_id){5}, &cursor, &at, &row), CODE_GONE);
    store_read_end(kit->store);

    assert_ok(store_begin(kit->store)); /* one at a time, around */
    for (int round = 0; round < 4; round++)
        assert_ok(store_history_expire(kit->store, (struct walltime){500}, 1, &count));
    assert_int_equal(count, 1);
    assert_ok(store_history_expire(kit->store, (struct walltime){500}, 100, &count));
    assert_int_equal(count, 0);
    assert_ok(store_commit(kit->store));
    assert_int_equal(kit_stats(kit).history, 2);
    assert_ok(store_begin(kit->store)); /* k goes on behind the last */
    assert_ok(store_history_put(kit->store, (struct message_id){4}, (struct walltime){9}, BYTES("more")));
    assert_ok(store_commit(kit->store));
    cursor = 3;
    assert_ok(store_read_begin(kit->store));
    assert_ok(store_history_next(kit->store, (struct message_id){4}, &cursor, &at, &row));
    assert_true(bytes_equal(row, BYTES("more")));
    store_read_end(kit->store);
}

/* Expiry behind a long stretch of young rows is reached over several calls. */
static void test_history_expires_behind_young_rows(void **state)
{
    struct kit *kit = *state;
    uint32_t count, sum = 0;

    assert_ok(store_begin(kit->store));
    for (uint64_t id = 1; id <= 100; id++)
        assert_ok(store_history_put(
            kit->store, (struct message_id){id}, (struct walltime){id <= 90 ? 9999 : 1}, BYTES("row")));
    for (int call = 0; call < 20; call++) {
        assert_ok(store_history_expire(kit->store, (struct walltime){500}, 2, &count));
        sum += count;
    }
    assert_ok(store_commit(kit->store));
    assert_int_equal(sum, 10);
}

/* --- spilled bodies --- */

static void spill(struct kit *kit, uint64_t id)
{
    assert_ok(store_begin(kit->store));
    assert_ok(store_spill_mark(kit->store, (struct message_id){id}));
    assert_ok(store_body_put(kit->store, (struct message_id){id}, 0, BYTES("early")));
    assert_ok(store_commit(kit->store));
}

static void test_unpublished_is_swept(void **state)
{
    struct kit *kit = *state;
    struct bytes body;

    spill(kit, 20);
    spill(kit, 21);
    spill(kit, 22);
    kit_message(kit, 21, lane_two, 0); /* published: its chunk 0 is replaced, its mark goes */
    spill(kit, 23);
    kit_message(kit, 23, lane_two, 0); /* its mark must go by the publishing alone */
    assert_ok(store_begin(kit->store));
    assert_ok(store_spill_drop(kit->store, (struct message_id){22}));
    assert_ok(
        store_spill_drop(kit->store, (struct message_id){21})); /* a late drop does not touch what was published */
    assert_ok(store_commit(kit->store));
    assert_int_equal(kit_fsck(kit).unpublished, 1);
    kit_reopen(kit);
    assert_int_equal(kit_stats(kit).swept, 1);
    assert_int_equal(kit_fsck(kit).unpublished, 0);
    assert_int_equal(kit_fsck(kit).body_rows, 2);
    assert_ok(store_read_begin(kit->store));
    assert_code(store_body_get(kit->store, (struct message_id){20}, 0, 9, &body), CODE_GONE);
    assert_ok(store_body_get(kit->store, (struct message_id){21}, 0, 9, &body));
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

/* --- space --- */

static void test_grows_to_its_bound_and_keeps_a_reserve(void **state)
{
    struct kit *kit = *state;
    static uint8_t body[BODY_CHUNK_SIZE_MAX];
    uint64_t id = 1, room = 0;
    int grown = 0;

    store_close(&kit->store);
    kit->size_max = 100 << 20;
    kit_open(kit);
    assert_int_equal(kit_stats(kit).map_size, 64 << 20);
    for (;;) {
        struct envelope_head head = kit_head(id, sizeof body, 1);
        struct recipient rcpt = kit_rcpt(0, lane_two, 0);
        room = store_room(kit->store);
        if (room < sizeof body + 65536)
            break;
        assert_ok(store_begin(kit->store));
        struct result r = store_body_put(kit->store, head.id, 0, (struct bytes){body, sizeof body});
        if (is_ok(r))
            r = store_message_put(kit->store, &head);
        if (is_ok(r))
            r = store_recipient_put(kit->store, head.id, &rcpt);
        if (is_ok(r))
            r = store_commit(kit->store);
        if (!is_ok(r)) {
            assert_true(r.code == CODE_FULL && r.sys == MDB_MAP_FULL);
            store_abandon(kit->store);
            assert_ok(store_grow(kit->store));
            grown++;
            continue;
        }
        id++;
    }
    assert_int_equal(grown, 1);
    assert_int_equal(kit_stats(kit).map_size, 100 << 20);
    assert_code(store_grow(kit->store), CODE_FULL);
    assert_true(id > 280 && id < 360); /* of at most 400: the rest is the reserve */
    for (uint64_t done_id = 1; done_id < id;
         done_id++) { /* what was accepted can be finished, and its room comes back */
        struct recipient rcpt = kit_rcpt(0, lane_two, 0);
        bool done;
        assert_ok(store_begin(kit->store));
        assert_ok(store_recipient_delete(kit->store, (struct message_id){done_id}, &rcpt));
        assert_ok(store_message_finish(kit->store, (struct message_id){done_id}, &done));
        assert_ok(store_commit(kit->store));
    }
    assert_true(store_room(kit->store) > 80 << 20);
    kit_reopen(kit);
    assert_true(store_room(kit->store) > 80 << 20);
}

/* --- other processes, other versions --- */

static void test_second_writer_is_refused(void **state)
{
    struct kit *kit = *state;
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max};
    struct store *second = NULL;
    struct result r = store_open(&cfg, &second);

    assert_code(r, CODE_REFUSED);
    assert_non_null(strstr(r.why, "another process"));
    assert_null(second);
}

/* Killed in the middle of a transaction, locks held: the next open needs no hand. */
static void test_kill_leaves_no_lock(void **state)
{
    struct kit *kit = *state;
    int ready[2], status;

    kit_message(kit, 1, lane_two, 0);
    store_close(&kit->store);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max};
        struct envelope_head head = kit_head(2, 0, 1);
        struct store *s;
        if (is_ok(store_open(&cfg, &s)) && is_ok(store_read_begin(s))) {
            store_read_end(s);
            if (is_ok(store_begin(s)) && is_ok(store_message_put(s, &head)) && write(ready[1], "x", 1) == 1)
                pause();
        }
        _exit(1);
    }
    char octet;
    assert_int_equal(read(ready[0], &octet, 1), 1);
    close(ready[0]);
    close(ready[1]);
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max};
    assert_code(store_open(&cfg, &kit->store), CODE_REFUSED); /* while it lives */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    kit_open(kit);
    assert_int_equal(kit_stats(kit).messages, 1);
    kit_message(kit, 3, lane_two, 0);
    kit_assert_clean(kit);
}

static void test_newer_schema_is_refused(void **state)
{
    struct kit *kit = *state;
    uint8_t room[ROW_HEADER_SIZE + 4];
    struct buf value = row_buf(room, sizeof room);
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max};

    assert_ok(wire_put_u32(&value, STORE_SCHEMA + 1));
    row_seal(BYTES("schema"), &value);
    struct bytes row = buf_bytes(&value);
    kit_raw_put(kit, "meta", BYTES("schema"), &row);
    struct result r = store_open(&cfg, &kit->store);
    assert_code(r, CODE_REFUSED);
    assert_non_null(strstr(r.why, "newer"));
    kit_raw_put(kit, "meta", BYTES("schema"), NULL);
    assert_code(store_open(&cfg, &kit->store), CODE_CORRUPT);
}

static void test_read_only_beside_the_writer(void **state)
{
    struct kit *kit = *state;
    int status;

    kit_message(kit, 1, lane_two, 0);
    pid_t pid = fork(); /* LMDB forbids a second environment in one process */
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max, .read_only = true};
        struct envelope_head head;
        struct store *s;
        bool good = is_ok(store_open(&cfg, &s)) && is_ok(store_read_begin(s)) &&
                    is_ok(store_message_get(s, (struct message_id){1}, &head));
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    kit_message(kit, 2, lane_two, 0);
    struct store_config missing = {.path = "/nonexistent/queue", .size_max = 1 << 20, .read_only = true};
    struct store *none = NULL;
    assert_code(store_open(&missing, &none), CODE_IO);
    missing.read_only = false;
    assert_code(store_open(&missing, &none), CODE_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_message_round_trip),
        TEST(test_large_body_in_slices),
        TEST(test_ids_out_of_order_and_walks),
        TEST(test_abandon_leaves_nothing),
        TEST(test_delete_whole_message),
        TEST(test_ids_only_grow),
        TEST(test_schedule_order),
        cmocka_unit_test(test_due_after_carries),
        TEST(test_update_moves_in_the_schedule),
        TEST(test_lane_health),
        TEST(test_history),
        TEST(test_history_expires_behind_young_rows),
        TEST(test_unpublished_is_swept),
        TEST(test_grows_to_its_bound_and_keeps_a_reserve),
        TEST(test_second_writer_is_refused),
        TEST(test_kill_leaves_no_lock),
        TEST(test_newer_schema_is_refused),
        TEST(test_read_only_beside_the_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
