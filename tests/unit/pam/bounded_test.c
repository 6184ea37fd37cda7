/* bounded: what a function returned; and that neither it nor what it started outlives its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/pam/bounded.h"

static int pipe_fd[2];

static int returns(void *ctx)
{
    return *(int *)ctx;
}

static int dies(void *ctx)
{
    (void)ctx;
    raise(SIGKILL);
    return 0;
}

/* It leaves behind a session of its own, with a grandchild; all hold the pipe. */
static int breeds(void *ctx)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            setsid();
        for (;;)
            pause();
    }
    while (ctx == NULL)
        pause();
    return 0;
}

static void results(void **state)
{
    int seven = 7;

    (void)state;
    assert_int_equal(bounded_run(returns, &seven, 10000), 7);
    assert_int_equal(bounded_run(dies, NULL, 10000), -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void nothing_is_left(void **state)
{
    char octet;

    (void)state;
    for (int i = 0; i < 2; i++) { /* it sleeps; it returns at once */
        assert_int_equal(pipe(pipe_fd), 0);
        assert_int_equal(bounded_run(breeds, i == 0 ? NULL : &octet, i == 0 ? 50 : 10000), i == 0 ? -1 : 0);
        close(pipe_fd[1]);
        assert_int_equal(read(pipe_fd[0], &octet, 1), 0); /* nobody holds the other end any more */
        close(pipe_fd[0]);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results),
        cmocka_unit_test(nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
