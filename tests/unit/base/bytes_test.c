#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/base/base.h"
#include "daemon/base/map.h"

static void test_compare_without_case_folds_ascii_only(void **state)
{
    (void)state;
    assert_true(bytes_equal_nocase(BYTES("EhLo"), BYTES("eHlO")));
    assert_false(bytes_equal_nocase(BYTES("ehlo"), BYTES("ehl0")));
    assert_false(bytes_equal_nocase(BYTES("\xc4"), BYTES("\xe4")));
    assert_true(bytes_starts_nocase(BYTES("MAIL FROM:"), BYTES("mail")));
    assert_false(bytes_starts(BYTES("MA"), BYTES("MAIL")));
    assert_true(bytes_ends_nocase(BYTES("mx.EXAMPLE.org"), BYTES(".example.ORG")));
}

static void test_views_clamp(void **state)
{
    (void)state;
    assert_int_equal(bytes_head(BYTES("abc"), 10).size, 3);
    assert_int_equal(bytes_after(BYTES("abc"), 10).size, 0);
    assert_true(bytes_equal(bytes_after(BYTES("abc"), 1), BYTES("bc")));
    assert_true(bytes_equal(bytes_trim(BYTES(" \t a b \t")), BYTES("a b")));
    assert_int_equal(bytes_trim(BYTES("  ")).size, 0);
    struct bytes rest = BYTES("one\r\n\ntwo\r");
    assert_true(bytes_equal(bytes_line_take(&rest), BYTES("one")));
    assert_true(bytes_equal(bytes_line_take(&rest), BYTES("")));
    assert_true(bytes_equal(bytes_line_take(&rest), BYTES("two")));
    assert_int_equal(rest.size, 0);
    assert_int_equal(bytes_line_take(&rest).size, 0);
    assert_int_equal(bytes_index(BYTES_NONE, 'a'), BYTES_NOT_FOUND);
    assert_int_equal(bytes_rindex(BYTES("a@b@c"), '@'), 3);
    assert_int_equal(bytes_find(BYTES("hello"), BYTES("llo")), 2);
    assert_int_equal(bytes_find(BYTES("he"), BYTES("hello")), BYTES_NOT_FOUND);
}

static void test_order(void **state)
{
    (void)state;
    assert_true(bytes_compare(BYTES("a"), BYTES("b")) < 0);
    assert_true(bytes_compare(BYTES("a"), BYTES("ab")) < 0);
    assert_true(bytes_compare(BYTES("\xff"), BYTES("a")) > 0);
    assert_int_equal(bytes_compare(BYTES("ab"), BYTES("ab")), 0);
}

static void test_numbers(void **state)
{
    uint64_t value = 0;
    (void)state;
    assert_true(is_ok(bytes_to_u64(BYTES("0"), 10, &value)));
    assert_true(is_ok(bytes_to_u64(BYTES("18446744073709551609"), UINT64_MAX, &value)));
    assert_true(value == 18446744073709551609u);
    assert_int_equal(bytes_to_u64(BYTES("18446744073709551616"), UINT64_MAX, &value).code, CODE_FULL);
    assert_int_equal(bytes_to_u64(BYTES("99999999999999999999999999"), UINT64_MAX, &value).code, CODE_FULL);
    assert_int_equal(bytes_to_u64(BYTES("11"), 10, &value).code, CODE_FULL);
    assert_int_equal(bytes_to_u64(BYTES(""), 10, &value).code, CODE_SYNTAX);
    assert_int_equal(bytes_to_u64(BYTES("-1"), 10, &value).code, CODE_SYNTAX);
    assert_int_equal(bytes_to_u64(BYTES("1 "), 10, &value).code, CODE_SYNTAX);
}

static void test_buf_is_whole_or_full(void **state)
{
    uint8_t room[8];
    struct buf b = BUF(room);
    (void)state;
    assert_true(is_ok(buf_put(&b, BYTES("12345"))));
    assert_int_equal(buf_put(&b, BYTES("6789")).code, CODE_FULL);
    assert_true(bytes_equal(buf_bytes(&b), BYTES("12345")));
    assert_true(is_ok(buf_put_u64_pad(&b, 7, 3)));
    assert_true(bytes_equal(buf_bytes(&b), BYTES("12345007")));
    buf_drop(&b, 5);
    assert_true(bytes_equal(buf_bytes(&b), BYTES("007")));
    assert_int_equal(buf_left(&b), 5);
}

static void test_arena_keeps_its_bound_and_zeroes(void **state)
{
    struct arena a;
    void *memory = NULL;
    struct bytes copy;
    (void)state;
    arena_init(&a, 100000);
    for (int round = 0; round < 3; round++) {
        assert_true(is_ok(arena_copy(&a, BYTES("hello"), &copy)));
        assert_true(bytes_equal(copy, BYTES("hello")));
        assert_true(is_ok(arena_take(&a, 80000, &memory)));
        for (size_t i = 0; i < 80000; i++)
            assert_int_equal(((uint8_t *)memory)[i], 0);
        memset(memory, 0xff, 80000);
        assert_int_equal(arena_take(&a, 30000, &memory).code, CODE_FULL);
        assert_int_equal(arena_take(&a, SIZE_MAX, &memory).code, CODE_FULL);
        assert_true(bytes_equal(copy, BYTES("hello")));
        arena_reset(&a);
    }
    mem_fail_nth(1);
    assert_int_equal(arena_take(&a, 70000, &memory).code, CODE_FULL);
    arena_fini(&a);
}

static void test_message_ids_round_trip(void **state)
{
    static const uint64_t values[] = {1, 31, 32, 1023, 1u << 31, 1843200000000ull << 10, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        uint8_t room[MESSAGE_ID_SIZE_MAX];
        struct buf text = BUF(room);
        struct message_id id = {0};
        assert_true(is_ok(message_id_put(&text, (struct message_id){values[i]})));
        assert_true(is_ok(message_id_parse(buf_bytes(&text), &id)));
        assert_true(id.value == values[i]);
    }
    static const char *const bad[] = {
        "", "0", "01", "i", "l", "!", "zzzzzzzzzzzzz", "11111111111111", "a b", "\xc3\xa4"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct message_id id;
        assert_int_equal(message_id_parse(bytes_of(bad[i]), &id).code, CODE_SYNTAX);
    }
}

static void test_wire_round_trip_and_short_input(void **state)
{
    uint8_t room[64];
    struct buf out = BUF(room);
    (void)state;
    assert_true(is_ok(wire_put_u8(&out, 200)));
    assert_true(is_ok(wire_put_u16(&out, 60000)));
    assert_true(is_ok(wire_put_u32(&out, 4000000000u)));
    assert_true(is_ok(wire_put_u64(&out, UINT64_MAX - 1)));
    assert_true(is_ok(wire_put_bytes(&out, BYTES("octets"))));
    for (size_t size = 0; size <= out.size; size++) {
        uint8_t *exact = mem_take(size); /* so that the sanitizer sees a read past the end */
        memcpy(exact, room, size);
        struct wire_reader r = wire_reader_over((struct bytes){exact, size});
        uint8_t a = wire_get_u8(&r);
        uint16_t b = wire_get_u16(&r);
        uint32_t c = wire_get_u32(&r);
        uint64_t d = wire_get_u64(&r);
        struct bytes e = wire_get_bytes(&r, 6);
        if (size == out.size) {
            assert_true(is_ok(wire_end(&r)));
            assert_true(a == 200 && b == 60000 && c == 4000000000u && d == UINT64_MAX - 1);
            assert_true(bytes_equal(e, BYTES("octets")));
        } else {
            assert_int_equal(wire_end(&r).code, CODE_CORRUPT);
        }
        mem_free(exact);
    }
    struct wire_reader r = wire_reader_over(bytes_after(buf_bytes(&out), 15));
    wire_get_bytes(&r, 5);
    assert_int_equal(wire_check(&r).code, CODE_CORRUPT); /* over its bound */
    r = wire_reader_over(BYTES("\x02"));
    wire_get_bool(&r);
    assert_int_equal(wire_check(&r).code, CODE_CORRUPT);
    r = wire_reader_over(BYTES("\x01x"));
    assert_true(wire_get_bool(&r));
    assert_int_equal(wire_end(&r).code, CODE_CORRUPT); /* left over */
}

static void test_checksum_is_crc32c(void **state)
{
    uint8_t zeros[32] = {0};
    (void)state;
    assert_int_equal(checksum_crc32c(0, BYTES("123456789")), 0xe3069283u); /* RFC 3720 B.4 and the usual check value */
    assert_int_equal(checksum_crc32c(0, (struct bytes){zeros, 32}), 0x8a9136aau);
    assert_int_equal(checksum_crc32c(checksum_crc32c(0, BYTES("1234")), BYTES("56789")), 0xe3069283u);
}

static void test_dates(void **state)
{
    static const struct {
        int64_t ms;
        const char *date, *iso;
    } cases[] = {
        {0, "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000Z"},
        {1795300849123, "Sat, 21 Nov 2026 22:40:49 +0000", "2026-11-21T22:40:49.123Z"},
        {951782400000, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00.000Z"},
        {4107542399000, "Sun, 28 Feb 2100 23:59:59 +0000", "2100-02-28T23:59:59.000Z"},
        {4107542400000, "Mon, 1 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00.000Z"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[WALLTIME_DATE_SIZE_MAX + 1] = {0};
        struct buf out = BUF(room);
        assert_true(is_ok(walltime_put_date(&out, (struct walltime){cases[i].ms})));
        assert_string_equal((char *)room, cases[i].date);
        memset(room, 0, sizeof room);
        buf_reset(&out);
        assert_true(is_ok(walltime_put_iso(&out, (struct walltime){cases[i].ms})));
        assert_string_equal((char *)room, cases[i].iso);
    }
}

static void test_random_is_replayable_and_even(void **state)
{
    struct rng a = {42}, b = {42};
    unsigned hits[7] = {0};
    (void)state;
    for (int i = 0; i < 70000; i++) {
        uint64_t value = rng_below(&a, 7);
        assert_int_equal(value, rng_below(&b, 7));
        hits[value]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(hits[i], 9500, 10500);
}

static void test_map_against_an_array(void **state)
{
    enum { KEYS = 500 };
    struct map m = {0};
    struct rng rng = {1};
    static int values[KEYS];
    bool in[KEYS] = {false};
    (void)state;
    for (int step = 0; step < 50000; step++) {
        uint64_t k = rng_below(&rng, KEYS);
        uint64_t key = (k + 1) << (k % 3 * 20); /* clusters, on purpose */
        if (rng_below(&rng, 2) == 0) {
            assert_true(is_ok(map_put(&m, key, &values[k])));
            in[k] = true;
        } else {
            assert_ptr_equal(map_remove(&m, key), in[k] ? &values[k] : NULL);
            in[k] = false;
        }
    }
    size_t count = 0, walked = 0;
    for (uint64_t k = 0; k < KEYS; k++) {
        assert_ptr_equal(map_get(&m, (k + 1) << (k % 3 * 20)), in[k] ? &values[k] : NULL);
        count += in[k];
    }
    assert_int_equal(m.count, count);
    void *value;
    for (size_t i = 0; map_next(&m, &i, &value);)
        walked++;
    assert_int_equal(walked, count);
    map_fini(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_without_case_folds_ascii_only),
        cmocka_unit_test(test_views_clamp),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_buf_is_whole_or_full),
        cmocka_unit_test(test_arena_keeps_its_bound_and_zeroes),
        cmocka_unit_test(test_message_ids_round_trip),
        cmocka_unit_test(test_wire_round_trip_and_short_input),
        cmocka_unit_test(test_checksum_is_crc32c),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_random_is_replayable_and_even),
        cmocka_unit_test(test_map_against_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
