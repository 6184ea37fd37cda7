#include "queue/retry.h"

void retry_plan_default(struct retry_plan *plan_out)
{
    enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS };
    static const int64_t minutes[] = {2, 5, 10, 20, 40, 80, 160, 240};

    *plan_out = (struct retry_plan){
        .step_count = COUNT_OF(minutes),
        .jitter_percent = 20,
        .warn_after_ms = 4 * (int64_t)HOUR_MS,
        .give_up_after_ms = 5 * 24 * (int64_t)HOUR_MS,
    };
    for (size_t i = 0; i < COUNT_OF(minutes); i++)
        plan_out->steps_ms[i] = minutes[i] * MINUTE_MS;
}

int64_t retry_step_ms(const struct retry_plan *plan, uint32_t attempts)
{
    size_t i = attempts == 0 ? 0 : attempts - 1;

    ASSERT(plan->step_count >= 1 && plan->step_count <= RETRY_STEP_COUNT_MAX);
    return plan->steps_ms[i < plan->step_count ? i : plan->step_count - 1];
}

struct walltime retry_next_try(const struct retry_plan *plan, uint32_t attempts, struct walltime now, struct rng *rng)
{
    int64_t step = retry_step_ms(plan, attempts);
    int64_t spread;

    ASSERT(step >= 0 && plan->jitter_percent <= 100);
    /* Divide before multiplying where the product could leave the type: a step of years is legal. */
    spread = step > INT64_MAX / 200 ? step / 100 * plan->jitter_percent : step * plan->jitter_percent / 100;
    if (spread > 0 && step <= INT64_MAX - spread)
        step += (int64_t)rng_below(rng, 2 * (uint64_t)spread + 1) - spread;
    return walltime_after(now, step);
}

struct walltime retry_clamp(const struct retry_plan *plan, struct walltime arrival, struct walltime next)
{
    return walltime_min(next, walltime_after(arrival, plan->give_up_after_ms));
}

bool retry_gives_up(const struct retry_plan *plan, struct walltime arrival, struct walltime now)
{
    return walltime_reached(walltime_after(arrival, plan->give_up_after_ms), now);
}

bool retry_warns(const struct retry_plan *plan, struct walltime arrival, struct walltime now)
{
    return plan->warn_after_ms > 0 && walltime_reached(walltime_after(arrival, plan->warn_after_ms), now);
}
