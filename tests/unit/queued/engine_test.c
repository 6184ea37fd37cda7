/* The engine over a real store in a temporary folder, with a fake clock and peers that only write down what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/queued/engine.h"
#include "queue/attempt.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEARD_MAX = 4096, HEARD_ROOM = 8 << 20 };

struct heard {
    void *channel;
    struct msg msg; /* views into room */
};

struct bench {
    char dir[64];
    struct config *cfg;
    struct store *store;
    struct engine *engine;
    struct engine_peer *inbound, *worker, *lookup;
    struct walltime now;
    struct heard heard[HEARD_MAX];
    size_t heard_count;
    uint8_t *room;
    struct buf log;
};

static int in_channel, out_channel, look_channel;

static void hear(void *context, void *channel, const struct msg *m)
{
    struct bench *b = context;
    size_t from = b->log.size;
    enum ipc_role to = channel == &in_channel ? ROLE_INBOUND : channel == &look_channel ? ROLE_LOOKUP : ROLE_OUTBOUND;

    assert_true(b->heard_count < HEARD_MAX);
    assert_true(is_ok(msg_encode(&b->log, m)));
    struct heard *h = &b->heard[b->heard_count++];
    h->channel = channel;
    assert_true(is_ok(msg_decode(bytes_after(buf_bytes(&b->log), from), ROLE_QUEUED, to, &h->msg)));
}

static const char config_text[] = "hostname = \"mx.test\"\n"
                                  "limits { connections_per_lane = 4 }\n"
                                  "domain \"list.test\" { aliases = \"/aliases\" }\n"
                                  "domain \"box.test\" { maildir = \"/box/%u\" }\n"
                                  "route \"bad.test\" { via = \"error:5.1.1 nobody here\" }\n"
                                  "route \"gone.test\" { via = \"discard\" }\n"
                                  "route \"held.test\" { via = \"hold\" }\n";

static void engine_open(struct bench *b)
{
    assert_true(is_ok(store_open(&(struct store_config){.path = b->dir, .size_max = 1 << 30}, &b->store)));
    b->engine = engine_new(
        &(struct engine_setup){.config = b->cfg, .store = b->store, .ports = {.context = b, .send = hear}, .seed = 7});
    assert_non_null(b->engine);
    assert_true(is_ok(engine_start(b->engine, b->now)));
    b->inbound = engine_peer_add(b->engine, ROLE_INBOUND, &in_channel);
    b->worker = engine_peer_add(b->engine, ROLE_OUTBOUND, &out_channel);
    struct msg hello = {.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 50}};
    assert_true(is_ok(engine_receive(b->engine, b->worker, &hello, b->now)));
    b->lookup = engine_peer_add(b->engine, ROLE_LOOKUP, &look_channel);
    assert_true(is_ok(engine_receive(b->engine, b->lookup, &hello, b->now)));
}

static void engine_shut(struct bench *b)
{
    engine_free(&b->engine);
    store_close(&b->store);
}

static int set_up(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct config_error error = {""};

    b->room = malloc(HEARD_ROOM);
    buf_init(&b->log, b->room, HEARD_ROOM);
    snprintf(b->dir, sizeof b->dir, "/tmp/mansio-engine-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->now.ms = 1800000000000;
    if (!is_ok(config_read_text("test", bytes_of(config_text), &b->cfg, &error)))
        fail_msg("%s", error.text);
    engine_open(b);
    *state = b;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct bench *b = *state;

    engine_shut(b);
    config_free(&b->cfg);
    nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(b->room);
    free(b);
    return 0;
}

static const struct msg *heard_last(struct bench *b, enum msg_kind kind)
{
    for (size_t i = b->heard_count; i > 0; i--)
        if (b->heard[i - 1].msg.kind == kind)
            return &b->heard[i - 1].msg;
    return NULL;
}

static size_t heard_count(struct bench *b, enum msg_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < b->heard_count; i++)
        count += b->heard[i].msg.kind == kind;
    return count;
}

static void forget(struct bench *b)
{
    b->heard_count = 0;
    buf_reset(&b->log);
}

static void say(struct bench *b, struct engine_peer *peer, struct msg m)
{
    struct result r = engine_receive(b->engine, peer, &m, b->now);
    if (!is_ok(r))
        fail_msg("%s: %s", msg_name(m.kind), r.why);
}

static void turn(struct bench *b, int64_t later_ms)
{
    b->now.ms += later_ms;
    engine_turn(b->engine, b->now);
}

static struct message_id take_id(struct bench *b)
{
    say(b, b->inbound, (struct msg){.kind = MSG_ids_want, .ids_want = {.count = 1}});
    const struct msg *grant = heard_last(b, MSG_ids_grant);
    assert_int_equal(grant->ids_grant.count, 1);
    return (struct message_id){grant->ids_grant.first};
}

static void tx_say(struct bench *b, struct message_id id, const char *from, const char *const *to, struct bytes body)
{
    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    for (uint32_t n = 0; to[n] != NULL; n++)
        say(b, b->inbound,
            (struct msg){
                .kind = MSG_tx_rcpt, .tx_rcpt = {.id = id, .rcpt = {.n = n, .forward_path = bytes_of(to[n])}}});
    for (struct bytes rest = body; rest.size > 0; rest = bytes_after(rest, BODY_FRAME_SIZE_MAX))
        say(b, b->inbound,
            (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = bytes_head(rest, BODY_FRAME_SIZE_MAX)}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id,
                .head = {.id = id, .arrival = b->now, .reverse_path = bytes_of(from), .body_size = body.size}}});
}

static const char small_body[] = "Subject: hello\r\n\r\nworld\r\n";

static struct message_id accept_one(struct bench *b, const char *from, const char *to)
{
    const char *const list[] = {to, NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, from, list, bytes_of(small_body));
    return id;
}

static void job_answer(struct bench *b, struct job_id job, uint32_t n, enum job_outcome outcome, const char *reply)
{
    say(b, b->worker,
        (struct msg){.kind = MSG_job_result,
            .job_result = {.job = job,
                .n = n,
                .outcome = outcome,
                .status = BYTES("5.1.1"),
                .reply = bytes_of(reply),
                .host = BYTES("mx.example.org"),
                .address = BYTES("192.0.2.1")}});
}

static void job_end(struct bench *b, struct job_id job, enum lane_verdict verdict)
{
    say(b, b->worker, (struct msg){.kind = MSG_job_end, .job_end = {.job = job, .verdict = verdict}});
}

static uint64_t message_count(struct bench *b)
{
    struct store_stats stats;
    store_stats_get(b->store, &stats);
    return stats.messages;
}

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

static struct job_id job_of_turn(struct bench *b)
{
    const struct msg *run = heard_last(b, MSG_job_run);
    assert_non_null(run);
    return run->job_run.job;
}

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

static struct walltime next_try_of(struct bench *b, struct message_id id, uint32_t n)
{
    struct recipient rcpt;

    assert_true(is_ok(store_read_begin(b->store)));
    assert_true(is_ok(store_recipient_get(b->store, id, n, &rcpt)));
    struct walltime next = rcpt.next_try;
    store_read_end(b->store);
    return next;
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

/* An order to every recipient that the message may have; until: ms from now, 0: at once. */
static uint32_t order_to(struct bench *b, struct message_id id, enum order_kind kind, int64_t until, const char *lane)
{
    struct order order = {.kind = kind, .lane = bytes_of(lane)};
    struct order_target targets[10];
    uint32_t count = 0;

    if (until > 0)
        order.until = walltime_after(b->now, until);
    for (uint32_t n = 0; n < COUNT_OF(targets); n++)
        targets[n] = (struct order_target){id, n};
    assert_true(is_ok(engine_order(b->engine, &order, targets, COUNT_OF(targets), b->now, &count)));
    return count;
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

static void queue_is_sound(struct bench *b)
{
    struct store_fsck found;

    assert_true(is_ok(store_fsck(b->store, &found, NULL, NULL)));
    assert_true(store_fsck_clean(&found));
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

/* --- expansion (Q3) --- */

static void child_say(
    struct bench *b, struct job_id job, uint32_t n, enum child_kind kind, const char *text, const char *owner)
{
    say(b, b->lookup,
        (struct msg){.kind = MSG_job_child,
            .job_child = {.job = job,
                .n = n,
                .kind = kind,
                .text = bytes_of(text),
                .address = BYTES("all@list.test"),
                .owner = bytes_of(owner)}});
}

static void expanded_say(struct bench *b, struct job_id job, uint32_t n)
{
    say(b, b->lookup,
        (struct msg){.kind = MSG_job_result,
            .job_result = {.job = job, .n = n, .outcome = JOB_EXPANDED, .status = BYTES("2.0.0")}});
}

static void expansion_end(struct bench *b, struct job_id job)
{
    say(b, b->lookup, (struct msg){.kind = MSG_job_end, .job_end = {.job = job, .verdict = LANE_OK}});
}

/* The recipients of a message as "path@lane " in order of n. */
static const char *rows(struct bench *b, struct message_id id)
{
    static char text[2048];
    struct recipient rcpt;
    size_t used = 0;

    text[0] = 0;
    assert_true(is_ok(store_read_begin(b->store)));
    for (uint64_t at = 0; is_ok(store_recipient_next(b->store, id, &at, &rcpt));)
        used += (size_t)snprintf(text + used, sizeof text - used, "%u<%u %.*s %.*s; ", rcpt.n, rcpt.parent,
            BYTES_ARG(rcpt.forward_path), BYTES_ARG(rcpt.lane));
    store_read_end(b->store);
    return text;
}

static void test_expansion_is_one_transaction(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"all@list.test", "b@two.test", NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, "a@one.test", to, bytes_of(small_body));
    turn(b, 0);
    assert_string_equal(rows(b, id), "0<0 all@list.test expand; 1<0 b@two.test mx:two.test; ");
    struct job_id job = {0};
    for (size_t i = 0; i < b->heard_count; i++)
        if (b->heard[i].channel == &look_channel && b->heard[i].msg.kind == MSG_job_run)
            job = b->heard[i].msg.job_run.job;
    assert_true(job.value != 0);
    child_say(b, job, 0, CHILD_ADDRESS, "c@list.test", "");
    child_say(b, job, 0, CHILD_ADDRESS, "b@two.test", ""); /* gets it anyway */
    child_say(b, job, 0, CHILD_COMMAND, "/bin/cat", "");
    child_say(b, job, 0, CHILD_FILE, "/var/archive", "");
    child_say(b, job, 0, CHILD_FILE, "/dev/null", "");
    child_say(b, job, 0, CHILD_UNKNOWN, "nosuch@list.test", "");
    expanded_say(b, job, 0);
    assert_string_equal(rows(b, id), "0<0 all@list.test expand; 1<0 b@two.test mx:two.test; ");
    expansion_end(b, job);
    turn(b, 0);
    static const char after[] = "1<0 b@two.test mx:two.test; 2<1 c@list.test local; 3<1 all@list.test pipe:/bin/cat; "
                                "4<1 all@list.test file:/var/archive; 5<1 nosuch@list.test expand; ";
    assert_string_equal(rows(b, id), after);
    engine_shut(b); /* and it stays so over a crash */
    engine_open(b);
    assert_string_equal(rows(b, id), after);
    struct store_fsck found;
    assert_true(is_ok(store_fsck(b->store, &found, NULL, NULL)));
    assert_true(store_fsck_clean(&found));
}

static void test_a_crash_before_the_commit_expands_again(void **state)
{
    struct bench *b = *state;
    struct message_id id = accept_one(b, "a@one.test", "all@list.test");

    turn(b, 0);
    struct job_id job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@three.test", "");
    expanded_say(b, job, 0);
    engine_shut(b);
    engine_open(b);
    assert_string_equal(rows(b, id), "0<0 all@list.test expand; ");
    forget(b);
    turn(b, 1);
    job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@three.test", "");
    expanded_say(b, job, 0);
    expansion_end(b, job);
    turn(b, 0);
    assert_string_equal(rows(b, id), "1<1 c@three.test mx:three.test; ");
}

/* Two ways to one recipient, the second found after the first was delivered. */
static void test_nobody_gets_it_twice(void **state)
{
    struct bench *b = *state;
    static const char *const to[] = {"C@list.test", "all@list.test", NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, "a@one.test", to, bytes_of(small_body));
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@list.test", "");
    expanded_say(b, job, 0);
    child_say(b, job, 1, CHILD_ADDRESS, "C@list.test", "");
    child_say(b, job, 1, CHILD_ADDRESS, "d@three.test", "");
    expanded_say(b, job, 1);
    expansion_end(b, job);
    turn(b, 0);
    assert_string_equal(rows(b, id), "2<1 c@list.test local; 3<2 d@three.test mx:three.test; ");
}

static void test_an_owner_is_the_reverse_path(void **state)
{
    struct bench *b = *state;
    struct message_id id = accept_one(b, "a@one.test", "all@list.test");

    turn(b, 0);
    struct job_id job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@three.test", "owner-all@list.test");
    child_say(b, job, 0, CHILD_ADDRESS, "d@three.test", "");
    expanded_say(b, job, 0);
    expansion_end(b, job);
    forget(b);
    turn(b, 0);
    const struct msg *begin = heard_last(b, MSG_job_begin);
    assert_non_null(begin);
    assert_true(bytes_equal(begin->job_begin.head.reverse_path, BYTES("owner-all@list.test")));
    assert_int_equal(heard_count(b, MSG_job_rcpt), 1); /* another reverse-path is another job */
    job = begin->job_begin.job;
    job_answer(b, job, 1, JOB_FAILED, "550 no");
    job_end(b, job, LANE_OK);
    forget(b);
    turn(b, 5);
    bool owner_is_told = false, other_goes = false;
    for (size_t i = 0; i < b->heard_count; i++) {
        const struct msg *m = &b->heard[i].msg;
        /* the owner's own aliases are looked at first */
        owner_is_told = owner_is_told || (m->kind == MSG_job_rcpt &&
                                             bytes_equal(m->job_rcpt.rcpt.forward_path, BYTES("owner-all@list.test")) &&
                                             bytes_equal(m->job_rcpt.rcpt.lane, BYTES("expand")));
        other_goes = other_goes ||
                     (m->kind == MSG_job_begin && bytes_equal(m->job_begin.head.reverse_path, BYTES("a@one.test")));
    }
    assert_true(owner_is_told && other_goes);
    struct envelope_head head;
    assert_true(is_ok(store_read_begin(b->store)));
    assert_true(is_ok(store_message_get(b->store, id, &head)));
    assert_true(bytes_equal(head.reverse_path, BYTES("a@one.test"))); /* the message keeps its own */
    assert_int_equal(head.rcpt_count, 3);
    store_read_end(b->store);
}

/* Who a message from `from` to all@list.test goes out from, as "path=sender; ". */
static const char *senders_of(struct bench *b, const char *from)
{
    static char text[2048];
    struct message_id id = accept_one(b, from, "all@list.test");
    struct recipient rcpt;
    size_t used = 0;

    forget(b);
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@three.test", "");
    child_say(b, job, 0, CHILD_ADDRESS, "d@list.test", "");
    child_say(b, job, 0, CHILD_ADDRESS, "e@three.test", from[0] != 0 ? "owner-all@list.test" : "");
    expanded_say(b, job, 0);
    expansion_end(b, job);
    turn(b, 0);
    text[0] = 0;
    assert_true(is_ok(store_read_begin(b->store)));
    for (uint64_t at = 0; is_ok(store_recipient_next(b->store, id, &at, &rcpt));)
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%.*s=%.*s; ", BYTES_ARG(rcpt.forward_path), BYTES_ARG(rcpt.sender));
    store_read_end(b->store);
    return text;
}

/* Only a stranger's mail that leaves us for another host goes out in our name. */
static void test_forwarded_senders(void **state)
{
    struct bench *b = *state;
    struct srs srs = {.keys = {BYTES_INIT("k")}, .key_count = 1, .domain = BYTES_INIT("list.test"), .max_age_days = 21};
    char expected[256];
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf wrapped = BUF(room);

    assert_string_equal(senders_of(b, "a@one.test"), "c@three.test=; d@list.test=; e@three.test=owner-all@list.test; ");
    engine_srs(b->engine, &srs);
    assert_true(is_ok(srs_forward(&srs, b->now, BYTES("a@one.test"), &wrapped)));
    snprintf(expected, sizeof expected, "c@three.test=%.*s; d@list.test=; e@three.test=owner-all@list.test; ",
        BYTES_ARG(buf_bytes(&wrapped)));
    assert_string_equal(senders_of(b, "a@one.test"), expected);
    assert_string_equal(
        senders_of(b, "us@list.test"), "c@three.test=; d@list.test=; e@three.test=owner-all@list.test; ");
    assert_string_equal(senders_of(b, ""), "c@three.test=; d@list.test=; e@three.test=; ");
    engine_srs(b->engine, NULL);
    assert_string_equal(senders_of(b, "a@one.test"), "c@three.test=; d@list.test=; e@three.test=owner-all@list.test; ");
}

static void test_expanded_is_told_when_asked_for(void **state)
{
    struct bench *b = *state;
    struct message_id id = take_id(b);

    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_rcpt,
            .tx_rcpt = {.id = id,
                .rcpt = {.forward_path = BYTES("all@list.test"), .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE}}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = bytes_of(small_body)}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id,
                .head = {.id = id,
                    .arrival = b->now,
                    .reverse_path = BYTES("a@one.test"),
                    .body_size = sizeof small_body - 1}}});
    turn(b, 0);
    struct job_id job = job_of_turn(b);
    child_say(b, job, 0, CHILD_ADDRESS, "c@three.test", "");
    child_say(b, job, 0, CHILD_ADDRESS, "d@three.test", "");
    expanded_say(b, job, 0);
    expansion_end(b, job);
    forget(b);
    turn(b, 0);
    turn(b, 0);
    bool told = false;
    for (size_t i = 0; i < b->heard_count; i++) {
        const struct msg *m = &b->heard[i].msg;
        if (m->kind == MSG_job_rcpt && bytes_equal(m->job_rcpt.rcpt.lane, BYTES("mx:three.test"))) {
            assert_int_equal(m->job_rcpt.rcpt.notify, DSN_NOTIFY_FAILURE);
            assert_true(bytes_equal(m->job_rcpt.rcpt.orcpt, BYTES("rfc822;all@list.test")));
        }
        told = told || (m->kind == MSG_job_body && bytes_find(m->job_body.body, BYTES("Action: expanded")) >= 0);
    }
    assert_true(told);
}

static void test_what_inbound_found_final_is_not_expanded(void **state)
{
    struct bench *b = *state;
    struct message_id id = take_id(b);

    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_rcpt,
            .tx_rcpt = {
                .id = id, .rcpt = {.forward_path = BYTES("c@list.test"), .lane = BYTES(RECIPIENT_LANE_FINAL)}}});
    say(b, b->inbound, (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = bytes_of(small_body)}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id, .head = {.id = id, .arrival = b->now, .body_size = sizeof small_body - 1}}});
    turn(b, 0);
    assert_string_equal(rows(b, id), "0<0 c@list.test local; ");
}

/* --- copies of one message that are one commit --- */

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
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(test_accept_is_durable_before_its_answer),
        CASE(test_copies_wait_for_their_company),
        CASE(test_copies_fail_together),
        CASE(test_copies_without_their_last_are_nothing),
        CASE(test_recipient_refused_by_inbound),
        CASE(test_delivered_message_is_gone),
        CASE(test_deferred_waits_for_its_plan),
        CASE(test_each_takes_its_own_step_of_the_plan),
        CASE(test_failure_is_told_in_the_same_commit),
        CASE(test_lost_worker_means_due_at_once),
        CASE(test_a_lane_goes_when_a_slot_is_free),
        CASE(test_mailboxes_are_remembered_one_by_one),
        CASE(test_client_that_hangs_up_leaves_nothing),
        CASE(test_large_body_spills_and_comes_back),
        CASE(test_aborted_spill_is_swept_away),
        CASE(test_routes_decide_at_commit),
        CASE(test_postmaster_holds_releases_deletes),
        CASE(test_a_deletion_can_be_taken_back_until_it_happens),
        CASE(test_a_word_about_lanes_is_durable_at_once),
        CASE(test_the_later_health_of_a_lane_is_kept),
        CASE(test_a_window_may_end_in_the_middle_of_an_attempt),
        CASE(test_what_is_held_is_parked),
        CASE(test_an_order_goes_with_the_mail_that_waits),
        CASE(test_a_bounce_tells_the_sender),
        CASE(test_a_bounce_waits_for_the_attempt_under_way),
        CASE(test_mail_is_moved_to_another_lane),
        CASE(test_retry_overrides_the_plan),
        CASE(test_expired_mail_comes_back),
        CASE(test_nonsense_is_refused),
        CASE(test_expansion_is_one_transaction),
        CASE(test_a_crash_before_the_commit_expands_again),
        CASE(test_nobody_gets_it_twice),
        CASE(test_an_owner_is_the_reverse_path),
        CASE(test_forwarded_senders),
        CASE(test_expanded_is_told_when_asked_for),
        CASE(test_what_inbound_found_final_is_not_expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
