/* auth: the process that judges logins: exchanges by daemon/auth/exchange.h, users of login.h. */
#include "daemon/auth/exchange.h"
#include "tests/sim/lib/house_parts.h"
#include "tests/sim/lib/login.h"

struct auth_seat {
    struct auth_seat *next;
    struct auth_process *auth;
    unsigned inbound;
    uint64_t session;
    struct exchange x;
    struct world_timer hash; /* a password is being judged */
};

static void seat_free(struct auth_seat *seat)
{
    struct auth_seat **link = &seat->auth->seats;

    while (*link != seat)
        link = &(*link)->next;
    *link = seat->next;
    world_timer_stop(&seat->hash);
    exchange_wipe(&seat->x);
    free(seat);
}

static struct auth_seat *seat_find(struct auth_process *p, unsigned inbound, uint64_t session)
{
    struct auth_seat *seat = p->seats;

    while (seat != NULL && (seat->inbound != inbound || seat->session != session))
        seat = seat->next;
    return seat;
}

static void answer(
    struct auth_process *p, unsigned inbound, uint64_t session, enum auth_outcome outcome, struct bytes text)
{
    if (p->inbound[inbound] != NULL)
        channel_send(p->inbound[inbound], &(struct msg){.kind = MSG_auth_answer,
                                              .auth_answer = {.session = session, .outcome = outcome, .text = text}});
}

static void seat_end(struct auth_seat *seat, enum auth_outcome outcome, struct bytes text)
{
    answer(seat->auth, seat->inbound, seat->session, outcome, text);
    seat_free(seat);
}

static void on_hash(void *ctx)
{
    struct auth_seat *seat = ctx;
    struct bytes name = buf_bytes(&seat->x.name);
    const char *password = login_password(name);
    bool good = password != NULL && bytes_equal(bytes_of(password), buf_bytes(&seat->x.password));

    seat_end(seat, good ? AUTH_GOOD : AUTH_BAD, good ? name : BYTES_NONE);
}

static enum exchange_step keys_give(struct auth_seat *seat)
{
    static const uint8_t secret[DIGEST_SIZE] = "the same for as long as it lives";
    struct bytes name = buf_bytes(&seat->x.name);
    struct scram_keys keys;

    if (!login_keys(name, &keys))
        scram_keys_pretend((struct bytes){secret, sizeof secret}, name, &keys);
    return exchange_keys(&seat->x, &keys);
}

static void seat_step(struct auth_seat *seat, enum exchange_step step)
{
    if (step == EXCHANGE_KEYS)
        step = keys_give(seat);
    switch (step) {
    case EXCHANGE_CHALLENGE:
        answer(seat->auth, seat->inbound, seat->session, AUTH_CHALLENGE, exchange_text(&seat->x));
        break;
    case EXCHANGE_PASSWORD:
        world_timer_set(&seat->hash, world.now_ms + world_between(10, 400));
        break;
    case EXCHANGE_GOOD:
        seat_end(seat, AUTH_GOOD, buf_bytes(&seat->x.name));
        break;
    case EXCHANGE_BAD:
        seat_end(seat, AUTH_BAD, BYTES_NONE);
        break;
    default:
        seat_end(seat, AUTH_MALFORMED, BYTES_NONE);
        break;
    }
}

static struct auth_seat *seat_new(struct auth_process *p, unsigned inbound, const struct msg_auth_ask *ask)
{
    struct auth_seat *seat = world_take(sizeof *seat);
    char nonce[24];

    (void)snprintf(nonce, sizeof nonce, "s%08x", (unsigned)world_below(UINT32_MAX));
    *seat = (struct auth_seat){.next = p->seats, .auth = p, .inbound = inbound, .session = ask->session};
    seat->hash = (struct world_timer){.fn = on_hash, .ctx = seat};
    p->seats = seat;
    if (is_ok(exchange_init(&seat->x, ask->mechanism, ask->plus_offered, bytes_of(nonce))))
        return seat;
    seat_free(seat);
    return NULL;
}

static void on_message(void *ctx, const struct msg *m)
{
    struct auth_process *p = &house.auth;
    unsigned inbound = (unsigned)((struct channel **)ctx - p->inbound);

    if (m->kind == MSG_auth_forget) {
        struct auth_seat *gone = seat_find(p, inbound, m->auth_forget.session);
        if (gone != NULL)
            seat_free(gone);
    }
    if (m->kind != MSG_auth_ask)
        return;
    const struct msg_auth_ask *ask = &m->auth_ask;
    struct auth_seat *seat = seat_find(p, inbound, ask->session);
    struct scram_bindings bindings = {ask->exporter, ask->endpoint};
    if (seat != NULL && ask->mechanism.size > 0) {
        seat_free(seat);
        seat = NULL;
    }
    if (seat == NULL && ask->mechanism.size > 0)
        seat = seat_new(p, inbound, ask);
    if (seat == NULL)
        answer(p, inbound, ask->session, AUTH_MALFORMED, BYTES_NONE);
    else
        seat_step(seat, exchange_feed(&seat->x, ask->response, ask->has_response, &bindings));
}

/* Logins that come from an inbound that is gone. */
static void seats_drop(struct auth_process *p, unsigned inbound)
{
    for (struct auth_seat *seat = p->seats, *next; seat != NULL; seat = next) {
        next = seat->next;
        if (seat->inbound == inbound)
            seat_free(seat);
    }
}

static void on_gone(void *ctx, enum channel_end why)
{
    (void)why;
    seats_drop(&house.auth, (unsigned)((struct channel **)ctx - house.auth.inbound));
    channel_free(ctx);
}

static const struct channel_handlers auth_handlers = {.on_message = on_message, .on_closed = on_gone};

void house_auth_meet(struct inbound_process *at)
{
    struct auth_process *p = &house.auth;
    unsigned i = (unsigned)(at - house.inbound);

    if (!p->up || !at->up)
        return;
    seats_drop(p, i);
    channel_free(&p->inbound[i]);
    struct result r = channel_pair(p->fds[i]);
    ASSERT(is_ok(r));
    p->inbound[i] = channel_new(p->loop, p->fds[i][1], ROLE_AUTH, ROLE_INBOUND, &auth_handlers, &p->inbound[i]);
    clerk_channel(at->in.clerk, p->fds[i][0]);
}

static void on_restart(void *ctx)
{
    house_auth_start(ctx);
}

void house_auth_start(struct auth_process *p)
{
    *p = (struct auth_process){.restart = {.fn = on_restart, .ctx = p}, .up = true, .loop = loop_new()};
    for (unsigned i = 0; i < HOUSE_INBOUND; i++)
        house_auth_meet(&house.inbound[i]);
}

void house_kill_auth(void)
{
    struct auth_process *p = &house.auth;

    if (!p->up)
        return;
    world_say("auth dies");
    p->up = false;
    house.last_down_ms = world.now_ms;
    for (unsigned i = 0; i < HOUSE_INBOUND; i++) {
        seats_drop(p, i);
        if (p->inbound[i] != NULL)
            edge_channel_die(p->fds[i][1]);
        channel_free(&p->inbound[i]);
    }
    loop_free(&p->loop);
    world_timer_set(&p->restart, world.now_ms + world_between(50, 5000));
}
