/* helper: a short-lived child process of ours: it gets a file as its input, its output is kept in part, its time is bounded.
 *
 * For: local, which runs commands and writes files that may block. Not for: the house's own processes (daemon/supervisor).
 * The child is a group of its own, has no descriptor of ours but 0, 1 and 2, default signals, umask 077, and stands in "/". It becomes
 * another user when the process has kept root for that (process.c does so for local), else it stays who we are.
 * `run` is called in the child, single-threaded, and must not return normally: what it returns is the exit status.
 * Lifetime: helper_start returns a handle until `ended`, which comes once, from the loop; helper_stop kills the group and nothing is
 * called any more.
 *   struct helper_spec spec = {.input = fd, .run = run, .ctx = ctx, .time_ms = 60000, .user = "nobody"};
 *   TRY(helper_start(loop, &spec, ended, owner, &helper)); */
#ifndef MANSIO_EDGE_HELPER_H
#define MANSIO_EDGE_HELPER_H

#include "daemon/edge/loop.h"

struct helper;

enum {
    HELPER_OUTPUT_KEPT = 1024,        /* octets of the output, its beginning */
    HELPER_OUTPUT_SIZE_MAX = 1048576, /* a child that says more is ended */
    HELPER_EXIT_RIGHTS = 126,         /* it could not become the user */
};

struct helper_spec {
    int input; /* becomes its descriptor 0; stays the caller's */
    int (*run)(void *ctx);
    void *ctx;
    int64_t time_ms;
    const char *user; /* NULL: stay who we are */
};

enum helper_fate { HELPER_EXITED, HELPER_KILLED, HELPER_TOO_LATE, HELPER_TOO_LOUD };

struct helper_end {
    enum helper_fate fate;
    int status;          /* EXITED: exit status; KILLED: the signal */
    struct bytes output; /* good during the call */
};

typedef void helper_ended(void *owner, const struct helper_end *end);

/* CODE_IO when the system has no room for it. */
RESULT helper_start(
    struct loop *loop, const struct helper_spec *spec, helper_ended *ended, void *owner, struct helper **helper_out);
/* NULL is fine. */
void helper_stop(struct helper **helper);

#endif
