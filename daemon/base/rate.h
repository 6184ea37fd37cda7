/* rate: how often something may happen: so many in a time, with a burst. A bucket is one number, so it can stand in shared
 * memory, in a row on the disk, or in a struct.
 *
 * For: bounds per client, login, sender. Not for: keeping buckets (inbound/rates.h). Pure: the time comes in.
 * The number is the moment, in microseconds, at which the bucket will be full again (generic cell rate algorithm): one that
 * lies in the past is a full bucket, so a bucket that was forgotten and one that was never used are the same.
 *   struct rate r = {.count = 100, .burst = 20, .per_ms = 60000};
 *   if (!rate_take(&r, &bucket, now_ms, 1)) ... too many ... */
#ifndef MANSIO_RATE_H
#define MANSIO_RATE_H

#include "daemon/base/prelude.h"

#include <stdbool.h>
#include <stdint.h>

struct rate {
    uint64_t count; /* 0: no bound */
    uint64_t burst; /* how many at once, at least 1 */
    int64_t per_ms;
};

/* Takes n; false, and nothing taken, when there is less. */
bool rate_take(const struct rate *rate, uint64_t *bucket, int64_t now_ms, uint64_t n);
/* Takes n whatever is left: what was not known before it came. A bucket owes at most one burst. */
void rate_spend(const struct rate *rate, uint64_t *bucket, int64_t now_ms, uint64_t n);
/* When rate_take(…, 1) will say yes; now_ms when it would now. */
int64_t rate_ready(const struct rate *rate, uint64_t bucket, int64_t now_ms);

#endif
