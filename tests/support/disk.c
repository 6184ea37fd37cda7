#include "tests/support/disk.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES_MAX = 64, NAME_SIZE_MAX = 64, SECTOR_SIZE = 512, NO_FILE = -1 };

enum event_kind {
    EVENT_WRITE,
    EVENT_WRITE_DONE,
    EVENT_TRUNCATE,
    EVENT_SYNC,
    EVENT_SYNC_FAILED,
    EVENT_RENAME,
    EVENT_UNLINK,
    EVENT_FOLDER_SYNC
};

struct event {
    enum event_kind kind;
    int file;      /* index in files */
    uint64_t at;   /* offset, or the new size */
    uint8_t *data; /* owned */
    size_t size;
    size_t write;             /* WRITE_DONE: the event that it completes */
    char name[NAME_SIZE_MAX]; /* RENAME: the new name */
};

/* A file as it stands on the platter. */
struct content {
    uint8_t *data;
    size_t size, room;
};

struct file {
    dev_t dev;
    ino_t ino;
    bool gone;                /* unlinked now: its inode number may come back as another file */
    bool from_start;          /* was there at disk_watch */
    size_t born;              /* the event before which it was first seen */
    char name[NAME_SIZE_MAX]; /* at first sight */
    struct content first;
};

static struct {
    bool on;
    char folder[PATH_MAX];
    struct file files[FILES_MAX];
    int file_count;
    struct event *events;
    size_t event_count, event_room;
    uint64_t fail_in, fail_count, failed;
    enum disk_fault fault;
    int error;
} disk;

/* --- the real calls --- */

#define REAL(name)                                                                                                     \
    __extension__({                                                                                                    \
        static __typeof__(&name) real_;                                                                                \
        if (real_ == NULL)                                                                                             \
            real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                        \
        ASSERT(real_ != NULL);                                                                                         \
        real_;                                                                                                         \
    })

/* --- files and events --- */

static void *grown(void *memory, size_t size)
{
    void *p = realloc(memory, size);

    ASSERT(p != NULL);
    return p;
}

static void name_set(char name[NAME_SIZE_MAX], const char *from)
{
    ASSERT(strlen(from) < NAME_SIZE_MAX);
    memcpy(name, from, strlen(from) + 1);
}

/* The name inside the watched folder; NULL for any other path. */
static const char *name_inside(const char *path)
{
    size_t size = strlen(disk.folder);

    if (!disk.on || strncmp(path, disk.folder, size) != 0 || path[size] != '/' || strchr(path + size + 1, '/') != NULL)
        return NULL;
    return path + size + 1;
}

static int file_add(const struct stat *st, const char *name)
{
    ASSERT(disk.file_count < FILES_MAX);
    struct file *f = &disk.files[disk.file_count];

    *f = (struct file){.dev = st->st_dev, .ino = st->st_ino, .born = disk.event_count};
    name_set(f->name, name);
    return disk.file_count++;
}

static int file_known(const struct stat *st)
{
    for (int i = 0; i < disk.file_count; i++)
        if (!disk.files[i].gone && disk.files[i].dev == st->st_dev && disk.files[i].ino == st->st_ino)
            return i;
    return NO_FILE;
}

static int file_of(int fd)
{
    struct stat st;
    char link[64], path[PATH_MAX];
    int known;

    if (!disk.on || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return NO_FILE;
    known = file_known(&st);
    if (known != NO_FILE)
        return known;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return NO_FILE;
    path[size] = 0;
    const char *name = name_inside(path);
    return name == NULL ? NO_FILE : file_add(&st, name);
}

static struct event *event_add(enum event_kind kind, int file)
{
    if (disk.event_count == disk.event_room) {
        disk.event_room = disk.event_room * 2 + 64;
        disk.events = grown(disk.events, disk.event_room * sizeof *disk.events);
    }
    struct event *e = &disk.events[disk.event_count++];
    *e = (struct event){.kind = kind, .file = file};
    return e;
}

static void write_add(int file, uint64_t at, const struct iovec *iov, int iov_count, size_t size)
{
    struct event *e = event_add(EVENT_WRITE, file);

    e->at = at;
    e->data = grown(NULL, size + 1);
    for (int i = 0; i < iov_count && e->size < size; i++) {
        size_t take = iov[i].iov_len < size - e->size ? iov[i].iov_len : size - e->size;
        memcpy(e->data + e->size, iov[i].iov_base, take);
        e->size += take;
    }
}

/* True when this call is to fail. */
static bool fault_now(void)
{
    if (disk.fail_in == 0)
        return false;
    if (disk.fail_in > 1) {
        disk.fail_in--;
        return false;
    }
    if (--disk.fail_count == 0)
        disk.fail_in = 0;
    disk.failed++;
    return true;
}

/* --- writes --- */

static ssize_t write_real(int fd, const struct iovec *iov, int iov_count, uint64_t at, size_t size)
{
    uint8_t *whole = grown(NULL, size + 1);
    size_t copied = 0;

    for (int i = 0; i < iov_count && copied < size; i++) {
        size_t take = iov[i].iov_len < size - copied ? iov[i].iov_len : size - copied;
        memcpy(whole + copied, iov[i].iov_base, take);
        copied += take;
    }
    ssize_t done = REAL(pwrite)(fd, whole, size, (off_t)at);
    int error = errno;
    free(whole);
    errno = error;
    return done;
}

/* A write to a watched file, at a known offset. */
static ssize_t write_watched(int fd, int file, const struct iovec *iov, int iov_count, uint64_t at)
{
    bool synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0, fails = fault_now();
    size_t size = 0;

    for (int i = 0; i < iov_count; i++)
        size += iov[i].iov_len;
    if (fails && disk.fault == DISK_FAULT_REFUSED) {
        errno = disk.error;
        return -1;
    }
    if (fails && disk.fault == DISK_FAULT_SHORT)
        size /= 2;
    ssize_t done = write_real(fd, iov, iov_count, at, size);
    if (done < 0)
        return done;
    size_t written = disk.event_count;
    write_add(file, at, iov, iov_count, (size_t)done);
    if (fails && disk.fault == DISK_FAULT_LOST) {
        event_add(EVENT_SYNC_FAILED, file); /* what lies in memory may or may not reach the disk */
        errno = disk.error;
        return -1;
    }
    if (synced)
        event_add(EVENT_WRITE_DONE, file)->write = written;
    return done;
}

static ssize_t write_streamed(int fd, int file, const struct iovec *iov, int iov_count)
{
    off_t at = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
    ssize_t done = write_watched(fd, file, iov, iov_count, (uint64_t)at);

    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    int file = file_of(fd);
    struct iovec one = {(void *)(uintptr_t)data, size};

    return file == NO_FILE ? REAL(write)(fd, data, size) : write_streamed(fd, file, &one, 1);
}

ssize_t writev(int fd, const struct iovec *iov, int iov_count)
{
    int file = file_of(fd);

    return file == NO_FILE ? REAL(writev)(fd, iov, iov_count) : write_streamed(fd, file, iov, iov_count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    int file = file_of(fd);
    struct iovec one = {(void *)(uintptr_t)data, size};

    return file == NO_FILE ? REAL(pwrite)(fd, data, size, at) : write_watched(fd, file, &one, 1, (uint64_t)at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int iov_count, off_t at)
{
    int file = file_of(fd);

    return file == NO_FILE ? REAL(pwritev)(fd, iov, iov_count, at)
                           : write_watched(fd, file, iov, iov_count, (uint64_t)at);
}

int ftruncate(int fd, off_t size)
{
    int file = file_of(fd);

    if (file == NO_FILE)
        return REAL(ftruncate)(fd, size);
    if (fault_now()) {
        errno = disk.error;
        return -1;
    }
    int rc = REAL(ftruncate)(fd, size);
    if (rc == 0)
        event_add(EVENT_TRUNCATE, file)->at = (uint64_t)size;
    return rc;
}

/* --- syncs and names --- */

static bool is_watched_folder(int fd)
{
    struct stat st, folder;

    return disk.on && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && stat(disk.folder, &folder) == 0 &&
           st.st_dev == folder.st_dev && st.st_ino == folder.st_ino;
}

static int sync_watched(int file, enum event_kind done)
{
    if (fault_now()) {
        if (done == EVENT_SYNC)
            event_add(EVENT_SYNC_FAILED, file);
        errno = disk.error;
        return -1;
    }
    event_add(done, file);
    return 0;
}

int fdatasync(int fd)
{
    int file = file_of(fd);

    return file == NO_FILE ? REAL(fdatasync)(fd) : sync_watched(file, EVENT_SYNC);
}

int fsync(int fd)
{
    int file = file_of(fd);

    if (file == NO_FILE && is_watched_folder(fd))
        return sync_watched(NO_FILE, EVENT_FOLDER_SYNC);
    return file == NO_FILE ? REAL(fsync)(fd) : sync_watched(file, EVENT_SYNC);
}

int rename(const char *from, const char *to)
{
    const char *name = name_inside(to);
    struct stat st, old;
    bool watched = name != NULL && name_inside(from) != NULL && lstat(from, &st) == 0;
    int replaced = watched && lstat(to, &old) == 0 ? file_known(&old) : NO_FILE;
    int rc = REAL(rename)(from, to);

    if (rc == 0 && watched) {
        int file = file_known(&st);
        if (file == NO_FILE)
            file = file_add(&st, name_inside(from));
        name_set(event_add(EVENT_RENAME, file)->name, name);
        if (replaced != NO_FILE)
            disk.files[replaced].gone = true;
    }
    return rc;
}

int unlink(const char *path)
{
    struct stat st;
    int file = name_inside(path) != NULL && lstat(path, &st) == 0 ? file_known(&st) : NO_FILE;
    int rc = REAL(unlink)(path);

    if (rc == 0 && file != NO_FILE) {
        event_add(EVENT_UNLINK, file);
        disk.files[file].gone = st.st_nlink <= 1;
    }
    return rc;
}

/* --- watching --- */

static void content_resize(struct content *c, size_t size)
{
    if (size > c->room) {
        c->room = size * 2;
        c->data = grown(c->data, c->room);
    }
    if (size > c->size)
        memset(c->data + c->size, 0, size - c->size);
    c->size = size;
}

static void content_put(struct content *c, uint64_t at, const uint8_t *data, size_t size)
{
    if (size == 0)
        return;
    if (at + size > c->size)
        content_resize(c, at + size);
    memcpy(c->data + at, data, size);
}

static void file_load(struct file *f, int folder_fd)
{
    int fd = openat(folder_fd, f->name, O_RDONLY | O_CLOEXEC);
    struct stat st;

    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    content_resize(&f->first, (size_t)st.st_size);
    for (size_t at = 0; at < f->first.size;) {
        ssize_t got = pread(fd, f->first.data + at, f->first.size - at, (off_t)at);
        ASSERT(got > 0);
        at += (size_t)got;
    }
    close(fd);
}

void disk_watch(const char *folder)
{
    ASSERT(!disk.on && realpath(folder, disk.folder) != NULL);
    DIR *dir = opendir(folder);
    ASSERT(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        struct file *f = &disk.files[file_add(&st, entry->d_name)];
        f->from_start = true;
        file_load(f, dirfd(dir));
    }
    closedir(dir);
    disk.on = true;
}

void disk_forget(void)
{
    for (size_t i = 0; i < disk.event_count; i++)
        free(disk.events[i].data);
    for (int i = 0; i < disk.file_count; i++)
        free(disk.files[i].first.data);
    free(disk.events);
    memset(&disk, 0, sizeof disk);
}

size_t disk_event_count(void)
{
    return disk.event_count;
}

size_t disk_crossing_count(void)
{
    size_t count = 0;

    for (size_t i = 0; i < disk.event_count; i++)
        if (disk.events[i].kind == EVENT_WRITE_DONE) {
            const struct event *e = &disk.events[disk.events[i].write];
            count += e->size > 0 && e->at / SECTOR_SIZE != (e->at + e->size - 1) / SECTOR_SIZE;
        }
    return count;
}

void disk_fail_nth(uint64_t n, uint64_t count, enum disk_fault fault, int error)
{
    disk.fail_in = count > 0 ? n : 0;
    disk.fail_count = count;
    disk.fault = fault;
    disk.error = error;
    disk.failed = 0;
}

uint64_t disk_failed_count(void)
{
    return disk.failed;
}

/* --- what a cut leaves --- */

enum fate { FATE_LANDS, FATE_VANISHES, FATE_TORN, FATE_COUNT };

/* Whether a write or truncation before the cut is sure to be on disk: a sync of its file came after it and did not fail. */
static void sureness(size_t at, int file, bool *sure)
{
    bool *lost = grown(NULL, at + 1);

    memset(lost, 0, at + 1);
    memset(sure, 0, at);
    for (size_t i = 0; i < at; i++) {
        const struct event *e = &disk.events[i];
        if (e->file != file)
            continue;
        if (e->kind == EVENT_WRITE_DONE)
            sure[e->write] = true;
        for (size_t k = 0; (e->kind == EVENT_SYNC || e->kind == EVENT_SYNC_FAILED) && k < i; k++) {
            if (disk.events[k].file == file && e->kind == EVENT_SYNC && !lost[k])
                sure[k] = true;
            if (disk.events[k].file == file && e->kind == EVENT_SYNC_FAILED && !sure[k])
                lost[k] = true;
        }
    }
    free(lost);
}

static void write_survives(struct content *c, const struct event *e, enum fate fate, struct rng *rng)
{
    if (fate == FATE_LANDS)
        content_put(c, e->at, e->data, e->size);
    for (size_t done = 0; fate == FATE_TORN && done < e->size;) {
        size_t sector = SECTOR_SIZE - (e->at + done) % SECTOR_SIZE;
        size_t take = sector < e->size - done ? sector : e->size - done;
        if (rng_below(rng, 2) == 0)
            content_put(c, e->at + done, e->data + done, take);
        done += take;
    }
}

static struct content file_survives(size_t at, int file, struct rng *rng)
{
    struct content c = {0};
    bool *sure = grown(NULL, at + 1);

    content_put(&c, 0, disk.files[file].first.data, disk.files[file].first.size);
    sureness(at, file, sure);
    for (size_t i = 0; i < at; i++) {
        const struct event *e = &disk.events[i];
        if (e->file != file || (e->kind != EVENT_WRITE && e->kind != EVENT_TRUNCATE))
            continue;
        enum fate fate = sure[i] ? FATE_LANDS : (enum fate)rng_below(rng, FATE_COUNT);
        if (e->kind == EVENT_WRITE)
            write_survives(&c, e, fate, rng);
        else if (fate == FATE_LANDS)
            content_resize(&c, e->at);
    }
    free(sure);
    return c;
}

/* Changes of names are a journal: some first part of what was not synced has happened. */
static size_t names_until(size_t at, struct rng *rng)
{
    size_t synced = 0;

    for (size_t i = 0; i < at; i++)
        if (disk.events[i].kind == EVENT_FOLDER_SYNC)
            synced = i + 1;
    return synced + rng_below(rng, at - synced + 1);
}

static const char *name_survives(int file, size_t names_at)
{
    const struct file *f = &disk.files[file];
    const char *name = f->from_start || f->born < names_at ? f->name : NULL;

    for (size_t i = 0; i < names_at; i++) {
        const struct event *e = &disk.events[i];
        if (e->file == file && e->kind == EVENT_RENAME)
            name = e->name;
        else if (e->file == file && e->kind == EVENT_UNLINK)
            name = NULL;
        else if (e->kind == EVENT_RENAME && name != NULL && strcmp(e->name, name) == 0)
            name = NULL; /* another file took its name */
    }
    return name;
}

static void image_write(const char *folder, const char *name, const struct content *c)
{
    char path[PATH_MAX];

    ASSERT(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    for (size_t done = 0; done < c->size;) {
        ssize_t wrote = REAL(pwrite)(fd, c->data + done, c->size - done, (off_t)done);
        ASSERT(wrote > 0);
        done += (size_t)wrote;
    }
    close(fd);
}

static void image_clear(const char *folder)
{
    DIR *dir = opendir(folder);

    ASSERT(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

void disk_rebuild(size_t at, uint64_t seed, const char *folder)
{
    struct rng rng = {seed * UINT64_C(0x9e3779b97f4a7c15) + at};
    size_t names_at;

    ASSERT(at <= disk.event_count && (mkdir(folder, 0700) == 0 || errno == EEXIST));
    image_clear(folder);
    names_at = names_until(at, &rng);
    for (int i = 0; i < disk.file_count; i++) {
        const char *name = name_survives(i, names_at);
        if (name == NULL)
            continue;
        struct content c = file_survives(at, i, &rng);
        image_write(folder, name, &c);
        free(c.data);
    }
}
