/* The dot writer: what it sends, a strict reader ends exactly once, at its end, and reads the same content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/dot.h"

enum { ROOM = 4096 };

/* Sends `in` in portions of `portion` octets. */
static size_t encode(struct bytes in, size_t portion, uint8_t *out, size_t *pieces_out)
{
    struct smtp_dot dot;
    struct bytes piece;
    size_t size = 0;

    *pieces_out = 0;
    smtp_dot_init(&dot);
    while (in.size > 0) {
        struct bytes part = bytes_head(in, portion);
        in = bytes_after(in, part.size);
        uint8_t *block = malloc(part.size);
        memcpy(block, part.data, part.size);
        part.data = block;
        while (smtp_dot_next(&dot, &part, &piece)) {
            assert_true(piece.size > 0 && size + piece.size <= ROOM);
            memcpy(out + size, piece.data, piece.size);
            size += piece.size;
            ++*pieces_out;
        }
        free(block);
    }
    struct bytes end = smtp_dot_end(&dot);
    memcpy(out + size, end.data, end.size);
    return size + end.size;
}

static const struct {
    const char *name;
    struct bytes in, out;
} cases[] = {
    {"empty", BYTES_INIT(""), BYTES_INIT(".\r\n")},
    {"one line", BYTES_INIT("a\r\n"), BYTES_INIT("a\r\n.\r\n")},
    {"no last CRLF", BYTES_INIT("a"), BYTES_INIT("a\r\n.\r\n")},
    {"a lone dot", BYTES_INIT(".\r\n"), BYTES_INIT("..\r\n.\r\n")},
    {"a lone dot without CRLF", BYTES_INIT("."), BYTES_INIT("..\r\n.\r\n")},
    {"dots in a row", BYTES_INIT("...\r\n...\r\n"), BYTES_INIT("....\r\n....\r\n.\r\n")},
    {"a dot inside", BYTES_INIT("a.b\r\n"), BYTES_INIT("a.b\r\n.\r\n")},
    {"lines of dots", BYTES_INIT("\r\n.\r\n.\r\n"), BYTES_INIT("\r\n..\r\n..\r\n.\r\n")},
    {"a bare LF begins no line", BYTES_INIT("a\n.\r\n"), BYTES_INIT("a\n.\r\n.\r\n")},
    {"a bare CR begins no line", BYTES_INIT("a\r.\r\n"), BYTES_INIT("a\r.\r\n.\r\n")},
    {"CR CR LF", BYTES_INIT("a\r\r\n.b\r\n"), BYTES_INIT("a\r\r\n..b\r\n.\r\n")},
    {"a last CR", BYTES_INIT("a\r"), BYTES_INIT("a\r\r\n.\r\n")},
    {"a last LF", BYTES_INIT("a\n"), BYTES_INIT("a\n\r\n.\r\n")},
    {"NUL and 8-bit", BYTES_INIT("\0.\377\r\n.\0\r\n"), BYTES_INIT("\0.\377\r\n..\0\r\n.\r\n")},
};

static void test_cases(void **state)
{
    uint8_t out[ROOM];
    size_t pieces;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t portion = 1; portion <= cases[i].in.size + 1; portion++) {
            size_t size = encode(cases[i].in, portion, out, &pieces);
            if (!bytes_equal(cases[i].out, (struct bytes){out, size}))
                fail_msg("%s, portions of %zu", cases[i].name, portion);
        }
}

static void test_nothing_to_stuff_is_one_piece(void **state)
{
    uint8_t out[ROOM];
    size_t pieces;

    (void)state;
    encode(BYTES("From: a@b.example\r\n\r\nText. More...\r\n ..\r\n"), SIZE_MAX, out, &pieces);
    assert_int_equal(pieces, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_nothing_to_stuff_is_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
