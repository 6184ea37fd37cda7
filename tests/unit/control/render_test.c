/* What a terminal is shown: nothing that an outsider sent may steer it. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tools/listing.h"
#include "tools/render.h"

static char shown[8192];

static FILE *begin(void)
{
    memset(shown, 0, sizeof shown);
    return fmemopen(shown, sizeof shown, "w");
}

static void text_is_harmless(void **state)
{
    static const char *const cases[][2] = {{"plain@one.example", "plain@one.example"}, {"a\x1b[2Jb", "a\\x1b[2Jb"},
        {"a\r\nb", "a\\x0d\\x0ab"}, {"\x7f", "\\x7f"}, {"j\xc3\xbcrgen", "j\xc3\xbcrgen"},
        {"\xc2\x9b"
         "31m",
            "\\u{009b}31m"},
        {"\xe2\x80\xae"
         "moc",
            "\\u{202e}moc"},
        {"\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac"}, {"", ""}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        FILE *out = begin();

        render_text(out, cases[i][0]);
        fclose(out);
        assert_string_equal(shown, cases[i][1]);
    }
}

static void spans_and_sizes(void **state)
{
    static const struct {
        int64_t value;
        const char *span, *size;
    } cases[] = {{0, "0s", "0"}, {59, "59s", "59"}, {1023, "17m", "1023"}, {1024, "17m", "1.0K"},
        {7500, "2h05m", "7.3K"}, {200000, "2d07h", "195K"}, {-5, "0s", "-5"}, {52428800, "606d19h", "50.0M"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        FILE *out = begin();

        render_span(out, cases[i].value);
        fputc('|', out);
        render_size(out, cases[i].value);
        fclose(out);
        assert_int_equal(strncmp(shown, cases[i].span, strlen(cases[i].span)), 0);
        assert_string_equal(strchr(shown, '|') + 1, cases[i].size);
    }
}

/* The fast way prints what the slow one does, or leaves it alone. */
static void mailq_is_the_same_both_ways(void **state)
{
#define HEAD "{\"v\":1,\"id\":\"1m80xav9100\",\"from\":\""
#define RCPT(to, st, n, next, reply)                                                                                   \
    "{\"to\":\"" to "\",\"state\":\"" st "\",\"attempts\":" n ",\"next_try\":" next ",\"reply\":\"" reply              \
    "\",\"lane\":\"mx:x\"}"
    static const struct {
        const char *line;
        bool simple;
    } cases[] = {
        {HEAD "a@b.test\",\"size\":12,\"arrival\":1795324771,\"recipients\":[" RCPT(
             "c@d.test", "due", "0", "1795324771", "") "]}",
            true},
        {HEAD
            "\",\"size\":1234567890123,\"arrival\":0,\"recipients\":[" RCPT("c@d.test", "held", "1", "5", "450 x") "]}",
            true},
        {HEAD "a\",\"size\":0,\"arrival\":1780000799,\"recipients\":[" RCPT(
             "c@d", "deferred", "3", "1795329999", "450 x") "," RCPT("e@f", "active", "1", "0", "450 x") "," RCPT("e@f",
             "leaving", "0", "1799999999", "451 y") "]}",
            true},
        {HEAD "j\u00fc\",\"size\":0,\"arrival\":1,\"recipients\":[" RCPT("c@d", "due", "0", "0", "") "]}", false},
        {HEAD "j\xc3\xbc\",\"size\":0,\"arrival\":1,\"recipients\":[" RCPT("c@d", "due", "0", "0", "") "]}", false},
        {HEAD "a\",\"size\":0,\"arrival\":1,\"recipients\":[]}", false},
        {HEAD "a\",\"size\":-1,\"arrival\":1,\"recipients\":[" RCPT("c@d", "due", "0", "0", "") "]}", false},
        {HEAD "a\",\"size\":0,\"arrival\":1,\"recipients\":[" RCPT("c@d", "due", "0", "0", "") "]", false},
        {HEAD, false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[4096];
        struct buf fast = BUF(room);
        struct result r = listing_put(&fast, bytes_of(cases[i].line), 1795324000);
        assert_int_equal(is_ok(r), cases[i].simple);
        if (!cases[i].simple)
            continue;
        json_t *tree = json_loads(cases[i].line, 0, NULL);
        FILE *out = begin();
        render_mailq(out, tree, 1795324000);
        fclose(out);
        json_decref(tree);
        assert_int_equal(strlen(shown), fast.size);
        assert_memory_equal(shown, fast.data, fast.size);
    }
}

static void forms(void **state)
{
    static const char text[] =
        "{\"v\":1,\"id\":\"abc\",\"from\":\"\",\"size\":2048,\"arrival\":1000,\"subject\":\"\\u001b[2J\",\"queued\":"
        "true,"
        "\"recipients\":[{\"to\":\"b@two.example\",\"state\":\"active\",\"attempts\":1,\"next_try\":1100,"
        "\"reply\":\"450 \\u0007\",\"lane\":\"mx:two.example\"}],\"history\":[{\"at\":1000,\"event\":\"deferred\","
        "\"to\":\"b@two.example\",\"host\":\"h\",\"address\":\"192.0.2.1\",\"reply\":\"\\u001b]0;x\"}]}";
    json_t *message = json_loads(text, 0, NULL);
    FILE *out;

    (void)state;
    out = begin();
    render_mailq(out, message, 1060);
    fclose(out);
    assert_non_null(strstr(shown, "abc          *"));
    assert_non_null(strstr(shown, "MAILER-DAEMON"));
    assert_non_null(strstr(shown, "(450 \\x07)"));
    assert_non_null(strstr(shown, "b@two.example"));
    out = begin();
    render_show(out, message, 1060);
    render_message(out, message, 1060);
    render_stats(out, message);
    render_lane(out, message, 1060);
    fclose(out);
    assert_non_null(strstr(shown, "\\x1b[2J"));
    assert_non_null(strstr(shown, "h [192.0.2.1]: \\x1b]0;x"));
    for (const char *p = shown; *p != 0; p++)
        assert_true(*p == '\n' || (uint8_t)*p >= 0x20);
    json_decref(message);
}

/* A message's life names its session, and of a child whose it is. */
static void a_life(void **state)
{
    static const char text[] =
        "{\"v\":1,\"id\":\"abc\",\"from\":\"a@one.example\",\"size\":1,\"arrival\":1000,\"queued\":true,"
        "\"origin\":\"submission\",\"client\":\"192.0.2.7\",\"helo\":\"pc.example\",\"login\":\"al\\u0007ice\","
        "\"recipients\":[{\"to\":\"b@two.example\",\"state\":\"held\",\"attempts\":0,\"n\":1,\"parent\":0}],"
        "\"history\":[{\"at\":1000,\"event\":\"expanded\",\"n\":0,\"to\":\"list@one.example\"}]}";
    json_t *message = json_loads(text, 0, NULL);
    FILE *out = begin();

    (void)state;
    assert_non_null(message);
    render_trace(out, message, 1060);
    fclose(out);
    assert_non_null(strstr(shown, "by submission from 192.0.2.7, who said pc.example, login al\\x07ice\n"));
    assert_non_null(strstr(shown, "b@two.example (held, expanded from list@one.example)\n"));
    json_decref(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_harmless),
        cmocka_unit_test(spans_and_sizes),
        cmocka_unit_test(mailq_is_the_same_both_ways),
        cmocka_unit_test(a_life),
        cmocka_unit_test(forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
