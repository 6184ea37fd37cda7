/* channel: both ends in one loop. Frames arrive whole and in order however they were cut; a peer that sends nonsense loses
 * its channel; owners may free a channel from its own callbacks. */
#include "daemon/edge/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct end {
    struct channel *ch;
    size_t count; /* messages seen */
    uint64_t last_id;
    uint64_t octets;
    size_t pause_after, free_after; /* 0: never */
    bool free_in_closed;
    int closed, drained;
    enum channel_end why;
    struct bytes expected;
};

struct bench {
    struct loop *loop;
    struct end inbound, queued;
    int raw; /* the other end of `queued` when a test plays the peer itself */
};

static void on_message(void *ctx, const struct msg *m)
{
    struct end *e = ctx;

    e->count++;
    if (m->kind == MSG_tx_begin) {
        assert_int_equal(m->tx_begin.id.value, e->last_id + 1);
        e->last_id = m->tx_begin.id.value;
    } else if (m->kind == MSG_tx_body) {
        e->octets += m->tx_body.body.size;
        if (e->expected.size > 0)
            assert_true(bytes_equal(m->tx_body.body, e->expected));
    }
    if (e->pause_after == e->count)
        channel_pause(e->ch);
    if (e->free_after == e->count)
        channel_free(&e->ch);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct end *e = ctx;

    e->closed++;
    e->why = why;
    assert_true(channel_is_dead(e->ch));
    if (e->free_in_closed)
        channel_free(&e->ch);
}

static void on_drained(void *ctx)
{
    struct end *e = ctx;

    e->drained++;
    assert_false(channel_congested(e->ch));
}

static const struct channel_handlers handlers = {on_message, on_closed, on_drained};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    int fds[2];

    b->loop = loop_new();
    b->raw = -1;
    assert_true(is_ok(channel_pair(fds)));
    b->inbound.ch = channel_new(b->loop, fds[0], ROLE_INBOUND, ROLE_QUEUED, &handlers, &b->inbound);
    b->queued.ch = channel_new(b->loop, fds[1], ROLE_QUEUED, ROLE_INBOUND, &handlers, &b->queued);
    *state = b;
    return 0;
}

static int setup_raw(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    int fds[2];

    b->loop = loop_new();
    assert_true(is_ok(channel_pair(fds)));
    b->raw = fds[0];
    b->queued.ch = channel_new(b->loop, fds[1], ROLE_QUEUED, ROLE_INBOUND, &handlers, &b->queued);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    channel_free(&b->inbound.ch);
    channel_free(&b->queued.ch);
    if (b->raw >= 0)
        close(b->raw);
    loop_free(&b->loop);
    free(b);
    return 0;
}

static void send_begin(struct end *e, uint64_t id)
{
    channel_send(e->ch, &(struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = {id}}});
}

static void turns(struct bench *b, int count)
{
    while (count-- > 0)
        loop_turn(b->loop, false);
}

static void test_many_in_order(void **state)
{
    struct bench *b = *state;

    for (uint64_t id = 1; id <= 100000; id++)
        send_begin(&b->inbound, id);
    assert_true(channel_congested(b->inbound.ch));
    for (int i = 0; i < 1000 && b->queued.count < 100000; i++)
        turns(b, 1);
    assert_int_equal(b->queued.count, 100000);
    assert_int_equal(b->inbound.drained, 1);
    assert_int_equal(channel_queue_size(b->inbound.ch), 0);
}

static void test_large_bodies(void **state)
{
    struct bench *b = *state;
    static uint8_t body[BODY_FRAME_SIZE_MAX];
    struct rng rng = {3};

    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)rng_next(&rng);
    b->queued.expected = (struct bytes){body, sizeof body};
    for (int i = 0; i < 100; i++)
        channel_send(
            b->inbound.ch, &(struct msg){.kind = MSG_tx_body, .tx_body = {.id = {1}, .body = b->queued.expected}});
    for (int i = 0; i < 1000 && b->queued.count < 100; i++)
        turns(b, 1);
    assert_int_equal(b->queued.octets, 100 * sizeof body);
    assert_int_equal(b->inbound.drained, 1);
}

static void test_nothing_leaves_before_the_turn_ends(void **state)
{
    struct bench *b = *state;

    send_begin(&b->inbound, 1);
    send_begin(&b->inbound, 2);
    assert_true(channel_queue_size(b->inbound.ch) > 0);
    channel_flush(b->inbound.ch);
    assert_int_equal(channel_queue_size(b->inbound.ch), 0);
    assert_int_equal(b->queued.count, 0);
    turns(b, 2);
    assert_int_equal(b->queued.count, 2);
}

/* All frames of a stream cut at every place, and octet by octet. */
static void test_every_cut(void **state)
{
    struct bench *b = *state;
    uint8_t room[256];
    struct buf out = BUF(room);

    for (uint64_t id = 1; id <= 4; id++)
        assert_true(is_ok(msg_encode(&out, &(struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = {id}}})));
    for (size_t cut = 0; cut <= out.size; cut++) {
        b->queued.count = b->queued.last_id = 0;
        assert_int_equal(write(b->raw, room, cut), cut);
        turns(b, 1);
        assert_int_equal(b->queued.count, cut / 14);
        assert_int_equal(write(b->raw, room + cut, out.size - cut), out.size - cut);
        turns(b, 1);
        assert_int_equal(b->queued.count, 4);
    }
    b->queued.count = b->queued.last_id = 0;
    for (size_t i = 0; i < out.size; i++) {
        assert_int_equal(write(b->raw, room + i, 1), 1);
        turns(b, 1);
    }
    assert_int_equal(b->queued.count, 4);
    assert_int_equal(b->queued.closed, 0);
}

static void test_malformed_ends_the_channel(void **state)
{
    static const struct {
        const char *name;
        struct bytes octets;
    } rows[] = {
        {"unknown message", BYTES_INIT("\0\0\0\0\xff\xff")},
        {"size over the bound", BYTES_INIT("\xff\xff\xff\xff\0\1")},
        {"message id 0", BYTES_INIT("\0\0\0\x08\0\1\0\0\0\0\0\0\0\0")},
        {"field cut off", BYTES_INIT("\0\0\0\x01\0\1\0")},
        {"not to be said by inbound", BYTES_INIT("\0\0\0\x0c\0\6\0\0\0\0\0\0\0\1\0\0\0\1")},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        void *own = NULL;
        setup_raw(&own);
        struct bench *b = own;
        uint8_t ok[] = {0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
        assert_int_equal(write(b->raw, ok, sizeof ok), sizeof ok);
        assert_int_equal(write(b->raw, rows[i].octets.data, rows[i].octets.size), rows[i].octets.size);
        assert_int_equal(write(b->raw, ok, sizeof ok), sizeof ok);
        turns(b, 2);
        if (b->queued.count != 1 || b->queued.closed != 1 || b->queued.why != CHANNEL_END_MALFORMED)
            fail_msg("%s", rows[i].name);
        channel_send(b->queued.ch, &(struct msg){.kind = MSG_tx_credit, .tx_credit = {.id = {1}, .size = 1}});
        assert_int_equal(channel_queue_size(b->queued.ch), 0);
        turns(b, 2);
        assert_int_equal(b->queued.closed, 1);
        teardown(&own);
    }
}

static void test_peer_gone(void **state)
{
    struct bench *b = *state;

    send_begin(&b->inbound, 1);
    channel_free(&b->inbound.ch); /* gives what waits a last try */
    assert_null(b->inbound.ch);
    turns(b, 2);
    assert_int_equal(b->queued.count, 1);
    assert_int_equal(b->queued.closed, 1);
    assert_int_equal(b->queued.why, CHANNEL_END_PEER);
}

/* What a process said before it went is heard, even by an end that notices at its own write first. */
static void test_last_words_survive_a_failed_write(void **state)
{
    struct bench *b = *state;

    send_begin(&b->inbound, 1);
    send_begin(&b->inbound, 2);
    channel_free(&b->inbound.ch);
    channel_send(b->queued.ch, &(struct msg){.kind = MSG_tx_credit, .tx_credit = {.id = {1}, .size = 1}});
    channel_flush(b->queued.ch);
    assert_false(channel_is_dead(b->queued.ch));
    turns(b, 2);
    assert_int_equal(b->queued.count, 2);
    assert_int_equal(b->queued.closed, 1);
}

static void test_pause_between_frames(void **state)
{
    struct bench *b = *state;

    b->queued.pause_after = 3;
    for (uint64_t id = 1; id <= 10; id++)
        send_begin(&b->inbound, id);
    turns(b, 3);
    assert_int_equal(b->queued.count, 3);
    send_begin(&b->inbound, 11);
    turns(b, 3);
    assert_int_equal(b->queued.count, 3);
    b->queued.pause_after = 5;
    channel_resume(b->queued.ch);
    assert_int_equal(b->queued.count, 3); /* never inside the call */
    turns(b, 3);
    assert_int_equal(b->queued.count, 5);
    b->queued.pause_after = 0;
    channel_resume(b->queued.ch);
    turns(b, 3);
    assert_int_equal(b->queued.count, 11);
}

static void test_free_in_on_message(void **state)
{
    struct bench *b = *state;

    b->queued.free_after = 2;
    for (uint64_t id = 1; id <= 10; id++)
        send_begin(&b->inbound, id);
    turns(b, 3);
    assert_int_equal(b->queued.count, 2);
    assert_int_equal(b->queued.closed, 0);
    assert_int_equal(b->inbound.closed, 1);
}

static void test_free_in_on_closed(void **state)
{
    struct bench *b = *state;

    b->queued.free_in_closed = true;
    channel_free(&b->inbound.ch);
    turns(b, 3);
    assert_int_equal(b->queued.closed, 1);
    assert_null(b->queued.ch);
}

/* A peer that does not read: the queue grows, says so, and empties when it reads again. */
static void test_congestion(void **state)
{
    struct bench *b = *state;

    channel_pause(b->queued.ch);
    for (uint64_t id = 1; !channel_congested(b->inbound.ch); id++) {
        send_begin(&b->inbound, id);
        if (id % 1000 == 0)
            turns(b, 1);
    }
    turns(b, 3);
    assert_true(channel_congested(b->inbound.ch));
    assert_int_equal(b->inbound.drained, 0);
    channel_resume(b->queued.ch);
    turns(b, 100);
    assert_false(channel_congested(b->inbound.ch));
    assert_int_equal(b->inbound.drained, 1);
    assert_int_equal(channel_queue_size(b->inbound.ch), 0);
}

/* Each request for memory fails once: the channel dies by name, nothing else does. */
static void test_memory_fails(void **state)
{
    (void)state;

    for (uint64_t n = 1; n < 20; n++) {
        void *own = NULL;
        setup(&own);
        struct bench *b = own;
        uint8_t body[40000] = {0};
        mem_fail_nth(n);
        for (int i = 0; i < 40; i++)
            channel_send(
                b->inbound.ch, &(struct msg){.kind = MSG_tx_body, .tx_body = {.id = {1}, .body = {body, sizeof body}}});
        turns(b, 30);
        mem_fail_nth(0);
        if (b->inbound.closed == 0 && b->queued.closed == 0)
            assert_int_equal(b->queued.count, 40);
        teardown(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_leaves_before_the_turn_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cut, setup_raw, teardown),
        cmocka_unit_test(test_malformed_ends_the_channel),
        cmocka_unit_test_setup_teardown(test_peer_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_words_survive_a_failed_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_between_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_on_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_on_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_congestion, setup, teardown),
        cmocka_unit_test(test_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
