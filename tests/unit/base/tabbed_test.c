/* tabbed: fields in their order, and escapes that mean something or do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/base/tabbed.h"

static void fields(void **state)
{
    struct bytes line = BYTES("AUTH\t1\t\tlast");

    (void)state;
    assert_true(bytes_equal(tabbed_take(&line), BYTES("AUTH")));
    assert_true(bytes_equal(tabbed_take(&line), BYTES("1")));
    assert_int_equal(tabbed_take(&line).size, 0);
    assert_true(bytes_equal(tabbed_take(&line), BYTES("last")));
    assert_int_equal(tabbed_take(&line).size, 0);
    assert_int_equal(line.size, 0);
}

static void escapes(void **state)
{
    static const struct {
        const char *name;
        struct bytes in, out;
        enum code code;
    } rows[] = {
        {"plain", BYTES_INIT("plain text"), BYTES_INIT("plain text"), CODE_OK},
        {"all", BYTES_INIT("\0011a\001tb\001rc\001ld"), BYTES_INIT("\001a\tb\rc\nd"), CODE_OK},
        {"NUL", BYTES_INIT("\0010"), BYTES_INIT("\0"), CODE_OK},
        {"cut off", BYTES_INIT("x\001"), BYTES_INIT(""), CODE_SYNTAX},
        {"unknown", BYTES_INIT("\001x"), BYTES_INIT(""), CODE_SYNTAX},
        {"too long", BYTES_INIT("seventeen octets!"), BYTES_INIT(""), CODE_FULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t room[16];
        struct buf out = BUF(room);
        struct result r = tabbed_unescape(rows[i].in, &out);
        if (r.code != rows[i].code || (is_ok(r) && !bytes_equal(buf_bytes(&out), rows[i].out)))
            fail_msg("%s", rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
