/* Documentation against the table of keys: the reference, the man page and the example name every key where it belongs,
 * with the default that the code has; and the example is a configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/config/config.h"
#include "daemon/config/keys.h"

static char *page_read(const char *name)
{
    char path[PATH_MAX];
    char *text = calloc(1, 1 << 20);
    FILE *file;

    snprintf(path, sizeof path, "%s/../%s", TESTS_DIR, name);
    file = fopen(path, "re");
    if (file == NULL)
        fail_msg("%s: cannot be read", path);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

/* From the heading that begins with `heading` to the next one with the same `mark`; NULL when there is none. */
static char *section_of(const char *page, const char *mark, const char *heading)
{
    char wanted[128];
    const char *from, *to;

    snprintf(wanted, sizeof wanted, "\n%s%s", mark, heading);
    for (from = strstr(page, wanted); from != NULL; from = strstr(from + 1, wanted)) {
        char behind = from[strlen(wanted)];

        if (behind == '\n' || behind == ' ')
            break;
    }
    if (from == NULL)
        return NULL;
    to = strstr(from + 1, mark[0] == '#' ? "\n## " : "\n.S");
    return to == NULL ? strdup(from) : strndup(from, (size_t)(to - from));
}

static void every_key_stands_in(const char *page_name, const char *mark, const char *before, const char *behind)
{
    char *page = page_read(page_name);

    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        char *section =
            section_of(page, mark, k->block == CONFIG_BLOCK_ROOT ? "Top level" : config_block_names[k->block]);
        char wanted[128], *line;

        if (section == NULL)
            fail_msg("%s has no section for %s", page_name, config_block_names[k->block]);
        snprintf(wanted, sizeof wanted, "%s%s%s", before, k->name, behind);
        line = strstr(section, wanted);
        if (line == NULL)
            fail_msg("%s: the section of %s does not tell of %s", page_name, config_block_names[k->block], k->name);
        if (k->preset != NULL && mark[0] == '#') {
            char *end = strchr(line + 1, '\n');

            if (end != NULL)
                *end = 0;
            snprintf(wanted, sizeof wanted, "| `%s`", k->preset);
            if (strstr(line, wanted) == NULL)
                fail_msg("%s: the default of %s is %s, but it says: %s", page_name, k->name, k->preset, line);
        }
        free(section);
    }
    free(page);
}

static void the_reference_names_every_key(void **state)
{
    (void)state;
    every_key_stands_in("docs/configuration.md", "## ", "\n| `", "` |");
}

static void the_man_page_names_every_key(void **state)
{
    (void)state;
    every_key_stands_in("docs/man/mansio.conf.5", ".Ss ", "\n.It Cm ", "\n");
}

static void the_example_names_every_key(void **state)
{
    char *page = page_read("etc/mansio.conf.example");

    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        char wanted[128];

        snprintf(wanted, sizeof wanted, "%s = ", config_keys[i].name);
        if (strstr(page, wanted) == NULL)
            fail_msg("the example does not show %s", config_keys[i].name);
    }
    free(page);
}

/* Takes the '#' away that stands right before a key, a block or a line of one; comments have a blank behind theirs. */
static void uncomment(char *text)
{
    char *to = text;

    for (const char *at = text; *at != 0; at++) {
        bool starts_line = at == text || at[-1] == '\n';

        if (!(starts_line && at[0] == '#' &&
                (((at[1] | 32) >= 'a' && (at[1] | 32) <= 'z') || at[1] == '}' || strncmp(at + 1, "    ", 4) == 0)))
            *to++ = *at;
    }
    *to = 0;
}

static void the_example_is_a_configuration(void **state)
{
    char *page = page_read("etc/mansio.conf.example");
    struct config *cfg, *empty;
    struct config_error error = {""};

    (void)state;
    if (!is_ok(config_read_text("example", bytes_of(page), &cfg, &error)))
        fail_msg("%s", error.text);
    assert_true(is_ok(config_read_text("empty", BYTES(""), &empty, &error)));
    assert_int_equal(cfg->listen_count, empty->listen_count);
    assert_int_equal(cfg->domain_count, empty->domain_count);
    config_free(&cfg);
    config_free(&empty);

    uncomment(page);
    if (!is_ok(config_read_text("example without its comment marks", bytes_of(page), &cfg, &error)))
        fail_msg("%s", error.text);
    assert_int_equal(cfg->listen_count, 4);
    assert_int_equal(cfg->domain_count, 5);
    config_free(&cfg);
    free(page);
}

/* Blocks of configuration in the reference are shown as they may be written. */
static void the_reference_shows_configurations(void **state)
{
    char *page = page_read("docs/configuration.md"), *at = page;
    unsigned count = 0;

    (void)state;
    while ((at = strstr(at, "\n```\n")) != NULL) {
        char *end = strstr(at + 5, "\n```\n");
        struct config *cfg;
        struct config_error error = {""};

        assert_non_null(end);
        if (at[5] != '$') {
            if (!is_ok(config_read_text(
                    "docs/configuration.md", (struct bytes){(uint8_t *)at + 5, (size_t)(end - at - 5)}, &cfg, &error)))
                fail_msg("%s", error.text);
            config_free(&cfg);
            count++;
        }
        at = end + 4;
    }
    assert_true(count > 0);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_names_every_key),
        cmocka_unit_test(the_man_page_names_every_key),
        cmocka_unit_test(the_example_names_every_key),
        cmocka_unit_test(the_example_is_a_configuration),
        cmocka_unit_test(the_reference_shows_configurations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
