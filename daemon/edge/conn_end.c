#include "daemon/edge/conn_end.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void end_from(const struct sockaddr_storage *from, struct conn_end *end_out)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;

        memcpy(end_out->address, MAPPED, sizeof MAPPED);
        memcpy(end_out->address + 12, &in->sin_addr, 4);
        end_out->port = ntohs(in->sin_port);
        inet_ntop(AF_INET, &in->sin_addr, end_out->text, sizeof end_out->text);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

        memcpy(end_out->address, &in6->sin6_addr, 16);
        end_out->port = ntohs(in6->sin6_port);
        end_out->ipv6 = memcmp(end_out->address, MAPPED, sizeof MAPPED) != 0;
        if (end_out->ipv6) /* else a client of a two-family socket: it is IPv4 and is shown so */
            inet_ntop(AF_INET6, &in6->sin6_addr, end_out->text, sizeof end_out->text);
        else
            inet_ntop(AF_INET, end_out->address + 12, end_out->text, sizeof end_out->text);
    } else {
        const struct sockaddr_un *un = (const struct sockaddr_un *)from;
        size_t size = strnlen(un->sun_path, sizeof un->sun_path);

        end_out->local = true;
        memcpy(end_out->text, un->sun_path, size < CONN_TEXT_SIZE_MAX ? size : CONN_TEXT_SIZE_MAX - 1);
    }
    end_out->text_size = (uint8_t)strlen(end_out->text);
}

RESULT conn_peer_read(int fd, struct conn_end *peer_out)
{
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof at;

    *peer_out = (struct conn_end){0};
    if (getpeername(fd, (struct sockaddr *)&at, &size) != 0)
        return FAIL_SYS(errno, "the connection is gone");
    end_from(&at, peer_out);
    return OK;
}

struct bytes conn_end_text(const struct conn_end *end)
{
    return (struct bytes){(const uint8_t *)end->text, end->text_size};
}

static socklen_t address_fill(struct sockaddr_storage *at, bool ipv6, const uint8_t *address, uint16_t port)
{
    memset(at, 0, sizeof *at);
    if (ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)at;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, address, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)at;

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, address, 4);
    return sizeof *in;
}

RESULT
conn_dial_socket(const struct conn_dial *to, int *fd_out)
{
    struct sockaddr_storage at, source;
    int family = to->local ? AF_UNIX : to->ipv6 ? AF_INET6 : AF_INET;
    socklen_t size;
    int fd, error;

    if (to->local) {
        struct sockaddr_un *un = (struct sockaddr_un *)&at;

        if (to->path.size == 0 || to->path.size >= sizeof un->sun_path)
            return FAIL_SYS(ENAMETOOLONG, "the socket's path is too long");
        memset(un, 0, sizeof *un);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, to->path.data, to->path.size);
        size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + to->path.size + 1);
    } else {
        size = address_fill(&at, to->ipv6, to->address, to->port);
    }
    fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FAIL_SYS(errno, "no socket");
    if (to->source != NULL && !to->local &&
        bind(fd, (struct sockaddr *)&source, address_fill(&source, to->ipv6, to->source, 0)) != 0) {
        error = errno;
        close(fd);
        return FAIL_SYS(error, "the source address cannot be used");
    }
    if (connect(fd, (struct sockaddr *)&at, size) != 0) {
        error = errno;
        if (error != EINPROGRESS) {
            close(fd);
            return FAIL_SYS(error, "the connection could not be made");
        }
    }
    *fd_out = fd;
    return OK;
}

RESULT conn_address_parse(struct bytes text, uint8_t address_out[16])
{
    char copy[INET6_ADDRSTRLEN];

    if (bytes_starts_nocase(text, BYTES("IPv6:")))
        text = bytes_after(text, 5);
    if (text.size == 0 || text.size >= sizeof copy)
        return FAIL(CODE_SYNTAX, "not an address");
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    if (inet_pton(AF_INET6, copy, address_out) == 1)
        return OK;
    memcpy(address_out, MAPPED, sizeof MAPPED);
    return inet_pton(AF_INET, copy, address_out + 12) == 1 ? OK : FAIL(CODE_SYNTAX, "not an address");
}

void conn_end_set(struct conn_end *end, const uint8_t address[16], uint16_t port)
{
    memset(end, 0, sizeof *end);
    memcpy(end->address, address, sizeof end->address);
    end->port = port;
    end->ipv6 = memcmp(address, MAPPED, sizeof MAPPED) != 0;
    if (end->ipv6)
        inet_ntop(AF_INET6, address, end->text, sizeof end->text);
    else
        inet_ntop(AF_INET, address + 12, end->text, sizeof end->text);
    end->text_size = (uint8_t)strlen(end->text);
}
