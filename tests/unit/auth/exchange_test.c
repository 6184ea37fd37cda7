/* exchange: dialogues of each mechanism, as what goes in and what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/auth/exchange.h"

static const struct scram_bindings UNBOUND;
static struct exchange x;

static struct bytes view(const char *text, size_t size)
{
    return (struct bytes){(const uint8_t *)text, size};
}

static void begin(const char *mechanism)
{
    assert_true(is_ok(exchange_init(&x, bytes_of(mechanism), true, BYTES("nonce"))));
}

static void plain(void **state)
{
    static const struct {
        const char *name;
        struct bytes in;
        enum exchange_step step;
    } rows[] = {
        {"good", BYTES_INIT("\0alice\0secret"), EXCHANGE_PASSWORD},
        {"for himself", BYTES_INIT("alice\0alice\0secret"), EXCHANGE_PASSWORD},
        {"for another", BYTES_INIT("root\0alice\0secret"), EXCHANGE_BAD},
        {"empty", BYTES_INIT(""), EXCHANGE_MALFORMED},
        {"no NUL", BYTES_INIT("alice"), EXCHANGE_MALFORMED},
        {"one NUL", BYTES_INIT("\0alice"), EXCHANGE_MALFORMED},
        {"three NUL", BYTES_INIT("\0alice\0sec\0ret"), EXCHANGE_MALFORMED},
        {"no name", BYTES_INIT("\0\0secret"), EXCHANGE_MALFORMED},
        {"no password", BYTES_INIT("\0alice\0"), EXCHANGE_MALFORMED},
    };
    char room[1200];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        begin("PLAIN");
        if (exchange_feed(&x, rows[i].in, true, &UNBOUND) != rows[i].step)
            fail_msg("%s", rows[i].name);
    }
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, rows[0].in, true, &UNBOUND), EXCHANGE_PASSWORD);
    assert_string_equal((const char *)x.name.data, "alice");
    assert_string_equal((const char *)x.password.data, "secret");
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, BYTES_NONE, false, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_int_equal(exchange_text(&x).size, 0);
    assert_int_equal(exchange_feed(&x, rows[0].in, true, &UNBOUND), EXCHANGE_PASSWORD);
    /* names and passwords at their bounds and one over */
    for (unsigned over = 0; over < 2; over++) {
        size_t names = ACCOUNT_NAME_SIZE_MAX + over, passwords = PASSWORD_SIZE_MAX - 1;
        memset(room, 'a', sizeof room);
        room[0] = room[1 + names] = 0;
        begin("PLAIN");
        assert_int_equal(exchange_feed(&x, view(room, 2 + names + passwords), true, &UNBOUND),
            over ? EXCHANGE_MALFORMED : EXCHANGE_PASSWORD);
        begin("PLAIN");
        memset(room, 'a', sizeof room);
        room[0] = room[2] = 0;
        assert_int_equal(exchange_feed(&x, view(room, 3 + passwords + over), true, &UNBOUND),
            over ? EXCHANGE_MALFORMED : EXCHANGE_PASSWORD);
    }
}

/* The same name and password, however their letters are made up; SCRAM's name too. */
static void preparation(void **state)
{
    (void)state;
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, BYTES("\0al\xc2\xadice\0scho\xcc\x88n"), true, &UNBOUND), EXCHANGE_PASSWORD);
    assert_string_equal((const char *)x.name.data, "alice");
    assert_string_equal((const char *)x.password.data, "sch\xc3\xb6n");
    begin("PLAIN"); /* who else judges it gets what was typed */
    x.password_as_it_came = true;
    assert_int_equal(exchange_feed(&x, BYTES("\0alice\0scho\xcc\x88n"), true, &UNBOUND), EXCHANGE_PASSWORD);
    assert_string_equal((const char *)x.password.data, "scho\xcc\x88n");
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, BYTES("\0alice\0s\x07"), true, &UNBOUND), EXCHANGE_BAD);
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, BYTES("\0al\xffice\0secret"), true, &UNBOUND), EXCHANGE_BAD);
    begin("LOGIN");
    assert_int_equal(exchange_feed(&x, BYTES("al\x07ice"), true, &UNBOUND), EXCHANGE_BAD);
    begin("LOGIN");
    assert_int_equal(exchange_feed(&x, BYTES("\xef\xbd\x81lice"), true, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_int_equal(exchange_feed(&x, BYTES("\xe2\x85\xa8"), true, &UNBOUND), EXCHANGE_PASSWORD);
    assert_string_equal((const char *)x.name.data, "alice");
    assert_string_equal((const char *)x.password.data, "IX");
    begin("SCRAM-SHA-256");
    assert_int_equal(exchange_feed(&x, BYTES("n,,n=scho\xcc\x88n,r=abc"), true, &UNBOUND), EXCHANGE_KEYS);
    assert_string_equal((const char *)x.name.data, "sch\xc3\xb6n");
    begin("SCRAM-SHA-256");
    assert_int_equal(exchange_feed(&x, BYTES("n,,n=\xe2\x80\x8e,r=abc"), true, &UNBOUND), EXCHANGE_BAD);
}

static void login(void **state)
{
    (void)state;
    begin("LOGIN");
    assert_int_equal(exchange_feed(&x, BYTES_NONE, false, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_true(bytes_equal(exchange_text(&x), BYTES("Username:")));
    assert_int_equal(exchange_feed(&x, BYTES("alice"), true, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_true(bytes_equal(exchange_text(&x), BYTES("Password:")));
    assert_int_equal(exchange_feed(&x, BYTES("secret"), true, &UNBOUND), EXCHANGE_PASSWORD);
    assert_string_equal((const char *)x.password.data, "secret");
    begin("LOGIN");
    assert_int_equal(exchange_feed(&x, BYTES("alice"), true, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_int_equal(exchange_feed(&x, BYTES(""), true, &UNBOUND), EXCHANGE_MALFORMED);
    begin("LOGIN");
    assert_int_equal(exchange_feed(&x, BYTES("al\0ice"), true, &UNBOUND), EXCHANGE_MALFORMED);
}

static void scram(void **state)
{
    struct scram_keys keys;

    (void)state;
    scram_keys_make(BYTES("secret"), BYTES("salt"), 4096, &keys);
    begin("SCRAM-SHA-256");
    assert_int_equal(exchange_feed(&x, BYTES_NONE, false, &UNBOUND), EXCHANGE_CHALLENGE);
    assert_int_equal(exchange_feed(&x, BYTES("n,,n=alice,r=abc"), true, &UNBOUND), EXCHANGE_KEYS);
    assert_true(bytes_equal(buf_bytes(&x.name), BYTES("alice")));
    assert_int_equal(exchange_keys(&x, &keys), EXCHANGE_CHALLENGE);
    assert_true(bytes_equal(exchange_text(&x), BYTES("r=abcnonce,s=c2FsdA==,i=4096")));
    assert_int_equal(
        exchange_feed(&x, BYTES("c=biws,r=abcnonce,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), true, &UNBOUND),
        EXCHANGE_BAD);
    begin("SCRAM-SHA-256");
    assert_int_equal(exchange_feed(&x, BYTES("y,,n=alice,r=abc"), true, &UNBOUND), EXCHANGE_BAD);
    begin("SCRAM-SHA-256-PLUS");
    assert_int_equal(exchange_feed(&x, BYTES("n,,n=alice,r=abc"), true, &UNBOUND), EXCHANGE_MALFORMED);
    /* nobody gets past the proof by answering our challenge with nothing */
    begin("SCRAM-SHA-256");
    assert_int_equal(exchange_feed(&x, BYTES("n,,n=alice,r=abc"), true, &UNBOUND), EXCHANGE_KEYS);
    assert_int_equal(exchange_keys(&x, &keys), EXCHANGE_CHALLENGE);
    assert_int_equal(exchange_feed(&x, BYTES(""), true, &UNBOUND), EXCHANGE_MALFORMED);
}

static void unknown(void **state)
{
    (void)state;
    assert_int_equal(exchange_init(&x, BYTES("CRAM-MD5"), true, BYTES("nonce")).code, CODE_GONE);
    assert_int_equal(exchange_init(&x, BYTES(""), true, BYTES("nonce")).code, CODE_GONE);
}

static void wiped(void **state)
{
    static const struct exchange zero;

    (void)state;
    begin("PLAIN");
    assert_int_equal(exchange_feed(&x, BYTES("\0alice\0secret"), true, &UNBOUND), EXCHANGE_PASSWORD);
    exchange_wipe(&x);
    assert_memory_equal(&x, &zero, sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(preparation),
        cmocka_unit_test(login),
        cmocka_unit_test(scram),
        cmocka_unit_test(unknown),
        cmocka_unit_test(wiped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
