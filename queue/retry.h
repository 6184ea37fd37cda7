/* retry: when a deferred recipient is tried again, warned about and given up. Pure and seeded.
 *
 * For: queued, when it stores an attempt's result. Not for: the back-off of whole lanes (scheduler.h), which uses the
 * same steps.
 *   struct walltime next = retry_next_try(&plan, attempts, now, &rng);
 *   if (retry_gives_up(&plan, arrival, now)) fail("4.4.7")
 * The last step repeats; each step is spread by ± jitter. The step is counted from the end of the attempt. */
#ifndef MANSIO_QUEUE_RETRY_H
#define MANSIO_QUEUE_RETRY_H

#include "daemon/base/base.h"

enum { RETRY_STEP_COUNT_MAX = 32 };

struct retry_plan {
    int64_t steps_ms[RETRY_STEP_COUNT_MAX];
    size_t step_count;       /* at least 1 */
    uint32_t jitter_percent; /* 0..100: jitter = 0.2 is 20 */
    int64_t warn_after_ms;   /* 0: never */
    int64_t give_up_after_ms;
};

/* The default of DESIGN section 3: 2m 5m 10m 20m 40m 80m 160m 4h, 20 %, 4h, 5d. */
void retry_plan_default(struct retry_plan *plan_out);
/* The step after attempt number `attempts` (1 = the first just failed), without and with jitter. */
int64_t retry_step_ms(const struct retry_plan *plan, uint32_t attempts);
struct walltime retry_next_try(const struct retry_plan *plan, uint32_t attempts, struct walltime now, struct rng *rng);
/* The last try happens at give-up time: a next try that would lie after it is moved to it. */
struct walltime retry_clamp(const struct retry_plan *plan, struct walltime arrival, struct walltime next);
bool retry_gives_up(const struct retry_plan *plan, struct walltime arrival, struct walltime now);
bool retry_warns(const struct retry_plan *plan, struct walltime arrival, struct walltime now);

#endif
