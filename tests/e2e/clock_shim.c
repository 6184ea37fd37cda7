/* Preloaded into mansiod: its wall clock stands as far from the machine's as the file named by MANSIO_CLOCK_FILE says, in
 * milliseconds (eight octets, host order), and follows while the file changes. The monotonic clock is left alone, as it is
 * when an administrator sets the time. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/prelude.h"

static const volatile int64_t *offset_ms;

/* Before the process shuts itself off from the file system. */
__attribute__((constructor)) static void shim_begin(void)
{
    const char *path = getenv("MANSIO_CLOCK_FILE");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (map != MAP_FAILED)
        offset_ms = map;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int status = (int)syscall(SYS_clock_gettime, clock, t);

    if (status == 0 && offset_ms != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ms = *offset_ms;

        t->tv_sec += ms / 1000;
        t->tv_nsec += ms % 1000 * 1000000;
        if (t->tv_nsec >= 1000000000)
            t->tv_sec++, t->tv_nsec -= 1000000000;
        if (t->tv_nsec < 0)
            t->tv_sec--, t->tv_nsec += 1000000000;
    }
    return status;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
