/* The MX walk against little written worlds: what each name answers, how each address behaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dns/mx.h"

/* "T NAME VALUE": M (MX: "10 host"), 4 (A), 6 (AAAA); VALUE may be nxdomain, servfail, timeout, nodata. Names that stand
 * nowhere do not exist; those that stand somewhere have no data of other types. */
struct fact {
    char type;
    const char *name;
    const char *value;
};

struct world {
    const struct fact *facts;
    size_t fact_count;
    const char *behaviour; /* "192.0.2.1=5 192.0.2.2=4 ...": outcome of a try; others: c */
    bool authentic;
};

#define WORLD(facts_, behaviour_) ((struct world){(facts_), COUNT_OF(facts_), (behaviour_), false})

static enum dns_status status_word(const char *word)
{
    return strcmp(word, "nxdomain") == 0   ? DNS_NXDOMAIN
           : strcmp(word, "servfail") == 0 ? DNS_SERVFAIL
           : strcmp(word, "timeout") == 0  ? DNS_TIMEOUT
           : strcmp(word, "nodata") == 0   ? DNS_NODATA
                                           : DNS_OK;
}

static void world_add(struct dns_answer *a, const char *value)
{
    if (a->type == DNS_TYPE_MX) {
        char *end;
        struct dns_mx mx = {.preference = (uint16_t)strtoul(value, &end, 10)};
        assert_true(is_ok(dns_name_set(&mx.host, bytes_of(end + 1))));
        a->mx[a->count++] = mx; /* worlds list them by preference */
    } else {
        assert_true(is_ok(dns_address_parse(bytes_of(value), &a->address[a->count++])));
    }
}

static void world_answer(const struct world *w, struct bytes name, uint16_t type, struct dns_answer *a)
{
    char wanted = type == DNS_TYPE_MX ? 'M' : type == DNS_TYPE_A ? '4' : '6';
    bool exists = false;

    dns_answer_fail(a, type, DNS_NXDOMAIN);
    for (size_t i = 0; i < w->fact_count; i++) {
        const struct fact *f = &w->facts[i];
        if (!dns_name_equal(bytes_of(f->name), name))
            continue;
        exists = true;
        if (f->type != wanted && f->type != '*')
            continue;
        a->status = status_word(f->value);
        if (a->status != DNS_OK)
            return;
        world_add(a, f->value);
    }
    if (exists && a->count == 0)
        a->status = DNS_NODATA;
    a->authentic = w->authentic;
    assert_true(is_ok(dns_name_set(&a->canonical, name)));
}

static enum mx_outcome world_try(const struct world *w, const char *address)
{
    const char *at = w->behaviour ? strstr(w->behaviour, address) : NULL;

    if (at == NULL || at[strlen(address)] != '=')
        return MX_TRY_CONNECT_FAILED;
    switch (at[strlen(address) + 1]) {
    case '5':
        return MX_TRY_GREETED_5XX;
    case '4':
        return MX_TRY_GREETED_4XX;
    case 'n':
        return MX_TRY_NO_ROUTE;
    default:
        return MX_TRY_LOST;
    }
}

struct run {
    char tried[512]; /* "host/address host/address " */
    unsigned asks;
    unsigned asks_open_max;
    struct mx_verdict verdict;
};

static const struct bytes our_names[] = {BYTES_INIT("mail.us.example"), BYTES_INIT("us.example")};
static struct dns_endpoint our_endpoints[2];

static struct mx_self self(void)
{
    assert_true(is_ok(dns_address_parse(BYTES("192.0.2.99"), &our_endpoints[0].address)));
    assert_true(is_ok(dns_address_parse(BYTES("2001:db8::99"), &our_endpoints[1].address)));
    our_endpoints[0].port = our_endpoints[1].port = 25;
    return (struct mx_self){our_names, COUNT_OF(our_names), our_endpoints, COUNT_OF(our_endpoints)};
}

static void note_try(struct run *run, const struct world *world, struct mx_walk *w, const struct mx_event *event)
{
    uint8_t room[DNS_ADDRESS_TEXT_SIZE_MAX + 1];
    struct buf text = BUF(room);

    assert_true(is_ok(dns_address_put(&text, &event->address)));
    assert_true(is_ok(buf_put_octet(&text, 0)));
    size_t at = strlen(run->tried);
    snprintf(run->tried + at, sizeof run->tried - at, "%.*s/%s ", BYTES_ARG(event->host), (char *)room);
    mx_walk_result(w, world_try(world, (char *)room));
}

/* Answers come in the order of the questions, or (odd seeds) the other way round. */
static struct run walk(const struct world *world, const struct mx_target *target, uint64_t seed)
{
    static struct mx_walk w;
    static struct dns_answer answer;
    struct mx_self us = self();
    struct run run = {0};
    struct mx_event event, open[MX_ASK_COUNT_MAX];
    char names[MX_ASK_COUNT_MAX][DNS_NAME_SIZE_MAX];
    unsigned open_count = 0;

    mx_walk_init(&w, target, &us, seed);
    for (;;) {
        if (mx_walk_next(&w, &event)) {
            if (event.kind == MX_EVENT_DONE) {
                assert_int_equal(open_count, 0);
                assert_false(mx_walk_next(&w, &event));
                run.verdict = event.verdict;
                return run;
            }
            if (event.kind == MX_EVENT_TRY) {
                note_try(&run, world, &w, &event);
                continue;
            }
            assert_true(open_count < MX_ASK_COUNT_MAX);
            memcpy(names[event.ask], event.name.data, event.name.size);
            event.name.data = (uint8_t *)names[event.ask];
            open[open_count++] = event;
            run.asks++;
            run.asks_open_max = open_count > run.asks_open_max ? open_count : run.asks_open_max;
            continue;
        }
        assert_true(open_count > 0);
        unsigned pick = seed & 1 ? open_count - 1 : 0;
        struct mx_event asked = open[pick];
        memmove(open + pick, open + pick + 1, (open_count - pick - 1) * sizeof open[0]);
        open_count--;
        world_answer(world, asked.name, asked.type, &answer);
        mx_walk_answer(&w, asked.ask, &answer);
    }
}

static const struct mx_target TO_D = {.domain = BYTES_INIT("d.example"), .port = 25, .ipv4 = true, .ipv6 = true};

static void expect(
    const char *name, struct world world, const struct mx_target *target, const char *tried, const char *status)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct run run = walk(&world, target, seed);
        if (tried != NULL && strcmp(run.tried, tried) != 0)
            fail_msg("%s: tried %s", name, run.tried);
        if (strcmp(run.verdict.status, status) != 0)
            fail_msg("%s: %s %s", name, run.verdict.status, run.verdict.why);
        assert_int_equal(run.verdict.permanent, status[0] == '5');
    }
}

static void test_order(void **state)
{
    (void)state;
    const struct fact by_preference[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"},
        {'4', "a.example", "192.0.2.1"}, {'4', "b.example", "192.0.2.2"}, {'6', "b.example", "2001:db8::2"}};
    expect("order", WORLD(by_preference, ""), &TO_D, "a.example/192.0.2.1 b.example/2001:db8::2 b.example/192.0.2.2 ",
        "4.4.1");
    const struct mx_target v4 = {.domain = BYTES("d.example"), .port = 25, .ipv4 = true};
    expect("one family", WORLD(by_preference, ""), &v4, "a.example/192.0.2.1 b.example/192.0.2.2 ", "4.4.1");
    const struct fact implicit[] = {{'4', "d.example", "192.0.2.1"}};
    expect("implicit", WORLD(implicit, ""), &TO_D, "d.example/192.0.2.1 ", "4.4.1");
    const struct fact doubled[] = {
        {'M', "d.example", "10 a.example"}, {'M', "d.example", "20 A.example"}, {'4', "a.example", "192.0.2.1"}};
    expect("named twice", WORLD(doubled, ""), &TO_D, "a.example/192.0.2.1 ", "4.4.1");
    const struct fact many[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"},
        {'4', "a.example", "192.0.2.1"}, {'4', "a.example", "192.0.2.1"}, {'4', "a.example", "192.0.2.1"},
        {'4', "a.example", "192.0.2.1"}, {'4', "a.example", "192.0.2.1"}, {'4', "b.example", "192.0.2.2"},
        {'4', "b.example", "192.0.2.2"}, {'4', "b.example", "192.0.2.2"}};
    expect("share of a host", WORLD(many, ""), &TO_D,
        "a.example/192.0.2.1 a.example/192.0.2.1 a.example/192.0.2.1 b.example/192.0.2.2 b.example/192.0.2.2 ",
        "4.4.1");
    const struct fact one[] = {{'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"},
        {'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"},
        {'4', "d.example", "192.0.2.1"}};
    expect("all tries for the only host", WORLD(one, ""), &TO_D,
        "d.example/192.0.2.1 d.example/192.0.2.1 d.example/192.0.2.1 d.example/192.0.2.1 d.example/192.0.2.1 ",
        "4.4.1");
    const struct fact families[] = {{'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"},
        {'6', "d.example", "2001:db8::1"}, {'6', "d.example", "2001:db8::1"}};
    expect("families take turns", WORLD(families, ""), &TO_D,
        "d.example/2001:db8::1 d.example/192.0.2.1 d.example/2001:db8::1 d.example/192.0.2.1 ", "4.4.1");
    const struct fact no_route[] = {{'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"},
        {'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.1"}, {'6', "d.example", "2001:db8::1"},
        {'6', "d.example", "2001:db8::1"}};
    expect("no IPv6 here", WORLD(no_route, "2001:db8::1=n"), &TO_D,
        "d.example/2001:db8::1 d.example/192.0.2.1 d.example/2001:db8::1 d.example/192.0.2.1 d.example/192.0.2.1 "
        "d.example/192.0.2.1 ",
        "4.4.1");
}

static void test_no_way(void **state)
{
    (void)state;
    const struct fact null_mx[] = {{'M', "d.example", "0 "}, {'4', "d.example", "192.0.2.1"}};
    expect("null MX", WORLD(null_mx, ""), &TO_D, "", "5.1.10");
    const struct fact null_and[] = {
        {'M', "d.example", "0 "}, {'M', "d.example", "10 a.example"}, {'4', "a.example", "192.0.2.1"}};
    expect("null MX beside a real one", WORLD(null_and, ""), &TO_D, "a.example/192.0.2.1 ", "4.4.1");
    const struct fact none[] = {{'4', "x.example", "192.0.2.1"}};
    expect("no domain", WORLD(none, ""), &TO_D, "", "5.1.2");
    const struct fact empty[] = {{'T', "d.example", ""}};
    expect("no MX, no address", WORLD(empty, ""), &TO_D, "", "5.4.4");
    const struct fact gone[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"},
        {'4', "d.example", "192.0.2.1"}, {'T', "b.example", ""}};
    expect("no MX host exists, never the domain's own address", WORLD(gone, ""), &TO_D, "", "5.4.4");
    const struct fact literal[] = {
        {'M', "d.example", "10 192.0.2.1"}, {'4', "d.example", "192.0.2.1"}, {'4', "192.0.2.1", "192.0.2.1"}};
    expect("address in an MX", WORLD(literal, ""), &TO_D, "", "5.4.4");
    const struct fact unspecified[] = {
        {'M', "d.example", "10 a.example"}, {'4', "a.example", "0.0.0.0"}, {'6', "a.example", "ff02::1"}};
    expect("addresses that are none", WORLD(unspecified, ""), &TO_D, "", "5.4.4");
    const struct mx_target odd = {.domain = BYTES("d..example"), .port = 25, .ipv4 = true};
    expect("not a name", WORLD(none, ""), &odd, "", "5.1.2");
    const struct mx_target dotted = {.domain = BYTES("192.0.2.1"), .port = 25, .ipv4 = true};
    expect("address without brackets", WORLD(none, ""), &dotted, "", "5.1.2");
}

static void test_temporary(void **state)
{
    (void)state;
    const struct fact mx_fails[] = {{'M', "d.example", "servfail"}, {'4', "d.example", "192.0.2.1"}};
    expect("MX fails", WORLD(mx_fails, ""), &TO_D, "", "4.4.3");
    const struct fact host_fails[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"},
        {'*', "a.example", "servfail"}, {'4', "b.example", "192.0.2.2"}};
    expect("one host fails, the other is used", WORLD(host_fails, ""), &TO_D, "b.example/192.0.2.2 ", "4.4.1");
    expect("one host fails, the other refuses", WORLD(host_fails, "192.0.2.2=5"), &TO_D, NULL, "4.4.1");
    const struct fact rest_gone[] = {
        {'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"}, {'*', "a.example", "timeout"}};
    expect("one host fails, the other does not exist", WORLD(rest_gone, ""), &TO_D, "", "4.4.3");
    const struct fact half[] = {{'4', "d.example", "192.0.2.1"}, {'6', "d.example", "servfail"}};
    expect("one family fails", WORLD(half, ""), &TO_D, "d.example/192.0.2.1 ", "4.4.1");
    const struct fact half_empty[] = {{'6', "d.example", "servfail"}};
    expect("one family fails, the other is empty", WORLD(half_empty, ""), &TO_D, "", "4.4.3");
    struct world w = WORLD(mx_fails, "");
    struct run run = walk(&w, &TO_D, 0);
    assert_int_equal(run.verdict.dns, DNS_SERVFAIL);
    assert_int_equal(run.verdict.kind, MX_VERDICT_DNS);
}

static void test_refused(void **state)
{
    (void)state;
    const struct fact two[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "20 b.example"},
        {'4', "a.example", "192.0.2.1"}, {'4', "b.example", "192.0.2.2"}};
    expect("all 5xx", WORLD(two, "192.0.2.1=5 192.0.2.2=5"), &TO_D, NULL, "5.3.2");
    expect("5xx and dead", WORLD(two, "192.0.2.1=5"), &TO_D, NULL, "4.4.1");
    expect("5xx and 4xx", WORLD(two, "192.0.2.1=5 192.0.2.2=4"), &TO_D, NULL, "4.4.1");
    expect("5xx and no route", WORLD(two, "192.0.2.1=5 192.0.2.2=n"), &TO_D, NULL, "4.4.1");
    const struct fact six[] = {{'M', "d.example", "1 a.example"}, {'M', "d.example", "2 b.example"},
        {'M', "d.example", "3 c.example"}, {'M', "d.example", "4 e.example"}, {'M', "d.example", "5 f.example"},
        {'M', "d.example", "6 g.example"}, {'4', "a.example", "192.0.2.1"}, {'4', "b.example", "192.0.2.1"},
        {'4', "c.example", "192.0.2.1"}, {'4', "e.example", "192.0.2.1"}, {'4', "f.example", "192.0.2.1"},
        {'4', "g.example", "192.0.2.1"}};
    expect("5xx from five, the sixth not asked", WORLD(six, "192.0.2.1=5"), &TO_D, NULL, "4.4.1");
    const struct fact mixed[] = {{'4', "d.example", "192.0.2.1"}, {'4', "d.example", "192.0.2.2"}};
    expect("two addresses, one dead", WORLD(mixed, "192.0.2.1=5"), &TO_D, NULL, "4.4.1");
}

static void test_ourselves(void **state)
{
    (void)state;
    const struct fact name_first[] = {
        {'M', "d.example", "10 MAIL.us.example"}, {'M', "d.example", "20 b.example"}, {'4', "b.example", "192.0.2.2"}};
    expect("our name is the best", WORLD(name_first, ""), &TO_D, "", "5.4.6");
    const struct fact name_last[] = {{'M', "d.example", "10 b.example"}, {'M', "d.example", "20 us.example"},
        {'M', "d.example", "30 c.example"}, {'4', "b.example", "192.0.2.2"}, {'4', "c.example", "192.0.2.3"}};
    expect("our name in the middle", WORLD(name_last, ""), &TO_D, "b.example/192.0.2.2 ", "4.4.1");
    expect("better ones refuse", WORLD(name_last, "192.0.2.2=5"), &TO_D, NULL, "5.3.2");
    const struct fact name_equal[] = {
        {'M', "d.example", "10 b.example"}, {'M', "d.example", "10 us.example"}, {'4', "b.example", "192.0.2.2"}};
    expect("our name among equals", WORLD(name_equal, ""), &TO_D, "", "5.4.6");
    const struct fact address_equal[] = {{'M', "d.example", "10 b.example"}, {'M', "d.example", "10 alias.example"},
        {'M', "d.example", "20 c.example"}, {'4', "b.example", "192.0.2.2"}, {'4', "alias.example", "192.0.2.99"},
        {'4', "c.example", "192.0.2.3"}};
    expect("our address among equals", WORLD(address_equal, ""), &TO_D, "", "5.4.6");
    const struct fact address_later[] = {{'M', "d.example", "10 b.example"}, {'M', "d.example", "20 alias.example"},
        {'M', "d.example", "30 c.example"}, {'4', "b.example", "192.0.2.2"}, {'6', "alias.example", "2001:db8::99"},
        {'4', "c.example", "192.0.2.3"}};
    expect("our address later", WORLD(address_later, ""), &TO_D, "b.example/192.0.2.2 ", "4.4.1");
    const struct fact better_gone[] = {{'M', "d.example", "10 b.example"}, {'M', "d.example", "20 us.example"}};
    expect("better ones do not exist", WORLD(better_gone, ""), &TO_D, "", "5.4.6");
    const struct fact better_fails[] = {
        {'M', "d.example", "10 b.example"}, {'M', "d.example", "20 us.example"}, {'*', "b.example", "servfail"}};
    expect("better ones cannot be looked up", WORLD(better_fails, ""), &TO_D, "", "4.4.3");
    const struct fact equal_fails[] = {{'M', "d.example", "10 b.example"}, {'M', "d.example", "10 alias.example"},
        {'*', "b.example", "servfail"}, {'4', "alias.example", "192.0.2.99"}};
    expect("an equal one cannot be looked up", WORLD(equal_fails, ""), &TO_D, "", "5.4.6");
    const struct fact implicit[] = {{'4', "d.example", "192.0.2.99"}};
    expect("implicit", WORLD(implicit, ""), &TO_D, "", "5.4.6");
    struct mx_target other_port = TO_D;
    other_port.port = 2525;
    expect("our address, another port", WORLD(implicit, ""), &other_port, "d.example/192.0.2.99 ", "4.4.1");
    const struct mx_target us = {.domain = BYTES("us.example"), .port = 25, .ipv4 = true};
    expect("implicit by name", WORLD(((struct fact[]){{'4', "us.example", "192.0.2.7"}}), ""), &us, "", "5.4.6");
    const struct mx_target literal = {.domain = BYTES("[IPv6:2001:db8::99]"), .port = 25, .ipv4 = true};
    expect("literal", WORLD(implicit, ""), &literal, "", "5.4.6");
}

static void test_direct(void **state)
{
    (void)state;
    const struct fact facts[] = {{'M', "d.example", "10 wrong.example"}, {'4', "d.example", "192.0.2.1"},
        {'4', "us.example", "192.0.2.1"}, {'4', "loop.example", "192.0.2.99"}};
    struct mx_target t = {.domain = BYTES("d.example"), .port = 25, .direct = true, .ipv4 = true, .ipv6 = true};
    expect("no MX for a host", WORLD(facts, ""), &t, "d.example/192.0.2.1 ", "4.4.1");
    expect("5xx", WORLD(facts, "192.0.2.1=5"), &t, NULL, "5.3.2");
    t.domain = BYTES("us.example");
    expect("our own name is allowed", WORLD(facts, ""), &t, "us.example/192.0.2.1 ", "4.4.1");
    t.domain = BYTES("loop.example");
    expect("our own address is not", WORLD(facts, ""), &t, "", "4.4.6");
    t.domain = BYTES("gone.example");
    expect("unknown", WORLD(facts, ""), &t, "", "4.4.4");
    t.domain = BYTES("[127.0.0.1]");
    expect("literal", WORLD(facts, ""), &t, "[127.0.0.1]/127.0.0.1 ", "4.4.1");
    t.domain = BYTES("127.0.0.1");
    expect("bare", WORLD(facts, ""), &t, "127.0.0.1/127.0.0.1 ", "4.4.1");
    t.domain = BYTES("[2001:db8::1]");
    expect("untagged", WORLD(facts, ""), &t, "[2001:db8::1]/2001:db8::1 ", "4.4.1");
    const struct mx_target literal = {.domain = BYTES("[192.0.2.5]"), .port = 25, .ipv4 = true};
    expect("mail to a literal", WORLD(facts, ""), &literal, "[192.0.2.5]/192.0.2.5 ", "4.4.1");
}

/* Equal hosts come first about equally often, and the same seed gives the same order. */
static void test_equal_hosts(void **state)
{
    (void)state;
    const struct fact facts[] = {{'M', "d.example", "10 a.example"}, {'M', "d.example", "10 b.example"},
        {'M', "d.example", "10 c.example"}, {'M', "d.example", "20 z.example"}, {'4', "a.example", "192.0.2.1"},
        {'4', "b.example", "192.0.2.2"}, {'4', "c.example", "192.0.2.3"}, {'4', "z.example", "192.0.2.9"}};
    struct world world = WORLD(facts, "");
    unsigned first[3] = {0};

    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct run run = walk(&world, &TO_D, seed);
        assert_in_range(run.tried[0], 'a', 'c');
        first[run.tried[0] - 'a']++;
        assert_non_null(strstr(run.tried, "z.example/192.0.2.9 "));
        assert_string_equal(strstr(run.tried, "z.example"), "z.example/192.0.2.9 ");
        if (seed % 100 == 0)
            assert_string_equal(run.tried, walk(&world, &TO_D, seed).tried);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(first[i], 850, 1150);
}

/* Fifty hosts of the longest names: bounded questions, bounded names, all tries made. */
static void test_many_hosts(void **state)
{
    (void)state;
    static struct fact facts[2 * DNS_MX_COUNT_MAX];
    static char names[DNS_MX_COUNT_MAX][256], values[DNS_MX_COUNT_MAX][264];
    char pad[61];

    memset(pad, 'x', 60);
    pad[60] = 0;
    for (int i = 0; i < DNS_MX_COUNT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "h%02d.%s.%s.%s.example", i, pad, pad, pad);
        snprintf(values[i], sizeof values[i], "10 %.250s", names[i]);
        facts[2 * i] = (struct fact){'M', "d.example", values[i]};
        facts[2 * i + 1] = (struct fact){'4', names[i], "192.0.2.1"};
    }
    struct world world = WORLD(facts, "");
    struct run run = walk(&world, &TO_D, 1);
    assert_int_equal(run.asks_open_max, MX_ASK_COUNT_MAX);
    assert_int_equal(run.asks, 1 + 2 * (MX_NAMES_SIZE_MAX / strlen(names[0])));
    assert_string_equal(run.verdict.status, "4.4.1");
    assert_int_equal(run.verdict.kind, MX_VERDICT_UNREACHED);
}

static void test_secure(void **state)
{
    (void)state;
    static struct mx_walk w;
    static struct dns_answer a;
    struct mx_self us = self();
    struct mx_event event;

    for (int insecure = 0; insecure < 3; insecure++) {
        mx_walk_init(&w, &(struct mx_target){.domain = BYTES("d.example"), .port = 25, .ipv4 = true}, &us, 1);
        assert_true(mx_walk_next(&w, &event));
        dns_answer_fail(&a, DNS_TYPE_MX, DNS_OK);
        a.authentic = insecure != 1;
        a.count = 1;
        a.mx[0].preference = 7;
        assert_true(is_ok(dns_name_set(&a.mx[0].host, BYTES("a.example"))));
        mx_walk_answer(&w, event.ask, &a);
        assert_true(mx_walk_next(&w, &event));
        dns_answer_fail(&a, DNS_TYPE_A, DNS_OK);
        a.authentic = insecure != 2;
        a.count = 1;
        assert_true(is_ok(dns_address_parse(BYTES("192.0.2.1"), &a.address[0])));
        assert_true(is_ok(dns_name_set(&a.canonical, BYTES("real.example"))));
        mx_walk_answer(&w, event.ask, &a);
        assert_true(mx_walk_next(&w, &event));
        assert_int_equal(event.kind, MX_EVENT_TRY);
        assert_int_equal(event.preference, 7);
        assert_int_equal(event.secure, insecure == 0);
        assert_true(bytes_equal(event.host, BYTES("a.example")));
        assert_true(bytes_equal(event.tlsa_base, insecure == 2 ? BYTES("a.example") : BYTES("real.example")));
        assert_false(event.fallback_left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_way),
        cmocka_unit_test(test_temporary),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_equal_hosts),
        cmocka_unit_test(test_many_hosts),
        cmocka_unit_test(test_secure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
