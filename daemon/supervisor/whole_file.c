#include "daemon/supervisor/whole_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/edge/tls_store.h"

RESULT whole_file_refused(struct config_error *error_out, const char *file, const char *why)
{
    snprintf(error_out->text, sizeof error_out->text, "%.500s: %s", file, why);
    return FAIL(CODE_REFUSED, "a file cannot be used");
}

RESULT whole_file_take(const char *file, bool secret, struct buf *text, struct config_error *error_out)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    char large[64];
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) != 0) {
        int sys = errno;
        if (fd >= 0)
            close(fd);
        return whole_file_refused(error_out, file, strerror(sys));
    }
    snprintf(large, sizeof large, "larger than %zu KiB", text->size_max / 1024);
    const char *why = !S_ISREG(st.st_mode)                                ? "not a file"
                      : secret && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0 ? "others may use it (expected mode 0600)"
                      : st.st_size > (off_t)text->size_max                ? large
                                                                          : NULL;
    while (why == NULL && (n = read(fd, text->data + text->size, buf_left(text))) != 0) {
        if (n < 0)
            why = strerror(errno);
        else
            text->size += (size_t)n;
    }
    close(fd);
    return why == NULL ? OK : whole_file_refused(error_out, file, why);
}

RESULT whole_file_seal(const char *file, struct bytes text, int *fd_out, struct config_error *error_out)
{
    struct result r = tls_pack_file(text, fd_out);

    return is_ok(r) ? OK : whole_file_refused(error_out, file, r.why);
}
