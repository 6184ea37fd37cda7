/* proxy: each case whole, with something behind it, and cut at every octet. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "daemon/inbound/proxy.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static const struct {
    const char *name;
    struct bytes in;
    enum code code;
    bool known;
    const char *text;
    uint8_t last; /* octet of a version 2 address */
    uint16_t port;
} CASES[] = {
    {"v1 IPv4", BYTES_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\n"), CODE_OK, true, "192.0.2.1", 0, 56324},
    {"v1 IPv6", BYTES_INIT("PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n"), CODE_OK, true, "2001:db8::1", 0, 1},
    {"v1 unknown", BYTES_INIT("PROXY UNKNOWN\r\n"), CODE_OK, false, NULL, 0, 0},
    {"v1 unknown with words", BYTES_INIT("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), CODE_OK, false, NULL, 0, 0},
    {"v1 wrong family", BYTES_INIT("PROXY TCP4 2001:db8::1 ::2 1 25\r\n"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v1 port too large", BYTES_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v1 word too many", BYTES_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 1 25 x\r\n"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v1 short", BYTES_INIT("PROXY TCP4 192.0.2.1\r\n"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v2 IPv4", BYTES_INIT(V2 "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x02\x12\x34\x00\x19"), CODE_OK, true, NULL,
        7, 0x1234},
    {"v2 IPv4 with more", BYTES_INIT(V2 "\x21\x11\x00\x0e\xc0\x00\x02\x07\xc0\x00\x02\x02\x12\x34\x00\x19xx"), CODE_OK,
        true, NULL, 7, 0x1234},
    {"v2 IPv6", BYTES_INIT(V2 "\x21\x21\x00\x24 123456789abcde\x09 123456789abcdef\x12\x34\x00\x19"), CODE_OK, true,
        NULL, 9, 0x1234},
    {"v2 local", BYTES_INIT(V2 "\x20\x00\x00\x00"), CODE_OK, false, NULL, 0, 0},
    {"v2 short", BYTES_INIT(V2 "\x21\x11\x00\x04\xc0\x00\x02\x07"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v2 version", BYTES_INIT(V2 "\x31\x11\x00\x00"), CODE_SYNTAX, false, NULL, 0, 0},
    {"v2 datagram", BYTES_INIT(V2 "\x21\x12\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x02\x12\x34\x00\x19"), CODE_SYNTAX,
        false, NULL, 0, 0},
    {"v2 endless", BYTES_INIT(V2 "\x21\x11\xff\xff"), CODE_SYNTAX, false, NULL, 0, 0},
    {"no header", BYTES_INIT("EHLO x\r\n"), CODE_SYNTAX, false, NULL, 0, 0},
};

static void reads_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        uint8_t octets[256];
        struct buf longer = BUF(octets);
        struct proxy_header header;
        struct result r;
        size_t eaten;

        assert_true(is_ok(buf_put(&longer, CASES[i].in)) && is_ok(buf_put_str(&longer, "EHLO x\r\n")));
        r = proxy_parse(buf_bytes(&longer), &header, &eaten);
        if (r.code != CASES[i].code)
            fail_msg("%s: code %d (%s)", CASES[i].name, (int)r.code, r.why);
        if (!is_ok(r))
            continue;
        assert_int_equal(eaten, CASES[i].in.size);
        assert_int_equal(header.known, CASES[i].known);
        assert_int_equal(header.port, CASES[i].port);
        if (CASES[i].text != NULL)
            assert_true(bytes_equal(header.text, bytes_of(CASES[i].text)));
        else
            assert_int_equal(header.address[15], CASES[i].last);
        for (size_t size = 0; size < CASES[i].in.size; size++) {
            uint8_t *cut = mem_take(size + 1); /* so that a read past it is seen */

            memcpy(cut, CASES[i].in.data, size);
            r = proxy_parse((struct bytes){cut, size}, &header, &eaten);
            if (r.code != CODE_MORE)
                fail_msg("%s cut at %zu: code %d", CASES[i].name, size, (int)r.code);
            mem_free(cut);
        }
    }
}

static void endless_line_is_refused(void **state)
{
    uint8_t octets[PROXY_V1_SIZE_MAX];
    struct proxy_header header;
    size_t eaten;

    (void)state;
    memset(octets, ' ', sizeof octets);
    memcpy(octets, "PROXY ", 6);
    assert_int_equal(proxy_parse((struct bytes){octets, sizeof octets}, &header, &eaten).code, CODE_SYNTAX);
    assert_int_equal(proxy_parse((struct bytes){octets, sizeof octets - 1}, &header, &eaten).code, CODE_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_headers),
        cmocka_unit_test(endless_line_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
