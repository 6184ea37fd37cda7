/* expand: a small site's tables, and for each address who gets its mail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/lookup/expand.h"

static const char CONFIG[] = "hostname = \"mx.a.test\"\norigin = \"a.test\"\n"
                             "domain \"a.test\" { aliases = \"/a\" users = { alice, bob, carol } }\n"
                             "domain \"v.test\" { virtual = \"/v\" deliver = \"error:5.1.1 nobody here\" }\n"
                             "domain \"all.test\" { virtual = \"/v\" users = { dave } }\n"
                             "domain \"broken.test\" { aliases = \"/gone\" }\n"
                             "domain \"file.test\" { users = \"/users\" subaddress = \"-\" }\n";

static const char ALIASES[] = "postmaster: root\n"
                              "root: alice\n"
                              "alice+shop: bob\n"
                              "bob: bob, bob@elsewhere.test\n"
                              "two: alice, ALICE, alice@a.test, alice@A.TEST\n"
                              "carol: \\carol, |\"/bin/vacation carol\"\n"
                              "loop1: loop2\nloop2: loop3\nloop3: loop1\n"
                              "half: loop1, alice\n"
                              "all: :include:/list, |/bin/x, /var/archive, two, all\n"
                              "owner-all: bob\n"
                              "outer: all, x@elsewhere.test\n"
                              "noinc: alice, :include:/missing\n"
                              "dead: nosuch\n"
                              "mixed: nosuch, alice\n"
                              "sub: alice+tag\n"
                              "empty: :include:/none\n";
static const char VIRTUAL[] = "info@v.test alice@a.test, x@elsewhere.test\n"
                              "bare@v.test alice\n"
                              "@all.test @a.test\n"
                              "dave@all.test dave@all.test, eve@elsewhere.test\n";
static const char LIST[] = "m1@elsewhere.test\nm2@elsewhere.test, alice\n";

struct bench {
    struct config *cfg;
    struct book book;
    struct book_page pages[6];
};

static void page_add(struct bench *b, struct book_page *page, const char *path, enum alias_form form, const char *text)
{
    uint32_t line = 0;

    *page = (struct book_page){.next = b->book.pages, .path = bytes_of(path), .form = form, .broken = text == NULL};
    alias_table_init(&page->table);
    if (text != NULL) {
        struct result r = alias_table_read(&page->table, form, bytes_of(text), &line);
        if (!is_ok(r))
            fail_msg("%s:%u: %s", path, line, r.why);
    }
    b->book.pages = page;
}

static int set_up(void **state)
{
    static struct bench b;
    struct config_error error;

    b = (struct bench){0};
    if (!is_ok(config_read_text("test", bytes_of(CONFIG), &b.cfg, &error)))
        fail_msg("%s", error.text);
    page_add(&b, &b.pages[0], "/a", ALIAS_FORM_ALIASES, ALIASES);
    page_add(&b, &b.pages[1], "/v", ALIAS_FORM_VIRTUAL, VIRTUAL);
    page_add(&b, &b.pages[2], "/list", ALIAS_FORM_LIST, LIST);
    page_add(&b, &b.pages[3], "/missing", ALIAS_FORM_LIST, NULL);
    page_add(&b, &b.pages[4], "/none", ALIAS_FORM_LIST, "# nobody\n");
    page_add(&b, &b.pages[5], "/users", ALIAS_FORM_LIST, "");
    b.pages[5].users = true;
    alias_table_fini(&b.pages[5].table);
    alias_table_init(&b.pages[5].table);
    assert_true(is_ok(book_users_read(&b.pages[5].table, BYTES("frank\n"))));
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;

    for (size_t i = 0; i < COUNT_OF(b->pages); i++)
        alias_table_fini(&b->pages[i].table);
    config_free(&b->cfg);
    return 0;
}

static void leaves_put(const struct expansion *x, struct buf *out)
{
    static const char *const verdicts[] = {"", "UNKNOWN", "LOOP", "LATER", "TOO MANY"};

    assert_true(is_ok(buf_put_str(out, verdicts[x->verdict])));
    for (const struct leaf *l = x->leaves; x->verdict == EXPAND_LEAVES && l != NULL; l = l->next) {
        static const char *const kinds[] = {"", "?", "|", "file "};

        assert_true(is_ok(buf_put_str(out, kinds[l->kind])) && is_ok(buf_put(out, l->text)));
        if (l->kind >= LEAF_COMMAND)
            assert_true(is_ok(buf_put_str(out, " of ")) && is_ok(buf_put(out, l->address)));
        if (l->owner.size > 0)
            assert_true(is_ok(buf_put_str(out, " from ")) && is_ok(buf_put(out, l->owner)));
        if (l->next != NULL)
            assert_true(is_ok(buf_put_str(out, "; ")));
    }
}

static void who_gets_it(void **state)
{
    static const struct {
        const char *path, *leaves;
    } cases[] = {
        {"alice@a.test", "alice@a.test"},
        {"postmaster@a.test", "alice@a.test"},
        {"POSTMASTER@a.test", "alice@a.test"},
        {"abuse@a.test", "abuse@a.test"},
        {"nosuch@a.test", "UNKNOWN"},
        {"alice+x@a.test", "alice+x@a.test"},
        {"alice+shop@a.test", "bob@a.test; bob@elsewhere.test"},
        {"nosuch+x@a.test", "UNKNOWN"},
        {"bob@a.test", "bob@a.test; bob@elsewhere.test"},
        {"bob+x@a.test", "bob@a.test; bob@elsewhere.test"},
        {"two@a.test", "alice@a.test"},
        {"carol@a.test", "carol@a.test; |/bin/vacation carol of carol@a.test"},
        {"loop1@a.test", "LOOP"},
        {"half@a.test", "alice@a.test"},
        {"all@a.test",
            "|/bin/x of all@a.test from owner-all@a.test; file /var/archive of all@a.test from owner-all@a.test; "
            "all@a.test from owner-all@a.test; "
            "m1@elsewhere.test from owner-all@a.test; m2@elsewhere.test from owner-all@a.test; "
            "alice@a.test from owner-all@a.test"},
        {"noinc@a.test", "LATER"},
        {"dead@a.test", "?nosuch@a.test"},
        {"mixed@a.test", "?nosuch@a.test; alice@a.test"},
        {"sub@a.test", "alice+tag@a.test"},
        {"empty@a.test", "LOOP"},
        {"info@v.test", "alice@a.test; x@elsewhere.test"},
        {"bare@v.test", "alice@a.test"},
        {"nosuch@v.test", "UNKNOWN"},
        {"postmaster@v.test", "postmaster@mx.a.test"},
        {"dave@all.test", "dave@all.test; eve@elsewhere.test"},
        {"carol@all.test", "carol@a.test; |/bin/vacation carol of carol@a.test"},
        {"x@broken.test", "LATER"},
        {"frank@file.test", "frank@file.test"},
        {"frank-x@file.test", "frank-x@file.test"},
        {"grace@file.test", "UNKNOWN"},
        {"x@elsewhere.test", "x@elsewhere.test"},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t octets[4096];
        struct buf got = BUF(octets);
        struct expansion x;
        struct arena a;

        arena_init(&a, 1 << 20);
        expand(&b->book, b->cfg, &a, bytes_of(cases[i].path), &x);
        leaves_put(&x, &got);
        if (!bytes_equal(buf_bytes(&got), bytes_of(cases[i].leaves)))
            fail_msg("%s: %.*s", cases[i].path, BYTES_ARG(buf_bytes(&got)));
        arena_fini(&a);
    }
}

/* A circle of any length ends; a list of 100,000 members is each of them once. */
static void circles_and_crowds(void **state)
{
    enum { COUNT = 100000 };
    struct bench *b = *state;
    struct book_page *page = &b->pages[0];
    char *text = malloc(COUNT * 40);
    size_t size = 0;
    struct expansion x;
    struct arena a;
    uint32_t line;

    for (size_t round = 0; round < 2; round++) {
        alias_table_fini(&page->table);
        alias_table_init(&page->table);
        size = 0;
        for (size_t i = 0; i < COUNT; i++) {
            char *to = text + size;

            if (round == 0)
                size += (size_t)snprintf(to, 40, "c%zu: c%zu\n", i, (i + 1) % COUNT);
            else
                size += (size_t)snprintf(to, 40, "%s m%zu@elsewhere.test\n", i == 0 ? "big:" : " ", i);
        }
        struct result r =
            alias_table_read(&page->table, ALIAS_FORM_ALIASES, (struct bytes){(uint8_t *)text, size}, &line);
        if (!is_ok(r))
            fail_msg("line %u: %s", line, r.why);
        arena_init(&a, 256 << 20);
        expand(&b->book, b->cfg, &a, round == 0 ? BYTES("c7@a.test") : BYTES("big@a.test"), &x);
        assert_int_equal(x.verdict, round == 0 ? EXPAND_LOOP : EXPAND_LEAVES);
        assert_int_equal(x.leaf_count, round == 0 ? 0 : COUNT);
        arena_fini(&a);
    }
    free(text);
}

static void answers_at_rcpt(void **state)
{
    static const struct {
        const char *local, *domain;
        enum book_answer answer;
    } cases[] = {
        {"alice", "a.test", BOOK_FINAL},
        {"Alice+x", "a.test", BOOK_FINAL},
        {"bob", "a.test", BOOK_ALIAS},
        {"nosuch", "a.test", BOOK_UNKNOWN},
        {"abuse", "a.test", BOOK_FINAL},
        {"\"alice\"", "a.test", BOOK_FINAL},
        {"x", "v.test", BOOK_UNKNOWN},
        {"info", "v.test", BOOK_ALIAS},
        {"anybody", "all.test", BOOK_ALIAS},
        {"x", "broken.test", BOOK_BROKEN},
        {"frank", "file.test", BOOK_FINAL},
        {"grace", "file.test", BOOK_UNKNOWN},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct config_domain *d = config_domain_find(b->cfg, bytes_of(cases[i].domain));
        enum book_answer got = book_ask(&b->book, d, d->name, bytes_of(cases[i].local), NULL, NULL);
        if (got != cases[i].answer)
            fail_msg("%s@%s: %d", cases[i].local, cases[i].domain, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_gets_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(circles_and_crowds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_at_rcpt, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
