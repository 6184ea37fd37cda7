/* verp: names of recipients in reverse-paths. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "smtp/verp.h"

static void test_delimiters(void **state)
{
    static const char *const bad[] = {"", "+", "+=-", "+@", ".=", "\"=", " ="};
    struct verp_delimiters d = {0};

    (void)state;
    assert_false(verp_is_on(d));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(verp_delimiters_read(bytes_of(bad[i]), &d).code, CODE_SYNTAX);
    assert_false(verp_is_on(d));
    assert_true(is_ok(verp_delimiters_read(BYTES("-="), &d)));
    assert_true(d.before == '-' && d.at == '=' && verp_is_on(d));
}

static void test_addresses(void **state)
{
    static const struct {
        const char *sender, *recipient, *delimiters, *expected;
        bool utf8;
    } cases[] = {
        {"list-bounces@a.example", "bob@b.example", "+=", "list-bounces+bob=b.example@a.example", false},
        {"list@a.example", "bob@b.example", "-=", "list-bob=b.example@a.example", false},
        {"list@a.example", "bob+tag@b.example", "+=", "list+bob+tag=b.example@a.example", false},
        {"list@a.example", "postmaster", "+=", "list+postmaster@a.example", false},
        {"list@a.example", "\"a b\"@b.example", "+=", "\"list+a b=b.example\"@a.example", false},
        {"list@a.example", "\"a\\\"\\\\@c\"@b.example", "+=", "\"list+a\\\"\\\\@c=b.example\"@a.example", false},
        {"\"my list\"@a.example", "bob@b.example", "+=", "\"my list+bob=b.example\"@a.example", false},
        {"list@a.example", "bob@[192.0.2.1]", "+=", "\"list+bob=[192.0.2.1]\"@a.example", false},
        {"list@[192.0.2.1]", "bob@b.example", "+=", "list+bob=b.example@[192.0.2.1]", false},
        {"list@a.example", "j\xc3\xb6rg@b\xc3\xbc.example", "+=", "list+j\xc3\xb6rg=b\xc3\xbc.example@a.example", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[ADDRESS_SIZE_MAX + 1];
        struct buf out = {.data = room, .size_max = sizeof room - 1};
        struct verp_delimiters d;

        assert_true(is_ok(verp_delimiters_read(bytes_of(cases[i].delimiters), &d)));
        assert_true(is_ok(verp_put(&out, bytes_of(cases[i].sender), d, bytes_of(cases[i].recipient), cases[i].utf8)));
        room[out.size] = 0;
        assert_string_equal((const char *)room, cases[i].expected);
    }
}

static void test_too_long(void **state)
{
    uint8_t room[ADDRESS_SIZE_MAX], octets[LOCAL_PART_SIZE_MAX + 10];
    struct verp_delimiters d = {'+', '='};

    (void)state;
    for (size_t size = 1; size <= LOCAL_PART_SIZE_MAX; size++) {
        struct buf out = BUF(room), recipient = BUF(octets);

        for (size_t i = 0; i < size; i++)
            assert_true(is_ok(buf_put_octet(&recipient, 'x')));
        assert_true(is_ok(buf_put_str(&recipient, "@b.c")));
        struct result r = verp_put(&out, BYTES("list@a.b"), d, buf_bytes(&recipient), false);
        assert_int_equal(r.code, size + sizeof "list+=b.c" - 1 <= LOCAL_PART_SIZE_MAX ? CODE_OK : CODE_FULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delimiters),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
