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
#include "daemon/local/quota.h"

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
        assert_true(is_ok(mailbox_open(&box, path, bytes_of(unique), false)));
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
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"), false)));
    assert_true(is_ok(mailbox_write(&box, BYTES("hello\r\n"))));
    assert_int_equal(count_files("tmp", name), 1);
    assert_int_equal(count_files("new", name), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    mailbox_abandon(&box);
    assert_int_equal(count_files("tmp", name), 0);
    assert_int_equal(count_files("new", name), 0);
    mailbox_abandon(&box);

    assert_true(is_ok(mailbox_open(&box, path, BYTES("two"), false)));
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
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"), false)));
    mailbox_abandon(&box);

    snprintf(name, sizeof name, "%s/file", folder);
    FILE *file = fopen(name, "w");
    fclose(file);
    strcat(name, "/box");
    assert_int_equal(mailbox_open(&box, name, BYTES("x"), false).sys, ENOTDIR);

    if (getuid() == 0)
        return; /* root may write everywhere: the rest shows nothing */
    assert_int_equal(chmod(folder, 0500), 0);
    snprintf(name, sizeof name, "%s/locked", folder);
    r = mailbox_open(&box, name, BYTES("x"), false);
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
    assert_true(is_ok(mailbox_open(&box, path, BYTES("one"), false)));
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

static unsigned deliver(const char *unique, bool suspect)
{
    struct mailbox box;
    unsigned there;

    assert_true(is_ok(mailbox_open(&box, path, bytes_of(unique), suspect)));
    there = box.there;
    if (!there) {
        assert_true(is_ok(mailbox_write(&box, BYTES("hello\r\n"))));
        assert_true(is_ok(mailbox_commit(&box)));
    }
    return there;
}

/* The second time is after a crash that came before the first was told. */
static void a_delivery_done_twice_is_there_once(void **state)
{
    char name[512], moved[512];
    unsigned files;

    (void)state;
    assert_int_equal(deliver("5.I01N2.h", false), 0);
    assert_int_equal(deliver("5.I01N2.h", false), 0); /* its link finds the name */
    assert_int_equal(count_files("new", name), 1);
    assert_int_equal(deliver("5.I01N2.h", true), 1);
    assert_int_equal(count_files("new", name), 1);
    files = 1 + deliver("5.I01N2", true); /* the beginning of another's name is not its own */
    assert_int_equal(files, 1);
    assert_int_equal(count_files("new", name), 2);
    snprintf(name, sizeof name, "%s/new/5.I01N2.h,S=6,W=7", path);
    snprintf(moved, sizeof moved, "%s/cur/5.I01N2.h,S=6,W=7:2,S", path);
    assert_int_equal(rename(name, moved), 0); /* it was read meanwhile */
    assert_int_equal(deliver("5.I01N2.h", true), 1);
    assert_int_equal(count_files("new", name), 1);
    assert_int_equal(count_files("tmp", name), 0);
}

/* As many as a busy hour brings, some of them into one box: all or each by itself. */
static void many_are_committed_together(void **state)
{
    enum { COUNT = 20 };
    struct mailbox boxes[COUNT], *list[COUNT];
    struct result results[COUNT];
    char name[512], unique[32];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(unique, sizeof unique, "m%u", i);
        assert_true(is_ok(mailbox_open(&boxes[i], path, bytes_of(unique), false)));
        assert_true(is_ok(mailbox_write(&boxes[i], BYTES("hello\r\n"))));
        list[i] = &boxes[i];
    }
    close(boxes[7].fd); /* one disk that fails */
    boxes[7].fd = -1;
    boxes[7].device++;
    mailbox_commit_all(list, COUNT, results);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(is_ok(results[i]), i != 7);
    assert_int_equal(count_files("new", name), COUNT - 1);
    assert_int_equal(count_files("tmp", name), 0);
}

static void a_maildir_quota_is_kept(void **state)
{
    static const struct {
        const char *text;
        unsigned size;
        bool room;
    } cases[] = {
        {"1000S,10C\n900 5\n", 100, true},
        {"1000S,10C\n900 5\n", 101, false},
        {"1000S\n900 5\n50 1\n", 51, false},
        {"1000S\n900 5\n-500 -1\n", 500, true},
        {"3C\n10 2\n10 1\n", 1, false},
        {"3C\n    10 2\n", 1, true},
        {"1000S\n", 1001, false},
        {"\n", 1000000, true},
        {"", 1, true},
        {"1000S\nnonsense\n", 5000, true},
        {"0S,0C\n99999 1\n", 1, true},
        {"9223372036854775807S\n9223372036854775807 1\n1 1\n", 1, true},
        {"99999999999999999999S\n1 1\n", 1, true},
    };
    struct mailbox box;
    char name[512], size[200];
    FILE *file;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (quota_has_room(bytes_of(cases[i].text), cases[i].size) != cases[i].room)
            fail_msg("case %zu", i);
    assert_int_equal(deliver("one", false), 0);
    snprintf(size, sizeof size, "%s/maildirsize", path);
    file = fopen(size, "w");
    fputs("13S\n6 1\n", file);
    fclose(file);
    assert_int_equal(deliver("two", false), 0);
    assert_true(is_ok(mailbox_open(&box, path, BYTES("three"), false)));
    assert_true(is_ok(mailbox_write(&box, BYTES("hello\r\n"))));
    struct result r = mailbox_commit(&box);
    assert_int_equal(r.sys, EDQUOT);
    assert_int_equal(count_files("new", name), 2);
    assert_int_equal(count_files("tmp", name), 0);
    file = fopen(size, "r");
    assert_int_equal(fread(name, 1, sizeof name, file), 12);
    fclose(file);
    assert_memory_equal(name, "13S\n6 1\n6 1\n", 12);
}

static void names_are_told_apart(void **state)
{
    uint8_t octets[MAILBOX_NAME_SIZE_MAX];
    struct buf out = BUF(octets);

    (void)state;
    assert_true(is_ok(
        mailbox_name_put(&out, (struct walltime){1795304575123}, (struct message_id){0x1a2b}, 7, BYTES("a/b:c,d"))));
    assert_true(bytes_equal(buf_bytes(&out), BYTES("1795304575.I0000000000001a2bN7.a_b_c_d")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_paths),
        cmocka_unit_test_setup_teardown(line_ends_become_lf_at_every_split, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_in_new_before_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delivery_done_twice_is_there_once, setup, teardown),
        cmocka_unit_test_setup_teardown(many_are_committed_together, setup, teardown),
        cmocka_unit_test_setup_teardown(a_maildir_quota_is_kept, setup, teardown),
        cmocka_unit_test(names_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
