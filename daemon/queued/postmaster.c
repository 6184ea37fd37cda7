/* What the postmaster asks of the queue: each call is durable when it returns, because it is rare and its answer must be
 * true when it is given: a transaction of its own, or one with the mail that just then waits for its commit. Large orders
 * come in portions (control.c), one a turn, so that no transaction grows with the queue and no session waits for one. What
 * is in flight is left to its attempt, which reads the rows again (outcome.c). Deletions and bounces that are put off wait
 * in a lane of their own; the scheduler says when, and the batch carries them out. */
#include "daemon/queued/engine_parts.h"

enum { PORTION = ORDER_TARGETS_WRITTEN };

RESULT portion_commit(struct engine *e, portion_fn rows, void *context, struct walltime now, uint32_t *count_out)
{
    for (;;) {
        *count_out = 0;
        arena_reset(&e->scratch);
        e->effects = NULL;
        e->effects_end = &e->effects;
        TRY(store_begin(e->store));
        struct result r = rows(e, context, now, count_out);
        if (!is_ok(r)) {
            store_abandon(e->store);
            if (r.code == CODE_FULL && r.sys != 0 && is_ok(store_grow(e->store)))
                continue;
            return r;
        }
        TRY(store_commit(e->store));
        engine_effects_play(e);
        return OK;
    }
}

/* With the mail that waits for its commit, or alone. */
static RESULT portion_join(struct engine *e, portion_fn rows, void *context, struct walltime now, uint32_t *count_out)
{
    struct rider rider = {rows, context, count_out};

    if (is_ok(batch_commit_with(e, &rider, now)))
        return OK;
    return portion_commit(e, rows, context, now, count_out);
}

/* --- orders --- */

/* One transaction's worth of an order. */
struct work {
    const struct order *order;
    const struct order_target *targets;
    size_t count;
    bool leave; /* what was put off is done now */
};

/* The recipients of one message that are bounced together. */
struct bounce {
    struct envelope_head head; /* in the scratch arena */
    struct dsn_recipient list[JOB_RCPT_COUNT_MAX];
    size_t count;
    bool left; /* some recipient of it went: it may be the last */
};

static RESULT due_say(struct engine *e, const struct recipient *rcpt)
{
    struct bytes lane = recipient_is_leaving(rcpt->state) ? BYTES(RECIPIENT_LEAVING_LANE) : rcpt->lane;

    if (recipient_is_held(rcpt->state))
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = lane, .due = rcpt->next_try});
}

static RESULT history_say(struct engine *e, enum attempt_kind kind, const struct envelope_head *head,
    const struct recipient *rcpt, struct bytes reply, struct walltime now)
{
    uint8_t room[ATTEMPT_SIZE_MAX];
    struct buf row = BUF(room);

    if (e->cfg->history_keep == 0)
        return OK;
    TRY(attempt_put(&row, &(struct attempt){.kind = kind,
                              .n = rcpt->n,
                              .count = rcpt->attempts,
                              .forward_path = rcpt->forward_path,
                              .lane = rcpt->lane,
                              .reply = reply,
                              .from = head->reverse_path,
                              .message_id = head->message_id}));
    return store_history_put(e->store, head->id, now, buf_bytes(&row));
}

static RESULT bounce_tell(struct engine *e, const struct envelope_head *head, const struct dsn_recipient *list,
    size_t count, struct walltime now)
{
    struct bytes content;
    struct message_id dsn;

    if (!is_ok(store_body_get(e->store, head->id, 0, DSN_ORIGINAL_SIZE_MAX, &content)))
        content = BYTES_NONE; /* a damaged body must not keep the sender from being told */
    return outcome_notify(e, DSN_FAILED, head, list, count, content, now, &dsn);
}

static RESULT bounce_send(struct engine *e, struct bounce *b, struct walltime now)
{
    if (b->count == 0)
        return OK;
    TRY(bounce_tell(e, &b->head, b->list, b->count, now));
    b->count = 0;
    return OK;
}

static RESULT bounce_one(
    struct engine *e, struct bounce *b, const struct recipient *rcpt, struct bytes reason, struct walltime now)
{
    struct bytes reply = reason.size > 0 ? reason : BYTES("returned to its sender by the postmaster");
    struct envelope_head whose = b->head;

    if (rcpt->sender.size > 0)
        whose.reverse_path = rcpt->sender;
    if (dsn_wanted(DSN_FAILED, &whose, rcpt)) {
        struct dsn_recipient told = {.forward_path = rcpt->forward_path,
            .orcpt = rcpt->orcpt,
            .status = BYTES("5.0.0"),
            .reply = reply,
            .last_attempt = now,
            .attempts = rcpt->attempts};

        if (b->count == JOB_RCPT_COUNT_MAX)
            TRY(bounce_send(e, b, now));
        if (rcpt->sender.size > 0) /* a reverse-path of its own: a notification of its own */
            TRY(bounce_tell(e, &whose, &told, 1, now));
        else
            b->list[b->count++] = told;
    }
    TRY(history_say(e, ATTEMPT_FAILED, &b->head, rcpt, reply, now));
    TRY(store_recipient_delete(e->store, b->head.id, rcpt));
    return effect_add(e, &(struct effect){.kind = EFFECT_FAILED,
                             .id = b->head.id,
                             .n = rcpt->n,
                             .count = rcpt->attempts,
                             .to = rcpt->forward_path,
                             .lane = rcpt->lane,
                             .reply = reply});
}

static RESULT delete_one(
    struct engine *e, const struct envelope_head *head, const struct recipient *rcpt, struct walltime now)
{
    TRY(history_say(e, ATTEMPT_DELETED, head, rcpt, BYTES_NONE, now));
    return store_recipient_delete(e->store, head->id, rcpt);
}

/* What the order makes of a recipient that stays in the queue; false when it leaves it as it is. */
static bool order_moves(
    const struct order *order, const struct recipient *before, struct walltime now, struct recipient *after)
{
    bool waits = before->state == RECIPIENT_WAITING, held = recipient_is_held(before->state);

    *after = *before;
    after->next_try = now;
    switch (order->kind) {
    case ORDER_RETRY:
        return waits && !walltime_reached(before->next_try, now);
    case ORDER_HOLD:
        if (walltime_reached(before->next_try, now)) {
            after->state = RECIPIENT_HELD;
        } else { /* its place in the schedule stays until its time comes */
            after->state = RECIPIENT_PARKED;
            after->next_try = before->next_try;
        }
        return waits;
    case ORDER_RELEASE:
        after->state = RECIPIENT_WAITING;
        return held;
    case ORDER_REROUTE:
        after->lane = order->lane;
        after->next_try = before->state == RECIPIENT_PARKED ? before->next_try : now;
        return (waits || held) && !bytes_equal(before->lane, order->lane);
    case ORDER_UNDO:
        after->state = before->state == RECIPIENT_DELETED || before->state == RECIPIENT_BOUNCED ? RECIPIENT_WAITING
                                                                                                : RECIPIENT_HELD;
        return recipient_is_leaving(before->state);
    case ORDER_DELETE:
        after->state = held ? RECIPIENT_DELETED_HELD : RECIPIENT_DELETED;
        break;
    case ORDER_BOUNCE:
        after->state = held ? RECIPIENT_BOUNCED_HELD : RECIPIENT_BOUNCED;
        after->last_status = order->reason.size > 0 ? BYTES("5.0.0") : before->last_status;
        after->last_reply = order->reason.size > 0 ? order->reason : before->last_reply;
        break;
    }
    after->next_try = order->until;
    return waits || held;
}

/* Whether a leaving recipient was bounced, not deleted. */
static bool was_bounced(enum recipient_state state)
{
    return state == RECIPIENT_BOUNCED || state == RECIPIENT_BOUNCED_HELD;
}

static RESULT target_order(struct engine *e, const struct work *w, struct bounce *b, const struct recipient *rcpt,
    struct walltime now, uint32_t *count)
{
    const struct order *order = w->order;
    bool goes = w->leave || ((order->kind == ORDER_DELETE || order->kind == ORDER_BOUNCE) && order->until.ms == 0);
    bool bounces = w->leave ? was_bounced(rcpt->state) : order->kind == ORDER_BOUNCE;
    struct recipient after;

    if (w->leave && (!recipient_is_leaving(rcpt->state) || !walltime_reached(rcpt->next_try, now)))
        return OK;
    if (goes && bounces && engine_is_active(e, b->head.id, rcpt->n))
        return OK; /* it may be delivered this moment */
    if (goes) {
        b->left = true;
        /* a bounce that was put off keeps its reason where the last reply stood */
        struct bytes reason = !w->leave                                        ? order->reason
                              : bytes_equal(rcpt->last_status, BYTES("5.0.0")) ? rcpt->last_reply
                                                                               : BYTES_NONE;
        TRY(bounces ? bounce_one(e, b, rcpt, reason, now) : delete_one(e, &b->head, rcpt, now));
        ++*count;
        return OK;
    }
    if (!order_moves(order, rcpt, now, &after))
        return OK;
    if (order->kind == ORDER_REROUTE && rcpt->parent > 0) { /* by the name that its new lane gives it */
        bool fresh;
        TRY(expansion_remember(e, b->head.id, after.forward_path, after.lane, &fresh));
    }
    ++*count;
    if (rcpt->state == RECIPIENT_WAITING && after.state == RECIPIENT_PARKED)
        return store_recipient_park(e->store, b->head.id, rcpt);
    TRY(store_recipient_update(e->store, b->head.id, rcpt, &after));
    return due_say(e, &after);
}

/* The end of one message's targets: its notification, and its own end when no recipient is left. */
static RESULT message_end(struct engine *e, struct bounce *b, struct walltime now)
{
    bool done = false;

    if (b->head.id.value == 0)
        return OK;
    TRY(bounce_send(e, b, now));
    if (!b->left)
        return OK;
    struct result r = store_message_finish(e->store, b->head.id, &done);
    if (r.code == CODE_GONE || (is_ok(r) && !done))
        return OK;
    TRY(r);
    return effect_add(e, &(struct effect){.kind = EFFECT_MESSAGE_DONE, .id = b->head.id});
}

/* Only what ends a recipient needs its message's head: for the history and who is told. */
static RESULT message_begin(struct engine *e, struct bounce *b, const struct work *w, struct message_id id)
{
    struct envelope_head row;

    b->head = (struct envelope_head){0};
    b->count = 0;
    b->left = false;
    if (!w->leave && w->order->kind != ORDER_DELETE && w->order->kind != ORDER_BOUNCE) {
        b->head.id = id;
        return OK;
    }
    struct result r = store_message_get(e->store, id, &row);
    if (r.code == CODE_CORRUPT)
        e->batch.quarantine = true;
    if (r.code == CODE_CORRUPT || r.code == CODE_GONE)
        return OK;
    TRY(r);
    return envelope_head_copy(&e->scratch, &row, &b->head);
}

static RESULT order_rows(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    const struct work *w = context;
    struct recipient row, rcpt;
    struct bounce *b;
    void *memory = NULL;

    TRY(arena_take(&e->scratch, sizeof *b, &memory));
    b = memory;
    for (size_t i = 0; i < w->count; i++) {
        const struct order_target *target = &w->targets[i];

        if (i == 0 || !message_id_equal(target->id, w->targets[i - 1].id)) {
            TRY(message_end(e, b, now));
            TRY(message_begin(e, b, w, target->id));
        }
        if (b->head.id.value == 0)
            continue;
        struct result r = store_recipient_get(e->store, target->id, target->n, &row);
        if (r.code == CODE_CORRUPT)
            e->batch.quarantine = true;
        if (r.code == CODE_CORRUPT || r.code == CODE_GONE)
            continue;
        TRY(r);
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        TRY(target_order(e, w, b, &rcpt, now, count_out));
    }
    return message_end(e, b, now);
}

/* The lanes of these recipients stop waiting for their back-off. */
static RESULT lanes_hurry(struct engine *e, const struct order_target *targets, size_t count, struct walltime now)
{
    struct lane *last = NULL;
    struct recipient rcpt;

    TRY(store_read_begin(e->store));
    for (size_t i = 0; i < count; i++) {
        if (!is_ok(store_recipient_get(e->store, targets[i].id, targets[i].n, &rcpt)))
            continue;
        struct lane *lane = scheduler_lane_find(e->scheduler, rcpt.lane);
        if (lane != NULL && lane != last)
            scheduler_retry_now(e->scheduler, lane, now);
        last = lane;
    }
    store_read_end(e->store);
    return OK;
}

RESULT engine_order(struct engine *e, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime now, uint32_t *count_out)
{
    struct work work = {.order = order, .targets = targets, .count = count};

    ASSERT(count <= ORDER_TARGETS_MAX);
    TRY(portion_join(e, order_rows, &work, now, count_out));
    return order->kind == ORDER_RETRY ? lanes_hurry(e, targets, count, now) : OK;
}

RESULT postmaster_leave(struct engine *e, struct walltime now)
{
    static const struct order nothing = {0};
    struct order_target targets[PORTION];
    struct work work = {.order = &nothing, .targets = targets, .leave = true};
    struct store_due from = {.next_try = {0}}, due;
    uint32_t count = 0;

    while (work.count < PORTION && is_ok(store_due_next(e->store, BYTES(RECIPIENT_LEAVING_LANE), &from, &due)) &&
           walltime_reached(due.next_try, now)) {
        targets[work.count++] = (struct order_target){due.id, due.n};
        from = store_due_after(&due);
    }
    TRY(order_rows(e, &work, now, &count));
    from = (struct store_due){.next_try = {0}};
    if (is_ok(store_due_next(e->store, BYTES(RECIPIENT_LEAVING_LANE), &from, &due)))
        return effect_add(
            e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = BYTES(RECIPIENT_LEAVING_LANE), .due = due.next_try});
    return OK;
}

/* --- lanes --- */

struct lane_work {
    struct bytes lane;
    uint32_t looked;
};

/* Rows whose time lies ahead move to now; so a portion finds none of those that the last one found. */
static RESULT lane_portion(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    struct lane_work *w = context;
    struct store_due from = {.next_try = walltime_after(now, 1)};
    struct store_due due;
    struct recipient row, rcpt;
    struct result r = OK;

    if (bytes_equal(w->lane, BYTES(RECIPIENT_LEAVING_LANE)))
        return OK; /* what waits there does not wait for its delivery */
    for (w->looked = 0; w->looked < PORTION && is_ok(r = store_due_next(e->store, w->lane, &from, &due)); w->looked++) {
        from = store_due_after(&due);
        r = store_recipient_get(e->store, due.id, due.n, &row);
        if (r.code == CODE_CORRUPT || r.code == CODE_GONE) {
            e->batch.quarantine = true;
            continue;
        }
        TRY(r);
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        struct recipient after = rcpt;
        if (rcpt.state == RECIPIENT_PARKED)
            after.state = RECIPIENT_HELD; /* it stays held, and is not in the way of the next portion */
        else
            after.next_try = now;
        TRY(store_recipient_update(e->store, due.id, &rcpt, &after));
        *count_out += rcpt.state != RECIPIENT_PARKED;
    }
    if (*count_out > 0)
        TRY(effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = w->lane, .due = now}));
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

RESULT engine_retry_lane(struct engine *e, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out)
{
    struct lane_work work = {.lane = lane};

    *more_out = false;
    TRY(portion_join(e, lane_portion, &work, now, count_out));
    *more_out = work.looked == PORTION;
    struct lane *known = *more_out ? NULL : scheduler_lane_find(e->scheduler, lane);
    if (known != NULL)
        scheduler_retry_now(e->scheduler, known, now);
    return OK;
}

RESULT postmaster_unpark(struct engine *e)
{
    struct recipient row, rcpt;

    for (size_t i = 0; i < e->batch.parked_count; i++) {
        const struct order_target *at = &e->batch.parked[i];
        struct result r = store_recipient_get(e->store, at->id, at->n, &row);

        if (r.code == CODE_GONE || r.code == CODE_CORRUPT || (is_ok(r) && row.state != RECIPIENT_PARKED))
            continue;
        TRY(r);
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        struct recipient after = rcpt;
        after.state = RECIPIENT_HELD;
        TRY(store_recipient_update(e->store, at->id, &rcpt, &after));
    }
    return OK;
}

RESULT engine_lane_order(
    struct engine *e, struct bytes name, enum lane_order order, uint32_t slots, struct walltime now)
{
    struct lane *lane = NULL;
    uint32_t count;

    if (!bytes_equal(name, BYTES("*"))) {
        TRY(scheduler_lane_due(e->scheduler, name, WALLTIME_NEVER)); /* a lane may be told before it has work */
        lane = scheduler_lane_find(e->scheduler, name);
        ASSERT(lane != NULL);
    }
    if (order == LANE_ORDER_LIMIT)
        scheduler_limit(e->scheduler, lane, slots);
    else if (order == LANE_ORDER_PACE)
        scheduler_pace(e->scheduler, lane, slots);
    else
        scheduler_suspend(e->scheduler, lane, order == LANE_ORDER_SUSPEND);
    TRY(dispatch_saves(e, now));
    TRY(portion_join(e, batch_saves, NULL, now, &count));
    batch_saves_forget(e);
    return OK;
}

static RESULT paused_row(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    (void)now;
    (void)count_out;
    return store_paused_put(e->store, *(const bool *)context);
}

RESULT engine_pause_accepting(struct engine *e, bool paused, struct walltime now)
{
    uint32_t count;

    TRY(portion_commit(e, paused_row, &paused, now, &count));
    e->paused = paused;
    return OK;
}

void engine_hurry(struct engine *e, struct walltime now)
{
    scheduler_retry_now(e->scheduler, NULL, now);
}
