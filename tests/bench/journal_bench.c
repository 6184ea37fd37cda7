/* What an append-only journal would give beside one LMDB commit: the same octets of messages appended to a file with one vectored
 * write and one fdatasync for each batch.
 *
 *   journal_bench FOLDER [MESSAGES [PER_BATCH [BODY_SIZE [SEGMENT_MIB]]]]
 * The file is written once with zeros before (SEGMENT_MIB, 64; 0: it grows) and begun again at its end, as a journal of segments
 * would be. Compare with `store_bench FOLDER MESSAGES PER_BATCH`, which syncs the data and then the meta page. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/base.h"

enum { BATCH_MAX = 400, ENVELOPE_SIZE = 300, BODY_SIZE_MAX = 262144 };

static double seconds_now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static uint64_t number(int argc, char **argv, int at, uint64_t otherwise, uint64_t most)
{
    uint64_t value = otherwise;

    if (at < argc)
        must(is_ok(bytes_to_u64(bytes_of(argv[at]), most, &value)), argv[at]);
    return value;
}

static void segment_fill(int fd, size_t size)
{
    static uint8_t zeros[1 << 20];

    for (size_t at = 0; at < size; at += sizeof zeros)
        must(pwrite(fd, zeros, sizeof zeros, (off_t)at) == (ssize_t)sizeof zeros, "pwrite");
    must(fsync(fd) == 0, "fsync");
}

int main(int argc, char **argv)
{
    static uint8_t envelope[ENVELOPE_SIZE], body[BODY_SIZE_MAX];
    static struct iovec parts[2 * BATCH_MAX];
    uint64_t messages = number(argc, argv, 2, 5000, 10000000), per_batch = number(argc, argv, 3, 1, BATCH_MAX);
    uint64_t body_size = number(argc, argv, 4, 4096, BODY_SIZE_MAX), segment = number(argc, argv, 5, 64, 4096) << 20;
    size_t batch_size = per_batch * (ENVELOPE_SIZE + body_size);
    off_t at = 0;

    must(argc > 1 && chdir(argv[1]) == 0, "journal_bench FOLDER");
    int fd = open("journal", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, "journal");
    segment_fill(fd, segment);
    for (size_t i = 0; i < per_batch; i++) {
        parts[2 * i] = (struct iovec){envelope, sizeof envelope};
        parts[2 * i + 1] = (struct iovec){body, body_size};
    }
    double start = seconds_now(CLOCK_MONOTONIC), cpu = seconds_now(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t done = 0; done < messages; done += per_batch) {
        if (segment != 0 && (size_t)at + batch_size > segment)
            at = 0;
        must(pwritev(fd, parts, (int)(2 * per_batch), at) == (ssize_t)batch_size, "pwritev");
        must(fdatasync(fd) == 0, "fdatasync");
        at += (off_t)batch_size;
    }
    double wall = seconds_now(CLOCK_MONOTONIC) - start;
    printf("per_batch=%" PRIu64 " body=%" PRIu64 " segment=%" PRIu64 ": %.0f msg/s, %.3f ms a batch, cpu %.1f us/msg\n",
        per_batch, body_size, segment >> 20, (double)messages / wall, wall * 1e3 * (double)per_batch / (double)messages,
        (seconds_now(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / (double)messages);
    close(fd);
    return unlink("journal") == 0 ? 0 : 1;
}
