/* What the postmaster asks of the queue: each call is its own transactions, outside the group commit, because it is rare and
 * its answer must be true when it is given. Large ones go in portions, so that no transaction grows with the queue. What is in
 * flight is left to its attempt, which reads the rows again (outcome.c). */
#include "daemon/queued/engine_parts.h"

enum { PORTION = 2000 };

typedef RESULT (*portion_fn)(struct engine *e, void *context, struct walltime now, uint32_t *count_out);

/* Runs one portion as a transaction, with map growth; effects are played after it. */
static RESULT portion_commit(struct engine *e, portion_fn rows, void *context, struct walltime now, uint32_t *count_out)
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

/* --- one message --- */

struct message_order {
    struct message_id id;
    enum { ORDER_RETRY, ORDER_HOLD, ORDER_RELEASE } what;
};

static RESULT recipient_order(struct engine *e, const struct message_order *order, const struct recipient *before,
    struct walltime now, uint32_t *count)
{
    struct recipient after = *before;

    switch (order->what) {
    case ORDER_RETRY:
        if (before->state != RECIPIENT_WAITING || walltime_reached(before->next_try, now))
            return OK;
        after.next_try = now;
        break;
    case ORDER_HOLD:
        if (before->state == RECIPIENT_HELD)
            return OK;
        after.state = RECIPIENT_HELD;
        break;
    case ORDER_RELEASE:
        if (before->state == RECIPIENT_WAITING)
            return OK;
        after.state = RECIPIENT_WAITING;
        after.next_try = now;
        break;
    }
    TRY(store_recipient_update(e->store, order->id, before, &after));
    (*count)++;
    if (after.state != RECIPIENT_WAITING)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = after.lane, .due = after.next_try});
}

static RESULT message_order_rows(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    const struct message_order *order = context;
    struct envelope_head head;
    struct recipient row, rcpt;
    uint64_t cursor = 0;
    struct result r;

    TRY(store_message_get(e->store, order->id, &head));
    while (is_ok(r = store_recipient_next(e->store, order->id, &cursor, &row))) {
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        TRY(recipient_order(e, order, &rcpt, now, count_out));
    }
    return r.code == CODE_GONE ? OK : r;
}

/* The lanes of a message's recipients stop waiting for their back-off. */
static RESULT message_lanes_hurry(struct engine *e, struct message_id id, struct walltime now)
{
    struct recipient rcpt;
    uint64_t cursor = 0;

    TRY(store_read_begin(e->store));
    while (is_ok(store_recipient_next(e->store, id, &cursor, &rcpt))) {
        struct lane *lane = scheduler_lane_find(e->scheduler, rcpt.lane);
        if (lane != NULL)
            scheduler_retry_now(e->scheduler, lane, now);
    }
    store_read_end(e->store);
    return OK;
}

RESULT engine_retry_message(struct engine *e, struct message_id id, struct walltime now, uint32_t *count_out)
{
    struct message_order order = {.id = id, .what = ORDER_RETRY};

    TRY(portion_commit(e, message_order_rows, &order, now, count_out));
    return message_lanes_hurry(e, id, now);
}

RESULT engine_hold(struct engine *e, struct message_id id, bool held, struct walltime now, uint32_t *count_out)
{
    struct message_order order = {.id = id, .what = held ? ORDER_HOLD : ORDER_RELEASE};

    return portion_commit(e, message_order_rows, &order, now, count_out);
}

/* --- lanes --- */

static RESULT lane_portion(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    const struct bytes *lane = context;
    struct store_due from = {.next_try = walltime_after(now, 1)};
    struct store_due due;
    struct recipient row, rcpt;
    struct result r = OK;

    while (*count_out < PORTION && is_ok(r = store_due_next(e->store, *lane, &from, &due))) {
        from = store_due_after(&due);
        r = store_recipient_get(e->store, due.id, due.n, &row);
        if (r.code == CODE_CORRUPT || r.code == CODE_GONE) {
            e->batch.quarantine = true;
            continue;
        }
        TRY(r);
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        struct recipient after = rcpt;
        after.next_try = now;
        TRY(store_recipient_update(e->store, due.id, &rcpt, &after));
        (*count_out)++;
    }
    if (*count_out > 0)
        TRY(effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = *lane, .due = now}));
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

RESULT engine_retry_lane(struct engine *e, struct bytes lane, struct walltime now, uint32_t *count_out)
{
    uint32_t portion = 0;

    *count_out = 0;
    do {
        TRY(portion_commit(e, lane_portion, &lane, now, &portion));
        *count_out += portion;
    } while (portion == PORTION);
    struct lane *known = scheduler_lane_find(e->scheduler, lane);
    if (known != NULL)
        scheduler_retry_now(e->scheduler, known, now);
    return OK;
}

RESULT engine_retry_all(struct engine *e, struct walltime now, uint32_t *count_out)
{
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct bytes after = BYTES_NONE;

    *count_out = 0;
    for (;;) {
        struct bytes lane;
        struct store_due first;
        uint32_t count = 0;
        TRY(store_read_begin(e->store));
        struct result r = store_due_lane_next(e->store, after, &lane, &first);
        if (is_ok(r)) {
            memcpy(room, lane.data, lane.size);
            after = (struct bytes){room, lane.size};
        }
        store_read_end(e->store);
        if (r.code == CODE_GONE)
            break;
        TRY(r);
        TRY(engine_retry_lane(e, after, now, &count));
        *count_out += count;
    }
    scheduler_retry_now(e->scheduler, NULL, now);
    return OK;
}

/* --- deletion --- */

static RESULT delete_rows(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    const struct message_id *id = context;
    struct envelope_head head;
    struct recipient row, rcpt;
    uint64_t cursor = 0;
    struct result r;

    TRY(store_message_get(e->store, *id, &head));
    while (is_ok(r = store_recipient_next(e->store, *id, &cursor, &row))) {
        uint8_t room[ATTEMPT_SIZE_MAX];
        struct buf out = BUF(room);
        TRY(recipient_copy(&e->scratch, &row, &rcpt));
        (*count_out)++;
        if (e->cfg->history_keep == 0)
            continue;
        TRY(attempt_put(&out, &(struct attempt){.kind = ATTEMPT_DELETED,
                                  .n = rcpt.n,
                                  .count = rcpt.attempts,
                                  .forward_path = rcpt.forward_path,
                                  .lane = rcpt.lane}));
        TRY(store_history_put(e->store, *id, now, buf_bytes(&out)));
    }
    if (r.code != CODE_GONE)
        return r;
    return store_message_delete(e->store, *id);
}

RESULT engine_delete(struct engine *e, struct message_id id, struct walltime now, uint32_t *count_out)
{
    return portion_commit(e, delete_rows, &id, now, count_out);
}
