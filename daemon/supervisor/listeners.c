#include "daemon/supervisor/listeners.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/process.h"

enum { BACKLOG = 1024, INHERITED_FD_FIRST = 3 };

static int inherited[LISTENER_COUNT_MAX];
static size_t inherited_count;

void listeners_inherit(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t owner = 0, count = 0;

    if (pid != NULL && fds != NULL && is_ok(bytes_to_u64(bytes_of(pid), INT32_MAX, &owner)) &&
        is_ok(bytes_to_u64(bytes_of(fds), LISTENER_COUNT_MAX, &count)) && owner == (uint64_t)getpid()) {
        for (size_t i = 0; i < count; i++) {
            inherited[i] = INHERITED_FD_FIRST + (int)i;
            fcntl(inherited[i], F_SETFD, FD_CLOEXEC);
        }
        inherited_count = count;
    }
    close_range((unsigned)(INHERITED_FD_FIRST + (int)inherited_count), ~0U, 0);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static socklen_t address_make(const struct config_endpoint *e, struct sockaddr_storage *address_out)
{
    memset(address_out, 0, sizeof *address_out);
    if (e->ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address_out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(e->port);
        memcpy(&in6->sin6_addr, e->address, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)address_out;
    in->sin_family = AF_INET;
    in->sin_port = htons(e->port);
    memcpy(&in->sin_addr, e->address, 4);
    return sizeof *in;
}

static int inherited_find(const struct config_endpoint *e)
{
    struct sockaddr_storage wanted;
    socklen_t wanted_size = address_make(e, &wanted);

    for (size_t i = 0; i < inherited_count; i++) {
        struct sockaddr_storage has;
        socklen_t size = sizeof has;
        memset(&has, 0, sizeof has);
        if (getsockname(inherited[i], (struct sockaddr *)&has, &size) == 0 && size == wanted_size &&
            memcmp(&has, &wanted, size) == 0)
            return inherited[i];
    }
    return -1;
}

static int before_find(const struct listeners *before, const struct config_endpoint *e, const bool *used)
{
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        const struct config_endpoint *b = &before->items[i].endpoint;
        if (!used[i] && b->ipv6 == e->ipv6 && b->port == e->port &&
            memcmp(b->address, e->address, e->ipv6 ? 16 : 4) == 0)
            return (int)i;
    }
    return -1;
}

static RESULT endpoint_bind(const struct config_endpoint *e, int *fd_out)
{
    struct sockaddr_storage address;
    socklen_t size = address_make(e, &address);
    int on = 1;
    int fd = socket(e->ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return FAIL_SYS(errno, "socket");
    struct result r = OK;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (e->ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0))
        r = FAIL_SYS(errno, "setsockopt");
    else if (bind(fd, (struct sockaddr *)&address, size) != 0)
        r = FAIL_SYS(errno, "bind");
    else if (listen(fd, BACKLOG) != 0)
        r = FAIL_SYS(errno, "listen");
    if (!is_ok(r)) {
        close(fd);
        return r;
    }
    *fd_out = fd;
    return OK;
}

/* The port that the kernel chose is worth a line; the others stand in the configuration. */
static void port_tell(const struct listener *l, struct bytes title)
{
    struct sockaddr_storage has = {0};
    socklen_t size = sizeof has;

    if (getsockname(l->fd, (struct sockaddr *)&has, &size) != 0)
        return;
    uint16_t port = ntohs(
        has.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&has)->sin6_port : ((struct sockaddr_in *)&has)->sin_port);
    LOG(LISTENING, LOG_TEXT("listener", title), LOG_TEXT("address", l->endpoint.text), LOG_NUM("port", port));
}

static RESULT listener_open(struct bytes title, const struct listeners *before, bool *used, struct listener *l)
{
    int index = before_find(before, &l->endpoint, used);
    int found = index >= 0 ? before->items[index].fd : inherited_find(&l->endpoint);

    if (found < 0) {
        TRY(endpoint_bind(&l->endpoint, &l->fd));
        port_tell(l, title);
        return OK;
    }
    if (index >= 0)
        used[index] = true;
    l->fd = fcntl(found, F_DUPFD_CLOEXEC, 0);
    if (l->fd < 0)
        return FAIL_SYS(errno, "fcntl");
    int flags = fcntl(l->fd, F_GETFL);
    return flags >= 0 && fcntl(l->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? OK : FAIL_SYS(errno, "fcntl");
}

static RESULT listener_add(struct listeners *set, struct bytes title, const struct listener *wanted,
    const struct listeners *before, bool *used, struct config_error *error_out)
{
    struct listener *l = &set->items[set->count];
    struct result r = FAIL(CODE_FULL, "too many listeners");

    if (set->count < LISTENER_COUNT_MAX) {
        *l = *wanted;
        l->fd = -1;
        r = listener_open(title, before, used, l);
        set->count += l->fd >= 0;
    }
    if (is_ok(r))
        return OK;
    snprintf(error_out->text, sizeof error_out->text, "%s: %s%s%s", (const char *)wanted->endpoint.text.data, r.why,
        r.sys != 0 ? ": " : "", r.sys != 0 ? strerror(r.sys) : "");
    listeners_close(set);
    return r;
}

RESULT listeners_open(
    const struct config *cfg, const struct listeners *before, struct listeners *set_out, struct config_error *error_out)
{
    bool used[LISTENER_COUNT_MAX] = {false};

    set_out->count = 0;
    for (size_t i = 0; i < cfg->listen_count; i++)
        for (size_t k = 0; k < cfg->listens[i].endpoint_count; k++)
            TRY(listener_add(set_out, cfg->listens[i].title,
                &(struct listener){.endpoint = cfg->listens[i].endpoints[k],
                    .listen_index = (uint32_t)i,
                    .address_index = (uint32_t)k},
                before, used, error_out));
    for (size_t k = 0; k < cfg->metrics_http_count; k++)
        TRY(listener_add(set_out, BYTES("metrics_http"),
            &(struct listener){
                .endpoint = cfg->metrics_http[k], .listen_index = LISTENER_METRICS, .address_index = (uint32_t)k + 1},
            before, used, error_out));
    return OK;
}

void listeners_close(struct listeners *set)
{
    for (size_t i = 0; i < set->count; i++)
        close(set->items[i].fd);
    set->count = 0;
}

RESULT listeners_local(const char *path, int *fd_out, struct config_error *error_out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    struct result r = OK;
    struct stat st;
    int fd = -1;

    if (size >= sizeof address.sun_path) {
        snprintf(error_out->text, sizeof error_out->text,
            "%s: a socket's path has at most %zu octets: choose a shorter run_dir", path, sizeof address.sun_path - 1);
        return FAIL(CODE_FULL, "socket path too long");
    }
    memcpy(address.sun_path, path, size + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        r = FAIL_SYS(errno, "socket");
    else if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN)
        r = FAIL_SYS(EADDRINUSE, "another server listens here");
    else if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        r = FAIL_SYS(EEXIST, "this is not a socket");
    else if (unlink(path) != 0 && errno != ENOENT)
        r = FAIL_SYS(errno, "unlink");
    else if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        r = FAIL_SYS(errno, "bind");
    else if (chmod(path, 0666) != 0) /* who may say what is decided by the peer's uid */
        r = FAIL_SYS(errno, "chmod");
    else if (listen(fd, BACKLOG) != 0)
        r = FAIL_SYS(errno, "listen");
    if (!is_ok(r)) {
        snprintf(error_out->text, sizeof error_out->text, "%s: %s: %s", path, r.why, strerror(r.sys));
        if (fd >= 0)
            close(fd);
        return r;
    }
    *fd_out = fd;
    return OK;
}
