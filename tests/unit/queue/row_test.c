/* Seals and keys: order of keys is order of things, and nothing bent gets through. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/row.h"

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)
#define assert_corrupt(e) assert_int_equal((e).code, CODE_CORRUPT)

static void test_seal(void **state)
{
    uint8_t room[ROW_HEADER_SIZE + 20];
    struct buf value = row_buf(room, sizeof room);
    struct bytes key = BYTES("some key"), payload;

    (void)state;
    assert_ok(buf_put(&value, BYTES("twenty octets inside")));
    row_seal(key, &value);
    assert_ok(row_open(key, buf_bytes(&value), &payload));
    assert_true(bytes_equal(payload, BYTES("twenty octets inside")));
    assert_corrupt(row_open(BYTES("other key"), buf_bytes(&value), &payload)); /* a row in the wrong place */
    for (size_t size = 0; size < value.size; size++)
        assert_corrupt(row_open(key, (struct bytes){room, size}, &payload));
    for (size_t bit = 0; bit < value.size * 8; bit++) {
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_corrupt(row_open(key, buf_bytes(&value), &payload));
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint8_t header[ROW_HEADER_SIZE];
    row_header_put(key, BYTES("twenty octets inside"), header);
    assert_memory_equal(header, room, sizeof header);
}

static void test_order_of_the_schedule(void **state)
{
    /* each row sorts before the next */
    static const struct {
        const char *lane;
        int64_t next_try;
        uint64_t id;
        uint32_t n;
    } rows[] = {
        {"local", INT64_MAX, UINT64_MAX, UINT32_MAX},
        {"mx:b", INT64_MIN, 1, 0},
        {"mx:b", -1, 1, 0},
        {"mx:b", 0, 1, 0},
        {"mx:b", 0, 1, 1},
        {"mx:b", 0, 2, 0},
        {"mx:b", 255, 1, 0},
        {"mx:b", 256, 1, 0},
        {"mx:b\x01", 0, 1, 0},
        {"mx:b.example", 0, 1, 0},
        {"mx:ba", 0, 1, 0},
    };
    struct row_key keys[COUNT_OF(rows)], first, end;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes lane = bytes_of(rows[i].lane), got_lane;
        struct walltime got_try;
        struct message_id got_id;
        uint32_t got_n;
        row_key_due(&keys[i], lane, (struct walltime){rows[i].next_try}, (struct message_id){rows[i].id}, rows[i].n);
        if (i > 0)
            assert_true(bytes_compare(row_key_bytes(&keys[i - 1]), row_key_bytes(&keys[i])) < 0);
        row_key_lane_first(&first, lane);
        row_key_lane_end(&end, lane);
        assert_true(bytes_compare(row_key_bytes(&first), row_key_bytes(&keys[i])) < 0);
        assert_true(bytes_compare(row_key_bytes(&keys[i]), row_key_bytes(&end)) < 0);
        assert_ok(row_key_due_get(row_key_bytes(&keys[i]), &got_lane, &got_try, &got_id, &got_n));
        assert_true(bytes_equal(got_lane, lane) && got_try.ms == rows[i].next_try && got_id.value == rows[i].id &&
                    got_n == rows[i].n);
    }
}

static void test_keys_bent(void **state)
{
    struct row_key key;
    struct bytes lane;
    struct walltime at;
    struct message_id id;
    uint32_t n;

    (void)state;
    row_key_due(&key, BYTES("mx:a"), (struct walltime){5}, (struct message_id){6}, 7);
    for (size_t size = 0; size < ROW_DUE_TAIL_SIZE + 1; size++)
        assert_corrupt(row_key_due_get(bytes_head(row_key_bytes(&key), size), &lane, &at, &id, &n));
    key.room[4] = 'x'; /* the NUL behind the name */
    assert_corrupt(row_key_due_get(row_key_bytes(&key), &lane, &at, &id, &n));
    row_key_due(&key, BYTES("mx:a"), (struct walltime){5}, (struct message_id){0}, 7);
    assert_corrupt(row_key_due_get(row_key_bytes(&key), &lane, &at, &id, &n));
    row_key_id(&key, (struct message_id){0});
    assert_corrupt(row_key_id_get(row_key_bytes(&key), &id));
    row_key_id_n(&key, (struct message_id){9}, 3);
    assert_ok(row_key_id_n_get(row_key_bytes(&key), &id, &n));
    assert_true(id.value == 9 && n == 3);
    assert_corrupt(row_key_id_get(row_key_bytes(&key), &id));
    assert_corrupt(row_key_id_n_get(bytes_head(row_key_bytes(&key), 11), &id, &n));
}

static void test_names_of_lanes(void **state)
{
    static uint8_t longest[LANE_NAME_SIZE_MAX + 1];

    (void)state;
    memset(longest, 'l', sizeof longest);
    assert_true(row_lane_valid(BYTES("local")));
    assert_true(row_lane_valid((struct bytes){longest, LANE_NAME_SIZE_MAX}));
    assert_false(row_lane_valid((struct bytes){longest, LANE_NAME_SIZE_MAX + 1}));
    assert_false(row_lane_valid(BYTES_NONE));
    assert_false(row_lane_valid(BYTES("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_order_of_the_schedule),
        cmocka_unit_test(test_keys_bent),
        cmocka_unit_test(test_names_of_lanes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
