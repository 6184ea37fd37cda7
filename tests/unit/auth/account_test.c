/* account, password, roll: the users file and what it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auth/account.h"
#include "daemon/auth/password.h"
#include "daemon/auth/roll.h"

static void names(void **state)
{
    static const struct {
        struct bytes name;
        bool valid;
    } rows[] = {
        {BYTES_INIT("alice"), true},
        {BYTES_INIT("alice@example.org"), true},
        {BYTES_INIT("Bj\303\266rn x"), true},
        {BYTES_INIT(""), false},
        {BYTES_INIT("#alice"), false},
        {BYTES_INIT(" alice"), false},
        {BYTES_INIT("alice "), false},
        {BYTES_INIT("a:b"), false},
        {BYTES_INIT("a\nb"), false},
        {BYTES_INIT("a\0b"), false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(account_name_is_valid(rows[i].name), rows[i].valid);
}

static const struct bytes TEXT = BYTES_INIT(
    "# users\n\nalice:$y$a:SCRAM-SHA-256$4096:x$y:z\nbob:!\n:nobody\nbad\ncarol:has blank\nalice:second\nlast:x");

static void lines(void **state)
{
    struct account a;

    (void)state;
    assert_true(is_ok(account_find(TEXT, BYTES("alice"), &a)));
    assert_true(bytes_equal(a.hash, BYTES("$y$a")));
    assert_true(bytes_equal(a.scram, BYTES("SCRAM-SHA-256$4096:x$y:z")));
    assert_true(is_ok(account_find(TEXT, BYTES("bob"), &a)));
    assert_true(bytes_equal(a.hash, BYTES("!")) && a.scram.size == 0);
    assert_true(is_ok(account_find(TEXT, BYTES("last"), &a)));
    assert_int_equal(account_find(TEXT, BYTES("carol"), &a).code, CODE_GONE);
    assert_int_equal(account_find(TEXT, BYTES("Alice"), &a).code, CODE_GONE);
    assert_int_equal(account_find(TEXT, BYTES(""), &a).code, CODE_GONE);
    assert_int_equal(account_find(TEXT, BYTES("bad"), &a).code, CODE_GONE);
}

static void edits(void **state)
{
    uint8_t room[512];
    struct buf out = BUF(room);
    bool found;

    (void)state;
    assert_true(is_ok(accounts_edit(BYTES("# a\nx:1\ny:2\nx:3"), BYTES("x"), BYTES("x:4\n"), &out, &found)));
    assert_true(found && bytes_equal(buf_bytes(&out), BYTES("# a\nx:4\ny:2\n")));
    buf_reset(&out);
    assert_true(is_ok(accounts_edit(BYTES("# a\nx:1\ny:2\n"), BYTES("x"), BYTES(""), &out, &found)));
    assert_true(found && bytes_equal(buf_bytes(&out), BYTES("# a\ny:2\n")));
    buf_reset(&out);
    assert_true(is_ok(accounts_edit(BYTES("y:2"), BYTES("x"), BYTES("x:1\n"), &out, &found)));
    assert_true(!found && bytes_equal(buf_bytes(&out), BYTES("y:2\nx:1\n")));
}

static void hashes(void **state)
{
    uint8_t room[ACCOUNT_HASH_SIZE_MAX];
    struct buf hash = BUF(room);
    struct password_room *work = calloc(1, sizeof *work);

    (void)state;
    assert_true(is_ok(password_hash(BYTES("secret"), &hash)));
    assert_true(is_ok(buf_put_octet(&hash, 0)));
    assert_true(bytes_starts(buf_bytes(&hash), BYTES("$y$")));
    assert_true(password_check(work, "secret", (const char *)room));
    assert_false(password_check(work, "Secret", (const char *)room));
    assert_false(password_check(work, "", (const char *)room));
    assert_false(password_check(work, "secret", PASSWORD_OF_NOBODY));
    assert_false(password_check(work, "secret", "!"));
    assert_false(password_check(work, "secret", "*0"));
    assert_false(password_check(work, "secret", ""));
    /* one of another method, as other programs made it */
    assert_true(password_check(work, "secret",
        "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG."));
    assert_int_equal(password_hash(BYTES("a\0b"), &hash).code, CODE_SYNTAX);
    free(work);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void the_file_is_read_again(void **state)
{
    char folder[] = "/tmp/mansio-roll-XXXXXX", path[64];
    struct account a;
    struct roll roll;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/users", folder);
    roll_init(&roll, path);
    assert_int_equal(roll_find(&roll, (struct instant){1}, BYTES("alice"), &a).code, CODE_IO);
    write_file(path, "alice:x\n", 0640);
    assert_int_equal(roll_find(&roll, (struct instant){2}, BYTES("alice"), &a).code, CODE_IO); /* within the second */
    assert_true(is_ok(roll_find(&roll, (struct instant){1001}, BYTES("alice"), &a)));
    write_file(path, "alicia:xyz\n", 0640);
    assert_int_equal(roll_find(&roll, (struct instant){2001}, BYTES("alice"), &a).code, CODE_GONE);
    assert_true(is_ok(roll_find(&roll, (struct instant){2002}, BYTES("alicia"), &a)));
    assert_int_equal(chmod(path, 0644), 0); /* for everybody: not used */
    assert_int_equal(roll_find(&roll, (struct instant){3002}, BYTES("alicia"), &a).code, CODE_IO);
    assert_int_equal(chmod(path, 0600), 0);
    assert_true(is_ok(roll_find(&roll, (struct instant){4002}, BYTES("alicia"), &a)));
    unlink(path);
    assert_int_equal(roll_find(&roll, (struct instant){5002}, BYTES("alicia"), &a).code, CODE_IO);
    roll_fini(&roll);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(lines),
        cmocka_unit_test(edits),
        cmocka_unit_test(hashes),
        cmocka_unit_test(the_file_is_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
