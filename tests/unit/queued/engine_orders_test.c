/* The postmaster's orders to single recipients and to lanes. */
#include "tests/unit/queued/engine_kit.h"

static void test_postmaster_holds_releases_deletes(void **state)
{
    struct bench *b = *state;

    engine_peer_gone(b->engine, b->worker, b->now);
    struct message_id id = accept_one(b, "a@one.test", "b@two.test");
    turn(b, 0);
    b->worker = engine_peer_add(b->engine, ROLE_OUTBOUND, &out_channel);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 0);
    say(b, b->worker, (struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 5}});
    turn(b, 1000);
    assert_null(heard_last(b, MSG_job_run));
    assert_int_equal(order_to(b, id, ORDER_RELEASE, 0, ""), 1);
    turn(b, 1000);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    assert_int_equal(order_to(b, id, ORDER_DELETE, 0, ""), 1);
    assert_int_equal(message_count(b), 0);
    job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "451 later"); /* its attempt ends in nothing */
    job_end(b, job_of_turn(b), LANE_OK);
    turn(b, 1);
    assert_int_equal(message_count(b), 0);
    assert_int_equal(order_to(b, id, ORDER_DELETE, 0, ""), 0);
}

/* A message that waits for a later try. */
static struct message_id deferred_one(struct bench *b)
{
    struct message_id id = accept_one(b, "a@one.test", "b@two.test");

    turn(b, 0);
    job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "451 later");
    job_end(b, job_of_turn(b), LANE_OK);
    turn(b, 1);
    forget(b);
    return id;
}

static void test_a_deletion_can_be_taken_back_until_it_happens(void **state)
{
    struct bench *b = *state;
    struct message_id id = deferred_one(b);

    assert_int_equal(order_to(b, id, ORDER_DELETE, 3600000, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_RETRY, 0, ""), 0); /* it is as good as gone */
    queue_is_sound(b);
    turn(b, 3000000);
    assert_null(heard_last(b, MSG_job_run));
    assert_int_equal(message_count(b), 1);
    assert_int_equal(order_to(b, id, ORDER_UNDO, 0, ""), 1);
    turn(b, 1);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "451 later");
    job_end(b, job_of_turn(b), LANE_OK);
    turn(b, 1);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_DELETE, 3600000, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_UNDO, 0, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 0); /* what was held is held again */
    forget(b);
    assert_int_equal(order_to(b, id, ORDER_DELETE, 3600000, ""), 1);
    turn(b, 3599000);
    assert_int_equal(message_count(b), 1);
    turn(b, 1001);
    turn(b, 1);
    assert_int_equal(message_count(b), 0);
    assert_null(heard_last(b, MSG_job_run)); /* nobody was told */
    queue_is_sound(b);
}

static void lane_order(struct bench *b, const char *lane, enum lane_order order)
{
    assert_true(is_ok(engine_lane_order(b->engine, bytes_of(lane), order, 0, b->now)));
}

/* What the postmaster was told of a lane is true when queued dies the same moment; of two words the later one counts. */
static void test_a_word_about_lanes_is_durable_at_once(void **state)
{
    struct bench *b = *state;

    for (unsigned resumed = 0; resumed < 2; resumed++) {
        lane_order(b, "mx:two.test", LANE_ORDER_SUSPEND);
        if (resumed)
            lane_order(b, "*", LANE_ORDER_RESUME);
        engine_shut(b);
        engine_open(b);
        turn(b, 0);
        (void)accept_one(b, "a@one.test", "b@two.test");
        turn(b, 1);
        assert_int_equal(heard_count(b, MSG_job_run), resumed);
        forget(b);
    }
}

/* Ill and well again before either was written: well is what a restart finds. */
static void test_the_later_health_of_a_lane_is_kept(void **state)
{
    struct bench *b = *state;
    struct message_id id = accept_one(b, "a@one.test", "b@two.test");

    turn(b, 0);
    job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "4.4.1 refused");
    job_end(b, job_of_turn(b), LANE_CONNECT_FAILED);
    turn(b, 1);
    assert_int_equal(order_to(b, id, ORDER_RETRY, 0, ""), 1);
    turn(b, 1);
    turn(b, 60000);
    engine_shut(b);
    forget(b);
    engine_open(b);
    turn(b, 1);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
}

/* The window ends while the attempt is under way: the order is carried out behind it. */
static void test_a_window_may_end_in_the_middle_of_an_attempt(void **state)
{
    static const enum order_kind kinds[] = {ORDER_DELETE, ORDER_BOUNCE};
    struct bench *b = *state;

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct message_id id = accept_one(b, "", "b@two.test");
        turn(b, 0);
        assert_int_equal(order_to(b, id, kinds[i], 60000, ""), 1);
        for (int minute = 0; minute < 3; minute++)
            turn(b, 60000);
        assert_int_equal(message_count(b), 1);
        job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "451 later");
        job_end(b, job_of_turn(b), LANE_OK);
        turn(b, 1);
        turn(b, 1);
        turn(b, 1);
        assert_int_equal(message_count(b), 0);
        forget(b);
    }
    queue_is_sound(b);
}

/* Held before its time it keeps its place in the schedule, is not sent when that comes, and then has none. */
static void test_what_is_held_is_parked(void **state)
{
    struct bench *b = *state;
    struct message_id id = deferred_one(b);
    struct store_stats stats;

    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 0);
    assert_int_equal(order_to(b, id, ORDER_RETRY, 0, ""), 0);
    store_stats_get(b->store, &stats);
    assert_true(stats.due_rows == 1 && store_stats_held(&stats) == 1 && store_stats_waiting(&stats) == 0);
    queue_is_sound(b);
    forget(b);
    turn(b, 3000000);
    turn(b, 1);
    assert_null(heard_last(b, MSG_job_run));
    store_stats_get(b->store, &stats);
    assert_true(stats.due_rows == 0 && store_stats_held(&stats) == 1);
    queue_is_sound(b);
    assert_int_equal(order_to(b, id, ORDER_RELEASE, 0, ""), 1);
    turn(b, 1);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "451 later");
    job_end(b, job_of_turn(b), LANE_OK);
    turn(b, 1);
    assert_int_equal(order_to(b, id, ORDER_HOLD, 0, ""), 1);
    assert_int_equal(order_to(b, id, ORDER_RELEASE, 0, ""), 1); /* before its time came: its place moves */
    queue_is_sound(b);
    store_stats_get(b->store, &stats);
    assert_true(stats.due_rows == 1 && store_stats_held(&stats) == 0);
}

/* A portion of a large change and the mail that waits share one wait for the disk; neither gets lost when the engine ends there. */
static void test_an_order_goes_with_the_mail_that_waits(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"d@four.test", NULL};
    struct message_id held = deferred_one(b), fresh = take_id(b);
    struct engine_stats before, after;

    turn(b, 0);
    forget(b);
    tx_say(b, fresh, "a@one.test", to, bytes_of(small_body));
    assert_int_equal(heard_count(b, MSG_tx_done), 0);
    engine_stats_get(b->engine, &before);
    assert_int_equal(order_to(b, held, ORDER_HOLD, 0, ""), 1);
    engine_stats_get(b->engine, &after);
    assert_int_equal(heard_count(b, MSG_tx_done), 1);
    assert_int_equal(after.commits, before.commits + 1);
    engine_shut(b);
    engine_open(b);
    assert_int_equal(message_count(b), 2);
    queue_is_sound(b);
    forget(b);
    turn(b, 0);
    assert_int_equal(heard_count(b, MSG_job_rcpt), 1);
    assert_int_equal(order_to(b, held, ORDER_RELEASE, 0, ""), 1);
}

static void test_a_bounce_tells_the_sender(void **state)
{
    struct bench *b = *state;

    for (int late = 0; late < 2; late++) {
        struct message_id id = deferred_one(b);

        assert_int_equal(order_to(b, id, ORDER_BOUNCE, late * 60000, ""), 1);
        turn(b, late * 60000 + 1);
        turn(b, 1);
        const struct msg *body = heard_last(b, MSG_job_body);
        assert_non_null(body);
        assert_true(bytes_find(body->job_body.body, BYTES("Status: 5.0.0")) != BYTES_NOT_FOUND);
        assert_true(bytes_find(body->job_body.body, BYTES("by the postmaster")) != BYTES_NOT_FOUND);
        job_answer(b, job_of_turn(b), 0, JOB_DELIVERED, "250 ok");
        job_end(b, job_of_turn(b), LANE_OK);
        turn(b, 1);
        assert_int_equal(message_count(b), 0);
        queue_is_sound(b);
        forget(b);
    }
}

static void test_a_bounce_waits_for_the_attempt_under_way(void **state)
{
    struct bench *b = *state;
    struct message_id id = accept_one(b, "a@one.test", "b@two.test");

    turn(b, 0);
    assert_int_equal(order_to(b, id, ORDER_BOUNCE, 0, ""), 0);
    job_answer(b, job_of_turn(b), 0, JOB_DELIVERED, "250 ok");
    job_end(b, job_of_turn(b), LANE_OK);
    turn(b, 1);
    assert_int_equal(message_count(b), 0);
}

static void test_mail_is_moved_to_another_lane(void **state)
{
    struct bench *b = *state;
    struct message_id id = deferred_one(b);

    assert_int_equal(order_to(b, id, ORDER_REROUTE, 0, "relay:[192.0.2.9]:25"), 1);
    assert_int_equal(order_to(b, id, ORDER_REROUTE, 0, "relay:[192.0.2.9]:25"), 0);
    turn(b, 1);
    const struct msg *begin = heard_last(b, MSG_job_begin);
    assert_non_null(begin);
    assert_true(bytes_equal(begin->job_begin.lane, BYTES("relay:[192.0.2.9]:25")));
    queue_is_sound(b);
}

static void test_retry_overrides_the_plan(void **state)
{
    struct bench *b = *state;
    uint32_t count = 0;

    struct message_id id = accept_one(b, "a@one.test", "b@two.test");
    for (int i = 1; i <= 3; i++) {
        forget(b);
        turn(b, 1);
        assert_int_equal(heard_count(b, MSG_job_run), 1);
        job_answer(b, job_of_turn(b), 0, JOB_DEFERRED, "connection refused");
        job_end(b, job_of_turn(b), LANE_CONNECT_FAILED);
        turn(b, 1);
        if (i == 1) {
            count = order_to(b, id, ORDER_RETRY, 0, "");
        } else {
            bool more = true;
            assert_true(is_ok(engine_retry_lane(b->engine, BYTES("mx:two.test"), b->now, &count, &more)));
            assert_false(more);
        }
        assert_int_equal(count, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(test_postmaster_holds_releases_deletes),
        ENGINE_CASE(test_a_deletion_can_be_taken_back_until_it_happens),
        ENGINE_CASE(test_a_word_about_lanes_is_durable_at_once),
        ENGINE_CASE(test_the_later_health_of_a_lane_is_kept),
        ENGINE_CASE(test_a_window_may_end_in_the_middle_of_an_attempt),
        ENGINE_CASE(test_what_is_held_is_parked),
        ENGINE_CASE(test_an_order_goes_with_the_mail_that_waits),
        ENGINE_CASE(test_a_bounce_tells_the_sender),
        ENGINE_CASE(test_a_bounce_waits_for_the_attempt_under_way),
        ENGINE_CASE(test_mail_is_moved_to_another_lane),
        ENGINE_CASE(test_retry_overrides_the_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
