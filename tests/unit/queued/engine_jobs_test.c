/* What goes out: jobs and their results, retries, workers that are lost. */
#include "tests/unit/queued/engine_kit.h"

static void test_delivered_message_is_gone(void **state)
{
    struct bench *b = *state;

    accept_one(b, "a@one.test", "b@two.test");
    turn(b, 0);
    const struct msg *begin = heard_last(b, MSG_job_begin);
    assert_non_null(begin);
    assert_true(bytes_equal(begin->job_begin.lane, BYTES("mx:two.test")));
    assert_true(bytes_equal(heard_last(b, MSG_job_body)->job_body.body, bytes_of(small_body)));
    struct job_id job = job_of_turn(b);
    job_answer(b, job, 0, JOB_DELIVERED, "250 ok");
    job_end(b, job, LANE_OK);
    assert_int_equal(message_count(b), 1);
    turn(b, 5);
    assert_int_equal(message_count(b), 0);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
}

static void test_deferred_waits_for_its_plan(void **state)
{
    struct bench *b = *state;

    accept_one(b, "a@one.test", "b@two.test");
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    job_answer(b, job, 0, JOB_DEFERRED, "451 greylisted");
    job_end(b, job, LANE_OK);
    turn(b, 5);
    forget(b);
    turn(b, 95 * 1000); /* 2 m less 20 % is 96 s */
    assert_null(heard_last(b, MSG_job_run));
    turn(b, 60 * 1000); /* past 2 m plus 20 % */
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    assert_int_equal(heard_last(b, MSG_job_rcpt)->job_rcpt.rcpt.attempts, 1);
}

/* Two who share a job by the postmaster's hand, one of them for the first time, each take their own step of the plan. */
static void test_each_takes_its_own_step_of_the_plan(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"b@two.test", "c@two.test", NULL};
    struct message_id id = take_id(b);
    struct order hold = {.kind = ORDER_HOLD}, release = {.kind = ORDER_RELEASE}, retry = {.kind = ORDER_RETRY};
    struct order_target both[] = {{id, 0}, {id, 1}};
    uint32_t count = 0;

    tx_say(b, id, "a@one.test", to, bytes_of(small_body));
    turn(b, 0);
    assert_int_equal(heard_count(b, MSG_job_rcpt), 2);
    struct job_id job = job_of_turn(b);
    job_answer(b, job, 0, JOB_DEFERRED, "451 later");
    assert_true(is_ok(engine_order(b->engine, &hold, &both[1], 1, b->now, &count)));
    job_end(b, job, LANE_WORKER_LOST); /* the other was not tried */
    turn(b, 5);
    assert_true(is_ok(engine_order(b->engine, &release, &both[1], 1, b->now, &count)));
    assert_true(is_ok(engine_order(b->engine, &retry, both, 2, b->now, &count)));
    forget(b);
    turn(b, 5);
    assert_int_equal(heard_count(b, MSG_job_rcpt), 2);
    job = job_of_turn(b);
    job_answer(b, job, 0, JOB_DEFERRED, "451 later");
    job_answer(b, job, 1, JOB_DEFERRED, "451 later");
    job_end(b, job, LANE_OK);
    turn(b, 5);
    int64_t second = next_try_of(b, id, 0).ms - b->now.ms, first = next_try_of(b, id, 1).ms - b->now.ms;
    assert_in_range(first, 95 * 1000, 145 * 1000);   /* 2 m by 20 % */
    assert_in_range(second, 239 * 1000, 361 * 1000); /* 5 m by 20 % */
}

static void test_failure_is_told_in_the_same_commit(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"b@two.test", "c@two.test", NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, "a@one.test", to, bytes_of(small_body));
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    assert_int_equal(heard_count(b, MSG_job_rcpt), 2);
    job_answer(b, job, 0, JOB_FAILED, "550 5.1.1 no such user");
    job_answer(b, job, 1, JOB_FAILED, "550 5.1.1 no such user either");
    job_end(b, job, LANE_OK);
    forget(b);
    turn(b, 5);
    assert_int_equal(message_count(b), 1); /* the message is gone, one notification is there for both */
    const struct msg *begin = heard_last(b, MSG_job_begin);
    assert_non_null(begin);
    assert_int_equal(begin->job_begin.head.reverse_path.size, 0);
    assert_true(bytes_equal(begin->job_begin.lane, BYTES("mx:one.test")));
    struct bytes body = heard_last(b, MSG_job_body)->job_body.body;
    assert_true(bytes_find(body, BYTES("no such user either")) != BYTES_NOT_FOUND);
    /* its own failure is not told to anybody */
    job = job_of_turn(b);
    job_answer(b, job, 0, JOB_FAILED, "550 no");
    job_end(b, job, LANE_OK);
    turn(b, 5);
    assert_int_equal(message_count(b), 0);
}

static void test_lost_worker_means_due_at_once(void **state)
{
    struct bench *b = *state;

    accept_one(b, "a@one.test", "b@two.test");
    turn(b, 0);
    engine_peer_gone(b->engine, b->worker, b->now);
    forget(b);
    b->worker = engine_peer_add(b->engine, ROLE_OUTBOUND, &out_channel);
    say(b, b->worker, (struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 5}});
    for (int i = 0; i < 5 && heard_count(b, MSG_job_run) == 0; i++)
        turn(b, 100);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    assert_int_equal(heard_last(b, MSG_job_rcpt)->job_rcpt.rcpt.attempts, 0);
}

/* What local has delivered is written before its job ends, so that a crash then repeats the rest alone. */
/* Two slots for five lanes, while a worker of another kind stands idle: whoever waits goes when a slot is free, not later. */
static void test_a_lane_goes_when_a_slot_is_free(void **state)
{
    static const char *const to[] = {"x@a.test", "x@b.test", "x@c.test", "x@d.test", "x@e.test"};
    struct bench *b = *state;

    say(b, b->worker, (struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 2}});
    for (size_t i = 0; i < COUNT_OF(to); i++)
        accept_one(b, "a@one.test", to[i]);
    turn(b, 0);
    assert_int_equal(heard_count(b, MSG_job_run), 2);
    for (size_t i = 3; i <= COUNT_OF(to); i++) {
        struct job_id job = job_of_turn(b);
        job_answer(b, job, 0, JOB_DELIVERED, "250 ok");
        job_end(b, job, LANE_OK);
        turn(b, 0);
        assert_int_equal(heard_count(b, MSG_job_run), i);
    }
}

static void test_mailboxes_are_remembered_one_by_one(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"a@box.test", "b@box.test", "c@box.test", NULL};
    struct message_id id = take_id(b);
    struct engine_peer *local = engine_peer_add(b->engine, ROLE_LOCAL, &out_channel);
    struct recipient rcpt;

    say(b, local, (struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 5}});
    tx_say(b, id, "", to, bytes_of(small_body));
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    for (uint32_t n = 0; n < 2; n++)
        say(b, local,
            (struct msg){.kind = MSG_job_result,
                .job_result = {.job = job, .n = n, .outcome = n == 0 ? JOB_DELIVERED : JOB_FAILED}});
    turn(b, 5);
    assert_true(is_ok(store_read_begin(b->store)));
    assert_int_equal(store_recipient_get(b->store, id, 0, &rcpt).code, CODE_GONE);
    assert_true(is_ok(store_recipient_get(b->store, id, 1, &rcpt))); /* failures are told about together */
    assert_true(is_ok(store_recipient_get(b->store, id, 2, &rcpt)));
    store_read_end(b->store);
    engine_peer_gone(b->engine, local, b->now);
    local = engine_peer_add(b->engine, ROLE_LOCAL, &out_channel);
    say(b, local, (struct msg){.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 5}});
    forget(b);
    for (int i = 0; i < 5 && heard_count(b, MSG_job_run) == 0; i++)
        turn(b, 100);
    assert_int_equal(heard_count(b, MSG_job_rcpt), 1);
    assert_int_equal(heard_last(b, MSG_job_rcpt)->job_rcpt.rcpt.n, 2);
    job = job_of_turn(b);
    say(b, local, (struct msg){.kind = MSG_job_result, .job_result = {.job = job, .n = 2, .outcome = JOB_DELIVERED}});
    turn(b, 5); /* the last one takes the message with it, and the end of the job finds nothing to do */
    assert_int_equal(message_count(b), 0);
    say(b, local, (struct msg){.kind = MSG_job_end, .job_end = {.job = job, .verdict = LANE_OK}});
    turn(b, 5);
    struct engine_stats stats;
    engine_stats_get(b->engine, &stats);
    assert_int_equal(stats.delivered, 2);
    assert_int_equal(stats.commit_failures, 0);
}

static void test_expired_mail_comes_back(void **state)
{
    struct bench *b = *state;
    unsigned warnings = 0, attempts = 0;

    accept_one(b, "a@one.test", "b@two.test");
    for (int i = 0; i < 20000; i++) { /* the engine also wakes for its history, once a minute */
        forget(b);
        turn(b, 0);
        struct walltime next = engine_deadline(b->engine);
        const struct msg *begin = heard_last(b, MSG_job_begin);
        if (begin != NULL) {
            bool is_dsn = begin->job_begin.head.reverse_path.size == 0;
            attempts += !is_dsn;
            warnings += is_dsn;
            job_answer(b, begin->job_begin.job, 0, is_dsn ? JOB_DELIVERED : JOB_DEFERRED, "451 not today");
            job_end(b, begin->job_begin.job, LANE_OK);
            continue;
        }
        if (message_count(b) == 0)
            break;
        b->now.ms = next.ms > b->now.ms ? next.ms : b->now.ms + 1;
    }
    assert_int_equal(message_count(b), 0);
    assert_int_equal(warnings, 2); /* one delay warning, one failure */
    assert_in_range(attempts, 30, 45);
    assert_in_range(b->now.ms - 1800000000000, 5 * 86400000ll - 1000, 5 * 86400000ll + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(test_delivered_message_is_gone),
        ENGINE_CASE(test_deferred_waits_for_its_plan),
        ENGINE_CASE(test_each_takes_its_own_step_of_the_plan),
        ENGINE_CASE(test_failure_is_told_in_the_same_commit),
        ENGINE_CASE(test_lost_worker_means_due_at_once),
        ENGINE_CASE(test_a_lane_goes_when_a_slot_is_free),
        ENGINE_CASE(test_mailboxes_are_remembered_one_by_one),
        ENGINE_CASE(test_expired_mail_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
