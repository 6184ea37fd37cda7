#include "daemon/edge/clock.h"

#include <sys/random.h>
#include <time.h>

struct instant clock_instant(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct instant){t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

struct walltime clock_walltime(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (struct walltime){t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

uint64_t clock_seed(void)
{
    uint64_t seed = 0;

    ASSERT(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
    return seed;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_instant_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t clock_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}
