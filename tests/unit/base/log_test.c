/* Nothing that an outsider sent becomes a second line, a terminal command or broken JSON. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/base/log.h"

static const struct log_config text = {.format = LOG_FORMAT_TEXT, .process = "inbound.1"};
static const struct log_config json = {.format = LOG_FORMAT_JSON, .process = "inbound.1"};
static const struct log_config journal = {.format = LOG_FORMAT_TEXT, .process = "inbound.1", .journal = true};

static void check(const struct log_config *cfg, struct bytes value, const char *want)
{
    uint8_t room[4096] = {0};
    struct buf out = BUF(room);
    const struct log_field fields[] = {LOG_TEXT("to", value), LOG_NUM("code", 550)};

    log_line_put(&out, cfg, (struct walltime){0}, LOG_EVENT_RCPT_REFUSED, fields, 2);
    assert_string_equal((char *)room, want);
}

#define TEXT_HEAD "1970-01-01T00:00:00.000Z inbound.1 event=rcpt_refused to="
#define JSON_HEAD                                                                                                      \
    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"process\":\"inbound.1\",\"event\":\"rcpt_refused\","  \
    "\"to\":"

static void test_values_are_encoded(void **state)
{
    (void)state;
    check(&text, BYTES("a@b.test"), TEXT_HEAD "a@b.test code=550\n");
    check(&text, BYTES(""), TEXT_HEAD "\"\" code=550\n");
    check(&text, BYTES("a b"), TEXT_HEAD "\"a b\" code=550\n");
    check(&text, BYTES("a\r\nevent=x"), TEXT_HEAD "\"a\\x0d\\x0aevent=x\" code=550\n");
    check(&text, BYTES("\x1b[2J\"\\\0\x7f"), TEXT_HEAD "\"\\x1b[2J\\x22\\x5c\\x00\\x7f\" code=550\n");
    check(&text, BYTES("j\xc3\xb6rg@b.test"), TEXT_HEAD "\"j\xc3\xb6rg@b.test\" code=550\n");
    check(&text,
        BYTES("\xc2\x9b"
              "2J"),
        TEXT_HEAD "\"\\xc2\\x9b2J\" code=550\n"); /* C1 CSI */
    check(&text, BYTES("\xc0\xaf\xff\xed\xa0\x80"), TEXT_HEAD "\"\\xc0\\xaf\\xff\\xed\\xa0\\x80\" code=550\n");
    check(&json, BYTES("a\n\"\\\x80"), JSON_HEAD "\"a\\u000a\\u0022\\u005c\\u0080\",\"code\":550}\n");
    check(&journal, BYTES("x"), "<6>inbound.1 event=rcpt_refused to=x code=550\n");
}

static void test_long_lines_are_cut_at_a_field(void **state)
{
    uint8_t room[300] = {0};
    uint8_t long_value[600];
    struct buf out = BUF(room);
    (void)state;

    memset(long_value, 'x', sizeof long_value);
    const struct log_field fields[] = {
        LOG_STR("from", "a"), LOG_TEXT("to", ((struct bytes){long_value, sizeof long_value}))};
    log_line_put(&out, &text, (struct walltime){0}, LOG_EVENT_RCPT_REFUSED, fields, 2);
    assert_string_equal((char *)room, "1970-01-01T00:00:00.000Z inbound.1 event=rcpt_refused from=a cut=1\n");
}

/* The table is the operator's manual: each event explains itself, and no name repeats. */
static void test_events_are_declared_well(void **state)
{
    (void)state;
    for (enum log_event e = 0; e < LOG_EVENT_COUNT; e++) {
        assert_true(strlen(log_event_meaning(e)) > 10);
        for (enum log_event other = e + 1; other < LOG_EVENT_COUNT; other++)
            assert_string_not_equal(log_event_name(e), log_event_name(other));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_encoded),
        cmocka_unit_test(test_long_lines_are_cut_at_a_field),
        cmocka_unit_test(test_events_are_declared_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
