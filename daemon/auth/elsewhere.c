/* Questions stand in a fixed table; a number is a slot and how often it was used, so an answer that comes too late finds nobody.
 * (E1) A question is sent when the other end is there and ready; what it was made of is wiped then.
 * (E2) When the other end goes away, all that it was asked is answered PASSWORD_LATER: whether it counted them is not known. */
#include "daemon/auth/elsewhere.h"

#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/conn.h"

enum { GRACE_MS = 1000, GENERATION_MAX = 0xffffff };

struct pending {
    struct elsewhere *owner;
    void *asker; /* NULL: the slot is free */
    uint32_t generation;
    bool sent;
    struct loop_timer timer;
    struct dovecot_question question; /* views into the rooms; until it is sent */
    uint8_t name[ACCOUNT_NAME_SIZE_MAX], password[PASSWORD_SIZE_MAX], client[CONN_TEXT_SIZE_MAX];
};

struct elsewhere {
    struct loop *loop;
    const struct config *cfg;
    elsewhere_answered *answered;
    struct channel *channel; /* to pam; NULL: not there */
    struct conn_room *room;  /* for Dovecot */
    struct conn *conn;       /* NULL: not dialled */
    struct dovecot dovecot;
    struct buf line;
    uint8_t line_room[DOVECOT_LINE_SIZE_MAX];
    struct pending pending[ELSEWHERE_PENDING_MAX];
};

static void failed_tell(const struct elsewhere *e, const char *why)
{
    LOG(PASSWORDS_FAILED, LOG_STR("source", e->room != NULL ? "dovecot" : "pam"), LOG_STR("why", why));
}

static uint32_t number_of(const struct pending *p)
{
    return (p->generation << 8 | (uint32_t)(p - p->owner->pending)) + 1;
}

static void pending_end(struct pending *p, enum password_verdict verdict, struct bytes name)
{
    struct elsewhere *e = p->owner;
    void *asker = p->asker;

    loop_timer_stop(e->loop, &p->timer);
    explicit_bzero(p->password, sizeof p->password);
    p->asker = NULL;
    p->generation = (p->generation + 1) % GENERATION_MAX;
    e->answered(asker, verdict, name);
}

static void number_end(struct elsewhere *e, uint64_t number, enum password_verdict verdict, struct bytes name)
{
    struct pending *p = &e->pending[(number - 1) % ELSEWHERE_PENDING_MAX];

    if (number > 0 && p->asker != NULL && p->sent && number_of(p) == number)
        pending_end(p, verdict, name);
}

/* (E2) */
static void all_later(struct elsewhere *e)
{
    for (size_t i = 0; i < ELSEWHERE_PENDING_MAX; i++)
        if (e->pending[i].asker != NULL)
            pending_end(&e->pending[i], PASSWORD_LATER, BYTES_NONE);
}

static void on_late(void *ctx)
{
    struct pending *p = ctx;

    failed_tell(p->owner, "no answer in time");
    pending_end(p, PASSWORD_LATER, BYTES_NONE);
}

static void pending_send(struct pending *p)
{
    struct elsewhere *e = p->owner;
    uint8_t room[DOVECOT_ASK_SIZE_MAX];
    struct buf out = BUF(room);

    p->sent = true;
    p->question.number = number_of(p);
    if (e->room == NULL) {
        channel_send(e->channel, &(struct msg){.kind = MSG_password_ask,
                                     .password_ask = {.number = p->question.number,
                                         .name = p->question.name,
                                         .password = p->question.password,
                                         .client = p->question.client}});
    } else {
        struct result r = dovecot_ask(&p->question, &out);
        ASSERT(is_ok(r)); /* its room holds the longest of all parts */
        conn_write(e->conn, buf_bytes(&out));
        explicit_bzero(room, sizeof room);
    }
    explicit_bzero(p->password, sizeof p->password); /* (E1) */
}

static void pending_send_all(struct elsewhere *e)
{
    for (size_t i = 0; i < ELSEWHERE_PENDING_MAX; i++)
        if (e->pending[i].asker != NULL && !e->pending[i].sent)
            pending_send(&e->pending[i]);
}

/* --- pam --- */

static void on_message(void *ctx, const struct msg *m)
{
    if (m->kind == MSG_password_answer)
        number_end(ctx, m->password_answer.number, m->password_answer.verdict, BYTES_NONE);
}

static void on_channel_closed(void *ctx, enum channel_end why)
{
    struct elsewhere *e = ctx;

    (void)why; /* the channel has logged it; the supervisor brings a new one */
    channel_free(&e->channel);
    all_later(e);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_channel_closed};

void elsewhere_channel(struct elsewhere *e, int fd)
{
    channel_free(&e->channel);
    all_later(e);
    e->channel = channel_new(e->loop, fd, ROLE_AUTH, ROLE_PAM, &CHANNEL_HANDLERS, e);
}

/* --- Dovecot --- */

static void conn_drop(struct elsewhere *e, const char *why)
{
    failed_tell(e, why);
    if (e->conn != NULL)
        conn_close(e->conn);
    e->conn = NULL;
    all_later(e);
}

static void conn_opened(void *owner, struct conn *c)
{
    struct elsewhere *e = owner;
    uint8_t room[64];
    struct buf out = BUF(room);
    struct result r = dovecot_greet((uint64_t)getpid(), &out);

    ASSERT(is_ok(r));
    if (e->conn == c)
        conn_write(c, buf_bytes(&out));
}

/* False: the connection is gone. */
static bool line_take(struct elsewhere *e)
{
    struct dovecot_answer answer;
    bool was_ready = e->dovecot.ready;
    struct result r = dovecot_read(&e->dovecot, buf_bytes(&e->line), &answer);

    buf_reset(&e->line);
    if (is_ok(r))
        number_end(e, answer.number, answer.verdict, buf_bytes(&answer.name));
    else if (r.code != CODE_MORE)
        conn_drop(e, r.why);
    else if (e->dovecot.ready && !was_ready)
        pending_send_all(e);
    return e->conn != NULL;
}

static size_t conn_input(void *owner, struct conn *c, struct bytes in)
{
    struct elsewhere *e = owner;

    for (size_t i = 0; i < in.size && e->conn == c; i++) {
        if (in.data[i] == '\n') {
            if (!line_take(e))
                break;
        } else if (!is_ok(buf_put_octet(&e->line, in.data[i]))) {
            conn_drop(e, "a line that is too long");
        }
    }
    return in.size;
}

static void conn_input_end(void *owner, struct conn *c)
{
    struct elsewhere *e = owner;

    if (e->conn == c)
        conn_drop(e, "the connection was closed");
}

static void conn_lost(void *owner, struct conn *c, struct result why)
{
    struct elsewhere *e = owner;

    if (e->conn != c)
        return;
    e->conn = NULL; /* it closes by itself */
    conn_drop(e, why.sys != 0 ? strerrordesc_np(why.sys) : why.why);
}

static void conn_closed(void *owner, struct conn *c)
{
    (void)owner;
    (void)c;
}

static const struct conn_handler CONN_HANDLER = {
    .opened = conn_opened,
    .input = conn_input,
    .input_end = conn_input_end,
    .lost = conn_lost,
    .closed = conn_closed,
};

static bool dovecot_dial(struct elsewhere *e)
{
    struct conn_dial to = {.local = true,
        .path = e->cfg->auth.passwords_at,
        .deadline = instant_after(loop_now(e->loop), e->cfg->auth.password_time)};

    e->dovecot = (struct dovecot){.ready = false};
    e->line = BUF(e->line_room);
    struct result r = conn_dial(e->room, &to, &CONN_HANDLER, e, &e->conn);
    if (is_ok(r))
        return true;
    e->conn = NULL;
    failed_tell(e, r.sys != 0 ? strerrordesc_np(r.sys) : r.why);
    return false;
}

/* --- both --- */

struct elsewhere *elsewhere_new(struct loop *loop, const struct config *cfg, elsewhere_answered *answered)
{
    struct elsewhere *e = mem_take_zero(sizeof *e);

    if (e == NULL)
        return NULL;
    e->loop = loop;
    e->cfg = cfg;
    e->answered = answered;
    if (cfg->auth.passwords == PASSWORDS_DOVECOT && !is_ok(conn_room_new(loop, &e->room))) {
        mem_free(e);
        return NULL;
    }
    return e;
}

void elsewhere_free(struct elsewhere **elsewhere)
{
    struct elsewhere *e = *elsewhere;

    if (e == NULL)
        return;
    *elsewhere = NULL;
    for (size_t i = 0; i < ELSEWHERE_PENDING_MAX; i++)
        loop_timer_stop(e->loop, &e->pending[i].timer);
    channel_free(&e->channel);
    if (e->room != NULL) {
        conn_room_close_all(e->room);
        while (conn_room_count(e->room) > 0)
            loop_turn(e->loop, true);
        conn_room_free(&e->room);
    }
    explicit_bzero(e, sizeof *e);
    mem_free(e);
}

static struct bytes keep(uint8_t *room, struct bytes in)
{
    memcpy(room, in.data, in.size);
    return (struct bytes){room, in.size};
}

bool elsewhere_ask(struct elsewhere *e, const struct dovecot_question *question, void *owner)
{
    struct pending *p = e->pending;
    bool ready;

    ASSERT(question->name.size <= sizeof p->name && question->password.size <= sizeof p->password);
    while (p < e->pending + ELSEWHERE_PENDING_MAX && p->asker != NULL)
        p++;
    if (p == e->pending + ELSEWHERE_PENDING_MAX || (e->room == NULL && e->channel == NULL) ||
        (e->room != NULL && e->conn == NULL && !dovecot_dial(e)))
        return false;
    p->owner = e;
    p->asker = owner;
    p->sent = false;
    p->question = *question;
    p->question.name = keep(p->name, question->name);
    p->question.password = keep(p->password, question->password);
    p->question.client = keep(p->client, bytes_head(question->client, sizeof p->client));
    p->timer = (struct loop_timer){.fn = on_late, .ctx = p};
    loop_timer_set(e->loop, &p->timer, instant_after(loop_now(e->loop), e->cfg->auth.password_time + GRACE_MS));
    ready = e->room == NULL || e->dovecot.ready;
    if (ready)
        pending_send(p);
    return true;
}
