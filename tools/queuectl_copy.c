/* backup, restore, compact: whole copies of the queue. A backup needs no pause; the other two want the daemon stopped, and
 * hold its writer's lock meanwhile so that it stays so. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/desk.h"
#include "tools/queuectl.h"

struct places {
    char queue[PATH_MAX], data[PATH_MAX], reader_lock[PATH_MAX], writer_lock[PATH_MAX], fresh[PATH_MAX],
        fresh_data[PATH_MAX];
};

static enum tool_exit complain(const struct tool *t, const char *path, const char *why, int sys)
{
    fprintf(stderr, "%s: %s: %s%s%s\n", t->program, path, why, sys > 0 ? ": " : "", sys > 0 ? strerror(sys) : "");
    return sys == EACCES || sys == EPERM ? TOOL_NO_RIGHT : TOOL_FAILED;
}

static bool places_fill(const struct tool *t, struct places *p)
{
    int size = snprintf(p->queue, sizeof p->queue, "%.*s/queue", BYTES_ARG(t->cfg->state_dir));

    if (size < 0 || size > PATH_MAX - 32) {
        fprintf(stderr, "%s: the path of the queue is too long\n", t->program);
        return false;
    }
    (void)snprintf(p->data, sizeof p->data, "%.4000s/data.mdb", p->queue);
    (void)snprintf(p->reader_lock, sizeof p->reader_lock, "%.4000s/lock.mdb", p->queue);
    (void)snprintf(p->writer_lock, sizeof p->writer_lock, "%.4000s/writer.lock", p->queue);
    (void)snprintf(p->fresh, sizeof p->fresh, "%.4000s/fresh", p->queue);
    (void)snprintf(p->fresh_data, sizeof p->fresh_data, "%.4000s/fresh/data.mdb", p->queue);
    return true;
}

/* The writer's lock, or -1 and a word: while we hold it no daemon starts. */
static int daemon_keep_out(const struct tool *t, const struct places *p)
{
    int fd = open(p->writer_lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat folder;

    if (fd < 0) {
        (void)complain(t, p->writer_lock, "cannot open", errno);
        return -1;
    }
    if (geteuid() == 0 && stat(p->queue, &folder) == 0 && fchown(fd, folder.st_uid, folder.st_gid) != 0)
        (void)complain(t, p->writer_lock, "cannot give it to the queue's owner", errno);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    fprintf(stderr, "%s: the daemon has the queue open; stop it first with: queuectl stop\n", t->program);
    close(fd);
    return -1;
}

/* The fresh copy takes the place of the queue's file. Readers' marks in the old lock file mean nothing to it. */
static enum tool_exit fresh_put_in_place(const struct tool *t, const struct places *p)
{
    struct stat owner;

    if (stat(p->queue, &owner) != 0 || (geteuid() == 0 && chown(p->fresh_data, owner.st_uid, owner.st_gid) != 0) ||
        chmod(p->fresh_data, 0600) != 0)
        return complain(t, p->fresh_data, "cannot give it to the queue's owner", errno);
    if (unlink(p->reader_lock) != 0 && errno != ENOENT)
        return complain(t, p->reader_lock, "cannot remove", errno);
    if (rename(p->fresh_data, p->data) != 0)
        return complain(t, p->data, "cannot put the copy in its place", errno);
    int fd = open(p->queue, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failed != 0 ? complain(t, p->queue, "cannot bring it to the disk", failed) : TOOL_OK;
}

static void fresh_remove(const struct places *p)
{
    (void)unlink(p->fresh_data);
    (void)rmdir(p->fresh);
}

/* Copies `from` over the queue's file, by way of a folder beside it. */
static enum tool_exit copy_over(const struct tool *t, const struct places *p, struct store *from)
{
    enum tool_exit exit;

    fresh_remove(p); /* of a copy that was cut off */
    if (mkdir(p->fresh, 0700) != 0)
        return complain(t, p->fresh, "cannot make", errno);
    struct result r = store_copy(from, p->fresh, true);
    exit = is_ok(r) ? fresh_put_in_place(t, p) : complain(t, p->fresh, r.why, r.sys);
    fresh_remove(p);
    return exit;
}

static void size_say(const struct tool *t, const char *what, const char *path)
{
    struct stat st = {0};

    (void)stat(path, &st);
    if (t->json)
        printf("{\"v\":1,\"%s\":true,\"size\":%" PRId64 "}\n", what, (int64_t)st.st_size);
    else
        printf("%s: %" PRId64 " octets\n", what, (int64_t)st.st_size);
}

enum tool_exit tool_backup(const struct tool *t, const char *folder)
{
    struct store *store = NULL;
    char why[256] = "", data[PATH_MAX];
    int size = snprintf(data, sizeof data, "%s/data.mdb", folder);

    if (size < 0 || (size_t)size >= sizeof data)
        return complain(t, folder, "the path is too long", 0);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return complain(t, folder, "cannot make", errno);
    if (access(data, F_OK) == 0)
        return complain(t, folder, "there is a backup already; name an empty folder", 0);
    struct result r = desk_store_open(t->cfg, &store, why, sizeof why);
    if (!is_ok(r)) {
        fprintf(stderr, "%s: %s\n", t->program, why);
        return r.sys == EACCES || r.sys == EPERM ? TOOL_NO_RIGHT : TOOL_UNAVAILABLE;
    }
    mode_t before = umask(077);
    r = store_copy(store, folder, true);
    umask(before);
    store_close(&store);
    if (!is_ok(r)) {
        (void)unlink(data);
        return complain(t, folder, r.why, r.sys);
    }
    size_say(t, "backed up", data);
    return tool_finish(t, TOOL_OK);
}

/* Whether the backup holds together; nothing is put in place of a queue otherwise. */
static bool is_sound(const struct tool *t, const char *folder, struct store *store)
{
    struct store_fsck found = {0};
    struct result r = store_fsck(store, &found, NULL, NULL);

    if (is_ok(r) && store_fsck_clean(&found))
        return true;
    (void)complain(t, folder, is_ok(r) ? "this backup is damaged" : r.why, r.sys);
    return false;
}

/* A queue that holds mail is not overwritten. */
static bool may_replace(const struct tool *t, const struct places *p)
{
    struct store *store = NULL;
    struct store_stats stats = {0};
    char why[256];

    if (access(p->data, F_OK) != 0)
        return true;
    if (is_ok(desk_store_open(t->cfg, &store, why, sizeof why))) {
        store_stats_get(store, &stats);
        store_close(&store);
        if (stats.messages == 0)
            return true;
    }
    fprintf(stderr, "%s: %s holds a queue with %" PRIu64 " messages; move it away first\n", t->program, p->queue,
        stats.messages);
    return false;
}

/* Made by root, a folder belongs to whom the one above belongs to: the daemon finds its own. */
static bool folder_make(const char *path, mode_t mode)
{
    char above[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(path, '/');

    if (mkdir(path, mode) != 0)
        return errno == EEXIST;
    if (geteuid() != 0 || slash == NULL)
        return true;
    (void)snprintf(above, sizeof above, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return stat(above, &st) == 0 && chown(path, st.st_uid, st.st_gid) == 0;
}

static bool queue_folder_make(const struct tool *t, const struct places *p)
{
    char above[PATH_MAX];

    (void)snprintf(above, sizeof above, "%.*s", BYTES_ARG(t->cfg->state_dir));
    if (folder_make(above, 0755) && folder_make(p->queue, 0700))
        return true;
    (void)complain(t, p->queue, "cannot make", errno);
    return false;
}

enum tool_exit tool_restore(const struct tool *t, const char *folder)
{
    struct places p;
    struct store *backup = NULL;
    struct store_config cfg = {.path = folder, .size_max = t->cfg->limits.queue_size, .read_only = true};
    enum tool_exit exit = TOOL_FAILED;
    int lock;

    if (!places_fill(t, &p))
        return TOOL_FAILED;
    struct result r = store_open(&cfg, &backup);
    if (!is_ok(r))
        return complain(t, folder, r.why, r.sys);
    if (is_sound(t, folder, backup) && queue_folder_make(t, &p)) {
        lock = daemon_keep_out(t, &p);
        if (lock >= 0 && may_replace(t, &p))
            exit = copy_over(t, &p, backup);
        if (lock >= 0)
            close(lock);
    }
    store_close(&backup);
    if (exit == TOOL_OK)
        size_say(t, "restored", p.data);
    return tool_finish(t, exit);
}

enum tool_exit tool_compact(const struct tool *t)
{
    struct places p;
    struct store *store = NULL;
    char why[256] = "";
    enum tool_exit exit = TOOL_UNAVAILABLE;
    int lock;

    if (!places_fill(t, &p))
        return TOOL_FAILED;
    if (access(p.data, F_OK) != 0)
        return complain(t, p.data, "there is no queue", errno);
    lock = daemon_keep_out(t, &p);
    if (lock < 0)
        return TOOL_FAILED;
    if (is_ok(desk_store_open(t->cfg, &store, why, sizeof why)))
        exit = copy_over(t, &p, store);
    else
        fprintf(stderr, "%s: %s\n", t->program, why);
    store_close(&store);
    close(lock);
    if (exit == TOOL_OK)
        size_say(t, "compacted", p.data);
    return tool_finish(t, exit);
}
