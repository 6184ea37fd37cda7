#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/desk.h"

enum {
    DESK_ROOM_FIRST = 65536,
    DESK_ROOM_MAX = 1024 * 1024 * 1024, /* one line: a message with all its recipients */
};

/* A path below one of the configured folders; false when it is too long. */
static bool path_below(char *out, size_t out_size, struct bytes folder, const char *name)
{
    int size = snprintf(out, out_size, "%.*s/%s", BYTES_ARG(folder), name);

    return size > 0 && (size_t)size < out_size;
}

static struct walltime now_wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (struct walltime){(int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

/* errno of the failure, 0 when fd_out is connected. */
static int control_connect(const struct config *cfg, int *fd_out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd, sys;

    if (!path_below(to.sun_path, sizeof to.sun_path, cfg->run_dir, "control"))
        return ENAMETOOLONG;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) {
        *fd_out = fd;
        return 0;
    }
    sys = errno;
    close(fd);
    return sys;
}

/* Root opens with the owner's rights: a lock file made by root would keep the daemon out. */
static RESULT open_as_owner(const struct store_config *store_cfg, const struct stat *owner, struct store **store_out)
{
    gid_t group = getegid();
    struct result r;

    if (geteuid() != 0 || owner->st_uid == 0)
        return store_open(store_cfg, store_out);
    if (setegid(owner->st_gid) != 0 || seteuid(owner->st_uid) != 0)
        return FAIL_SYS(errno, "cannot take the rights of the queue's owner");
    r = store_open(store_cfg, store_out);
    if (seteuid(0) != 0 || setegid(group) != 0)
        return FAIL_SYS(errno, "cannot take root's rights back");
    (void)prctl(PR_SET_DUMPABLE, 1); /* the change of ids took this away, which debuggers and leak checkers live on */
    return r;
}

static RESULT queue_open(const struct config *cfg, bool read_only, struct store **store_out, char *why, size_t why_size)
{
    char path[PATH_MAX];
    struct store_config store_cfg = {.path = path, .size_max = cfg->limits.queue_size, .read_only = read_only};
    struct stat st;
    struct result r;

    if (!path_below(path, sizeof path, cfg->state_dir, "queue"))
        r = FAIL_SYS(ENAMETOOLONG, "the path of the queue is too long");
    else if (stat(path, &st) != 0)
        r = FAIL_SYS(errno, "cannot find the queue");
    else
        r = open_as_owner(&store_cfg, &st, store_out);
    if (!is_ok(r))
        (void)snprintf(
            why, why_size, "%.150s: %s%s%s", path, r.why, r.sys > 0 ? ": " : "", r.sys > 0 ? strerror(r.sys) : "");
    return r;
}

RESULT desk_store_open(const struct config *cfg, struct store **store_out, char *why, size_t why_size)
{
    return queue_open(cfg, true, store_out, why, why_size);
}

RESULT desk_store_open_alone(const struct config *cfg, struct store **store_out, char *why, size_t why_size)
{
    return queue_open(cfg, false, store_out, why, why_size);
}

RESULT desk_open(const struct config *cfg, struct desk *desk)
{
    int sys;

    *desk = (struct desk){.fd = -1};
    sys = control_connect(cfg, &desk->fd);
    if (sys != 0 && sys != ENOENT && sys != ECONNREFUSED && sys != ENOTDIR) {
        (void)snprintf(
            desk->why, sizeof desk->why, "%.*s/control: %s", BYTES_ARG(bytes_head(cfg->run_dir, 150)), strerror(sys));
        return FAIL_SYS(sys, "cannot connect to the daemon");
    }
    desk->room = mem_take(DESK_ROOM_FIRST);
    if (desk->room == NULL)
        return FAIL(CODE_FULL, "out of memory");
    desk->size_max = DESK_ROOM_FIRST;
    if (sys == 0)
        return OK;
    TRY(desk_store_open(cfg, &desk->store, desk->why, sizeof desk->why));
    control_init(&desk->control, &(struct control_setup){.store = desk->store, .uid = getuid(), .may_all = true});
    return OK;
}

void desk_close(struct desk *desk)
{
    if (desk->store != NULL) {
        control_fini(&desk->control);
        store_close(&desk->store);
    }
    if (desk->fd >= 0)
        close(desk->fd);
    mem_free(desk->room);
    *desk = (struct desk){.fd = -1};
}

bool desk_is_online(const struct desk *desk)
{
    return desk->fd >= 0;
}

RESULT desk_ask(struct desk *desk, struct bytes request)
{
    desk->size = desk->line_end = desk->scanned = 0;
    desk->ended = false;
    if (desk->fd < 0) {
        struct bytes parts[] = {request, BYTES("\n")};

        for (size_t i = 0; i < COUNT_OF(parts); i++)
            while (parts[i].size > 0 && !control_busy(&desk->control))
                parts[i] = bytes_after(parts[i], control_feed(&desk->control, parts[i]));
        return OK;
    }
    for (int part = 0; part < 2; part++) {
        struct bytes rest = part == 0 ? request : BYTES("\n");

        while (rest.size > 0) {
            ssize_t n = send(desk->fd, rest.data, rest.size, MSG_NOSIGNAL);

            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return FAIL_SYS(errno, "the daemon hung up");
            rest = bytes_after(rest, (size_t)n);
        }
    }
    return OK;
}

/* Room for at least `size` more octets. */
static RESULT room_grow(struct desk *desk, size_t size)
{
    if (desk->size_max - desk->size >= size)
        return OK;
    if (desk->line_end > 0) { /* what was handed out goes first */
        memmove(desk->room, desk->room + desk->line_end, desk->size - desk->line_end);
        desk->size -= desk->line_end;
        desk->scanned -= desk->line_end;
        desk->line_end = 0;
    }
    while (desk->size_max - desk->size < size) {
        uint8_t *more = desk->size_max > DESK_ROOM_MAX / 2 ? NULL : mem_resize(desk->room, desk->size_max * 2);

        if (more == NULL)
            return FAIL(CODE_FULL, "a line of the answer is too long");
        desk->room = more;
        desk->size_max *= 2;
    }
    return OK;
}

static RESULT desk_fill(struct desk *desk)
{
    if (desk->fd < 0) {
        struct buf out;

        TRY(room_grow(desk, CONTROL_ROOM_MIN));
        buf_init(&out, desk->room + desk->size, desk->size_max - desk->size);
        if (!control_busy(&desk->control))
            return FAIL(CODE_IO, "the answer ends too early");
        control_pull(&desk->control, now_wall(), &out);
        desk->size += out.size;
        return OK;
    }
    TRY(room_grow(desk, DESK_ROOM_FIRST / 2));
    for (;;) {
        ssize_t n = recv(desk->fd, desk->room + desk->size, desk->size_max - desk->size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_SYS(errno, "the connection to the daemon broke");
        if (n == 0)
            return FAIL(CODE_IO, "the daemon hung up in the middle of its answer");
        desk->size += (size_t)n;
        return OK;
    }
}

bool desk_line_is_last(struct bytes line)
{
    return bytes_starts(line, BYTES("{\"end\":")) || bytes_starts(line, BYTES("{\"error\":"));
}

RESULT desk_line(struct desk *desk, struct bytes *line_out)
{
    if (desk->ended)
        return FAIL(CODE_GONE, "the answer is complete");
    for (;;) {
        struct bytes fresh = {desk->room + desk->scanned, desk->size - desk->scanned};
        ptrdiff_t end = bytes_index(fresh, '\n');

        if (end < 0) {
            desk->scanned = desk->size;
            TRY(desk_fill(desk));
            continue;
        }
        *line_out = (struct bytes){desk->room + desk->line_end, desk->scanned + (size_t)end - desk->line_end};
        desk->scanned = desk->line_end = desk->scanned + (size_t)end + 1;
        desk->ended = desk_line_is_last(*line_out);
        return OK;
    }
}
