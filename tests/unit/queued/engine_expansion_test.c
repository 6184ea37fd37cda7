/* Recipients that stand for others (Q3). */
#include "tests/unit/queued/engine_kit.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(test_expansion_is_one_transaction),
        ENGINE_CASE(test_a_crash_before_the_commit_expands_again),
        ENGINE_CASE(test_nobody_gets_it_twice),
        ENGINE_CASE(test_an_owner_is_the_reverse_path),
        ENGINE_CASE(test_forwarded_senders),
        ENGINE_CASE(test_expanded_is_told_when_asked_for),
        ENGINE_CASE(test_what_inbound_found_final_is_not_expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
