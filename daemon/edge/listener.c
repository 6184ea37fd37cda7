#include "daemon/edge/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/edge/loop.h"

enum {
    ACCEPTS_PER_TURN = 4,
    PAUSE_MS = 100, /* out of descriptors or memory: the socket stays readable, so looking at once again would spin */
};

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    struct loop_timer timer;
    listener_on_accept *on_accept;
    void *owner;
    int fd;
    bool closing;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_pause_over(void *ctx)
{
    struct listener *l = ctx;

    uv_poll_start(&l->poll, UV_READABLE, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)status;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && !l->closing; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            l->on_accept(l->owner, l, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN) {
            uv_poll_stop(poll);
            loop_timer_set(l->loop, &l->timer, instant_after(loop_now(l->loop), PAUSE_MS));
        }
        return;
    }
}

RESULT
listener_new(struct loop *loop, int fd, listener_on_accept *on_accept, void *owner, struct listener **listener_out)
{
    static const int ON = 1;
    struct listener *l = mem_take_zero(sizeof *l);
    int error;

    if (l == NULL)
        return FAIL(CODE_FULL, "out of memory");
    /* uv_poll_init makes the socket non-blocking, which all sharers of it expect anyway */
    error = uv_poll_init(loop_uv(loop), &l->poll, fd);
    if (error != 0) {
        mem_free(l);
        return FAIL_SYS(-error, "the loop does not take the listening socket");
    }
    /* A reply leaves at once as one segment; waiting for the peer's delayed ACK would halve the rate. What is accepted has it from here
     * (tcp(7)); a UNIX socket knows no such thing. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &ON, sizeof ON);
    l->loop = loop;
    l->timer = (struct loop_timer){.fn = on_pause_over, .ctx = l};
    l->poll.data = l;
    l->on_accept = on_accept;
    l->owner = owner;
    l->fd = fd;
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
    *listener_out = l;
    return OK;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void listener_free(struct listener **listener)
{
    struct listener *l = *listener;

    if (l == NULL)
        return;
    *listener = NULL;
    l->closing = true;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    loop_timer_stop(l->loop, &l->timer);
    close(l->fd);
}
