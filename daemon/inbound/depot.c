/* Design. Open transactions stand in a hash by id. Body octets of one session's turn gather in one stage for the process, so
 * that a message that came line by line does not become a frame a line.
 * (D1) `begun` is false until the first recipient: a transaction without one costs queued nothing.
 * (D2) A transaction leaves the table exactly once: done, aborted, or the channel lost while it was committing. */
#include "daemon/inbound/depot.h"

#include "daemon/base/log.h"

enum {
    IDS_STOCK = 2048,
    IDS_LOW = 1024, /* ask for more below it: a commit's time of a fast client's messages */
    IDS_RANGES_MAX = 16,
    TX_BUCKETS = 1024,
};

struct depot_tx {
    struct depot *depot;
    void *owner;           /* NULL: detached */
    struct depot_tx *next; /* in its bucket, or among the spare */
    struct envelope_head head;
    struct buf text; /* what head's views point into */
    uint64_t ahead;  /* body octets sent and not yet credited */
    bool begun, committing, failed, starved;
    enum tx_outcome failed_outcome;
    struct bytes failed_reply;
    uint8_t room[ADDRESS_SIZE_MAX + ENVID_SIZE_MAX + HELO_SIZE_MAX + LOCAL_PART_SIZE_MAX + DEPOT_CLIENT_SIZE_MAX +
                 DISPLAY_FIELD_SIZE_MAX];
};

struct depot {
    struct loop *loop;
    const struct depot_handlers *handlers;
    void *context;
    struct channel *channel;
    struct {
        uint64_t first;
        uint32_t count;
    } ids[IDS_RANGES_MAX];
    size_t id_range_count;
    uint32_t id_count, id_asked;
    bool closed; /* queued takes no new mail */
    struct buf closed_reply;
    struct depot_tx *buckets[TX_BUCKETS];
    struct depot_tx *spare;
    size_t spare_count, tx_count;
    struct depot_tx *staged;
    struct buf stage;
    uint8_t closed_room[512];
    uint8_t stage_room[BODY_FRAME_SIZE_MAX];
};

/* --- the table --- */

static struct depot_tx **tx_bucket(struct depot *d, struct message_id id)
{
    return &d->buckets[id.value % TX_BUCKETS];
}

static struct depot_tx *tx_find(struct depot *d, struct message_id id)
{
    struct depot_tx *tx = *tx_bucket(d, id);

    while (tx != NULL && !message_id_equal(tx->head.id, id))
        tx = tx->next;
    return tx;
}

static void tx_forget(struct depot_tx *tx)
{
    struct depot *d = tx->depot;
    struct depot_tx **at = tx_bucket(d, tx->head.id);

    while (*at != tx)
        at = &(*at)->next;
    *at = tx->next;
    d->tx_count--;
    if (d->staged == tx) {
        d->staged = NULL;
        buf_reset(&d->stage);
    }
}

static void tx_release(struct depot_tx *tx)
{
    struct depot *d = tx->depot;

    if (d->spare_count >= 64) {
        mem_free(tx);
        return;
    }
    tx->next = d->spare;
    d->spare = tx;
    d->spare_count++;
}

/* The end of a transaction that was committed. */
static void tx_done(struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply)
{
    struct depot *d = tx->depot;

    tx_forget(tx);
    d->handlers->done(tx->owner, tx, outcome, reply);
    tx_release(tx);
}

/* --- ids --- */

static void ids_ask(struct depot *d)
{
    uint32_t count = IDS_STOCK - d->id_count;

    if (d->channel == NULL || d->id_asked > 0 || d->id_count >= IDS_LOW)
        return;
    d->id_asked = count;
    channel_send(d->channel, &(struct msg){.kind = MSG_ids_want, .ids_want = {.count = count}});
}

static void ids_add(struct depot *d, uint64_t first, uint32_t count)
{
    d->id_asked = 0;
    if (count == 0 || first == 0 || d->id_range_count == IDS_RANGES_MAX)
        return;
    d->ids[d->id_range_count].first = first;
    d->ids[d->id_range_count].count = count;
    d->id_range_count++;
    d->id_count += count;
    ids_ask(d);
    if (d->id_count == count)
        d->handlers->stocked(d->context);
}

static bool id_take(struct depot *d, struct message_id *id_out)
{
    if (d->id_count == 0)
        return false;
    id_out->value = d->ids[0].first++;
    d->id_count--;
    if (--d->ids[0].count == 0)
        memmove(&d->ids[0], &d->ids[1], --d->id_range_count * sizeof d->ids[0]);
    ids_ask(d);
    return true;
}

/* --- the channel --- */

static void on_done_message(struct depot *d, const struct msg *m)
{
    struct depot_tx *tx = tx_find(d, m->tx_done.id);

    if (tx == NULL) {
        LOG(FRAME_STALE, LOG_STR("frame", "tx_done"), LOG_MSG("id", m->tx_done.id));
        return;
    }
    if (tx->committing) {
        tx_done(tx, m->tx_done.outcome, m->tx_done.reply);
        return;
    }
    /* Refused before its end: what still comes is thrown away and the reply waits for it (CONTRACT: after the end of data). */
    tx->failed = true;
    tx->failed_outcome = m->tx_done.outcome;
    if (tx->starved && tx->owner != NULL) {
        tx->starved = false;
        d->handlers->credit(tx->owner);
    }
}

static void on_message(void *ctx, const struct msg *m)
{
    struct depot *d = ctx;
    struct depot_tx *tx;

    switch (m->kind) {
    case MSG_ids_grant:
        ids_add(d, m->ids_grant.first, m->ids_grant.count);
        break;
    case MSG_tx_credit:
        tx = tx_find(d, m->tx_credit.id);
        if (tx == NULL)
            break; /* aborted meanwhile: ordinary */
        tx->ahead = m->tx_credit.size < tx->ahead ? tx->ahead - m->tx_credit.size : 0;
        if (tx->starved && depot_tx_allowance(tx) > 0) {
            tx->starved = false;
            if (tx->owner != NULL)
                d->handlers->credit(tx->owner);
        }
        break;
    case MSG_tx_done:
        on_done_message(d, m);
        break;
    case MSG_ban_set:
        if (d->handlers->banned != NULL)
            d->handlers->banned(d->context, &m->ban_set);
        break;
    case MSG_admission:
        d->closed = !m->admission.accepting;
        buf_reset(&d->closed_reply);
        if (!is_ok(buf_put(&d->closed_reply, m->admission.reply)))
            buf_reset(&d->closed_reply);
        break;
    default:
        break; /* the codec lets nothing else through */
    }
}

static void on_drained(void *ctx)
{
    struct depot *d = ctx;

    for (size_t i = 0; i < TX_BUCKETS; i++) {
        struct depot_tx *next;

        for (struct depot_tx *tx = d->buckets[i]; tx != NULL; tx = next) {
            next = tx->next; /* the session may end its own transaction, never another's */
            if (tx->starved && tx->owner != NULL && depot_tx_allowance(tx) > 0)
                d->handlers->credit(tx->owner);
        }
    }
}

/* queued is gone: nobody must wait for it. */
static void on_closed(void *ctx, enum channel_end why)
{
    struct depot *d = ctx;

    (void)why; /* the channel has logged it */
    channel_free(&d->channel);
    d->id_count = d->id_asked = 0;
    d->id_range_count = 0;
    d->closed = false;
    if (d->handlers->lost != NULL)
        d->handlers->lost(d->context);
    for (size_t i = 0; i < TX_BUCKETS; i++) {
        struct depot_tx *tx = d->buckets[i], *next;

        for (; tx != NULL; tx = next) {
            next = tx->next;
            if (tx->committing) {
                tx_done(tx, TX_TRY_LATER, BYTES_NONE);
                continue;
            }
            tx->failed = true;
            tx->failed_outcome = TX_TRY_LATER;
            if (tx->starved && tx->owner != NULL) {
                tx->starved = false;
                d->handlers->credit(tx->owner);
            }
        }
    }
}

static const struct channel_handlers CHANNEL_HANDLERS = {
    .on_message = on_message, .on_closed = on_closed, .on_drained = on_drained};

void depot_channel(struct depot *d, int fd)
{
    if (d->channel != NULL)
        on_closed(d, CHANNEL_END_PEER);
    d->channel = channel_new(d->loop, fd, ROLE_INBOUND, ROLE_QUEUED, &CHANNEL_HANDLERS, d);
    ids_ask(d);
}

void depot_say(struct depot *d, const struct msg *m)
{
    if (d->channel != NULL)
        channel_send(d->channel, m);
}

bool depot_is_stocked(const struct depot *d)
{
    return d->channel != NULL && d->id_count > 0;
}

bool depot_congested(const struct depot *d)
{
    return d->channel != NULL && channel_congested(d->channel);
}

struct depot *depot_new(struct loop *loop, const struct depot_handlers *handlers, void *context)
{
    struct depot *d = mem_take_zero(sizeof *d);

    if (d == NULL)
        return NULL;
    d->loop = loop;
    d->handlers = handlers;
    d->context = context;
    buf_init(&d->stage, d->stage_room, sizeof d->stage_room);
    buf_init(&d->closed_reply, d->closed_room, sizeof d->closed_room);
    return d;
}

void depot_free(struct depot **depot)
{
    struct depot *d = *depot;

    if (d == NULL)
        return;
    channel_free(&d->channel);
    for (size_t i = 0; i < TX_BUCKETS; i++)
        while (d->buckets[i] != NULL) {
            struct depot_tx *tx = d->buckets[i];

            d->buckets[i] = tx->next;
            mem_free(tx);
        }
    while (d->spare != NULL) {
        struct depot_tx *tx = d->spare;

        d->spare = tx->next;
        mem_free(tx);
    }
    mem_free(d);
    *depot = NULL;
}

size_t depot_tx_count(const struct depot *d)
{
    return d->tx_count;
}

/* --- transactions --- */

/* A copy in the transaction's own room, whose size is the sum of the bounds that the session keeps to. */
static struct bytes tx_keep(struct depot_tx *tx, struct bytes in)
{
    size_t before = tx->text.size;

    if (!is_ok(buf_put(&tx->text, in)))
        return BYTES_NONE;
    return bytes_after(buf_bytes(&tx->text), before);
}

struct depot_tx *depot_tx_open(struct depot *d, void *owner, const struct envelope_head *head,
    enum depot_refusal *refusal_out, struct bytes *reply_out)
{
    struct depot_tx *tx;
    struct message_id id;

    *reply_out = BYTES_NONE;
    *refusal_out = d->channel == NULL ? DEPOT_NO_QUEUE : d->closed ? DEPOT_NOT_ADMITTING : DEPOT_NO_IDS;
    if (*refusal_out == DEPOT_NOT_ADMITTING)
        *reply_out = buf_bytes(&d->closed_reply);
    if (*refusal_out != DEPOT_NO_IDS || !id_take(d, &id))
        return NULL;
    tx = d->spare;
    if (tx != NULL) {
        d->spare = tx->next;
        d->spare_count--;
    } else if ((tx = mem_take(sizeof *tx)) == NULL) {
        *refusal_out = DEPOT_NO_QUEUE;
        return NULL;
    }
    memset(tx, 0, offsetof(struct depot_tx, room));
    tx->depot = d;
    tx->owner = owner;
    buf_init(&tx->text, tx->room, sizeof tx->room);
    tx->head = *head;
    tx->head.id = id;
    tx->head.rcpt_count = 0;
    tx->head.reverse_path = tx_keep(tx, head->reverse_path);
    tx->head.envid = tx_keep(tx, head->envid);
    tx->head.helo = tx_keep(tx, head->helo);
    tx->head.login = tx_keep(tx, head->login);
    tx->head.client = tx_keep(tx, head->client);
    tx->next = *tx_bucket(d, id);
    *tx_bucket(d, id) = tx;
    d->tx_count++;
    *refusal_out = DEPOT_OPEN;
    return tx;
}

struct message_id depot_tx_id(const struct depot_tx *tx)
{
    return tx->head.id;
}

const struct envelope_head *depot_tx_head(const struct depot_tx *tx)
{
    return &tx->head;
}

static void tx_send(struct depot_tx *tx, const struct msg *m)
{
    if (!tx->failed && tx->depot->channel != NULL)
        channel_send(tx->depot->channel, m);
}

/* queued can do nothing with a transaction before its commit: until then it need not be woken for each piece. */
static void tx_send_later(struct depot_tx *tx, const struct msg *m)
{
    if (!tx->failed && tx->depot->channel != NULL)
        channel_send_later(tx->depot->channel, m);
}

void depot_tx_rcpt(struct depot_tx *tx, const struct recipient *rcpt)
{
    struct msg m = {.kind = MSG_tx_rcpt};

    if (!tx->begun) { /* (D1) */
        tx->begun = true;
        tx_send_later(tx, &(struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = tx->head.id}});
    }
    m.tx_rcpt.id = tx->head.id;
    m.tx_rcpt.rcpt = *rcpt;
    m.tx_rcpt.rcpt.n = tx->head.rcpt_count++;
    tx_send_later(tx, &m);
}

void depot_stage_flush(struct depot *d)
{
    struct depot_tx *tx = d->staged;
    struct msg m = {.kind = MSG_tx_body};

    if (tx == NULL || d->stage.size == 0)
        return;
    m.tx_body.id = tx->head.id;
    m.tx_body.body = buf_bytes(&d->stage);
    tx_send_later(tx, &m);
    d->staged = NULL;
    buf_reset(&d->stage);
}

void depot_tx_body(struct depot_tx *tx, struct bytes body)
{
    struct depot *d = tx->depot;

    if (tx->failed)
        return;
    tx->ahead += body.size;
    if (d->staged != tx) {
        depot_stage_flush(d);
        d->staged = tx;
    }
    while (body.size > 0) {
        struct bytes piece = bytes_head(body, buf_left(&d->stage));

        if (piece.size > 0 && !is_ok(buf_put(&d->stage, piece)))
            return; /* cannot be: the piece was cut to fit */
        body = bytes_after(body, piece.size);
        if (buf_left(&d->stage) == 0) {
            depot_stage_flush(d);
            d->staged = tx;
        }
    }
}

static void tx_commit(struct depot_tx *tx, const struct envelope_head *display, bool joined)
{
    struct msg m = {.kind = MSG_tx_commit};

    depot_stage_flush(tx->depot);
    tx->head.body_size = display->body_size;
    tx->head.flags |= display->flags;
    tx->head.message_id = tx_keep(tx, display->message_id);
    if (tx->failed) {
        tx_done(tx, tx->failed_outcome, BYTES_NONE);
        return;
    }
    tx->committing = true;
    m.tx_commit.id = tx->head.id;
    m.tx_commit.head = tx->head;
    m.tx_commit.joined = joined;
    m.tx_commit.head.subject = display->subject;
    tx_send(tx, &m);
}

void depot_tx_commit(struct depot_tx *tx, const struct envelope_head *display)
{
    tx_commit(tx, display, false);
}

void depot_tx_commit_joined(struct depot_tx *tx, const struct envelope_head *display)
{
    ASSERT(!tx->failed); /* or the next would wait for company that never comes */
    tx_commit(tx, display, true);
}

bool depot_tx_has_failed(const struct depot_tx *tx)
{
    return tx->failed;
}

void depot_tx_abort(struct depot_tx **tx)
{
    struct depot_tx *t = *tx;

    *tx = NULL;
    if (t == NULL)
        return;
    ASSERT(!t->committing);
    tx_forget(t);
    if (t->begun)
        tx_send(t, &(struct msg){.kind = MSG_tx_abort, .tx_abort = {.id = t->head.id}});
    tx_release(t);
}

void depot_tx_leave(struct depot_tx **tx)
{
    if (*tx != NULL && (*tx)->committing) {
        (*tx)->owner = NULL;
        *tx = NULL;
        return;
    }
    depot_tx_abort(tx);
}

size_t depot_tx_allowance(struct depot_tx *tx)
{
    bool dry = !tx->failed && (tx->ahead >= BODY_WINDOW_SIZE || depot_congested(tx->depot));

    tx->starved = dry;
    if (dry && tx->depot->channel != NULL)
        channel_hurry(tx->depot->channel); /* no credit comes for what queued has not seen */
    return tx->failed ? SIZE_MAX : dry ? 0 : (size_t)(BODY_WINDOW_SIZE - tx->ahead);
}
