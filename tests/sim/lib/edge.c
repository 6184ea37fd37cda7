#include "tests/sim/lib/edge.h"

#include "daemon/edge/clock.h"
#include "daemon/edge/tls_store.h"
#include "daemon/inbound/census.h"

struct edge_ports edge_ports;

/* --- clock --- */

struct instant clock_instant(void)
{
    return (struct instant){world.now_ms};
}

struct walltime clock_walltime(void)
{
    return world_walltime();
}

uint64_t clock_seed(void)
{
    return rng_next(&world.rng);
}

/* --- loop: hooks by lists, timers by the world's heap --- */

struct loop {
    struct loop *next;
    struct loop_hook *hooks[LOOP_STAGE_COUNT];
};

struct timer_box {
    struct world_timer timer;
    struct loop_timer *of;
};

static struct loop *loops;

struct loop *loop_new(void)
{
    struct loop *l = world_take(sizeof *l);

    l->next = loops;
    loops = l;
    return l;
}

void loop_free(struct loop **loop)
{
    for (struct loop **at = &loops; *at != NULL; at = &(*at)->next)
        if (*at == *loop) {
            *at = (*loop)->next;
            break;
        }
    ASSERT((*loop)->hooks[LOOP_WORK] == NULL && (*loop)->hooks[LOOP_FLUSH] == NULL);
    free(*loop);
    *loop = NULL;
}

struct instant loop_now(const struct loop *loop)
{
    (void)loop;
    return (struct instant){world.now_ms};
}

static void on_timer_box(void *ctx)
{
    struct timer_box *box = ctx;
    struct loop_timer *t = box->of;

    free(box);
    t->child = NULL;
    t->armed = false;
    t->fn(t->ctx);
}

/* The library's own pointer field holds our timer. */
void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    struct timer_box *box = (struct timer_box *)(void *)timer->child;

    (void)loop;
    if (box == NULL)
        return;
    world_timer_stop(&box->timer);
    free(box);
    timer->child = NULL;
    timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, struct instant deadline)
{
    struct timer_box *box = (struct timer_box *)(void *)timer->child;

    if (deadline.ms == INSTANT_NEVER.ms) {
        loop_timer_stop(loop, timer);
        return;
    }
    if (box == NULL) {
        box = world_take(sizeof *box);
        *box = (struct timer_box){.timer = {.fn = on_timer_box, .ctx = box}, .of = timer};
        timer->child = (struct loop_timer *)(void *)box;
    }
    timer->armed = true;
    timer->deadline = deadline;
    world_timer_set(&box->timer, deadline.ms);
}

void loop_hook_drop(struct loop *loop, struct loop_hook *hook)
{
    (void)loop;
    if (hook->link == NULL)
        return;
    *hook->link = hook->next;
    if (hook->next != NULL)
        hook->next->link = hook->link;
    hook->next = NULL;
    hook->link = NULL;
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, enum loop_stage stage)
{
    struct loop_hook **at = &loop->hooks[stage];

    if (hook->link != NULL)
        return;
    while (*at != NULL)
        at = &(*at)->next;
    hook->next = NULL;
    hook->link = at;
    *at = hook;
}

static bool hooks_run(struct loop *loop, enum loop_stage stage)
{
    bool any = false;

    for (struct loop_hook *hook; (hook = loop->hooks[stage]) != NULL; any = true) {
        loop_hook_drop(loop, hook);
        hook->fn(hook->ctx);
    }
    return any;
}

void edge_turn_end(void)
{
    for (bool any = true; any;) {
        any = false;
        for (struct loop *l = loops; l != NULL; l = l->next) {
            any = hooks_run(l, LOOP_WORK) || any;
            any = hooks_run(l, LOOP_FLUSH) || any;
        }
    }
}

/* --- who is who --- */

enum { DESCRIPTOR_FIRST = 1 << 20, DESCRIPTORS_MAX = 256 };

static struct descriptor {
    struct net_end *near;
    struct dns_address peer;
} descriptors[DESCRIPTORS_MAX];

int edge_descriptor(struct net_end *near, const struct dns_address *peer)
{
    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        if (descriptors[i].near == NULL) {
            descriptors[i] = (struct descriptor){near, *peer};
            return DESCRIPTOR_FIRST + i;
        }
    ASSERT(false);
    return -1;
}

struct bytes conn_end_text(const struct conn_end *end)
{
    return (struct bytes){(const uint8_t *)end->text, end->text_size};
}

RESULT conn_address_parse(struct bytes text, uint8_t address_out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct dns_address address;

    TRY(dns_address_parse(text, &address));
    memcpy(address_out, address.family == 4 ? mapped : address.octets, 12);
    memcpy(address_out + 12, address.octets + (address.family == 4 ? 0 : 12), 4);
    return OK;
}

void conn_end_set(struct conn_end *end, const uint8_t address[16], uint16_t port)
{
    memcpy(end->address, address, sizeof end->address);
    end->port = port;
}

static void end_fill(struct conn_end *end, const struct dns_address *address, uint16_t port)
{
    uint8_t room[DNS_ADDRESS_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    struct result r = dns_address_put(&text, address);

    ASSERT(is_ok(r));
    *end = (struct conn_end){.ipv6 = address->family == 6, .port = port, .text_size = (uint8_t)text.size};
    memcpy(end->text, room, text.size);
    r = conn_address_parse(buf_bytes(&text), end->address);
    ASSERT(is_ok(r));
}

void conn_ends_read(int fd, struct conn_end *peer_out, struct conn_end *here_out)
{
    static const struct dns_address here = {.family = 4, .octets = {192, 0, 2, 1}};

    end_fill(peer_out, &descriptors[fd - DESCRIPTOR_FIRST].peer, 40000);
    end_fill(here_out, &here, 25);
}

/* --- census: one process's own count is enough here --- */

struct census {
    uint32_t count;
};
static struct census census;

RESULT census_open(uint64_t group, uint32_t sessions_max, struct census **census_out)
{
    (void)group;
    (void)sessions_max;
    *census_out = &census;
    return OK;
}

void census_close(struct census **c)
{
    *c = NULL;
}

uint32_t census_count(const struct census *c, uint64_t key)
{
    return key == 0 ? c->count : 0;
}

bool census_enter(struct census *c, uint64_t key, uint32_t *place_out)
{
    (void)key;
    *place_out = 0;
    c->count++;
    return true;
}

void census_leave(struct census *c, uint32_t place)
{
    (void)place;
    ASSERT(c->count > 0);
    c->count--;
}

/* --- TLS: a handshake is a pause and an outcome --- */

struct tls_context {
    int none;
};
struct tls {
    int none;
};

RESULT tls_context_client(struct tls_context **ctx_out)
{
    *ctx_out = world_take(sizeof **ctx_out);
    return OK;
}

RESULT tls_context_server(struct bytes certificate, struct bytes key, struct tls_context **ctx_out)
{
    (void)certificate;
    (void)key;
    return tls_context_client(ctx_out);
}

void tls_context_free(struct tls_context **ctx)
{
    free(*ctx);
    *ctx = NULL;
}

struct tls_context *tls_store_context(const struct tls_store *store)
{
    (void)store;
    return NULL; /* no certificate: our listeners do not offer STARTTLS */
}

RESULT tls_connect(struct tls_context *ctx, struct bytes name, struct tls **tls_out)
{
    (void)ctx;
    (void)name;
    *tls_out = world_take(sizeof **tls_out);
    return OK;
}

RESULT tls_accept(struct tls_context *ctx, struct tls **tls_out)
{
    return tls_connect(ctx, BYTES_NONE, tls_out);
}

void tls_free(struct tls **tls)
{
    free(*tls);
    *tls = NULL;
}

struct bytes tls_exporter(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    (void)tls;
    (void)room;
    return BYTES_NONE;
}

struct bytes tls_endpoint(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    return tls_exporter(tls, room);
}

struct bytes tls_version(const struct tls *tls)
{
    (void)tls;
    return BYTES("TLSv1.3");
}

struct bytes tls_cipher(const struct tls *tls)
{
    (void)tls;
    return BYTES("SIMULATED");
}

/* --- connections --- */

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
    struct conn_end peer, here;
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

    if (!c->lingering && !c->closing && !c->lost_due)
        conn_give(c, in);
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
    struct conn *c = conn_new(room, handler, owner);

    conn_ends_read(fd, &c->peer, &c->here);
    c->net = descriptors[fd - DESCRIPTOR_FIRST].near;
    descriptors[fd - DESCRIPTOR_FIRST].near = NULL;
    net_take(c->net, &conn_net_handler, c);
    *conn_out = c;
    return OK;
}

RESULT conn_dial(struct conn_room *room, const struct conn_dial *to, const struct conn_handler *handler, void *owner,
    struct conn **conn_out)
{
    int64_t after_ms = 0;
    enum dial_fate fate = edge_ports.dial_fate(to, &after_ms);
    struct dns_address address = {.family = to->ipv6 ? 6 : 4};

    if (fate == DIAL_NO_ROUTE)
        return FAIL_SYS(ENETUNREACH, "no way there");
    struct conn *c = conn_new(room, handler, owner);
    memcpy(address.octets, to->address, to->ipv6 ? 16 : 4);
    end_fill(&c->peer, &address, to->port);
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

const struct conn_end *conn_here(const struct conn *c)
{
    return &c->here;
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
    if (c->net != NULL)
        net_close(c->net, c->kept.size > 0);
    c->net = NULL;
    world_timer_set(&c->work, world.now_ms);
}

/* --- the resolver --- */

struct ask {
    struct ask *next;
    struct dns_edge *dns;
    uint64_t token, user;
    struct world_timer timer;
    struct dns_answer answer;
};

struct dns_edge {
    dns_edge_on_answer *on_answer;
    void *owner;
    struct ask *asks;
    uint64_t last_token;
};

RESULT dns_edge_new(struct loop *loop, const struct resolver_config *cfg, dns_edge_on_answer *on_answer, void *owner,
    struct dns_edge **dns_out)
{
    (void)loop;
    (void)cfg;
    *dns_out = world_take(sizeof **dns_out);
    (*dns_out)->on_answer = on_answer;
    (*dns_out)->owner = owner;
    return OK;
}

void dns_edge_cancel(struct dns_edge *dns, struct resolver_token token)
{
    for (struct ask **at = &dns->asks; *at != NULL; at = &(*at)->next)
        if ((*at)->token == token.value) {
            struct ask *gone = *at;
            *at = gone->next;
            world_timer_stop(&gone->timer);
            free(gone);
            return;
        }
}

void dns_edge_free(struct dns_edge **dns)
{
    if (*dns == NULL)
        return;
    while ((*dns)->asks != NULL)
        dns_edge_cancel(*dns, (struct resolver_token){(*dns)->asks->token});
    free(*dns);
    *dns = NULL;
}

static void on_answer_due(void *ctx)
{
    struct ask *ask = ctx;
    struct dns_edge *dns = ask->dns;
    struct ask **at = &dns->asks;

    while (*at != ask)
        at = &(*at)->next;
    *at = ask->next;
    dns->on_answer(dns->owner, ask->user, (struct resolver_token){ask->token}, &ask->answer);
    free(ask);
}

RESULT dns_edge_ask(
    struct dns_edge *dns, struct bytes name, enum dns_type type, uint64_t user, struct resolver_token *token_out)
{
    int64_t after_ms = 0;

    if (!bytes_starts(name, BYTES("steady")) && !bytes_starts(name, BYTES("store")) && world_chance(2)) {
        world_fault(FAULT_DNS_TEMPORARY);
        return FAIL(CODE_FULL, "too many questions are open");
    }
    struct ask *ask = world_take(sizeof *ask);
    *ask = (struct ask){.next = dns->asks, .dns = dns, .token = ++dns->last_token, .user = user};
    ask->timer = (struct world_timer){.fn = on_answer_due, .ctx = ask};
    dns->asks = ask;
    edge_ports.dns(name, type, &ask->answer, &after_ms);
    world_timer_set(&ask->timer, world.now_ms + after_ms);
    token_out->value = ask->token;
    return OK;
}
