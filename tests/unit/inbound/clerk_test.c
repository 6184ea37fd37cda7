/* clerk: logins over a real channel, with an auth process played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/inbound/clerk.h"

enum { SEATS = 3, TURNS_MAX = 1000 };

struct session {
    struct clerk_seat seat;
    unsigned answers;
    enum auth_outcome outcome;
    char text[64];
};

static struct loop *loop;
static struct clerk *clerk;
static struct channel *auth;
static struct session sessions[SEATS];
static uint64_t asked[16], forgotten[16];
static unsigned ask_count, forget_count;

static void answered(void *owner, enum auth_outcome outcome, struct bytes text)
{
    struct session *s = owner;

    s->answers++;
    s->outcome = outcome;
    snprintf(s->text, sizeof s->text, "%.*s", BYTES_ARG(text));
}

static void on_message(void *ctx, const struct msg *m)
{
    (void)ctx;
    if (m->kind == MSG_auth_ask && ask_count < COUNT_OF(asked))
        asked[ask_count++] = m->auth_ask.session;
    else if (m->kind == MSG_auth_forget && forget_count < COUNT_OF(forgotten))
        forgotten[forget_count++] = m->auth_forget.session;
    else
        fail();
}

static void on_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}

static const struct channel_handlers HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void connect_auth(void)
{
    int fd[2];

    assert_true(is_ok(channel_pair(fd)));
    channel_free(&auth);
    auth = channel_new(loop, fd[0], ROLE_AUTH, ROLE_INBOUND, &HANDLERS, NULL);
    clerk_channel(clerk, fd[1]);
}

static void turns(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(loop, false);
}

static void ask(struct session *s, const char *mechanism)
{
    struct msg_auth_ask question = {.block = 1, .mechanism = bytes_of(mechanism)};

    clerk_ask(clerk, &s->seat, &question);
    turns();
}

static void say(uint64_t session, enum auth_outcome outcome, const char *text)
{
    struct msg m = {
        .kind = MSG_auth_answer, .auth_answer = {.session = session, .outcome = outcome, .text = bytes_of(text)}};

    channel_send(auth, &m);
    turns();
}

static int setup(void **state)
{
    (void)state;
    memset(sessions, 0, sizeof sessions);
    ask_count = forget_count = 0;
    loop = loop_new();
    clerk = clerk_new(loop, answered);
    for (unsigned i = 0; i < SEATS; i++) {
        sessions[i].seat.owner = &sessions[i];
        sessions[i].seat.session = 100 + i;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clerk_free(&clerk);
    channel_free(&auth);
    loop_free(&loop);
    return 0;
}

static void answers_find_their_session(void **state)
{
    (void)state;
    connect_auth();
    for (unsigned i = 0; i < SEATS; i++)
        ask(&sessions[i], "PLAIN");
    assert_int_equal(ask_count, SEATS);
    say(101, AUTH_GOOD, "alice");
    say(100, AUTH_BAD, "");
    assert_int_equal(sessions[1].answers, 1);
    assert_int_equal(sessions[1].outcome, AUTH_GOOD);
    assert_string_equal(sessions[1].text, "alice");
    assert_int_equal(sessions[0].outcome, AUTH_BAD);
    assert_int_equal(sessions[2].answers, 0);
    say(101, AUTH_GOOD, "alice"); /* twice, or for nobody: dropped */
    say(7, AUTH_GOOD, "mallory");
    assert_int_equal(sessions[1].answers, 1);
    clerk_leave(clerk, &sessions[2].seat);
}

static void a_challenge_is_answered_again(void **state)
{
    (void)state;
    connect_auth();
    ask(&sessions[0], "LOGIN");
    say(100, AUTH_CHALLENGE, "Username:");
    ask(&sessions[0], "");
    say(100, AUTH_CHALLENGE, "Password:");
    assert_int_equal(sessions[0].answers, 2);
    clerk_leave(clerk, &sessions[0].seat); /* the client is gone in the middle */
    turns();
    assert_int_equal(forget_count, 1);
    assert_int_equal(forgotten[0], 100);
    clerk_leave(clerk, &sessions[0].seat); /* told once */
    turns();
    assert_int_equal(forget_count, 1);
    say(100, AUTH_GOOD, "late");
    assert_int_equal(sessions[0].answers, 2);
}

static void without_auth_nobody_waits(void **state)
{
    (void)state;
    ask(&sessions[0], "PLAIN");
    assert_int_equal(sessions[0].outcome, AUTH_BUSY);
    connect_auth();
    ask(&sessions[1], "PLAIN");
    ask(&sessions[2], "PLAIN");
    channel_free(&auth); /* it dies */
    for (int i = 0; i < TURNS_MAX && sessions[2].answers == 0; i++)
        loop_turn(loop, true);
    assert_int_equal(sessions[1].outcome, AUTH_BUSY);
    assert_int_equal(sessions[2].outcome, AUTH_BUSY);
    connect_auth(); /* and comes back */
    ask(&sessions[1], "PLAIN");
    say(101, AUTH_GOOD, "alice");
    assert_int_equal(sessions[1].outcome, AUTH_GOOD);
}

/* A client answers a challenge of an auth that has died: it is not told that it made a mistake. */
static void an_exchange_ends_with_its_auth(void **state)
{
    (void)state;
    connect_auth();
    ask(&sessions[0], "LOGIN");
    say(100, AUTH_CHALLENGE, "Username:");
    connect_auth();
    ask(&sessions[0], "");
    assert_int_equal(sessions[0].answers, 2);
    assert_int_equal(sessions[0].outcome, AUTH_BUSY);
    assert_int_equal(ask_count, 1); /* the new one was not asked */
    clerk_leave(clerk, &sessions[0].seat);
    turns();
    assert_int_equal(forget_count, 0);
    ask(&sessions[0], "LOGIN");
    say(100, AUTH_CHALLENGE, "Username:");
    ask(&sessions[0], "");
    say(100, AUTH_GOOD, "alice");
    assert_int_equal(sessions[0].outcome, AUTH_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_find_their_session, setup, teardown),
        cmocka_unit_test_setup_teardown(a_challenge_is_answered_again, setup, teardown),
        cmocka_unit_test_setup_teardown(without_auth_nobody_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exchange_ends_with_its_auth, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
