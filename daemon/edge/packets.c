#include "daemon/edge/packets.h"

#include <poll.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/base/log.h"

enum { PACKETS_PER_TURN = 64 }; /* then others have their say */

struct packets {
    uv_poll_t poll;
    int fd;
    enum ipc_role self, peer;
    const struct packet_handlers *handlers; /* NULL: freed, and only waits for libuv */
    void *ctx;
};

static void on_handle_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct packets *p = poll->data;
    struct passing_room room;
    struct result r = status < 0 ? FAIL(CODE_GONE, "the socket is broken") : OK;
    struct msg m;
    int fd = -1;

    (void)events;
    for (unsigned n = 0; n < PACKETS_PER_TURN && is_ok(r); n++) {
        r = passing_receive(p->fd, p->peer, p->self, &room, &m, &fd);
        if (is_ok(r))
            p->handlers->on_message(p->ctx, &m, fd);
        if (p->handlers == NULL)
            return;
    }
    if (is_ok(r) || r.code == CODE_MORE)
        return;
    if (r.code != CODE_GONE)
        LOG(CHANNEL_MALFORMED, LOG_STR("peer", ipc_role_name(p->peer)), LOG_STR("frame", "?"), LOG_STR("why", r.why));
    uv_poll_stop(&p->poll);
    p->handlers->on_closed(p->ctx);
}

struct packets *packets_new(struct loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
    const struct packet_handlers *handlers, void *ctx)
{
    struct packets *p = mem_take_zero(sizeof *p);

    if (p == NULL || uv_poll_init(loop_uv(loop), &p->poll, fd) != 0) {
        mem_free(p);
        close(fd);
        return NULL;
    }
    *p = (struct packets){.poll = p->poll, .fd = fd, .self = self, .peer = peer, .handlers = handlers, .ctx = ctx};
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_poll);
    return p;
}

void packets_free(struct packets **p)
{
    struct packets *q = *p;

    if (q == NULL)
        return;
    *p = NULL;
    q->handlers = NULL;
    uv_close((uv_handle_t *)&q->poll, on_handle_closed);
    close(q->fd);
}

RESULT packets_send(struct packets *p, const struct msg *m, int fd)
{
    return passing_send(p->fd, m, fd);
}

RESULT packets_wait(struct packets *p, int64_t wait_ms, struct passing_room *room, struct msg *m_out, int *fd_out)
{
    struct pollfd one = {.fd = p->fd, .events = POLLIN};
    struct result r = passing_receive(p->fd, p->peer, p->self, room, m_out, fd_out);

    if (r.code != CODE_MORE)
        return r;
    if (poll(&one, 1, (int)wait_ms) == 0)
        return FAIL(CODE_TIMEOUT, "the other process does not answer");
    r = passing_receive(p->fd, p->peer, p->self, room, m_out, fd_out);
    return r.code == CODE_MORE ? FAIL(CODE_TIMEOUT, "interrupted") : r;
}
