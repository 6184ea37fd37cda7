/* edge_files: the file system under the Maildirs and programs of the simulation: real files in the run's folder, whose every
 * step may fail or be the last one of the process that makes it.
 *
 * For: house_back.c and run.c. The calls of daemon/local (openat, write, fsync, linkat, renameat2, unlinkat, close; execvp and mbox_append
 * in the helpers) come here through the linker's --wrap. Each new name in a folder `new` is a copy of a letter: it is read
 * and told to the ledger. Checked on the way: a file is synced before it gets its name, and its folder after it.
 *   files_begin(root);  files_crash_in(7, false);  files_full_until(at);  ...  files_end(); */
#ifndef MANSIO_SIM_EDGE_FILES_H
#define MANSIO_SIM_EDGE_FILES_H

#include "tests/sim/lib/ledger.h"

void files_begin(const char *root);
void files_end(void);
/* The n-th step from now is the last of its process (1: the next; 0: none). With `power` the machine stops: what was not
 * synced may be gone. */
void files_crash_in(uint64_t n, bool power);
/* The n-th step from now fails with ENOSPC, EIO or EDQUOT by the dice. */
void files_fail_in(uint64_t n);
/* Steps that a crash or failure was to come at and that have not come yet. */
uint64_t files_left(void);
/* Nothing happens in the file system any more until it is thawed: its caller is dead. */
void files_freeze(bool frozen);
/* Helpers that cannot be started: the n-th from now, and `count` - 1 after it. */
void files_fork_fail(uint64_t n, uint64_t count);
uint64_t files_fork_failed(void);
/* No helper is alive. */
size_t files_helper_count(void);
/* All of a file. */
struct bytes files_read(int fd, struct heap_buf *room);
/* What a mailbox or a program was given, told to the ledger; NULL: it was none of ours. */
struct receipt *files_copy_read(struct bytes text, bool program, struct bytes *to_out);

#endif
