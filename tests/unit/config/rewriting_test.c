/* rewriting: maps, masquerading and the configuration of both, and of SRS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/config/rewriting.h"
#include "smtp/srs.h"

static struct config *read_config(const char *text)
{
    struct config_error error = {""};
    struct config *cfg;

    if (!is_ok(config_read_text("test", bytes_of(text), &cfg, &error)))
        fail_msg("%s", error.text);
    return cfg;
}

static void take(struct rewriting *w, enum config_table table, const char *text)
{
    size_t size = strlen(text);
    uint8_t *octets = mem_take(size + 1);

    assert_non_null(octets);
    memcpy(octets, text, size);
    assert_true(is_ok(rewriting_take(w, table, (struct bytes){octets, size})));
}

static const char CONFIG[] = "hostname = \"mail.example.org\" origin = \"example.org\"\n"
                             "domain example.org { } domain other.example { subaddress = \"-\" }\n"
                             "rewrite { masquerade = { \"!keep.example.org\", \"example.org\" }\n"
                             "          masquerade_except = { root } }\n";

static void expect(struct rewriting *w, enum rewrite_side side, bool envelope, const char *from, const char *to)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room);
    bool changed = rewriting_canonical(w, side, envelope, bytes_of(from), &out);
    struct bytes got = changed ? buf_bytes(&out) : bytes_of(from);

    if (!bytes_equal(got, bytes_of(to)) || changed != (strcmp(from, to) != 0))
        fail_msg("%s became %.*s, expected %s", from, BYTES_ARG(got), to);
}

static void test_maps(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"joe@example.org", "Joe.Doe@example.org"},
        {"JOE@example.org", "Joe.Doe@example.org"},
        {"joe+tag@example.org", "Joe.Doe+tag@example.org"},
        {"joe-tag@example.org", "joe-tag@example.org"},
        {"joe@mail.example.org", "joe@example.org"}, /* the host's name goes, and the map is not asked again */
        {"ann@mail.example.org", "ann@elsewhere.example"},
        {"ann@example.org", "ann@elsewhere.example"},
        {"ann@third.example", "ann@third.example"},
        {"bob@example.org", "robert@example.org"},
        {"x+y@old.example", "x+y@new.example"},
        {"chief@old.example", "boss@new.example"},
        {"\"a b\"@old.example", "\"a b\"@new.example"},
        {"any-tag@other.example", "any-tag@other.example"},
        {"sam-tag@other.example", "samuel-tag@example.org"},
        {"nobody@x.example", "nobody@x.example"},
        {"j\xc3\xb6rg@example.org", "joerg@example.org"},
        {"loop@example.org", "pool@example.org"},
        {"pool@example.org", "loop@example.org"},
        {"a@[192.0.2.1]", "a@example.org"},
    };
    struct config *cfg = read_config(CONFIG);
    struct rewriting w = {.cfg = cfg};

    (void)state;
    take(&w, TABLE_CANONICAL,
        "# people\n\njoe@example.org \t Joe.Doe@example.org\r\nann ann@elsewhere.example\nbob robert\n"
        "chief@old.example boss@new.example\n@old.example\t@new.example\nsam@other.example samuel\n"
        "j\xc3\xb6rg@example.org joerg\nloop pool\npool loop\n@[192.0.2.1] @example.org");
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect(&w, REWRITE_SENDER, true, cases[i].from, cases[i].to);
    rewriting_fini(&w);
    config_free(&cfg);
}

static void test_sides_and_hosts(void **state)
{
    struct config *cfg = read_config(CONFIG);
    struct rewriting w = {.cfg = cfg};

    (void)state;
    take(&w, TABLE_CANONICAL, "both@a.example both@b.example\nstep@a.example three@h.example.org\n");
    take(&w, TABLE_CANONICAL_SENDERS, "s@a.example sender@b.example\none@a.example step@a.example\n");
    take(&w, TABLE_CANONICAL_RECIPIENTS, "s@a.example recipient@b.example\n");
    expect(&w, REWRITE_SENDER, true, "s@a.example", "sender@b.example");
    expect(&w, REWRITE_RECIPIENT, true, "s@a.example", "recipient@b.example");
    expect(&w, REWRITE_RECIPIENT, false, "both@a.example", "both@b.example");
    /* its own map, the common one, the host's name: each once */
    expect(&w, REWRITE_SENDER, false, "one@a.example", "three@example.org");
    /* hosts */
    expect(&w, REWRITE_SENDER, true, "u@h.example.org", "u@example.org");
    expect(&w, REWRITE_SENDER, true, "u@a.b.example.org", "u@example.org");
    expect(&w, REWRITE_RECIPIENT, false, "u@h.example.org", "u@example.org");
    expect(&w, REWRITE_RECIPIENT, true, "u@h.example.org", "u@h.example.org");
    expect(&w, REWRITE_SENDER, true, "u@keep.example.org", "u@keep.example.org");
    expect(&w, REWRITE_SENDER, true, "u@x.keep.example.org", "u@x.keep.example.org");
    expect(&w, REWRITE_SENDER, true, "Root@h.example.org", "Root@h.example.org");
    expect(&w, REWRITE_SENDER, true, "u@notexample.org", "u@notexample.org");
    expect(&w, REWRITE_SENDER, true, "u@example.org", "u@example.org");
    rewriting_fini(&w);
    config_free(&cfg);
}

/* What would be no address is not made. */
static void test_too_long(void **state)
{
    char user[LOCAL_PART_SIZE_MAX + 1], from[ADDRESS_SIZE_MAX], text[2 * ADDRESS_SIZE_MAX];
    struct config *cfg = read_config(CONFIG);
    struct rewriting w = {.cfg = cfg};

    (void)state;
    memset(user, 'u', LOCAL_PART_SIZE_MAX);
    user[LOCAL_PART_SIZE_MAX] = 0;
    snprintf(text, sizeof text, "u %s@example.org\n", user);
    take(&w, TABLE_CANONICAL, text);
    snprintf(from, sizeof from, "%s@example.org", user);
    expect(&w, REWRITE_SENDER, true, "u@example.org", from);
    expect(&w, REWRITE_SENDER, true, "u+tag@example.org", "u+tag@example.org");
    rewriting_fini(&w);
    config_free(&cfg);
}

static void test_bad_maps(void **state)
{
    static const struct {
        const char *text, *why;
        unsigned line;
    } cases[] = {
        {"a b\nc\n", "behind the key", 2},
        {"a b c\n", "more than", 1},
        {"\n#\n continued line\n", "begins with a blank", 3},
        {"a@b@c d\n", "the key", 1},
        {"a@-b- d\n", "the key", 1},
        {"a b@c..d\n", "behind the key", 1},
        {"a j\xc3\xb6rg@x.example\n", "behind the key", 1},
        {"a <b@c>\n", "behind the key", 1},
        {"A@B.example x\nother y\na@b.EXAMPLE z\n", "before it", 3},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct address_map map;
        unsigned line;
        struct result r = address_map_read(bytes_of(cases[i].text), &map, &line);

        if (r.code != CODE_SYNTAX || strstr(r.why, cases[i].why) == NULL || line != cases[i].line)
            fail_msg("%s: %s at line %u", cases[i].text, r.why, line);
    }
}

static void test_configuration(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"rewrite { classes = { local, relay } }", NULL},
        {"rewrite { classes = {} }", NULL},
        {"rewrite { classes = remote }", "expected one of local|submission|relay|strangers"},
        {"rewrite { masquerade = \"-x-\" }", "a domain such as"},
        {"rewrite { canonical = maps }", "a path that begins with /"},
        {"origin = \"o.test\" domain \"o.test\" {} srs { keys = \"/k\" }", NULL},
        {"origin = \"o.test\" domain \"x.test\" {} srs { keys = \"/k\" }", "expected one that has a domain block"},
        {"domain \"x.test\" {} srs { domain = \"x.test\" }", "found without keys"},
        {"domain \"x.test\" {} srs { domain = \"y.test\" keys = \"/k\" }", "expected one that has a domain block"},
        {"domain \"x.test\" {} srs { domain = \"x.test\" keys = \"/k\" max_age = \"1h\" }", "max_age"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_error error = {""};
        struct config *cfg;
        struct result r = config_read_text("test", bytes_of(cases[i].text), &cfg, &error);

        if (is_ok(r) != (cases[i].error == NULL) || (!is_ok(r) && strstr(error.text, cases[i].error) == NULL))
            fail_msg("%s: %s", cases[i].text, error.text);
        config_free(&cfg);
    }
    struct config *cfg = read_config("domain \"x.test\" {} srs { domain = \"x.test\" keys = \"/k\" max_age = \"3d\" }");
    struct srs srs;
    config_srs_fill(cfg, &srs);
    assert_int_equal(srs.max_age_days, 3);
    assert_true(config_is_srs_address(cfg, BYTES("SRS0=a@x.test")));
    assert_true(config_is_srs_address(cfg, BYTES("srs1+a@x.test")));
    assert_false(config_is_srs_address(cfg, BYTES("SRS0=a@y.test")));
    assert_false(config_is_srs_address(cfg, BYTES("SRS0@x.test")));
    assert_false(config_is_srs_address(cfg, BYTES("SRS0=a")));
    assert_int_equal(cfg->rewrite.classes, MAIL_LOCAL | MAIL_SUBMISSION);
    config_free(&cfg);
    cfg = read_config("rewrite { classes = { relay, strangers } }");
    assert_int_equal(cfg->rewrite.classes, MAIL_RELAY | MAIL_STRANGERS);
    assert_false(config_is_srs_address(cfg, BYTES("SRS0=a@x.test")));
    config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps), cmocka_unit_test(test_sides_and_hosts),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_bad_maps), cmocka_unit_test(test_configuration)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
