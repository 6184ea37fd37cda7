/* One attempt as the history keeps it: what is put is got, at every bound; what is cut, bent or too long is refused; rows of old
 * lack the last two values. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/attempt.h"

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)

static uint8_t filler[ATTEMPT_SIZE_MAX];

static struct bytes text_of(size_t size)
{
    memset(filler, 'x', sizeof filler);
    return (struct bytes){filler, size};
}

static struct attempt full(void)
{
    return (struct attempt){.kind = ATTEMPT_KIND_COUNT - 1,
        .n = UINT32_MAX,
        .count = UINT32_MAX - 1,
        .forward_path = text_of(ADDRESS_SIZE_MAX),
        .lane = text_of(LANE_NAME_SIZE_MAX),
        .host = text_of(DISPLAY_FIELD_SIZE_MAX),
        .address = text_of(DISPLAY_FIELD_SIZE_MAX),
        .tls = text_of(DISPLAY_FIELD_SIZE_MAX),
        .status = text_of(DISPLAY_FIELD_SIZE_MAX),
        .reply = text_of(REPLY_KEPT_SIZE_MAX),
        .transcript = text_of(ATTEMPT_TRANSCRIPT_SIZE_MAX),
        .caused = {UINT64_MAX},
        .from = text_of(ADDRESS_SIZE_MAX),
        .message_id = text_of(DISPLAY_FIELD_SIZE_MAX)};
}

static void assert_same(const struct attempt *a, const struct attempt *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->count, b->count);
    assert_true(bytes_equal(a->forward_path, b->forward_path) && bytes_equal(a->lane, b->lane));
    assert_true(bytes_equal(a->host, b->host) && bytes_equal(a->address, b->address) && bytes_equal(a->tls, b->tls));
    assert_true(bytes_equal(a->status, b->status) && bytes_equal(a->reply, b->reply));
    assert_true(bytes_equal(a->transcript, b->transcript) && message_id_equal(a->caused, b->caused));
    assert_true(bytes_equal(a->from, b->from) && bytes_equal(a->message_id, b->message_id));
}

static void what_is_put_is_got(void **state)
{
    static uint8_t room[ATTEMPT_SIZE_MAX];
    struct attempt rows[] = {full(), {.kind = ATTEMPT_DELIVERED}, {.kind = ATTEMPT_DEFERRED, .n = 1, .count = 2}}, got;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = BUF(room);
        assert_ok(attempt_put(&out, &rows[i]));
        assert_ok(attempt_get(buf_bytes(&out), &got));
        assert_same(&rows[i], &got);
    }
}

static void cut_and_longer_rows_are_refused(void **state)
{
    static uint8_t room[ATTEMPT_SIZE_MAX];
    struct attempt a = {.kind = ATTEMPT_FAILED,
                       .n = 1,
                       .count = 2,
                       .forward_path = BYTES("a@b.test"),
                       .reply = BYTES("550 no"),
                       .from = BYTES("c@d.test"),
                       .message_id = BYTES("<1@d>")},
                   got;
    struct buf row = BUF(room);
    size_t old_count = 0;

    (void)state;
    assert_ok(attempt_put(&row, &a));
    for (size_t size = 0; size < row.size; size++)
        if (is_ok(attempt_get(bytes_head(buf_bytes(&row), size), &got))) { /* a row of old ends before the last two */
            assert_int_equal(got.from.size + got.message_id.size, 0);
            assert_true(bytes_equal(got.reply, a.reply));
            old_count++;
        }
    assert_int_equal(old_count, 1);
    assert_ok(buf_put_octet(&row, 0));
    assert_false(is_ok(attempt_get(buf_bytes(&row), &got)));
    row.size--;
    row.data[0] = ATTEMPT_KIND_COUNT;
    assert_false(is_ok(attempt_get(buf_bytes(&row), &got)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got),
        cmocka_unit_test(cut_and_longer_rows_are_refused),
    };

    return cmocka_run_group_tests_name("queue/attempt", tests, NULL, NULL);
}
