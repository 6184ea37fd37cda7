/* score: each reason with its weight. */
#include "daemon/inbound/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char TEXT[] = "hostname = \"mx.here.example\"\n"
                           "domain \"here.example\" { }\n"
                           "checks { lists = { \"bl.example 3\", \"wl.example -5\", \"bl.example=127.0.0.4 2\" }\n"
                           "  no_name = 1 helo_unqualified = 10 helo_address = 20 helo_ours = 40 }\n";

static void reasons(void **state)
{
    static const struct {
        const char *helo;
        bool nameless;
        uint32_t listed;
        int32_t score;
        const char *reasons;
    } cases[] = {
        {"client.example", false, 0, 0, ""},
        {"client.example", true, 0, 1, "no_name:1"},
        {"client", true, 0, 11, "no_name:1 helo_unqualified:10"},
        {"MX.here.example", false, 0, 40, "helo_ours:40"},
        {"here.EXAMPLE", false, 0, 40, "helo_ours:40"},
        {"192.0.2.7", false, 0, 20, "helo_address:20"},
        {"2001:db8::1", false, 0, 20, "helo_address:20"},
        {"[192.0.2.7]", false, 0, 0, ""},
        {"[192.0.2.8]", false, 0, 20, "helo_address:20"},
        {"[IPv6:2001:db8::1]", false, 0, 20, "helo_address:20"},
        {"client.example", false, 1, 3, "bl.example:3"},
        {"client.example", false, 2, -5, "wl.example:-5"},
        {"client.example", true, 7, 1, "no_name:1 bl.example:3 wl.example:-5 bl.example:2"},
        {"client.example", false, 0xfffffff8, 0, ""},
    };
    static const uint8_t address[16] = {[10] = 0xff, 0xff, 192, 0, 2, 7};
    struct config_error error;
    struct config *cfg;

    (void)state;
    assert_true(is_ok(config_read_text("t", bytes_of(TEXT), &cfg, &error)));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct score_facts facts = {.address = address,
            .helo = bytes_of(cases[i].helo),
            .nameless = cases[i].nameless,
            .listed = cases[i].listed};
        uint8_t room[SCORE_REASONS_SIZE_MAX];
        struct buf out = BUF(room);

        assert_int_equal(cases[i].score, score_client(cfg, &facts, &out));
        assert_true(bytes_equal(buf_bytes(&out), bytes_of(cases[i].reasons)));
        uint8_t little[4];
        struct buf small = BUF(little);
        assert_int_equal(cases[i].score, score_client(cfg, &facts, &small));
    }
    config_free(&cfg);
}

static void lists_are_checked(void **state)
{
    static const char *const bad[] = {"\"bl.example\"", "\"bl.example x\"", "\"bl.example=10.0.0.1 2\"",
        "\"bl.example= 2\"", "\" 3\"", "\"bl.example 1001\"", "\"b l.example 1\"", "\"bl.example=127.0.0.1/24 1\""};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct config_error error;
        struct config *cfg;
        char text[128];

        snprintf(text, sizeof text, "checks { lists = %s }\n", bad[i]);
        assert_false(is_ok(config_read_text("t", bytes_of(text), &cfg, &error)));
        assert_non_null(strstr(error.text, "t:1: lists: found"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reasons), cmocka_unit_test(lists_are_checked)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
