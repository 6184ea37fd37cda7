/* Transactions from inbound: they gather in memory, spill full chunks early under their unpublished id (Q5), and become a
 * message in the batch that their tx_commit falls into. A peer may send BODY_WINDOW_SIZE octets ahead; a full chunk gives
 * its octets back once it is on disk, so a transaction never holds more than one window. */
#include "daemon/queued/engine_parts.h"

enum { BODY_ROOM_FIRST = 8192 };

void spill_free(struct spill *spill)
{
    mem_free(spill->body.data);
    mem_free(spill);
}

void tx_free(struct tx *tx)
{
    mem_free(tx->body.data);
    arena_fini(&tx->arena);
    mem_free(tx);
}

/* No memory: inbound is told at once and answers it at the end of the data; its frames until then find nothing. Dropping the
 * channel instead would end every other client's transaction with it. */
static RESULT tx_unmade(struct engine *e, struct engine_peer *peer, struct message_id id)
{
    engine_send(e, peer,
        &(struct msg){.kind = MSG_tx_done, .tx_done = {.id = id, .outcome = TX_TRY_LATER, .reply = BYTES_NONE}});
    return OK;
}

static RESULT tx_begin(struct engine *e, struct engine_peer *peer, struct message_id id, struct walltime now)
{
    if (map_get(&e->transactions, id.value) != NULL)
        return FAIL(CODE_REFUSED, "transaction began twice");
    struct tx *tx = mem_take_zero(sizeof *tx);
    if (tx == NULL)
        return tx_unmade(e, peer, id);
    tx->id = id;
    tx->began = now;
    tx->peer = peer;
    tx->rcpts_end = &tx->rcpts;
    tx->failed = TX_ACCEPTED;
    arena_init(&tx->arena, TX_ARENA_SIZE_MAX);
    if (is_ok(map_put(&e->transactions, id.value, tx)))
        return OK;
    tx_free(tx);
    return tx_unmade(e, peer, id);
}

/* What went wrong is told at the end of the data; until then the rest of the transaction is swallowed. */
static void tx_fail(struct tx *tx, enum tx_outcome outcome)
{
    if (tx->failed == TX_ACCEPTED)
        tx->failed = outcome;
    mem_free(tx->body.data);
    tx->body = (struct buf){0};
}

static void tx_rcpt_add(struct tx *tx, const struct recipient *rcpt)
{
    void *memory = NULL;

    if (tx->rcpt_count >= RCPT_COUNT_MAX || !is_ok(arena_take(&tx->arena, sizeof(struct tx_rcpt), &memory))) {
        tx_fail(tx, TX_NO_SPACE);
        return;
    }
    struct tx_rcpt *added = memory;
    if (!is_ok(recipient_copy(&tx->arena, rcpt, &added->rcpt))) {
        tx_fail(tx, TX_NO_SPACE);
        return;
    }
    added->rcpt.n = tx->rcpt_count++;
    *tx->rcpts_end = added;
    tx->rcpts_end = &added->next;
}

static RESULT body_room(struct buf *body, size_t size)
{
    size_t room = body->size_max == 0 ? BODY_ROOM_FIRST : body->size_max;

    ASSERT(body->size + size <= BODY_CHUNK_SIZE_MAX);
    if (buf_left(body) >= size && body->data != NULL)
        return OK;
    while (room < body->size + size)
        room *= 2;
    if (room > BODY_CHUNK_SIZE_MAX)
        room = BODY_CHUNK_SIZE_MAX;
    uint8_t *data = mem_resize(body->data, room);
    if (data == NULL)
        return FAIL(CODE_FULL, "out of memory");
    body->data = data;
    body->size_max = room;
    return OK;
}

static RESULT tx_spill(struct engine *e, struct tx *tx)
{
    struct spill *spill = mem_take_zero(sizeof *spill);

    if (spill == NULL)
        return FAIL(CODE_FULL, "out of memory");
    *spill = (struct spill){.id = tx->id, .chunk = tx->chunk_count++, .body = tx->body};
    tx->body = (struct buf){0};
    tx->marked = true;
    *e->batch.spills_end = spill;
    e->batch.spills_end = &spill->next;
    return OK;
}

static void tx_body_add(struct engine *e, struct tx *tx, struct bytes body)
{
    bool was_well = tx->failed == TX_ACCEPTED;
    size_t size = body.size;

    tx->body_size += size;
    while (body.size > 0 && tx->failed == TX_ACCEPTED) {
        struct bytes piece = bytes_head(body, BODY_CHUNK_SIZE_MAX - tx->body.size);
        struct result r = body_room(&tx->body, piece.size);
        if (is_ok(r))
            r = buf_put(&tx->body, piece);
        if (is_ok(r) && tx->body.size == BODY_CHUNK_SIZE_MAX)
            r = tx_spill(e, tx);
        if (!is_ok(r))
            tx_fail(tx, TX_TRY_LATER);
        body = bytes_after(body, piece.size);
    }
    if (tx->failed == TX_ACCEPTED || tx->peer == NULL)
        return;
    /* Nothing is kept any more: give back this frame and, the first time, what was held before it. */
    if (was_well)
        size += BODY_CHUNK_SIZE_MAX;
    engine_send(e, tx->peer, &(struct msg){.kind = MSG_tx_credit, .tx_credit = {.id = tx->id, .size = (uint32_t)size}});
}

/* Takes the transaction out of memory and, where something of it may be on disk, out of the store. */
static void tx_forget(struct engine *e, struct tx *tx)
{
    map_remove(&e->transactions, tx->id.value);
    if (tx->marked) {
        for (struct spill **at = &e->batch.spills; *at != NULL;) {
            struct spill *spill = *at;
            if (!message_id_equal(spill->id, tx->id)) {
                at = &spill->next;
                continue;
            }
            *at = spill->next;
            spill_free(spill);
        }
        e->batch.spills_end = &e->batch.spills;
        while (*e->batch.spills_end != NULL)
            e->batch.spills_end = &(*e->batch.spills_end)->next;
        struct drop *drop = mem_take_zero(sizeof *drop);
        if (drop != NULL) { /* else the next start sweeps it */
            *drop = (struct drop){.next = e->batch.drops, .id = tx->id};
            e->batch.drops = drop;
        }
    }
    tx_free(tx);
}

void intake_answer(struct engine *e, struct tx *tx, enum tx_outcome outcome)
{
    if (tx->peer != NULL)
        engine_send(e, tx->peer,
            &(struct msg){
                .kind = MSG_tx_done, .tx_done = {.id = tx->id, .outcome = (uint8_t)outcome, .reply = BYTES_NONE}});
    if (outcome == TX_ACCEPTED) {
        map_remove(&e->transactions, tx->id.value);
        tx_free(tx);
    } else {
        tx_forget(e, tx);
    }
}

/* The last of a company has come, or was not to be found: all go into the batch, or all are refused. */
static void group_close(struct engine *e, struct engine_peer *peer)
{
    struct tx *tx = peer->group;
    enum tx_outcome failed = peer->group_failed;

    if (tx != NULL && failed == TX_ACCEPTED) {
        *e->batch.publish_end = tx;
        e->batch.publish_end = peer->group_end;
    }
    peer->group = NULL;
    peer->group_end = &peer->group;
    peer->group_failed = TX_ACCEPTED;
    while (tx != NULL && failed != TX_ACCEPTED) {
        struct tx *next = tx->next;
        intake_answer(e, tx, failed);
        tx = next;
    }
}

/* A commit whose transaction is not there: what was to be durable together with it is not to be. */
static void group_misses(struct engine *e, struct engine_peer *peer, bool joined)
{
    if (!joined && peer->group == NULL)
        return;
    peer->group_failed = TX_TRY_LATER;
    if (!joined)
        group_close(e, peer);
}

static RESULT tx_commit(
    struct engine *e, struct tx *tx, const struct envelope_head *head, bool joined, struct walltime now)
{
    struct engine_peer *peer = tx->peer;

    if (tx->rcpt_count == 0 && tx->failed == TX_ACCEPTED)
        return FAIL(CODE_REFUSED, "commit without a recipient");
    if (!message_id_equal(head->id, tx->id))
        return FAIL(CODE_REFUSED, "commit under another id");
    if (head->body_size != tx->body_size)
        return FAIL(CODE_REFUSED, "commit with another size");
    if (tx->failed == TX_ACCEPTED && !is_ok(envelope_head_copy(&tx->arena, head, &tx->head)))
        tx_fail(tx, TX_TRY_LATER);
    if (tx->failed == TX_ACCEPTED && !e->open)
        tx_fail(tx, TX_NO_SPACE);
    if (tx->failed != TX_ACCEPTED)
        peer->group_failed = tx->failed;
    tx->head.rcpt_count = tx->rcpt_count;
    if (tx->failed == TX_ACCEPTED && tx->head.origin != ORIGIN_LOCAL &&
        wards_login_is_held(e, tx->head.login, tx->rcpt_count, now))
        tx->head.flags |= ENVELOPE_HELD;
    tx->committed = true;
    tx->joined = joined;
    tx->next = NULL;
    *peer->group_end = tx;
    peer->group_end = &tx->next;
    if (!joined)
        group_close(e, peer);
    return OK;
}

static RESULT ids_grant(struct engine *e, struct engine_peer *peer, uint32_t count)
{
    if (count > IDS_GRANT_COUNT_MAX)
        count = IDS_GRANT_COUNT_MAX;
    if (e->ids.next == e->ids.end) {
        e->ids = e->ids_spare;
        e->ids_spare = (struct id_block){0, 0};
    }
    if (count > e->ids.end - e->ids.next)
        count = (uint32_t)(e->ids.end - e->ids.next);
    engine_send(e, peer, &(struct msg){.kind = MSG_ids_grant, .ids_grant = {.first = e->ids.next, .count = count}});
    e->ids.next += count;
    return OK;
}

static RESULT tx_receive(struct engine *e, struct tx *tx, const struct msg *msg, struct walltime now)
{
    if (tx->committed)
        return FAIL(CODE_REFUSED, "frame for a transaction that was committed");
    switch (msg->kind) {
    case MSG_tx_rcpt:
        if (tx->body_size > 0)
            return FAIL(CODE_REFUSED, "recipient after content");
        if (tx->failed == TX_ACCEPTED)
            tx_rcpt_add(tx, &msg->tx_rcpt.rcpt);
        return OK;
    case MSG_tx_body:
        tx_body_add(e, tx, msg->tx_body.body);
        return OK;
    case MSG_tx_commit:
        return tx_commit(e, tx, &msg->tx_commit.head, msg->tx_commit.joined, now);
    default:
        tx_forget(e, tx);
        return OK;
    }
}

RESULT intake_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now)
{
    struct message_id id;

    switch (msg->kind) {
    case MSG_ids_want:
        return ids_grant(e, peer, msg->ids_want.count);
    case MSG_tx_begin:
        return tx_begin(e, peer, msg->tx_begin.id, now);
    case MSG_tx_rcpt:
        id = msg->tx_rcpt.id;
        break;
    case MSG_tx_body:
        id = msg->tx_body.id;
        break;
    case MSG_tx_commit:
        id = msg->tx_commit.id;
        break;
    case MSG_tx_abort:
        id = msg->tx_abort.id;
        break;
    case MSG_ban_report:
        return wards_receive(e, &msg->ban_report, now);
    default:
        return FAIL(CODE_REFUSED, "not a frame that inbound sends");
    }
    struct tx *tx = map_get(&e->transactions, id.value);
    if (tx == NULL || tx->peer != peer) {
        LOG(FRAME_STALE, LOG_STR("frame", msg_name(msg->kind)), LOG_MSG("id", id));
        if (msg->kind == MSG_tx_commit)
            group_misses(e, peer, msg->tx_commit.joined);
        return OK;
    }
    return tx_receive(e, tx, msg, now);
}

void intake_peer_gone(struct engine *e, struct engine_peer *peer)
{
    bool found = true;

    for (struct tx *tx = peer->group; tx != NULL; tx = tx->next)
        tx->committed = false; /* the rest of their company will not come */
    while (found) {            /* removal moves slots: begin anew after each */
        void *value = NULL;
        found = false;
        for (size_t i = 0; map_next(&e->transactions, &i, &value);) {
            struct tx *tx = value;
            if (tx->peer != peer)
                continue;
            tx->peer = NULL;
            if (tx->committed)
                continue; /* it is committed; that nobody hears of it is the client's lost reply */
            tx_forget(e, tx);
            found = true;
            break;
        }
    }
}

void intake_spilled(struct engine *e, const struct spill *spill)
{
    struct tx *tx = map_get(&e->transactions, spill->id.value);

    if (tx != NULL && tx->peer != NULL)
        engine_send(e, tx->peer,
            &(struct msg){.kind = MSG_tx_credit, .tx_credit = {.id = tx->id, .size = (uint32_t)spill->body.size}});
}

RESULT intake_refused(struct engine *e, const struct envelope_head *head, const struct recipient *rcpt,
    const struct route_choice *choice, struct bytes content, struct walltime now)
{
    struct envelope_head whose = *head;
    struct dsn_recipient told = {
        .forward_path = rcpt->forward_path,
        .orcpt = rcpt->orcpt,
        .status = choice->route == NULL ? BYTES("5.1.2") : choice->route->target.status,
        .reply = choice->route == NULL ? BYTES("the domain has no name in the DNS") : choice->route->target.text,
        .last_attempt = now,
    };
    struct message_id dsn = {0};

    if (bytes_equal(rcpt->lane, BYTES(RECIPIENT_LANE_REFUSED))) {
        told.status = rcpt->last_status;
        told.reply = rcpt->last_reply;
    }
    if (rcpt->sender.size > 0)
        whose.reverse_path = rcpt->sender;
    if (dsn_wanted(DSN_FAILED, &whose, rcpt))
        TRY(outcome_notify(e, DSN_FAILED, &whose, &told, 1, content, now, &dsn));
    return effect_add(e, &(struct effect){.kind = EFFECT_FAILED,
                             .id = head->id,
                             .n = rcpt->n,
                             .count = 1,
                             .to = rcpt->forward_path,
                             .reply = told.reply});
}

static RESULT publish_refused(
    struct engine *e, struct tx *tx, const struct tx_rcpt *at, const struct route_choice *choice, struct walltime now)
{
    struct bytes content = {tx->body.data, tx->body.size};

    if (tx->chunk_count > 0)
        TRY(store_body_get(e->store, tx->id, 0, DSN_ORIGINAL_SIZE_MAX, &content));
    return intake_refused(e, &tx->head, &at->rcpt, choice, content, now);
}

/* Stores one recipient where its route leads; *kept_out tells whether it needs the message. `expands`: another recipient of the
 * message is expanded, so this one is remembered, and left out when it is there already. */
static RESULT publish_recipient(
    struct engine *e, struct tx *tx, struct tx_rcpt *at, bool expands, struct walltime now, bool *kept_out)
{
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(room);
    struct route_choice choice;
    bool fresh = true;

    *kept_out = false;
    if (bytes_equal(at->rcpt.lane, BYTES(RECIPIENT_LANE_REFUSED)))
        return publish_refused(e, tx, at, &(struct route_choice){.kind = ROUTE_CHOICE_ERROR}, now);
    TRY(engine_route_first(e, tx->head.reverse_path, &at->rcpt, &lane, &choice));
    if (choice.kind == ROUTE_CHOICE_DISCARD)
        return effect_add(
            e, &(struct effect){.kind = EFFECT_DISCARDED, .id = tx->id, .n = at->rcpt.n, .to = at->rcpt.forward_path});
    if (choice.kind == ROUTE_CHOICE_ERROR)
        return publish_refused(e, tx, at, &choice, now);
    if (expands && !bytes_equal(choice.lane, LANE_EXPAND))
        TRY(expansion_remember(e, tx->id, at->rcpt.forward_path, choice.lane, &fresh));
    if (!fresh)
        return OK;
    struct recipient rcpt = at->rcpt;
    rcpt.lane = choice.lane;
    rcpt.state =
        choice.kind == ROUTE_CHOICE_HOLD || (tx->head.flags & ENVELOPE_HELD) != 0 ? RECIPIENT_HELD : RECIPIENT_WAITING;
    rcpt.next_try = now;
    TRY(store_recipient_put(e->store, tx->id, &rcpt));
    *kept_out = true;
    if (rcpt.state == RECIPIENT_HELD)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = choice.lane, .due = now, .number = 1});
}

static RESULT publish_expands(struct engine *e, const struct tx *tx, bool *expands_out)
{
    *expands_out = false;
    for (const struct tx_rcpt *at = tx->rcpts; at != NULL && !*expands_out; at = at->next) {
        uint8_t room[LANE_NAME_SIZE_MAX];
        struct buf lane = BUF(room);
        struct route_choice choice;

        TRY(engine_route_first(e, tx->head.reverse_path, &at->rcpt, &lane, &choice));
        *expands_out = (choice.kind == ROUTE_CHOICE_LANE && bytes_equal(choice.lane, LANE_EXPAND)) ||
                       engine_may_forward(e, at->rcpt.forward_path);
    }
    return OK;
}

RESULT intake_publish(struct engine *e, struct tx *tx, struct walltime now)
{
    bool kept = false, expands = false;

    if (e->has_aliases)
        TRY(publish_expands(e, tx, &expands));
    for (struct tx_rcpt *at = tx->rcpts; at != NULL; at = at->next) {
        bool kept_one = false;
        TRY(publish_recipient(e, tx, at, expands, now, &kept_one));
        kept = kept || kept_one;
    }
    if (!kept)
        return tx->marked ? store_spill_drop(e->store, tx->id) : OK;
    if (tx->body.size > 0)
        TRY(store_body_put(e->store, tx->id, tx->chunk_count, buf_bytes(&tx->body)));
    return store_message_put(e->store, &tx->head);
}
