/* forward: who may say where a user's mail goes, and what is understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/local/forward.h"
#include "daemon/local/way.h"

static struct owner owner;

static int setup(void **state)
{
    (void)state;
    owner = (struct owner){.name = "alice", .uid = getuid(), .gid = getgid(), .home = "/tmp/mansio-forward-XXXXXX"};
    return mkdtemp(owner.home) == NULL ? -1 : 0;
}

static int remove_one(const char *name, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(name);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(owner.home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void file_make(const char *name, const char *text, mode_t mode)
{
    char path[700];

    snprintf(path, sizeof path, "%s/%s", owner.home, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static struct result look(const char *extension, char room[256])
{
    uint8_t octets[FORWARD_SIZE_MAX];
    struct buf text = BUF(octets);
    struct result r = forward_read(&owner, BYTES("+-"), bytes_of(extension), &text);

    snprintf(room, 256, "%.*s", (int)text.size, (const char *)text.data);
    return r;
}

static void it_is_found(void **state)
{
    char text[256];

    (void)state;
    assert_int_equal(look("", text).code, CODE_GONE);
    file_make(".forward", "bob\n", 0600);
    file_make(".forward+shop", "shop\n", 0644);
    assert_true(is_ok(look("", text)));
    assert_string_equal(text, "bob\n");
    assert_true(is_ok(look("shop", text)));
    assert_string_equal(text, "shop\n");
    assert_true(is_ok(look("other", text)));
    assert_string_equal(text, "bob\n");
    assert_true(is_ok(look("../../etc/passwd", text)));
    assert_string_equal(text, "bob\n");
    strcpy(owner.home + strlen(owner.home), "/none");
    assert_int_equal(look("", text).code, CODE_GONE); /* no home: no .forward */
    owner.home[strlen(owner.home) - 5] = 0;
}

static void what_others_could_change_is_refused(void **state)
{
    char text[256], path[700], link_path[700];

    (void)state;
    file_make(".forward", "bob\n", 0620);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    file_make(".forward", "bob\n", 0602);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    file_make(".forward", "bob\n", 0600);
    snprintf(path, sizeof path, "%s/.forward", owner.home);
    snprintf(link_path, sizeof link_path, "%s/second", owner.home);
    assert_int_equal(link(path, link_path), 0);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    unlink(path);
    assert_int_equal(symlink(link_path, path), 0);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    unlink(path);
    file_make(".forward", "bob\n", 0600);
    chmod(owner.home, 0770);
    assert_int_equal(look("", text).code, CODE_REFUSED);
    chmod(owner.home, 0700);
    if (owner.uid == 0)
        owner.uid = 12345; /* somebody else's, but root's is good */
    else
        owner.uid++;
    assert_int_equal(look("", text).code, getuid() == 0 ? CODE_OK : CODE_REFUSED);
}

static void too_large_is_refused(void **state)
{
    static char large[FORWARD_SIZE_MAX + 2];
    char text[256];

    (void)state;
    memset(large, '#', FORWARD_SIZE_MAX + 1);
    file_make(".forward", large, 0600);
    assert_int_equal(look("", text).code, CODE_REFUSED);
}

/* "forward bob@d.test; mailbox; command x y" */
static void shown(const char *text, char out[400])
{
    static const char *const words[CHILD_KIND_COUNT] = {
        [CHILD_FORWARD] = "to", [CHILD_MAILBOX] = "mailbox", [CHILD_COMMAND] = "command", [CHILD_FILE] = "file"};
    struct forward_target *targets;
    struct arena a;
    size_t size = 0;

    arena_init(&a, 1 << 20);
    struct result r = forward_targets(&owner, BYTES("Alice+tag@d.test"), bytes_of(text), &a, &targets);
    out[0] = 0;
    if (!is_ok(r))
        snprintf(out, 400, "error");
    for (; is_ok(r) && targets != NULL; targets = targets->next)
        size += (size_t)snprintf(out + size, 400 - size, "%s %.*s;", words[targets->kind], BYTES_ARG(targets->text));
    arena_fini(&a);
}

static void what_it_asks_for(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"bob\n", "to bob@d.test;"},
        {"\\alice, bob@else.test\n", "mailbox alice;to bob@else.test;"},
        {"alice", "mailbox alice;"},
        {"ALICE@D.test", "mailbox alice;"},
        {"Alice+tag@d.test", "mailbox alice;"},
        {"alice@else.test", "to alice@else.test;"},
        {"\\bob", "to bob@d.test;"},
        {"|/usr/bin/vacation alice\n/home/alice/archive\n",
            "command /usr/bin/vacation alice;file /home/alice/archive;"},
        {"\"|/bin/filter -a 'x y', z\"", "command /bin/filter -a 'x y', z;"},
        {"# nobody\n\n", ""},
        {"", ""},
        {":include:/etc/passwd", "error"},
        {"not an address <", "error"},
        {"\"open", "error"},
        {"a\001b", "error"},
    };
    char out[400];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        shown(cases[i].text, out);
        if (strcmp(out, cases[i].shown) != 0)
            fail_msg("case %zu: %s", i, out);
    }
}

static void too_many_is_an_error(void **state)
{
    static char text[3 * (FORWARD_TARGETS_MAX + 1) + 1];
    char out[400];

    (void)state;
    for (size_t i = 0; i <= FORWARD_TARGETS_MAX; i++)
        memcpy(text + 3 * i, "/a\n", 3);
    shown(text, out);
    assert_string_equal(out, "error");
}

static void lanes_are_read(void **state)
{
    static const struct {
        const char *lane, *text, *as;
        enum way_kind kind;
    } cases[] = {
        {"local", "", "", WAY_MAILBOX},
        {"pipe:x -d %u", "x -d %u", "", WAY_COMMAND},
        {"file:/var/a", "/var/a", "", WAY_FILE},
        {"as:alice:mailbox", "", "alice", WAY_MAILBOX},
        {"as:alice:pipe:sh -c 'a:b'", "sh -c 'a:b'", "alice", WAY_COMMAND},
        {"as:bob:file:/x", "/x", "bob", WAY_FILE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct way way = way_of(bytes_of(cases[i].lane));

        assert_int_equal(way.kind, cases[i].kind);
        assert_true(bytes_equal(way.text, bytes_of(cases[i].text)));
        assert_true(bytes_equal(way.as, bytes_of(cases[i].as)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_could_change_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_it_asks_for, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_is_an_error, setup, teardown),
        cmocka_unit_test(lanes_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
