/* watch: the log as it grows, from where the configuration sends it. Its lines are events, encoded by the daemon so that
 * nothing in them can steer a terminal. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/queuectl.h"

enum { POLL_MS = 200 };

static bool out_put(const uint8_t *data, size_t size)
{
    return fwrite(data, 1, size, stdout) == size && fflush(stdout) == 0;
}

/* The file grows, is cut, or is replaced by another of its name (logrotate). */
static enum tool_exit file_follow(const struct tool *t, const char *path)
{
    uint8_t room[65536];
    struct stat here, there;
    off_t at = -1;
    int fd = -1;

    for (;;) {
        ssize_t size = fd < 0 ? 0 : pread(fd, room, sizeof room, at);

        if (size > 0) {
            at += size;
            if (!out_put(room, (size_t)size))
                return TOOL_OK; /* who read us has gone */
            continue;
        }
        if (stat(path, &there) != 0 && fd < 0) {
            fprintf(stderr, "%s: %s: %s\n", t->program, path, strerror(errno));
            return errno == EACCES ? TOOL_NO_RIGHT : TOOL_UNAVAILABLE;
        }
        if (fd < 0 || (fstat(fd, &here) == 0 && (here.st_ino != there.st_ino || here.st_size < at))) {
            bool first = fd < 0 && at < 0;
            if (fd >= 0)
                close(fd);
            fd = open(path, O_RDONLY | O_CLOEXEC);
            at = first ? there.st_size : 0;
            if (fd < 0 && first) {
                fprintf(stderr, "%s: %s: %s\n", t->program, path, strerror(errno));
                return errno == EACCES ? TOOL_NO_RIGHT : TOOL_UNAVAILABLE;
            }
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

enum tool_exit tool_watch(const struct tool *t)
{
    switch (t->cfg->log.to) {
    case LOG_TO_FILE:
        return file_follow(t, (const char *)t->cfg->log.path.data);
    case LOG_TO_JOURNAL:
        execlp("journalctl", "journalctl", "--follow", "--output=cat", "--unit=mansio", (char *)NULL);
        fprintf(stderr, "%s: cannot run journalctl: %s\n", t->program, strerror(errno));
        return TOOL_UNAVAILABLE;
    default:
        fprintf(stderr,
            "%s: the log goes to the daemon's standard error; set log { to = \"/path\" } or journal to watch it\n",
            t->program);
        return TOOL_UNAVAILABLE;
    }
}
