/* The batch: what has come since the last commit and becomes durable with the next one, in one transaction of the store. Until it
 * has landed nobody outside hears of it; when it is refused new mail is answered so, and what was in flight waits (E3). */
#include "daemon/queued/engine_parts.h"

void batch_init(struct batch *b)
{
    *b = (struct batch){0};
    b->publish_end = &b->publish;
    b->spills_end = &b->spills;
    b->saves_end = &b->saves;
    b->done_end = &b->done;
}

void batch_saves_forget(struct engine *e)
{
    while (e->batch.saves != NULL) {
        struct save *next = e->batch.saves->next;
        mem_free(e->batch.saves);
        e->batch.saves = next;
    }
    e->batch.saves_end = &e->batch.saves;
}

static void drops_free(struct drop *drop)
{
    while (drop != NULL) {
        struct drop *next = drop->next;
        mem_free(drop);
        drop = next;
    }
}

void batch_fini(struct engine *e)
{
    while (e->batch.spills != NULL) {
        struct spill *next = e->batch.spills->next;
        spill_free(e->batch.spills);
        e->batch.spills = next;
    }
    drops_free(e->batch.drops);
    batch_saves_forget(e);
}

/* The transactions that go into the next commit: all, or as many as BATCH_BODY_SIZE_MAX allows. */
static struct tx *batch_slice_end(const struct engine *e)
{
    uint64_t size = 0;

    for (struct tx *tx = e->batch.publish; tx != NULL; tx = tx->next) {
        size += tx->body.size;
        if (size > BATCH_BODY_SIZE_MAX && !tx->joined)
            return tx->next;
    }
    return NULL;
}

RESULT batch_saves(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    (void)context;
    (void)now;
    (void)count_out;
    for (struct save *save = e->batch.saves; save != NULL; save = save->next)
        TRY(lane_health_is_clean(&save->health) ? store_lane_delete(e->store, save->lane)
                                                : store_lane_put(e->store, save->lane, &save->health));
    return OK;
}

static RESULT batch_rows(struct engine *e, struct tx *end, struct walltime now)
{
    for (struct spill *spill = e->batch.spills; spill != NULL; spill = spill->next) {
        if (spill->chunk == 0)
            TRY(store_spill_mark(e->store, spill->id));
        TRY(store_body_put(e->store, spill->id, spill->chunk, buf_bytes(&spill->body)));
    }
    for (struct drop *drop = e->batch.drops; drop != NULL; drop = drop->next)
        TRY(store_spill_drop(e->store, drop->id));
    for (struct job *job = e->batch.done; job != NULL; job = job->next)
        TRY(outcome_apply(e, job, now));
    for (struct job *job = e->batch.early; job != NULL; job = job->next_early)
        if (!job->ended)
            TRY(outcome_apply(e, job, now));
    TRY(batch_saves(e, NULL, now, NULL));
    for (struct tx *tx = e->batch.publish; tx != end; tx = tx->next)
        TRY(intake_publish(e, tx, now));
    if (e->batch.leaving)
        TRY(postmaster_leave(e, now));
    TRY(postmaster_unpark(e));
    if (e->batch.quarantine) {
        struct store_noted noted;
        uint32_t count = 0;
        for (size_t i = 0; store_noted(e->store, i, &noted); i++)
            LOG(QUEUE_ROW_DAMAGED, LOG_STR("table", noted.table), LOG_MSG("id", noted.id), LOG_NUM("n", noted.n),
                LOG_STR("why", "its checksum or form is wrong"));
        TRY(store_quarantine_noted(e->store, &count));
        e->rescan = e->rescan || count > 0;
    }
    if (store_index_wanted(e->store))
        TRY(store_index_advance(e->store, INDEX_COUNT_MAX));
    if (walltime_reached(e->expire_after, now)) {
        uint32_t count = 0;
        struct walltime before = {now.ms - e->cfg->history_keep};
        TRY(store_history_expire(e->store, before, HISTORY_EXPIRE_COUNT_MAX, &count));
        e->batch.more_history = count == HISTORY_EXPIRE_COUNT_MAX;
    }
    return OK;
}

/* An idle daemon sleeps: a history that was looked through is left alone for a while. */
static int64_t history_pause_ms(const struct engine *e)
{
    int64_t rest = e->cfg->history_keep == 0 ? HISTORY_WALK_REST_MS : e->cfg->history_keep / HISTORY_WALK_PARTS;

    if (e->batch.more_history)
        return HISTORY_EXPIRE_PAUSE_MS;
    if (!store_history_is_seen(e->store) || rest < HISTORY_EXPIRE_EVERY_MS)
        return HISTORY_EXPIRE_EVERY_MS;
    return rest < HISTORY_WALK_REST_MS ? rest : HISTORY_WALK_REST_MS;
}

/* One try at the whole transaction. Nothing outside the store has happened when it fails (E3). */
static RESULT batch_try(struct engine *e, struct tx *end, struct walltime now)
{
    struct id_block fresh = {0, 0};
    struct id_block ids = e->ids, spare = e->ids_spare;

    arena_reset(&e->scratch);
    e->effects = NULL;
    e->effects_end = &e->effects;
    TRY(store_begin(e->store));
    struct result r = batch_rows(e, end, now);
    if (is_ok(r) && e->rider != NULL) {
        *e->rider->count_out = 0;
        r = e->rider->rows(e, e->rider->context, now, e->rider->count_out);
    }
    if (is_ok(r) && e->ids_spare.next == e->ids_spare.end)
        r = engine_ids_reserve(e, now, &fresh);
    if (!is_ok(r)) {
        store_abandon(e->store);
        e->ids = ids; /* ids of notifications that were not written; nobody has seen them */
        e->ids_spare = spare;
        return r;
    }
    TRY(store_commit(e->store));
    if (fresh.end != 0)
        e->ids_spare = fresh;
    return OK;
}

static bool is_map_full(struct result r)
{
    return r.code == CODE_FULL && r.sys != 0;
}

static int64_t clock_us(const struct engine *e)
{
    return e->ports.clock_us != NULL ? e->ports.clock_us(e->ports.context) : 0;
}

void engine_stage(struct engine *e, enum tally_stage stage, int64_t took_us)
{
    histogram_add(&e->stats.stages[stage], tally_stage_bounds_us, took_us > 0 ? (uint64_t)took_us : 0);
}

static RESULT batch_write(struct engine *e, struct tx *end, struct walltime now)
{
    int64_t began_us = clock_us(e);
    struct result r = batch_try(e, end, now);

    while (is_map_full(r) && is_ok(store_grow(e->store))) {
        struct store_stats stats;
        store_stats_get(e->store, &stats);
        LOG(QUEUE_MAP_GROWN, LOG_NUM("size", stats.map_size));
        r = batch_try(e, end, now);
    }
    if (is_ok(r) && e->ports.clock_us != NULL)
        engine_stage(e, TALLY_COMMIT, clock_us(e) - began_us);
    return r;
}

static void early_landed(struct job *first)
{
    for (struct job *job = first; job != NULL; job = job->next_early) {
        job->early = false;
        for (uint32_t i = 0; i < job->rcpt_count; i++)
            job->rcpts[i].landed = job->rcpts[i].landed || job->rcpts[i].applied;
    }
}

static bool job_delivered(const struct job *job)
{
    bool delivered = false;

    for (uint32_t i = 0; i < job->rcpt_count; i++)
        delivered = delivered || (job->rcpts[i].has_result && job->rcpts[i].outcome == JOB_DELIVERED);
    return delivered;
}

/* Everything of the batch up to `end` is durable: answer, free, schedule. */
static void batch_landed(struct engine *e, struct tx *end, struct walltime now)
{
    struct batch done = e->batch;

    e->batch.publish = end;
    if (end == NULL)
        e->batch.publish_end = &e->batch.publish;
    e->batch.spills = NULL;
    e->batch.spills_end = &e->batch.spills;
    e->batch.done = NULL;
    e->batch.done_end = &e->batch.done;
    e->batch.early = NULL;
    e->batch.drops = NULL;
    batch_saves_forget(e);
    e->batch.leaving = false;
    e->batch.parked_count = 0;
    e->stats.commits++;
    uint64_t ops_before = e->stats.commit_ops;
    for (struct spill *spill = done.spills; spill != NULL;) {
        struct spill *next = spill->next;
        intake_spilled(e, spill);
        spill_free(spill);
        e->stats.commit_ops++;
        spill = next;
    }
    for (struct tx *tx = done.publish; tx != end;) {
        struct tx *next = tx->next;
        e->stats.accepted++;
        e->stats.accepted_octets += tx->head.body_size;
        e->stats.commit_ops++;
        engine_stage(e, TALLY_ACCEPT, (now.ms - tx->began.ms) * 1000);
        intake_answer(e, tx, TX_ACCEPTED);
        tx = next;
    }
    engine_effects_play(e);
    early_landed(done.early);
    for (struct job *job = done.done; job != NULL;) {
        struct job *next = job->next;
        if (job->uncertain)
            LOG(DELIVERY_UNCERTAIN, LOG_MSG("id", job->id), LOG_TEXT("lane", job->lane_name),
                LOG_TEXT("host", job->rcpt_count > 0 ? job->rcpts[0].host : BYTES_NONE));
        e->stats.commit_ops++;
        e->stats.delivered_octets += job_delivered(job) ? job->body_size : 0;
        dispatch_landed(e, job);
        job = next;
    }
    histogram_add(&e->stats.batch_sizes, tally_batch_bounds, e->stats.commit_ops - ops_before);
    drops_free(done.drops);
    if (e->batch.quarantine) {
        e->batch.quarantine = false;
        if (e->rescan)
            map_fini(&e->damaged);
    }
    if (walltime_reached(e->expire_after, now))
        e->expire_after = walltime_after(now, history_pause_ms(e));
    e->batch.more_history = false;
    e->index_after = walltime_after(now, INDEX_PAUSE_MS);
}

/* The transaction could not be made durable. New mail is answered so; what was in flight is kept and tried again. */
static void batch_refused(struct engine *e, struct result why, struct walltime now)
{
    enum tx_outcome outcome = why.code == CODE_FULL ? TX_NO_SPACE : TX_TRY_LATER;
    struct tx *tx = e->batch.publish;
    struct spill *spill = e->batch.spills;
    bool had_mail = tx != NULL || spill != NULL;

    e->stats.commit_failures++;
    LOG(QUEUE_COMMIT_FAILED, LOG_STR("why", why.why == NULL ? "" : why.why), LOG_NUM("errno", why.sys));
    e->batch.publish = NULL;
    e->batch.publish_end = &e->batch.publish;
    e->batch.spills = NULL;
    e->batch.spills_end = &e->batch.spills;
    while (tx != NULL) {
        struct tx *next = tx->next;
        tx->next = NULL;
        intake_answer(e, tx, outcome);
        tx = next;
    }
    while (spill != NULL) {
        struct spill *next = spill->next;
        struct tx *owner = map_get(&e->transactions, spill->id.value);
        if (owner != NULL && owner->failed == TX_ACCEPTED)
            owner->failed = outcome;
        intake_spilled(e, spill); /* swallow on: the answer comes at the end of the data */
        spill_free(spill);
        spill = next;
    }
    /* What is left only finishes old mail; it may pass where new mail did not (the store keeps room for it). */
    e->commit_after = had_mail ? now : walltime_after(now, COMMIT_RETRY_MS);
}

static bool batch_is_urgent(const struct engine *e)
{
    const struct batch *b = &e->batch;

    return b->publish != NULL || b->spills != NULL || b->done != NULL || b->early != NULL || b->drops != NULL ||
           b->leaving || b->parked_count > 0;
}

static bool batch_is_wanted(const struct engine *e, struct walltime now)
{
    if (!walltime_reached(e->commit_after, now))
        return false;
    return batch_is_urgent(e) || e->batch.quarantine ||
           (e->batch.saves != NULL && walltime_reached(e->save_after, now)) || walltime_reached(e->expire_after, now) ||
           (walltime_reached(e->index_after, now) && store_index_wanted(e->store));
}

void batch_commit(struct engine *e, struct walltime now)
{
    while (batch_is_wanted(e, now)) {
        struct tx *end = batch_slice_end(e);
        struct result r = batch_write(e, end, now);
        if (is_ok(r))
            batch_landed(e, end, now);
        else
            batch_refused(e, r, now);
    }
}

RESULT batch_commit_with(struct engine *e, const struct rider *rider, struct walltime now)
{
    struct tx *end = batch_slice_end(e);

    if (!walltime_reached(e->commit_after, now) || !batch_is_urgent(e))
        return FAIL(CODE_GONE, "no mail waits for a commit");
    e->rider = rider;
    struct result r = batch_write(e, end, now);
    e->rider = NULL;
    if (!is_ok(r))
        return FAIL(CODE_GONE, "not in one commit");
    batch_landed(e, end, now);
    return OK;
}

/* The wall clock may jump back: what was to wait for a moment must not wait for the length of the jump. */
void batch_waits_settle(struct engine *e, struct walltime now)
{
    struct wait {
        struct walltime *at;
        int64_t longest_ms;
    } waits[] = {
        {&e->commit_after, COMMIT_RETRY_MS}, {&e->save_after, SAVE_DELAY_MS}, {&e->expire_after, HISTORY_WALK_REST_MS}};

    for (size_t i = 0; i < COUNT_OF(waits); i++)
        if (waits[i].at->ms - now.ms > waits[i].longest_ms)
            *waits[i].at = now;
}

struct walltime batch_deadline(const struct engine *e)
{
    struct walltime at = e->expire_after;

    if (batch_is_urgent(e) || e->batch.quarantine)
        at = walltime_min(at, e->commit_after);
    if (e->batch.saves != NULL)
        at = walltime_min(at, e->save_after);
    if (store_index_wanted(e->store))
        at = walltime_min(at, e->index_after.ms < e->commit_after.ms ? e->commit_after : e->index_after);
    return at;
}
