/* census: counted over processes, and a dead process does not count. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/inbound/census.h"

static void counts_its_own(void **state)
{
    struct census *c = NULL;
    uint32_t place[3], extra;

    (void)state;
    assert_true(is_ok(census_open(0, 3, &c)));
    assert_int_equal(census_count(c, 0), 0);
    assert_true(census_enter(c, 7, &place[0]));
    assert_true(census_enter(c, 8, &place[1]));
    assert_true(census_enter(c, 7, &place[2]));
    assert_false(census_enter(c, 7, &extra));
    assert_int_equal(census_count(c, 0), 3);
    assert_int_equal(census_count(c, 7), 2);
    census_leave(c, place[0]);
    assert_int_equal(census_count(c, 7), 1);
    assert_true(census_enter(c, 9, &extra));
    assert_int_equal(census_count(c, 9), 1);
    census_leave(c, extra);
    census_leave(c, place[1]);
    census_leave(c, place[2]);
    assert_int_equal(census_count(c, 0), 0);
    census_close(&c);
    assert_null(c);
}

/* A second process enters twice, says so, and waits to be killed. */
static pid_t other_process(uint64_t group)
{
    int said[2];
    char ready;
    pid_t pid;

    assert_int_equal(pipe(said), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct census *c = NULL;
        uint32_t place;

        if (!is_ok(census_open(group, 10, &c)) || !census_enter(c, 7, &place) || !census_enter(c, 5, &place))
            _exit(1);
        if (write(said[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(said[1]);
    assert_int_equal(read(said[0], &ready, 1), 1);
    close(said[0]);
    return pid;
}

static void counts_over_processes(void **state)
{
    uint64_t group = 0x6d61000000000000u + (uint64_t)getpid();
    struct census *c = NULL;
    uint32_t place;
    pid_t pid;

    (void)state;
    if (access("/dev/shm", W_OK) != 0) {
        print_message("skipped: no shared memory here\n");
        skip();
    }
    assert_true(is_ok(census_open(group, 10, &c)));
    assert_true(census_enter(c, 7, &place));
    pid = other_process(group);
    assert_int_equal(census_count(c, 7), 2);
    assert_int_equal(census_count(c, 0), 3);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(census_count(c, 7), 1);
    assert_int_equal(census_count(c, 0), 1);
    /* its row is taken over, empty */
    pid = other_process(group);
    assert_int_equal(census_count(c, 0), 3);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    census_leave(c, place);
    census_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_its_own),
        cmocka_unit_test(counts_over_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
