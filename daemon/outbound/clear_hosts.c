#include "daemon/outbound/clear_hosts.h"

/* Its index; `count`: it is not there. */
static size_t place_find(const struct clear_hosts *t, const uint8_t digest[DIGEST_SIZE])
{
    size_t i = 0;

    while (i < t->count && memcmp(t->places[i].digest, digest, DIGEST_SIZE) != 0)
        i++;
    return i;
}

static size_t place_oldest(const struct clear_hosts *t)
{
    size_t oldest = 0;

    for (size_t i = 1; i < t->count; i++)
        if (t->places[i].until.ms < t->places[oldest].until.ms)
            oldest = i;
    return oldest;
}

void clear_hosts_put(struct clear_hosts *t, struct bytes key, struct instant now)
{
    struct clear_hosts_place place = {.until = instant_after(now, CLEAR_HOSTS_KEEP_MS)};

    digest_sha256(key, place.digest);
    size_t i = place_find(t, place.digest);
    if (i == CLEAR_HOSTS_COUNT_MAX)
        i = place_oldest(t);
    else if (i == t->count)
        t->count++;
    t->places[i] = place;
}

bool clear_hosts_has(struct clear_hosts *t, struct bytes key, struct instant now)
{
    uint8_t digest[DIGEST_SIZE];

    if (t->count == 0)
        return false;
    digest_sha256(key, digest);
    size_t i = place_find(t, digest);
    if (i == t->count)
        return false;
    if (!instant_reached(t->places[i].until, now))
        return true;
    t->places[i] = t->places[--t->count];
    return false;
}
