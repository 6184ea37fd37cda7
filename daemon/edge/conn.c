/* Design. A connection's socket is watched by a uv_poll; all reads go into the loop's shared room and what a handler does
 * not eat is copied out of it, so an idle connection owns no buffer. Output is gathered in chunks and leaves in the stage
 * LOOP_FLUSH, once a turn, whatever number of small writes made it.
 *
 * (N1) Handlers are called from the socket, from a timer and from LOOP_WORK only: before the flush of the same turn, so
 *      nothing that a handler writes, here or into a channel, waits for an unrelated event. What the flush itself finds
 *      (an error, an end of congestion) is told in the next turn's LOOP_WORK.
 * (N2) `closing` is set once; from then on no handler but `closed` is called, and that when the poll handle is dead.
 * (N3) With TLS, `out` holds plain text; it becomes ciphertext only as the socket takes it, so memory stays bounded.
 * (N4) A pause does not touch the poll: most pauses end (a lookup, a commit) before the peer says anything, and each change
 *      costs system calls. Only when input comes in a pause is the poll stopped, until the resume. */
#include "daemon/edge/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/edge/loop.h"

enum {
    READ_ROOM_SIZE = 65536,
    PLAIN_ROOM_SIZE = 16384, /* one TLS record */
    CHUNK_SIZE = 16384,
    CHUNKS_SPARE_MAX = 64,
    IOV_COUNT_MAX = 32,
    TLS_OUT_AHEAD_MAX = 65536,
};

enum conn_news { NEWS_RESUME = 1, NEWS_DRAINED = 2, NEWS_LOST = 4 };

enum conn_security { SECURITY_NONE, SECURITY_AFTER_FLUSH, SECURITY_HANDSHAKE, SECURITY_UP };

struct chunk {
    struct chunk *next;
    uint32_t first, end; /* unsent octets: [first, end) */
    uint8_t data[CHUNK_SIZE - 16];
};

struct conn_room {
    struct loop *loop;
    struct chunk *spare;
    size_t spare_count;
    struct conn *first;
    size_t conn_count;
};

struct conn {
    uv_poll_t poll;
    struct loop_timer timer;
    struct loop_hook work, flush;
    struct conn_room *room;
    struct conn *next, **at; /* of the room */
    const struct conn_handler *handler;
    void *owner;
    struct chunk *out_first, *out_last;
    size_t out_size;
    uint8_t *kept; /* input that the handler did not eat */
    size_t kept_size;
    struct tls *tls;
    struct result lost_why;
    int fd;
    uint8_t security; /* enum conn_security */
    uint8_t news;     /* enum conn_news, a set */
    uint8_t interest; /* what the poll watches for */
    bool connecting, paused, want_write, congested, close_asked, shut, lingering, closing;
    bool giving;   /* inside handler->input */
    bool again;    /* conn_resume came from there */
    bool tls_here; /* what is left uneaten is TLS already */
    bool end_seen; /* the peer's end of input has come */
    bool end_told;
    struct conn_end peer;
};

static void conn_interest_set(struct conn *c, int want);
static void conn_poll_update(struct conn *c);
static void conn_readable(struct conn *c, bool ready);

/* --- the room --- */

RESULT
conn_room_new(struct loop *loop, struct conn_room **room_out)
{
    struct conn_room *room = mem_take_zero(sizeof *room);

    if (room == NULL)
        return FAIL(CODE_FULL, "out of memory");
    room->loop = loop;
    *room_out = room;
    return OK;
}

void conn_room_free(struct conn_room **room)
{
    struct conn_room *r = *room;

    if (r == NULL)
        return;
    ASSERT(r->conn_count == 0);
    while (r->spare != NULL) {
        struct chunk *next = r->spare->next;

        mem_free(r->spare);
        r->spare = next;
    }
    mem_free(r);
    *room = NULL;
}

void conn_room_close_all(struct conn_room *room)
{
    for (struct conn *c = room->first; c != NULL; c = c->next)
        conn_close(c);
}

size_t conn_room_count(const struct conn_room *room)
{
    return room->conn_count;
}

static void dirty_put(struct conn *c)
{
    if (!c->closing)
        loop_hook_add(c->room->loop, &c->flush, LOOP_FLUSH);
}

static void news_put(struct conn *c, enum conn_news news)
{
    if (c->closing)
        return;
    c->news |= (uint8_t)news;
    loop_hook_add(c->room->loop, &c->work, LOOP_WORK);
}

static void on_work(void *ctx)
{
    struct conn *c = ctx;
    uint8_t news = c->news;

    c->news = 0;
    if (news & NEWS_LOST) {
        c->handler->lost(c->owner, c, c->lost_why);
        conn_close(c);
        return;
    }
    if ((news & NEWS_DRAINED) && c->handler->drained != NULL)
        c->handler->drained(c->owner, c);
    /* Where the poll went on watching there is nothing to receive, or it will say so. */
    if ((news & NEWS_RESUME) && !c->closing)
        conn_readable(c, (c->interest & UV_READABLE) == 0);
}

/* --- addresses --- */

const struct conn_end *conn_peer(const struct conn *c)
{
    return &c->peer;
}

RESULT
conn_peer_uid(const struct conn *c, uint32_t *uid_out)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;

    if (!c->peer.local || getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return FAIL_SYS(errno, "the peer's user is not known");
    *uid_out = credentials.uid;
    return OK;
}

/* --- output --- */

static struct chunk *chunk_take(struct conn_room *room)
{
    struct chunk *chunk = room->spare;

    if (chunk != NULL) {
        room->spare = chunk->next;
        room->spare_count--;
    } else {
        chunk = mem_take(sizeof *chunk);
    }
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->first = chunk->end = 0;
    }
    return chunk;
}

static void chunk_give(struct conn_room *room, struct chunk *chunk)
{
    if (room->spare_count >= CHUNKS_SPARE_MAX) {
        mem_free(chunk);
        return;
    }
    chunk->next = room->spare;
    room->spare = chunk;
    room->spare_count++;
}

static void out_drop(struct conn *c, size_t size)
{
    ASSERT(size <= c->out_size);
    c->out_size -= size;
    while (c->out_first != NULL) {
        struct chunk *chunk = c->out_first;
        size_t held = chunk->end - chunk->first;

        if (size < held) {
            chunk->first += (uint32_t)size;
            return;
        }
        size -= held;
        c->out_first = chunk->next;
        if (c->out_first == NULL)
            c->out_last = NULL;
        chunk_give(c->room, chunk);
    }
}

static void conn_break(struct conn *c, struct result why)
{
    c->lost_why = why;
    c->paused = true;
    c->want_write = false;
    news_put(c, NEWS_LOST);
    if (!c->closing)
        conn_interest_set(c, 0);
}

void conn_write(struct conn *c, struct bytes out)
{
    if (c->closing || c->shut || (c->news & NEWS_LOST))
        return;
    while (out.size > 0) {
        struct chunk *last = c->out_last;
        size_t room, take;

        if (last == NULL || last->end == sizeof last->data) {
            last = chunk_take(c->room);
            if (last == NULL) {
                conn_break(c, FAIL(CODE_FULL, "out of memory"));
                return;
            }
            *(c->out_last == NULL ? &c->out_first : &c->out_last->next) = last;
            c->out_last = last;
        }
        room = sizeof last->data - last->end;
        take = out.size < room ? out.size : room;
        memcpy(last->data + last->end, out.data, take);
        last->end += (uint32_t)take;
        c->out_size += take;
        out = bytes_after(out, take);
    }
    if (c->out_size > CONN_OUT_SIZE_HIGH)
        c->congested = true;
    dirty_put(c);
}

bool conn_congested(const struct conn *c)
{
    return c->congested;
}

size_t conn_unsent(const struct conn *c)
{
    return c->out_size + (c->tls != NULL ? tls_output(c->tls).size : 0);
}

/* One call to the kernel with what is waiting in the clear. CODE_MORE: the socket is full. */
static RESULT send_plain(struct conn *c)
{
    while (c->out_size > 0) {
        struct iovec iov[IOV_COUNT_MAX];
        struct msghdr message = {.msg_iov = iov};
        ssize_t sent;

        for (struct chunk *i = c->out_first; i != NULL && message.msg_iovlen < IOV_COUNT_MAX; i = i->next)
            iov[message.msg_iovlen++] = (struct iovec){i->data + i->first, i->end - i->first};
        sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? FAIL(CODE_MORE, "the socket is full") : FAIL_SYS(errno, "the connection broke");
        out_drop(c, (size_t)sent);
    }
    return OK;
}

static RESULT send_cipher(struct conn *c)
{
    for (;;) {
        struct bytes cipher;
        ssize_t sent;

        while (c->security == SECURITY_UP && c->out_first != NULL && tls_output(c->tls).size < TLS_OUT_AHEAD_MAX) {
            struct chunk *chunk = c->out_first;
            size_t size = chunk->end - chunk->first;

            TRY(tls_write(c->tls, (struct bytes){chunk->data + chunk->first, size}));
            out_drop(c, size);
        }
        cipher = tls_output(c->tls);
        if (cipher.size == 0)
            return OK;
        sent = send(c->fd, cipher.data, cipher.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? FAIL(CODE_MORE, "the socket is full") : FAIL_SYS(errno, "the connection broke");
        tls_output_drop(c->tls, (size_t)sent);
    }
}

/* What TLS says last: why it failed, or that it is over. Nobody waits for room in the socket for it. */
static void alert_send(struct conn *c)
{
    struct bytes cipher = tls_output(c->tls);

    if (cipher.size > 0 && send(c->fd, cipher.data, cipher.size, MSG_NOSIGNAL) > 0)
        tls_output_drop(c->tls, cipher.size);
}

/* Our side is said: no more output. Waits a little for the peer to close, since closing with unread input makes the kernel
 * send a reset that can overtake our last reply. */
static void conn_linger(struct conn *c)
{
    if (c->end_seen || c->peer.local) {
        conn_close(c);
        return;
    }
    if (c->tls != NULL && c->security == SECURITY_UP) {
        tls_shutdown(c->tls);
        alert_send(c);
    }
    (void)shutdown(c->fd, SHUT_WR);
    c->shut = c->lingering = true;
    c->paused = false;
    loop_timer_set(c->room->loop, &c->timer, instant_after(loop_now(c->room->loop), CONN_LINGER_MS));
    conn_poll_update(c);
}

static void on_flush(void *ctx)
{
    struct conn *c = ctx;
    struct result r;

    if (c->closing || c->connecting || c->shut || (c->news & NEWS_LOST))
        return;
    r = c->security == SECURITY_NONE || c->security == SECURITY_AFTER_FLUSH ? send_plain(c) : send_cipher(c);
    if (is_ok(r) && c->security == SECURITY_AFTER_FLUSH) {
        c->security = SECURITY_HANDSHAKE;
        c->paused = false;
        r = tls_handshake(c->tls); /* a client speaks first */
        if (is_ok(r) || r.code == CODE_MORE)
            r = send_cipher(c);
    }
    if (!is_ok(r) && r.code != CODE_MORE) {
        conn_break(c, r);
        return;
    }
    c->want_write = r.code == CODE_MORE;
    if (c->congested && c->out_size <= CONN_OUT_SIZE_LOW) {
        c->congested = false;
        news_put(c, NEWS_DRAINED);
    }
    if (c->close_asked && is_ok(r)) {
        conn_linger(c);
        return;
    }
    conn_poll_update(c);
}

/* --- input --- */

/* Hands octets to the handler and keeps what it leaves. False: no more for now. */
static bool conn_give(struct conn *c, struct bytes in)
{
    size_t eaten;

    c->giving = true;
    c->again = false;
    eaten = c->handler->input(c->owner, c, in);
    c->giving = false;
    if (c->closing)
        return false;
    ASSERT(eaten <= in.size);
    in = bytes_after(in, eaten);
    if (c->security == SECURITY_AFTER_FLUSH) { /* conn_start_tls was called: the rest was sent in the clear */
        if (c->tls_here && (!is_ok(tls_input(c->tls, in)) || !is_ok(tls_input_keep(c->tls))))
            conn_break(c, FAIL(CODE_FULL, "out of memory"));
        return false;
    }
    if (in.size == 0)
        return !c->paused;
    c->kept = mem_take(in.size);
    if (c->kept == NULL) {
        conn_break(c, FAIL(CODE_FULL, "out of memory"));
        return false;
    }
    memcpy(c->kept, in.data, in.size);
    c->kept_size = in.size;
    c->paused = !c->again;
    if (c->again)
        news_put(c, NEWS_RESUME);
    return false;
}

/* False: no more for now. */
static bool conn_give_kept(struct conn *c)
{
    uint8_t *kept = c->kept;
    size_t size = c->kept_size;
    bool more;

    if (kept == NULL)
        return true;
    c->kept = NULL;
    c->kept_size = 0;
    more = conn_give(c, (struct bytes){kept, size});
    mem_free(kept);
    return more;
}

static void conn_tell_end(struct conn *c)
{
    if (c->end_told || c->kept != NULL || c->closing)
        return;
    c->end_told = true;
    if (c->handler->input_end != NULL)
        c->handler->input_end(c->owner, c);
}

/* Decrypts and hands on all that can be. False: no more for now. */
static bool conn_tls_turn(struct conn *c)
{
    uint8_t *plain = loop_scratch(c->room->loop)->data + READ_ROOM_SIZE; /* before it lies the ciphertext */
    struct result r = OK;
    size_t size;

    if (c->security == SECURITY_HANDSHAKE) {
        r = tls_handshake(c->tls);
        dirty_put(c);
        if (is_ok(r)) {
            c->security = SECURITY_UP;
            if (c->handler->secured != NULL)
                c->handler->secured(c->owner, c);
        }
    }
    while (is_ok(r) && !c->closing && !c->paused) {
        r = tls_read(c->tls, plain, PLAIN_ROOM_SIZE, &size);
        if (is_ok(r) && !conn_give(c, (struct bytes){plain, size}))
            break;
    }
    if (c->closing)
        return false;
    dirty_put(c); /* tickets, key updates, alerts */
    if (r.code == CODE_IO) {
        alert_send(c);
        conn_break(c, r);
    } else if (r.code == CODE_GONE) {
        c->end_seen = true;
    } else if (!is_ok(tls_input_keep(c->tls))) {
        conn_break(c, FAIL(CODE_FULL, "out of memory"));
    }
    return !c->closing && !c->paused && r.code == CODE_MORE;
}

static void conn_receive(struct conn *c)
{
    uint8_t *room = loop_scratch(c->room->loop)->data;
    struct bytes in = {room, 0};
    ssize_t got;

    do {
        got = recv(c->fd, room, READ_ROOM_SIZE, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno != EAGAIN)
            conn_break(c, FAIL_SYS(errno, "the connection broke"));
        return;
    }
    if (got == 0) {
        c->end_seen = true;
        return;
    }
    if (c->lingering)
        return; /* nobody listens any more */
    in.size = (size_t)got;
    if (c->tls == NULL) {
        (void)conn_give(c, in);
        return;
    }
    if (!is_ok(tls_input(c->tls, in)))
        conn_break(c, FAIL(CODE_FULL, "out of memory"));
    else
        (void)conn_tls_turn(c);
}

static void conn_readable(struct conn *c, bool ready)
{
    bool more = !c->paused;

    if (more && c->kept != NULL)
        more = conn_give_kept(c);
    if (more && c->tls != NULL && c->security != SECURITY_AFTER_FLUSH && !c->lingering)
        more = conn_tls_turn(c);
    if (more && ready && !c->end_seen)
        conn_receive(c);
    if (c->closing || (c->news & NEWS_LOST))
        return;
    if (c->end_seen && c->lingering) {
        conn_close(c);
        return;
    }
    if (c->end_seen && !c->paused)
        conn_tell_end(c);
    if (!c->closing)
        conn_poll_update(c);
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    if (!c->closing)
        conn_poll_update(c);
}

void conn_resume(struct conn *c)
{
    if (c->closing || (c->news & NEWS_LOST) || c->security == SECURITY_AFTER_FLUSH)
        return;
    c->again = c->giving;
    if (!c->paused)
        return;
    c->paused = false;
    news_put(c, NEWS_RESUME);
}

bool conn_input_left(const struct conn *c)
{
    return c->kept != NULL;
}

/* --- the loop's calls --- */

static int socket_error(const struct conn *c)
{
    int error = 0;
    socklen_t size = sizeof error;

    return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static void conn_connected(struct conn *c)
{
    int error = socket_error(c);

    c->connecting = false;
    loop_timer_stop(c->room->loop, &c->timer);
    if (error != 0) {
        conn_break(c, FAIL_SYS(error, "the connection could not be made"));
        return;
    }
    struct result known = conn_peer_read(c->fd, &c->peer);
    if (!is_ok(known)) {
        conn_break(c, known);
        return;
    }
    c->paused = false;
    c->handler->opened(c->owner, c);
    if (c->closing)
        return;
    dirty_put(c);
    conn_poll_update(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *c = poll->data;

    if (c->closing || (c->news & NEWS_LOST))
        return;
    if (status < 0)
        c->interest = 0; /* libuv stops a poll whose socket has an error */
    if (c->connecting) {
        conn_connected(c);
        return;
    }
    if (status < 0) {
        conn_break(c, FAIL_SYS(socket_error(c), "the connection broke"));
        return;
    }
    if (events & UV_WRITABLE)
        dirty_put(c);
    if ((events & UV_READABLE) == 0)
        return;
    if (c->paused)
        conn_interest_set(c, c->interest & ~UV_READABLE); /* (N4) */
    else
        conn_readable(c, true);
}

static void conn_interest_set(struct conn *c, int want)
{
    if (want == c->interest)
        return;
    c->interest = (uint8_t)want;
    if (want == 0)
        uv_poll_stop(&c->poll);
    else
        uv_poll_start(&c->poll, want, on_poll);
}

static void conn_poll_update(struct conn *c)
{
    int want = 0;

    if (c->connecting || c->want_write)
        want |= UV_WRITABLE;
    if (!c->connecting && !c->end_seen && (!c->paused || (c->interest & UV_READABLE) != 0)) /* (N4) */
        want |= UV_READABLE;
    conn_interest_set(c, want);
}

static void on_timer(void *ctx)
{
    struct conn *c = ctx;

    if (c->connecting)
        conn_break(c, FAIL(CODE_TIMEOUT, "the connection was not made in time"));
    else if (c->lingering || c->close_asked) /* the peer does not close, or does not even read */
        conn_close(c);
    else if (c->handler->deadline != NULL && !(c->news & NEWS_LOST))
        c->handler->deadline(c->owner, c);
}

void conn_set_deadline(struct conn *c, struct instant at)
{
    if (!c->closing && !c->lingering && !c->connecting && !c->close_asked)
        loop_timer_set(c->room->loop, &c->timer, at);
}

/* --- birth and death --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    c->room->conn_count--;
    c->handler->closed(c->owner, c);
    tls_free(&c->tls);
    mem_free(c->kept);
    mem_free(c);
}

void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    loop_hook_drop(c->room->loop, &c->work);
    loop_hook_drop(c->room->loop, &c->flush);
    loop_timer_stop(c->room->loop, &c->timer);
    if (c->tls != NULL && !c->shut && c->security == SECURITY_UP && !c->connecting) {
        tls_shutdown(c->tls);
        alert_send(c);
    }
    out_drop(c, c->out_size);
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    close(c->fd);
    c->fd = -1;
}

void conn_close_after_flush(struct conn *c)
{
    if (!c->closing && !c->lingering && !c->close_asked)
        loop_timer_set(c->room->loop, &c->timer, instant_after(loop_now(c->room->loop), CONN_FLUSH_MS));
    c->close_asked = true;
    c->paused = true;
    dirty_put(c);
    if (!c->closing)
        conn_poll_update(c);
}

void conn_start_tls(struct conn *c, struct tls *tls)
{
    ASSERT(c->tls == NULL);
    c->tls = tls;
    c->security = SECURITY_AFTER_FLUSH;
    mem_free(c->kept);
    c->kept = NULL;
    c->kept_size = 0;
    c->paused = true;
    dirty_put(c);
}

void conn_start_tls_here(struct conn *c, struct tls *tls)
{
    ASSERT(c->giving);
    conn_start_tls(c, tls);
    c->tls_here = true;
}

const struct tls *conn_tls(const struct conn *c)
{
    return c->tls;
}

/* `fd` becomes the connection's on success. */
static RESULT conn_new(
    struct conn_room *room, int fd, const struct conn_handler *handler, void *owner, struct conn **conn_out)
{
    struct conn *c = mem_take_zero(sizeof *c);
    int error;

    if (c == NULL)
        return FAIL(CODE_FULL, "out of memory");
    c->room = room;
    c->handler = handler;
    c->owner = owner;
    c->fd = fd;
    error = uv_poll_init(loop_uv(room->loop), &c->poll, fd);
    if (error != 0) {
        mem_free(c);
        return FAIL_SYS(-error, "the loop does not take the socket");
    }
    c->poll.data = c;
    c->timer = (struct loop_timer){.fn = on_timer, .ctx = c};
    c->work = (struct loop_hook){.fn = on_work, .ctx = c};
    c->flush = (struct loop_hook){.fn = on_flush, .ctx = c};
    c->next = room->first;
    c->at = &room->first;
    if (c->next != NULL)
        c->next->at = &c->next;
    room->first = c;
    room->conn_count++;
    *conn_out = c;
    return OK;
}

RESULT
conn_adopt_from(struct conn_room *room, int fd, const struct conn_end *peer, const struct conn_handler *handler,
    void *owner, struct conn **conn_out)
{
    TRY(conn_new(room, fd, handler, owner, conn_out));
    (*conn_out)->peer = *peer;
    conn_poll_update(*conn_out);
    return OK;
}

RESULT
conn_adopt(struct conn_room *room, int fd, const struct conn_handler *handler, void *owner, struct conn **conn_out)
{
    struct conn_end peer;

    TRY(conn_peer_read(fd, &peer));
    return conn_adopt_from(room, fd, &peer, handler, owner, conn_out);
}

RESULT
conn_dial(struct conn_room *room, const struct conn_dial *to, const struct conn_handler *handler, void *owner,
    struct conn **conn_out)
{
    static const int ON = 1;
    struct conn *c;
    struct result r;
    int fd;

    TRY(conn_dial_socket(to, &fd));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &ON, sizeof ON); /* as listener.c does for those that are accepted */
    r = conn_new(room, fd, handler, owner, &c);
    if (!is_ok(r)) {
        close(fd);
        return r;
    }
    /* Also a connection that is there at once is told of from the loop (N1): the socket is writable in the next turn. */
    c->connecting = true;
    c->paused = true;
    loop_timer_set(room->loop, &c->timer, to->deadline);
    conn_poll_update(c);
    *conn_out = c;
    return OK;
}
