/* stranger: what is asked about a client's address, and what the answers make of it. */
#include "dns/stranger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct stranger_list LISTS[] = {
    {.zone = BYTES_INIT("any.example")},
    {.zone = BYTES_INIT("one.example"), .one_answer = true, .answer = {127, 0, 0, 4}},
};

static struct stranger_ask asks[16];
static unsigned ask_count;

static void pull(struct stranger *s)
{
    for (ask_count = 0; stranger_next(s, &asks[ask_count]); ask_count++)
        assert_true(ask_count < COUNT_OF(asks) - 1);
}

static struct dns_address address(const char *text)
{
    struct dns_address a;

    assert_true(is_ok(dns_address_parse(bytes_of(text), &a)));
    return a;
}

/* The user of the question of that name, or 99. */
static uint32_t asked(const char *name, enum dns_type type)
{
    for (unsigned i = 0; i < ask_count; i++)
        if (bytes_equal(dns_name_bytes(&asks[i].name), bytes_of(name)) && asks[i].type == type)
            return asks[i].user;
    return 99;
}

static void tell_address(struct stranger *s, uint32_t user, const char *text)
{
    struct dns_answer answer = {.status = DNS_OK, .type = DNS_TYPE_A, .count = 1};

    answer.address[0] = address(text);
    stranger_answer(s, user, &answer);
}

static void tell_names(struct stranger *s, uint32_t user, unsigned count, const char *const *names)
{
    struct dns_answer answer = {.status = DNS_OK, .type = DNS_TYPE_PTR, .count = count};

    for (unsigned i = 0; i < count; i++)
        assert_true(is_ok(dns_name_set(&answer.ptr[i], bytes_of(names[i]))));
    stranger_answer(s, user, &answer);
}

static void tell(struct stranger *s, uint32_t user, enum dns_status status)
{
    struct dns_answer answer = {.status = status, .type = DNS_TYPE_A};

    stranger_answer(s, user, &answer);
}

static void name_and_lists(void **state)
{
    static const char *const names[] = {"not a host!", "liar.example", "true.example", "x.example", "never.example"};
    struct dns_address a = address("192.0.2.7");
    struct stranger s;

    (void)state;
    stranger_init(&s, &a, LISTS, COUNT_OF(LISTS), true);
    pull(&s);
    assert_int_equal(3, ask_count);
    uint32_t any = asked("7.2.0.192.any.example", DNS_TYPE_A), one = asked("7.2.0.192.one.example", DNS_TYPE_A);
    assert_true(any != 99 && one != 99);
    tell_names(&s, asked("7.2.0.192.in-addr.arpa", DNS_TYPE_PTR), 4, names + 1);
    pull(&s);
    assert_int_equal(3, ask_count);
    tell_address(&s, asked("liar.example", DNS_TYPE_A), "192.0.2.8");
    tell_address(&s, asked("true.example", DNS_TYPE_A), "192.0.2.7");
    assert_false(stranger_done(&s));
    tell(&s, asked("x.example", DNS_TYPE_A), DNS_TIMEOUT);
    tell_address(&s, any, "127.0.0.2");
    tell_address(&s, one, "127.0.0.2");
    assert_true(stranger_done(&s));
    assert_int_equal(1, s.listed);
    assert_false(stranger_is_nameless(&s));
    assert_true(bytes_equal(dns_name_bytes(&s.name), BYTES("true.example")));
}

static void lists_out_of_order(void **state)
{
    struct dns_address a = address("192.0.2.7");
    struct stranger s;

    (void)state;
    stranger_init(&s, &a, LISTS, COUNT_OF(LISTS), false);
    pull(&s);
    assert_int_equal(2, ask_count);
    tell_address(&s, asks[0].user, "192.0.2.1"); /* a zone that was sold answers everything */
    tell_address(&s, asks[1].user, "127.0.0.4");
    assert_true(stranger_done(&s));
    assert_int_equal(2, s.listed);
    stranger_init(&s, &a, LISTS, COUNT_OF(LISTS), false);
    pull(&s);
    stranger_answer(&s, asks[0].user, NULL);
    tell(&s, asks[1].user, DNS_SERVFAIL);
    assert_int_equal(0, s.listed);
    assert_false(stranger_is_nameless(&s));
}

/* Nameless is who surely has no name, while lists are still silent; not he whose name could not be had. */
static void nameless(void **state)
{
    static const struct {
        enum dns_status status;
        bool nameless;
    } cases[] = {{DNS_NXDOMAIN, true}, {DNS_NODATA, true}, {DNS_SERVFAIL, false}, {DNS_TIMEOUT, false}};
    struct dns_address a = address("2001:db8::7");
    struct stranger s;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        stranger_init(&s, &a, LISTS, COUNT_OF(LISTS), true);
        assert_false(stranger_is_nameless(&s));
        pull(&s);
        assert_true(
            asked("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.any.example", DNS_TYPE_A) != 99);
        tell(&s, asked("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", DNS_TYPE_PTR),
            cases[i].status);
        assert_int_equal(cases[i].nameless, stranger_is_nameless(&s));
        assert_false(stranger_done(&s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_and_lists),
        cmocka_unit_test(lists_out_of_order),
        cmocka_unit_test(nameless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
