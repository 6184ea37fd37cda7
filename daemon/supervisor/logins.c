#include "daemon/supervisor/logins.h"

#include <stdio.h>

#include "daemon/config/login_file.h"
#include "daemon/supervisor/whole_file.h"

enum { FILE_SIZE_MAX = 262144 };

static RESULT check(
    const char *path, const struct config *cfg, const char *file, struct bytes text, struct config_error *error_out)
{
    struct login_file_line line = {0};
    struct bytes rest = text;
    struct client_credentials found;
    struct result r;

    while (is_ok(r = login_file_next(&rest, &line)))
        continue;
    if (r.code != CODE_MORE) {
        snprintf(error_out->text, sizeof error_out->text, "%.500s:%u: %s", file, line.number, r.why);
        return r;
    }
    for (size_t i = 0; i < cfg->routes.count; i++) {
        struct bytes name = cfg->routes.items[i].credentials;
        if (name.size == 0 || login_file_find(text, name, &found))
            continue;
        snprintf(error_out->text, sizeof error_out->text, "%s: route: credentials = \"%.*s\": no such line in %.500s",
            path, BYTES_ARG(name), file);
        return FAIL(CODE_REFUSED, "a route's login is not in the file of logins");
    }
    return OK;
}

RESULT logins_read(const char *path, const struct config *cfg, int *fd_out, struct config_error *error_out)
{
    const char *file = (const char *)cfg->credentials.data;
    bool wanted = false;
    struct buf text;

    *fd_out = -1;
    for (size_t i = 0; i < cfg->routes.count; i++)
        wanted = wanted || cfg->routes.items[i].credentials.size > 0;
    if (!wanted)
        return OK;
    uint8_t *octets = mem_take(FILE_SIZE_MAX);
    if (octets == NULL)
        return whole_file_refused(error_out, file, "out of memory");
    buf_init(&text, octets, FILE_SIZE_MAX);
    struct result r = whole_file_take(file, true, &text, error_out);
    if (is_ok(r))
        r = check(path, cfg, file, buf_bytes(&text), error_out);
    if (is_ok(r))
        r = whole_file_seal(file, buf_bytes(&text), fd_out, error_out);
    explicit_bzero(octets, text.size);
    mem_free(octets);
    return r;
}
