/* The store through its face: what is put is got, schedule and lanes walk in order, a reopened queue is the same. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/store.h"
#include "tests/support/folder.h"

static char folder[FOLDER_SIZE_MAX];
static struct store *store;

static struct store_config config(void)
{
    return (struct store_config){.path = folder, .size_max = 256 << 20};
}

static void reopen(void)
{
    struct store_config cfg = config();

    store_close(&store);
    assert_int_equal(store_open(&cfg, &store).code, CODE_OK);
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    reopen();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(&store);
    folder_remove(folder);
    return 0;
}

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)

static struct envelope_head head_of(uint64_t id, uint64_t body_size, uint32_t rcpt_count)
{
    return (struct envelope_head){.id = {id},
        .arrival = {1000},
        .reverse_path = BYTES("sender@one.example"),
        .body_size = body_size,
        .rcpt_count = rcpt_count,
        .subject = BYTES("Hello")};
}

static struct recipient rcpt_of(uint32_t n, struct bytes lane, int64_t next_try_ms)
{
    return (struct recipient){
        .n = n, .forward_path = BYTES("rcpt@two.example"), .lane = lane, .next_try = {next_try_ms}};
}

/* A message of one recipient, in its own transaction. */
static void message_add(uint64_t id, struct bytes lane, int64_t next_try_ms)
{
    struct envelope_head head = head_of(id, 5, 1);
    struct recipient rcpt = rcpt_of(0, lane, next_try_ms);

    assert_ok(store_begin(store));
    assert_ok(store_body_put(store, head.id, 0, BYTES("Hi!\r\n")));
    assert_ok(store_message_put(store, &head));
    assert_ok(store_recipient_put(store, head.id, &rcpt));
    assert_ok(store_commit(store));
}

static void assert_clean(void)
{
    struct store_fsck found;

    assert_ok(store_fsck(store, &found, NULL, NULL));
    assert_true(store_fsck_clean(&found));
}

static void test_message_round_trip(void **state)
{
    struct envelope_head head;
    struct recipient rcpt;
    struct bytes body;
    uint64_t cursor = 0;
    bool done;

    (void)state;
    message_add(7, BYTES("mx:two.example"), 5000);
    reopen();
    assert_ok(store_read_begin(store));
    assert_ok(store_message_get(store, (struct message_id){7}, &head));
    assert_true(bytes_equal(head.subject, BYTES("Hello")));
    assert_ok(store_body_get(store, head.id, 0, SIZE_MAX, &body));
    assert_true(bytes_equal(body, BYTES("Hi!\r\n")));
    assert_ok(store_body_get(store, head.id, 2, 2, &body));
    assert_true(bytes_equal(body, BYTES("!\r")));
    assert_int_equal(store_body_get(store, head.id, 5, 1, &body).code, CODE_GONE);
    assert_ok(store_recipient_next(store, head.id, &cursor, &rcpt));
    assert_true(bytes_equal(rcpt.lane, BYTES("mx:two.example")));
    assert_int_equal(store_recipient_next(store, head.id, &cursor, &rcpt).code, CODE_GONE);
    store_read_end(store);
    assert_clean();

    rcpt = rcpt_of(0, BYTES("mx:two.example"), 5000);
    assert_ok(store_begin(store));
    assert_ok(store_message_finish(store, head.id, &done));
    assert_false(done);
    assert_ok(store_recipient_delete(store, (struct message_id){7}, &rcpt));
    assert_ok(store_message_finish(store, (struct message_id){7}, &done));
    assert_true(done);
    assert_ok(store_commit(store));
    struct store_stats stats;
    store_stats_get(store, &stats);
    assert_int_equal(stats.messages + stats.recipients + stats.due_rows, 0);
    assert_ok(store_read_begin(store));
    assert_int_equal(store_body_get(store, (struct message_id){7}, 0, 1, &body).code, CODE_GONE);
    store_read_end(store);
    assert_clean();
}

static void test_schedule_order(void **state)
{
    struct store_due row = {0};
    struct bytes lane = BYTES_NONE;
    struct store_due first;

    (void)state;
    message_add(10, BYTES("mx:b.example"), 300);
    message_add(11, BYTES("mx:b.example"), 100);
    message_add(12, BYTES("mx:b.example"), -5);
    message_add(13, BYTES("mx:b.example.org"), 1);
    message_add(14, BYTES("local"), 900);
    assert_ok(store_read_begin(store));
    static const uint64_t expected[] = {12, 11, 10};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_ok(store_due_next(store, BYTES("mx:b.example"), &row, &row));
        assert_int_equal(row.id.value, expected[i]);
        row = store_due_after(&row);
    }
    assert_int_equal(store_due_next(store, BYTES("mx:b.example"), &row, &row).code, CODE_GONE);
    static const char *const lanes[] = {"local", "mx:b.example", "mx:b.example.org"};
    static const uint64_t firsts[] = {14, 12, 13};
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        assert_ok(store_due_lane_next(store, lane, &lane, &first));
        assert_true(bytes_equal(lane, bytes_of(lanes[i])));
        assert_int_equal(first.id.value, firsts[i]);
    }
    assert_int_equal(store_due_lane_next(store, lane, &lane, &first).code, CODE_GONE);
    store_read_end(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_message_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_schedule_order, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
