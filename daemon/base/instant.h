/* instant, walltime: two kinds of time in two types, so that they cannot be mixed.
 *
 * struct instant is monotonic and times a session; struct walltime is UTC since 1970 and is what the queue stores
 * on disk. Both count milliseconds. Cores never read a clock: both come in as arguments; only clock.h (edge) reads.
 *   struct instant deadline = instant_after(now, cfg->timeout_ms);
 *   if (instant_reached(deadline, now)) ... */
#ifndef MANSIO_INSTANT_H
#define MANSIO_INSTANT_H

struct instant {
    int64_t ms;
};

struct walltime {
    int64_t ms;
};

#define INSTANT_NEVER ((struct instant){INT64_MAX})
#define WALLTIME_NEVER ((struct walltime){INT64_MAX})

static inline struct instant instant_after(struct instant at, int64_t ms)
{
    return at.ms > INT64_MAX - ms ? INSTANT_NEVER : (struct instant){at.ms + ms};
}
static inline struct instant instant_min(struct instant a, struct instant b)
{
    return a.ms < b.ms ? a : b;
}
static inline bool instant_reached(struct instant deadline, struct instant now)
{
    return now.ms >= deadline.ms;
}
static inline struct walltime walltime_after(struct walltime at, int64_t ms)
{
    return at.ms > INT64_MAX - ms ? WALLTIME_NEVER : (struct walltime){at.ms + ms};
}
static inline struct walltime walltime_min(struct walltime a, struct walltime b)
{
    return a.ms < b.ms ? a : b;
}
static inline bool walltime_reached(struct walltime due, struct walltime now)
{
    return now.ms >= due.ms;
}

enum { WALLTIME_DATE_SIZE_MAX = 40 };
/* RFC 5322 3.3 date-time in UTC, as "Sat, 21 Nov 2026 22:40:49 +0000". Computed here: no locale, no time zone files. */
RESULT walltime_put_date(struct buf *out, struct walltime t);
/* RFC 3339 with milliseconds, as "2026-11-21T22:40:49.123Z". */
RESULT walltime_put_iso(struct buf *out, struct walltime t);

#endif
