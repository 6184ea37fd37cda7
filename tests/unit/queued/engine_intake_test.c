/* What comes in: durable before its answer, large bodies, copies that are one commit, nonsense. */
#include "tests/unit/queued/engine_kit.h"

static void test_accept_is_durable_before_its_answer(void **state)
{
    struct bench *b = *state;
    struct message_id id = accept_one(b, "a@one.test", "b@two.test");

    assert_null(heard_last(b, MSG_tx_done));
    turn(b, 0);
    const struct msg *done = heard_last(b, MSG_tx_done);
    assert_non_null(done);
    assert_int_equal(done->tx_done.outcome, TX_ACCEPTED);
    engine_shut(b);
    engine_open(b); /* what was answered is there for the next process */
    assert_int_equal(message_count(b), 1);
    struct envelope_head head;
    assert_true(is_ok(store_read_begin(b->store)));
    assert_true(is_ok(store_message_get(b->store, id, &head)));
    assert_int_equal(head.body_size, sizeof small_body - 1);
    store_read_end(b->store);
}

static void test_client_that_hangs_up_leaves_nothing(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"b@two.test", NULL};
    struct message_id id = take_id(b);

    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_rcpt, .tx_rcpt = {.id = id, .rcpt = {.forward_path = bytes_of(to[0])}}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = BYTES("half")}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_abort, .tx_abort = {.id = id}});
    accept_one(b, "a@one.test", "b@two.test"); /* and the next one is not disturbed */
    turn(b, 0);
    assert_int_equal(message_count(b), 1);
}

static void test_large_body_spills_and_comes_back(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"b@two.test", NULL};
    struct message_id id = take_id(b);
    size_t size = 700000;
    uint8_t *body = malloc(size);

    for (size_t i = 0; i < size; i++)
        body[i] = (uint8_t)('a' + i * 31 % 26);
    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_rcpt, .tx_rcpt = {.id = id, .rcpt = {.forward_path = bytes_of(to[0])}}});
    uint64_t credit = BODY_WINDOW_SIZE;
    for (size_t at = 0; at < size;) {
        size_t piece = size - at < 60000 ? size - at : 60000;
        if (piece > credit)
            piece = credit;
        if (piece == 0) {
            size_t before = heard_count(b, MSG_tx_credit);
            turn(b, 1);
            assert_true(heard_count(b, MSG_tx_credit) > before);
            credit += heard_last(b, MSG_tx_credit)->tx_credit.size;
            continue;
        }
        say(b, b->inbound, (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = {body + at, piece}}});
        credit -= piece;
        at += piece;
    }
    assert_int_equal(message_count(b), 0);
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id,
                .head = {.id = id, .arrival = b->now, .reverse_path = BYTES("a@one.test"), .body_size = size}}});
    turn(b, 0);
    assert_int_equal(message_count(b), 1);
    struct job_id job = job_of_turn(b);
    size_t got = heard_last(b, MSG_job_body)->job_body.body.size;
    assert_memory_equal(heard_last(b, MSG_job_body)->job_body.body.data, body, got);
    while (got < size) {
        forget(b);
        say(b, b->worker, (struct msg){.kind = MSG_job_want, .job_want = {.job = job, .offset = got, .size = 65536}});
        const struct msg *more = heard_last(b, MSG_job_body);
        assert_non_null(more);
        assert_int_equal(more->job_body.offset, got);
        assert_memory_equal(more->job_body.body.data, body + got, more->job_body.body.size);
        got += more->job_body.body.size;
    }
    job_answer(b, job, 0, JOB_DELIVERED, "250 ok");
    job_end(b, job, LANE_OK);
    turn(b, 1);
    assert_int_equal(message_count(b), 0);
    struct store_fsck found;
    assert_true(is_ok(store_fsck(b->store, &found, NULL, NULL)));
    assert_true(store_fsck_clean(&found));
    assert_int_equal(found.body_rows, 0);
    free(body);
}

static void test_aborted_spill_is_swept_away(void **state)
{
    struct bench *b = *state;
    struct message_id id = take_id(b);
    uint8_t *body = calloc(1, BODY_FRAME_SIZE_MAX);

    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    for (int i = 0; i < 9; i++)
        say(b, b->inbound,
            (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = {body, BODY_FRAME_SIZE_MAX}}});
    turn(b, 0);
    say(b, b->inbound, (struct msg){.kind = MSG_tx_abort, .tx_abort = {.id = id}});
    turn(b, 0);
    struct store_fsck found;
    assert_true(is_ok(store_fsck(b->store, &found, NULL, NULL)));
    assert_true(store_fsck_clean(&found));
    assert_int_equal(found.body_rows, 0);
    assert_int_equal(found.unpublished, 0);
    free(body);
}

static void test_routes_decide_at_commit(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"x@bad.test", "y@gone.test", "z@held.test", NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, "a@one.test", to, bytes_of(small_body));
    turn(b, 0);
    assert_int_equal(message_count(b), 2); /* the message with its held recipient, and the notification */
    assert_true(bytes_find(heard_last(b, MSG_job_body)->job_body.body, BYTES("nobody here")) != BYTES_NOT_FOUND);
    assert_int_equal(heard_count(b, MSG_job_run), 1);
    assert_int_equal(order_to(b, id, ORDER_RELEASE, 0, ""), 1);
}

static void test_nonsense_is_refused(void **state)
{
    struct bench *b = *state;
    struct message_id id = take_id(b);
    struct msg m = {.kind = MSG_tx_begin, .tx_begin = {.id = id}};

    say(b, b->inbound, m);
    assert_int_equal(engine_receive(b->engine, b->inbound, &m, b->now).code, CODE_REFUSED);
    m = (struct msg){.kind = MSG_tx_commit, .tx_commit = {.id = id, .head = {.id = id, .body_size = 10}}};
    assert_int_equal(engine_receive(b->engine, b->inbound, &m, b->now).code, CODE_REFUSED);
    m = (struct msg){.kind = MSG_job_want, .job_want = {.job = {1}}};
    assert_int_equal(engine_receive(b->engine, b->inbound, &m, b->now).code, CODE_REFUSED);
    m = (struct msg){.kind = MSG_ids_want};
    assert_int_equal(engine_receive(b->engine, b->worker, &m, b->now).code, CODE_REFUSED);
}

static void tx_open(struct bench *b, struct message_id id, const struct recipient *rcpt)
{
    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_rcpt, .tx_rcpt = {.id = id, .rcpt = *rcpt}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = bytes_of(small_body)}});
}

static void tx_commit_say(struct bench *b, struct message_id id, bool joined)
{
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id,
                .joined = joined,
                .head = {.id = id,
                    .arrival = b->now,
                    .reverse_path = BYTES("a@one.test"),
                    .body_size = sizeof small_body - 1}}});
}

static struct message_id copy_open(struct bench *b, const char *to)
{
    struct message_id id = take_id(b);

    tx_open(b, id, &(struct recipient){.forward_path = bytes_of(to)});
    return id;
}

static void test_copies_wait_for_their_company(void **state)
{
    struct bench *b = *state;
    struct message_id first = copy_open(b, "b@two.test"), second = copy_open(b, "c@two.test");
    struct engine_stats before, after;

    tx_commit_say(b, first, true);
    turn(b, 0);
    assert_null(heard_last(b, MSG_tx_done));
    assert_int_equal(message_count(b), 0);
    engine_stats_get(b->engine, &before);
    tx_commit_say(b, second, false);
    turn(b, 0);
    engine_stats_get(b->engine, &after);
    assert_int_equal(heard_count(b, MSG_tx_done), 2);
    assert_int_equal(message_count(b), 2);
    assert_int_equal(after.commits - before.commits, 1);
    copy_open(b, "d@two.test");
    turn(b, 0);
    assert_int_equal(heard_count(b, MSG_tx_done), 2);
}

static void test_copies_fail_together(void **state)
{
    struct bench *b = *state;
    struct message_id first = copy_open(b, "b@two.test"), second = copy_open(b, "c@two.test"), lost = take_id(b);

    tx_commit_say(b, first, true);
    tx_commit_say(b, lost, true); /* was answered before; perhaps there was no memory for it */
    tx_commit_say(b, second, false);
    turn(b, 0);
    assert_int_equal(heard_count(b, MSG_tx_done), 2);
    assert_int_equal(heard_last(b, MSG_tx_done)->tx_done.outcome, TX_TRY_LATER);
    assert_int_equal(message_count(b), 0);
    accept_one(b, "a@one.test", "b@two.test"); /* who comes next has nothing to do with it */
    turn(b, 0);
    assert_int_equal(heard_last(b, MSG_tx_done)->tx_done.outcome, TX_ACCEPTED);
    assert_int_equal(message_count(b), 1);
}

static void test_copies_without_their_last_are_nothing(void **state)
{
    struct bench *b = *state;

    tx_commit_say(b, copy_open(b, "b@two.test"), true);
    engine_peer_gone(b->engine, b->inbound, b->now);
    b->inbound = engine_peer_add(b->engine, ROLE_INBOUND, &in_channel);
    turn(b, 0);
    accept_one(b, "a@one.test", "c@two.test");
    turn(b, 0);
    assert_int_equal(message_count(b), 1);
}

/* The sender is told at the address that names the recipient, and nothing of the message stays. */
static void test_recipient_refused_by_inbound(void **state)
{
    struct bench *b = *state;
    struct message_id id = take_id(b);

    tx_open(b, id,
        &(struct recipient){.forward_path = BYTES("no@two.test"),
            .sender = BYTES("a+no=two.test@three.test"),
            .lane = BYTES(RECIPIENT_LANE_REFUSED),
            .last_status = BYTES("5.1.1"),
            .last_reply = BYTES("nobody of that name")});
    tx_commit_say(b, id, false);
    turn(b, 0);
    assert_int_equal(heard_last(b, MSG_tx_done)->tx_done.outcome, TX_ACCEPTED);
    assert_int_equal(message_count(b), 1);
    turn(b, 0);
    const struct msg *body = heard_last(b, MSG_job_body);
    assert_non_null(body);
    assert_true(bytes_find(body->job_body.body, BYTES("nobody of that name")) >= 0);
    assert_true(bytes_find(body->job_body.body, BYTES("Status: 5.1.1")) >= 0);
    assert_true(
        bytes_equal(heard_last(b, MSG_job_rcpt)->job_rcpt.rcpt.forward_path, BYTES("a+no=two.test@three.test")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(test_accept_is_durable_before_its_answer),
        ENGINE_CASE(test_copies_wait_for_their_company),
        ENGINE_CASE(test_copies_fail_together),
        ENGINE_CASE(test_copies_without_their_last_are_nothing),
        ENGINE_CASE(test_recipient_refused_by_inbound),
        ENGINE_CASE(test_client_that_hangs_up_leaves_nothing),
        ENGINE_CASE(test_large_body_spills_and_comes_back),
        ENGINE_CASE(test_aborted_spill_is_swept_away),
        ENGINE_CASE(test_routes_decide_at_commit),
        ENGINE_CASE(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
