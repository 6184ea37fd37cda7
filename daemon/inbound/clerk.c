#include "daemon/inbound/clerk.h"

struct clerk {
    struct loop *loop;
    clerk_answered *answered;
    struct channel *channel; /* NULL: there is no auth */
    uint32_t generation; /* counts the channels: another one is another auth, which knows of no exchange under way */
    struct clerk_seat *waiting;
    clerk_banned *banned; /* NULL: nobody wants to know */
    void *banned_context;
};

static void seat_take_off(struct clerk_seat *seat)
{
    if (seat->link == NULL)
        return;
    *seat->link = seat->next;
    if (seat->next != NULL)
        seat->next->link = seat->link;
    seat->next = NULL;
    seat->link = NULL;
}

static void all_busy(struct clerk *c)
{
    while (c->waiting != NULL) {
        struct clerk_seat *seat = c->waiting;
        seat_take_off(seat);
        seat->known = false;
        c->answered(seat->owner, AUTH_BUSY, BYTES_NONE);
    }
}

static void on_message(void *ctx, const struct msg *m)
{
    struct clerk *c = ctx;

    if (m->kind == MSG_ban_made && c->banned != NULL)
        c->banned(c->banned_context, &m->ban_made);
    if (m->kind != MSG_auth_answer)
        return;
    for (struct clerk_seat *seat = c->waiting; seat != NULL; seat = seat->next) {
        if (seat->session != m->auth_answer.session)
            continue;
        seat_take_off(seat);
        seat->known = m->auth_answer.outcome == AUTH_CHALLENGE;
        c->answered(seat->owner, m->auth_answer.outcome, m->auth_answer.text);
        return;
    }
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct clerk *c = ctx;

    (void)why; /* the channel has logged it; the supervisor brings a new one */
    channel_free(&c->channel);
    all_busy(c);
}

static const struct channel_handlers HANDLERS = {.on_message = on_message, .on_closed = on_closed};

struct clerk *clerk_new(struct loop *loop, clerk_answered *answered)
{
    struct clerk *c = mem_take_zero(sizeof *c);

    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->answered = answered;
    return c;
}

void clerk_on_banned(struct clerk *c, clerk_banned *banned, void *context)
{
    c->banned = banned;
    c->banned_context = context;
}

void clerk_ban(struct clerk *c, uint64_t block, uint64_t for_ms, uint32_t count)
{
    if (c->channel != NULL)
        channel_send(c->channel,
            &(struct msg){.kind = MSG_ban_tell, .ban_tell = {.block = block, .for_ms = for_ms, .count = count}});
}

void clerk_free(struct clerk **clerk)
{
    if (*clerk == NULL)
        return;
    channel_free(&(*clerk)->channel);
    mem_free(*clerk);
    *clerk = NULL;
}

void clerk_channel(struct clerk *c, int fd)
{
    channel_free(&c->channel);
    all_busy(c);
    c->generation++;
    c->channel = channel_new(c->loop, fd, ROLE_INBOUND, ROLE_AUTH, &HANDLERS, c);
}

void clerk_ask(struct clerk *c, struct clerk_seat *seat, const struct msg_auth_ask *question)
{
    struct msg m = {.kind = MSG_auth_ask, .auth_ask = *question};

    bool goes_on = question->mechanism.size == 0;

    ASSERT(seat->link == NULL);
    /* RFC 4954 section 4: 454 for a client that did nothing wrong and is to begin anew. */
    if (c->channel == NULL || (goes_on && seat->generation != c->generation)) {
        seat->known = false;
        c->answered(seat->owner, AUTH_BUSY, BYTES_NONE);
        return;
    }
    m.auth_ask.session = seat->session;
    channel_send(c->channel, &m);
    seat->known = true;
    seat->generation = c->generation;
    seat->next = c->waiting;
    seat->link = &c->waiting;
    if (seat->next != NULL)
        seat->next->link = &seat->next;
    c->waiting = seat;
}

void clerk_leave(struct clerk *c, struct clerk_seat *seat)
{
    struct msg m = {.kind = MSG_auth_forget, .auth_forget = {.session = seat->session}};

    seat_take_off(seat);
    if (seat->known && seat->generation == c->generation && c->channel != NULL)
        channel_send(c->channel, &m);
    seat->known = false;
}
