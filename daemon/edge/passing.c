#include "daemon/edge/passing.h"

#include <sys/socket.h>
#include <unistd.h>

RESULT passing_pair(int fd_out[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd_out) != 0)
        return FAIL_SYS(errno, "socketpair");
    return OK;
}

RESULT passing_send(int socket_fd, const struct msg *m, int fd)
{
    uint8_t room[PASSING_SIZE_MAX];
    struct buf packet = BUF(room);
    union {
        struct cmsghdr align;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control = {0};

    TRY(msg_encode(&packet, m));
    struct iovec part = {packet.data, packet.size};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        head.msg_control = &control;
        head.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(socket_fd, &head, MSG_NOSIGNAL) >= 0)
            return OK;
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            return FAIL(CODE_FULL, "the other process does not read");
        if (errno == EPIPE || errno == ECONNRESET)
            return FAIL(CODE_GONE, "the other process is gone");
        return FAIL_SYS(errno, "sendmsg");
    }
}

/* One descriptor at most is ever sent; more would be somebody else's doing, and all are closed. */
static int descriptor_take(struct msghdr *head, bool *surplus_out)
{
    int first = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c != NULL; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (first < 0) {
                first = fd;
            } else {
                close(fd);
                *surplus_out = true;
            }
        }
    }
    return first;
}

RESULT passing_receive(
    int socket_fd, enum ipc_role from, enum ipc_role to, struct passing_room *room, struct msg *m_out, int *fd_out)
{
    union {
        struct cmsghdr align;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {room->octets, sizeof room->octets};
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    bool surplus = false;
    bool reset =
        false; /* told once by the kernel, before what the other end said last: that is still there to be read */
    ssize_t size;

    *fd_out = -1;
    do {
        size = recvmsg(socket_fd, &head, MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == ECONNRESET && !reset) {
            reset = true;
            errno = EINTR;
        }
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN)
        return FAIL(CODE_MORE, "no packet yet");
    if (size == 0 || (size < 0 && errno == ECONNRESET))
        return FAIL(CODE_GONE, "the other process is gone");
    if (size < 0)
        return FAIL_SYS(errno, "recvmsg");
    int fd = descriptor_take(&head, &surplus);
    struct result r = (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || surplus
                          ? FAIL(CODE_CORRUPT, "packet too large")
                          : msg_decode((struct bytes){room->octets, (size_t)size}, from, to, m_out);
    if (!is_ok(r)) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    *fd_out = fd;
    return OK;
}
