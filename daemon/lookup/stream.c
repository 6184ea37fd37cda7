#include "daemon/lookup/stream.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_SIZE_MAX = 8192 };

struct stream {
    int fd;
    size_t eaten, size;
    uint8_t room[LINE_SIZE_MAX];
};

void stream_close(struct stream *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

static RESULT stream_connect(
    struct stream *s, struct question *q, int family, const struct sockaddr *to, socklen_t size)
{
    int sys = 0;
    socklen_t sys_size = sizeof sys;

    s->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return backend_failed(q, "socket", strerrordesc_np(errno));
    if (connect(s->fd, to, size) == 0)
        return OK;
    if (errno != EINPROGRESS)
        return backend_failed(q, "connect", strerrordesc_np(errno));
    if (!is_ok(backend_wait(q, s->fd, true)))
        return backend_failed(q, "connect", "no connection in time");
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &sys, &sys_size) != 0 || sys != 0)
        return backend_failed(q, "connect", strerrordesc_np(sys));
    return OK;
}

static RESULT stream_new(struct stream **s)
{
    *s = calloc(1, sizeof **s);
    if (*s == NULL)
        return FAIL(CODE_FULL, "out of memory");
    (*s)->fd = -1;
    return OK;
}

RESULT stream_open_unix(struct stream **s, struct question *q, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof to.sun_path)
        return backend_failed(q, path, "the path of a socket has at most 107 octets");
    memcpy(to.sun_path, path, strlen(path) + 1);
    TRY(stream_new(s));
    return stream_connect(*s, q, AF_UNIX, (struct sockaddr *)&to, sizeof to);
}

RESULT stream_open_host(struct stream **s, struct question *q, struct bytes hop)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[DOMAIN_SIZE_MAX + 1], port[8];
    ptrdiff_t end = bytes_index(hop, ']');
    struct result r = OK;

    ASSERT(end > 1 && end <= DOMAIN_SIZE_MAX); /* the configuration made it so */
    snprintf(host, sizeof host, "%.*s", (int)end - 1, (const char *)hop.data + 1);
    snprintf(port, sizeof port, "%.*s", (int)(hop.size - (size_t)end) - 2, (const char *)hop.data + end + 2);
    int code = getaddrinfo(host, port, &hints, &list);
    if (code != 0)
        return backend_failed(q, host, gai_strerror(code));
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        stream_close(*s);
        *s = NULL;
        r = stream_new(s);
        if (is_ok(r))
            r = stream_connect(*s, q, a->ai_family, a->ai_addr, a->ai_addrlen);
        if (is_ok(r))
            break;
    }
    freeaddrinfo(list);
    return r;
}

RESULT stream_say(struct stream *s, struct question *q, struct bytes text)
{
    while (text.size > 0) {
        ssize_t n = send(s->fd, text.data, text.size, MSG_NOSIGNAL);

        if (n >= 0)
            text = bytes_after(text, (size_t)n);
        else if (errno == EAGAIN && !is_ok(backend_wait(q, s->fd, true)))
            return backend_failed(q, "no answer in time", NULL);
        else if (errno != EAGAIN && errno != EINTR)
            return backend_failed(q, "the connection broke", strerrordesc_np(errno));
    }
    return OK;
}

RESULT stream_hear(struct stream *s, struct question *q, struct bytes *line_out)
{
    memmove(s->room, s->room + s->eaten, s->size - s->eaten);
    s->size -= s->eaten;
    s->eaten = 0;
    for (;;) {
        struct bytes there = {s->room, s->size};
        ptrdiff_t lf = bytes_index(there, '\n');

        if (lf != BYTES_NOT_FOUND) {
            s->eaten = (size_t)lf + 1;
            *line_out = bytes_head(there, (size_t)lf);
            if (line_out->size > 0 && line_out->data[line_out->size - 1] == '\r')
                line_out->size--;
            return OK;
        }
        if (s->size == sizeof s->room)
            return backend_failed(q, "a line of the answer is too long", NULL);
        if (!is_ok(backend_wait(q, s->fd, false)))
            return backend_failed(q, "no answer in time", NULL);
        ssize_t n = recv(s->fd, s->room + s->size, sizeof s->room - s->size, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return backend_failed(q, "the connection broke", n < 0 ? strerrordesc_np(errno) : "it was closed");
        s->size += n > 0 ? (size_t)n : 0;
    }
}
