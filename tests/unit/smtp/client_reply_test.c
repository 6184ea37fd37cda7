/* The reply reader: tables, whole and in portions of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/client_reply.h"

static const struct {
    const char *name;
    struct bytes in;
    enum code result;
    uint16_t code;
    struct enhanced_status status;
    struct bytes text;
} cases[] = {
    {"one line", BYTES_INIT("250 ok\r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250 ok")},
    {"code alone", BYTES_INIT("250\r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250")},
    {"code and space", BYTES_INIT("250 \r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250")},
    {"LF alone", BYTES_INIT("250 ok\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250 ok")},
    {"status", BYTES_INIT("550 5.1.1 no\r\n"), CODE_OK, 550, {5, 1, 1}, BYTES_INIT("550 5.1.1 no")},
    {"status alone", BYTES_INIT("550 5.7.999\r\n"), CODE_OK, 550, {5, 7, 999}, BYTES_INIT("550 5.7.999")},
    {"status of another class", BYTES_INIT("550 4.1.1 no\r\n"), CODE_OK, 550, {0, 0, 0}, BYTES_INIT("550 4.1.1 no")},
    {"status with four digits", BYTES_INIT("550 5.1.1000 no\r\n"), CODE_OK, 550, {0, 0, 0},
        BYTES_INIT("550 5.1.1000 no")},
    {"status not ended", BYTES_INIT("550 5.1.1x\r\n"), CODE_OK, 550, {0, 0, 0}, BYTES_INIT("550 5.1.1x")},
    {"status cut", BYTES_INIT("550 5.1.\r\n"), CODE_OK, 550, {0, 0, 0}, BYTES_INIT("550 5.1.")},
    {"no status for 354", BYTES_INIT("354 3.0.0 go\r\n"), CODE_OK, 354, {0, 0, 0}, BYTES_INIT("354 3.0.0 go")},
    {"two lines", BYTES_INIT("550-5.1.1 no\r\n550 5.1.1 user\r\n"), CODE_OK, 550, {5, 1, 1},
        BYTES_INIT("550 5.1.1 no user")},
    {"an empty line between", BYTES_INIT("550-a\r\n550-\r\n550 b\r\n"), CODE_OK, 550, {0, 0, 0}, BYTES_INIT("550 a b")},
    {"controls", BYTES_INIT("250 a\tb\033c\177d\r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250 a b c d")},
    {"a bare CR", BYTES_INIT("250 a\rb\r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250 a b")},
    {"UTF-8", BYTES_INIT("250 \303\274\342\202\254\360\237\230\200\r\n"), CODE_OK, 250, {0, 0, 0},
        BYTES_INIT("250 \303\274\342\202\254\360\237\230\200")},
    {"not UTF-8", BYTES_INIT("250 \377\300\257\355\240\200\303\r\n"), CODE_OK, 250, {0, 0, 0},
        BYTES_INIT("250 ???????")},
    {"C1 control", BYTES_INIT("250 a\302\233b\r\n"), CODE_OK, 250, {0, 0, 0}, BYTES_INIT("250 a b")},
    {"no end", BYTES_INIT("250 ok"), CODE_MORE, 0, {0, 0, 0}, BYTES_INIT("")},
    {"no last line", BYTES_INIT("250-ok\r\n"), CODE_MORE, 0, {0, 0, 0}, BYTES_INIT("")},
    {"empty line", BYTES_INIT("\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"no number", BYTES_INIT("ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"two digits", BYTES_INIT("25\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"four digits", BYTES_INIT("2500 ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"a space first", BYTES_INIT(" 250 ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"199", BYTES_INIT("199 ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"600", BYTES_INIT("600 ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"a tab behind the code", BYTES_INIT("250\tok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"codes differ", BYTES_INIT("250-ok\r\n251 ok\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
    {"NUL", BYTES_INIT("250 o\0k\r\n"), CODE_SYNTAX, 0, {0, 0, 0}, BYTES_INIT("")},
};

/* Feeds `in` in portions until a whole reply, an error or its end; MORE at the end. */
static struct result feed(struct client_reply *r, struct bytes in, size_t portion)
{
    struct result result = FAIL(CODE_MORE, "nothing fed");

    client_reply_reset(r);
    while (in.size > 0) {
        struct bytes part = bytes_head(in, portion);
        uint8_t *block = malloc(part.size);
        size_t eaten = 0;
        struct client_reply_line line;
        memcpy(block, part.data, part.size);
        result = client_reply_feed(r, (struct bytes){block, part.size}, &eaten, &line);
        bool last = is_ok(result) && line.last;
        free(block);
        assert_true(eaten > 0 && eaten <= part.size);
        if (last || (!is_ok(result) && result.code != CODE_MORE))
            return result;
        result = FAIL(CODE_MORE, "more lines");
        in = bytes_after(in, eaten);
    }
    return result;
}

static void test_cases(void **state)
{
    static struct client_reply r;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t portion = 1; portion <= cases[i].in.size; portion++) {
            struct result result = feed(&r, cases[i].in, portion);
            struct peer_reply view = client_reply_view(&r);
            bool same = result.code == cases[i].result;
            if (same && is_ok(result))
                same = view.code == cases[i].code && view.status.class == cases[i].status.class &&
                       view.status.subject == cases[i].status.subject && view.status.detail == cases[i].status.detail &&
                       bytes_equal(bytes_trim(view.text), cases[i].text);
            if (!same)
                fail_msg("%s, portions of %zu: %d %u %.*s", cases[i].name, portion, result.code, view.code,
                    BYTES_ARG(view.text));
        }
}

static void test_bounds(void **state)
{
    static struct client_reply r;
    static uint8_t room[REPLY_SIZE_MAX + 100];
    struct buf in = BUF(room);

    (void)state;
    /* REPLY_LINES_MAX lines are read, one more is not; the kept text is bounded. */
    for (int lines = REPLY_LINES_MAX; lines <= REPLY_LINES_MAX + 1; lines++) {
        buf_reset(&in);
        for (int i = 1; i <= lines; i++)
            assert_true(is_ok(buf_put_str(
                &in, i < lines ? "250-0123456789012345678901234567890123456789012345678901\r\n" : "250 end\r\n")));
        assert_int_equal(feed(&r, buf_bytes(&in), 1000).code, lines > REPLY_LINES_MAX ? CODE_FULL : CODE_OK);
        assert_true(client_reply_view(&r).text.size <= REPLY_KEPT_SIZE_MAX);
    }
    /* One line as long as a reply may be, and one octet more. */
    for (size_t size = REPLY_SIZE_MAX; size <= REPLY_SIZE_MAX + 1; size++) {
        memset(room, 'x', sizeof room);
        memcpy(room, "250 ", 4);
        memcpy(room + size - 2, "\r\n", 2);
        for (size_t portion = 999; portion < sizeof room; portion *= 9)
            assert_int_equal(
                feed(&r, (struct bytes){room, size}, portion).code, size > REPLY_SIZE_MAX ? CODE_FULL : CODE_OK);
        assert_true(client_reply_view(&r).text.size <= REPLY_LINE_HELD_SIZE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
