#include "queue/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

enum { SECOND_MS = 1000, MINUTE_MS = 60000 };

static const struct walltime never = {INT64_MAX};
static const int64_t start = 1795000000000;

static struct scheduler_config config_plain(void)
{
    struct scheduler_config cfg = {.lane_slots_max = 20, .slots_max = 100000};

    retry_plan_default(&cfg.backoff);
    cfg.backoff.jitter_percent = 0;
    return cfg;
}

static struct walltime at(int64_t ms)
{
    return (struct walltime){start + ms};
}

static struct scheduler *make(int64_t now)
{
    struct scheduler_config cfg = config_plain();
    struct scheduler *s = scheduler_new(&cfg, 7);

    assert_non_null(s);
    scheduler_tick(s, at(now));
    return s;
}

static void due(struct scheduler *s, const char *name, int64_t ms)
{
    assert_true(is_ok(scheduler_lane_due(s, bytes_of(name), at(ms))));
}

/* Starts what may run, at most `count_max` jobs, each leaving more work due at once; returns how many. */
static unsigned run(struct scheduler *s, unsigned count_max, struct walltime more)
{
    struct scheduler_action action;
    unsigned count = 0;

    while (count < count_max && scheduler_next(s, &action))
        if (action.kind == SCHEDULER_RUN) {
            scheduler_started(s, action.lane, more);
            count++;
        }
    return count;
}

static unsigned saves_of(struct scheduler *s, struct lane_health *last_out)
{
    struct scheduler_action action;
    unsigned count = 0;

    while (scheduler_next(s, &action)) {
        assert_int_equal(action.kind, SCHEDULER_SAVE);
        *last_out = action.health;
        count++;
    }
    return count;
}

static struct lane *lane(struct scheduler *s, const char *name)
{
    struct lane *found = scheduler_lane_find(s, bytes_of(name));
    assert_non_null(found);
    return found;
}

static struct lane_view view(struct scheduler *s, const char *name)
{
    struct lane_view v;
    size_t cursor = 0;

    while (scheduler_lane_view(s, &cursor, &v))
        if (bytes_equal(v.name, bytes_of(name)))
            return v;
    fail_msg("no lane %s", name);
    return v;
}

static void work_runs_when_it_is_due(void **state)
{
    struct scheduler *s = make(0);

    (void)state;
    assert_int_equal(scheduler_deadline(s).ms, INT64_MAX);
    due(s, "mx:a.example", 5000);
    due(s, "mx:a.example", 9000); /* later work does not move the earlier */
    assert_int_equal(run(s, 10, never), 0);
    assert_int_equal(scheduler_deadline(s).ms, at(5000).ms);
    scheduler_tick(s, at(4999));
    assert_int_equal(run(s, 10, never), 0);
    scheduler_tick(s, at(5000));
    assert_int_equal(scheduler_deadline(s).ms, at(5000).ms);
    assert_int_equal(run(s, 10, at(9000)), 1);
    assert_int_equal(scheduler_in_flight(s), 1);
    scheduler_finished(s, lane(s, "mx:a.example"), at(5001), LANE_OK, BYTES_NONE);
    assert_int_equal(scheduler_deadline(s).ms, at(9000).ms);
    due(s, "mx:a.example", 7000); /* and earlier work hastens */
    assert_int_equal(scheduler_deadline(s).ms, at(7000).ms);
    scheduler_free(&s);
    assert_null(s);
    scheduler_free(&s);
}

static void an_empty_lane_is_not_asked_without_end(void **state)
{
    struct scheduler *s = make(0);
    struct scheduler_action action;
    unsigned count = 0;

    (void)state;
    due(s, "mx:a.example", 0);
    while (scheduler_next(s, &action)) {
        scheduler_lane_empty(s, action.lane, at(0));
        assert_true(++count < 10);
    }
    assert_int_equal(count, 1);
    assert_int_equal(scheduler_deadline(s).ms, at(1000).ms);
    scheduler_tick(s, at(1000));
    assert_true(scheduler_next(s, &action));
    scheduler_lane_empty(s, action.lane, never);
    assert_false(scheduler_next(s, &action));
    scheduler_free(&s);
}

/* One busy lane (a smarthost) with all the work there is. */
static void slow_start_is_quick(void **state)
{
    struct scheduler *s = make(0);
    unsigned delivered = 0, rounds = 0;

    (void)state;
    due(s, "relay:[smarthost]:25", 0);
    while (scheduler_in_flight(s) < 20) {
        run(s, 1000, at(0));
        if (scheduler_in_flight(s) == 20)
            break;
        for (unsigned n = scheduler_in_flight(s); n > 0; n--, delivered++)
            scheduler_finished(s, lane(s, "relay:[smarthost]:25"), at(0), LANE_OK, BYTES_NONE);
        assert_true(++rounds < 20);
    }
    assert_true(delivered <= 36); /* 1 + 2 + 4 + 8 + 16 when jobs end in batches */
    assert_true(rounds <= 6);
    run(s, 1000, at(0));
    assert_int_equal(scheduler_in_flight(s), 20); /* never more */
    scheduler_free(&s);

    s = make(0);
    due(s, "relay:[smarthost]:25", 0);
    for (delivered = 0; run(s, 1000, at(0)), scheduler_in_flight(s) < 20; delivered++) {
        scheduler_finished(s, lane(s, "relay:[smarthost]:25"), at(0), LANE_OK, BYTES_NONE);
        assert_true(delivered < 36); /* and when they end one by one */
    }
    scheduler_free(&s);
}

/* Nobody is called there: its bound is what the process takes, not that of connections. */
static void the_lane_of_mailboxes_has_a_bound_of_its_own(void **state)
{
    struct scheduler_config cfg = config_plain();
    struct scheduler *s;

    (void)state;
    cfg.local_slots_max = 256;
    s = scheduler_new(&cfg, 7);
    scheduler_tick(s, at(0));
    due(s, "local", 0);
    due(s, "lmtp:unix:/s", 0);
    for (unsigned n = 0; n < 4000; n++) {
        run(s, 1000, at(0));
        scheduler_finished(s, lane(s, "local"), at(0), LANE_OK, BYTES_NONE);
        scheduler_finished(s, lane(s, "lmtp:unix:/s"), at(0), LANE_OK, BYTES_NONE);
    }
    run(s, 1000, at(0));
    assert_in_range(view(s, "local").in_flight, 100, 256);
    assert_int_equal(view(s, "lmtp:unix:/s").in_flight, 20);
    scheduler_free(&s);
}

static void the_healthy_steady_state_saves_nothing(void **state)
{
    struct scheduler *s = make(0);
    struct scheduler_action action;

    (void)state;
    due(s, "mx:a.example", 0);
    for (int i = 0; i < 10000; i++) {
        while (scheduler_next(s, &action)) {
            assert_int_equal(action.kind, SCHEDULER_RUN);
            scheduler_started(s, action.lane, at(0));
        }
        scheduler_finished(s, lane(s, "mx:a.example"), at(i), LANE_OK, BYTES_NONE);
    }
    scheduler_free(&s);
}

static void a_lane_that_never_filled_its_slots_learns_nothing(void **state)
{
    struct scheduler *s = make(0);

    (void)state;
    for (int i = 0; i < 100; i++) {
        due(s, "mx:a.example", 0);
        assert_int_equal(run(s, 10, never), 1);
        scheduler_finished(s, lane(s, "mx:a.example"), at(0), LANE_OK, BYTES_NONE);
    }
    assert_int_equal(view(s, "mx:a.example").slots, 2);
    scheduler_free(&s);
}

/* Brings a lane to `count` jobs under way. */
static void grow(struct scheduler *s, const char *name, unsigned count)
{
    due(s, name, 0);
    for (run(s, 1000, at(0)); scheduler_in_flight(s) < count; run(s, 1000, at(0)))
        scheduler_finished(s, lane(s, name), at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(scheduler_in_flight(s), count);
}

static void a_full_host_halves_the_lane_without_stopping_it(void **state)
{
    struct scheduler *s = make(0);
    struct lane *a;
    struct lane_health health;

    (void)state;
    grow(s, "mx:a.example", 16);
    a = lane(s, "mx:a.example");
    for (int i = 0; i < 4; i++) /* four refusals of one burst are one piece of news */
        scheduler_finished(s, a, at(0), LANE_GREETING_4XX, BYTES("421 too many"));
    assert_int_equal(run(s, 100, at(0)), 0);
    assert_int_equal(saves_of(s, &health), 0);
    scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(view(s, "mx:a.example").slots, 8);
    assert_int_equal(scheduler_lane_backoff_until(a).ms, 0);
    for (int i = 0; i < 4; i++)
        scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(run(s, 100, at(0)), 1);
    /* From here on one slot a round. */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(scheduler_in_flight(s), 8);
        scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
        run(s, 100, at(0));
    }
    for (int i = 0; i < 9; i++) {
        assert_int_equal(scheduler_in_flight(s), 9);
        scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
        run(s, 100, at(0));
    }
    assert_int_equal(scheduler_in_flight(s), 10);
    scheduler_free(&s);
}

static void a_dead_lane_backs_off_by_the_steps_of_the_plan(void **state)
{
    static const int64_t minutes[] = {2, 5, 10, 20, 40, 80, 160, 240, 240};
    struct scheduler *s = make(0);
    struct lane *a;
    struct lane_health health;
    int64_t now = 0;

    (void)state;
    grow(s, "mx:a.example", 20);
    a = lane(s, "mx:a.example");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(run(s, 100, at(0)), 0); /* nothing new once one has failed */
        scheduler_finished(s, a, at(now), LANE_CONNECT_FAILED, BYTES("connection refused"));
    }
    for (unsigned i = 0; i < COUNT_OF(minutes); i++) {
        int64_t until = now + minutes[i] * MINUTE_MS;
        assert_int_equal(saves_of(s, &health), 1);
        assert_int_equal(health.failures, i + 1);
        assert_int_equal(health.slots, 10);
        assert_true(bytes_equal(health.last_error, BYTES("connection refused")));
        assert_int_equal(health.suspended_until.ms, at(until).ms);
        assert_int_equal(scheduler_lane_backoff_until(a).ms, at(until).ms);
        assert_int_equal(scheduler_deadline(s).ms, at(until).ms);
        due(s, "mx:a.example", now); /* new mail does not end it */
        scheduler_tick(s, at(until - 1));
        assert_int_equal(run(s, 100, at(0)), 0);
        scheduler_tick(s, at(until));
        assert_int_equal(run(s, 100, at(0)), 1); /* one probe, however much is due */
        now = until;
        if (i + 1 < COUNT_OF(minutes))
            scheduler_finished(s, a, at(now), LANE_CONNECT_FAILED, BYTES("connection refused"));
    }
    scheduler_finished(s, a, at(now), LANE_OK, BYTES_NONE);
    assert_true(scheduler_next(s, &(struct scheduler_action){0})); /* the cleared health */
    assert_int_equal(scheduler_lane_backoff_until(a).ms, 0);
    health = view(s, "mx:a.example").health;
    assert_true(lane_health_is_clean(&health));
    assert_int_equal(run(s, 100, at(0)), 2); /* and slow start again */
    scheduler_free(&s);
}

static void back_off_has_jitter(void **state)
{
    struct scheduler_config cfg = config_plain();
    int64_t low = INT64_MAX, high = 0;

    (void)state;
    cfg.backoff.jitter_percent = 20;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct scheduler *s = scheduler_new(&cfg, seed);
        int64_t step;
        scheduler_tick(s, at(0));
        due(s, "mx:a.example", 0);
        run(s, 1, never);
        scheduler_finished(s, lane(s, "mx:a.example"), at(0), LANE_CONNECT_FAILED, BYTES_NONE);
        step = scheduler_lane_backoff_until(lane(s, "mx:a.example")).ms - start;
        low = step < low ? step : low;
        high = step > high ? step : high;
        scheduler_free(&s);
    }
    assert_in_range(low, 96 * SECOND_MS, 100 * SECOND_MS);
    assert_in_range(high, 140 * SECOND_MS, 144 * SECOND_MS);
}

static void dns_trouble_backs_off_a_little(void **state)
{
    struct scheduler *s = make(0);
    struct lane *a;
    int64_t now = 0;

    (void)state;
    grow(s, "mx:a.example", 8);
    a = lane(s, "mx:a.example");
    for (int i = 0; i < 8; i++)
        scheduler_finished(s, a, at(0), LANE_DNS_FAILED, BYTES("SERVFAIL"));
    for (int i = 0; i < 6; i++) {
        static const int64_t minutes[] = {2, 5, 10, 10, 10, 10};
        assert_int_equal(scheduler_lane_backoff_until(a).ms, at(now + minutes[i] * MINUTE_MS).ms);
        now += minutes[i] * MINUTE_MS;
        scheduler_tick(s, at(now));
        assert_int_equal(run(s, 100, at(0)), 1);
        scheduler_finished(s, a, at(now), LANE_DNS_FAILED, BYTES("SERVFAIL"));
    }
    assert_int_equal(view(s, "mx:a.example").health.slots, 1);
    scheduler_free(&s);
}

static void a_lost_worker_is_no_fault_of_the_lane(void **state)
{
    struct scheduler *s = make(0);
    struct lane *a;
    struct lane_health health;

    (void)state;
    due(s, "mx:a.example", 0);
    assert_int_equal(run(s, 1, never), 1);
    a = lane(s, "mx:a.example");
    scheduler_finished(s, a, at(10), LANE_WORKER_LOST, BYTES("gone"));
    assert_int_equal(run(s, 10, never), 1); /* at once, and nothing to save */
    /* A probe that our own crash ended is sent again. */
    scheduler_finished(s, a, at(10), LANE_CONNECT_FAILED, BYTES("refused"));
    assert_int_equal(saves_of(s, &health), 1);
    due(s, "mx:a.example", 10);
    scheduler_tick(s, at(2 * MINUTE_MS + 10));
    assert_int_equal(run(s, 10, never), 1);
    scheduler_finished(s, a, at(2 * MINUTE_MS + 20), LANE_WORKER_LOST, BYTES("gone"));
    assert_int_equal(run(s, 10, never), 1);
    assert_int_equal(view(s, "mx:a.example").health.failures, 1);
    scheduler_finished(s, a, at(2 * MINUTE_MS + 20), LANE_OK, BYTES_NONE);
    /* A failure, then the others lost: not a back-off, for those might have succeeded. */
    grow(s, "mx:a.example", 2);
    scheduler_finished(s, a, at(3 * MINUTE_MS), LANE_CONNECT_FAILED, BYTES("refused"));
    scheduler_finished(s, a, at(3 * MINUTE_MS), LANE_WORKER_LOST, BYTES("gone"));
    assert_int_equal(scheduler_lane_backoff_until(a).ms, 0);
    assert_int_equal(run(s, 10, never), 1);
    scheduler_free(&s);
}

static void retry_now_overrides_the_back_off(void **state)
{
    struct scheduler *s = make(0);

    (void)state;
    for (int i = 0; i < 3; i++) {
        due(s, "mx:a.example", 0);
        assert_int_equal(run(s, 10, at(3600 * SECOND_MS)), 1);
        scheduler_finished(s, lane(s, "mx:a.example"), at(0), LANE_CONNECT_FAILED, BYTES("refused"));
        assert_int_equal(run(s, 10, never), 0);
        scheduler_retry_now(s, i == 0 ? NULL : lane(s, "mx:a.example"), at(0));
        assert_int_equal(scheduler_lane_backoff_until(lane(s, "mx:a.example")).ms, 0);
    }
    assert_int_equal(run(s, 10, never), 1);
    scheduler_free(&s);
}

static void the_operator_suspends_and_limits(void **state)
{
    struct scheduler *s = make(0);
    struct lane_health health;
    struct lane *a;

    (void)state;
    grow(s, "mx:a.example", 20);
    a = lane(s, "mx:a.example");
    scheduler_limit(s, a, 5);
    for (int i = 0; i < 15; i++) {
        scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
        assert_int_equal(run(s, 10, at(0)), 0);
    }
    scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(run(s, 10, at(0)), 1);
    scheduler_suspend(s, a, true);
    scheduler_finished(s, a, at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(saves_of(s, &health), 1);
    assert_true(health.suspended);
    assert_int_equal(health.slots_limit, 5);
    scheduler_tick(s, at(3600 * SECOND_MS));
    assert_int_equal(run(s, 10, at(0)), 0);
    scheduler_suspend(s, a, false);
    assert_int_equal(run(s, 10, at(0)), 1);

    /* NULL: every lane, also those to come; kept as lane "*". */
    scheduler_suspend(s, NULL, true);
    due(s, "mx:b.example", 0);
    assert_int_equal(saves_of(s, &health), 1);
    assert_true(view(s, "*").health.suspended);
    scheduler_suspend(s, NULL, false);
    assert_int_equal(run(s, 10, never), 1);
    scheduler_limit(s, NULL, 1);
    due(s, "mx:b.example", 0);
    assert_int_equal(run(s, 10, never), 0);
    scheduler_limit(s, NULL, 0);
    assert_int_equal(view(s, "mx:a.example").health.slots_limit, 0);
    scheduler_free(&s);

    s = make(0);
    health = (struct lane_health){.suspended = true};
    assert_true(is_ok(scheduler_lane_restore(s, BYTES("*"), &health)));
    due(s, "mx:a.example", 0);
    assert_int_equal(run(s, 10, never), 0);
    scheduler_free(&s);
}

static void health_outlives_a_restart(void **state)
{
    struct scheduler *s = make(0);
    struct lane_health health, stored;
    uint8_t room[LANE_HEALTH_SIZE_MAX], error[LANE_ERROR_SIZE_MAX + 300];
    struct buf row = BUF(room);
    struct wire_reader reader;

    (void)state;
    memset(error, 'e', sizeof error);
    grow(s, "mx:a.example", 12);
    for (int i = 0; i < 12; i++)
        scheduler_finished(s, lane(s, "mx:a.example"), at(0), LANE_CONNECT_FAILED, (struct bytes){error, sizeof error});
    assert_int_equal(saves_of(s, &health), 1);
    assert_int_equal(health.last_error.size, LANE_ERROR_SIZE_MAX);
    assert_true(is_ok(lane_health_put(&row, &health)));
    for (size_t size = 0; size < row.size; size++) {
        reader = wire_reader_over(bytes_head(buf_bytes(&row), size));
        assert_false(is_ok(lane_health_get(&reader, &stored)));
    }
    reader = wire_reader_over(buf_bytes(&row));
    assert_true(is_ok(lane_health_get(&reader, &stored)));
    assert_true(is_ok(wire_end(&reader)));
    assert_int_equal(stored.suspended_until.ms, health.suspended_until.ms);
    scheduler_free(&s);

    struct scheduler_config cfg = config_plain();
    s = scheduler_new(&cfg, 1);
    assert_true(is_ok(scheduler_lane_restore(s, BYTES("mx:a.example"), &stored)));
    due(s, "mx:a.example", 0);
    scheduler_tick(s, at(1000));
    assert_int_equal(run(s, 10, at(0)), 0);
    assert_int_equal(scheduler_deadline(s).ms, at(2 * MINUTE_MS).ms);
    scheduler_tick(s, at(2 * MINUTE_MS));
    assert_int_equal(run(s, 10, at(0)), 1);
    assert_int_equal(view(s, "mx:a.example").health.slots, 6);
    scheduler_free(&s);

    /* Stored by a clock that ran a year ahead. */
    s = scheduler_new(&cfg, 1);
    stored.suspended_until = at((int64_t)365 * 24 * 60 * MINUTE_MS);
    assert_true(is_ok(scheduler_lane_restore(s, BYTES("mx:a.example"), &stored)));
    due(s, "mx:a.example", 0);
    scheduler_tick(s, at(0));
    assert_true(scheduler_deadline(s).ms <= at(480 * MINUTE_MS).ms);
    scheduler_free(&s);
}

static void ill_health_without_work_is_forgotten(void **state)
{
    struct scheduler *s = make(0);
    struct lane_health health = {0};

    (void)state;
    due(s, "mx:gone.example", 0);
    run(s, 1, never);
    scheduler_finished(s, lane(s, "mx:gone.example"), at(0), LANE_CONNECT_FAILED, BYTES("refused"));
    assert_int_equal(saves_of(s, &health), 1);
    assert_false(lane_health_is_clean(&health));
    scheduler_tick(s, at(2 * MINUTE_MS));
    assert_int_equal(saves_of(s, &health), 1);
    assert_true(lane_health_is_clean(&health)); /* its row goes */
    scheduler_tick(s, at(2 * MINUTE_MS + 10 * SECOND_MS));
    assert_null(scheduler_lane_find(s, BYTES("mx:gone.example")));
    assert_int_equal(scheduler_deadline(s).ms, INT64_MAX);
    scheduler_free(&s);
}

static void jobs_over_all_lanes_are_bounded(void **state)
{
    struct scheduler_config cfg = config_plain();
    struct scheduler *s;
    char name[40];

    (void)state;
    cfg.slots_max = 10;
    s = scheduler_new(&cfg, 1);
    scheduler_tick(s, at(0));
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "mx:%d.example", i);
        due(s, name, 0);
    }
    assert_int_equal(run(s, 100, never), 10);
    assert_int_equal(scheduler_deadline(s).ms, INT64_MAX); /* nothing to wait for but the end of a job */
    scheduler_finished(s, lane(s, "mx:0.example"), at(0), LANE_OK, BYTES_NONE);
    assert_int_equal(run(s, 100, never), 1);
    cfg.slots_max = 12;
    scheduler_configure(s, &cfg);
    assert_int_equal(run(s, 100, never), 2);
    scheduler_free(&s);
}

/* --- fairness --- */

enum { FAIR_LANES = 12, FAIR_STEPS = 30000 };

struct fair {
    struct scheduler *s;
    struct rng rng;
    int64_t now;
    unsigned turns[FAIR_LANES][FAIR_LANES]; /* [k][j]: turns of j since k became ready or had its own */
    unsigned served;
};

static struct bytes fair_name(unsigned k)
{
    static uint8_t name[] = "mx:?.example";

    name[3] = (uint8_t)('a' + k);
    return (struct bytes){name, sizeof name - 1};
}

static void fair_turn(struct fair *f)
{
    struct scheduler_action action;
    unsigned k;

    if (!scheduler_next(f->s, &action) || action.kind == SCHEDULER_SAVE)
        return;
    k = (unsigned)(action.name.data[3] - 'a');
    if (rng_below(&f->rng, 10) == 0)
        scheduler_lane_empty(f->s, action.lane, at(f->now + (int64_t)rng_below(&f->rng, 500)));
    else
        scheduler_started(f->s, action.lane, at(rng_below(&f->rng, 3) == 0 ? f->now + 500 : f->now - 1));
    f->served++;
    for (unsigned j = 0; j < FAIR_LANES; j++) {
        f->turns[k][j] = 0;
        if (j != k)
            f->turns[j][k]++;
    }
}

static void fair_step(struct fair *f)
{
    unsigned k = (unsigned)rng_below(&f->rng, FAIR_LANES);
    struct lane *some;

    f->now += (int64_t)rng_below(&f->rng, 50);
    scheduler_tick(f->s, at(f->now));
    some = scheduler_lane_find(f->s, fair_name(k));
    switch (rng_below(&f->rng, 4)) {
    case 0:
        assert_true(is_ok(scheduler_lane_due(f->s, fair_name(k), at(f->now + (int64_t)rng_below(&f->rng, 1000)))));
        break;
    case 1:
        for (struct lane_view v = {.in_flight = 0}; some != NULL;) {
            size_t cursor = 0;
            while (scheduler_lane_view(f->s, &cursor, &v) && !bytes_equal(v.name, fair_name(k)))
                continue;
            if (v.in_flight > 0)
                scheduler_finished(
                    f->s, some, at(f->now), rng_below(&f->rng, 2000) == 0 ? LANE_GREETING_4XX : LANE_OK, BYTES_NONE);
            break;
        }
        break;
    default:
        fair_turn(f);
    }
}

/* Random events over some lanes: while a lane has due work and a free slot, no other lane has two turns. */
static void no_ready_lane_waits_more_than_one_round(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct scheduler_config cfg = config_plain();
        struct fair f = {.rng = {seed}};

        cfg.slots_max = 30;
        f.s = scheduler_new(&cfg, seed);
        for (unsigned step = 0; step < FAIR_STEPS; step++) {
            bool ready[FAIR_LANES] = {false};
            struct lane_view v;
            size_t cursor = 0;

            fair_step(&f);
            while (scheduler_lane_view(f.s, &cursor, &v))
                ready[v.name.data[3] - 'a'] = v.first_due.ms <= at(f.now).ms && v.in_flight < v.slots &&
                                              v.health.suspended_until.ms <= at(f.now).ms;
            for (unsigned k = 0; k < FAIR_LANES; k++)
                for (unsigned j = 0; j < FAIR_LANES; j++) {
                    if (!ready[k])
                        f.turns[k][j] = 0;
                    assert_true(f.turns[k][j] <= 1);
                }
        }
        assert_true(f.served > FAIR_STEPS / 10);
        scheduler_free(&f.s);
    }
}

/* --- many lanes, and the memory they leave --- */

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t many_round(struct scheduler *s, unsigned count, int64_t now)
{
    struct scheduler_action action;
    struct lane_view v;
    size_t cursor = 0, listed = 0;
    char name[40];

    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "mx:%u.example", i);
        due(s, name, now + (int64_t)(i * 7919u % 1000));
    }
    while (scheduler_lane_view(s, &cursor, &v))
        listed++;
    scheduler_tick(s, at(now + 1000));
    while (scheduler_next(s, &action)) {
        assert_int_equal(action.kind, SCHEDULER_RUN);
        scheduler_started(s, action.lane, never);
        scheduler_finished(s, action.lane, at(now + 1000), LANE_OK, BYTES_NONE);
    }
    return listed;
}

static void memory_follows_lanes_with_work(void **state)
{
    enum { COUNT = 200000 };
    struct scheduler *s = make(0);
    uint64_t before = cpu_ns();
    int64_t now;

    (void)state;
    assert_int_equal(many_round(s, COUNT, 0), COUNT);
    print_message("%.2f us a lane: made, queued, run, finished\n", (double)(cpu_ns() - before) / 1000 / COUNT);
    for (now = 11000; scheduler_deadline(s).ms != INT64_MAX; now += 1) {
        assert_true(scheduler_deadline(s).ms <= at(now).ms);
        scheduler_tick(s, at(now));
        assert_true(now < 12000);
    }
    for (unsigned i = 0; i < COUNT; i += 1001) {
        char name[40];
        snprintf(name, sizeof name, "mx:%u.example", i);
        assert_null(scheduler_lane_find(s, bytes_of(name)));
    }
    assert_true(scheduler_memory_size(s) < 16384);
    assert_int_equal(many_round(s, 1000, 20000), 1000); /* and works on */
    scheduler_free(&s);
}

static void a_listing_survives_lanes_that_go(void **state)
{
    struct scheduler *s = make(0);
    struct lane_view v;
    size_t cursor = 0;

    (void)state;
    many_round(s, 2000, 0);
    due(s, "mx:keep1.example", 3600 * SECOND_MS);
    due(s, "mx:keep2.example", 3600 * SECOND_MS);
    for (int i = 0; i < 500; i++)
        assert_true(scheduler_lane_view(s, &cursor, &v));
    for (int i = 0; i < 10; i++)
        scheduler_tick(s, at(20 * SECOND_MS));
    assert_true(scheduler_lane_view(s, &cursor, &v));
    assert_true(bytes_equal(v.name, BYTES("mx:keep1.example")));
    assert_true(scheduler_lane_view(s, &cursor, &v));
    assert_true(bytes_equal(v.name, BYTES("mx:keep2.example")));
    assert_false(scheduler_lane_view(s, &cursor, &v));
    scheduler_free(&s);
}

/* Back by a day: a lane's back-off goes along, and what else it waits for is asked of the rows once more. */
static void a_clock_that_jumps_stretches_no_back_off(void **state)
{
    const int64_t day = -(int64_t)24 * 3600 * SECOND_MS;
    struct scheduler *s = make(0);
    struct scheduler_action action;

    (void)state;
    due(s, "mx:a.example", 1000);
    due(s, "mx:b.example", 0);
    assert_int_equal(run(s, 1, never), 1);
    scheduler_finished(s, lane(s, "mx:b.example"), at(0), LANE_CONNECT_FAILED, BYTES("refused"));
    due(s, "mx:b.example", 2 * day);
    assert_int_equal(saves_of(s, &(struct lane_health){0}), 1);
    scheduler_tick(s, at(day));
    assert_true(scheduler_next(s, &action) && bytes_equal(action.name, BYTES("mx:a.example")));
    scheduler_lane_empty(s, action.lane, at(1000)); /* its row was put off by the old clock */
    assert_int_equal(run(s, 10, never), 0);
    scheduler_tick(s, at(day + 119 * SECOND_MS));
    assert_int_equal(run(s, 10, never), 0);
    scheduler_tick(s, at(day + 120 * SECOND_MS));
    assert_int_equal(run(s, 10, never), 1); /* the first step of the plan after its failure, not a day later */
    scheduler_finished(s, lane(s, "mx:b.example"), at(day + 120 * SECOND_MS), LANE_OK, BYTES_NONE);
    scheduler_tick(s, at(-365 * day));
    assert_int_equal(run(s, 10, never), 1);
    scheduler_free(&s);
}

/* Saved before the clock was set back by six hours and read after a restart. */
static void a_stored_back_off_lasts_no_longer_than_its_step(void **state)
{
    const struct lane_health stored = {.failures = 1, .suspended_until = at((int64_t)6 * 3600 * SECOND_MS)};
    struct scheduler_config cfg = config_plain();
    struct scheduler *s = scheduler_new(&cfg, 7);

    (void)state;
    assert_true(is_ok(scheduler_lane_restore(s, BYTES("mx:a.example"), &stored)));
    due(s, "mx:a.example", 0);
    scheduler_tick(s, at(0));
    assert_int_equal(run(s, 10, never), 0);
    scheduler_tick(s, at(2 * cfg.backoff.steps_ms[0]));
    assert_int_equal(run(s, 10, never), 1);
    scheduler_free(&s);
}

static void each_failed_allocation_is_an_answer(void **state)
{
    struct scheduler_config cfg = config_plain();

    (void)state;
    for (uint64_t n = 1;; n++) {
        struct scheduler *s;
        unsigned failed = 0;
        char name[40];

        mem_fail_nth(n);
        s = scheduler_new(&cfg, 1);
        if (s == NULL)
            continue;
        scheduler_tick(s, at(0));
        for (int i = 0; i < 300; i++) {
            snprintf(name, sizeof name, "mx:%d.example", i);
            failed += !is_ok(scheduler_lane_due(s, bytes_of(name), at(0)));
        }
        assert_true(failed <= 1);
        assert_int_equal(run(s, 1000, never), 300 - failed);
        mem_fail_nth(0);
        scheduler_free(&s);
        if (n > 330)
            break;
    }
}

static void names_have_bounds(void **state)
{
    static uint8_t name[LANE_NAME_SIZE_MAX + 1];
    struct scheduler *s = make(0);

    (void)state;
    memset(name, 'x', sizeof name);
    assert_int_equal(scheduler_lane_due(s, (struct bytes){name, sizeof name}, at(0)).code, CODE_FULL);
    assert_int_equal(scheduler_lane_due(s, BYTES_NONE, at(0)).code, CODE_FULL);
    assert_true(is_ok(scheduler_lane_due(s, (struct bytes){name, sizeof name - 1}, at(0))));
    scheduler_free(&s);
}

/* A pace lets one job start in so much time, whatever the slots, and a late start is made up for. */
static void a_pace(void **state)
{
    struct scheduler_config cfg = {
        .lane_slots_max = 10, .slots_max = 100, .backoff = {.step_count = 1, .steps_ms = {60000}}};
    struct scheduler *s = scheduler_new(&cfg, 1);
    struct scheduler_action action;
    struct walltime now = {1000000};
    unsigned started = 0;

    (void)state;
    assert_int_equal(scheduler_lane_due(s, BYTES("mx:a"), now).code, CODE_OK);
    scheduler_pace(s, scheduler_lane_find(s, BYTES("mx:a")), 2000);
    for (; now.ms < 1000000 + 60000; now.ms += 70) {
        scheduler_tick(s, now);
        while (scheduler_next(s, &action)) {
            if (action.kind != SCHEDULER_RUN)
                continue;
            started++;
            scheduler_started(s, action.lane, now);
            scheduler_finished(s, action.lane, now, LANE_OK, BYTES_NONE);
        }
    }
    assert_int_equal(started, 30);
    now.ms -= 3600000; /* the clock is set back: no longer than the pace is waited */
    scheduler_tick(s, now);
    assert_true(scheduler_deadline(s).ms <= now.ms + 2000);
    scheduler_pace(s, NULL, 0);
    scheduler_tick(s, now);
    scheduler_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_runs_when_it_is_due),
        cmocka_unit_test(an_empty_lane_is_not_asked_without_end),
        cmocka_unit_test(slow_start_is_quick),
        cmocka_unit_test(the_lane_of_mailboxes_has_a_bound_of_its_own),
        cmocka_unit_test(the_healthy_steady_state_saves_nothing),
        cmocka_unit_test(a_lane_that_never_filled_its_slots_learns_nothing),
        cmocka_unit_test(a_full_host_halves_the_lane_without_stopping_it),
        cmocka_unit_test(a_dead_lane_backs_off_by_the_steps_of_the_plan),
        cmocka_unit_test(back_off_has_jitter),
        cmocka_unit_test(dns_trouble_backs_off_a_little),
        cmocka_unit_test(a_lost_worker_is_no_fault_of_the_lane),
        cmocka_unit_test(retry_now_overrides_the_back_off),
        cmocka_unit_test(the_operator_suspends_and_limits),
        cmocka_unit_test(health_outlives_a_restart),
        cmocka_unit_test(ill_health_without_work_is_forgotten),
        cmocka_unit_test(jobs_over_all_lanes_are_bounded),
        cmocka_unit_test(no_ready_lane_waits_more_than_one_round),
        cmocka_unit_test(memory_follows_lanes_with_work),
        cmocka_unit_test(a_listing_survives_lanes_that_go),
        cmocka_unit_test(a_clock_that_jumps_stretches_no_back_off),
        cmocka_unit_test(a_stored_back_off_lasts_no_longer_than_its_step),
        cmocka_unit_test(each_failed_allocation_is_an_answer),
        cmocka_unit_test(names_have_bounds),
        cmocka_unit_test(a_pace),
    };
    return cmocka_run_group_tests_name("queue/scheduler", tests, NULL, NULL);
}
