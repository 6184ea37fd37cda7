#include "daemon/local/mailbox.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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
    struct buf *out, struct walltime now, uint32_t process_id, uint64_t count, struct bytes hostname)
{
    TRY(buf_put_u64(out, (uint64_t)(now.ms / 1000)));
    TRY(buf_put_str(out, ".M"));
    TRY(buf_put_u64(out, (uint64_t)(now.ms % 1000) * 1000));
    TRY(buf_put_octet(out, 'P'));
    TRY(buf_put_u64(out, process_id));
    TRY(buf_put_octet(out, 'Q'));
    TRY(buf_put_u64(out, count));
    TRY(buf_put_octet(out, '.'));
    for (size_t i = 0; i < hostname.size && i < 100; i++) {
        uint8_t octet = hostname.data[i];

        TRY(buf_put_octet(out, octet == '/' || octet == ':' || octet < 0x21 ? (uint8_t)'_' : octet));
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

static RESULT maildir_open(const char *path, int *dir_fd_out)
{
    static const char *const PARTS[] = {"tmp", "new", "cur"};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool made = false;

    if (fd < 0 && errno == ENOENT) {
        TRY(folders_make(path));
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        made = true;
    }
    if (fd < 0)
        return FAIL_SYS(errno, "the mailbox cannot be opened");
    for (size_t i = 0; i < COUNT_OF(PARTS); i++) {
        if (mkdirat(fd, PARTS[i], FOLDER_MODE) == 0) {
            made = true;
        } else if (errno != EEXIST) {
            struct result r = FAIL_SYS(errno, "a folder of the mailbox cannot be made");

            close(fd);
            return r;
        }
    }
    if (made) /* the names above must last as long as the message below them */
        ancestors_sync(fd);
    *dir_fd_out = fd;
    return OK;
}

/* --- one message --- */

static void tmp_path(const struct mailbox *box, const char *folder, char room[MAILBOX_NAME_SIZE_MAX + 8])
{
    snprintf(room, MAILBOX_NAME_SIZE_MAX + 8, "%s/%s", folder, box->name);
}

RESULT mailbox_open(struct mailbox *box, const char *path, struct bytes unique)
{
    char name[MAILBOX_NAME_SIZE_MAX + 8];

    *box = (struct mailbox){.dir_fd = -1, .fd = -1};
    if (unique.size >= sizeof box->name)
        return FAIL_SYS(ENAMETOOLONG, "the file's name is too long");
    memcpy(box->name, unique.data, unique.size);
    TRY(maildir_open(path, &box->dir_fd));
    tmp_path(box, "tmp", name);
    box->fd = openat(box->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (box->fd < 0) {
        struct result r = FAIL_SYS(errno, "a file cannot be made in tmp");

        mailbox_abandon(box);
        return r;
    }
    return OK;
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

RESULT mailbox_commit(struct mailbox *box)
{
    char tmp[MAILBOX_NAME_SIZE_MAX + 8], new[MAILBOX_NAME_SIZE_MAX + 64];
    struct result r;

    TRY(mailbox_flush(box));
    if (fsync(box->fd) != 0)
        return FAIL_SYS(errno, "the message cannot be synced");
    if (close(box->fd) != 0) { /* a network file system tells here that it is full */
        box->fd = -1;
        return FAIL_SYS(errno, "the message cannot be closed");
    }
    box->fd = -1;
    tmp_path(box, "tmp", tmp);
    snprintf(new, sizeof new, "new/%s,S=%" PRIu64 ",W=%" PRIu64, box->name, box->size, box->size + box->line_count);
    /* link fails where the name is taken and rename would replace; not every file system can link. */
    if (linkat(box->dir_fd, tmp, box->dir_fd, new, 0) != 0) {
        if (errno == EEXIST || renameat(box->dir_fd, tmp, box->dir_fd, new) != 0)
            return FAIL_SYS(errno, "the message cannot be moved into new");
    }
    r = folder_sync(box->dir_fd, "new");
    if (!is_ok(r))
        (void)unlinkat(box->dir_fd, new, 0); /* it will come again: not twice */
    mailbox_abandon(box);
    return r;
}

void mailbox_abandon(struct mailbox *box)
{
    char tmp[MAILBOX_NAME_SIZE_MAX + 8];

    if (box->fd >= 0)
        close(box->fd);
    if (box->dir_fd >= 0) {
        tmp_path(box, "tmp", tmp);
        (void)unlinkat(box->dir_fd, tmp, 0);
        close(box->dir_fd);
    }
    box->fd = box->dir_fd = -1;
}
