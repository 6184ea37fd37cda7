/* mailbox: names that must not become paths, line ends at every split, and what lies in a Maildir after each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/local/mailbox.h"

static char folder[] = "/tmp/mansio-mailbox-XXXXXX";
static char path[128];

static int setup(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/a/b/box", folder);
    return 0;
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
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* How many files a part of the Maildir holds; the last one's name in name_out. */
static unsigned count_files(const char *part, char name_out[512])
{
    char at[200];
    const struct dirent *entry;
    unsigned count = 0;
    DIR *dir;

    snprintf(at, sizeof at, "%s/%s", path, part);
    dir = opendir(at);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            count++;
            snprintf(name_out, 512, "%s/%s", at, entry->d_name);
        }
    closedir(dir);
    return count;
}

static void names_become_paths(void **state)
{
    static const struct {
        const char *template, *local_part, *domain;
        enum code code;
        const char *path;
    } cases[] = {
        {"/m/%d/%u", "alice", "example.org", CODE_OK, "/m/example.org/alice"},
        {"/m/%d/%u", "Alice", "Example.ORG", CODE_OK, "/m/example.org/alice"},
        {"/m/%u%%x", "a", "d", CODE_OK, "/m/a%x"},
        {"/m/%u", "a b", "d", CODE_OK, "/m/a b"},
        {"/m/%u", "j\xc3\xb6rg", "d", CODE_OK, "/m/j\xc3\xb6rg"},
        {"/m/%u", "..", "d", CODE_SYNTAX, NULL},
        {"/m/%u", ".", "d", CODE_SYNTAX, NULL},
        {"/m/%u.", ".", "d", CODE_SYNTAX, NULL},
        {"/m/x%u", "..", "d", CODE_OK, "/m/x.."},
        {"/m/%u", "../../etc/cron.d", "d", CODE_SYNTAX, NULL},
        {"/m/%u", "/etc/passwd", "d", CODE_SYNTAX, NULL},
        {"/m/%u", "a/b", "d", CODE_SYNTAX, NULL},
        {"/m/%u", "a\nb", "d", CODE_SYNTAX, NULL},
        {"/m/%u", "", "d", CODE_SYNTAX, NULL},
        {"/m/%d/%u", "a", "..", CODE_SYNTAX, NULL},
        {"/m/%d/%u", "a", "x/y", CODE_SYNTAX, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t octets[64];
        struct buf out = BUF(octets);
        struct result r = mailbox_path_put(
            &out, bytes_of(cases[i].template), bytes_of(cases[i].local_part), bytes_of(cases[i].domain));

        if (r.code != cases[i].code)
            fail_msg("case %zu: code %d", i, (int)r.code);
        if (is_ok(r) && !bytes_equal(buf_bytes(&out), bytes_of(cases[i].path)))
            fail_msg("case %zu: %.*s", i, BYTES_ARG(buf_bytes(&out)));
    }

    uint8_t octets[8];
    struct buf out = BUF(octets);
    assert_int_equal(mailbox_path_put(&out, BYTES("/m/%u"), BYTES("alexander"), BYTES("d")).code, CODE_FULL);
    /* a NUL inside */
    buf_reset(&out);
    assert_int_equal(
        mailbox_path_put(&out, BYTES("/%u"), (struct bytes){(const uint8_t *)"a\0b", 3}, BYTES("d")).code, CODE_SYNTAX);
}

static void line_ends_become_lf_at_every_split(void **state)
{
    static const char IN[] = "a: b\r\n\r\nlone\rcr\r\r\nend\r\n\r";
    static const char OUT[] = "a: b\n\nlone\rcr\r\nend\n\r";
    char name[512], text[64], unique[32];

    (void)state;
    for (size_t split = 0; split <= sizeof IN - 1; split++) {
        struct mailbox box;
        FILE *file;
        size_t got;

        snprintf(unique, sizeof unique, "m%zu", split);
        assert_true(is_ok(mailbox_open(&box, path, bytes_of(unique))));
        assert_true(is_ok(mailbox_write(&box, bytes_head(bytes_of(IN), split))));
        assert_true(is_ok(mailbox_write(&box, bytes_after(bytes_of(IN), split))));
        assert_true(is_ok(mailbox_commit(&box)));
        assert_int_equal(count_files("new", name), 1);
        file = fopen(name, "rb");
        got = fread(text, 1, sizeof text, file);
        fclose(file);
        assert_int_equal(got, sizeof OUT - 1);
        assert_memory_equal(text, OUT, got);
        unlink(name);
    }
}

static void nothing_is_in_new_before_commit(void **state)
{
    struct mailbox box;
    char name[512];
    struct stat st;

    (void)state;
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"))));
    assert_true(is_ok(mailbox_write(&box, BYTES("hello\r\n"))));
    assert_int_equal(count_files("tmp", name), 1);
    assert_int_equal(count_files("new", name), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    mailbox_abandon(&box);
    assert_int_equal(count_files("tmp", name), 0);
    assert_int_equal(count_files("new", name), 0);
    mailbox_abandon(&box);

    assert_true(is_ok(mailbox_open(&box, path, BYTES("two"))));
    assert_true(is_ok(mailbox_write(&box, BYTES("hello\r\n"))));
    assert_true(is_ok(mailbox_commit(&box)));
    assert_int_equal(count_files("tmp", name), 0);
    assert_int_equal(count_files("new", name), 1);
    assert_non_null(strstr(name, "/new/two,S=6"));
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void failures_leave_nothing(void **state)
{
    struct mailbox box;
    struct result r;
    char name[512];

    (void)state;
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"))));
    /* the same name again: never overwritten */
    struct mailbox other;
    assert_int_equal(mailbox_open(&other, path, BYTES("one")).sys, EEXIST);
    mailbox_abandon(&box);

    snprintf(name, sizeof name, "%s/file", folder);
    FILE *file = fopen(name, "w");
    fclose(file);
    strcat(name, "/box");
    assert_int_equal(mailbox_open(&box, name, BYTES("x")).sys, ENOTDIR);

    if (getuid() == 0)
        return; /* root may write everywhere: the rest shows nothing */
    assert_int_equal(chmod(folder, 0500), 0);
    snprintf(name, sizeof name, "%s/locked", folder);
    r = mailbox_open(&box, name, BYTES("x"));
    assert_int_equal(r.sys, EACCES);
    assert_int_equal(chmod(folder, 0700), 0);
}

/* /dev/full stands for a disk without room. */
static void full_disk_is_said(void **state)
{
    static uint8_t text[200000];
    struct mailbox box;
    struct result r;
    char name[512];
    int full = -1;
    FILE *device = fopen("/dev/full", "w");

    (void)state;
    if (device == NULL) {
        print_message("skipped: no /dev/full here\n");
        skip();
    }
    memset(text, 'x', sizeof text);
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"))));
    full = fileno(device);
    assert_true(dup2(full, box.fd) >= 0);
    r = mailbox_write(&box, (struct bytes){text, sizeof text});
    assert_int_equal(r.code, CODE_IO);
    assert_int_equal(r.sys, ENOSPC);
    mailbox_abandon(&box);
    fclose(device);
    assert_int_equal(count_files("tmp", name), 0);
    assert_int_equal(count_files("new", name), 0);
}

static void names_are_told_apart(void **state)
{
    uint8_t octets[MAILBOX_NAME_SIZE_MAX];
    struct buf out = BUF(octets);

    (void)state;
    assert_true(is_ok(mailbox_name_put(&out, (struct walltime){1795304575123}, 456, 7, BYTES("a/b:c"))));
    assert_true(bytes_equal(buf_bytes(&out), BYTES("1795304575.M123000P456Q7.a_b_c")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_paths),
        cmocka_unit_test_setup_teardown(line_ends_become_lf_at_every_split, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_in_new_before_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_is_said, setup, teardown),
        cmocka_unit_test(names_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
