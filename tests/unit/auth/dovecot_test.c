/* dovecot: what is said to it octet by octet, and every kind of line that comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/auth/dovecot.h"

static struct dovecot d;
static struct dovecot_answer a;

static enum code hear(const char *line)
{
    return dovecot_read(&d, bytes_of(line), &a).code;
}

static void greeted(void)
{
    static const char *const lines[] = {"VERSION\t1\t2", "MECH\tPLAIN\tplaintext", "MECH\tLOGIN\tplaintext",
        "MECH\tSCRAM-SHA-256\tmutual-auth", "SPID\t17", "CUID\t2", "COOKIE\t0123"};

    d = (struct dovecot){.ready = false};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_int_equal(hear(lines[i]), CODE_MORE);
        assert_false(d.ready);
    }
    assert_int_equal(hear("DONE"), CODE_MORE);
    assert_true(d.ready);
}

static void says(const struct dovecot_question *question, const char *expected)
{
    uint8_t room[DOVECOT_ASK_SIZE_MAX];
    struct buf out = BUF(room);

    assert_true(is_ok(dovecot_ask(question, &out)));
    if (!bytes_equal(buf_bytes(&out), bytes_of(expected)))
        fail_msg("%.*s", BYTES_ARG(buf_bytes(&out)));
}

static void questions(void **state)
{
    static uint8_t longest[PASSWORD_SIZE_MAX];
    uint8_t room[DOVECOT_ASK_SIZE_MAX], client[107];
    struct buf out = BUF(room);

    (void)state;
    assert_true(is_ok(dovecot_greet(4711, &out)));
    assert_true(bytes_equal(buf_bytes(&out), BYTES("VERSION\t1\t1\nCPID\t4711\n")));
    says(&(struct dovecot_question){.number = 7,
             .name = BYTES("alice"),
             .password = BYTES("se\tcret"),
             .client = BYTES("2001:db8::1"),
             .secured = true},
        "AUTH\t7\tPLAIN\tservice=smtp\tnologin\tno-penalty\tsecured\trip=2001:db8::1\tresp=AGFsaWNlAHNlCWNyZXQ=\n");
    says(
        &(struct dovecot_question){
            .number = 8, .name = BYTES("a"), .password = BYTES("b"), .client = BYTES("x\tsecured")},
        "AUTH\t8\tPLAIN\tservice=smtp\tnologin\tno-penalty\tresp=AGEAYg==\n");
    /* all parts at their bounds fit */
    memset(longest, 'a', sizeof longest);
    memset(client, '1', sizeof client);
    buf_reset(&out);
    assert_true(is_ok(dovecot_ask(&(struct dovecot_question){.number = UINT32_MAX,
                                      .name = {longest, ACCOUNT_NAME_SIZE_MAX},
                                      .password = {longest, PASSWORD_SIZE_MAX},
                                      .client = {client, sizeof client},
                                      .secured = true},
        &out)));
}

static void answers(void **state)
{
    static const struct {
        const char *line;
        enum code code;
        enum password_verdict verdict;
        const char *name;
    } rows[] = {
        {"OK\t9\tuser=alice", CODE_OK, PASSWORD_GOOD, "alice"},
        {"OK\t9", CODE_OK, PASSWORD_GOOD, ""},
        {"OK\t9\tnologin\tuser=a\001tb\toriginal_user=x", CODE_OK, PASSWORD_GOOD, "a\tb"},
        {"FAIL\t9\tuser=alice", CODE_OK, PASSWORD_BAD, ""},
        {"FAIL\t9\tuser=alice\tuser_disabled", CODE_OK, PASSWORD_BAD, ""},
        {"FAIL\t9\tuser=alice\ttemp", CODE_OK, PASSWORD_LATER, ""},
        {"FAIL\t9\tuser=alice\tcode=temp_fail", CODE_OK, PASSWORD_LATER, ""},
        {"CONT\t9\t", CODE_OK, PASSWORD_LATER, ""},
        {"OK\t9\tuser=a\0010b", CODE_REFUSED, 0, ""},
        {"OK\t9\tuser=\001", CODE_REFUSED, 0, ""},
        {"OK\tx\tuser=alice", CODE_REFUSED, 0, ""},
        {"OK\t0\tuser=alice", CODE_REFUSED, 0, ""},
        {"OK\t4294967296", CODE_REFUSED, 0, ""},
        {"OK", CODE_REFUSED, 0, ""},
        {"NEWS\t9", CODE_MORE, 0, ""},
        {"", CODE_MORE, 0, ""},
    };

    (void)state;
    greeted();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum code code = hear(rows[i].line);
        if (code != rows[i].code || (code == CODE_OK && (a.number != 9 || a.verdict != rows[i].verdict ||
                                                            !bytes_equal(buf_bytes(&a.name), bytes_of(rows[i].name)))))
            fail_msg("%s", rows[i].line);
    }
}

static void strangers(void **state)
{
    (void)state;
    d = (struct dovecot){.ready = false};
    assert_int_equal(hear("VERSION\t2\t0"), CODE_REFUSED);
    d = (struct dovecot){.ready = false};
    assert_int_equal(hear("VERSION\t1\t2"), CODE_MORE);
    assert_int_equal(hear("MECH\tCRAM-MD5"), CODE_MORE);
    assert_int_equal(hear("DONE"), CODE_REFUSED); /* no PLAIN */
    d = (struct dovecot){.ready = false};
    assert_int_equal(hear("MECH\tPLAIN"), CODE_MORE);
    assert_int_equal(hear("DONE"), CODE_REFUSED); /* no version */
    d = (struct dovecot){.ready = false};
    assert_int_equal(hear("OK\t1\tuser=alice"), CODE_REFUSED); /* nobody was asked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions),
        cmocka_unit_test(answers),
        cmocka_unit_test(strangers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
