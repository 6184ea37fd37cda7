/* Packets: what we ask, what well-meaning servers answer, and what hostile ones send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns/message.h"

/* --- packets by hand: "owner TYPE ttl data" --- */

struct maker {
    uint8_t room[65535];
    struct buf out;
};

static struct maker maker;
static struct dns_question question;
static struct dns_answer answer;

static void put_name(const char *text)
{
    struct bytes rest = bytes_of(text);

    while (rest.size > 0) {
        ptrdiff_t dot = bytes_index(rest, '.');
        struct bytes label = dot < 0 ? rest : bytes_head(rest, (size_t)dot);
        assert_true(is_ok(wire_put_u8(&maker.out, (uint8_t)label.size)));
        assert_true(is_ok(buf_put(&maker.out, label)));
        rest = bytes_after(rest, label.size + 1);
    }
    assert_true(is_ok(wire_put_u8(&maker.out, 0)));
}

static void put16(unsigned value)
{
    assert_true(is_ok(wire_put_u16(&maker.out, (uint16_t)value)));
}

static void put32(uint32_t value)
{
    assert_true(is_ok(wire_put_u32(&maker.out, value)));
}

/* A fresh answer to NAME, TYPE with these flags. */
static void begin(const char *name, uint16_t type, unsigned flags)
{
    question = (struct dns_question){.type = type, .id = 0x1234, .recursion = true};
    assert_true(is_ok(dns_name_set(&question.name, bytes_of(name))));
    buf_init(&maker.out, maker.room, sizeof maker.room);
    put16(0x1234);
    put16(0x8180 | flags);
    put16(1);
    put16(0);
    put16(0);
    put16(0);
    put_name(name);
    put16(type);
    put16(1);
}

enum { ANSWER = 6, AUTHORITY = 8, ADDITIONAL = 10 };

static size_t record_begin(int section, const char *owner, uint16_t type, uint32_t ttl)
{
    maker.room[section + 1]++;
    put_name(owner);
    put16(type);
    put16(1);
    put32(ttl);
    put16(0);
    return maker.out.size;
}

static void record_end(size_t rdata)
{
    size_t size = maker.out.size - rdata;

    maker.room[rdata - 2] = (uint8_t)(size >> 8);
    maker.room[rdata - 1] = (uint8_t)size;
}

static void mx(const char *owner, uint32_t ttl, unsigned preference, const char *host)
{
    size_t at = record_begin(ANSWER, owner, DNS_TYPE_MX, ttl);
    put16(preference);
    put_name(host);
    record_end(at);
}

static void name_record(int section, const char *owner, uint16_t type, uint32_t ttl, const char *target)
{
    size_t at = record_begin(section, owner, type, ttl);
    put_name(target);
    record_end(at);
}

static void raw(const char *owner, uint16_t type, uint32_t ttl, struct bytes data)
{
    size_t at = record_begin(ANSWER, owner, type, ttl);
    assert_true(is_ok(buf_put(&maker.out, data)));
    record_end(at);
}

static void soa(const char *owner, uint32_t ttl, uint32_t minimum)
{
    size_t at = record_begin(AUTHORITY, owner, DNS_TYPE_SOA, ttl);
    put_name("ns.example");
    put_name("hostmaster.example");
    for (uint32_t i = 1; i < 5; i++)
        put32(i);
    put32(minimum);
    record_end(at);
}

static enum dns_status parse(void)
{
    dns_answer_parse(&question, buf_bytes(&maker.out), &answer);
    return answer.status;
}

static bool is(const struct dns_name *name, const char *text)
{
    return bytes_equal(dns_name_bytes(name), bytes_of(text));
}

/* --- tests --- */

static void test_question(void **state)
{
    (void)state;
    uint8_t room[DNS_QUESTION_SIZE_MAX];
    struct buf out = BUF(room);
    struct dns_question q = {
        .type = DNS_TYPE_MX, .id = 0xabcd, .recursion = true, .ask_authentic = true, .edns = true, .dnssec_ok = true};

    assert_true(is_ok(dns_name_set(&q.name, BYTES("a.bc"))));
    assert_true(is_ok(dns_question_put(&out, &q)));
    static const uint8_t wanted[] = {0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 2, 'b', 'c', 0, 0, 15, 0,
        1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0};
    assert_int_equal(out.size, sizeof wanted);
    assert_memory_equal(room, wanted, sizeof wanted);

    memset(q.name.text, 'a', sizeof q.name.text);
    q.name.text[63] = q.name.text[127] = q.name.text[191] = '.';
    q.name.size = DNS_NAME_SIZE_MAX;
    buf_reset(&out);
    assert_true(is_ok(dns_question_put(&out, &q)));
    assert_int_equal(out.size, DNS_QUESTION_SIZE_MAX);
    buf_init(&out, room, sizeof room - 1);
    assert_int_equal(dns_question_put(&out, &q).code, CODE_FULL);
    q.name.text[5] = ' ';
    assert_int_equal(dns_question_put(&out, &q).code, CODE_SYNTAX);
}

static void test_mx(void **state)
{
    (void)state;
    begin("D.example", DNS_TYPE_MX, 0);
    mx("d.EXAMPLE", 300, 20, "b.example");
    mx("d.example", 200, 10, "a.example");
    mx("d.example", 400, 20, "c.example");
    mx("other.example", 5, 1, "evil.example");
    mx("d.example", 300, 0, "");
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 4);
    assert_int_equal(answer.mx[0].host.size, 0);
    assert_true(is(&answer.mx[1].host, "a.example"));
    assert_true(is(&answer.mx[2].host, "b.example"));
    assert_true(is(&answer.mx[3].host, "c.example"));
    assert_int_equal(answer.mx[3].preference, 20);
    assert_int_equal(answer.ttl, 200);
    assert_false(answer.authentic);
    assert_false(answer.edns);
}

static void test_mx_bound(void **state)
{
    (void)state;
    begin("d.example", DNS_TYPE_MX, 0);
    for (unsigned i = 0; i < DNS_MX_COUNT_MAX + 10; i++)
        mx("d.example", 300, 1000 - i, "a.example");
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, DNS_MX_COUNT_MAX);
    assert_int_equal(answer.unusable, 10);
    for (unsigned i = 0; i < DNS_MX_COUNT_MAX; i++)
        assert_int_equal(answer.mx[i].preference, 1000 - (DNS_MX_COUNT_MAX + 9) + i);
}

static void test_addresses(void **state)
{
    (void)state;
    begin("h.example", DNS_TYPE_A, 0x20);
    for (int i = 0; i < DNS_ADDRESS_COUNT_MAX + 2; i++)
        raw("h.example", DNS_TYPE_A, 60, BYTES("\xc0\x00\x02\x01"));
    name_record(ADDITIONAL, "", DNS_TYPE_OPT, 0, "");
    maker.out.size--; /* an OPT without data */
    record_end(maker.out.size);
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, DNS_ADDRESS_COUNT_MAX);
    assert_int_equal(answer.unusable, 2);
    assert_int_equal(answer.address[19].family, 4);
    assert_int_equal(answer.address[19].octets[3], 1);
    assert_true(answer.authentic);
    assert_true(answer.edns);

    begin("h.example", DNS_TYPE_AAAA, 0);
    raw("h.example", DNS_TYPE_AAAA, 60, BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"));
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.address[0].family, 6);
    assert_int_equal(answer.address[0].octets[15], 1);

    begin("h.example", DNS_TYPE_A, 0);
    raw("h.example", DNS_TYPE_A, 60, BYTES("\xc0\x00\x02"));
    assert_int_equal(parse(), DNS_MALFORMED);
}

static void test_chain(void **state)
{
    (void)state;
    begin("a.example", DNS_TYPE_A, 0);
    raw("c.example", DNS_TYPE_A, 60, BYTES("\xc0\x00\x02\x01")); /* in no order */
    name_record(ANSWER, "b.example", DNS_TYPE_CNAME, 30, "C.example");
    name_record(ANSWER, "a.example", DNS_TYPE_CNAME, 90, "b.example");
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.ttl, 30);
    assert_true(is(&answer.canonical, "C.example"));

    begin("a.example", DNS_TYPE_A, 0);
    name_record(ANSWER, "a.example", DNS_TYPE_CNAME, 90, "b.example");
    name_record(ANSWER, "b.example", DNS_TYPE_CNAME, 90, "a.example");
    assert_int_equal(parse(), DNS_MALFORMED);

    char from[32], to[32];
    for (int hops = DNS_CNAME_HOPS_MAX; hops <= DNS_CNAME_HOPS_MAX + 1; hops++) {
        begin("n0.example", DNS_TYPE_A, 0);
        for (int i = 0; i < hops; i++) {
            snprintf(from, sizeof from, "n%d.example", i);
            snprintf(to, sizeof to, "n%d.example", i + 1);
            name_record(ANSWER, from, DNS_TYPE_CNAME, 90, to);
        }
        raw(to, DNS_TYPE_A, 60, BYTES("\xc0\x00\x02\x01"));
        assert_int_equal(parse(), hops == DNS_CNAME_HOPS_MAX ? DNS_OK : DNS_MALFORMED);
    }

    begin("a.example", DNS_TYPE_A, 0); /* the server stopped half way */
    name_record(ANSWER, "a.example", DNS_TYPE_CNAME, 90, "b.other");
    name_record(AUTHORITY, "example", 2, 90, "ns.example");
    assert_int_equal(parse(), DNS_NODATA);
    assert_true(answer.chain_open);
    assert_int_equal(answer.ttl, 90);
    assert_true(is(&answer.canonical, "b.other"));

    begin("a.example", DNS_TYPE_A, 3); /* RFC 6604: the code is the last name's */
    name_record(ANSWER, "a.example", DNS_TYPE_CNAME, 90, "b.example");
    soa("example", 1000, 500);
    assert_int_equal(parse(), DNS_NXDOMAIN);
    assert_int_equal(answer.ttl, 90);
    assert_true(is(&answer.canonical, "b.example"));

    begin("a.example", DNS_TYPE_CNAME, 0);
    name_record(ANSWER, "a.example", DNS_TYPE_CNAME, 90, "b.example");
    assert_int_equal(parse(), DNS_OK);
    assert_true(is(&answer.ptr[0], "b.example"));
}

static void test_negative(void **state)
{
    (void)state;
    static const struct {
        unsigned rcode;
        enum dns_status status;
    } codes[] = {{1, DNS_REFUSED}, {2, DNS_SERVFAIL}, {3, DNS_NXDOMAIN}, {4, DNS_REFUSED}, {5, DNS_REFUSED},
        {9, DNS_REFUSED}, {0, DNS_NODATA}};

    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        begin("d.example", DNS_TYPE_MX, codes[i].rcode);
        assert_int_equal(parse(), codes[i].status);
        assert_int_equal(answer.ttl, 0);
    }
    begin("d.example", DNS_TYPE_MX, 0);
    soa("example", 1000, 500);
    assert_int_equal(parse(), DNS_NODATA);
    assert_int_equal(answer.ttl, 500);
    assert_false(answer.chain_open);
    begin("d.example", DNS_TYPE_MX, 3);
    soa("example", 100, 500);
    assert_int_equal(parse(), DNS_NXDOMAIN);
    assert_int_equal(answer.ttl, 100);
    begin("d.example", DNS_TYPE_MX, 0); /* a referral says nothing about the name */
    name_record(AUTHORITY, "example", 2, 90, "ns.example");
    assert_int_equal(parse(), DNS_SERVFAIL);
    begin("d.example", DNS_TYPE_MX, 0); /* extended code 16, BADVERS */
    name_record(ADDITIONAL, "", DNS_TYPE_OPT, 0x01000000, "");
    maker.out.size--;
    record_end(maker.out.size);
    assert_int_equal(parse(), DNS_REFUSED);
    begin("d.example", DNS_TYPE_MX, 0x200);
    assert_int_equal(parse(), DNS_TRUNCATED);
}

static void test_other_types(void **state)
{
    (void)state;
    begin("_25._tcp.d.example", DNS_TYPE_TLSA, 0x20);
    raw("_25._tcp.d.example", DNS_TYPE_TLSA, 60,
        BYTES("\x03\x01\x01"
              "digest-one"));
    raw("_25._tcp.d.example", DNS_TYPE_TLSA, 60,
        BYTES("\x02\x00\x02"
              "two"));
    raw("_25._tcp.d.example", DNS_TYPE_TLSA, 60, BYTES("\x02\x00\x02"));
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 3);
    assert_int_equal(answer.tlsa[0].usage, 3);
    assert_int_equal(answer.tlsa[1].matching, 2);
    assert_true(bytes_equal(dns_tlsa_data(&answer, 0), BYTES("digest-one")));
    assert_true(bytes_equal(dns_tlsa_data(&answer, 1), BYTES("two")));
    assert_int_equal(dns_tlsa_data(&answer, 2).size, 0);
    begin("_25._tcp.d.example", DNS_TYPE_TLSA, 0);
    raw("_25._tcp.d.example", DNS_TYPE_TLSA, 60, BYTES("\x03\x01"));
    assert_int_equal(parse(), DNS_MALFORMED);
    begin("_25._tcp.d.example", DNS_TYPE_TLSA, 0);
    for (int i = 0; i < 5; i++) {
        static uint8_t big[3000];
        raw("_25._tcp.d.example", DNS_TYPE_TLSA, 60, (struct bytes){big, sizeof big});
    }
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.unusable, 3);

    begin("1.2.0.192.in-addr.arpa", DNS_TYPE_PTR, 0);
    for (int i = 0; i < DNS_PTR_COUNT_MAX + 1; i++)
        name_record(ANSWER, "1.2.0.192.in-addr.arpa", DNS_TYPE_PTR, 60, "h.example");
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, DNS_PTR_COUNT_MAX);
    assert_int_equal(answer.unusable, 1);
}

static void test_odd_names(void **state)
{
    (void)state;
    begin("d.example", DNS_TYPE_MX, 0);
    raw("d.example", DNS_TYPE_MX, 60,
        BYTES("\0\x0a\x03"
              "a.b\x07"
              "example\0"));
    raw("d.example", DNS_TYPE_MX, 60,
        BYTES("\0\x0a\x03"
              "a\0b\0"));
    raw("d.example", DNS_TYPE_MX, 60, BYTES("\0\x0a\x02\xc3\xbc\0"));
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(answer.unusable, 3);
    begin("d.example", DNS_TYPE_A, 0);
    raw("d.example", DNS_TYPE_CNAME, 60,
        BYTES("\x03"
              "a.b\0"));
    assert_int_equal(parse(), DNS_MALFORMED);
    begin("a.b.example", DNS_TYPE_A, 0); /* one label "a.b" is not the labels "a", "b" */
    maker.room[7] = 1;
    assert_true(is_ok(buf_put(&maker.out, BYTES("\x03"
                                                "a.b\x07"
                                                "example\0\0\x01\0\x01\0\0\0\x3c\0\x04\1\2\3\4"))));
    assert_int_equal(parse(), DNS_NODATA);
}

static void test_wrong_answers(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *what;
    } cases[] = {{0, 0x13, "id"}, {2, 0x01, "not an answer"}, {2, 0x89, "opcode"}, {5, 2, "two questions"},
        {5, 0, "no question"}, {13, 'x', "another name"}, {24, 16, "another type"}, {26, 3, "another class"},
        {7, 2, "fewer records than told"}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin("d.example", DNS_TYPE_MX, 0);
        mx("d.example", 300, 10, "a.example");
        assert_int_equal(parse(), DNS_OK);
        maker.room[cases[i].at] = cases[i].value;
        if (parse() != DNS_MALFORMED)
            fail_msg("%s", cases[i].what);
        assert_int_equal(answer.count, 0);
        assert_int_equal(answer.ttl, 0);
    }
    begin("d.example", DNS_TYPE_MX, 2);
    maker.room[5] = 0;
    maker.out.size = 12;
    assert_int_equal(parse(), DNS_SERVFAIL); /* a bare header is enough to say no */
    maker.room[3] = 0x83;
    assert_int_equal(parse(), DNS_MALFORMED); /* but not to say that nothing exists */
}

static void test_compression(void **state)
{
    (void)state;
    static const struct {
        struct bytes host;
        enum dns_status status;
        const char *name;
    } cases[] = {
        {BYTES_INIT("\x01"
                    "a\xc0\x0c"),
            DNS_OK, "a.d.example"},
        {BYTES_INIT("\xc0\x0e"), DNS_OK, "example"},
        {BYTES_INIT("\xc0\x32"), DNS_MALFORMED, "itself"},
        {BYTES_INIT("\x01"
                    "a\xc0\x32"),
            DNS_MALFORMED, "its own beginning"},
        {BYTES_INIT("\xc0\x33"), DNS_MALFORMED, "forward"},
        {BYTES_INIT("\xff\xff"), DNS_MALFORMED, "beyond"},
        {BYTES_INIT("\xc0"), DNS_MALFORMED, "half a pointer"},
        {BYTES_INIT("\x80\x0c"), DNS_MALFORMED, "reserved"},
        {BYTES_INIT("\x40\x0c"), DNS_MALFORMED, "reserved"},
        {BYTES_INIT("\x01"
                    "a\xc0\x0c\0"),
            DNS_MALFORMED, "an octet left"},
        {BYTES_INIT("\x05"
                    "a"),
            DNS_MALFORMED, "a label over the end"},
        {BYTES_INIT("\x01"
                    "a"),
            DNS_MALFORMED, "no end"},
        {BYTES_INIT(""), DNS_MALFORMED, "nothing"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin("d.example", DNS_TYPE_MX, 0);
        size_t at = record_begin(ANSWER, "d.example", DNS_TYPE_MX, 60);
        assert_int_equal(at, 0x30);
        put16(10);
        assert_true(is_ok(buf_put(&maker.out, cases[i].host)));
        record_end(at);
        if (parse() != cases[i].status)
            fail_msg("%s", cases[i].name);
        if (cases[i].status == DNS_OK)
            assert_true(is(&answer.mx[0].host, cases[i].name));
    }
    /* The data may not run on into the next record. */
    begin("d.example", DNS_TYPE_MX, 0);
    size_t at = record_begin(ANSWER, "d.example", DNS_TYPE_MX, 60);
    put16(10);
    put_name("a.example");
    record_end(at);
    maker.room[at - 1] -= 2;
    assert_int_equal(parse(), DNS_MALFORMED);
    /* A name that grows past 255 octets by a pointer. */
    static char longest[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    begin(longest, DNS_TYPE_MX, 0);
    raw(longest, DNS_TYPE_MX, 60, BYTES("\0\x0a\xc0\x0c"));
    assert_int_equal(parse(), DNS_OK);
    begin(longest, DNS_TYPE_MX, 0);
    raw(longest, DNS_TYPE_MX, 60,
        BYTES("\0\x0a\x01"
              "a\xc0\x0c"));
    assert_int_equal(parse(), DNS_MALFORMED);
}

static void rich_packet(void)
{
    begin("d.example", DNS_TYPE_MX, 0x20);
    name_record(ANSWER, "d.example", DNS_TYPE_CNAME, 90, "e.example");
    mx("e.example", 300, 10, "a.example");
    raw("e.example", DNS_TYPE_MX, 60,
        BYTES("\0\x14\x01"
              "b\xc0\x0e"));
    soa("example", 100, 500);
    name_record(ADDITIONAL, "", DNS_TYPE_OPT, 0, "");
}

/* The packet ends right before a page that must not be touched. */
static void test_every_cut_and_flip(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    rich_packet();
    assert_int_equal(parse(), DNS_OK);
    assert_int_equal(answer.count, 2);
    size_t size = maker.out.size;
    for (size_t cut = 0; cut < size; cut++) {
        memcpy(pages + page - cut, maker.room, cut);
        dns_answer_parse(&question, (struct bytes){pages + page - cut, cut}, &answer);
        assert_int_equal(answer.status, DNS_MALFORMED);
    }
    uint8_t *at = pages + page - size;
    for (size_t i = 0; i < size; i++)
        for (unsigned value = 0; value < 256; value++) {
            memcpy(at, maker.room, size);
            at[i] = (uint8_t)value;
            dns_answer_parse(&question, (struct bytes){at, size}, &answer);
            assert_true(answer.status < DNS_STATUS_COUNT);
            assert_true(answer.count <= 2);
        }
    munmap(pages, 2 * page);
}

static void test_words(void **state)
{
    (void)state;
    for (int i = 0; i < DNS_STATUS_COUNT; i++)
        assert_non_null(dns_status_text((enum dns_status)i));
    assert_false(dns_status_is_temporary(DNS_OK));
    assert_false(dns_status_is_temporary(DNS_NXDOMAIN));
    assert_false(dns_status_is_temporary(DNS_NODATA));
    assert_false(dns_status_is_temporary(DNS_BAD_NAME));
    for (int i = DNS_SERVFAIL; i < DNS_STATUS_COUNT; i++)
        assert_true(dns_status_is_temporary((enum dns_status)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_mx),
        cmocka_unit_test(test_mx_bound),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_negative),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_compression),
        cmocka_unit_test(test_every_cut_and_flip),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
