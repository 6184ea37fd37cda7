/* backend: one kind of lookup, as the helper threads ask it.
 *
 * For: asker.c, which calls; book_*.c, one kind each. Everything here runs on a helper thread: no log, no mem_*, nothing shared
 * but the configuration. A connection is one seat's own; the back end makes it when it is first asked and again after close.
 * Every wait is bounded by the question's deadline, so that a thread always comes back.
 *   void *conn = NULL;
 *   switch (backend_of(lookup->kind)->ask(&conn, &question)) …   CODE_OK, CODE_GONE: no such key; anything else: failed, `why` tells
 *   backend_of(lookup->kind)->close(conn);                       after a failure, and at the end */
#ifndef MANSIO_LOOKUP_BACKEND_H
#define MANSIO_LOOKUP_BACKEND_H

#include "daemon/config/config.h"

enum { BACKEND_WHY_SIZE_MAX = 200, BACKEND_POLL_MS_MAX = 60000 };

struct question {
    const struct config_lookup *lookup;
    const char *hostname; /* our own */
    struct bytes key;     /* lower case, at most ADDRESS_SIZE_MAX octets, NUL-terminated */
    int64_t deadline_ms;  /* CLOCK_MONOTONIC */
    struct buf *answer;   /* rows parted by line ends */
    char why[BACKEND_WHY_SIZE_MAX];
};

struct backend {
    RESULT (*ask)(void **conn, struct question *q);
    void (*close)(void *conn); /* NULL is fine */
};

extern const struct backend BACKEND_TEXT, BACKEND_LMDB, BACKEND_CDB, BACKEND_PCRE, BACKEND_SQLITE, BACKEND_POSTGRESQL,
    BACKEND_LDAP, BACKEND_DOVECOT, BACKEND_CALLAHEAD, BACKEND_SYSTEM;

/* NULL when this program was built without its library. */
const struct backend *backend_of(enum lookup_kind kind);

/* --- for the kinds --- */

/* Milliseconds left, at least 0, at most BACKEND_POLL_MS_MAX. */
int backend_ms_left(const struct question *q);
/* Sets `why` and fails: CODE_IO. */
RESULT backend_failed(struct question *q, const char *what, const char *detail);
/* Waits until the descriptor can be read (or written); CODE_TIMEOUT at the deadline. */
RESULT backend_wait(const struct question *q, int fd, bool to_write);
/* One more row. CODE_FULL. */
RESULT backend_row(struct question *q, struct bytes row);
/* The functions of a library that is only needed by some: names of `table`'s members in their order. CODE_IO with `why`. Once for
 * a process; threads may call it at once. */
struct backend_library {
    const char *file; /* "libpq.so.5" */
    const char *const *names;
    void **table;
    size_t count;
    int state; /* 0: not tried, 1: there, 2: not there */
};
RESULT backend_library(struct question *q, struct backend_library *library);

/* Defines `lib`, the functions that FUNCTIONS(F) lists as F(name), and `library`, which fills it from `file`. */
#define BACKEND_LIBRARY(file, FUNCTIONS)                                                                               \
    static struct {                                                                                                    \
        FUNCTIONS(BACKEND_MEMBER)                                                                                      \
    } lib;                                                                                                             \
    static const char *const names[] = {FUNCTIONS(BACKEND_NAME)};                                                      \
    static struct backend_library library = {file, names, (void **)&lib, COUNT_OF(names), 0};
#define BACKEND_MEMBER(name) __typeof__(name) *name;
#define BACKEND_NAME(name) #name,

/* Whether a file is another one than at the last call; notes what it is now. Fails with `why` when it is not there. */
struct backend_stamp {
    int64_t mtime_ns, size, inode;
};
RESULT backend_file_changed(struct question *q, struct backend_stamp *stamp, bool *changed_out);

#endif
