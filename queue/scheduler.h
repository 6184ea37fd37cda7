/* scheduler: which lane may run a job now. Pure: it sees lanes, never messages, so its memory follows the number of
 * lanes with work (Q6), and a restart reads lanes.
 *
 * For: the engine of queued. Not for: choosing the message (the store's lane_due order does) or the host (dns/mx.h).
 * Lanes with due work and a free slot are served round-robin. Concurrency per lane: slow start from 1 (doubling per
 * round of successes), additive increase, multiplicative decrease on connection failure or a 4xx greeting, at most
 * lane_slots_max. A failing lane backs off as a whole by the steps of the retry plan, with a single probe job when the
 * back-off ends; LANE_OK clears it. The states of a lane stand in docs/states/lane.md.
 *   scheduler_lane_due(&s, lane, due);                     what the store says
 *   scheduler_tick(&s, now);
 *   while (scheduler_next(&s, &action)) switch (action.kind) {
 *   case SCHEDULER_RUN:  take a job of action.lane from the store; then, before the next scheduler_next,
 *                        scheduler_started(&s, action.lane, more_due)  or  scheduler_lane_empty(&s, action.lane, next_due)
 *   case SCHEDULER_SAVE: write action.health under the lane's name, or delete it when healthy }
 *   wait until scheduler_deadline(&s)
 * Times are walltime, as on disk; a clock that jumps back delays what has a time of its own, though no back-off of a lane;
 * one that jumps forward only hastens. */
#ifndef MANSIO_QUEUE_SCHEDULER_H
#define MANSIO_QUEUE_SCHEDULER_H

#include "daemon/base/base.h"
#include "queue/lane.h"
#include "queue/retry.h"

struct scheduler;
struct lane; /* opaque handle; stays valid from the call that gave it until the scheduler drops the idle lane, which it
                does only inside scheduler_tick */

struct scheduler_config {
    uint32_t lane_slots_max; /* limits.connections_per_lane */
    uint32_t
        local_slots_max; /* the same of the lane "local", where nobody is called: what its process takes; 0: as others */
    uint32_t slots_max;  /* jobs in flight over all lanes */
    struct retry_plan backoff;
};

/* What is kept of a lane over a restart, and shown by `queuectl lanes`. */
struct lane_health {
    uint32_t failures; /* back-offs in a row; 0: healthy */
    uint32_t
        slots; /* learned concurrency: up to here a restored lane starts slowly, above it carefully; 0: nothing learned */
    uint32_t slots_limit;            /* set by the operator; 0: none */
    struct walltime suspended_until; /* back-off; {0}: none */
    uint32_t pace_ms;                /* between the starts of two jobs, set by the operator; 0: none */
    bool suspended;                  /* by the operator, until resumed */
    struct bytes last_error;
};

enum { LANE_HEALTH_SIZE_MAX = 1024, LANE_ERROR_SIZE_MAX = 512 };
/* Nothing that must be remembered: on SAVE the lane's row is deleted. */
static inline bool lane_health_is_clean(const struct lane_health *health)
{
    return health->failures == 0 && health->slots_limit == 0 && health->pace_ms == 0 && !health->suspended;
}
/* `last_error` has at most LANE_ERROR_SIZE_MAX octets (the scheduler sees to it). */
RESULT lane_health_put(struct buf *out, const struct lane_health *health);
RESULT lane_health_get(struct wire_reader *in, struct lane_health *health_out);

enum scheduler_action_kind { SCHEDULER_RUN, SCHEDULER_SAVE };

struct scheduler_action {
    enum scheduler_action_kind kind;
    struct lane *lane;
    struct bytes name;         /* borrowed until the lane goes */
    struct lane_health health; /* SAVE */
};

struct lane_view { /* for listings and metrics */
    struct bytes name;
    uint32_t in_flight, slots;
    struct walltime first_due;
    struct lane_health health;
};

/* NULL when the heap has none. */
struct scheduler *scheduler_new(const struct scheduler_config *cfg, uint64_t seed);
void scheduler_free(struct scheduler **s);
void scheduler_configure(struct scheduler *s, const struct scheduler_config *cfg);

/* The lane has a job from `due` on (at start, after a commit that added or moved one). Creates the lane. CODE_FULL when the
 * heap has no room or the name is longer than LANE_NAME_SIZE_MAX; nothing has changed then. */
RESULT scheduler_lane_due(struct scheduler *s, struct bytes name, struct walltime due);
/* Health as stored, at start. CODE_FULL as above. */
RESULT scheduler_lane_restore(struct scheduler *s, struct bytes name, const struct lane_health *health);

void scheduler_tick(struct scheduler *s, struct walltime now);
bool scheduler_next(struct scheduler *s, struct scheduler_action *action_out);
/* Only what is to be saved: for who must know at once that it is. */
bool scheduler_save_next(struct scheduler *s, struct scheduler_action *action_out);
/* One job of the lane is on its way. `more_due`: when its next waiting job is due (WALLTIME_NEVER: none known). */
void scheduler_started(struct scheduler *s, struct lane *lane, struct walltime more_due);
/* Nothing could be taken now; `next_due` as above. When it is not in the future the lane is asked again a second later, so
 * that no loop over scheduler_next is without end. */
void scheduler_lane_empty(struct scheduler *s, struct lane *lane, struct walltime next_due);
/* A job ended. Frees its slot, learns from the verdict. `error` is kept for display when the lane backs off, cut at
 * LANE_ERROR_SIZE_MAX. The caller says scheduler_lane_due for what the job leaves behind; a lost worker's lane is due at once. */
void scheduler_finished(
    struct scheduler *s, struct lane *lane, struct walltime now, enum lane_verdict verdict, struct bytes error);
struct lane *scheduler_lane_find(struct scheduler *s, struct bytes name);
/* While a lane backs off, when it will be probed; else {0}. Retry times of its recipients are set no earlier. */
struct walltime scheduler_lane_backoff_until(const struct lane *lane);
struct bytes scheduler_lane_name(const struct lane *lane);

/* The operator's hand: NULL means every lane, also those that are yet to come. What is imposed on every lane is kept as the
 * health of a lane named "*", which never has work and is saved and restored like any other; lifting it through NULL
 * (suspended false, limit 0) lifts it from every single lane too. */
void scheduler_retry_now(struct scheduler *s, struct lane *lane, struct walltime now);
void scheduler_suspend(struct scheduler *s, struct lane *lane, bool suspended);
void scheduler_limit(struct scheduler *s, struct lane *lane, uint32_t slots_limit);
/* A lane's own pace counts before that of every lane. */
void scheduler_pace(struct scheduler *s, struct lane *lane, uint32_t pace_ms);

/* When tick wants to be called next; WALLTIME_NEVER: not before something happens. Not to be waited for while
 * scheduler_next still has something to say. */
struct walltime scheduler_deadline(const struct scheduler *s);
/* Lanes in order of their making, for listings: *cursor starts at 0. A cursor stays good over ticks: lanes that came or
 * went meanwhile are shown or not, all others exactly once. */
bool scheduler_lane_view(const struct scheduler *s, size_t *cursor, struct lane_view *view_out);
uint32_t scheduler_in_flight(const struct scheduler *s);
/* Octets of heap in use, kept error texts apart; for metrics. */
size_t scheduler_memory_size(const struct scheduler *s);

#endif
