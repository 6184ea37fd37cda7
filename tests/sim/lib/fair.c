#include "tests/sim/lib/fair.h"

#include "queue/envelope.h"

enum { WATCHED_MAX = 128 };

struct watched {
    char name[LANE_NAME_SIZE_MAX + 1];
    bool seen;      /* in the listing that is being read */
    int64_t since;  /* ready from here on */
    uint64_t turns; /* of others, since then */
};

static struct {
    struct watched ready[WATCHED_MAX];
    size_t count, lanes; /* lanes: all that the scheduler knows */
    uint64_t worst;
} fair;

void fair_begin(void)
{
    fair_forget();
    fair.worst = 0;
}

void fair_forget(void)
{
    fair.count = 0;
}

static bool is_every(const struct lane_view *v)
{
    return bytes_equal(v->name, BYTES("*"));
}

/* As docs/states/lane.md says it; leavers need no worker and have no turns. */
static bool is_ready(const struct lane_view *v, struct walltime now)
{
    bool backs_off = v->health.failures > 0 && !walltime_reached(v->health.suspended_until, now);

    return !is_every(v) && !bytes_equal(v->name, BYTES(RECIPIENT_LEAVING_LANE)) && v->in_flight < v->slots &&
           walltime_reached(v->first_due, now) && !v->health.suspended && !backs_off;
}

static void watch(struct bytes name)
{
    for (size_t i = 0; i < fair.count; i++)
        if (bytes_equal(bytes_of(fair.ready[i].name), name)) {
            fair.ready[i].seen = true;
            return;
        }
    if (fair.count == WATCHED_MAX)
        return;
    struct watched *w = &fair.ready[fair.count++];
    *w = (struct watched){.seen = true, .since = world.now_ms};
    (void)snprintf(w->name, sizeof w->name, "%.*s", BYTES_ARG(name));
}

static void drop(size_t at)
{
    fair.ready[at] = fair.ready[--fair.count];
}

void fair_look(const struct scheduler *s)
{
    struct walltime now = world_walltime();
    struct lane_view v;
    bool all_wait = false;

    for (size_t cursor = 0; scheduler_lane_view(s, &cursor, &v);)
        all_wait = all_wait || (is_every(&v) && v.health.suspended);
    fair.lanes = 0;
    for (size_t i = 0; i < fair.count; i++)
        fair.ready[i].seen = false;
    for (size_t cursor = 0; scheduler_lane_view(s, &cursor, &v); fair.lanes++)
        if (!all_wait && is_ready(&v, now))
            watch(v.name);
    for (size_t i = fair.count; i-- > 0;)
        if (!fair.ready[i].seen)
            drop(i);
}

void fair_served(const struct scheduler *s, struct bytes lane)
{
    fair_look(s);
    for (size_t i = fair.count; i-- > 0;) {
        struct watched *w = &fair.ready[i];
        if (bytes_equal(bytes_of(w->name), lane)) {
            drop(i);
            continue;
        }
        w->turns++;
        if (w->turns > fair.worst)
            fair.worst = w->turns;
        if (w->turns > fair.lanes)
            world_wrong("%s is ready, and %" PRIu64 " jobs of other lanes went first", w->name, w->turns);
        if (world.now_ms - w->since > FAIR_WAIT_MS)
            world_wrong("%s has been ready for %" PRId64 " s, and %.*s is served", w->name,
                (world.now_ms - w->since) / 1000, BYTES_ARG(lane));
    }
}

uint64_t fair_worst_turns(void)
{
    return fair.worst;
}
