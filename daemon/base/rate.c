#include "daemon/base/rate.h"

#include "daemon/base/base.h"

__extension__ typedef unsigned __int128 wide;

/* What n cost, in microseconds, rounded down so that a whole burst fits its window; bounded so that sums cannot run over. */
static uint64_t cost_of(const struct rate *rate, uint64_t n)
{
    wide cost = (wide)n * (uint64_t)rate->per_ms * 1000 / rate->count;

    if (cost == 0)
        return n > 0;
    return cost > UINT64_MAX / 8 ? UINT64_MAX / 8 : (uint64_t)cost;
}

/* The bucket as it is now. One further ahead than any debt was written under another clock or another rate. */
static uint64_t level(uint64_t bucket, uint64_t now, uint64_t window)
{
    if (bucket < now)
        return now;
    return bucket - now > 2 * window ? now + 2 * window : bucket;
}

bool rate_take(const struct rate *rate, uint64_t *bucket, int64_t now_ms, uint64_t n)
{
    uint64_t now = (uint64_t)now_ms * 1000;

    if (rate->count == 0)
        return true;
    uint64_t window = cost_of(rate, rate->burst), after = level(*bucket, now, window) + cost_of(rate, n);
    if (after - now > window)
        return false;
    *bucket = after;
    return true;
}

void rate_spend(const struct rate *rate, uint64_t *bucket, int64_t now_ms, uint64_t n)
{
    uint64_t now = (uint64_t)now_ms * 1000;

    if (rate->count == 0)
        return;
    uint64_t window = cost_of(rate, rate->burst);
    *bucket = level(level(*bucket, now, window) + cost_of(rate, n), now, window);
}

int64_t rate_ready(const struct rate *rate, uint64_t bucket, int64_t now_ms)
{
    uint64_t now = (uint64_t)now_ms * 1000;

    if (rate->count == 0)
        return now_ms;
    uint64_t window = cost_of(rate, rate->burst), after = level(bucket, now, window) + cost_of(rate, 1);
    return after - now <= window ? now_ms : now_ms + (int64_t)((after - now - window + 999) / 1000);
}
