/* Connections of the simulation: the calls of daemon/edge/conn.h over an end of net.h. */
#include "tests/sim/lib/edge_parts.h"

struct conn_room {
    struct conn *first;
    size_t count;
};

struct conn {
    struct conn_room *room;
    struct conn *next, **at;
    const struct conn_handler *handler;
    void *owner;
    struct net_end *net;
    struct world_timer timer; /* the deadline; while connecting, its time-out; while lingering, its end */
    struct world_timer work;  /* what must be told from the loop */
    struct world_timer dial;
    struct world_timer shake;
    struct heap_buf out, kept;
    struct tls *tls;
    struct result lost_why;
    struct conn_dial to;
    enum dial_fate fate;
    struct conn_end peer;
    bool connecting, paused, congested, drained_due, lost_due, close_asked, lingering, closing, end_seen, end_told;
    bool tls_wanted, shaking, giving, again;
};

RESULT conn_room_new(struct loop *loop, struct conn_room **room_out)
{
    (void)loop;
    *room_out = world_take(sizeof **room_out);
    return OK;
}

void conn_room_free(struct conn_room **room)
{
    if (*room == NULL)
        return;
    ASSERT((*room)->count == 0);
    free(*room);
    *room = NULL;
}

size_t conn_room_count(const struct conn_room *room)
{
    return room->count;
}

void conn_room_close_all(struct conn_room *room)
{
    for (struct conn *c = room->first; c != NULL; c = c->next)
        conn_close(c);
}

static void conn_free(struct conn *c)
{
    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    c->room->count--;
    world_timer_stop(&c->timer);
    world_timer_stop(&c->work);
    world_timer_stop(&c->dial);
    world_timer_stop(&c->shake);
    c->handler->closed(c->owner, c);
    heap_buf_free(&c->out);
    heap_buf_free(&c->kept);
    tls_free(&c->tls);
    free(c);
}

void edge_room_kill(struct conn_room *room)
{
    conn_room_close_all(room);
    while (room->first != NULL)
        conn_free(room->first);
}

static void work_later(struct conn *c)
{
    if (c->work.place == 0)
        world_timer_set(&c->work, world.now_ms);
}

static void conn_break(struct conn *c, struct result why)
{
    if (c->closing || c->lost_due)
        return;
    c->lost_due = true;
    c->lost_why = why;
    work_later(c);
}

static void conn_linger(struct conn *c)
{
    c->lingering = true;
    net_shut(c->net);
    net_pause(c->net, false);
    world_timer_set(&c->timer, world.now_ms + CONN_LINGER_MS);
}

static void conn_flush(struct conn *c)
{
    if (c->closing || c->connecting || c->lingering || c->lost_due)
        return;
    if (c->out.size > 0 && world_fails(CALL_WRITE)) {
        conn_break(c, FAIL_SYS(EPIPE, "the connection broke"));
        return;
    }
    if (c->out.size > 0)
        heap_buf_drop(&c->out, net_write(c->net, heap_buf_bytes(&c->out)));
    if (c->congested && c->out.size <= CONN_OUT_SIZE_LOW) {
        c->congested = false;
        c->drained_due = true;
        work_later(c);
    }
    if (c->out.size > 0)
        return;
    if (c->close_asked)
        conn_linger(c);
    else if (c->tls_wanted) {
        c->tls_wanted = false;
        c->shaking = true;
        if (net_tls_get(c->net) != NET_TLS_HANGS)
            world_timer_set(&c->shake, world.now_ms + world_between(5, 400));
        else
            world_fault(FAULT_TLS_HANGS);
    }
}

static void on_shake(void *ctx)
{
    struct conn *c = ctx;

    if (c->closing || c->lost_due)
        return;
    c->shaking = false;
    if (net_tls_get(c->net) == NET_TLS_FAILS) {
        world_fault(FAULT_TLS_FAILED);
        conn_break(c, FAIL(CODE_IO, "the handshake failed"));
        return;
    }
    c->paused = false;
    if (c->handler->secured != NULL)
        c->handler->secured(c->owner, c);
    if (!c->closing && !c->paused)
        net_pause(c->net, false);
}

static void conn_give(struct conn *c, struct bytes in)
{
    c->giving = true;
    c->again = false;
    size_t eaten = c->handler->input(c->owner, c, in);
    c->giving = false;
    if (c->closing || c->tls_wanted || c->shaking)
        return;
    ASSERT(eaten <= in.size);
    if (eaten == in.size)
        return;
    heap_buf_put(&c->kept, bytes_after(in, eaten));
    c->paused = !c->again;
    net_pause(c->net, true); /* until on_work has handed over what is kept */
    if (c->again)
        work_later(c);
}

static void conn_tell_end(struct conn *c)
{
    if (!c->end_seen || c->end_told || c->kept.size > 0 || c->closing || c->paused)
        return;
    c->end_told = true;
    if (c->handler->input_end != NULL)
        c->handler->input_end(c->owner, c);
}

static void on_work(void *ctx)
{
    struct conn *c = ctx;

    if (c->closing) {
        conn_free(c);
        return;
    }
    if (c->lost_due) {
        c->handler->lost(c->owner, c, c->lost_why);
        conn_close(c);
        return;
    }
    if (c->drained_due) {
        c->drained_due = false;
        if (c->handler->drained != NULL)
            c->handler->drained(c->owner, c);
    }
    if (!c->closing && !c->paused && c->kept.size > 0) {
        struct heap_buf kept = c->kept;
        c->kept = (struct heap_buf){0};
        conn_give(c, heap_buf_bytes(&kept));
        heap_buf_free(&kept);
    }
    if (!c->closing && !c->paused && c->kept.size == 0)
        net_pause(c->net, false);
    if (!c->closing)
        conn_tell_end(c);
}

static void on_net_data(void *owner, struct bytes in)
{
    struct conn *c = owner;

    if (c->lingering || c->lost_due) { /* we have given up: what comes now was never said to us */
        net_unread(c->net, in.size);
        return;
    }
    if (world_fails(CALL_READ)) {
        net_unread(c->net, in.size);
        conn_break(c, FAIL_SYS(ECONNRESET, "the connection broke"));
    } else {
        conn_give(c, in);
    }
}

static void on_net_end(void *owner)
{
    struct conn *c = owner;

    c->end_seen = true;
    if (c->lingering)
        conn_close(c);
    else
        conn_tell_end(c);
}

static void on_net_lost(void *owner)
{
    struct conn *c = owner;

    if (c->lingering)
        conn_close(c);
    else
        conn_break(c, FAIL_SYS(ECONNRESET, "the connection broke"));
}

static void on_net_room(void *owner)
{
    conn_flush(owner);
}

static const struct net_handler conn_net_handler = {on_net_data, on_net_end, on_net_lost, on_net_room};

static void on_conn_timer(void *ctx)
{
    struct conn *c = ctx;

    if (c->connecting)
        conn_break(c, FAIL(CODE_TIMEOUT, "the connection was not made in time"));
    else if (c->lingering || c->close_asked)
        conn_close(c);
    else if (c->handler->deadline != NULL && !c->lost_due)
        c->handler->deadline(c->owner, c);
}

static void on_dial(void *ctx)
{
    struct conn *c = ctx;

    if (c->closing || c->lost_due)
        return;
    if (c->fate == DIAL_REFUSED) {
        conn_break(c, FAIL_SYS(ECONNREFUSED, "the connection could not be made"));
        return;
    }
    world_timer_stop(&c->timer);
    c->connecting = false;
    c->net = edge_ports.dial_connect(&c->to);
    c->paused = false;
    net_take(c->net, &conn_net_handler, c);
    c->handler->opened(c->owner, c);
    if (!c->closing)
        conn_flush(c);
}

static struct conn *conn_new(struct conn_room *room, const struct conn_handler *handler, void *owner)
{
    struct conn *c = world_take(sizeof *c);

    *c = (struct conn){.room = room, .handler = handler, .owner = owner, .next = room->first, .at = &room->first};
    if (c->next != NULL)
        c->next->at = &c->next;
    room->first = c;
    room->count++;
    c->timer = (struct world_timer){.fn = on_conn_timer, .ctx = c};
    c->work = (struct world_timer){.fn = on_work, .ctx = c};
    c->dial = (struct world_timer){.fn = on_dial, .ctx = c};
    c->shake = (struct world_timer){.fn = on_shake, .ctx = c};
    return c;
}

RESULT conn_adopt(
    struct conn_room *room, int fd, const struct conn_handler *handler, void *owner, struct conn **conn_out)
{
    struct net_end *near = edge_descriptor_take(fd);

    if (near == NULL)
        return FAIL_SYS(EBADF, "no such connection");
    if (world_fails(CALL_ACCEPT)) {
        net_close(near, true);
        return FAIL(CODE_FULL, "out of memory");
    }
    struct conn *c = conn_new(room, handler, owner);
    struct result known = conn_peer_read(fd, &c->peer);
    ASSERT(is_ok(known));
    c->net = near;
    net_take(c->net, &conn_net_handler, c);
    *conn_out = c;
    return OK;
}

RESULT conn_adopt_from(struct conn_room *room, int fd, const struct conn_end *peer, const struct conn_handler *handler,
    void *owner, struct conn **conn_out)
{
    (void)peer;
    return conn_adopt(room, fd, handler, owner, conn_out);
}

RESULT conn_dial(struct conn_room *room, const struct conn_dial *to, const struct conn_handler *handler, void *owner,
    struct conn **conn_out)
{
    int64_t after_ms = 0;
    enum dial_fate fate = edge_ports.dial_fate(to, &after_ms);
    struct dns_address address = {.family = to->ipv6 ? 6 : 4};

    if (world_fails(CALL_CONNECT))
        return FAIL_SYS(EMFILE, "no socket");
    if (fate == DIAL_NO_ROUTE)
        return FAIL_SYS(ENETUNREACH, "no way there");
    struct conn *c = conn_new(room, handler, owner);
    memcpy(address.octets, to->address, to->ipv6 ? 16 : 4);
    edge_end_fill(&c->peer, &address, to->port);
    c->to = *to;
    c->fate = fate;
    c->connecting = c->paused = true;
    world_timer_set(&c->timer, to->deadline.ms);
    if (fate != DIAL_HANGS)
        world_timer_set(&c->dial, world.now_ms + after_ms);
    *conn_out = c;
    return OK;
}

const struct conn_end *conn_peer(const struct conn *c)
{
    return &c->peer;
}

RESULT conn_peer_uid(const struct conn *c, uint32_t *uid_out)
{
    (void)c;
    *uid_out = 1000;
    return OK;
}

void conn_write(struct conn *c, struct bytes out)
{
    if (c->closing || c->lost_due)
        return;
    heap_buf_put(&c->out, out);
    if (c->out.size > CONN_OUT_SIZE_HIGH)
        c->congested = true;
    conn_flush(c);
}

bool conn_congested(const struct conn *c)
{
    return c->congested;
}

size_t conn_unsent(const struct conn *c)
{
    return c->out.size;
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    if (!c->closing && c->net != NULL)
        net_pause(c->net, true);
}

void conn_resume(struct conn *c)
{
    c->again = c->giving;
    if (!c->paused || c->closing || c->lost_due || c->tls_wanted || c->shaking || c->connecting)
        return;
    c->paused = false;
    work_later(c);
}

bool conn_input_left(const struct conn *c)
{
    return c->kept.size > 0;
}

size_t edge_conn_unread(const struct conn *c)
{
    return c->kept.size;
}

void conn_start_tls(struct conn *c, struct tls *tls)
{
    ASSERT(c->tls == NULL);
    c->tls = tls;
    c->tls_wanted = true;
    c->paused = true;
    heap_buf_free(&c->kept);
    net_pause(c->net, true); /* what comes meanwhile is the handshake's */
    conn_flush(c);
}

void conn_start_tls_here(struct conn *c, struct tls *tls)
{
    conn_start_tls(c, tls);
}

const struct tls *conn_tls(const struct conn *c)
{
    return c->tls;
}

void conn_set_deadline(struct conn *c, struct instant at)
{
    if (c->closing || c->lingering || c->connecting || c->close_asked)
        return;
    if (at.ms == INSTANT_NEVER.ms)
        world_timer_stop(&c->timer);
    else
        world_timer_set(&c->timer, at.ms);
}

void conn_close_after_flush(struct conn *c)
{
    if (c->closing || c->lingering || c->close_asked)
        return;
    c->close_asked = true;
    c->paused = true;
    net_pause(c->net, true);
    world_timer_set(&c->timer, world.now_ms + CONN_FLUSH_MS);
    conn_flush(c);
}

void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    world_timer_stop(&c->timer);
    world_timer_stop(&c->dial);
    world_timer_stop(&c->shake);
    if (c->net != NULL) {
        net_unread(c->net, c->kept.size);
        net_close(c->net, c->kept.size > 0);
    }
    c->net = NULL;
    world_timer_set(&c->work, world.now_ms);
}
