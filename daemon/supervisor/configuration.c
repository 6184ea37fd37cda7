#include "daemon/supervisor/configuration.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/supervisor/logins.h"
#include "daemon/supervisor/tables.h"

enum { TEXT_SIZE_MAX = 16777216, TEXT_ROOM_FIRST = 16384 };

static RESULT io_failed(struct config_error *error_out, const char *path, int sys)
{
    snprintf(error_out->text, sizeof error_out->text, "%s: %s", path, strerror(sys));
    return FAIL_SYS(sys, "cannot read the configuration");
}

/* The whole file; the memory is the caller's. */
static RESULT text_read(const char *path, bool may_be_absent, struct buf *text_out, struct config_error *error_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    *text_out = (struct buf){NULL, 0, 0};
    if (fd < 0 && !(may_be_absent && errno == ENOENT))
        return io_failed(error_out, path, errno);
    for (;;) {
        if (text_out->size == text_out->size_max) {
            size_t room = text_out->size_max == 0 ? TEXT_ROOM_FIRST : text_out->size_max * 2;
            void *more = room > TEXT_SIZE_MAX ? NULL : mem_resize(text_out->data, room);
            if (more == NULL) {
                n = -1;
                errno = EFBIG;
                break;
            }
            text_out->data = more;
            text_out->size_max = room;
        }
        n = fd < 0 ? 0 : read(fd, text_out->data + text_out->size, buf_left(text_out));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text_out->size += (size_t)n;
    }
    struct result r = n < 0 ? io_failed(error_out, path, errno) : OK;
    if (fd >= 0)
        close(fd);
    if (!is_ok(r)) {
        mem_free(text_out->data);
        text_out->data = NULL;
    }
    return r;
}

static RESULT memory_file(struct bytes text, int *fd_out)
{
    int fd = memfd_create("mansio.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return FAIL_SYS(errno, "memfd_create");
    for (size_t done = 0; done < text.size;) {
        ssize_t n = write(fd, text.data + done, text.size - done);
        if (n <= 0) {
            int sys = errno;
            close(fd);
            return FAIL_SYS(sys, "write to a memory file");
        }
        done += (size_t)n;
    }
    /* Children hold the same file: none may change what the others read. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int sys = errno;
        close(fd);
        return FAIL_SYS(sys, "sealing a memory file");
    }
    *fd_out = fd;
    return OK;
}

/* What credentials_read will read is looked at here, where an operator still reads what is wrong. */
static RESULT tls_files_check(const char *path, const struct config *tree, struct config_error *error_out)
{
    size_t count = tree->tls_certificates.count;

    for (size_t i = 0; i < count * 2; i++) {
        const struct config_text_list *list = i < count ? &tree->tls_certificates : &tree->tls_keys;
        const char *file = (const char *)list->items[i % count].data;
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            int sys = errno;
            snprintf(error_out->text, sizeof error_out->text, "%s: tls: %s = \"%.300s\": %s", path,
                i < count ? "certificate" : "key", file, strerror(sys));
            return FAIL_SYS(sys, "a file of the tls block cannot be opened");
        }
        close(fd);
    }
    return OK;
}

RESULT configuration_read(const char *path, struct configuration *c_out, struct config_error *error_out)
{
    bool may_be_absent = false;
    struct buf text;

    *c_out = (struct configuration){.text_fd = -1, .logins_fd = -1};
    for (unsigned i = 0; i < TABLE_COUNT; i++)
        c_out->table_fds[i] = -1;
    if (path == NULL)
        path = geteuid() == 0 || getuid() != geteuid() ? NULL : getenv("MANSIO_CONFIG");
    if (path == NULL) {
        path = CONFIGURATION_PATH_DEFAULT;
        may_be_absent = true;
    }
    size_t size = strlen(path);
    if (size > CONFIGURATION_PATH_SIZE_MAX)
        return io_failed(error_out, "configuration", ENAMETOOLONG);
    memcpy(c_out->path, path, size);
    TRY(text_read(path, may_be_absent, &text, error_out));
    struct result r = config_read_text(path, buf_bytes(&text), &c_out->tree, error_out);
    if (is_ok(r))
        r = tls_files_check(path, c_out->tree, error_out);
    if (is_ok(r))
        r = logins_read(path, c_out->tree, &c_out->logins_fd, error_out);
    if (is_ok(r))
        r = tables_read(c_out->tree, c_out->table_fds, error_out);
    if (is_ok(r)) {
        r = memory_file(buf_bytes(&text), &c_out->text_fd);
        if (!is_ok(r))
            snprintf(error_out->text, sizeof error_out->text, "%s: %s: %s", path, r.why, strerror(r.sys));
    }
    mem_free(text.data);
    if (!is_ok(r))
        configuration_free(c_out);
    return r;
}

void configuration_free(struct configuration *c)
{
    if (c->text_fd >= 0)
        close(c->text_fd);
    c->text_fd = -1;
    if (c->logins_fd >= 0)
        close(c->logins_fd);
    c->logins_fd = -1;
    tables_close(c->table_fds);
    config_free(&c->tree);
}
