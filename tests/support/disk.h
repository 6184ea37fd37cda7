/* disk: a disk that remembers every write and sync, and can show what a power cut at any point leaves.
 *
 * For: tests of whatever writes files through libc from this process: the store (LMDB is a shared library, and its calls
 * come here because the test exports these symbols: link mansio_test_disk and set ENABLE_EXPORTS), the engine in the
 * simulator. Not for: files written through a shared map, other processes, rename-heavy code (a rename or unlink is
 * taken as ordered, and as durable from the next sync of the folder).
 *
 * What is interposed: write, pwrite, writev, pwritev, ftruncate, fdatasync, fsync, rename, unlink. Files outside the
 * watched folder pass through untouched. Real syncs inside it are left out: only the model counts.
 *
 * What a cut leaves (B: the events before it): what was synced is there. Each write that was not, has one of these fates
 * by the seed: it lands, it vanishes, or it is torn: every sector of 512 octets lands or vanishes by itself. Since each
 * choice is free of the others, every order of writing back is covered too: a sector ends as its last synced content or
 * as any later write to it. A write through O_DSYNC is two events: begun (may be torn), and done. A sector is never
 * half written: that is what disks promise.
 * After a sync that failed, what it should have written may land or not, and a later sync that succeeds does not change
 * that: the kernel has marked those pages clean.
 *
 *   disk_watch(folder);                        the folder as it is now is taken as durable
 *   ... work ...
 *   for (size_t at = 0; at <= disk_event_count(); at++)
 *       disk_rebuild(at, seed, image_folder);  then open the image and look
 *   disk_forget();
 * One disk a process, threads none. Everything that fails in here aborts the test. */
#ifndef MANSIO_TESTS_DISK_H
#define MANSIO_TESTS_DISK_H

#include "daemon/base/base.h"

enum disk_fault {
    DISK_FAULT_REFUSED, /* nothing is done; the call fails */
    DISK_FAULT_SHORT,   /* a write does its first half and says so; other calls fail */
    DISK_FAULT_LOST,    /* done in memory, refused by the device: may be on disk or not, for ever */
};

void disk_watch(const char *folder);
void disk_forget(void);

/* Events so far; a cut "at" n has seen the first n. */
size_t disk_event_count(void);
/* Writes through O_DSYNC so far that touch more than one sector: such a write could be torn. */
size_t disk_crossing_count(void);
/* Writes what a cut at that point leaves into `folder` (made if missing; its old files are removed first). */
void disk_rebuild(size_t at, uint64_t seed, const char *folder);

/* The n-th write or sync from now (1: the next) and the `count` - 1 calls after it fail with `error`. 0 switches off. */
void disk_fail_nth(uint64_t n, uint64_t count, enum disk_fault fault, int error);
/* How many calls have failed since disk_fail_nth. */
uint64_t disk_failed_count(void);

#endif
