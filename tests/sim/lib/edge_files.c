#include "tests/sim/lib/edge_files.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/lib/house.h"
#include "tests/sim/lib/kin.h"

enum { DESCRIPTORS_MAX = 1024, LINKS_MAX = 256 };

/* A copy whose folder is not synced yet. */
struct copy_link {
    struct receipt *receipt;
    ino_t folder;
    char path[1200];
};

static struct {
    char root[200];
    uint64_t crash_in, fail_in;
    bool power, frozen;
    bool open[DESCRIPTORS_MAX]; /* a file of ours, by descriptor */
    bool unsynced[DESCRIPTORS_MAX];
    struct copy_link links[LINKS_MAX];
    size_t link_count;
} files;

int __real_openat(int dir, const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_syncfs(int fd);
int __real_close(int fd);
int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_openat(int dir, const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_syncfs(int fd);
int __wrap_close(int fd);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_unlinkat(int dir, const char *path, int flags);

void files_begin(const char *root)
{
    memset(&files, 0, sizeof files);
    (void)snprintf(files.root, sizeof files.root, "%s", root);
}

void files_end(void)
{
    files.root[0] = 0;
}

void files_crash_in(uint64_t n, bool power)
{
    files.crash_in = n;
    files.power = power;
}

void files_fail_in(uint64_t n)
{
    files.fail_in = n;
}

uint64_t files_left(void)
{
    return files.crash_in + files.fail_in;
}

void files_freeze(bool frozen)
{
    files.frozen = frozen;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS_MAX && files.open[fd];
}

/* Copies whose names may not last are gone or stay, by the dice. */
static void links_settle(void)
{
    for (size_t i = 0; i < files.link_count;) {
        struct copy_link *l = &files.links[i];

        if (world_chance(500) && unlink(l->path) == 0) {
            ledger_copy_gone(l->receipt);
            *l = files.links[--files.link_count];
            continue;
        }
        i++;
    }
}

/* The names in that folder last, or in all. */
static void links_last(bool all, ino_t folder)
{
    for (size_t i = 0; i < files.link_count;) {
        struct copy_link *l = &files.links[i];

        if (!all && l->folder != folder) {
            i++;
            continue;
        }
        l->receipt->arrived = true;
        *l = files.links[--files.link_count];
    }
}

static void crash(void)
{
    files.frozen = true;
    world_fault(FAULT_CRASH_LOCAL);
    if (files.power) {
        links_settle();
        house_power_cut_soon();
    }
    house_local_dies_here();
}

/* One step; false: it does not happen, errno says why. */
static bool step(void)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT};

    if (!files.frozen && world_fails(CALL_FILE_LAST))
        crash();
    if (!files.frozen && world_fails(CALL_FILE)) {
        errno = ENOSPC;
        return false;
    }
    if (!files.frozen && files.crash_in > 0 && --files.crash_in == 0)
        crash();
    if (files.frozen) {
        errno = EIO;
        return false;
    }
    if (files.fail_in > 0 && --files.fail_in == 0) {
        world_fault(FAULT_MAIL_DISK);
        errno = errors[world_below(COUNT_OF(errors))];
        return false;
    }
    return true;
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list list;

    va_start(list, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (files.root[0] != 0 && (flags & O_CREAT) != 0 && !step())
        return -1;
    int fd = __real_openat(dir, path, flags, mode);
    if (files.root[0] != 0 && fd >= 0 && fd < DESCRIPTORS_MAX) {
        files.open[fd] = true;
        files.unsynced[fd] = (flags & O_CREAT) != 0;
    }
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    if (!is_ours(fd))
        return __real_write(fd, data, size);
    if (!step())
        return -1;
    files.unsynced[fd] = true;
    if (size > 1 && world_chance(50)) /* a short write */
        size = 1 + (size_t)world_below(size - 1);
    return __real_write(fd, data, size);
}

/* Real syncs would only take time. */
int __wrap_fsync(int fd)
{
    if (!is_ours(fd))
        return __real_fsync(fd);
    if (!step())
        return -1;
    files.unsynced[fd] = false;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        links_last(false, st.st_ino);
    return 0;
}

int __wrap_syncfs(int fd)
{
    if (!is_ours(fd))
        return __real_syncfs(fd);
    if (!step())
        return -1;
    memset(files.unsynced, 0, sizeof files.unsynced);
    links_last(true, 0);
    return 0;
}

int __wrap_close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        files.open[fd] = false;
    return __real_close(fd);
}

static bool tmp_is_synced(int dir, const char *path)
{
    struct stat named, held;

    if (fstatat(dir, path, &named, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        if (files.open[fd] && files.unsynced[fd] && fstat(fd, &held) == 0 && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev)
            return false;
    return true;
}

/* --- copies --- */

/* "Name: value" at the start of the head; moves behind it. */
static bool field_take(struct bytes *rest, struct bytes name, struct bytes *value_out)
{
    ptrdiff_t end = bytes_index(*rest, '\n');

    *value_out = BYTES_NONE;
    if (end < 0 || !bytes_starts(*rest, name))
        return false;
    *value_out = bytes_after(bytes_head(*rest, (size_t)end), name.size);
    *rest = bytes_after(*rest, (size_t)end + 1);
    return true;
}

struct receipt *files_copy_read(struct bytes text, bool program, struct bytes *to_out)
{
    struct heap_buf content = {0};
    struct bytes from, to, original;
    bool whole = field_take(&text, BYTES("Return-Path: <"), &from) && field_take(&text, BYTES("Delivered-To: "), &to);

    if (!whole || from.size == 0 || from.data[from.size - 1] != '>') {
        world_wrong("a copy in a mailbox begins with %.*s", BYTES_ARG(bytes_head(text, 100)));
        return NULL;
    }
    from.size--;
    (void)field_take(&text, BYTES("X-Original-To: "), &original);
    for (size_t i = 0, begin = 0; i < text.size; i++)
        if (text.data[i] == '\n') {
            heap_buf_put(&content, (struct bytes){text.data + begin, i - begin});
            heap_buf_put(&content, BYTES("\r\n"));
            begin = i + 1;
        }
    struct receipt *receipt = ledger_copy(from, to, original, program, heap_buf_bytes(&content));
    heap_buf_free(&content);
    if (to_out != NULL)
        *to_out = to;
    return receipt;
}

struct bytes files_read(int fd, struct heap_buf *room)
{
    uint8_t piece[16384];
    ssize_t got;

    for (off_t at = 0; (got = pread(fd, piece, sizeof piece, at)) > 0; at += got)
        heap_buf_put(room, (struct bytes){piece, (size_t)got});
    return heap_buf_bytes(room);
}

static void copy_look(int dir, const char *path)
{
    struct heap_buf room = {0};
    char name[64], maildir[1000], expected[1200];
    struct bytes to;
    int fd = __real_openat(dir, path, O_RDONLY | O_CLOEXEC);

    ASSERT(fd >= 0);
    struct receipt *receipt = files_copy_read(files_read(fd, &room), false, &to);
    __real_close(fd);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", dir);
    ssize_t size = readlink(name, maildir, sizeof maildir - 1);
    ASSERT(size > 0);
    maildir[size] = 0;
    if (receipt != NULL) {
        kin_maildir(to, files.root, expected, sizeof expected);
        if (strcmp(expected, maildir) != 0)
            world_wrong("mail for %.*s lies in %s", BYTES_ARG(to), maildir);
        struct stat st;
        ASSERT(files.link_count < LINKS_MAX && fstatat(dir, "new", &st, 0) == 0);
        struct copy_link *l = &files.links[files.link_count++];
        *l = (struct copy_link){.receipt = receipt, .folder = st.st_ino};
        (void)snprintf(l->path, sizeof l->path, "%s/%s", maildir, path);
        receipt->arrived = false;
    }
    heap_buf_free(&room);
}

/* A file is to get its name in `new`; false: it does not, errno says why. */
static bool name_step(int from_dir, const char *from)
{
    if (!step())
        return false;
    if (!tmp_is_synced(from_dir, from))
        world_wrong("a message gets its name before it is synced");
    return true;
}

int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (files.root[0] == 0)
        return __real_linkat(from_dir, from, to_dir, to, flags);
    int rc = name_step(from_dir, from) ? __real_linkat(from_dir, from, to_dir, to, flags) : -1;
    if (rc == 0)
        copy_look(to_dir, to);
    return rc;
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (files.root[0] == 0)
        return __real_renameat(from_dir, from, to_dir, to);
    int rc = name_step(from_dir, from) ? __real_renameat(from_dir, from, to_dir, to) : -1;
    if (rc == 0)
        copy_look(to_dir, to);
    return rc;
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (files.root[0] == 0)
        return __real_renameat2(from_dir, from, to_dir, to, flags);
    int rc = name_step(from_dir, from) ? __real_renameat2(from_dir, from, to_dir, to, flags) : -1;
    if (rc == 0)
        copy_look(to_dir, to);
    return rc;
}

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    if (files.root[0] == 0)
        return __real_unlinkat(dir, path, flags);
    if (files.frozen) {
        errno = EIO;
        return -1;
    }
    return __real_unlinkat(dir, path, flags);
}
