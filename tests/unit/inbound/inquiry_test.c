/* inquiry: questions over a real channel to a lookup played by the test; silence, loss and departure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/inbound/inquiry.h"

static struct loop *loop;
static struct channel *lookup;
static struct inquiry *inquiry;
static struct inquiry_question one, two;
static uint64_t asked[8];
static char paths[8][64];
static size_t asked_count;
static int heard_one, heard_two;

static void on_answered(void *owner, enum rcpt_known known)
{
    *(int *)owner = (int)known;
}

static void on_message(void *ctx, const struct msg *m)
{
    (void)ctx;
    assert_int_equal(m->kind, MSG_rcpt_ask);
    assert_true(asked_count < COUNT_OF(asked));
    snprintf(paths[asked_count], sizeof paths[0], "%.*s", BYTES_ARG(m->rcpt_ask.path));
    asked[asked_count++] = m->rcpt_ask.session;
}

static void on_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}

static const struct channel_handlers HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void lookup_connect(void)
{
    int fd[2];

    assert_true(is_ok(channel_pair(fd)));
    lookup = channel_new(loop, fd[0], ROLE_LOOKUP, ROLE_INBOUND, &HANDLERS, NULL);
    inquiry_channel(inquiry, fd[1]);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    inquiry = inquiry_new(loop, on_answered);
    asked_count = 0;
    heard_one = heard_two = -1;
    one = (struct inquiry_question){.owner = &heard_one};
    two = (struct inquiry_question){.owner = &heard_two};
    lookup_connect();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    inquiry_leave(&one);
    inquiry_leave(&two);
    inquiry_free(&inquiry);
    channel_free(&lookup);
    loop_free(&loop);
    return 0;
}

static void turns(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(loop, false);
}

static void answer(size_t index, enum rcpt_known known)
{
    channel_send(
        lookup, &(struct msg){.kind = MSG_rcpt_answer, .rcpt_answer = {.session = asked[index], .known = known}});
    turns();
}

static void each_hears_its_own(void **state)
{
    (void)state;
    inquiry_ask(inquiry, &one, BYTES("a@x.test"));
    inquiry_ask(inquiry, &two, BYTES("b@x.test"));
    turns();
    assert_int_equal(asked_count, 2);
    assert_string_equal(paths[1], "b@x.test");
    answer(1, RCPT_UNKNOWN);
    assert_int_equal(heard_two, RCPT_UNKNOWN);
    assert_int_equal(heard_one, -1);
    answer(0, RCPT_ALIAS);
    assert_int_equal(heard_one, RCPT_ALIAS);
    inquiry_ask(inquiry, &one, BYTES("c@x.test"));
    heard_one = -1;
    answer(0, RCPT_FINAL); /* the old question's number again */
    assert_int_equal(heard_one, -1);
}

static void a_lost_lookup_is_later(void **state)
{
    (void)state;
    inquiry_ask(inquiry, &one, BYTES("a@x.test"));
    turns();
    channel_free(&lookup);
    turns();
    assert_int_equal(heard_one, RCPT_LATER);
    inquiry_ask(inquiry, &two, BYTES("b@x.test"));
    assert_int_equal(heard_two, RCPT_LATER); /* at once */
    lookup_connect();
    inquiry_ask(inquiry, &one, BYTES("a@x.test"));
    turns();
    answer(asked_count - 1, RCPT_FINAL);
    assert_int_equal(heard_one, RCPT_FINAL);
}

static void silence_has_its_bound(void **state)
{
    (void)state;
    inquiry_ask(inquiry, &one, BYTES("a@x.test"));
    inquiry_ask(inquiry, &two, BYTES("b@x.test"));
    assert_true(one.deadline.ms - loop_now(loop).ms <= INQUIRY_MS);
    one.deadline = loop_now(loop); /* as if that time were over */
    inquiry_leave(&two);           /* settles the timer by what is first */
    for (int i = 0; i < 200 && heard_one < 0; i++)
        loop_turn(loop, false);
    assert_int_equal(heard_one, RCPT_LATER);
    assert_int_equal(heard_two, -1);
}

static void who_left_hears_nothing(void **state)
{
    (void)state;
    inquiry_ask(inquiry, &one, BYTES("a@x.test"));
    inquiry_ask(inquiry, &two, BYTES("b@x.test"));
    turns();
    inquiry_leave(&one);
    inquiry_leave(&one);
    answer(0, RCPT_FINAL);
    answer(1, RCPT_FINAL);
    assert_int_equal(heard_one, -1);
    assert_int_equal(heard_two, RCPT_FINAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_hears_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_lookup_is_later, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_has_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(who_left_hears_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
