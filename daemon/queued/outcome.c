/* What an attempt led to becomes rows: one job is applied inside the batch's transaction, so that a recipient's result, its
 * removal and the notification it causes are one (Q2). Rows are read again here: the postmaster may have held, released or
 * deleted what was in flight, and then his word counts. */
#include "daemon/queued/engine_parts.h"

/* Recipients of one job that are told about together. */
struct told {
    struct dsn_recipient list[JOB_RCPT_COUNT_MAX];
    size_t count;
};

struct outcome {
    struct engine *e;
    struct job *job;
    struct walltime now;
    struct envelope_head head; /* in the scratch arena */
    struct bytes reverse_path; /* of the message; head has that of the job's recipients */
    uint32_t next_n;           /* the first free number of a recipient */
    /* By step of the plan: one for all recipients of the job that have come as far, so that they stay together; {0}: none yet */
    struct walltime next_tries[RETRY_STEP_COUNT_MAX];
    struct told *told[DSN_KIND_COUNT];
};

static bool is_local_lane(struct bytes lane)
{
    return bytes_equal(lane, BYTES("local")) || bytes_starts(lane, BYTES("lmtp:")) ||
           bytes_starts(lane, BYTES("pipe:")) || bytes_starts(lane, BYTES("file:")) || bytes_starts(lane, BYTES("as:"));
}

/* A reply begins with three digits; reasons of our own with a status or a word. */
static bool is_smtp_reply(struct bytes text)
{
    for (size_t i = 0; i < 3; i++)
        if (i >= text.size || text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

static RESULT told_add(struct outcome *o, enum dsn_kind kind, const struct dsn_recipient *r)
{
    if (o->told[kind] == NULL) {
        void *memory = NULL;
        TRY(arena_take(&o->e->scratch, sizeof(struct told), &memory));
        o->told[kind] = memory;
    }
    ASSERT(o->told[kind]->count < JOB_RCPT_COUNT_MAX);
    o->told[kind]->list[o->told[kind]->count++] = *r;
    return OK;
}

/* By its route, or as for all. */
static struct retry_plan plan_of(const struct outcome *o, const struct recipient *rcpt)
{
    struct retry_plan plan = o->e->cfg->retry;
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(room);
    struct route_choice choice;

    if (is_ok(engine_route(o->e, o->reverse_path, rcpt->forward_path, &lane, &choice)) && choice.route != NULL &&
        choice.route->give_up_after_ms > 0)
        plan.give_up_after_ms = choice.route->give_up_after_ms;
    return plan;
}

static struct dsn_recipient dsn_recipient_of(
    const struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at)
{
    return (struct dsn_recipient){
        .forward_path = rcpt->forward_path,
        .orcpt = rcpt->orcpt,
        .status = at->status,
        .reply = at->reply,
        .reply_is_smtp = at->host.size > 0 && is_smtp_reply(at->reply),
        .host = at->host,
        .last_attempt = o->now,
        .will_retry_until = walltime_after(o->head.arrival, plan_of(o, rcpt).give_up_after_ms),
        .attempts = rcpt->attempts + 1,
    };
}

static RESULT history_put(
    struct outcome *o, enum attempt_kind kind, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    uint8_t room[ATTEMPT_SIZE_MAX];
    struct buf row = BUF(room);

    if (o->e->cfg->history_keep == 0)
        return OK;
    TRY(attempt_put(&row, &(struct attempt){
                              .kind = kind,
                              .n = rcpt->n,
                              .count = rcpt->attempts + 1,
                              .forward_path = rcpt->forward_path,
                              .lane = rcpt->lane,
                              .host = at->host,
                              .address = at->address,
                              .tls = at->tls,
                              .status = at->status,
                              .reply = at->reply,
                              .transcript = first ? o->job->transcript : BYTES_NONE,
                              .from = o->head.reverse_path,
                              .message_id = o->head.message_id,
                          }));
    return store_history_put(o->e->store, o->job->id, o->now, buf_bytes(&row));
}

static RESULT effect_of(
    struct outcome *o, enum effect_kind kind, const struct recipient *rcpt, const struct job_rcpt *at, int64_t number)
{
    return effect_add(o->e, &(struct effect){.kind = kind,
                                .id = o->job->id,
                                .n = rcpt->n,
                                .count = rcpt->attempts + 1,
                                .number = number,
                                .to = rcpt->forward_path,
                                .lane = rcpt->lane,
                                .host = at->host,
                                .tls = at->tls,
                                .reply = at->reply});
}

static RESULT delivered(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    enum dsn_kind kind = is_local_lane(rcpt->lane) ? DSN_DELIVERED : DSN_RELAYED;

    if (!at->dsn_passed && dsn_wanted(kind, &o->head, rcpt)) {
        struct dsn_recipient told = dsn_recipient_of(o, rcpt, at);
        TRY(told_add(o, kind, &told));
    }
    TRY(history_put(o, ATTEMPT_DELIVERED, rcpt, at, first));
    TRY(store_recipient_delete(o->e->store, o->job->id, rcpt));
    return effect_of(o, EFFECT_DELIVERED, rcpt, at, o->now.ms - o->head.arrival.ms);
}

static RESULT failed(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    if (o->head.reverse_path.size == 0)
        TRY(effect_of(o, EFFECT_DOUBLE_BOUNCE, rcpt, at, 0));
    if (dsn_wanted(DSN_FAILED, &o->head, rcpt) ||
        (o->head.reverse_path.size == 0 && o->e->cfg->double_bounce_to_postmaster)) {
        struct dsn_recipient told = dsn_recipient_of(o, rcpt, at);
        TRY(told_add(o, DSN_FAILED, &told));
    }
    TRY(history_put(o, ATTEMPT_FAILED, rcpt, at, first));
    TRY(store_recipient_delete(o->e->store, o->job->id, rcpt));
    return effect_of(o, EFFECT_FAILED, rcpt, at, 0);
}

/* The time is up: the recipient fails with 4.4.7 (RFC 3463 3.5: delivery time expired); the last host's words are kept. */
static RESULT expired(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    struct job_rcpt final = *at;

    final.status = BYTES("4.4.7");
    if (final.reply.size == 0)
        final.reply = BYTES("delivery time expired");
    return failed(o, rcpt, &final, first);
}

/* A mailbox that is full may be emptied; when nobody has done so for long its sender is told. A full disk is our own trouble. */
static bool is_over_quota(const struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at)
{
    return bytes_equal(at->status, BYTES("4.2.2")) && is_local_lane(rcpt->lane) &&
           walltime_reached(walltime_after(o->head.arrival, o->e->cfg->over_quota), o->now);
}

static RESULT over_quota(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    struct job_rcpt final = *at;

    final.status = BYTES("5.2.2");
    return failed(o, rcpt, &final, first);
}

static struct walltime next_try(struct outcome *o, const struct retry_plan *plan, const struct recipient *rcpt)
{
    /* By name: the scheduler may have dropped an idle lane while the commit had to wait. */
    struct lane *lane = scheduler_lane_find(o->e->scheduler, o->job->lane_name);
    struct walltime backoff = lane == NULL ? (struct walltime){0} : scheduler_lane_backoff_until(lane);

    uint32_t step = rcpt->attempts < RETRY_STEP_COUNT_MAX ? rcpt->attempts : RETRY_STEP_COUNT_MAX - 1;
    struct walltime *chosen = &o->next_tries[step];

    if (chosen->ms == 0)
        *chosen = retry_next_try(plan, rcpt->attempts + 1, o->now, &o->e->rng);
    /* While the whole lane waits, its recipients wait with it, so that the schedule on disk tells the truth. */
    struct walltime next = chosen->ms < backoff.ms ? backoff : *chosen;
    return retry_clamp(plan, o->head.arrival, next);
}

static RESULT recipient_move(struct outcome *o, const struct recipient *before, struct recipient *after)
{
    TRY(store_recipient_update(o->e->store, o->job->id, before, after));
    if (after->state != RECIPIENT_WAITING)
        return OK;
    return effect_add(o->e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = after->lane, .due = after->next_try});
}

static RESULT deferred(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    const struct retry_plan plan = plan_of(o, rcpt);
    struct recipient after = *rcpt;

    if (retry_gives_up(&plan, o->head.arrival, o->now))
        return expired(o, rcpt, at, first);
    if (is_over_quota(o, rcpt, at))
        return over_quota(o, rcpt, at, first);
    after.attempts++;
    after.next_try = next_try(o, &plan, rcpt);
    after.last_status = at->status;
    after.last_reply = at->reply;
    after.last_host = at->host;
    if (!rcpt->warned && retry_warns(&plan, o->head.arrival, o->now)) {
        after.warned = true;
        if (dsn_wanted(DSN_DELAYED, &o->head, rcpt)) {
            struct dsn_recipient told = dsn_recipient_of(o, rcpt, at);
            TRY(told_add(o, DSN_DELAYED, &told));
        }
    }
    TRY(history_put(o, ATTEMPT_DEFERRED, rcpt, at, first));
    TRY(recipient_move(o, rcpt, &after));
    return effect_of(o, EFFECT_DEFERRED, rcpt, at, (after.next_try.ms - o->now.ms) / 1000);
}

/* Not tried: it keeps its count and its place in time, and is simply due. */
static RESULT again(struct outcome *o, const struct recipient *rcpt)
{
    if (rcpt->state != RECIPIENT_WAITING)
        return OK;
    return effect_add(o->e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = rcpt->lane, .due = rcpt->next_try});
}

/* Its children take its place (Q3). */
static RESULT expanded(struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at, bool first)
{
    TRY(expansion_apply(o->e, &o->head, rcpt, at, &o->next_n, o->now));
    TRY(history_put(o, ATTEMPT_EXPANDED, rcpt, at, first));
    return store_recipient_delete(o->e->store, o->job->id, rcpt);
}

/* Numbers are never used twice, so the head keeps how far they went. */
static RESULT head_update(struct outcome *o)
{
    struct envelope_head head = o->head;

    if (o->next_n == head.rcpt_count)
        return OK;
    head.rcpt_count = o->next_n;
    head.reverse_path = o->reverse_path;
    return store_message_put(o->e->store, &head);
}

/* While a job goes on only its deliveries count: what lies in a mailbox must not lie there twice because of a crash before the
 * last recipient of the job was served. Those who are told about together wait for one another. */
static bool is_ripe(const struct outcome *o, const struct recipient *rcpt, const struct job_rcpt *at)
{
    if (o->job->ended)
        return true;
    return at->has_result && at->outcome == JOB_DELIVERED && !dsn_wanted(DSN_DELIVERED, &o->head, rcpt);
}

static RESULT recipient_apply(struct outcome *o, struct job_rcpt *at, bool first)
{
    struct recipient row, rcpt;

    at->applied = false;
    if (at->landed)
        return OK;
    struct result got = store_recipient_get(o->e->store, o->job->id, at->n, &row);
    if (got.code == CODE_GONE)
        return OK; /* deleted while it was in flight */
    if (got.code == CODE_CORRUPT) {
        o->e->batch.quarantine = true;
        return OK;
    }
    TRY(got);
    TRY(recipient_copy(&o->e->scratch, &row, &rcpt)); /* the view dies at the next put */
    if (!is_ripe(o, &rcpt, at))
        return OK;
    at->applied = true;
    enum job_outcome outcome = at->outcome;
    if (!at->has_result)
        outcome = o->job->verdict == LANE_WORKER_LOST ? JOB_AGAIN : JOB_DEFERRED;
    if (recipient_is_leaving(rcpt.state) && outcome != JOB_DELIVERED) {
        /* Deleted or bounced meanwhile: that is what becomes of it. Its window may have ended while it was in flight: then
         * its lane found nothing that was free to go, and forgot it. */
        return effect_add(o->e,
            &(struct effect){.kind = EFFECT_LANE_DUE, .lane = BYTES(RECIPIENT_LEAVING_LANE), .due = rcpt.next_try});
    }
    switch (outcome) {
    case JOB_DELIVERED:
        return delivered(o, &rcpt, at, first);
    case JOB_FAILED:
        return failed(o, &rcpt, at, first);
    case JOB_AGAIN:
        return again(o, &rcpt);
    case JOB_EXPANDED:
        return expanded(o, &rcpt, at, first);
    default:
        return deferred(o, &rcpt, at, first);
    }
}

static RESULT tell(struct outcome *o, enum dsn_kind kind)
{
    struct told *told = o->told[kind];
    struct bytes content = BYTES_NONE;
    struct message_id dsn;

    if (told == NULL)
        return OK;
    struct result got = store_body_get(o->e->store, o->job->id, 0, DSN_ORIGINAL_SIZE_MAX, &content);
    if (!is_ok(got))
        content = BYTES_NONE; /* a damaged body must not keep the sender from being told */
    return outcome_notify(o->e, kind, &o->head, told->list, told->count, content, o->now, &dsn);
}

RESULT outcome_apply(struct engine *e, struct job *job, struct walltime now)
{
    struct outcome o = {.e = e, .job = job, .now = now};
    struct envelope_head row;
    bool done = false;

    struct result got = store_message_get(e->store, job->id, &row);
    if (got.code == CODE_GONE)
        return OK;
    if (got.code == CODE_CORRUPT) {
        e->batch.quarantine = true;
        return OK;
    }
    TRY(got);
    TRY(envelope_head_copy(&e->scratch, &row, &o.head));
    o.next_n = o.head.rcpt_count;
    o.reverse_path = o.head.reverse_path;
    if (job->sender.size > 0)
        o.head.reverse_path = job->sender;
    for (uint32_t i = 0; i < job->rcpt_count; i++)
        TRY(recipient_apply(&o, &job->rcpts[i], i == 0));
    for (enum dsn_kind kind = 0; kind < DSN_KIND_COUNT; kind++)
        TRY(tell(&o, kind));
    TRY(head_update(&o));
    TRY(store_message_finish(e->store, job->id, &done));
    if (!done)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_MESSAGE_DONE, .id = job->id});
}

/* Whom a notification about `head` goes to: its sender; for a bounce that bounced, the postmaster if so configured. */
static RESULT notify_whom(struct engine *e, const struct envelope_head *head, struct bytes *to_out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf to = BUF(room);

    if (head->reverse_path.size > 0) {
        *to_out = head->reverse_path;
        return OK;
    }
    TRY(buf_put_str(&to, "postmaster@"));
    TRY(buf_put(&to, e->cfg->hostname));
    return arena_copy(&e->scratch, buf_bytes(&to), to_out);
}

static bool is_for_postmaster(const struct dsn_recipient *list, size_t count, struct bytes postmaster)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal_nocase(list[i].forward_path, postmaster))
            return true;
    return false;
}

/* What was told about a message stands in its own history. */
static RESULT notified_history(struct engine *e, enum dsn_kind kind, const struct envelope_head *head, struct bytes to,
    struct message_id dsn, struct walltime now)
{
    uint8_t room[ATTEMPT_SIZE_MAX];
    struct buf row = BUF(room);

    if (e->cfg->history_keep == 0)
        return OK;
    TRY(attempt_put(&row, &(struct attempt){.kind = ATTEMPT_QUEUED,
                              .forward_path = to,
                              .reply = bytes_of(dsn_kind_name(kind)),
                              .caused = dsn,
                              .from = head->reverse_path,
                              .message_id = head->message_id}));
    return store_history_put(e->store, head->id, now, buf_bytes(&row));
}

RESULT outcome_notify(struct engine *e, enum dsn_kind kind, const struct envelope_head *head,
    const struct dsn_recipient *list, size_t count, struct bytes content, struct walltime now,
    struct message_id *id_out)
{
    uint8_t lane_room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(lane_room);
    struct route_choice choice;
    struct envelope_head original = *head;
    struct buf body;
    enum body_type body_type = BODY_7BIT;
    bool utf8 = false;
    struct bytes to;

    TRY(notify_whom(e, head, &to));
    if (head->reverse_path.size == 0 && is_for_postmaster(list, count, to))
        return OK; /* the postmaster's own bounce bounced: the log has it */
    original.reverse_path = to;
    TRY(engine_take_id(e, id_out));
    buf_init(&body, e->dsn_room, DSN_SIZE_MAX);
    struct dsn_report report = {
        .kind = kind,
        .original = &original,
        .recipients = list,
        .recipient_count = count,
        .content = content,
        .content_is_whole = content.size == head->body_size,
        .id = *id_out,
        .now = now,
    };
    TRY(dsn_write(&body,
        &(struct dsn_config){.hostname = e->cfg->hostname, .return_size_max = e->cfg->dsn_return_size_max}, &report,
        &body_type, &utf8));
    TRY(engine_route_first(e, BYTES_NONE, &(struct recipient){.forward_path = to}, &lane, &choice));
    if (choice.kind == ROUTE_CHOICE_DISCARD || choice.kind == ROUTE_CHOICE_ERROR)
        return effect_add(e, &(struct effect){.kind = EFFECT_DOUBLE_BOUNCE,
                                 .id = head->id,
                                 .to = to,
                                 .reply = BYTES("the sender's domain has no route")});
    struct envelope_head dsn = {
        .id = *id_out,
        .arrival = now,
        .body_size = body.size,
        .rcpt_count = 1,
        .body_type = body_type,
        .flags = (utf8 ? ENVELOPE_SMTPUTF8 : 0) | (body_type == BODY_8BITMIME ? ENVELOPE_BODY_8BIT : 0),
        .origin = ORIGIN_DSN,
        .client = BYTES("queue"),
    };
    struct recipient rcpt = {
        .forward_path = to,
        .notify = DSN_NOTIFY_NEVER,
        .lane = choice.lane,
        .state = choice.kind == ROUTE_CHOICE_HOLD ? RECIPIENT_HELD : RECIPIENT_WAITING,
        .next_try = now,
    };
    TRY(store_body_put(e->store, dsn.id, 0, buf_bytes(&body)));
    TRY(store_message_put(e->store, &dsn));
    TRY(store_recipient_put(e->store, dsn.id, &rcpt));
    TRY(notified_history(e, kind, head, to, dsn.id, now));
    TRY(effect_add(e, &(struct effect){.kind = EFFECT_DSN_QUEUED,
                          .id = dsn.id,
                          .other = head->id,
                          .to = to,
                          .reply = bytes_of(dsn_kind_name(kind))}));
    if (rcpt.state == RECIPIENT_HELD)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = choice.lane, .due = now});
}
