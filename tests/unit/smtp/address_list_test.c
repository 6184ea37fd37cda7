/* Address lists as software of forty years writes them. A case gives a field's value and what comes of it: the mailboxes in
 * their order, "@" behind one that was bare; or "!column why". Each runs whole, octet by octet, and cut at every point,
 * against the end of a page that may not be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "smtp/address_list.h"

struct list_case {
    const char *in;
    const char *out;
};

static const struct list_case CASES[] = {
    /* --- RFC 5322 appendix A and RFC 822 appendix A --- */
    {"John Doe <jdoe@machine.example>", "jdoe@machine.example"},
    {"Mary Smith <mary@example.net>", "mary@example.net"},
    {"\"Joe Q. Public\" <john.q.public@example.com>", "john.q.public@example.com"},
    {"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>", "mary@x.test jdoe@example.org one@y.test"},
    {"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>", "boss@nil.test sysservices@example.net"},
    {"Pete <pete@silly.example>", "pete@silly.example"},
    {"A Group:Ed Jones <joe@where.test>,jdoe@one.test,John <jdoe@one.test>;",
        "joe@where.test jdoe@one.test jdoe@one.test"},
    {"Undisclosed recipients:;", ""},
    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"},
    {"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  "
     "John "
     "<jdoe@one.test> (my dear friend); (the end of the group)",
        "c@public.example joe@example.org jdoe@one.test"},
    {"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", ""},
    {"Joe Q. Public <john.q.public@example.com>", "john.q.public@example.com"},
    {"Mary Smith <@node.test:mary@example.net>, , jdoe@test   . example", "mary@example.net jdoe@test.example"},
    {"John Doe <jdoe@machine(comment).  example>", "jdoe@machine.example"},
    {"Mary Smith\r\n          <mary@example.net>", "mary@example.net"},
    {"The Boss <God@heaven.af.mil>,\r\n <angels@heaven.af.mil>,\r\n Wilt . (the  Stilt) Chamberlain@NBA.US",
        "God@heaven.af.mil angels@heaven.af.mil Wilt.Chamberlain@nba.us"},
    {"Alfred Neuman <Neuman@BBN-TENEXA>", "Neuman@bbn-tenexa"},
    {"Neuman@BBN-TENEXA", "Neuman@bbn-tenexa"},
    {"\"George, Ted\" <Shared@Group.Arpanet>", "Shared@group.arpanet"},
    {"\":sysmail\"@  Some-Group. Some-Org,\r\n Muhammed.(I am  the greatest) Ali @(the)Vegas.WBA",
        "\":sysmail\"@some-group.some-org Muhammed.Ali@vegas.wba"},
    {"Gourmets:  Pompous Person <WhoZiWhatZit@Cordon-Bleu>,\r\n           Childs@WGBH.Boston, Galloping Gourmet@\r\n"
     "           ANT.Down-Under (Australian National Television)",
        "!97 a blank where a dot, an @ or a comma is due"},
    {"Cruisers:  Port@Portugal, Jones@SEA;,\r\n Another@Somewhere.SomeOrg",
        "Port@portugal Jones@sea Another@somewhere.someorg"},
    /* --- plain --- */
    {"a@b", "a@b"},
    {" a@b ", "a@b"},
    {"\ta@b\t", "a@b"},
    {"a@b,c@d", "a@b c@d"},
    {"a@b , c@d", "a@b c@d"},
    {"a@b,\r\n\tc@d", "a@b c@d"},
    {"a@b,\n c@d", "a@b c@d"},
    {"<a@b>", "a@b"},
    {"< a@b >", "a@b"},
    {"<a@b>,<c@d>", "a@b c@d"},
    {"a.b.c@d.e.f", "a.b.c@d.e.f"},
    {"A.B@C.D", "A.B@c.d"},
    {"a+b=c/d!e#f$g%h&i'j*k-l?m^n_o`p{q|r}s~t@x", "a+b=c/d!e#f$g%h&i'j*k-l?m^n_o`p{q|r}s~t@x"},
    {"1@2.3", "1@2.3"},
    {"bounces+user=example.org@list.example", "bounces+user=example.org@list.example"},
    {"a%b@c", "a%b@c"},
    {"host!user@c", "host!user@c"},
    {"", ""},
    {" ", ""},
    {"\r\n ", ""},
    {",", ""},
    {",,,", ""},
    {",a@b,", "a@b"},
    {"a@b,,c@d", "a@b c@d"},
    {", ,\r\n a@b ,\t,", "a@b"},
    /* --- bare names --- */
    {"alice", "alice@home.test@"},
    {"alice, bob", "alice@home.test@ bob@home.test@"},
    {"<alice>", "alice@home.test@"},
    {"Alice Liddell <alice>", "alice@home.test@"},
    {"root (Cron Daemon)", "root@home.test@"},
    {"(Cron Daemon) root", "root@home.test@"},
    {"\"alice\"", "alice@home.test@"},
    {"first.last", "first.last@home.test@"},
    {"alice, bob@x, <carol>", "alice@home.test@ bob@x carol@home.test@"},
    {"Doe, John <jd@x>", "Doe@home.test@ jd@x"},
    {"mdadm monitoring <root@host>", "root@host"},
    /* --- comments --- */
    {"a@b (c)", "a@b"},
    {"(c) a@b", "a@b"},
    {"a(c)@b", "a@b"},
    {"a@(c)b", "a@b"},
    {"a(c).(d)b@e", "a.b@e"},
    {"a@b(c).(d)e", "a@b.e"},
    {"a@b (c (d) e)", "a@b"},
    {"a@b (c \\) d)", "a@b"},
    {"a@b (c \\\\)", "a@b"},
    {"a@b (\"c)", "a@b"},
    {"a@b (c, d@e)", "a@b"},
    {"a@b (<c@d>)", "a@b"},
    {"(a)(b)(c)", ""},
    {"(a) , (b)", ""},
    {"<(c)a@b(d)>", "a@b"},
    {"N(c)N <a@b>", "a@b"},
    {"a@b (caf\xc3\xa9)", "a@b"},
    {"a@b (caf\xe9)", "a@b"},
    {"a@b ()", "a@b"},
    {"a@b (c\r\n d)", "a@b"},
    /* --- quoted strings --- */
    {"\"a b\"@c", "\"a b\"@c"},
    {"\"a\"@c", "a@c"},
    {"\"a.b\"@c", "a.b@c"},
    {"\"a\\\"b\"@c", "\"a\\\"b\"@c"},
    {"\"a\\\\b\"@c", "\"a\\\\b\"@c"},
    {"\"a@b\"@c", "\"a@b\"@c"},
    {"\"a,b\"@c", "\"a,b\"@c"},
    {"\"(a)\"@c", "\"(a)\"@c"},
    {"\"a\".b@c", "a.b@c"},
    {"\"a b\".c@d", "\"a b.c\"@d"},
    {"\"\\a\"@c", "a@c"},
    {"\"\"@c", "\"\"@c"},
    {"\"Doe, John\" <jd@x>", "jd@x"},
    {"\"Doe; John:\" <jd@x>", "jd@x"},
    {"\"<a@b>\" <c@d>", "c@d"},
    {"\"a\" \"b\" <c@d>", "c@d"},
    {"\"a\"b\"c\" <d@e>", "d@e"},
    {"\"fold\r\n ed\" <a@b>", "a@b"},
    {"\"a\r\n b\"@c", "\"a b\"@c"},
    {"\"\" <a@b>", "a@b"},
    {"\"J\xc3\xb6rg\" <j@x>", "j@x"},
    {"\"J\xf6rg\" <j@x>", "j@x"},
    {"\"\\\"quoted\\\"\" <a@b>", "a@b"},
    /* --- groups --- */
    {"recipient list not shown: ;", ""},
    {"undisclosed-recipients:;", ""},
    {"undisclosed-recipients:", ""},
    {"g:a@b;", "a@b"},
    {"g:a@b,c@d;", "a@b c@d"},
    {"g:a@b;,c@d", "a@b c@d"},
    {"g:a@b; c@d", "a@b c@d"},
    {"x@y, g:a@b;, z@w", "x@y a@b z@w"},
    {"\"a group\": a@b;", "a@b"},
    {"a group : N <a@b> ;", "a@b"},
    {"g:;h:;", ""},
    {"g:a@b;h:c@d;", "a@b c@d"},
    {"g:,,a@b,;", "a@b"},
    {"g: alice;", "alice@home.test@"},
    {"g(c):(d)a@b(e);(f)", "a@b"},
    {"g:a@b", "a@b"},
    {"a.b: c@d;", "c@d"},
    {"mailto:a@b", "a@b"},
    /* --- routes --- */
    {"<@a:b@c>", "b@c"},
    {"<@a,@b:c@d>", "c@d"},
    {"<@a , @b : c@d>", "c@d"},
    {"N <@a.b,@[192.0.2.1]:c@d>", "c@d"},
    {"<@a(c):b@d>", "b@d"},
    {"<@a,,@b:c@d>", "c@d"},
    /* --- domain literals --- */
    {"a@[192.0.2.1]", "a@[192.0.2.1]"},
    {"a@[ 192.0.2.1 ]", "a@[192.0.2.1]"},
    {"a@[IPv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"},
    {"<a@[192.0.2.1]>", "a@[192.0.2.1]"},
    {"N <a@[192.0.2.1]>, c@d", "a@[192.0.2.1] c@d"},
    /* --- UTF-8 and encoded words --- */
    {"j\xc3\xb6rg@x", "j\xc3\xb6rg@x"},
    {"a@b\xc3\xbc"
     "cher.example",
        "a@b\xc3\xbc"
        "cher.example"},
    {"J\xc3\xb6rg <j@x>", "j@x"},
    {"J\xf6rg <j@x>", "j@x"},
    {"\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b\xe5\xad\x90.test",
        "\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b\xe5\xad\x90.test"},
    {"=?utf-8?Q?J=C3=B6rg?= <j@x>", "j@x"},
    {"=?utf-8?B?SsO2cmc=?= =?utf-8?Q?_X?= <j@x>", "j@x"},
    {"\"=?utf-8?Q?J?=\" <j@x>", "j@x"},
    {"j@x (=?utf-8?Q?J=C3=B6rg?=)", "j@x"},
    /* --- what old and careless software writes --- */
    {"Dr. J. Doe <j@x>", "j@x"},
    {"J.R. \"Bob\" Dobbs <j@x>", "j@x"},
    {"St.Mary <j@x>", "j@x"},
    {"[SPAM] Joe <j@x>", "j@x"},
    {"Joe [at work] <j@x>", "j@x"},
    {"j@x <j@x>", "j@x"},
    {"j@x.y <j@x.z>", "j@x.z"},
    {"Joe @ Work <j@x>", "j@x"},
    {"@joe <j@x>", "j@x"},
    {"Joe \\(x\\) <j@x>", "!6 ( without )"},
    {"a@b;c@d", "a@b c@d"},
    {"a@b; c@d;", "a@b c@d"},
    {"a..b@c", "\"a..b\"@c"},
    {".a@b", "\".a\"@b"},
    {"a.@b", "\"a.\"@b"},
    {"'a@b' <a@b>", "a@b"},
    {"O'Neil <o@x>", "o@x"},
    {"R&D <r@x>", "r@x"},
    {"a @ b", "a@b"},
    {"a\r\n @b", "a@b"},
    {"Joe<j@x>", "j@x"},
    {"\"Joe\"<j@x>", "j@x"},
    {"<j@x>(Joe)", "j@x"},
    {"* <j@x>", "j@x"},
    {"... <j@x>", "j@x"},
    /* --- refused --- */
    {"a b@c", "!3 a blank where a dot, an @ or a comma is due"},
    {"a@b c@d", "!5 a blank where a dot, an @ or a comma is due"},
    {"alice bob", "!7 a blank where a dot, an @ or a comma is due"},
    {"a@b@c", "!4 a second @"},
    {"a@", "!3 no domain behind the @"},
    {"a@,c@d", "!3 no domain behind the @"},
    {"@b", "!1 nothing before the @"},
    {"a@b, @c", "!6 nothing before the @"},
    {"<>", "!2 no address between < and >"},
    {"N <>", "!4 no address between < and >"},
    {"<a@>", "!4 no domain behind the @"},
    {"<@a>", "!4 no address between < and >"},
    {"<@a:>", "!5 no address between < and >"},
    {"<@b:a@c@d>", "!8 a second @"},
    {"<a@b", "!1 < without >"},
    {"<a@b,c@d>", "!1 < without >"},
    {"<a@b;c@d>", "!1 < without >"},
    {"a@b>", "!4 > without <"},
    {">", "!1 > without <"},
    {"<a@b> <c@d>", "!7 text behind >, where a comma is due"},
    {"<a@b>c", "!6 text behind >, where a comma is due"},
    {"<a@b> \"c\"", "!7 text behind >, where a comma is due"},
    {"<a@b>.", "!6 text behind >, where a comma is due"},
    {"<<a@b>>", "!2 a second <"},
    {"<a b@c>", "!4 a blank where a dot, an @ or a comma is due"},
    {"\"a@b", "!1 a quote that is not closed"},
    {"N <a@b>, \"c", "!10 a quote that is not closed"},
    {"\"a\\\"", "!1 a quote that is not closed"},
    {"a@b (c", "!5 ( without )"},
    {"a@b (c (d)", "!5 ( without )"},
    {"a@b )", "!5 ) without ("},
    {"a@[192.0.2.1", "!3 [ without ]"},
    {"a@b[192.0.2.1]", "!4 a bracket outside of a domain"},
    {"a@[192.0.2.1]b", "!14 a blank where a dot, an @ or a comma is due"},
    {"a@b]", "!4 ] without ["},
    {"[a@b", "!1 a bracket outside of a domain"},
    {"a\\b@c", "!2 a backslash outside of quotes"},
    {":a@b", "!1 a colon that begins no group"},
    {"a@b:c@d;", "!4 a colon that begins no group"},
    {"g:h:a@b;;", "!4 a colon that begins no group"},
    {"\"a\"b@c", "!4 a blank where a dot, an @ or a comma is due"},
    {"a\"b\"@c", "!2 a blank where a dot, an @ or a comma is due"},
    {"a@\"b\"", "!3 a quote in a domain"},
    {"<a@\"b\">", "!4 a quote in a domain"},
    {"a\x01@b", "!2 a control character"},
    {"\"\"", "!3 an empty name"},
    {"=?utf-8?Q?Doe, John?= <jd@x>", "!14 an encoded word where an address is due"},
    {"=?utf-8?Q?a?=", "!14 an encoded word where an address is due"},
};

/* The case's octets end where the page ends. */
static struct bytes at_page_end(struct bytes in)
{
    static uint8_t *pages;
    enum { PAGE = 4096 };

    if (pages == NULL) {
        pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(pages, MAP_FAILED);
        assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
    }
    if (in.size > 0)
        memcpy(pages + PAGE - in.size, in.data, in.size);
    return (struct bytes){pages + PAGE - in.size, in.size};
}

static void mailbox_note(char *out, size_t out_size, const struct address_mailbox *m)
{
    size_t at = strlen(out);

    snprintf(out + at, out_size - at, "%s%.*s%s", at > 0 ? " " : "", BYTES_ARG(m->address.text), m->bare ? "@" : "");
}

/* Feeds `in` in pieces: `first` octets, then `step` at a time. */
static void run(struct bytes in, size_t first, size_t step, char *out, size_t out_size)
{
    struct address_list list;
    struct address_mailbox mailbox;
    struct result r = OK;

    out[0] = 0;
    address_list_init(&list, BYTES("home.test"));
    for (size_t size = first; in.size > 0 && r.code != CODE_SYNTAX; size = step) {
        struct bytes piece = bytes_head(in, size);

        in = bytes_after(in, piece.size);
        while (is_ok(r = address_list_feed(&list, &piece, &mailbox)))
            mailbox_note(out, out_size, &mailbox);
    }
    if (r.code != CODE_SYNTAX)
        while (is_ok(r = address_list_end(&list, &mailbox)))
            mailbox_note(out, out_size, &mailbox);
    if (r.code == CODE_SYNTAX)
        snprintf(out, out_size, "!%" PRIu64 " %s", address_list_error_offset(&list) + 1, r.why);
    else
        assert_int_equal(r.code, CODE_GONE);
}

static void test_cases(void **state)
{
    size_t failures = 0;

    (void)state;
    assert_true(COUNT_OF(CASES) >= 150);
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        struct bytes in = at_page_end(bytes_of(CASES[i].in));
        char whole[1024], cut[1024];

        run(in, SIZE_MAX, 1, whole, sizeof whole);
        if (strcmp(whole, CASES[i].out) != 0) {
            print_error("[%s]\n  got      %s\n  expected %s\n", CASES[i].in, whole, CASES[i].out);
            failures++;
        }
        run(in, 1, 1, cut, sizeof cut);
        assert_string_equal(cut, whole);
        for (size_t at = 1; at < in.size; at++) {
            run(in, at, SIZE_MAX, cut, sizeof cut);
            assert_string_equal(cut, whole);
        }
    }
    assert_int_equal(failures, 0);
}

static void test_insertion_points(void **state)
{
    static const struct {
        const char *in;
        uint64_t at;
    } cases[] = {{"root (Cron Daemon)", 4}, {"(x) root ", 8}, {"N <root> ", 7}, {"\"a b\"", 5}, {" a . b ", 6},
        {"<\"a\" (x)>", 4}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bytes in = bytes_of(cases[i].in);
        struct address_list list;
        struct address_mailbox mailbox;
        struct result r;

        address_list_init(&list, BYTES("home.test"));
        r = address_list_feed(&list, &in, &mailbox);
        assert_int_equal(r.code, CODE_MORE);
        r = address_list_end(&list, &mailbox);
        assert_true(is_ok(r));
        assert_true(mailbox.bare);
        assert_int_equal(mailbox.bare_end, cases[i].at);
    }
}

static void test_no_origin(void **state)
{
    struct bytes in = BYTES("alice");
    struct address_list list;
    struct address_mailbox mailbox;
    struct result r;

    (void)state;
    address_list_init(&list, BYTES_NONE);
    r = address_list_feed(&list, &in, &mailbox);
    assert_int_equal(r.code, CODE_MORE);
    r = address_list_end(&list, &mailbox);
    assert_int_equal(r.code, CODE_SYNTAX);
}

/* 10 MiB of each kind, within bounds of time that even sanitizers keep; the memory is the struct's. */
static void test_ten_mebibytes(void **state)
{
    static const struct {
        const char *unit;
        const char *last;
        enum code code;
        size_t per_unit;
    } cases[] = {
        {"user@example.org,\r\n ", "", CODE_GONE, 1},
        {"N N N N \"q\" <a@b>, ", "", CODE_GONE, 1},
        {"(comment (in) it)", "a@b", CODE_GONE, 0},
        {"word ", "<a@b>", CODE_GONE, 0},
        {"aaaaaaaa", "@b", CODE_SYNTAX, 0},
        {"(", "", CODE_SYNTAX, 0},
        {",", "", CODE_GONE, 0},
        {"\"\\\"", "\" <a@b>", CODE_GONE, 0},
        {"@a,", "", CODE_SYNTAX, 0},
        {"g:a@b;", "", CODE_GONE, 1},
    };
    enum { SIZE = 10 * 1024 * 1024 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct address_list list;
        struct address_mailbox mailbox;
        size_t count = 0, units = SIZE / strlen(cases[i].unit);
        struct result r = OK;

        address_list_init(&list, BYTES("home.test"));
        for (size_t u = 0; u <= units && r.code != CODE_SYNTAX; u++) {
            struct bytes piece = bytes_of(u == units ? cases[i].last : cases[i].unit);

            while (is_ok(r = address_list_feed(&list, &piece, &mailbox)))
                count++;
        }
        if (r.code != CODE_SYNTAX)
            while (is_ok(r = address_list_end(&list, &mailbox)))
                count++;
        if (r.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].unit, r.code, r.why);
        if (cases[i].per_unit > 0)
            assert_int_equal(count, units * cases[i].per_unit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_insertion_points),
        cmocka_unit_test(test_no_origin),
        cmocka_unit_test(test_ten_mebibytes),
    };

    return cmocka_run_group_tests_name("address_list", tests, NULL, NULL);
}
