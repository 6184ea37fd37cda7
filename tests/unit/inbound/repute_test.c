/* repute: questions over a real channel to a lookup played by the test; silence, loss and departure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/inbound/repute.h"

enum { CLIENTS = 3, TIME_MS = 50 };

struct client {
    struct repute_question question;
    unsigned answers;
    char name[32];
    bool nameless;
    uint32_t listed;
};

static struct loop *loop;
static struct repute *repute;
static struct channel *ours, *lookup;
static struct client clients[CLIENTS];
static struct {
    uint64_t number;
    uint8_t last_octet;
    bool lists;
} asked[8];
static size_t asked_count;

static void answered(void *owner, struct bytes name, bool nameless, uint32_t listed)
{
    struct client *c = owner;

    c->answers++;
    snprintf(c->name, sizeof c->name, "%.*s", BYTES_ARG(name));
    c->nameless = nameless;
    c->listed = listed;
}

static void on_question(void *ctx, const struct msg *m)
{
    (void)ctx;
    assert_int_equal(m->kind, MSG_client_ask);
    assert_int_equal(m->client_ask.address.size, 16);
    assert_true(asked_count < COUNT_OF(asked));
    asked[asked_count].number = m->client_ask.session;
    asked[asked_count].last_octet = m->client_ask.address.data[15];
    asked[asked_count++].lists = m->client_ask.lists;
}

static void on_answer(void *ctx, const struct msg *m)
{
    (void)ctx;
    repute_heard(repute, &m->client_answer);
}

static void on_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}

static const struct channel_handlers LOOKUP_HANDLERS = {.on_message = on_question, .on_closed = on_closed};
static const struct channel_handlers OUR_HANDLERS = {.on_message = on_answer, .on_closed = on_closed};

static int setup(void **state)
{
    int fd[2];

    (void)state;
    loop = loop_new();
    repute = repute_new(loop, TIME_MS, answered);
    assert_true(is_ok(channel_pair(fd)));
    lookup = channel_new(loop, fd[0], ROLE_LOOKUP, ROLE_INBOUND, &LOOKUP_HANDLERS, NULL);
    ours = channel_new(loop, fd[1], ROLE_INBOUND, ROLE_LOOKUP, &OUR_HANDLERS, NULL);
    repute_channel(repute, ours);
    asked_count = 0;
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.question = {.owner = &clients[i]}};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        repute_leave(&clients[i].question);
    repute_free(&repute);
    channel_free(&ours);
    channel_free(&lookup);
    loop_free(&loop);
    return 0;
}

static void turns(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(loop, false);
}

static void ask(size_t i, bool lists)
{
    const uint8_t address[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = (uint8_t)i};

    repute_ask(repute, &clients[i].question, address, lists);
    turns();
}

static void say(uint64_t number, const char *name, uint32_t listed)
{
    channel_send(lookup, &(struct msg){.kind = MSG_client_answer,
                             .client_answer = {.session = number, .name = bytes_of(name), .listed = listed}});
    turns();
}

static void each_gets_its_own_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        ask(i, i == 1);
    assert_int_equal(asked_count, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(asked[i].last_octet, i);
        assert_int_equal(asked[i].lists, i == 1);
    }
    say(asked[1].number, "middle.test", 5); /* out of their order: the middle, the last, the first */
    say(asked[2].number, "last.test", 0);
    say(asked[1].number, "again.test", 1); /* nobody waits for it any more */
    say(asked[2].number + 100, "never.asked.test", 1);
    say(asked[0].number, "", 0);
    assert_string_equal(clients[0].name, "");
    assert_string_equal(clients[1].name, "middle.test");
    assert_int_equal(clients[1].listed, 5);
    assert_string_equal(clients[2].name, "last.test");
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].answers, 1);
}

static void silence_and_departure(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        ask(i, true);
    repute_leave(&clients[0].question);
    repute_leave(&clients[0].question); /* twice does nothing */
    say(asked[0].number, "gone.test", 1);
    assert_int_equal(clients[0].answers, 0);
    say(asked[2].number, "there.test", 1);
    while (clients[1].answers == 0) /* TIME_MS and the grace */
        loop_turn(loop, true);
    assert_string_equal(clients[1].name, "");
    assert_false(clients[1].nameless); /* nothing is known: nothing counts */
    assert_int_equal(clients[1].listed, 0);
    say(asked[1].number, "late.test", 7);
    assert_int_equal(clients[1].answers, 1);
    clients[0].answers = 0;
    ask(0, false); /* one may ask again */
    say(asked[3].number, "new.test", 0);
    assert_string_equal(clients[0].name, "new.test");
}

static void without_lookup(void **state)
{
    (void)state;
    ask(0, true);
    ask(1, true);
    repute_channel(repute, NULL); /* it is gone: who waits is answered */
    assert_int_equal(clients[0].answers, 1);
    assert_int_equal(clients[1].answers, 1);
    ask(2, true);
    assert_int_equal(clients[2].answers, 1);
    assert_int_equal(clients[2].listed, 0);
    assert_int_equal(asked_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_gets_its_own_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_and_departure, setup, teardown),
        cmocka_unit_test_setup_teardown(without_lookup, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
