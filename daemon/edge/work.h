/* work: a slow calculation on a helper thread, its end told in the loop.
 *
 * For: password hashes in the auth process, the one thing in the house that takes long without waiting for anything. Not for
 * anything that touches shared state, the heap through mem_*, or the log: `run` sees its ctx alone.
 * Lifetime: ctx stays until `done`, which always comes, from a later turn; run turns until work_count is 0 before freeing.
 *   work_prepare(2);                          before the sandbox: the threads are there from then on
 *   work_submit(loop, hash_run, hash_done, job); */
#ifndef MANSIO_EDGE_WORK_H
#define MANSIO_EDGE_WORK_H

#include "daemon/edge/loop.h"

/* How many helper threads; before the first work_submit of the process. */
void work_prepare(struct loop *loop, unsigned threads);
/* False when the heap has no room for it. */
bool work_submit(struct loop *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);
/* Submitted and not yet done. */
size_t work_count(void);

#endif
