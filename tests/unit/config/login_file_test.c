/* The file of logins to other hosts, line by line. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/config/login_file.h"

static void test_lines(void **state)
{
    static const char *const expected[][3] = {
        {"isp", "alice", "pass word # not a comment"}, {"other", "bob", "x"}, {"last", "c", "d"}};
    static const unsigned numbers[] = {3, 4, 5};
    struct bytes rest = BYTES("# comment\n\n  isp  alice   pass word # not a comment  \r\nother\tbob\tx\nlast c d");
    struct login_file_line line = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(is_ok(login_file_next(&rest, &line)));
        assert_int_equal(line.number, numbers[i]);
        assert_true(bytes_equal(line.name, bytes_of(expected[i][0])));
        assert_true(bytes_equal(line.credentials.login, bytes_of(expected[i][1])));
        assert_true(bytes_equal(line.credentials.password, bytes_of(expected[i][2])));
    }
    assert_int_equal(login_file_next(&rest, &line).code, CODE_MORE);
}

static void test_wrong_lines(void **state)
{
    static const struct {
        struct bytes text;
        unsigned number;
    } cases[] = {
        {BYTES_INIT("isp\n"), 1},
        {BYTES_INIT("#\nisp alice\n"), 2},
        {BYTES_INIT("isp alice  \n"), 1},
        {BYTES_INIT("isp alice pass\0word\n"), 1},
    };
    static char text[1024];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bytes rest = cases[i].text;
        struct login_file_line line = {0};
        assert_int_equal(login_file_next(&rest, &line).code, CODE_SYNTAX);
        assert_int_equal(line.number, cases[i].number);
    }
    for (size_t size = CLIENT_AUTH_PASSWORD_SIZE_MAX; size <= CLIENT_AUTH_PASSWORD_SIZE_MAX + 1; size++) {
        struct login_file_line line = {0};
        memset(text, 'p', sizeof text);
        memcpy(text, "a b ", 4);
        struct bytes rest = {(uint8_t *)text, 4 + size};
        assert_int_equal(
            login_file_next(&rest, &line).code, size <= CLIENT_AUTH_PASSWORD_SIZE_MAX ? CODE_OK : CODE_SYNTAX);
    }
}

static void test_find(void **state)
{
    struct client_credentials found;

    (void)state;
    assert_true(login_file_find(BYTES("a x 1\nb y 2\nb z 3\n"), BYTES("b"), &found));
    assert_true(bytes_equal(found.login, BYTES("y")));
    assert_false(login_file_find(BYTES("a x 1\n"), BYTES("x"), &found));
    assert_false(login_file_find(BYTES("broken\na x 1\n"), BYTES("a"), &found));
    assert_false(login_file_find(BYTES_NONE, BYTES("a"), &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
