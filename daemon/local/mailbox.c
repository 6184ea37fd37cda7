/* (M1) A file is moved into `new` only after its content is on the disk: whoever sees the name sees the whole message, also after
 *      a power cut, so a name that is taken means that the message is there.
 * (M2) Success is said only after the name is on the disk. */
#include "daemon/local/mailbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/local/quota.h"

enum { WRITE_ROOM_SIZE = 65536, FOLDER_MODE = 0700, FILE_MODE = 0600, ANCESTORS_SYNCED = 4 };

/* --- names --- */

static bool is_file_name(struct bytes name)
{
    if (name.size == 0)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == '/' || name.data[i] < 0x20 || name.data[i] == 0x7f)
            return false;
    return true;
}

static RESULT put_lower(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        TRY(buf_put_octet(out, octet_lower(text.data[i])));
    return OK;
}

static bool has_dot_component(struct bytes path)
{
    while (path.size > 0) {
        ptrdiff_t slash = bytes_index(path, '/');
        struct bytes component = slash == BYTES_NOT_FOUND ? path : bytes_head(path, (size_t)slash);

        if (bytes_equal(component, BYTES(".")) || bytes_equal(component, BYTES("..")))
            return true;
        path = slash == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(path, (size_t)slash + 1);
    }
    return false;
}

RESULT mailbox_path_put(struct buf *out, struct bytes template, struct bytes local_part, struct bytes domain)
{
    size_t before = out->size;

    if (!is_file_name(local_part) || !is_file_name(domain))
        return FAIL(CODE_SYNTAX, "the address cannot be the name of a mailbox");
    for (size_t i = 0; i < template.size; i++) {
        uint8_t octet = template.data[i];

        if (octet != '%' || i + 1 == template.size) {
            TRY(buf_put_octet(out, octet));
            continue;
        }
        octet = template.data[++i];
        if (octet == 'u')
            TRY(put_lower(out, local_part));
        else if (octet == 'd')
            TRY(put_lower(out, domain));
        else
            TRY(buf_put_octet(out, octet));
    }
    if (has_dot_component(bytes_after(buf_bytes(out), before)))
        return FAIL(CODE_SYNTAX, "the address cannot be the name of a mailbox");
    return OK;
}

RESULT mailbox_name_put(
    struct buf *out, struct walltime arrival, struct message_id id, uint32_t n, struct bytes hostname)
{
    char text[64];

    snprintf(text, sizeof text, "%" PRId64 ".I%016" PRIx64 "N%" PRIu32 ".", arrival.ms / 1000, id.value, n);
    TRY(buf_put_str(out, text));
    for (size_t i = 0; i < hostname.size && i < 100; i++) {
        uint8_t octet = hostname.data[i];

        TRY(buf_put_octet(out, octet == '/' || octet == ':' || octet == ',' || octet < 0x21 ? (uint8_t)'_' : octet));
    }
    return OK;
}

/* --- folders --- */

/* Makes what is missing of the path, from the top; each new name is synced into its parent. */
static RESULT folders_make(const char *path)
{
    char part[MAILBOX_PATH_SIZE_MAX];
    size_t size = strlen(path);

    if (size >= sizeof part)
        return FAIL_SYS(ENAMETOOLONG, "the path is too long");
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        char kept = part[i];

        if (kept != '/' && kept != 0)
            continue;
        part[i] = 0;
        if (mkdir(part, FOLDER_MODE) != 0 && errno != EEXIST)
            return FAIL_SYS(errno, "a folder of the mailbox cannot be made");
        part[i] = kept;
    }
    return OK;
}

static RESULT folder_sync(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct result r = OK;

    if (fd < 0)
        return FAIL_SYS(errno, "a folder of the mailbox cannot be opened");
    if (fsync(fd) != 0)
        r = FAIL_SYS(errno, "a folder of the mailbox cannot be synced");
    close(fd);
    return r;
}

/* The Maildir and the folders that hold it, as far up as may just have been made. What cannot be opened or synced (a folder of
 * somebody else's) was not made by us. */
static void ancestors_sync(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (unsigned up = 0; fd >= 0; up++) {
        int parent = up < ANCESTORS_SYNCED ? openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        (void)!fsync(fd);
        close(fd);
        fd = parent;
    }
}

/* tmp, new and cur, where they are missing; the names above must last as long as the message below them. */
static RESULT parts_make(int dir_fd)
{
    static const char *const PARTS[] = {"tmp", "new", "cur"};

    for (size_t i = 0; i < COUNT_OF(PARTS); i++)
        if (mkdirat(dir_fd, PARTS[i], FOLDER_MODE) != 0 && errno != EEXIST)
            return FAIL_SYS(errno, "a folder of the mailbox cannot be made");
    ancestors_sync(dir_fd);
    return OK;
}

static RESULT maildir_open(const char *path, int *dir_fd_out)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        TRY(folders_make(path));
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0)
        return FAIL_SYS(errno, "the mailbox cannot be opened");
    *dir_fd_out = fd;
    return OK;
}

/* --- one message --- */

/* Whether a folder of the Maildir holds the delivery: its name, then flags and sizes. */
static bool folder_has(int dir_fd, const char *folder, struct bytes unique)
{
    int fd = openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    bool found = false;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while (!found && (entry = readdir(dir)) != NULL)
        found = strncmp(entry->d_name, (const char *)unique.data, unique.size) == 0 &&
                strchr(",:", entry->d_name[unique.size]) != NULL;
    closedir(dir);
    return found;
}

static RESULT tmp_make(struct mailbox *box)
{
    static uint64_t count;
    struct stat st;

    if (fstat(box->dir_fd, &st) != 0)
        return FAIL_SYS(errno, "the mailbox cannot be looked at");
    box->device = st.st_dev;
    box->inode = st.st_ino;
    snprintf(box->tmp_name, sizeof box->tmp_name, "tmp/%s.%dQ%" PRIu64, box->name, (int)getpid(), ++count);
    for (unsigned tries = 0; tries < 2 && box->fd < 0; tries++) {
        if (tries > 0)
            TRY(parts_make(box->dir_fd));
        box->fd = openat(box->dir_fd, box->tmp_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
        if (box->fd < 0 && errno != ENOENT)
            break;
    }
    return box->fd >= 0 ? OK : FAIL_SYS(errno, "a file cannot be made in tmp");
}

RESULT mailbox_open(struct mailbox *box, const char *path, struct bytes unique, bool suspect)
{
    *box = (struct mailbox){.dir_fd = -1, .fd = -1};
    if (unique.size >= sizeof box->name)
        return FAIL_SYS(ENAMETOOLONG, "the file's name is too long");
    memcpy(box->name, unique.data, unique.size);
    TRY(maildir_open(path, &box->dir_fd));
    if (suspect && (folder_has(box->dir_fd, "new", unique) || folder_has(box->dir_fd, "cur", unique))) {
        struct result r = folder_sync(box->dir_fd, "new"); /* (M2) the crash may have come before it */

        mailbox_abandon(box);
        box->there = is_ok(r);
        return r;
    }
    struct result r = tmp_make(box);
    if (!is_ok(r))
        mailbox_abandon(box);
    return r;
}

static RESULT write_whole(struct mailbox *box, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(box->fd, data, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return FAIL_SYS(errno, "the message cannot be written");
        data += written;
        size -= (size_t)written;
        box->size += (uint64_t)written;
    }
    return OK;
}

RESULT mailbox_write(struct mailbox *box, struct bytes text)
{
    uint8_t room[WRITE_ROOM_SIZE];
    size_t used = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];

        if (used + 2 > sizeof room) {
            TRY(write_whole(box, room, used));
            used = 0;
        }
        if (box->cr && octet != '\n')
            room[used++] = '\r';
        box->cr = octet == '\r';
        box->line_count += octet == '\n';
        if (!box->cr)
            room[used++] = octet;
    }
    return write_whole(box, room, used);
}

RESULT mailbox_flush(struct mailbox *box)
{
    if (!box->cr)
        return OK;
    box->cr = false;
    return write_whole(box, (const uint8_t *)"\r", 1);
}

/* --- commit --- */

struct commit {
    struct mailbox *const *boxes;
    size_t count;
    struct result *results;
};

static RESULT file_sync(struct mailbox *box)
{
    return fsync(box->fd) == 0 ? OK : FAIL_SYS(errno, "the message cannot be synced");
}

/* One change of the folders where a link and the end of the name in tmp are two. False: not here. */
static bool file_rename(struct mailbox *box, const char *new)
{
    if (renameat2(box->dir_fd, box->tmp_name, box->dir_fd, new, RENAME_NOREPLACE) != 0)
        return errno == EEXIST;
    box->tmp_name[0] = 0;
    return true;
}

/* Link fails where the name is taken and rename would replace; not every file system can link, or refuse to replace. */
static RESULT file_move(struct mailbox *box)
{
    char new[MAILBOX_NAME_SIZE_MAX + 64];
    int fd = box->fd;

    box->fd = -1;
    if (close(fd) != 0) /* a network file system tells here that it is full */
        return FAIL_SYS(errno, "the message cannot be closed");
    snprintf(new, sizeof new, "new/%s,S=%" PRIu64 ",W=%" PRIu64, box->name, box->size, box->size + box->line_count);
    if (file_rename(box, new)) /* (M1) */
        return OK;
    if (errno == ENOENT) { /* tmp is there, new is not */
        TRY(parts_make(box->dir_fd));
        if (file_rename(box, new))
            return OK;
    }
    if (errno != EINVAL && errno != ENOSYS)
        return FAIL_SYS(errno, "the message cannot be moved into new");
    if (linkat(box->dir_fd, box->tmp_name, box->dir_fd, new, 0) == 0 || errno == EEXIST)
        return OK;
    if (faccessat(box->dir_fd, new, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
        renameat(box->dir_fd, box->tmp_name, box->dir_fd, new) == 0)
        return OK;
    return FAIL_SYS(errno, "the message cannot be moved into new");
}

static RESULT folder_sync_once(struct commit *c, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (is_ok(c->results[i]) && c->boxes[i]->device == c->boxes[at]->device &&
            c->boxes[i]->inode == c->boxes[at]->inode)
            return OK;
    return folder_sync(c->boxes[at]->dir_fd, "new");
}

/* `step` for each box that is still good. */
static void each(struct commit *c, struct result (*step)(struct mailbox *box))
{
    for (size_t i = 0; i < c->count; i++)
        if (is_ok(c->results[i]))
            c->results[i] = step(c->boxes[i]);
}

static RESULT fits(struct mailbox *box)
{
    TRY(mailbox_flush(box));
    return quota_check(box->dir_fd, box->size, &box->counted);
}

static RESULT count_in(struct mailbox *box)
{
    if (box->counted)
        quota_add(box->dir_fd, box->size);
    return OK;
}

void mailbox_commit_all(struct mailbox *const boxes[], size_t count, struct result results[])
{
    struct commit c = {.boxes = boxes, .count = count, .results = results};

    for (size_t i = 0; i < count; i++)
        results[i] = OK;
    each(&c, fits);
    for (size_t i = 0; i < count; i++) /* they are on their way together */
        if (is_ok(results[i]))
            (void)sync_file_range(boxes[i]->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    each(&c, file_sync);
    each(&c, file_move);
    for (size_t i = 0; i < count; i++)
        if (is_ok(results[i]))
            results[i] = folder_sync_once(&c, i);
    each(&c, count_in);
    for (size_t i = 0; i < count; i++)
        mailbox_abandon(boxes[i]);
}

RESULT mailbox_commit(struct mailbox *box)
{
    struct result r;

    mailbox_commit_all((struct mailbox *const[]){box}, 1, &r);
    return r;
}

void mailbox_abandon(struct mailbox *box)
{
    if (box->fd >= 0)
        close(box->fd);
    if (box->dir_fd >= 0) {
        if (box->tmp_name[0] != 0)
            (void)unlinkat(box->dir_fd, box->tmp_name, 0);
        close(box->dir_fd);
    }
    box->fd = box->dir_fd = -1;
}
