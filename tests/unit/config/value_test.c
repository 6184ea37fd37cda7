/* Single words of the configuration: what they mean, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/config/local_name.h"
#include "daemon/config/value.h"

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {{"0", 0}, {"250ms", 250}, {"30s", 30000}, {"5m", 300000}, {"4h", 14400000}, {"5d", 432000000},
        {"1h30m", 5400000}, {"1m1ms", 60001}, {"106751991167d", 9223372036828800000}, {"", -1}, {"5", -1}, {"s", -1},
        {"5 s", -1}, {"-5s", -1}, {"1.5h", -1}, {"5S", -1}, {"5m5", -1}, {"106751991168d", -1},
        {"9223372036854775808ms", -1}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t ms = -1;
        struct result r = value_time(bytes_of(cases[i].text), &ms);

        assert_int_equal(is_ok(r), cases[i].ms >= 0);
        if (is_ok(r))
            assert_int_equal(ms, cases[i].ms);
    }
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t octets;
    } cases[] = {{"0", 0}, {"1000", 1000}, {"64K", 65536}, {"50M", 52428800}, {"2G", 2147483648}, {"1T", 1099511627776},
        {"", -1}, {"K", -1}, {"5KB", -1}, {"-1", -1}, {"1.5G", -1}, {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", -1}, {"9007199254740992K", -1}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t octets = 0;
        struct result r = value_size(bytes_of(cases[i].text), &octets);

        assert_int_equal(is_ok(r), cases[i].octets >= 0);
        if (is_ok(r))
            assert_int_equal(octets, cases[i].octets);
    }
}

static void percents(void **state)
{
    static const struct {
        const char *text;
        int percent;
    } cases[] = {{"0", 0}, {"1", 100}, {"0.2", 20}, {"0.25", 25}, {"0.256", 25}, {"1.0", 100}, {"1.000", 100},
        {"1.01", -1}, {"2", -1}, {"", -1}, {"0.", -1}, {".2", -1}, {"-0.2", -1}, {"0,2", -1}, {"20%", -1}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t percent = 0;
        struct result r = value_percent(bytes_of(cases[i].text), &percent);

        assert_int_equal(is_ok(r), cases[i].percent >= 0);
        if (is_ok(r))
            assert_int_equal(percent, cases[i].percent);
    }
}

static void networks(void **state)
{
    static const struct {
        const char *text;
        int bits; /* -1: refused */
        uint8_t inside[16], outside[16];
    } cases[] = {
        {"192.0.2.7", 128, {[10] = 0xff, 0xff, 192, 0, 2, 7}, {[10] = 0xff, 0xff, 192, 0, 2, 6}},
        {"192.0.2.0/25", 121, {[10] = 0xff, 0xff, 192, 0, 2, 127}, {[10] = 0xff, 0xff, 192, 0, 2, 128}},
        {"0.0.0.0/0", 96, {[10] = 0xff, 0xff, 1, 2, 3, 4}, {[15] = 1}},
        {"::/0", 0, {[10] = 0xff, 0xff, 1, 2, 3, 4}, {0}},
        {"2001:db8::/31", 31, {0x20, 1, 0x0d, 0xb9, 1}, {0x20, 1, 0x0d, 0xba}},
        {"::1", 128, {[15] = 1}, {[15] = 2}},
        {"192.0.2.0/33", -1, {0}, {0}},
        {"192.0.2.1/24", -1, {0}, {0}},
        {"192.0.2.0/", -1, {0}, {0}},
        {"192.0.2.0/-1", -1, {0}, {0}},
        {"192.0.2", -1, {0}, {0}},
        {"::1/129", -1, {0}, {0}},
        {"[::1]", -1, {0}, {0}},
        {"", -1, {0}, {0}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_network network;
        struct config_network_list list = {&network, 1};
        struct result r = value_network(bytes_of(cases[i].text), &network);

        assert_int_equal(is_ok(r), cases[i].bits >= 0);
        if (!is_ok(r))
            continue;
        assert_int_equal(network.prefix_bits, cases[i].bits);
        assert_true(config_network_contains(&list, cases[i].inside));
        if (cases[i].bits > 0)
            assert_false(config_network_contains(&list, cases[i].outside));
    }
}

static void endpoints(void **state)
{
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {{"*:25", 2}, {"127.0.0.1:0", 1}, {"[::1]:65535", 1}, {"[::]:25", 1}, {"::1:25", 0},
        {"[127.0.0.1]:25", 0}, {"127.0.0.1", 0}, {"127.0.0.1:", 0}, {"127.0.0.1:65536", 0}, {":25", 0}, {"[*]:25", 0},
        {"localhost:25", 0}, {"", 0}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_endpoint found[VALUE_ENDPOINTS_MAX];
        size_t count = 0;
        struct result r = value_endpoints(bytes_of(cases[i].text), found, &count);

        assert_int_equal(is_ok(r), cases[i].count > 0);
        if (is_ok(r))
            assert_int_equal(count, cases[i].count);
    }
}

static void texts(struct result (*read)(struct bytes, struct buf *), const char *const cases[][2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t room[300];
        struct buf out = BUF(room);
        struct result r = read(bytes_of(cases[i][0]), &out);

        assert_int_equal(is_ok(r), cases[i][1] != NULL);
        if (is_ok(r))
            assert_true(bytes_equal(buf_bytes(&out), bytes_of(cases[i][1])));
    }
}

static void names(void **state)
{
    static const char *const cases[][2] = {{"mail.example.org", "mail.example.org"},
        {"MAIL.Example.ORG", "mail.example.org"}, {"localhost", "localhost"},
        {"B\xc3\xbc"
         "cher.example",
            "xn--bcher-kva.example"},
        {"a\xff.example", NULL}, {"3com.example", "3com.example"}, {"_dmarc.example", "_dmarc.example"}, {"", NULL},
        {".", NULL}, {"a..b", NULL}, {".a", NULL}, {"a.", NULL}, {"-a.b", NULL}, {"a-.b", NULL}, {"a.b-", NULL},
        {"a b", NULL}, {"192.0.2.1", NULL}, {"[192.0.2.1]", NULL}, {"a\r\nb", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", NULL}};

    (void)state;
    texts(value_name, cases, COUNT_OF(cases));
}

static void dns_servers(void **state)
{
    static const char *const cases[][2] = {{"127.0.0.1", "127.0.0.1:53"}, {"127.0.0.1:5353", "127.0.0.1:5353"},
        {"::1", "[::1]:53"}, {"[::1]", "[::1]:53"}, {"[0:0::1]:54", "[::1]:54"}, {"", NULL}, {"ns.example", NULL},
        {"127.0.0.1:0", NULL}, {"[127.0.0.1]:53", NULL}, {"127.0.0.1:x", NULL}};

    (void)state;
    texts(value_dns_server, cases, COUNT_OF(cases));
}

static void own_name(void **state)
{
    static const struct {
        const char *own, *hosts, *chosen;
    } cases[] = {
        {"mx.example.org", "127.0.0.1 localhost\n", "mx.example.org"},
        {"mx", "127.0.0.1 localhost\n127.0.1.1\tmx.example.org mx # ours\n", "mx.example.org"},
        {"mx", "127.0.1.1 MX Mx.Example.org\n", "mx.example.org"},
        {"mx", "#127.0.1.1 mx.example.org mx\n127.0.0.1 other.example other", "mx"},
        {"mx", "10.0.0.1 bad..name mx\n10.0.0.2 mx.example.net mx", "mx.example.net"},
        {"mx", "", "mx"},
        {"bad name", "", NULL},
        {"", "127.0.0.1 a.example", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[300];
        struct buf out = BUF(room);
        struct result r = local_name_choose(bytes_of(cases[i].own), bytes_of(cases[i].hosts), &out);

        assert_int_equal(is_ok(r), cases[i].chosen != NULL);
        if (is_ok(r))
            assert_true(bytes_equal(buf_bytes(&out), bytes_of(cases[i].chosen)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(sizes),
        cmocka_unit_test(percents),
        cmocka_unit_test(networks),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(names),
        cmocka_unit_test(dns_servers),
        cmocka_unit_test(own_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
