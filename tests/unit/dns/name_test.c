/* Names and addresses: what is valid, what is a host, how addresses are written and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dns/message.h"

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid, host;
    } cases[] = {
        {"", true, false},
        {"example.org", true, true},
        {"localhost", true, true},
        {"_25._tcp.mx.example.org", true, true},
        {"0/25.2.0.192.in-addr.arpa", true, false},
        {"a..b", false, false},
        {".a", false, false},
        {"a.", false, false}, /* dns_name_set takes one off */
        {"192.0.2.1", true, false},
        {"mx.1", true, false},
        {"1.mx", true, true},
        {"-a.example", true, false},
        {"a-.example", true, false},
        {"a\\.b", false, false},
        {"a b", false, false},
        {"a\"b", false, false},
        {"b\xc3\xbc.example", false, false},
        {"[192.0.2.1]", true, false},
        {"mx!.example", true, false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (dns_name_is_valid(bytes_of(cases[i].text)) != cases[i].valid)
            fail_msg("valid: %s", cases[i].text);
        if (dns_name_is_host(bytes_of(cases[i].text)) != cases[i].host)
            fail_msg("host: %s", cases[i].text);
    }
}

static void test_name_bounds(void **state)
{
    (void)state;
    uint8_t text[300];
    struct dns_name name;

    memset(text, 'a', sizeof text);
    assert_true(dns_name_is_valid((struct bytes){text, 63}));
    assert_false(dns_name_is_valid((struct bytes){text, 64}));
    for (size_t i = 63; i < sizeof text; i += 64)
        text[i] = '.';
    assert_true(dns_name_is_valid((struct bytes){text, 253}));
    assert_true(dns_name_is_host((struct bytes){text, 253}));
    assert_false(dns_name_is_valid((struct bytes){text, 254}));
    assert_true(is_ok(dns_name_set(&name, BYTES("Example.ORG."))));
    assert_int_equal(name.size, 11);
    assert_true(dns_name_equal(dns_name_bytes(&name), BYTES("example.org")));
    assert_true(dns_name_equal(BYTES("example.org."), BYTES("EXAMPLE.org")));
    assert_false(dns_name_equal(BYTES("example.org"), BYTES("example.orga")));
    assert_int_equal(dns_name_set(&name, BYTES("a..b")).code, CODE_SYNTAX);
    assert_int_equal(name.size, 11);
    assert_int_equal(dns_name_set(&name, BYTES("a..")).code, CODE_SYNTAX);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"256.0.0.1", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.5", NULL},
        {"1.2.3.", NULL},
        {"01.2.3.4", NULL},
        {"1.2.3.0004", NULL},
        {"", NULL},
        {"1.2.3.4 ", NULL},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8::1", "2001:db8::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1::2::3", NULL},
        {":::", NULL},
        {":1", NULL},
        {"1:", NULL},
        {"12345::", NULL},
        {"g::", NULL},
        {"fe80::1%eth0", NULL},
        {"1.2.3.4::", NULL},
        {"::1.2.3.4:5", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t room[DNS_ADDRESS_TEXT_SIZE_MAX];
        struct buf out = BUF(room);
        struct dns_address a;
        struct result r = dns_address_parse(bytes_of(cases[i].in), &a);
        if (is_ok(r) != (cases[i].out != NULL))
            fail_msg("parse: %s", cases[i].in);
        if (!is_ok(r))
            continue;
        assert_true(is_ok(dns_address_put(&out, &a)));
        if (!bytes_equal(buf_bytes(&out), bytes_of(cases[i].out)))
            fail_msg("%s became %.*s", cases[i].in, BYTES_ARG(buf_bytes(&out)));
    }
}

static void test_literals_and_kinds(void **state)
{
    (void)state;
    struct dns_address a, b;
    struct dns_name name;

    assert_true(is_ok(dns_address_parse_literal(BYTES("[192.0.2.1]"), &a)));
    assert_true(is_ok(dns_address_parse_literal(BYTES("[ipv6:::ffff:192.0.2.1]"), &b)));
    assert_true(dns_address_equal(&a, &b));
    assert_false(is_ok(dns_address_parse_literal(BYTES("[2001:db8::1]"), &b)));
    assert_false(is_ok(dns_address_parse_literal(BYTES("[IPv6:192.0.2.1]"), &b)));
    assert_false(is_ok(dns_address_parse_literal(BYTES("192.0.2.1"), &b)));
    assert_false(is_ok(dns_address_parse_literal(BYTES("[]"), &b)));
    static const struct {
        const char *text;
        bool unicast;
    } kinds[] = {{"192.0.2.1", true}, {"127.0.0.1", true}, {"0.0.0.0", false}, {"0.1.2.3", false}, {"224.0.0.1", false},
        {"255.255.255.255", false}, {"::", false}, {"::1", true}, {"ff02::1", false}, {"::ffff:0.0.0.0", false}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        assert_true(is_ok(dns_address_parse(bytes_of(kinds[i].text), &a)));
        if (dns_address_is_unicast(&a) != kinds[i].unicast)
            fail_msg("unicast: %s", kinds[i].text);
    }
    assert_false(dns_address_equal(&(struct dns_address){0}, &(struct dns_address){0}));
    assert_true(is_ok(dns_address_parse(BYTES("192.0.2.10"), &a)));
    dns_reverse_name(&a, &name);
    assert_true(bytes_equal(dns_name_bytes(&name), BYTES("10.2.0.192.in-addr.arpa")));
    assert_true(is_ok(dns_address_parse(BYTES("2001:db8::1"), &a)));
    dns_reverse_name(&a, &name);
    assert_true(bytes_equal(
        dns_name_bytes(&name), BYTES("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_bounds),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_literals_and_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
