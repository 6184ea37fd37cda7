/* counters: what the sink has taken, in a file that it shares with the generator and with the scripts.
 *
 * For: a generator that keeps so many messages ahead of the sink and no more; it names the count that it waits for in `wake_at` and
 * sleeps on it (futex(2)). The scripts read the first two words.
 * Lifetime: until the processes end. One sink writes; one generator waits. */
#ifndef MANSIO_BENCH_COUNTERS_H
#define MANSIO_BENCH_COUNTERS_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct counters {
    _Atomic uint64_t messages, recipients;
    _Atomic uint32_t wake_at; /* 0: nobody waits */
};

/* Of an open file that is large enough; MAP_FAILED. */
static inline struct counters *counters_map(int fd)
{
    return mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static inline void counters_say(struct counters *c, uint64_t messages, uint64_t recipients)
{
    uint32_t at;

    atomic_store(&c->recipients, recipients);
    atomic_store(&c->messages, messages);
    at = atomic_load(&c->wake_at);
    if (at == 0 || messages < at)
        return;
    atomic_store(&c->wake_at, 0);
    (void)syscall(SYS_futex, &c->wake_at, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Until so many messages have come, or a second is over, in which a signal may have. */
static inline void counters_wait(struct counters *c, uint32_t messages)
{
    const struct timespec second = {1, 0};

    atomic_store(&c->wake_at, messages);
    if (atomic_load(&c->messages) < messages)
        (void)syscall(SYS_futex, &c->wake_at, FUTEX_WAIT, messages, &second, NULL, 0);
    atomic_store(&c->wake_at, 0);
}

#endif
