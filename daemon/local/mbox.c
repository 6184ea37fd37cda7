#include "daemon/local/mbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 100, ROOM_SIZE = 65536 };

/* --- locks --- */

struct dotlock {
    char path[1100];
    bool held;
};

/* Whether the lock's file says that it is of a process of this host that is gone. */
static bool dotlock_is_left(const char *path)
{
    char text[320], host[256];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    char *end;

    if (fd >= 0)
        close(fd);
    if (got <= 0 || gethostname(host, sizeof host) != 0)
        return false;
    text[got] = 0;
    long pid = strtol(text, &end, 10);
    if (pid <= 0 || pid > INT32_MAX || *end != ' ' || strncmp(end + 1, host, strlen(host)) != 0 ||
        end[1 + strlen(host)] != '\n')
        return false;
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* "PID HOST": others tell by it whether we are gone. */
static void dotlock_sign(int fd)
{
    char host[256];

    if (gethostname(host, sizeof host) == 0)
        dprintf(fd, "%d %s\n", (int)getpid(), host);
    close(fd);
}

/* Waits its turn; a lock that nobody has touched for long belongs to a program that is gone. */
static RESULT dotlock_take(struct dotlock *lock, const char *path, int64_t *wait_ms)
{
    int size = snprintf(lock->path, sizeof lock->path, "%s.lock", path);

    if (size < 0 || (size_t)size >= sizeof lock->path)
        return FAIL_SYS(ENAMETOOLONG, "the path is too long");
    for (;;) {
        int fd = open(lock->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        struct stat st;

        if (fd >= 0) {
            lock->held = true;
            dotlock_sign(fd);
            return OK;
        }
        if (errno != EEXIST)
            return OK; /* not in this folder: fcntl alone then */
        if (dotlock_is_left(lock->path) || (stat(lock->path, &st) == 0 && time(NULL) - st.st_mtime > MBOX_STALE_S)) {
            unlink(lock->path);
            continue;
        }
        if (*wait_ms <= 0)
            return FAIL(CODE_TIMEOUT, "another program holds the lock file of the mailbox");
        poll(NULL, 0, STEP_MS);
        *wait_ms -= STEP_MS;
    }
}

static RESULT fcntl_take(int fd, int64_t *wait_ms)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    while (fcntl(fd, F_SETLK, &lock) != 0) {
        if (errno != EACCES && errno != EAGAIN && errno != EINTR)
            return FAIL_SYS(errno, "the mailbox cannot be locked");
        if (*wait_ms <= 0)
            return FAIL(CODE_TIMEOUT, "another program holds the lock of the mailbox");
        poll(NULL, 0, STEP_MS);
        *wait_ms -= STEP_MS;
    }
    return OK;
}

/* --- writing --- */

struct out {
    int fd;
    struct buf room;
    uint8_t octets[ROOM_SIZE];
};

static RESULT out_flush(struct out *o)
{
    const uint8_t *data = o->room.data;
    size_t size = o->room.size;

    while (size > 0) {
        ssize_t n = write(o->fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_SYS(errno, "the mailbox cannot be written");
        data += n;
        size -= (size_t)n;
    }
    buf_reset(&o->room);
    return OK;
}

static RESULT out_put(struct out *o, struct bytes in)
{
    while (in.size > 0) {
        struct bytes piece = bytes_head(in, buf_left(&o->room));
        TRY(buf_put(&o->room, piece));
        in = bytes_after(in, piece.size);
        if (buf_left(&o->room) == 0)
            TRY(out_flush(o));
    }
    return OK;
}

/* Where a line stands that may yet turn out to be ">>From ". */
struct quoter {
    size_t marks;   /* '>' seen at its beginning */
    size_t matched; /* octets of "From " behind them */
    bool undecided;
};

static RESULT quoter_settle(struct out *o, struct quoter *q, bool is_from)
{
    static const struct bytes from = BYTES_INIT("From ");

    q->undecided = false;
    if (is_from)
        TRY(out_put(o, BYTES(">")));
    for (size_t i = 0; i < q->marks; i++)
        TRY(out_put(o, BYTES(">")));
    return out_put(o, bytes_head(from, q->matched));
}

static RESULT body_put(struct out *o, struct quoter *q, struct bytes in, bool *line_open)
{
    static const struct bytes from = BYTES_INIT("From ");

    for (size_t i = 0; i < in.size; i++) {
        uint8_t octet = in.data[i];

        if (q->undecided) {
            if (octet == '>' && q->matched == 0) {
                q->marks++;
                continue;
            }
            if (octet == from.data[q->matched]) {
                if (++q->matched < from.size)
                    continue;
                TRY(quoter_settle(o, q, true));
                *line_open = true;
                continue;
            }
            *line_open = *line_open || q->marks + q->matched > 0;
            TRY(quoter_settle(o, q, false));
        }
        TRY(out_put(o, (struct bytes){&octet, 1}));
        *line_open = octet != '\n';
        if (octet == '\n')
            *q = (struct quoter){.undecided = true};
    }
    return OK;
}

static RESULT message_put(struct out *o, int input, struct bytes sender, int64_t now_s)
{
    uint8_t room[ROOM_SIZE];
    char date[64];
    struct tm tm;
    time_t seconds = (time_t)now_s;
    struct quoter q = {.undecided = true};
    bool line_open = false;
    ssize_t got;

    if (gmtime_r(&seconds, &tm) == NULL || strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", &tm) == 0)
        return FAIL(CODE_IO, "no date");
    TRY(out_put(o, BYTES("From ")));
    sender = sender.size == 0 ? BYTES("MAILER-DAEMON") : sender;
    for (size_t i = 0; i < sender.size; i++) /* the line is parted by blanks */
        TRY(out_put(o, sender.data[i] <= ' ' ? BYTES("-") : (struct bytes){sender.data + i, 1}));
    TRY(out_put(o, BYTES(" ")));
    TRY(out_put(o, bytes_of(date)));
    TRY(out_put(o, BYTES("\n")));
    while ((got = read(input, room, sizeof room)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL_SYS(errno, "the message cannot be read");
        TRY(body_put(o, &q, (struct bytes){room, (size_t)got}, &line_open));
    }
    if (q.undecided) {
        line_open = line_open || q.marks + q.matched > 0;
        TRY(quoter_settle(o, &q, false));
    }
    TRY(out_put(o, line_open ? BYTES("\n\n") : BYTES("\n")));
    return out_flush(o);
}

static RESULT append_locked(int fd, int input, struct bytes sender, int64_t now_s)
{
    static struct out o; /* this process does nothing else */
    struct stat st;

    if (fstat(fd, &st) != 0)
        return FAIL_SYS(errno, "the mailbox cannot be looked at");
    if (!S_ISREG(st.st_mode))
        return FAIL(CODE_REFUSED, "the mailbox is not a regular file");
    o.fd = fd;
    buf_init(&o.room, o.octets, sizeof o.octets);
    if (lseek(fd, 0, SEEK_END) < 0)
        return FAIL_SYS(errno, "the mailbox cannot be written");
    struct result r = message_put(&o, input, sender, now_s);
    if (is_ok(r) && fsync(fd) != 0)
        r = FAIL_SYS(errno, "the mailbox cannot be synced");
    if (!is_ok(r) && ftruncate(fd, st.st_size) == 0)
        (void)fsync(fd);
    return r;
}

RESULT mbox_append(const char *path, int input, struct bytes sender, int64_t now_s, int64_t wait_ms)
{
    struct dotlock dotlock = {.held = false};
    struct result r = dotlock_take(&dotlock, path, &wait_ms);

    if (!is_ok(r))
        return r;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0) {
        r = FAIL_SYS(errno, "the mailbox cannot be opened");
    } else {
        r = fcntl_take(fd, &wait_ms);
        if (is_ok(r))
            r = append_locked(fd, input, sender, now_s);
        if (close(fd) != 0 && is_ok(r))
            r = FAIL_SYS(errno, "the mailbox cannot be closed");
    }
    if (dotlock.held)
        unlink(dotlock.path);
    return r;
}
