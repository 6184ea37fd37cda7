/* bounded: runs a function in a child process for so long at most, and then ends it with all that it has started, whatever sessions
 * and groups those have made of their own.
 *
 * For: main.c of this folder, in a helper (edge/helper.h): PAM's modules start programs. Not for: a process with other children: all
 * of the caller's are ended. Threads: none.
 *   status = bounded_run(run, ctx, 10000);      what run returned; -1: it did not return in time */
#ifndef MANSIO_PAM_BOUNDED_H
#define MANSIO_PAM_BOUNDED_H

#include "daemon/base/base.h"

int bounded_run(int (*run)(void *ctx), void *ctx, int64_t time_ms);

#endif
