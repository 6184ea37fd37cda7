/* The octets that wait to be written stand in a list of chunks; frames are encoded straight into the last one, and one
 * sendmsg takes many chunks. What is read goes into the loop's scratch room, frames are handled where they lie, and only
 * what is left over (part of a frame, or frames that came after a pause) is kept in the channel's own memory.
 *
 * (C1) Handlers run only from the loop: on_message from a readable socket or after a resume, the others from the `tell`
 *      hook. So a caller of channel_send never finds its own state changed under it.
 * (C2) After channel_free nothing of the owner is touched. The struct itself lives until libuv lets go of the handle, in
 *      a later phase of the loop, so the code below may look at `fd` (-1 by then) after every handler. */
#include "daemon/edge/channel.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/base/log.h"

enum {
    CHUNK_SIZE = 131072, /* holds the largest frame */
    CHUNKS_PER_WRITE = 16,
    CHANNEL_LATER_SIZE = 32768,
    SOCKET_BUFFER_SIZE = 1048576, /* the kernel may give less; a commit of a few ms must not stall the peers */
};

struct chunk {
    struct chunk *next;
    size_t start, end; /* of what waits in data */
    uint8_t data[CHUNK_SIZE];
};

struct channel {
    uv_poll_t poll;
    int fd; /* -1: dead */
    struct loop *loop;
    enum ipc_role self, peer;
    const struct channel_handlers *handlers;
    void *ctx;
    struct chunk *first, *last, *spare;
    size_t queue_size;
    uint8_t *rest; /* read and not handled yet */
    size_t rest_size;
    struct loop_hook flush, again, tell;
    enum channel_end end;
    bool paused, write_blocked, congested;
    bool write_dead; /* the peer is gone; what it said before is still read */
    bool drained_untold, end_untold;
};

STATIC_ASSERT((int)CHUNK_SIZE >= (int)FRAME_SIZE_MAX);
STATIC_ASSERT((int)LOOP_SCRATCH_SIZE >= 2 * (int)FRAME_SIZE_MAX);

/* --- the end --- */

static void queue_drop(struct channel *ch)
{
    while (ch->first != NULL) {
        struct chunk *next = ch->first->next;
        mem_free(ch->first);
        ch->first = next;
    }
    ch->last = NULL;
    mem_free(ch->spare);
    ch->spare = NULL;
    ch->queue_size = 0;
}

static void fd_close(struct channel *ch)
{
    uv_poll_stop(&ch->poll);
    close(ch->fd);
    ch->fd = -1;
    queue_drop(ch);
    mem_free(ch->rest);
    ch->rest = NULL;
    ch->rest_size = 0;
}

static void channel_end(struct channel *ch, enum channel_end why)
{
    if (ch->fd < 0)
        return;
    fd_close(ch);
    ch->end = why;
    ch->end_untold = true;
    loop_hook_add(ch->loop, &ch->tell, LOOP_FLUSH);
}

static void channel_tell(void *ctx)
{
    struct channel *ch = ctx;

    if (ch->end_untold) {
        ch->end_untold = false;
        if (ch->end == CHANNEL_END_PEER)
            LOG(CHANNEL_LOST, LOG_STR("peer", ipc_role_name(ch->peer)), LOG_STR("why", "closed by the other end"));
        else if (ch->end == CHANNEL_END_NO_MEMORY)
            LOG(CHANNEL_LOST, LOG_STR("peer", ipc_role_name(ch->peer)), LOG_STR("why", "out of memory"));
        ch->handlers->on_closed(ch->ctx, ch->end);
    } else if (ch->drained_untold && ch->fd >= 0) {
        ch->drained_untold = false;
        if (!ch->congested && ch->handlers->on_drained != NULL)
            ch->handlers->on_drained(ch->ctx);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Asks for what the channel can use now. */
static void poll_update(struct channel *ch)
{
    int events = (ch->paused ? 0 : UV_READABLE) | (ch->write_blocked ? UV_WRITABLE : 0);

    if (ch->fd < 0)
        return;
    if (events == 0)
        uv_poll_stop(&ch->poll);
    else if (uv_poll_start(&ch->poll, events, on_poll) != 0)
        channel_end(ch, CHANNEL_END_NO_MEMORY);
}

/* --- writing --- */

/* Another chunk behind the last; false when the heap has none. */
static bool chunk_add(struct channel *ch)
{
    struct chunk *c = ch->spare != NULL ? ch->spare : mem_take(sizeof *c);

    if (c == NULL)
        return false;
    ch->spare = NULL;
    c->next = NULL;
    c->start = c->end = 0;
    if (ch->last == NULL)
        ch->first = c;
    else
        ch->last->next = c;
    ch->last = c;
    return true;
}

static RESULT chunk_encode(struct channel *ch, const struct msg *m)
{
    struct chunk *c = ch->last;
    struct buf out;

    if (c == NULL)
        return FAIL(CODE_FULL, "no chunk");
    buf_init(&out, c->data + c->end, CHUNK_SIZE - c->end);
    TRY(msg_encode(&out, m));
    c->end += out.size;
    ch->queue_size += out.size;
    return OK;
}

void channel_hurry(struct channel *ch)
{
    if (ch->fd >= 0 && !ch->write_blocked && ch->queue_size > 0)
        loop_hook_add(ch->loop, &ch->flush, LOOP_FLUSH);
}

void channel_send(struct channel *ch, const struct msg *m)
{
    channel_send_later(ch, m);
    channel_hurry(ch);
}

void channel_send_later(struct channel *ch, const struct msg *m)
{
    if (ch->fd < 0 || ch->write_dead)
        return;
    struct result r = chunk_encode(ch, m);
    if (r.code == CODE_FULL) {
        if (!chunk_add(ch)) {
            channel_end(ch, CHANNEL_END_NO_MEMORY);
            return;
        }
        r = chunk_encode(ch, m);
    }
    ASSERT(is_ok(r));
    if (ch->queue_size > CHANNEL_QUEUE_SIZE_HIGH)
        ch->congested = true;
    if (ch->queue_size >= CHANNEL_LATER_SIZE)
        channel_hurry(ch);
}

static void written(struct channel *ch, size_t size)
{
    ch->queue_size -= size;
    while (size > 0) {
        struct chunk *c = ch->first;
        size_t part = c->end - c->start < size ? c->end - c->start : size;
        c->start += part;
        size -= part;
        if (c->start < c->end)
            return;
        c->start = c->end = 0;
        if (c->next == NULL)
            return; /* the last one stays, for the next frames */
        ch->first = c->next;
        if (ch->spare == NULL)
            ch->spare = c;
        else
            mem_free(c);
    }
}

/* CODE_MORE: the socket takes no more now. */
static RESULT queue_write(struct channel *ch)
{
    while (ch->queue_size > 0) {
        struct iovec parts[CHUNKS_PER_WRITE];
        struct msghdr head = {.msg_iov = parts};
        size_t asked = 0;
        for (struct chunk *c = ch->first; c != NULL && head.msg_iovlen < CHUNKS_PER_WRITE; c = c->next) {
            parts[head.msg_iovlen++] = (struct iovec){c->data + c->start, c->end - c->start};
            asked += c->end - c->start;
        }
        ssize_t size = sendmsg(ch->fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno != EAGAIN)
            return FAIL(CODE_GONE, "the other process is gone");
        if (size > 0)
            written(ch, (size_t)size);
        if (size < 0 || (size_t)size < asked)
            return FAIL(CODE_MORE, "socket is full");
    }
    return OK;
}

void channel_flush(struct channel *ch)
{
    if (ch->fd < 0)
        return;
    struct result r = queue_write(ch);
    if (r.code == CODE_GONE) {
        /* Not the end yet: results that a process sent before it went must not be lost; reading finds the end. */
        ch->write_dead = true;
        queue_drop(ch);
    }
    bool blocked = r.code == CODE_MORE;
    if (blocked != ch->write_blocked) {
        ch->write_blocked = blocked;
        poll_update(ch);
    }
    if (ch->congested && ch->queue_size < CHANNEL_QUEUE_SIZE_LOW) {
        ch->congested = false;
        ch->drained_untold = true;
        loop_hook_add(ch->loop, &ch->tell, LOOP_FLUSH);
    }
}

static void on_flush(void *ctx)
{
    channel_flush(ctx);
}

/* --- reading --- */

static void malformed(struct channel *ch, struct bytes frame, const char *why)
{
    LOG(CHANNEL_MALFORMED, LOG_STR("peer", ipc_role_name(ch->peer)), LOG_STR("frame", msg_name(msg_frame_kind(frame))),
        LOG_STR("why", why));
    channel_end(ch, CHANNEL_END_MALFORMED);
}

/* Handles whole frames while the owner wants them; returns how much was eaten. */
static size_t frames_handle(struct channel *ch, struct bytes in)
{
    size_t eaten = 0;

    while (ch->fd >= 0 && !ch->paused) { /* a freed channel's is closed */
        struct bytes rest = bytes_after(in, eaten);
        struct msg m;
        size_t size = 0;
        struct result r = msg_frame_size(rest, &size);
        if (r.code == CODE_MORE)
            break;
        if (is_ok(r))
            r = msg_decode(bytes_head(rest, size), ch->peer, ch->self, &m);
        if (!is_ok(r)) {
            malformed(ch, rest, r.why);
            break;
        }
        eaten += size;
        ch->handlers->on_message(ch->ctx, &m);
    }
    return eaten;
}

static void rest_keep(struct channel *ch, struct bytes rest)
{
    if (ch->fd < 0 || rest.size == 0)
        return;
    ch->rest = mem_take(rest.size);
    if (ch->rest == NULL) {
        channel_end(ch, CHANNEL_END_NO_MEMORY);
        return;
    }
    memcpy(ch->rest, rest.data, rest.size);
    ch->rest_size = rest.size;
}

/* What was left over, then (when `more`) what the socket has, all in one piece. */
static void channel_read(struct channel *ch, bool more)
{
    struct buf *room = loop_scratch(ch->loop);
    bool ended = false;

    if (ch->rest_size > 0) {
        memcpy(room->data, ch->rest, ch->rest_size);
        room->size = ch->rest_size;
        mem_free(ch->rest);
        ch->rest = NULL;
        ch->rest_size = 0;
    }
    if (more && buf_left(room) > 0) {
        ssize_t size = read(ch->fd, room->data + room->size, buf_left(room));
        if (size > 0)
            room->size += (size_t)size;
        else
            ended = size == 0 || (errno != EAGAIN && errno != EINTR);
    }
    struct bytes in = buf_bytes(room);
    size_t eaten = frames_handle(ch, in);
    rest_keep(ch, bytes_after(in, eaten));
    if (ended)
        channel_end(ch, CHANNEL_END_PEER);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct channel *ch = poll->data;

    if (status < 0) {
        channel_end(ch, CHANNEL_END_PEER);
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        loop_hook_add(ch->loop, &ch->flush, LOOP_FLUSH);
    if ((events & UV_READABLE) != 0 && !ch->paused)
        channel_read(ch, true);
}

static void on_again(void *ctx)
{
    struct channel *ch = ctx;

    if (ch->fd >= 0 && !ch->paused && ch->rest_size > 0)
        channel_read(ch, false);
}

void channel_pause(struct channel *ch)
{
    if (ch->paused)
        return;
    ch->paused = true;
    poll_update(ch);
}

void channel_resume(struct channel *ch)
{
    if (!ch->paused)
        return;
    ch->paused = false;
    poll_update(ch);
    loop_hook_add(ch->loop, &ch->again, LOOP_WORK);
}

/* --- life --- */

RESULT channel_pair(int fd_out[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd_out) != 0)
        return FAIL_SYS(errno, "socketpair");
    for (int i = 0; i < 2; i++) {
        int size = SOCKET_BUFFER_SIZE;
        /* The first is for the privileged and passes the system's bound; the second gives what an ordinary user may have. */
        if (setsockopt(fd_out[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
            setsockopt(fd_out[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    return OK;
}

struct channel *channel_new(struct loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
    const struct channel_handlers *handlers, void *ctx)
{
    struct channel *ch = mem_take_zero(sizeof *ch);

    if (ch == NULL || uv_poll_init(loop_uv(loop), &ch->poll, fd) != 0) {
        mem_free(ch);
        close(fd);
        return NULL;
    }
    ch->poll.data = ch;
    ch->fd = fd;
    ch->loop = loop;
    ch->self = self;
    ch->peer = peer;
    ch->handlers = handlers;
    ch->ctx = ctx;
    ch->flush = (struct loop_hook){.fn = on_flush, .ctx = ch};
    ch->again = (struct loop_hook){.fn = on_again, .ctx = ch};
    ch->tell = (struct loop_hook){.fn = channel_tell, .ctx = ch};
    poll_update(ch);
    return ch;
}

static void on_handle_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void channel_free(struct channel **ch)
{
    struct channel *c = *ch;

    if (c == NULL)
        return;
    *ch = NULL;
    if (c->fd >= 0) {
        struct result r = queue_write(c);
        (void)r; /* whoever is still there has it; nobody else wants it */
        fd_close(c);
    }
    loop_hook_drop(c->loop, &c->flush);
    loop_hook_drop(c->loop, &c->again);
    loop_hook_drop(c->loop, &c->tell);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
}

bool channel_congested(const struct channel *ch)
{
    return ch->congested;
}

size_t channel_queue_size(const struct channel *ch)
{
    return ch->queue_size;
}

bool channel_is_dead(const struct channel *ch)
{
    return ch->fd < 0;
}
