/* saslprep: the examples of RFC 4013 section 3, and one of each of its rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/saslprep.h"

static void examples(void **state)
{
    static const struct {
        const char *name;
        struct bytes in, out;
        enum code query, stored;
    } rows[] = {
        {"1: SOFT HYPHEN mapped to nothing", BYTES_INIT("I\xc2\xadX"), BYTES_INIT("IX"), CODE_OK, CODE_OK},
        {"2: no transformation", BYTES_INIT("user"), BYTES_INIT("user"), CODE_OK, CODE_OK},
        {"3: case preserved", BYTES_INIT("USER"), BYTES_INIT("USER"), CODE_OK, CODE_OK},
        {"4: output is NFKC, input in ISO 8859-1", BYTES_INIT("\xc2\xaa"), BYTES_INIT("a"), CODE_OK, CODE_OK},
        {"5: output is NFKC, will match #1", BYTES_INIT("\xe2\x85\xa8"), BYTES_INIT("IX"), CODE_OK, CODE_OK},
        {"6: prohibited character", BYTES_INIT("\x07"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"7: bidirectional check", BYTES_INIT("\xd8\xa7\x31"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"non-ASCII space",
            BYTES_INIT("a\xc2\xa0"
                       "b"),
            BYTES_INIT("a b"), CODE_OK, CODE_OK},
        {"composed", BYTES_INIT("scho\xcc\x88n"), BYTES_INIT("sch\xc3\xb6n"), CODE_OK, CODE_OK},
        {"composed already", BYTES_INIT("sch\xc3\xb6n"), BYTES_INIT("sch\xc3\xb6n"), CODE_OK, CODE_OK},
        {"right to left", BYTES_INIT("\xd8\xa7\x31\xd8\xa8"), BYTES_INIT("\xd8\xa7\x31\xd8\xa8"), CODE_OK, CODE_OK},
        {"beyond the first plane", BYTES_INIT("\xf0\x9d\x94\xb8"), BYTES_INIT("A"), CODE_OK, CODE_OK},
        {"four octets stay", BYTES_INIT("\xf0\x90\x8c\xb0"), BYTES_INIT("\xf0\x90\x8c\xb0"), CODE_OK, CODE_OK},
        {"delete", BYTES_INIT("a\x7f"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"private use", BYTES_INIT("\xee\x80\x80"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"unassigned in Unicode 3.2", BYTES_INIT("\xc8\xa1"), BYTES_INIT("\xc8\xa1"), CODE_OK, CODE_SYNTAX},
        {"becomes empty", BYTES_INIT("\xc2\xad"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"empty", BYTES_INIT(""), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"no UTF-8", BYTES_INIT("sch\xf6n"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
        {"half a character", BYTES_INIT("sch\xc3"), BYTES_INIT(""), CODE_SYNTAX, CODE_SYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (unsigned use = SASLPREP_QUERY; use <= SASLPREP_STORED; use++) {
            enum code expected = use == SASLPREP_QUERY ? rows[i].query : rows[i].stored;
            uint8_t room[32];
            struct buf out = BUF(room);
            struct result r = saslprep(rows[i].in, (enum saslprep_use)use, &out);
            if (r.code != expected || (is_ok(r) && !bytes_equal(buf_bytes(&out), rows[i].out)))
                fail_msg("%s (%u)", rows[i].name, use);
        }
}

static void bounds(void **state)
{
    uint8_t in[SASLPREP_SIZE_MAX + 2], room[4 * SASLPREP_SIZE_MAX];
    struct buf out = BUF(room), narrow;

    (void)state;
    for (size_t i = 0; i < sizeof in; i += 2) {
        in[i] = 0xc3;
        in[i + 1] = 0xb6;
    }
    assert_int_equal(saslprep((struct bytes){in, SASLPREP_SIZE_MAX}, SASLPREP_QUERY, &out).code, CODE_OK);
    assert_int_equal(out.size, SASLPREP_SIZE_MAX);
    assert_int_equal(saslprep((struct bytes){in, SASLPREP_SIZE_MAX + 2}, SASLPREP_QUERY, &out).code, CODE_FULL);
    buf_init(&narrow, room, 3);
    assert_int_equal(saslprep((struct bytes){in, 4}, SASLPREP_QUERY, &narrow).code, CODE_FULL);
    assert_int_equal(narrow.size, 0);
    /* the one character that grows most: 18 of another kind */
    for (size_t i = 0; i + 2 < SASLPREP_SIZE_MAX; i += 3)
        memcpy(in + i, "\xef\xb7\xba", 3);
    buf_init(&narrow, room, sizeof room);
    assert_int_equal(saslprep((struct bytes){in, 510}, SASLPREP_QUERY, &narrow).code, CODE_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
