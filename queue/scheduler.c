/* Where lanes stand: scheduler_lanes.h.
 *
 * (S1) lane_settle is the one function that moves a lane between places; everything that changes what it looks at
 *      (due, in_flight, slots, back-off, the operator's hand) ends by calling it.
 * (S2) A lane stands in the ring if and only if it has due work and a free slot, the lane on offer excepted. It joins at
 *      the tail and is taken from the head, so between two turns of one lane every other ready lane has had its turn.
 * (S3) Room in heap and roll is taken when a lane is made, so moving a lane never fails.
 * (S4) After a failure nothing new is started until a job that is under way succeeds. When none is left, the lane backs
 *      off: one refused connection among twenty that work slows a lane down, and does not stop it.
 * (S5) A healthy lane without work is dropped by tick once it has been idle for LANE_IDLE_MS. */
#include "queue/scheduler_lanes.h"

static const struct bytes every_name = BYTES_INIT("*");

static void save_ask(struct scheduler *s, struct lane *lane)
{
    if (lane->save_waits)
        return;
    lane->save_waits = true;
    link_append(&s->saves, &lane->saving);
}

static uint32_t lane_pace(const struct scheduler *s, const struct lane *lane)
{
    return lane->health.pace_ms > 0 ? lane->health.pace_ms : s->every->health.pace_ms;
}

static bool lane_is_suspended(const struct scheduler *s, const struct lane *lane)
{
    return lane->health.suspended || s->every->health.suspended;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t slots_max_of(const struct scheduler *s, const struct lane *lane)
{
    bool local = s->cfg.local_slots_max > 0 && bytes_equal(scheduler_lane_name(lane), BYTES("local"));

    return local ? s->cfg.local_slots_max : s->cfg.lane_slots_max;
}

/* Jobs the lane may have under way together, the operator's suspension and the back-off's end apart. */
static uint32_t lane_capacity(const struct scheduler *s, const struct lane *lane)
{
    uint32_t capacity = least(lane->slots, slots_max_of(s, lane));

    if (lane->draining)
        return 0;
    if (lane->health.failures > 0)
        return 1; /* the probe */
    if (lane->health.slots_limit > 0)
        capacity = least(capacity, lane->health.slots_limit);
    if (s->every->health.slots_limit > 0)
        capacity = least(capacity, s->every->health.slots_limit);
    return capacity;
}

static void place_set(struct scheduler *s, struct lane *lane, enum place place, struct walltime wake)
{
    if (lane->place == place && (place != PLACE_HEAP || lane->wake.ms == wake.ms))
        return; /* keeps its turn in the ring (S2) and its age in the idle line */
    if (lane->place == PLACE_HEAP && place == PLACE_HEAP) {
        lane->wake = wake;
        scheduler_heap_sift(s, lane->heap_at);
        return;
    }
    if (lane->place == PLACE_HEAP)
        scheduler_heap_remove(s, lane);
    else if (lane->place != PLACE_NONE)
        link_remove(&lane->line);
    lane->place = place;
    lane->wake = wake;
    if (place == PLACE_HEAP) {
        scheduler_heap_add(s, lane);
    } else if (place == PLACE_READY) {
        link_append(&s->ready, &lane->line);
    } else if (place == PLACE_IDLE) {
        lane->idle_since = s->now;
        link_append(&s->idle, &lane->line);
    }
}

/* (S1) Looks at the lane and puts it where it belongs. */
static void lane_settle(struct scheduler *s, struct lane *lane)
{
    struct walltime until = lane->health.suspended_until;
    bool backs_off = lane->health.failures > 0 && !walltime_reached(until, s->now);

    if (lane == s->offered || lane == s->every)
        return;
    if (lane->due.ms == INT64_MAX && lane->in_flight == 0) {
        if (backs_off) {
            place_set(s, lane, PLACE_HEAP, until);
            return;
        }
        if (lane->health.failures > 0) {
            /* The back-off is over and nothing is left to probe with: the lane's ill health would be kept for ever. */
            lane->health.failures = 0;
            lane->health.suspended_until = (struct walltime){0};
            save_ask(s, lane);
        }
        place_set(s, lane, lane_health_is_clean(&lane->health) ? PLACE_IDLE : PLACE_NONE, WALLTIME_NEVER);
        return;
    }
    if (lane->due.ms == INT64_MAX || lane_is_suspended(s, lane)) {
        place_set(s, lane, PLACE_NONE, WALLTIME_NEVER);
    } else if (backs_off) {
        place_set(s, lane, PLACE_HEAP, lane->due.ms > until.ms ? lane->due : until);
    } else if (!walltime_reached(lane->paced_until, s->now) && lane_pace(s, lane) > 0) {
        place_set(s, lane, PLACE_HEAP, lane->due.ms > lane->paced_until.ms ? lane->due : lane->paced_until);
    } else if (lane->in_flight >= lane_capacity(s, lane)) {
        place_set(s, lane, PLACE_NONE, WALLTIME_NEVER); /* the end of a job calls us again */
    } else if (walltime_reached(lane->due, s->now)) {
        place_set(s, lane, PLACE_READY, WALLTIME_NEVER);
    } else {
        place_set(s, lane, PLACE_HEAP, lane->due);
    }
}

static void settle_all(struct scheduler *s)
{
    for (size_t i = 0; i < s->roll_count; i++)
        if (s->roll[i].lane != NULL)
            lane_settle(s, s->roll[i].lane);
}

/* --- making --- */

static void config_set(struct scheduler *s, const struct scheduler_config *cfg)
{
    ASSERT(cfg->backoff.step_count >= 1);
    s->cfg = *cfg;
    if (s->cfg.lane_slots_max == 0)
        s->cfg.lane_slots_max = 1;
    if (s->cfg.slots_max == 0)
        s->cfg.slots_max = 1;
}

struct scheduler *scheduler_new(const struct scheduler_config *cfg, uint64_t seed)
{
    struct scheduler *s = mem_take_zero(sizeof *s);

    if (s == NULL)
        return NULL;
    link_init(&s->ready);
    link_init(&s->idle);
    link_init(&s->saves);
    s->rng.state = seed;
    s->hash_seed = rng_next(&s->rng);
    config_set(s, cfg);
    s->table_size = TABLE_SIZE_MIN;
    s->room = ROLL_SIZE_MIN;
    s->table = mem_take_zero(s->table_size * sizeof *s->table);
    s->heap = mem_take(s->room * sizeof *s->heap);
    s->roll = mem_take(s->room * sizeof *s->roll);
    if (s->table == NULL || s->heap == NULL || s->roll == NULL || !is_ok(scheduler_lane_make(s, every_name, &s->every)))
        scheduler_free(&s);
    return s;
}

void scheduler_free(struct scheduler **s)
{
    struct scheduler *gone = *s;

    *s = NULL;
    if (gone == NULL)
        return;
    for (size_t i = 0; i < gone->roll_count; i++)
        if (gone->roll[i].lane != NULL) {
            scheduler_error_forget(gone->roll[i].lane);
            mem_free(gone->roll[i].lane);
        }
    mem_free(gone->table);
    mem_free(gone->heap);
    mem_free(gone->roll);
    mem_free(gone);
}

void scheduler_configure(struct scheduler *s, const struct scheduler_config *cfg)
{
    config_set(s, cfg);
    settle_all(s);
}

RESULT
scheduler_lane_due(struct scheduler *s, struct bytes name, struct walltime due)
{
    struct lane *lane;

    TRY(scheduler_lane_make(s, name, &lane));
    lane->due = walltime_min(lane->due, due);
    lane_settle(s, lane);
    return OK;
}

RESULT
scheduler_lane_restore(struct scheduler *s, struct bytes name, const struct lane_health *health)
{
    struct lane *lane;

    TRY(scheduler_lane_make(s, name, &lane));
    scheduler_error_forget(lane);
    lane->health = *health;
    lane->health.last_error = BYTES_NONE;
    scheduler_error_keep(lane, health->last_error);
    /* Connections do not outlive a restart: start slowly again, up to what was learned. */
    lane->threshold = health->slots > 0 ? health->slots : THRESHOLD_NONE;
    if (lane == s->every)
        settle_all(s);
    else
        lane_settle(s, lane);
    return OK;
}

/* --- running --- */

/* The clock was set back by so much: back-offs go with it, for mail that comes meanwhile must not wait for the old time. A
 * stored back-off may come from a clock that was ahead: none may outlast its step of the plan. */
static void backoffs_set_back(struct scheduler *s, int64_t back_ms)
{
    for (size_t i = 0; i < s->roll_count; i++) {
        struct lane *lane = s->roll[i].lane;
        if (lane == NULL)
            continue;
        if (lane->health.suspended_until.ms > back_ms)
            lane->health.suspended_until.ms -= back_ms;
        int64_t step = retry_step_ms(&s->cfg.backoff, lane->health.failures);
        struct walltime latest = walltime_after(s->now, step > INT64_MAX / 2 ? step : 2 * step); /* twice: jitter */
        lane->health.suspended_until = walltime_min(lane->health.suspended_until, latest);
        lane->paced_until = walltime_min(lane->paced_until, walltime_after(s->now, lane_pace(s, lane)));
        if (back_ms >= LANE_ASK_AGAIN_MS && lane->due.ms != INT64_MAX)
            lane->due =
                walltime_min(lane->due, s->now); /* not all are times of rows: what the rows say is asked again */
        lane_settle(s, lane);
    }
}

/* (S5) */
static void idle_drop(struct scheduler *s)
{
    for (unsigned count = 0; count < LANE_DROP_MAX && !link_is_empty(&s->idle); count++) {
        struct lane *lane = lane_of_line(s->idle.after);
        if (s->now.ms >= lane->idle_since.ms && s->now.ms - lane->idle_since.ms < LANE_IDLE_MS)
            break;
        place_set(s, lane, PLACE_NONE, WALLTIME_NEVER);
        if (lane->save_waits)
            lane_settle(s, lane); /* the action would name a lane that is gone: wait another turn */
        else
            scheduler_lane_drop(s, lane);
    }
}

void scheduler_tick(struct scheduler *s, struct walltime now)
{
    int64_t back_ms = s->now.ms > now.ms ? s->now.ms - now.ms : 0;

    s->now = now;
    if (back_ms > 0 || !s->ticked)
        backoffs_set_back(s, back_ms);
    s->ticked = true;
    while (s->heap_count > 0 && walltime_reached(s->heap[0]->wake, now)) {
        struct lane *lane = s->heap[0];
        lane_settle(s, lane);
        ASSERT(s->heap_count == 0 || s->heap[0] != lane || !walltime_reached(lane->wake, now));
    }
    idle_drop(s);
    scheduler_memory_return(s);
}

static struct lane_health lane_health_now(const struct lane *lane)
{
    struct lane_health health = lane->health;

    health.slots = lane->threshold == THRESHOLD_NONE || lane->slots > lane->threshold ? lane->slots : lane->threshold;
    return health;
}

bool scheduler_save_next(struct scheduler *s, struct scheduler_action *action_out)
{
    if (link_is_empty(&s->saves))
        return false;
    struct lane *lane = lane_of_saving(s->saves.after);
    link_remove(&lane->saving);
    lane->save_waits = false;
    *action_out = (struct scheduler_action){SCHEDULER_SAVE, lane, scheduler_lane_name(lane), lane_health_now(lane)};
    return true;
}

bool scheduler_next(struct scheduler *s, struct scheduler_action *action_out)
{
    struct lane *lane;

    ASSERT(s->offered == NULL);
    if (scheduler_save_next(s, action_out))
        return true;
    if (s->in_flight >= s->cfg.slots_max || link_is_empty(&s->ready))
        return false;
    lane = lane_of_line(s->ready.after);
    place_set(s, lane, PLACE_NONE, WALLTIME_NEVER);
    s->offered = lane;
    *action_out = (struct scheduler_action){.kind = SCHEDULER_RUN, .lane = lane, .name = scheduler_lane_name(lane)};
    return true;
}

void scheduler_started(struct scheduler *s, struct lane *lane, struct walltime more_due)
{
    ASSERT(lane == s->offered);
    s->offered = NULL;
    s->in_flight++;
    lane->in_flight++;
    lane->due = more_due;
    if (lane->in_flight >= lane->slots)
        lane->credit = lane->slots;
    /* A start that came a little late does not slow the next one down. */
    if (lane_pace(s, lane) > 0)
        lane->paced_until = walltime_after(
            s->now.ms - lane->paced_until.ms < lane_pace(s, lane) ? lane->paced_until : s->now, lane_pace(s, lane));
    lane_settle(s, lane);
}

void scheduler_lane_empty(struct scheduler *s, struct lane *lane, struct walltime next_due)
{
    ASSERT(lane == s->offered);
    s->offered = NULL;
    lane->due = walltime_reached(next_due, s->now) ? walltime_after(s->now, LANE_ASK_AGAIN_MS) : next_due;
    lane_settle(s, lane);
}

/* Slow start: one slot more for each success doubles the slots in a round. Above the threshold one more for a whole round.
 * Only successes with all slots in use count: a lane that never filled its slots has proved nothing about more of them. */
static void lane_grow(struct scheduler *s, struct lane *lane)
{
    if (lane->credit == 0)
        return;
    lane->credit--;
    if (lane->slots >= slots_max_of(s, lane))
        return;
    if (lane->slots < lane->threshold) {
        lane->slots++;
    } else if (++lane->gained >= lane->slots) {
        lane->gained = 0;
        lane->slots++;
        lane->threshold = lane->slots;
    }
}

/* Called once for all failures among the jobs that are under way together (`cohort`): they tell the same news. */
static void lane_shrink(struct lane *lane)
{
    if (lane->slots == 1)
        return;
    lane->slots /= 2;
    lane->threshold = lane->slots;
    lane->credit = 0;
    lane->gained = 0;
    lane->cohort = lane->in_flight;
}

static void lane_back_off(
    struct scheduler *s, struct lane *lane, struct walltime now, enum lane_verdict verdict, struct bytes error)
{
    uint32_t step;

    if (lane->health.failures < UINT32_MAX)
        lane->health.failures++;
    step = lane->health.failures;
    if (verdict == LANE_DNS_FAILED)
        step = least(step, DNS_BACKOFF_STEPS_MAX);
    lane->health.suspended_until = retry_next_try(&s->cfg.backoff, step, now, &s->rng);
    lane->draining = false;
    lane->slots = 1;
    lane->credit = 0;
    lane->gained = 0;
    scheduler_error_keep(lane, error);
    save_ask(s, lane);
}

void scheduler_finished(
    struct scheduler *s, struct lane *lane, struct walltime now, enum lane_verdict verdict, struct bytes error)
{
    bool stale = false;

    ASSERT(lane->in_flight > 0 && s->in_flight > 0);
    lane->in_flight--;
    s->in_flight--;
    if (lane->cohort > 0) {
        lane->cohort--;
        stale = true;
    }
    switch (verdict) {
    case LANE_OK:
        lane->draining = false;
        if (lane->health.failures > 0) {
            lane->health.failures = 0;
            lane->health.suspended_until = (struct walltime){0};
            scheduler_error_forget(lane);
            save_ask(s, lane);
        }
        lane_grow(s, lane);
        break;
    case LANE_CONNECT_FAILED:
    case LANE_GREETING_4XX:
        if (!stale)
            lane_shrink(lane);
        lane->draining = true;
        break;
    case LANE_DNS_FAILED: /* says nothing about how many connections a host bears */
        lane->draining = true;
        break;
    case LANE_WORKER_LOST:
    case LANE_VERDICT_COUNT:
        ASSERT(verdict != LANE_VERDICT_COUNT);
        lane->due = walltime_min(lane->due, s->now);
        break;
    }
    if (lane->draining && lane->in_flight == 0) {
        if (verdict == LANE_WORKER_LOST)
            lane->draining = false; /* those that could have succeeded were lost by us: ask again */
        else
            lane_back_off(s, lane, now, verdict, error);
    }
    lane_settle(s, lane);
}

struct walltime scheduler_lane_backoff_until(const struct lane *lane)
{
    return lane->health.failures > 0 ? lane->health.suspended_until : (struct walltime){0};
}

/* --- the operator's hand --- */

static void lane_retry_now(struct scheduler *s, struct lane *lane, struct walltime now)
{
    if (lane->health.failures > 0) {
        lane->health.failures = 0;
        lane->health.suspended_until = (struct walltime){0};
        save_ask(s, lane);
    }
    lane->draining = false;
    if (lane->due.ms != INT64_MAX)
        lane->due = walltime_min(lane->due, walltime_min(now, s->now));
    lane_settle(s, lane);
}

void scheduler_retry_now(struct scheduler *s, struct lane *lane, struct walltime now)
{
    if (lane != NULL) {
        lane_retry_now(s, lane, now);
        return;
    }
    for (size_t i = 0; i < s->roll_count; i++)
        if (s->roll[i].lane != NULL)
            lane_retry_now(s, s->roll[i].lane, now);
}

static void lane_suspend(struct scheduler *s, struct lane *lane, bool suspended)
{
    if (lane->health.suspended != suspended) {
        lane->health.suspended = suspended;
        save_ask(s, lane);
    }
    lane_settle(s, lane);
}

static void lane_limit(struct scheduler *s, struct lane *lane, uint32_t slots_limit)
{
    if (lane->health.slots_limit != slots_limit) {
        lane->health.slots_limit = slots_limit;
        save_ask(s, lane);
    }
    lane_settle(s, lane);
}

static void lane_pace_set(struct scheduler *s, struct lane *lane, uint32_t pace_ms)
{
    if (lane->health.pace_ms != pace_ms) {
        lane->health.pace_ms = pace_ms;
        lane->paced_until = (struct walltime){0};
        save_ask(s, lane);
    }
    lane_settle(s, lane);
}

void scheduler_pace(struct scheduler *s, struct lane *lane, uint32_t pace_ms)
{
    lane_pace_set(s, lane != NULL ? lane : s->every, pace_ms);
    if (lane != NULL)
        return;
    for (size_t i = 0; i < s->roll_count && pace_ms == 0; i++)
        if (s->roll[i].lane != NULL)
            lane_pace_set(s, s->roll[i].lane, 0);
    settle_all(s);
}

void scheduler_suspend(struct scheduler *s, struct lane *lane, bool suspended)
{
    lane_suspend(s, lane != NULL ? lane : s->every, suspended);
    if (lane != NULL)
        return;
    for (size_t i = 0; i < s->roll_count && !suspended; i++)
        if (s->roll[i].lane != NULL)
            lane_suspend(s, s->roll[i].lane, false);
    settle_all(s);
}

void scheduler_limit(struct scheduler *s, struct lane *lane, uint32_t slots_limit)
{
    lane_limit(s, lane != NULL ? lane : s->every, slots_limit);
    if (lane != NULL)
        return;
    for (size_t i = 0; i < s->roll_count && slots_limit == 0; i++)
        if (s->roll[i].lane != NULL)
            lane_limit(s, s->roll[i].lane, 0);
    settle_all(s);
}

/* --- looking --- */

struct walltime scheduler_deadline(const struct scheduler *s)
{
    struct walltime deadline = s->heap_count > 0 ? s->heap[0]->wake : WALLTIME_NEVER;

    if (!link_is_empty(&s->saves) || (!link_is_empty(&s->ready) && s->in_flight < s->cfg.slots_max))
        return s->now;
    if (!link_is_empty(&s->idle))
        deadline = walltime_min(deadline, walltime_after(lane_of_line(s->idle.after)->idle_since, LANE_IDLE_MS));
    return deadline;
}

bool scheduler_lane_view(const struct scheduler *s, size_t *cursor, struct lane_view *view_out)
{
    size_t at = scheduler_roll_find_after(s, *cursor);

    while (at < s->roll_count &&
           (s->roll[at].lane == NULL || (s->roll[at].lane == s->every && lane_health_is_clean(&s->every->health))))
        at++;
    if (at == s->roll_count)
        return false;
    const struct lane *lane = s->roll[at].lane;
    *cursor = (size_t)s->roll[at].serial;
    *view_out = (struct lane_view){
        .name = scheduler_lane_name(lane),
        .in_flight = lane->in_flight,
        .slots = lane_capacity(s, lane),
        .first_due = lane->due,
        .health = lane_health_now(lane),
    };
    return true;
}

uint32_t scheduler_in_flight(const struct scheduler *s)
{
    return s->in_flight;
}

size_t scheduler_memory_size(const struct scheduler *s)
{
    return sizeof *s + s->lane_octets + s->table_size * sizeof *s->table +
           s->room * (sizeof *s->heap + sizeof *s->roll);
}
