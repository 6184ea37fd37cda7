/* alias: each form of text against what it must read as; errors with their lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/lookup/book.h"

static const char *const KINDS[] = {"a", "u", "c", "f", "i"};

/* "key=a:text,c:text" for one entry. */
static void entry_put(const struct alias_entry *e, struct buf *out)
{
    assert_true(is_ok(buf_put(out, e->key)) && is_ok(buf_put_octet(out, '=')));
    for (const struct alias_target *t = e->targets; t != NULL; t = t->next) {
        assert_true(is_ok(buf_put_str(out, KINDS[t->kind])) && is_ok(buf_put_octet(out, ':')));
        assert_true(is_ok(buf_put(out, t->text)));
        if (t->next != NULL)
            assert_true(is_ok(buf_put_octet(out, ';')));
    }
}

static void tables_read_as(void **state)
{
    static const struct {
        enum alias_form form;
        const char *text, *key, *reads;
    } cases[] = {
        {ALIAS_FORM_ALIASES, "root: alice", "root", "root=a:alice"},
        {ALIAS_FORM_ALIASES, "Root: Alice@Example.ORG\n", "ROOT", "root=a:Alice@example.org"},
        {ALIAS_FORM_ALIASES, "a:b,c , d\n", "a", "a=a:b;a:c;a:d"},
        {ALIAS_FORM_ALIASES, "a: b,\n   c\n\td,\n", "a", "a=a:b;a:c;a:d"},
        {ALIAS_FORM_ALIASES, "a: b\n# comment\n  # and another\n  c\nd: e", "a", "a=a:b;a:c"},
        {ALIAS_FORM_ALIASES, "a: b\n# comment\n\n  c\nd: e", "d", "d=a:e"},
        {ALIAS_FORM_ALIASES, "a: |/bin/cat", "a", "a=c:/bin/cat"},
        {ALIAS_FORM_ALIASES, "a: \"|/bin/f -x, \\\"y z\\\"\", b", "a", "a=c:/bin/f -x, \"y z\";a:b"},
        {ALIAS_FORM_ALIASES, "a: |\"/bin/f -x, y\"", "a", "a=c:/bin/f -x, y"},
        {ALIAS_FORM_ALIASES, "a: /var/mail/x, \"/var/mail/y z\"", "a", "a=f:/var/mail/x;f:/var/mail/y z"},
        {ALIAS_FORM_ALIASES, "a: :include:/etc/list, \":include:/etc/b c\"", "a", "a=i:/etc/list;i:/etc/b c"},
        {ALIAS_FORM_ALIASES, "a: :INCLUDE:\"/etc/l\"", "a", "a=i:/etc/l"},
        {ALIAS_FORM_ALIASES, "a: \\a, b", "a", "a=u:a;a:b"},
        {ALIAS_FORM_ALIASES, "\"john doe\": \"john doe\"@example.org", "john doe",
            "john doe=a:\"john doe\"@example.org"},
        {ALIAS_FORM_ALIASES, "j: \"john doe\"", "j", "j=a:\"john doe\""},
        {ALIAS_FORM_ALIASES, "a: Somebody Else <s@e.org>, (old) x (new)", "a", "a=a:s@e.org;a:x"},
        {ALIAS_FORM_ALIASES, "a: \"Else, Somebody\" <s@e.org>", "a", "a=a:s@e.org"},
        {ALIAS_FORM_ALIASES, "a: b\r\nc: d\r\n", "a", "a=a:b"},
        {ALIAS_FORM_VIRTUAL, "a@b.org c@d.org", "a@b.org", "a@b.org=a:c@d.org"},
        {ALIAS_FORM_VIRTUAL, "@b.org\t@d.org\n", "@b.org", "@b.org=a:@d.org"},
        {ALIAS_FORM_VIRTUAL, "a b, c@d\n  e\n", "a", "a=a:b;a:c@d;a:e"},
        {ALIAS_FORM_LIST, "# members\na\nb@c, d\n\n\\e\n|\"x y\"\n", "", "=a:a;a:b@c;a:d;u:e;c:x y"},
        {ALIAS_FORM_LIST, "", "", "="},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t octets[1024];
        struct buf got = BUF(octets);
        struct alias_table t;
        uint32_t line;

        alias_table_init(&t);
        struct result r = alias_table_read(&t, cases[i].form, bytes_of(cases[i].text), &line);
        if (!is_ok(r))
            fail_msg("%s: line %u: %s", cases[i].text, line, r.why);
        const struct alias_entry *e = alias_table_find(&t, bytes_of(cases[i].key));
        if (e == NULL)
            fail_msg("%s: no %s", cases[i].text, cases[i].key);
        entry_put(e, &got);
        if (!bytes_equal(buf_bytes(&got), bytes_of(cases[i].reads)))
            fail_msg("%s: %.*s", cases[i].text, BYTES_ARG(buf_bytes(&got)));
        alias_table_fini(&t);
    }
}

static void errors_name_their_line(void **state)
{
    static const struct {
        enum alias_form form;
        const char *text;
        uint32_t line;
    } cases[] = {
        {ALIAS_FORM_ALIASES, "a: b\nno colon here\n", 2},
        {ALIAS_FORM_ALIASES, "  a: b\n", 1},
        {ALIAS_FORM_ALIASES, "a: b\n\n# x\nc:\n", 4},
        {ALIAS_FORM_ALIASES, "a: b\nA: c\n", 2},
        {ALIAS_FORM_ALIASES, "a: b,\n  c d\n", 2},
        {ALIAS_FORM_ALIASES, "a: \"b\n", 1},
        {ALIAS_FORM_ALIASES, "a: \"|b\" c\n", 1},
        {ALIAS_FORM_ALIASES, "a b: c\n", 1},
        {ALIAS_FORM_ALIASES, ": c\n", 1},
        {ALIAS_FORM_ALIASES, "a: |\n", 1},
        {ALIAS_FORM_ALIASES, "a: :include:list\n", 1},
        {ALIAS_FORM_ALIASES, "a: b@\n", 1},
        {ALIAS_FORM_ALIASES, "a: b@c@d\n", 1},
        {ALIAS_FORM_ALIASES, "a: (b\n", 1},
        {ALIAS_FORM_VIRTUAL, "a@b\n", 1},
        {ALIAS_FORM_VIRTUAL, "a@b @\n", 1},
        {ALIAS_FORM_LIST, "a\nb\nc d\n", 3},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct alias_table t;
        uint32_t line = 0;

        alias_table_init(&t);
        struct result r = alias_table_read(&t, cases[i].form, bytes_of(cases[i].text), &line);
        if (r.code != CODE_SYNTAX || line != cases[i].line)
            fail_msg("%s: line %u, %s", cases[i].text, line, r.why == NULL ? "read" : r.why);
        alias_table_fini(&t);
    }
}

static void nul_and_memory(void **state)
{
    static const char with_nul[] = "a: b\0c\n";
    uint32_t line;
    struct alias_table t;

    (void)state;
    alias_table_init(&t);
    assert_int_equal(
        alias_table_read(&t, ALIAS_FORM_ALIASES, (struct bytes){(const uint8_t *)with_nul, sizeof with_nul - 1}, &line)
            .code,
        CODE_SYNTAX);
    alias_table_fini(&t);
    for (uint64_t n = 1;; n++) {
        alias_table_init(&t);
        mem_fail_nth(n);
        struct result r = alias_table_read(&t, ALIAS_FORM_ALIASES, BYTES("a: b, c\nd: e\n"), &line);
        mem_fail_nth(0);
        alias_table_fini(&t);
        if (is_ok(r))
            break;
        assert_int_equal(r.code, CODE_FULL);
    }
}

static void users_of_passwd(void **state)
{
    struct alias_table t;

    (void)state;
    alias_table_init(&t);
    assert_true(is_ok(book_users_read(&t, BYTES("root:x:0:0::/root:/bin/sh\n# no\nalice\n\nbob x\nalice\n"))));
    assert_non_null(alias_table_find(&t, BYTES("root")));
    assert_non_null(alias_table_find(&t, BYTES("Alice")));
    assert_non_null(alias_table_find(&t, BYTES("bob")));
    assert_null(alias_table_find(&t, BYTES("no")));
    assert_int_equal(t.entry_count, 3);
    alias_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_read_as),
        cmocka_unit_test(errors_name_their_line),
        cmocka_unit_test(nul_and_memory),
        cmocka_unit_test(users_of_passwd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
