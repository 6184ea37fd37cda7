#include "queue/route.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- targets --- */

static const struct {
    const char *text;
    enum route_kind kind;
    const char *hop, *status, *words;
} good[] = {
    {"mx", ROUTE_MX, "", "", ""},
    {"  MX\t", ROUTE_MX, "", "", ""},
    {"maildir", ROUTE_LOCAL, "", "", ""},
    {"hold", ROUTE_HOLD, "", "", ""},
    {"discard", ROUTE_DISCARD, "", "", ""},
    {"relay:[smtp.isp.net]:587", ROUTE_RELAY, "[smtp.isp.net]:587", "", ""},
    {"relay:[SMTP.Isp.NET]", ROUTE_RELAY, "[smtp.isp.net]:25", "", ""},
    {"relay:smtp.isp.net", ROUTE_RELAY, "[smtp.isp.net]:25", "", ""},
    {"relay:smtp.isp.net.:2525", ROUTE_RELAY, "[smtp.isp.net]:2525", "", ""},
    {"relay: smtp.isp.net:587", ROUTE_RELAY, "[smtp.isp.net]:587", "", ""},
    {"relay:relay1:25", ROUTE_RELAY, "[relay1]:25", "", ""},
    {"relay:mail.3com", ROUTE_RELAY, "[mail.3com]:25", "", ""},
    {"relay:_smtp.isp.net", ROUTE_RELAY, "[_smtp.isp.net]:25", "", ""},
    {"relay:192.0.2.1", ROUTE_RELAY, "[192.0.2.1]:25", "", ""},
    {"relay:[192.0.2.1]:26", ROUTE_RELAY, "[192.0.2.1]:26", "", ""},
    {"relay:[2001:DB8::1]:25", ROUTE_RELAY, "[2001:db8::1]:25", "", ""},
    {"relay:[IPv6:2001:db8::1]", ROUTE_RELAY, "[2001:db8::1]:25", "", ""},
    {"relay:[::]", ROUTE_RELAY, "[::]:25", "", ""},
    {"relay:[::1]:1", ROUTE_RELAY, "[::1]:1", "", ""},
    {"relay:[fe80::]:65535", ROUTE_RELAY, "[fe80::]:65535", "", ""},
    {"relay:[1:2:3:4:5:6:7:8]", ROUTE_RELAY, "[1:2:3:4:5:6:7:8]:25", "", ""},
    {"relay:[::ffff:192.0.2.1]", ROUTE_RELAY, "[::ffff:192.0.2.1]:25", "", ""},
    {"relay:[64:ff9b::192.0.2.1]", ROUTE_RELAY, "[64:ff9b::192.0.2.1]:25", "", ""},
    {"relay:[a.example]:25,b.example, [2001:db8::2]:26", ROUTE_RELAY, "[a.example]:25,[b.example]:25,[2001:db8::2]:26",
        "", ""},
    {"relay:[a]:25*3|b , c*1", ROUTE_RELAY, "[a]:25*3|[b]:25,[c]:25", "", ""},
    {"relay:a*100|b * 2|[::1]:26*7", ROUTE_RELAY, "[a]:25*100|[b]:25*2|[::1]:26*7", "", ""},
    {"relay:a,b,c,d,e,f,g,h", ROUTE_RELAY, "[a]:25,[b]:25,[c]:25,[d]:25,[e]:25,[f]:25,[g]:25,[h]:25", "", ""},
    {"lmtp:[127.0.0.1]:24", ROUTE_LMTP, "[127.0.0.1]:24", "", ""},
    {"lmtp:localhost", ROUTE_LMTP, "[localhost]:24", "", ""},
    {"LMTP:UNIX:/run/dovecot/lmtp", ROUTE_LMTP, "unix:/run/dovecot/lmtp", "", ""},
    {"lmtp:unix:/run/a,b:c", ROUTE_LMTP, "unix:/run/a,b:c", "", ""},
    {"pipe:/usr/bin/filter -a \"b c\"", ROUTE_PIPE, "/usr/bin/filter -a \"b c\"", "", ""},
    {"error:5.1.1 no such user", ROUTE_ERROR, "", "5.1.1", "no such user"},
    {"error:5.7.1 not here: ever", ROUTE_ERROR, "", "5.7.1", "not here: ever"},
    {"error: 5.7.100 not here", ROUTE_ERROR, "", "5.7.100", "not here"},
    {"error:5.1.1", ROUTE_ERROR, "", "5.1.1", "mail for this address is refused here"},
};

static const struct {
    const char *text, *why; /* a piece of the reason */
} bad[] = {
    {"", "expected mx"},
    {"smtp", "expected mx"},
    {"mx:", "nothing may follow"},
    {"relay:a*0", "a weight must be"},
    {"relay:a*101|b", "a weight must be"},
    {"relay:a*|b", "a weight must be"},
    {"relay:a|", "a host is missing"},
    {"relay:*3", "a host is missing"},
    {"relay:a/b", "a host name holds"},
    {"relay:a,b,c,d|e|f|g|h|i", "at most 8"},
    {"mx:example.org", "nothing may follow"},
    {"hold:x", "nothing may follow"},
    {"discard:", "nothing may follow"},
    {"maildir:/var/mail", "nothing may follow"},
    {"relay", "a colon and a value"},
    {"lmtp", "a colon and a value"},
    {"error", "a colon and a value"},
    {"relay:", "a host is missing"},
    {"relay:a.example,", "a host is missing"},
    {"relay:,a.example", "a host is missing"},
    {"relay:[]", "a host name is missing"},
    {"relay::25", "a host name is missing"},
    {"relay:[a.example", "without ']'"},
    {"relay:[a.example]25", "after ']'"},
    {"relay:[a.example] :25", "after ']'"},
    {"relay:a.example:", "a port"},
    {"relay:a.example:0", "a port"},
    {"relay:a.example:65536", "a port"},
    {"relay:a.example:smtp", "a port"},
    {"relay:a.example:-1", "a port"},
    {"relay:a.example:18446744073709551641", "a port"},
    {"relay:2001:db8::1", "in brackets"},
    {"relay:[2001:db8::1::2]", "not an IPv6"},
    {"relay:[1:2:3:4:5:6:7]", "not an IPv6"},
    {"relay:[1:2:3:4:5:6:7:8:9]", "not an IPv6"},
    {"relay:[1:2:3:4:5:6:7::8]", "not an IPv6"},
    {"relay:[12345::1]", "not an IPv6"},
    {"relay:[:1]", "not an IPv6"},
    {"relay:[1:]", "not an IPv6"},
    {"relay:[::1%eth0]", "not an IPv6"},
    {"relay:[1:2:3:4:5:6:7:192.0.2.1]", "not an IPv6"},
    {"relay:[::1.2.3]", "not an IPv6"},
    {"relay:300.0.2.1", "nor an IPv4"},
    {"relay:192.0.2", "nor an IPv4"},
    {"relay:192.0.2.1.5", "nor an IPv4"},
    {"relay:a..example", "empty label"},
    {"relay:.example", "empty label"},
    {"relay:a.example..", "empty label"},
    {"relay:.", "empty label"},
    {"relay:a b.example", "neither letter"},
    {"relay:user@a.example", "neither letter"},
    {"relay:b\xc3\xbc"
     "cher.example",
        "in ASCII"},
    {"relay:a.example\r\n", "control"},
    {"lmtp:unix:", "absolute path"},
    {"lmtp:unix:run/x", "absolute path"},
    {"lmtp:unix:/", "absolute path"},
    {"pipe:", "needs a command"},
    {"pipe:a\nb", "control"},
    {"error:", "permanent status"},
    {"error:no such user", "permanent status"},
    {"error:550 5.1.1 no", "permanent status"},
    {"error:4.1.1 later", "permanent status"},
    {"error:2.0.0 fine", "permanent status"},
    {"error:5.1 no", "permanent status"},
    {"error:5.1.1.1 no", "permanent status"},
    {"error:5.1.1x", "permanent status"},
    {"error:5.1.1234 no", "permanent status"},
    {"error:5.1.1 na\xc3\xafve", "ASCII"},
};

static void assert_bytes(struct bytes got, const char *expected)
{
    if (!bytes_equal(got, bytes_of(expected)))
        fail_msg("got '%.*s', expected '%s'", BYTES_ARG(got), expected);
}

static void targets_that_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct arena a;
        struct route_target target;
        struct result r;

        arena_init(&a, 65536);
        r = route_target_parse(&a, bytes_of(good[i].text), &target);
        if (!is_ok(r))
            fail_msg("'%s' refused: %s", good[i].text, r.why);
        assert_int_equal(target.kind, good[i].kind);
        assert_bytes(target.hop, good[i].hop);
        assert_bytes(target.status, good[i].status);
        assert_bytes(target.text, good[i].words);
        if (target.kind == ROUTE_RELAY || target.kind == ROUTE_LMTP) { /* what is canonical stays as it is */
            uint8_t room[512];
            struct buf again = BUF(room);
            struct route_target second;
            assert_true(is_ok(buf_put_str(&again, target.kind == ROUTE_RELAY ? "relay:" : "lmtp:")));
            assert_true(is_ok(buf_put(&again, target.hop)));
            assert_true(is_ok(route_target_parse(&a, buf_bytes(&again), &second)));
            assert_true(bytes_equal(second.hop, target.hop));
        }
        arena_fini(&a);
    }
}

static void targets_that_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct arena a;
        struct route_target target;
        struct result r;

        arena_init(&a, 65536);
        r = route_target_parse(&a, bytes_of(bad[i].text), &target);
        if (r.code != CODE_SYNTAX || strstr(r.why, bad[i].why) == NULL)
            fail_msg("'%s': code %d, why '%s', expected '%s'", bad[i].text, r.code, r.why ? r.why : "", bad[i].why);
        arena_fini(&a);
    }
}

static void targets_at_their_bounds(void **state)
{
    uint8_t room[4096];
    struct buf text = BUF(room);
    struct arena a;
    struct route_target target;
    struct result r;

    (void)state;
    arena_init(&a, 65536);
    assert_true(is_ok(buf_put_str(&text, "relay:a.example")));
    for (int i = 0; i < 60; i++)
        assert_true(is_ok(buf_put_str(&text, ",a.example")));
    r = route_target_parse(&a, buf_bytes(&text), &target);
    assert_int_equal(r.code, CODE_SYNTAX);
    assert_non_null(strstr(r.why, "too long"));

    buf_reset(&text);
    assert_true(is_ok(buf_put_str(&text, "pipe:")));
    for (int i = 0; i < LANE_NAME_SIZE_MAX; i++)
        assert_true(is_ok(buf_put_octet(&text, 'x')));
    assert_int_equal(route_target_parse(&a, buf_bytes(&text), &target).code, CODE_SYNTAX);

    buf_reset(&text);
    assert_true(is_ok(buf_put_str(&text, "relay:")));
    for (int i = 0; i < 64; i++)
        assert_true(is_ok(buf_put_octet(&text, 'x')));
    r = route_target_parse(&a, buf_bytes(&text), &target);
    assert_int_equal(r.code, CODE_SYNTAX);
    assert_non_null(strstr(r.why, "63"));
    arena_fini(&a);
}

/* --- the table --- */

#define EXACT(name, kind_)                                                                                             \
    {                                                                                                                  \
        .pattern = BYTES_INIT(name), .target = {.kind = (kind_) }                                                      \
    }
#define WILD(name, kind_)                                                                                              \
    {                                                                                                                  \
        .pattern = BYTES_INIT(name), .wildcard = true, .target = {.kind = (kind_) }                                    \
    }

static struct route routes[] = {
    {.wildcard = true, .target = {.kind = ROUTE_MX}, .port = 26},
    WILD(".example.net", ROUTE_DISCARD),
    {.pattern = BYTES_INIT("example.net"), .target = {.kind = ROUTE_RELAY, .hop = BYTES_INIT("[r]:25")}},
    WILD(".deep.example.net", ROUTE_HOLD),
    {.pattern = BYTES_INIT("both.example"), .target = {.kind = ROUTE_DISCARD}},
    {.pattern = BYTES_INIT("both.example"), .is_domain = true, .target = {.kind = ROUTE_LOCAL}},
    {.pattern = BYTES_INIT("lmtp.example"), .target = {.kind = ROUTE_LMTP, .hop = BYTES_INIT("unix:/run/l")}},
    {.pattern = BYTES_INIT("pipe.example"), .target = {.kind = ROUTE_PIPE, .hop = BYTES_INIT("/bin/x")}},
    {.pattern = BYTES_INIT("port.example"), .target = {.kind = ROUTE_MX}, .port = 2525},
    {.pattern = BYTES_INIT("noport.example"), .target = {.kind = ROUTE_MX}},
    EXACT("err.example", ROUTE_ERROR),
    EXACT("hold.example", ROUTE_HOLD),
    WILD(".hold.example", ROUTE_HOLD),
    WILD(".2]", ROUTE_DISCARD),
    EXACT("[192.0.2.9]", ROUTE_LOCAL),
};

static const struct {
    const char *domain;
    enum route_choice_kind kind;
    const char *lane;
} choices[] = {
    {"example.org", ROUTE_CHOICE_LANE, "mx:example.org"},
    {"example.net", ROUTE_CHOICE_LANE, "relay:[r]:25"},
    {"a.example.net", ROUTE_CHOICE_DISCARD, ""},
    {"a.b.example.net", ROUTE_CHOICE_DISCARD, ""},
    {"deep.example.net", ROUTE_CHOICE_DISCARD, ""},
    {"x.deep.example.net", ROUTE_CHOICE_HOLD, "mx:x.deep.example.net"},
    {"notexample.net", ROUTE_CHOICE_LANE, "mx:notexample.net"},
    {"example.net.example", ROUTE_CHOICE_LANE, "mx:example.net.example"},
    {"net", ROUTE_CHOICE_LANE, "mx:net"},
    {"both.example", ROUTE_CHOICE_LANE, "local"},
    {"lmtp.example", ROUTE_CHOICE_LANE, "lmtp:unix:/run/l"},
    {"pipe.example", ROUTE_CHOICE_LANE, "pipe:/bin/x"},
    {"err.example", ROUTE_CHOICE_ERROR, ""},
    {"hold.example", ROUTE_CHOICE_HOLD, "mx:hold.example"},
    {"[192.0.2.1]", ROUTE_CHOICE_LANE, "mx:[192.0.2.1]"},
    {"[192.0.2.2]", ROUTE_CHOICE_LANE, "mx:[192.0.2.2]"},
    {"[192.0.2.9]", ROUTE_CHOICE_LANE, "local"},
    {"[ipv6:2001:db8::1]", ROUTE_CHOICE_LANE, "mx:[ipv6:2001:db8::1]"},
};

static void choices_by_specificity(void **state)
{
    struct route_table table = {routes, COUNT_OF(routes)};

    (void)state;
    /* The outcome must not hang on the order that the blocks were written in. */
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rng rng = {seed};
        for (size_t i = COUNT_OF(routes) - 1; i > 0; i--) {
            size_t j = rng_below(&rng, i + 1);
            struct route keep = routes[i];
            routes[i] = routes[j];
            routes[j] = keep;
        }
        route_table_sort(routes, COUNT_OF(routes));
        assert_true(routes[COUNT_OF(routes) - 1].wildcard && routes[COUNT_OF(routes) - 1].pattern.size == 0);
        for (size_t i = 0; i < COUNT_OF(choices); i++) {
            uint8_t room[LANE_NAME_SIZE_MAX];
            struct buf lane = BUF(room);
            struct route_choice choice;
            assert_true(is_ok(route_choose(&table, bytes_of(choices[i].domain), &lane, &choice)));
            assert_int_equal(choice.kind, choices[i].kind);
            assert_bytes(choice.lane, choices[i].lane);
        }
    }
    assert_int_equal(route_mx_port(&table, BYTES("port.example")), 2525);
    assert_int_equal(route_mx_port(&table, BYTES("noport.example")), 25);
    assert_int_equal(route_mx_port(&table, BYTES("else.example")), 26);
    assert_int_equal(route_mx_port(&table, BYTES("[192.0.2.1]")), 26);
    assert_int_equal(route_mx_port(&table, BYTES("lmtp.example")), 25);
    assert_int_equal(route_mx_port(&table, BYTES("")), 25);
}

static void lanes_that_do_not_fit(void **state)
{
    struct route_table table = {routes, COUNT_OF(routes)};
    uint8_t room[LANE_NAME_SIZE_MAX + 100], domain[LANE_NAME_SIZE_MAX];
    struct buf lane;
    struct route_choice choice;

    (void)state;
    route_table_sort(routes, COUNT_OF(routes));
    memset(domain, 'x', sizeof domain);
    buf_init(&lane, room, sizeof room);
    assert_int_equal(
        route_choose(&table, (struct bytes){domain, LANE_NAME_SIZE_MAX - 2}, &lane, &choice).code, CODE_FULL);
    assert_int_equal(lane.size, 0);
    assert_true(is_ok(route_choose(&table, (struct bytes){domain, LANE_NAME_SIZE_MAX - 3}, &lane, &choice)));
    assert_int_equal(choice.lane.size, LANE_NAME_SIZE_MAX);
    buf_init(&lane, room, 10);
    assert_int_equal(route_choose(&table, BYTES("example.org"), &lane, &choice).code, CODE_FULL);
    assert_int_equal(lane.size, 0);
    assert_int_equal(route_choose(&table, BYTES_NONE, &lane, &choice).code, CODE_SYNTAX);
}

static void sorting_is_stable_and_right_for_any_order(void **state)
{
    static struct route many[3000];
    static uint8_t names[3000][4];

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng rng = {seed};
        size_t count = rng_below(&rng, COUNT_OF(many)) + 1;
        for (size_t i = 0; i < count; i++) {
            size_t size = rng_below(&rng, 3);
            for (size_t k = 0; k < size; k++)
                names[i][k] = (uint8_t)('a' + rng_below(&rng, 5));
            many[i] = (struct route){.pattern = {names[i], size},
                .wildcard = rng_below(&rng, 2),
                .is_domain = rng_below(&rng, 2),
                .port = (uint16_t)i};
        }
        route_table_sort(many, count);
        for (size_t i = 1; i < count; i++) {
            const struct route *a = &many[i - 1], *b = &many[i];
            assert_true(a->wildcard <= b->wildcard);
            if (a->wildcard != b->wildcard)
                continue;
            if (a->wildcard)
                assert_true(a->pattern.size >= b->pattern.size);
            if (bytes_equal(a->pattern, b->pattern)) {
                assert_true(a->is_domain >= b->is_domain);
                if (a->is_domain == b->is_domain)
                    assert_true(a->port < b->port);
            } else if (!a->wildcard || a->pattern.size == b->pattern.size) {
                assert_true(bytes_compare(a->pattern, b->pattern) < 0);
            }
        }
    }
}

static void lanes_have_the_tls_of_their_route(void **state)
{
    static const struct bytes both = BYTES_INIT("[r.example]:25"), none = BYTES_INIT("[n.example]:25"),
                              mixed = BYTES_INIT("[m.example]:25");
    struct route items[] = {
        {.pattern = BYTES("strict.example"), .target = {.kind = ROUTE_MX}, .tls = ROUTE_TLS_SECURE},
        {.pattern = BYTES("a.example"), .target = {.kind = ROUTE_RELAY, .hop = both}, .tls = ROUTE_TLS_NONE},
        {.pattern = BYTES("b.example"), .target = {.kind = ROUTE_RELAY, .hop = both}, .tls = ROUTE_TLS_VERIFY},
        {.pattern = BYTES("c.example"), .target = {.kind = ROUTE_RELAY, .hop = both}},
        {.pattern = BYTES("d.example"), .target = {.kind = ROUTE_RELAY, .hop = none}, .tls = ROUTE_TLS_NONE},
        {.pattern = BYTES("e.example"), .target = {.kind = ROUTE_RELAY, .hop = mixed}, .tls = ROUTE_TLS_DANE},
        {.pattern = BYTES("f.example"), .target = {.kind = ROUTE_RELAY, .hop = mixed}},
        {.pattern = BYTES(""), .wildcard = true, .target = {.kind = ROUTE_MX}, .tls = ROUTE_TLS_DANE},
    };
    struct route_table lanes = {items, COUNT_OF(items)};

    (void)state;
    route_table_sort(items, COUNT_OF(items));
    assert_int_equal(route_lane_tls(&lanes, BYTES("mx:strict.example")), ROUTE_TLS_SECURE);
    assert_int_equal(route_lane_tls(&lanes, BYTES("mx:other.example")), ROUTE_TLS_DANE);
    assert_int_equal(route_lane_tls(&lanes, BYTES("relay:[r.example]:25")), ROUTE_TLS_VERIFY);
    assert_int_equal(route_lane_tls(&lanes, BYTES("relay:[n.example]:25")), ROUTE_TLS_NONE);
    assert_int_equal(route_lane_tls(&lanes, BYTES("relay:[m.example]:25")), ROUTE_TLS_DANE);
    assert_int_equal(route_lane_tls(&lanes, BYTES("relay:[gone.example]:25")), ROUTE_TLS_OPPORTUNISTIC);
    assert_int_equal(route_lane_tls(&lanes, BYTES("lmtp:[r.example]:24")), ROUTE_TLS_OPPORTUNISTIC);
    assert_int_equal(route_lane_tls(&lanes, BYTES("mx:")), ROUTE_TLS_OPPORTUNISTIC);
}

static void hosts_of_a_place_are_drawn_by_weight(void **state)
{
    struct bytes rest = BYTES("[a]:25*3|[b]:25,[c]:25"), place = route_place_take(&rest);
    struct rng rng = {7};
    unsigned first[2] = {0};

    (void)state;
    assert_bytes(place, "[a]:25*3|[b]:25");
    for (unsigned i = 0; i < 4000; i++) {
        uint32_t tried = 0;
        struct bytes one = route_host_pick(place, &tried, &rng), two = route_host_pick(place, &tried, &rng);
        bool a_first = bytes_equal(one, BYTES("[a]:25"));

        first[a_first ? 0 : 1]++;
        assert_bytes(one, a_first ? "[a]:25" : "[b]:25");
        assert_bytes(two, a_first ? "[b]:25" : "[a]:25");
        assert_int_equal(route_host_pick(place, &tried, &rng).size, 0);
    }
    assert_in_range(first[0], 2900, 3100);
    assert_bytes(route_place_take(&rest), "[c]:25");
    assert_int_equal(route_place_take(&rest).size, 0);
}

static void lanes_name_their_source(void **state)
{
    static const struct bytes hop = BYTES_INIT("[r.example]:25*2|[s.example]:25");
    struct route items[] = {
        {.pattern = BYTES("from:@shop.example"), .target = {.kind = ROUTE_MX}, .source = BYTES("shop")},
        {.pattern = BYTES("far.example"),
            .target = {.kind = ROUTE_RELAY, .hop = hop},
            .tls = ROUTE_TLS_VERIFY,
            .source = BYTES("shop")},
        {.pattern = BYTES(""), .wildcard = true, .target = {.kind = ROUTE_MX}, .tls = ROUTE_TLS_DANE},
    };
    struct route_table table = {items, COUNT_OF(items)};
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(room);
    struct route_choice choice;
    struct bytes source;

    (void)state;
    route_table_sort(items, COUNT_OF(items));
    assert_true(is_ok(route_choose_for(&table, BYTES("a@b.example"), BYTES("x@Shop.Example"), &lane, &choice)));
    assert_bytes(choice.lane, "mx:b.example/shop");
    assert_bytes(route_lane_bare(choice.lane, &source), "mx:b.example");
    assert_bytes(source, "shop");
    assert_int_equal(route_lane_tls(&table, choice.lane), ROUTE_TLS_DANE);
    buf_reset(&lane);
    assert_true(is_ok(route_choose_for(&table, BYTES("a@far.example"), BYTES_NONE, &lane, &choice)));
    assert_bytes(choice.lane, "relay:[r.example]:25*2|[s.example]:25/shop");
    assert_int_equal(route_lane_tls(&table, choice.lane), ROUTE_TLS_VERIFY);
    assert_bytes(route_lane_bare(BYTES("lmtp:unix:/run/x"), &source), "lmtp:unix:/run/x");
    assert_int_equal(source.size, 0);
    assert_bytes(route_lane_bare(BYTES("mx:b.example"), &source), "mx:b.example");
    assert_int_equal(source.size, 0);
    buf_init(&lane, room, 16);
    assert_int_equal(
        route_choose_for(&table, BYTES("a@b.example"), BYTES("x@shop.example"), &lane, &choice).code, CODE_FULL);
    assert_int_equal(lane.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_of_a_place_are_drawn_by_weight),
        cmocka_unit_test(lanes_name_their_source),
        cmocka_unit_test(targets_that_are_read),
        cmocka_unit_test(targets_that_are_refused),
        cmocka_unit_test(targets_at_their_bounds),
        cmocka_unit_test(choices_by_specificity),
        cmocka_unit_test(lanes_that_do_not_fit),
        cmocka_unit_test(sorting_is_stable_and_right_for_any_order),
        cmocka_unit_test(lanes_have_the_tls_of_their_route),
    };
    return cmocka_run_group_tests_name("queue/route", tests, NULL, NULL);
}
