/* What an attempt learned, as lines: whole, bounded, and printable whatever a name server or a host is called. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/outbound/findings.h"

static uint8_t room[FINDINGS_SIZE_MAX];

static void lines_and_numbers(void **state)
{
    struct findings f;
    struct dns_answer a = {.status = DNS_OK, .type = DNS_TYPE_MX, .count = 2, .authentic = true};
    struct dns_address address = {.family = 0};

    (void)state;
    findings_init(&f, room);
    a.mx[0].preference = 10;
    assert_true(is_ok(dns_name_set(&a.mx[0].host, BYTES("mx1.example.net"))));
    a.mx[1].preference = 20;
    findings_answer(&f, BYTES("example.net"), &a);
    dns_answer_fail(&a, DNS_TYPE_A, DNS_NXDOMAIN);
    findings_answer(&f, BYTES("mx1.example.net"), &a);
    dns_answer_fail(&a, DNS_TYPE_AAAA, DNS_TIMEOUT);
    findings_answer(&f, BYTES("mx1.example.net"), &a);
    assert_true(is_ok(dns_address_parse(BYTES("192.0.2.1"), &address)));
    findings_dial(&f, BYTES("mx1\nexample"), &address, 25, "Connection refused");
    assert_int_equal(f.found, 1);
    assert_int_equal(f.none, 1);
    assert_int_equal(f.failed, 1);
    struct bytes text = buf_bytes(&f.text);
    assert_true(bytes_starts(text, BYTES("dns MX example.net: 10 mx1.example.net, 20 . (DNSSEC)\n")));
    assert_true(bytes_find(text, BYTES("\ndns A mx1.example.net: ")) > 0);
    assert_true(bytes_find(text, BYTES("\ndial mx1?example [192.0.2.1]:25: Connection refused\n")) > 0);
}

static void what_has_no_room_is_left_out(void **state)
{
    struct findings f;
    struct dns_address unix_host = {.family = 0};

    (void)state;
    findings_init(&f, room);
    for (int i = 0; i < 100; i++)
        findings_dial(&f, BYTES("host.example"), &unix_host, 0, "No such file or directory");
    assert_true(f.text.size <= FINDINGS_SIZE_MAX && f.text.size > FINDINGS_SIZE_MAX - 100);
    assert_int_equal(f.text.data[f.text.size - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_numbers), cmocka_unit_test(what_has_no_room_is_left_out)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
