#include "daemon/supervisor/places.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/edge/clock.h"
#include "daemon/edge/rights.h"

enum { DROP_MODE = 01733, ALL_BITS = 07777 };
enum { LOCK_WAIT_MS = 5000, LOCK_STEP_MS = 10 };

static RESULT failed(struct config_error *error_out, const char *path, int sys)
{
    snprintf(error_out->text, sizeof error_out->text, "%.900s: %.100s", path, strerror(sys));
    return FAIL_SYS(sys, "cannot make the folders");
}

RESULT places_path(char *path_out, struct bytes folder, const char *name)
{
    struct buf path;

    buf_init(&path, path_out, PLACES_PATH_SIZE_MAX - 1);
    TRY(buf_put(&path, folder));
    TRY(buf_put_octet(&path, '/'));
    TRY(buf_put_str(&path, name));
    path_out[path.size] = 0;
    return OK;
}

/* The folder and what is missing above it. */
static RESULT folder_make(const char *path, mode_t mode, struct config_error *error_out)
{
    char part[PLACES_PATH_SIZE_MAX];
    size_t size = strlen(path);
    struct stat st;

    if (size >= sizeof part)
        return failed(error_out, path, ENAMETOOLONG);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        char end = part[i];
        part[i] = 0;
        if (mkdir(part, i == size ? mode : 0755) != 0 && errno != EEXIST)
            return failed(error_out, part, errno);
        part[i] = end;
    }
    if (stat(path, &st) != 0)
        return failed(error_out, path, errno);
    return S_ISDIR(st.st_mode) ? OK : failed(error_out, path, ENOTDIR);
}

static RESULT folder_give(const char *path, const struct rights *owner, struct config_error *error_out)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return failed(error_out, path, errno);
    int sys = owner->change && fchown(fd, owner->uid, owner->gid) != 0 ? errno : 0;
    close(fd);
    return sys == 0 ? OK : failed(error_out, path, sys);
}

/* Who drops a message may not open the folder, so cannot sync it: file systems that know how do it with every name that comes or
 * goes (ext4). On others the sync of a new file is known to take its name along (xfs, btrfs). */
static void folder_sync_always(int fd)
{
    int flags = 0;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_DIRSYNC_FL) == 0) {
        flags |= FS_DIRSYNC_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

/* Everybody may leave a message for us (sendmail does while nobody answers), nobody may see or remove another's. The folder
 * stays the supervisor's own, whatever user the processes become: nobody else has business in it. */
static RESULT folder_open_to_all(const char *path, struct config_error *error_out)
{
    struct stat st;

    /* Root's, as the installed unit has it: then root hands in what is left there (mansio-drop.service). */
    if (geteuid() != 0 && lstat(path, &st) == 0 && st.st_uid == 0 && S_ISDIR(st.st_mode) &&
        (st.st_mode & ALL_BITS) == DROP_MODE)
        return OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return failed(error_out, path, errno);
    int sys = fchmod(fd, DROP_MODE) != 0 ? errno : 0;
    folder_sync_always(fd);
    close(fd);
    return sys == 0 ? OK : failed(error_out, path, sys);
}

RESULT places_lock(const struct config *cfg, int *lock_fd_out, struct config_error *error_out)
{
    static const struct timespec step = {0, LOCK_STEP_MS * 1000000};
    char path[PLACES_PATH_SIZE_MAX];
    struct instant deadline = instant_after(clock_instant(), LOCK_WAIT_MS);

    TRY(folder_make((const char *)cfg->state_dir.data, 0755, error_out));
    if (!is_ok(places_path(path, cfg->state_dir, "mansiod.lock")))
        return failed(error_out, (const char *)cfg->state_dir.data, ENAMETOOLONG);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(error_out, path, errno);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int sys = errno;
            close(fd);
            return failed(error_out, path, sys);
        }
        if (instant_reached(deadline, clock_instant())) {
            close(fd);
            snprintf(error_out->text, sizeof error_out->text, "%s: another mansiod is running with this state_dir",
                (const char *)cfg->state_dir.data);
            return FAIL(CODE_REFUSED, "another mansiod is running");
        }
        nanosleep(&step, NULL);
    }
    *lock_fd_out = fd;
    return OK;
}

RESULT places_make(const struct config *cfg, struct config_error *error_out)
{
    char path[PLACES_PATH_SIZE_MAX];
    struct rights queue;

    if (!is_ok(rights_find((const char *)cfg->user.data, ROLE_QUEUED, &queue))) {
        snprintf(error_out->text, sizeof error_out->text,
            "user = \"%s\": no such user (started as root, mansiod gives its rights away to it)",
            (const char *)cfg->user.data);
        return FAIL(CODE_GONE, "the configured user does not exist");
    }
    TRY(folder_make((const char *)cfg->run_dir.data, 0755, error_out));
    if (!is_ok(places_path(path, cfg->state_dir, "queue")))
        return failed(error_out, (const char *)cfg->state_dir.data, ENAMETOOLONG);
    TRY(folder_make(path, 0700, error_out));
    TRY(folder_give(path, &queue, error_out));
    if (!is_ok(places_path(path, cfg->state_dir, "drop")))
        return failed(error_out, (const char *)cfg->state_dir.data, ENAMETOOLONG);
    TRY(folder_make(path, 0700, error_out));
    return folder_open_to_all(path, error_out);
}
