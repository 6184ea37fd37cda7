/* mbox: quoting at every split of what is read, locks, and what a failure leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/local/mbox.h"

static char folder[64], path[128], lock[160];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mansio-mbox-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/box", folder);
    snprintf(lock, sizeof lock, "%s.lock", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(lock);
    unlink(path);
    return rmdir(folder);
}

static struct result append(const char *text, const char *sender, int64_t wait_ms)
{
    char name[] = "/tmp/mansio-mbox-in-XXXXXX";
    int fd = mkstemp(name);

    unlink(name);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    lseek(fd, 0, SEEK_SET);
    struct result r = mbox_append(path, fd, bytes_of(sender), 1000000000, wait_ms);
    close(fd);
    return r;
}

static const char *content(void)
{
    static char text[4096];
    FILE *file = fopen(path, "re");

    text[0] = 0;
    if (file == NULL)
        return text;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static void from_lines_are_quoted(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\nb\n", "a\nb\n\n"},
        {"a", "a\n\n"},
        {"From x\n", ">From x\n\n"},
        {"a\nFrom x\n>From y\n>>From z\nFro", "a\n>From x\n>>From y\n>>>From z\nFro\n\n"},
        {"\n\n>a\n>\n>>", "\n\n>a\n>\n>>\n\n"},
        {"FromX\n>Frog\n From x\nFrom", "FromX\n>Frog\n From x\nFrom\n\n"},
        {"", "\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[256];

        unlink(path);
        assert_true(is_ok(append(cases[i].in, i % 2 == 0 ? "a b@c.test" : "", 0)));
        snprintf(want, sizeof want, "From %s Sun Sep  9 01:46:40 2001\n%s", i % 2 == 0 ? "a-b@c.test" : "MAILER-DAEMON",
            cases[i].out);
        assert_string_equal(content(), want);
        assert_int_not_equal(access(lock, F_OK), 0);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void locks_of_the_dead_are_taken(void **state)
{
    (void)state;
    char host[256];
    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    assert_int_equal(waitpid(gone, NULL, 0), gone);
    assert_int_equal(gethostname(host, sizeof host), 0);
    FILE *left = fopen(lock, "w");
    fprintf(left, "%d elsewhere.test\n", (int)gone);
    fclose(left);
    assert_int_equal(append("x\n", "", 200).code, CODE_TIMEOUT); /* who knows about another host */
    left = fopen(lock, "w");
    fprintf(left, "%d %s\n", (int)gone, host);
    fclose(left);
    assert_int_equal(append("x\n", "", 200).code, CODE_OK); /* of a process that was killed */
}

static void locks_are_kept(void **state)
{
    int fd = open(lock, O_CREAT | O_WRONLY, 0600);
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    (void)state;
    assert_int_equal(append("x\n", "", 200).code, CODE_TIMEOUT);
    assert_string_equal(content(), "");
    assert_int_equal(access(lock, F_OK), 0); /* it is not ours to take away */
    futimens(fd, old);
    close(fd);
    assert_true(is_ok(append("x\n", "", 200))); /* stale */
    size_t size = strlen(content());
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t other = fork();
    if (other == 0) {
        struct flock held = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int box = open(path, O_RDWR);
        _exit(fcntl(box, F_SETLK, &held) == 0 && write(ready[1], "x", 1) == 1 ? pause() : 1);
    }
    char octet;
    assert_int_equal(read(ready[0], &octet, 1), 1);
    assert_int_equal(append("y\n", "", 200).code, CODE_TIMEOUT);
    assert_int_equal(strlen(content()), size);
    assert_int_not_equal(access(lock, F_OK), 0);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    assert_true(is_ok(append("y\n", "", 200)));
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    char before[4096];

    (void)state;
    assert_true(is_ok(append("first\n", "", 0)));
    snprintf(before, sizeof before, "%s", content());
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {strlen(before) + 20, strlen(before) + 20};
        signal(SIGXFSZ, SIG_IGN);
        char name[] = "/tmp/mansio-mbox-in-XXXXXX";
        int fd = mkstemp(name);
        unlink(name);
        bool wrote = write(fd, "0123456789012345678901234567890123456789\n", 41) == 41;
        lseek(fd, 0, SEEK_SET);
        setrlimit(RLIMIT_FSIZE, &limit);
        struct result r = mbox_append(path, fd, BYTES("a@b.test"), 1, 0);
        _exit(wrote && r.code == CODE_IO && r.sys == EFBIG ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_string_equal(content(), before);
}

static void only_files_are_written(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(append("x\n", "", 0).sys, ELOOP);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(append("x\n", "", 0).code, CODE_REFUSED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(from_lines_are_quoted),
        CASE(locks_are_kept),
        CASE(locks_of_the_dead_are_taken),
        CASE(a_full_disk_leaves_what_was_there),
        CASE(only_files_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
