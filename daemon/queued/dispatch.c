/* Jobs to workers. The scheduler names a lane; the first due row of that lane that is not in flight names a message; its
 * neighbours in the schedule with the same message join, up to JOB_RCPT_COUNT_MAX, because recipients of one message and
 * lane are stored and deferred with one time. Rows are only read here; the read transaction ends with the turn (Q5). */
#include "daemon/queued/engine_parts.h"

enum {
    NO_WORKER_WAIT_MS = 200, /* until a worker comes back; the supervisor restarts it with back-off */
    STANDBY_WAIT_MS = 5000,  /* a lane that stands by is asked when a slot is free; this is for what was overlooked */
    DUE_SKIP_MAX = 100000,   /* rows in flight or damaged that one look may pass over */
};

static bool is_in_flight(const struct engine *e, struct message_id id, uint32_t n)
{
    for (const struct job *job = map_get(&e->flights, id.value); job != NULL; job = job->next_of_message)
        for (uint32_t i = 0; i < job->rcpt_count; i++)
            if (job->rcpts[i].n == n)
                return true;
    return false;
}

bool engine_is_active(const struct engine *e, struct message_id id, uint32_t n)
{
    return is_in_flight(e, id, n);
}

static enum ipc_role lane_role(struct bytes lane)
{
    if (bytes_equal(lane, LANE_EXPAND))
        return ROLE_LOOKUP;
    return bytes_equal(lane, BYTES("local")) || bytes_starts(lane, BYTES("pipe:")) ||
                   bytes_starts(lane, BYTES("file:")) || bytes_starts(lane, BYTES("as:"))
               ? ROLE_LOCAL
               : ROLE_OUTBOUND;
}

/* A lane keeps to the worker that its name hashes to, for the sake of kept connections, until that one has clearly more to
 * do than the idlest. */
static struct engine_peer *worker_pick(struct engine *e, struct bytes lane)
{
    enum ipc_role role = lane_role(lane);
    struct engine_peer *idlest = NULL;
    struct engine_peer *home = NULL;
    uint32_t count = 0;

    for (struct engine_peer *p = e->peers; p != NULL; p = p->next) {
        if (p->role != role || p->slots == 0)
            continue;
        count++;
        if (p->in_flight < p->slots && (idlest == NULL || p->in_flight < idlest->in_flight))
            idlest = p;
    }
    if (idlest == NULL)
        return NULL;
    uint64_t at = bytes_hash(lane, 0) % count;
    for (struct engine_peer *p = e->peers; p != NULL; p = p->next)
        if (p->role == role && p->slots > 0 && at-- == 0)
            home = p;
    if (home == NULL || home->in_flight >= home->slots || home->in_flight > 2 * idlest->in_flight + 4)
        return idlest;
    return home;
}

static uint32_t slots_free(const struct engine *e, enum ipc_role role)
{
    uint32_t free_count = 0;

    for (const struct engine_peer *p = e->peers; p != NULL; p = p->next)
        if (p->role == role && p->slots > p->in_flight)
            free_count += p->slots - p->in_flight;
    return free_count;
}

static const enum ipc_role WORKERS[] = {ROLE_OUTBOUND, ROLE_LOCAL, ROLE_LOOKUP};

/* Whether some lane of a role with a free slot stands by: it is due in its place. */
static bool standby_call(struct engine *e, struct walltime now)
{
    uint8_t octets[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(octets);
    bool called = false;

    for (size_t i = 0; i < COUNT_OF(WORKERS); i++) {
        if (standby_is_empty(e->standby, WORKERS[i]))
            continue;
        for (uint32_t left = slots_free(e, WORKERS[i]); left > 0 && standby_take(e->standby, WORKERS[i], &lane);
             left--) {
            called = true;
            if (!is_ok(scheduler_lane_due(e->scheduler, buf_bytes(&lane), now)))
                e->rescan = true;
        }
    }
    return called;
}

void dispatch_slots_changed(struct engine *e)
{
    uint32_t slots = 0, local_slots = 0;

    for (struct engine_peer *p = e->peers; p != NULL; p = p->next) {
        if (p->role == ROLE_OUTBOUND || p->role == ROLE_LOCAL || p->role == ROLE_LOOKUP)
            slots += p->slots;
        if (p->role == ROLE_LOCAL)
            local_slots += p->slots;
    }
    scheduler_configure(e->scheduler, &(struct scheduler_config){.lane_slots_max = e->cfg->limits.connections_per_lane,
                                          .local_slots_max = local_slots,
                                          .slots_max = slots,
                                          .backoff = e->cfg->retry});
}

static void job_free(struct job *job)
{
    arena_fini(&job->arena);
    mem_free(job);
}

static void flight_remove(struct engine *e, struct job *job)
{
    struct job *first = map_get(&e->flights, job->id.value);

    if (first == job) {
        if (job->next_of_message == NULL) {
            map_remove(&e->flights, job->id.value);
        } else {
            struct result put = map_put(&e->flights, job->id.value, job->next_of_message);
            ASSERT(is_ok(put)); /* replacing takes no memory */
        }
        return;
    }
    for (struct job *j = first; j != NULL; j = j->next_of_message)
        if (j->next_of_message == job) {
            j->next_of_message = job->next_of_message;
            return;
        }
}

void dispatch_landed(struct engine *e, struct job *job)
{
    flight_remove(e, job);
    map_remove(&e->jobs, job->job.value);
    job_free(job);
}

static RESULT job_new(
    struct engine *e, struct lane *lane, struct bytes lane_name, struct message_id id, struct job **job_out)
{
    struct job *job = mem_take_zero(sizeof *job);
    void *memory = NULL;

    if (job == NULL)
        return FAIL(CODE_FULL, "out of memory");
    arena_init(&job->arena, bytes_equal(lane_name, LANE_EXPAND) ? EXPANSION_ARENA_SIZE_MAX : JOB_ARENA_SIZE_MAX);
    job->job.value = ++e->last_job;
    job->id = id;
    job->lane = lane;
    job->verdict = LANE_OK;
    struct result r = arena_copy(&job->arena, lane_name, &job->lane_name);
    if (is_ok(r))
        r = arena_take(&job->arena, JOB_RCPT_COUNT_MAX * sizeof(struct job_rcpt), &memory);
    job->rcpts = memory;
    if (is_ok(r))
        r = map_put(&e->jobs, job->job.value, job);
    if (!is_ok(r)) {
        job_free(job);
        return r;
    }
    *job_out = job;
    return OK;
}

/* A row that cannot be read is left to the quarantine of the next batch; until then its message is passed over. */
static void row_is_damaged(struct engine *e, struct message_id id)
{
    e->batch.quarantine = true;
    if (!is_ok(map_put(&e->damaged, id.value, e)))
        e->rescan = true;
}

/* Held, and its place in the schedule still stood: the next batch takes it away. */
static bool is_parked(struct engine *e, const struct store_due *due)
{
    struct recipient rcpt;

    if (!is_ok(store_recipient_get(e->store, due->id, due->n, &rcpt)) || rcpt.state != RECIPIENT_PARKED)
        return false; /* what cannot be read is met again by who starts the job */
    if (e->batch.parked_count < PARKED_COUNT_MAX)
        e->batch.parked[e->batch.parked_count++] = (struct order_target){due->id, due->n};
    return true;
}

/* The first row of the lane that is free to go at `now`; CODE_GONE when there is none, then next_out tells when the next
 * one is due. */
static RESULT due_first(
    struct engine *e, struct bytes lane, struct walltime now, struct store_due *due_out, struct walltime *next_out)
{
    struct store_due from = {.next_try = {0}};

    *next_out = WALLTIME_NEVER;
    for (uint32_t passed = 0; passed < DUE_SKIP_MAX; passed++) {
        TRY(store_due_next(e->store, lane, &from, due_out));
        if (!walltime_reached(due_out->next_try, now)) {
            *next_out = due_out->next_try;
            return FAIL(CODE_GONE, "nothing is due");
        }
        if (!is_in_flight(e, due_out->id, due_out->n) && map_get(&e->damaged, due_out->id.value) == NULL &&
            !is_parked(e, due_out))
            return OK;
        if (e->batch.parked_count == PARKED_COUNT_MAX) {
            *next_out = now; /* behind the batch that takes these away */
            return FAIL(CODE_GONE, "many are held");
        }
        from = store_due_after(due_out);
    }
    return FAIL(CODE_GONE, "nothing is free");
}

static void job_send_body(struct engine *e, struct engine_peer *worker, struct job *job, uint64_t offset, size_t size)
{
    struct bytes body;

    if (size > BODY_FRAME_SIZE_MAX)
        size = BODY_FRAME_SIZE_MAX;
    struct result r = store_body_get(e->store, job->id, offset, size, &body);
    if (is_ok(r)) {
        engine_send(e, worker,
            &(struct msg){.kind = MSG_job_body, .job_body = {.job = job->job, .offset = offset, .body = body}});
        return;
    }
    if (r.code == CODE_CORRUPT)
        row_is_damaged(e, job->id);
    engine_send(e, worker, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = job->job}});
}

/* Reads the recipients from `due` on into the job and says them to the worker. more_out: when the row behind them is due. */
static RESULT job_say_recipients(struct engine *e, struct engine_peer *worker, struct job *job, struct store_due due,
    struct walltime now, struct walltime *more_out)
{
    struct recipient rcpt;
    struct store_due from;

    *more_out = WALLTIME_NEVER;
    for (;;) {
        struct result r = store_recipient_get(e->store, job->id, due.n, &rcpt);
        if (!is_ok(r)) {
            row_is_damaged(e, job->id);
            return job->rcpt_count > 0 ? OK : r;
        }
        if (job->rcpt_count > 0 && !bytes_equal(rcpt.sender, job->sender))
            return OK; /* another reverse-path is another transaction; it is due, so the lane comes again */
        job->rcpts[job->rcpt_count++].n = rcpt.n;
        engine_send(e, worker, &(struct msg){.kind = MSG_job_rcpt, .job_rcpt = {.job = job->job, .rcpt = rcpt}});
        do {
            from = store_due_after(&due);
            if (!is_ok(store_due_next(e->store, job->lane_name, &from, &due)))
                return OK;
        } while (message_id_equal(due.id, job->id) && walltime_reached(due.next_try, now) &&
                 (is_in_flight(e, due.id, due.n) || is_parked(e, &due)));
        *more_out = due.next_try;
        if (!message_id_equal(due.id, job->id) || !walltime_reached(due.next_try, now) ||
            job->rcpt_count == JOB_RCPT_COUNT_MAX)
            return OK;
    }
}

/* The reverse-path of the first recipient, which those who join it share. */
static RESULT job_sender(struct engine *e, struct job *job, uint32_t n)
{
    struct recipient rcpt;

    struct result r = store_recipient_get(e->store, job->id, n, &rcpt);
    if (is_ok(r))
        return arena_copy(&job->arena, rcpt.sender, &job->sender);
    row_is_damaged(e, job->id);
    return r;
}

static RESULT job_start(struct engine *e, struct engine_peer *worker, struct lane *lane, const struct store_due *due,
    struct walltime now, struct walltime *more_out)
{
    struct envelope_head head;
    struct job *job = NULL;

    struct result got = store_message_get(e->store, due->id, &head);
    if (!is_ok(got)) {
        row_is_damaged(e, due->id);
        return got;
    }
    TRY(job_new(e, lane, scheduler_lane_name(lane), due->id, &job));
    struct result known = job_sender(e, job, due->n);
    if (!is_ok(known)) {
        map_remove(&e->jobs, job->job.value);
        job_free(job);
        return known;
    }
    if (job->sender.size > 0)
        head.reverse_path = job->sender;
    engine_send(e, worker,
        &(struct msg){.kind = MSG_job_begin, .job_begin = {.job = job->job, .lane = job->lane_name, .head = head}});
    struct result said = job_say_recipients(e, worker, job, *due, now, more_out);
    struct job *first = map_get(&e->flights, job->id.value);
    if (is_ok(said))
        said = map_put(&e->flights, job->id.value, job);
    if (!is_ok(said)) {
        engine_send(e, worker, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = job->job}});
        map_remove(&e->jobs, job->job.value);
        job_free(job);
        return said;
    }
    job->next_of_message = first;
    job->worker = worker;
    job->began = now;
    job->body_size = head.body_size;
    engine_stage(e, TALLY_SCHEDULE, (now.ms - due->next_try.ms) * 1000);
    worker->in_flight++;
    if (head.body_size > 0)
        job_send_body(e, worker, job, 0, BODY_FRAME_SIZE_MAX);
    engine_send(e, worker, &(struct msg){.kind = MSG_job_run, .job_run = {.job = job->job}});
    return OK;
}

/* Gives one job of the lane to a worker, or tells the scheduler why not. */
static void lane_run(struct engine *e, struct lane *lane, struct walltime now)
{
    struct engine_peer *worker;
    struct store_due due;
    struct walltime more;

    if (bytes_equal(scheduler_lane_name(lane), BYTES(RECIPIENT_LEAVING_LANE))) {
        /* No worker's task: the next batch does it (postmaster_leave). The lane is asked again, should that fail. */
        e->batch.leaving = is_ok(due_first(e, scheduler_lane_name(lane), now, &due, &more));
        scheduler_lane_empty(e->scheduler, lane, e->batch.leaving ? now : more);
        return;
    }
    worker = worker_pick(e, scheduler_lane_name(lane));
    if (worker == NULL) {
        bool stands_by = standby_put(e->standby, lane_role(scheduler_lane_name(lane)), scheduler_lane_name(lane));
        scheduler_lane_empty(e->scheduler, lane, walltime_after(now, stands_by ? STANDBY_WAIT_MS : NO_WORKER_WAIT_MS));
        return;
    }
    for (;;) {
        if (!is_ok(due_first(e, scheduler_lane_name(lane), now, &due, &more))) {
            scheduler_lane_empty(e->scheduler, lane, more);
            return;
        }
        struct result started = job_start(e, worker, lane, &due, now, &more);
        if (is_ok(started)) {
            scheduler_started(e->scheduler, lane, more);
            return;
        }
        if (started.code == CODE_FULL) { /* the heap; later */
            scheduler_lane_empty(e->scheduler, lane, walltime_after(now, NO_WORKER_WAIT_MS));
            return;
        }
    }
}

/* False: no memory for it. */
static bool health_save(struct engine *e, const struct scheduler_action *action, struct walltime now)
{
    struct save *save = mem_take_zero(sizeof *save);
    struct buf room;

    if (save == NULL)
        return false;
    buf_init(&room, save->room, sizeof save->room);
    save->health = action->health;
    save->health.last_error = bytes_head(action->health.last_error, LANE_HEALTH_SIZE_MAX / 2);
    struct result put = buf_put(&room, action->name);
    if (is_ok(put))
        put = buf_put(&room, save->health.last_error);
    ASSERT(is_ok(put));
    save->lane = (struct bytes){save->room, action->name.size};
    save->health.last_error = (struct bytes){save->room + action->name.size, save->health.last_error.size};
    if (e->batch.saves == NULL)
        e->save_after = walltime_after(now, SAVE_DELAY_MS);
    *e->batch.saves_end = save;
    e->batch.saves_end = &save->next;
    return true;
}

RESULT dispatch_saves(struct engine *e, struct walltime now)
{
    struct scheduler_action action;
    bool all = true;

    while (scheduler_save_next(e->scheduler, &action))
        all = health_save(e, &action, now) && all;
    return all ? OK : FAIL(CODE_FULL, "no memory to save what a lane was told");
}

void dispatch_turn(struct engine *e, struct walltime now)
{
    struct scheduler_action action;

    scheduler_tick(e->scheduler, now);
    if (!is_ok(store_read_begin(e->store)))
        return;
    (void)standby_call(e, now);
    do {
        while (scheduler_next(e->scheduler, &action)) {
            if (action.kind == SCHEDULER_RUN)
                lane_run(e, action.lane, now);
            else
                (void)health_save(e, &action, now); /* what is lost is learned again after a restart */
        }
    } while (standby_call(e, now)); /* who was called may have had nothing to go */
    store_read_end(e->store);
}

static struct job_rcpt *job_rcpt_find(struct job *job, uint32_t n)
{
    for (uint32_t i = 0; i < job->rcpt_count; i++)
        if (job->rcpts[i].n == n)
            return &job->rcpts[i];
    return NULL;
}

/* A reason of our own gets its status in front, as a peer's reply has it: lists and logs then show 4.4.3 or 5.1.2 alike. */
static RESULT reply_take(struct job *job, const struct msg_job_result *m, struct bytes *reply_out)
{
    uint8_t room[REPLY_KEPT_SIZE_MAX];
    struct buf text = BUF(room);
    bool ours = m->reply.size > 0 && !(m->reply.data[0] >= '0' && m->reply.data[0] <= '9');

    if (ours && m->status.size > 0) {
        TRY(buf_put(&text, bytes_head(m->status, 16)));
        TRY(buf_put_octet(&text, ' '));
    }
    TRY(buf_put(&text, bytes_head(m->reply, buf_left(&text))));
    return arena_copy(&job->arena, buf_bytes(&text), reply_out);
}

/* What a host said, as far as there is memory: a result must not be lost for want of its words, or the mail goes twice. */
static struct bytes words_kept(struct job *job, struct bytes words, size_t size_max)
{
    struct bytes copy;

    return is_ok(arena_copy(&job->arena, bytes_head(words, size_max), &copy)) ? copy : BYTES_NONE;
}

static RESULT result_take(struct job *job, const struct msg_job_result *m)
{
    struct job_rcpt *at = job_rcpt_find(job, m->n);

    if (at == NULL)
        return FAIL(CODE_REFUSED, "result for a recipient that is not in the job");
    if (m->outcome >= JOB_OUTCOME_COUNT)
        return FAIL(CODE_CORRUPT, "unknown outcome");
    if (m->outcome == JOB_EXPANDED && at->child_count == 0 && !at->children_lost)
        return FAIL(CODE_REFUSED, "expanded to nobody");
    at->status = words_kept(job, m->status, 16);
    if (at->status.size == 0)
        at->status = m->outcome == JOB_FAILED      ? BYTES("5.0.0")
                     : m->outcome == JOB_DELIVERED ? BYTES("2.0.0")
                                                   : BYTES("4.0.0");
    if (!is_ok(reply_take(job, m, &at->reply)))
        at->reply = BYTES_NONE;
    at->host = words_kept(job, m->host, DOMAIN_SIZE_MAX);
    at->address = words_kept(job, m->address, DISPLAY_FIELD_SIZE_MAX);
    at->tls = words_kept(job, m->tls, DISPLAY_FIELD_SIZE_MAX);
    at->outcome = m->outcome;
    if (m->outcome == JOB_EXPANDED && at->children_lost) {
        at->outcome = JOB_DEFERRED;
        at->status = BYTES("4.3.1");
        at->reply = BYTES("4.3.1 no memory for the recipients that it stands for");
    }
    at->dsn_passed = m->dsn_passed;
    at->has_result = true;
    return OK;
}

/* Mail in a mailbox is remembered as soon as it is there, not when all of its job are served (outcome.c). */
static void land_early(struct engine *e, struct job *job)
{
    if (job->early)
        return;
    job->early = true;
    job->next_early = e->batch.early;
    e->batch.early = job;
}

static RESULT child_take(struct job *job, const struct msg_job_child *m)
{
    struct job_rcpt *at = job_rcpt_find(job, m->n);
    bool is_path = m->kind == CHILD_ADDRESS || m->kind == CHILD_UNKNOWN || m->kind == CHILD_FORWARD;
    struct bytes path = is_path ? m->text : m->address;

    if (at == NULL || at->has_result)
        return FAIL(CODE_REFUSED, "child of a recipient that is not in the job");
    if (path.size == 0 || path.size > ADDRESS_SIZE_MAX || m->text.size == 0)
        return FAIL(CODE_CORRUPT, "child without an address");
    if (!at->children_lost && !is_ok(expansion_child_take(job, at, m)))
        at->children_lost = true; /* out of memory: the recipient is expanded again later, as a whole (Q3) */
    return OK;
}

/* The slot is free from here on; the recipients stay in flight until their results are durable (E4). */
static void job_ended(struct engine *e, struct job *job, struct walltime now, enum lane_verdict verdict)
{
    struct bytes error = BYTES_NONE;

    for (uint32_t i = 0; i < job->rcpt_count; i++)
        if (job->rcpts[i].has_result && job->rcpts[i].outcome == JOB_DEFERRED)
            error = job->rcpts[i].reply;
    job->verdict = verdict;
    job->ended = true;
    scheduler_finished(e->scheduler, job->lane, now, verdict, error);
    if (job->worker != NULL)
        job->worker->in_flight--;
    job->worker = NULL;
    job->lane = NULL; /* not ours to look at once its slot is given back */
    job->next = NULL;
    *e->batch.done_end = job;
    e->batch.done_end = &job->next;
}

static void job_measure(struct engine *e, const struct job *job, const struct msg_job_end *end, struct walltime now)
{
    int64_t took = now.ms - job->began.ms, connected = end->connected > 0 ? end->connected - 1 : 0;

    e->stats.dns[TALLY_DNS_FOUND] += end->dns_found;
    e->stats.dns[TALLY_DNS_NONE] += end->dns_none;
    e->stats.dns[TALLY_DNS_FAILED] += end->dns_failed;
    if (end->connected > 0)
        engine_stage(e, TALLY_CONNECT, connected * 1000);
    engine_stage(e, TALLY_DELIVER, (took - connected) * 1000);
}

/* A queue that cannot be read just now puts this one delivery off; the worker has done nothing wrong, and the results of its
 * others must not be lost with its channel (Q4). */
static void job_body_wanted(
    struct engine *e, struct engine_peer *worker, struct job *job, const struct msg_job_want *want)
{
    if (!is_ok(store_read_begin(e->store))) {
        engine_send(e, worker, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = job->job}});
        return;
    }
    job_send_body(e, worker, job, want->offset, want->size);
    store_read_end(e->store);
}

RESULT dispatch_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now)
{
    struct job *job;

    switch (msg->kind) {
    case MSG_worker_hello:
        peer->slots = msg->worker_hello.slots;
        dispatch_slots_changed(e);
        return OK;
    case MSG_job_want:
        job = map_get(&e->jobs, msg->job_want.job.value);
        if (job == NULL || job->worker != peer)
            return OK;
        job_body_wanted(e, peer, job, &msg->job_want);
        return OK;
    case MSG_job_result:
        job = map_get(&e->jobs, msg->job_result.job.value);
        if (job == NULL || job->worker != peer)
            return OK;
        TRY(result_take(job, &msg->job_result));
        if (peer->role == ROLE_LOCAL && msg->job_result.outcome == JOB_DELIVERED)
            land_early(e, job);
        return OK;
    case MSG_job_child:
        job = map_get(&e->jobs, msg->job_child.job.value);
        return job == NULL || job->worker != peer ? OK : child_take(job, &msg->job_child);
    case MSG_job_end:
        job = map_get(&e->jobs, msg->job_end.job.value);
        if (job == NULL || job->worker != peer)
            return OK;
        if (msg->job_end.verdict >= LANE_VERDICT_COUNT)
            return FAIL(CODE_CORRUPT, "unknown verdict");
        job->uncertain = msg->job_end.uncertain;
        job->transcript = words_kept(job, msg->job_end.transcript, ATTEMPT_TRANSCRIPT_SIZE_MAX);
        job_measure(e, job, &msg->job_end, now);
        job_ended(e, job, now, msg->job_end.verdict);
        return OK;
    default:
        return FAIL(CODE_REFUSED, "not a frame that a worker sends");
    }
}

void dispatch_peer_gone(struct engine *e, struct engine_peer *peer, struct walltime now)
{
    void *value = NULL;

    for (size_t i = 0; map_next(&e->jobs, &i, &value);) {
        struct job *job = value;
        if (job->worker == peer)
            job_ended(e, job, now, LANE_WORKER_LOST);
    }
    dispatch_slots_changed(e);
}
