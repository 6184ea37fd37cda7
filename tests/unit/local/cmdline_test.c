/* cmdline: words, quotes, substitutions; exit statuses; what an output says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/local/cmdline.h"

static const struct cmdline_facts FACTS = {.user = BYTES_INIT("al ice"),
    .extension = BYTES_INIT("-x"),
    .domain = BYTES_INIT("a.test"),
    .recipient = BYTES_INIT("alice+-x@a.test"),
    .sender = BYTES_INIT("$(reboot)@b.test")};

static void lines_become_words(void **state)
{
    static const struct {
        const char *text;
        enum code code;
        const char *words; /* parted by | */
    } cases[] = {
        {"/bin/cat", CODE_OK, "/bin/cat"},
        {"  /bin/f  a\tb ", CODE_OK, "/bin/f|a|b"},
        {"/bin/f 'a b' \"c d\" e\\ f", CODE_OK, "/bin/f|a b|c d|e f"},
        {"/bin/f '' \"\"", CODE_OK, "/bin/f||"},
        {"/bin/f 'a\\b' \"a\\\"b\"", CODE_OK, "/bin/f|a\\b|a\"b"},
        {"/bin/f a'b c'd", CODE_OK, "/bin/f|ab cd"},
        {"/bin/f ; rm > x $HOME `id`", CODE_OK, "/bin/f|;|rm|>|x|$HOME|`id`"},
        {"/bin/f -d %u@%d", CODE_OK, "/bin/f|-d|al ice@a.test"},
        {"/bin/f -f '%s' 100%%", CODE_OK, "/bin/f|-f|$(reboot)@b.test|100%"},
        {"/bin/f x%e", CODE_OK, "/bin/f|x-x"},
        {"/bin/f %e", CODE_REFUSED, NULL},
        {"/bin/f %x", CODE_SYNTAX, NULL},
        {"/bin/f 'a", CODE_SYNTAX, NULL},
        {"", CODE_SYNTAX, NULL},
        {"''", CODE_SYNTAX, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t octets[CMDLINE_ROOM_SIZE];
        struct buf room = BUF(octets);
        struct cmdline command;
        char got[256] = "";

        struct result r = cmdline_parse(bytes_of(cases[i].text), &FACTS, &room, &command);
        if (r.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].text, (int)r.code, r.why);
        for (size_t w = 0; is_ok(r) && w < command.argc; w++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", w > 0 ? "|" : "", command.argv[w]);
        if (is_ok(r)) {
            assert_null(command.argv[command.argc]);
            assert_string_equal(got, cases[i].words);
        }
    }
}

static void bounds_are_kept(void **state)
{
    static char text[CMDLINE_ROOM_SIZE + 16];
    uint8_t octets[CMDLINE_ROOM_SIZE];
    struct cmdline command;

    (void)state;
    for (size_t i = 0; i + 2 < 400; i += 2)
        memcpy(text + i, "a ", 2);
    struct buf room = BUF(octets);
    assert_int_equal(cmdline_parse(bytes_of(text), &FACTS, &room, &command).code, CODE_FULL);
    memset(text, 'a', sizeof text - 1);
    room = BUF(octets);
    assert_int_equal(cmdline_parse(bytes_of(text), &FACTS, &room, &command).code, CODE_FULL);
}

static void statuses_have_their_meaning(void **state)
{
    static const struct {
        int status;
        enum job_outcome outcome;
        const char *text;
    } cases[] = {{0, JOB_DELIVERED, "2.0.0"}, {67, JOB_FAILED, "5.1.1"}, {75, JOB_DEFERRED, "4.3.0"},
        {77, JOB_FAILED, "5.7.0"}, {127, JOB_DEFERRED, "4.3.5"}, {1, JOB_FAILED, "5.3.0"}, {99, JOB_FAILED, "5.3.0"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cmdline_fate fate = cmdline_exit_fate(cases[i].status);
        assert_int_equal(fate.outcome, cases[i].outcome);
        assert_string_equal(fate.status, cases[i].text);
    }
}

static void outputs_speak(void **state)
{
    uint8_t octets[256];
    struct buf room = BUF(octets);

    (void)state;
    assert_true(bytes_equal(cmdline_output_status(BYTES("4.2.2 full\nmore"), JOB_DEFERRED), BYTES("4.2.2")));
    assert_int_equal(cmdline_output_status(BYTES("5.2.2 full"), JOB_DEFERRED).size, 0);
    assert_int_equal(cmdline_output_status(BYTES("4.2 full"), JOB_DEFERRED).size, 0);
    assert_int_equal(cmdline_output_status(BYTES("4..2 full"), JOB_DEFERRED).size, 0);
    assert_int_equal(cmdline_output_status(BYTES(""), JOB_DEFERRED).size, 0);
    assert_true(bytes_equal(cmdline_output_line(BYTES(" a\033[2Jb\r\nc"), &room), BYTES("a?[2Jb?")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_words),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(statuses_have_their_meaning),
        cmocka_unit_test(outputs_speak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
