/* The filter language: what it means, where it says that it is wrong, and what half a subject can decide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "queue/filter.h"

enum { HOUR_MS = 3600000 };

static const struct envelope_head head = {
    .id = {1000},
    .arrival = {1000000000},
    .reverse_path = BYTES_INIT("alice@one.example"),
    .body_size = 5000,
    .origin = ORIGIN_LOCAL,
    .client = BYTES_INIT("uid 1000"),
    .login = BYTES_INIT("alice"),
    .message_id = BYTES_INIT("<x1@one.example>"),
    .subject = BYTES_INIT("Buy (now) \"cheap\""),
};
static const struct recipient rcpt = {
    .forward_path = BYTES_INIT("Bob@Two.example"),
    .lane = BYTES_INIT("mx:two.example"),
    .attempts = 4,
    .last_status = BYTES_INIT("4.2.0"),
    .last_reply = BYTES_INIT("450 4.2.0 Greylisted, come back"),
    .last_host = BYTES_INIT("mx.two.example"),
};

static struct filter_subject subject(void)
{
    return (struct filter_subject){.head = &head,
        .rcpt = &rcpt,
        .state = "deferred",
        .next = {1000000000 + 3 * HOUR_MS},
        .now = {1000000000 + 2 * HOUR_MS}};
}

static void what_it_means(void **state)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        {"all", true},
        {"not all", false},
        {"from=alice@one.example", true},
        {"from=ALICE@one.EXAMPLE", true},
        {"from=<alice@one.example>", true},
        {"from=\"\"", false},
        {"from!=\"\"", true},
        {"from=alice", false},
        {"from=alice@*", true},
        {"from=*@one.example", true},
        {"from=a?ice@*.ex*e", true},
        {"from~one", true},
        {"from~o?e", true},
        {"from!~one", false},
        {"from~alice*example", true},
        {"from~example*alice", false},
        {"to=bob@two.example", true},
        {"domain=two.example", true},
        {"domain=*.example", true},
        {"domain=example", false},
        {"lane=mx:two.example", true},
        {"lane=mx:*", true},
        {"lane=relay:*", false},
        {"age>1h", true},
        {"age>=2h", true},
        {"age>2h", false},
        {"age<=2h", true},
        {"age=2h", true},
        {"age=7200s", true},
        {"age=7200", true},
        {"age=1h60m", true},
        {"age<3d", true},
        {"size>4K", true},
        {"size>4.8K", true},
        {"size>4.9K", false},
        {"size=5000", true},
        {"size<1m", true},
        {"attempts>3", true},
        {"attempts=4", true},
        {"attempts!=4", false},
        {"next=1h", true},
        {"next<30m", false},
        {"state=deferred", true},
        {"state!=held", true},
        {"held", false},
        {"not held", true},
        {"!held", true},
        {"reason~greylist", true},
        {"reason=4.2.0", true},
        {"reason!=4.2.0", false},
        {"reason~\"come back\"", true},
        {"reason!~\"come back\"", false},
        {"host=mx.two.example", true},
        {"subject~cheap", true},
        {"header.subject=\"buy (now) \\\"cheap\\\"\"", true},
        {"message-id=<x1@one.example>", true},
        {"message-id~x2", false},
        {"origin=local", true},
        {"origin!=dsn", true},
        {"login=alice", true},
        {"client=\"uid 1000\"", true},
        {"id=z8", true},
        {"z8", true},
        {"id!=z8", false},
        {"z9", false},
        {"held or attempts>3", true},
        {"held and attempts>3", false},
        {"held attempts>3", false},
        {"held or held or attempts=4", true},
        {"attempts=4 or held and held", true},
        {"(attempts=4 or held) and held", false},
        {"not (held or attempts=9)", true},
        {"not held not held", true},
        {"not not held", false},
        {" ( ( from~alice )age>1h ) ", true},
        {"from~ALICE(held or age>1h)", true},
        {"to=\"bob\\@two.example\"", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct filter f;
        struct filter_error error;
        struct filter_subject s = subject();
        struct result r = filter_parse(bytes_of(cases[i].text), &f, &error);

        if (!is_ok(r) || filter_match(&f, &s) != (cases[i].matches ? FILTER_YES : FILTER_NO))
            fail_msg("%s: %s", cases[i].text, is_ok(r) ? "another verdict" : error.why);
    }
}

static void where_it_is_wrong(void **state)
{
    static const struct {
        const char *text;
        size_t at, size;
        const char *nearest;
    } cases[] = {
        {"", 0, 0, NULL},
        {"   ", 3, 0, NULL},
        {"form=a", 0, 4, "from"},
        {"held and domian=x", 9, 6, "domain"},
        {"state=defered", 6, 7, "deferred"},
        {"state=", 6, 0, NULL},
        {"origin=smpt", 7, 4, "smtp"},
        {"age>soon", 4, 4, NULL},
        {"age>1x", 4, 2, NULL},
        {"age>99999999999999999999d", 4, 21, NULL},
        {"size<1h", 5, 2, NULL},
        {"attempts>1.5", 9, 3, NULL},
        {"attempts~3", 8, 1, NULL},
        {"from<a", 4, 1, NULL},
        {"state>held", 5, 1, NULL},
        {"from", 4, 0, NULL},
        {"hold", 0, 4, "held"},
        {"id=../..", 3, 5, NULL},
        {"(held", 0, 1, NULL},
        {"held)", 4, 1, NULL},
        {"held and", 8, 0, NULL},
        {"held or or held", 8, 2, NULL},
        {"from=\"a", 5, 2, NULL},
        {"from=\"a\"to=b", 8, 1, NULL},
        {"header.x-spam=yes", 0, 13, NULL},
        {"=a", 0, 1, NULL},
        {"\x01", 0, 1, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct filter f;
        struct filter_error error;

        if (is_ok(filter_parse(bytes_of(cases[i].text), &f, &error)))
            fail_msg("%s: taken", cases[i].text);
        if (error.why == NULL || error.at != cases[i].at || error.size != cases[i].size ||
            (cases[i].nearest == NULL) != (error.nearest == NULL) ||
            (error.nearest != NULL && strcmp(error.nearest, cases[i].nearest) != 0))
            fail_msg("%s: at %zu size %zu, nearest %s: %s", cases[i].text, error.at, error.size,
                error.nearest == NULL ? "none" : error.nearest, error.why);
    }
}

static void bounds_hold(void **state)
{
    static char text[FILTER_SIZE_MAX + 64];
    struct filter f;
    struct filter_error error;
    size_t size = 0;

    (void)state;
    memset(text, '(', FILTER_DEPTH_MAX + 1);
    assert_int_equal(filter_parse(bytes_of(text), &f, &error).code, CODE_FULL);
    memset(text, 'a', sizeof text - 1);
    assert_int_equal(filter_parse(bytes_of(text), &f, &error).code, CODE_FULL);
    memset(text, 0, sizeof text);
    for (unsigned i = 0; i < FILTER_STEPS_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", i == 0 ? "held" : " held");
    assert_int_equal(filter_parse(bytes_of(text), &f, &error).code, CODE_FULL);
    size = (size_t)snprintf(text, sizeof text, "from=\"");
    memset(text + size, 'x', FILTER_SIZE_MAX - size - 1);
    text[FILTER_SIZE_MAX - 1] = '"';
    text[FILTER_SIZE_MAX] = 0;
    assert_true(is_ok(filter_parse(bytes_of(text), &f, &error)));
}

static void stars_try_again(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"**", "", true},
        {"*", "anything", true},
        {"a", "", false},
        {"a*", "a", true},
        {"a**", "a", true},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"a*bc", "aXbXbc", true},
        {"a*bc", "abbc", true},
        {"a*bc", "abcb", false},
        {"*ab*ab", "aabab", true},
        {"*ab*ab", "aab", false},
        {"*aab", "aaaab", true},
        {"a*?c", "ac", false},
        {"a*?c", "abc", true},
        {"?", "", false},
        {"A?C", "abc", true},
        {"*.example", "mx.one.EXAMPLE", true},
        {"*x*", "abc", false},
        {"*c*", "abc", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (filter_glob(bytes_of(cases[i].pattern), bytes_of(cases[i].text)) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
}

/* The bound is on levels within one another, not on how many stand side by side. */
static void levels_end_where_they_close(void **state)
{
    static const char *const pieces[] = {"(held) ", "not held ", "!held ", "(not (held)) "};
    struct filter f;
    struct filter_error error;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        char text[1024] = "";
        size_t size = 0;

        for (unsigned n = 0; n < FILTER_DEPTH_MAX + 8; n++)
            size += (size_t)snprintf(text + size, sizeof text - size, "%s", pieces[i]);
        struct result r = filter_parse(bytes_of(text), &f, &error);
        if (!is_ok(r))
            fail_msg("%s… is refused: %s", pieces[i], r.why);
    }
}

/* A message is passed over without its recipients being read, where its head alone decides. */
static void half_a_subject_may_decide(void **state)
{
    static const struct {
        const char *text;
        enum filter_verdict verdict;
        bool needs_head, needs_state;
    } cases[] = {
        {"from=x", FILTER_NO, true, false},
        {"from=x to=y", FILTER_NO, true, false},
        {"from~alice to=bob@two.example", FILTER_UNKNOWN, true, false},
        {"from~alice or to=y", FILTER_YES, true, false},
        {"to=y", FILTER_UNKNOWN, false, false},
        {"not to=y", FILTER_UNKNOWN, false, false},
        {"held", FILTER_UNKNOWN, false, true},
        {"next<1h", FILTER_UNKNOWN, false, true},
        {"all", FILTER_YES, false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct filter f;
        struct filter_error error;
        struct filter_subject s = {.head = &head, .now = {1000000000}};

        assert_true(is_ok(filter_parse(bytes_of(cases[i].text), &f, &error)));
        assert_int_equal(filter_match(&f, &s), cases[i].verdict);
        assert_int_equal(filter_needs_head(&f), cases[i].needs_head);
        assert_int_equal(filter_needs_state(&f), cases[i].needs_state);
    }
}

static void ids_bound_the_walk(void **state)
{
    static const struct {
        const char *text;
        uint64_t first, last;
    } cases[] = {
        {"z8", 1000, 1000},
        {"z8 and from=x", 1000, 1000},
        {"z8 or z9", 1000, 1001},
        {"z9 or z8", 1000, 1001},
        {"z8 and z9", 1001, 1000},
        {"z8 or held", 0, UINT64_MAX},
        {"not z8", 0, UINT64_MAX},
        {"id!=z8", 0, UINT64_MAX},
        {"all", 0, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct filter f;
        struct filter_error error;
        struct message_id first, last;

        assert_true(is_ok(filter_parse(bytes_of(cases[i].text), &f, &error)));
        filter_id_range(&f, &first, &last);
        assert_true(first.value == cases[i].first && last.value == cases[i].last);
    }
}

static void a_domain_is_found_where_one_must_hold(void **state)
{
    static const struct {
        const char *text, *domain;
        bool alone;
    } cases[] = {
        {"domain=One.Test", "One.Test", true},
        {"to=*@one.test", "one.test", false},
        {"to=bob@one.test and age>2h", "one.test", false},
        {"held domain=one.test (size>1 or domain=two.test)", "one.test", false},
        {"(domain=one.test or domain=one.test) held", "one.test", false},
        {"(domain=one.test held) or (to=x@ONE.test)", "one.test", false},
        {"domain=one.test or held", "", false},
        {"domain=one.test or domain=two.test", "", false},
        {"not domain=one.test", "", false},
        {"domain!=one.test", "", false},
        {"domain~one.test", "", false},
        {"domain=*.test", "", false},
        {"to=b?b@o?e.test", "", false},
        {"to=bob", "", false},
        {"domain=\"\"", "", false},
        {"all", "", false},
    };
    struct filter f;
    struct filter_error error;
    struct bytes domain;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(is_ok(filter_parse(bytes_of(cases[i].text), &f, &error)));
        bool found = filter_domain(&f, &domain);
        if (found != (cases[i].domain[0] != 0) || !bytes_equal(domain, bytes_of(cases[i].domain)) ||
            filter_is_domain(&f) != cases[i].alone)
            fail_msg("%s", cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_means),
        cmocka_unit_test(where_it_is_wrong),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(stars_try_again),
        cmocka_unit_test(levels_end_where_they_close),
        cmocka_unit_test(half_a_subject_may_decide),
        cmocka_unit_test(ids_bound_the_walk),
        cmocka_unit_test(a_domain_is_found_where_one_must_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
