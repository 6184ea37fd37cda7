/* Connections of the simulation: whether a host's words count as heard. Second copies are judged by it (Q4). */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/sim/lib/edge_parts.h"

#define WORDS "250 2.0.0 taken\r\n"
enum { WORDS_SIZE = sizeof WORDS - 1 };

static struct {
    struct net_end *near, *far;
    struct conn_room *room;
    struct conn *conn;
    size_t eats; /* of what comes */
} bench;

static size_t on_input(void *owner, struct conn *c, struct bytes in)
{
    (void)owner, (void)c;
    return in.size < bench.eats ? in.size : bench.eats;
}

static void on_gone(void *owner, struct conn *c)
{
    (void)owner, (void)c;
}

static void on_lost(void *owner, struct conn *c, struct result why)
{
    (void)owner, (void)c, (void)why;
}

static void on_data(void *owner, struct bytes in)
{
    (void)owner, (void)in;
}

static void on_end(void *owner)
{
    (void)owner;
}

static const struct conn_handler near_handler = {.input = on_input, .lost = on_lost, .closed = on_gone};
static const struct net_handler far_handler = {.data = on_data, .end = on_end, .lost = on_end};

static void run_ms(int64_t ms)
{
    for (int64_t until = world.now_ms + ms; world_step(until);)
        continue;
}

static int set_up(void **state)
{
    static const struct dns_address peer = {.family = 4, .octets = {192, 0, 2, 7}};

    (void)state;
    world_begin(1, false);
    world.turn_end = edge_turn_end;
    bench.eats = SIZE_MAX;
    net_pair(&(struct net_traits){.delay_ms = 5}, &bench.near, &bench.far);
    net_take(bench.far, &far_handler, NULL);
    return is_ok(conn_room_new(NULL, &bench.room)) &&
                   is_ok(conn_adopt(bench.room, edge_descriptor(bench.near, &peer), &near_handler, NULL, &bench.conn))
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    conn_room_close_all(bench.room);
    net_close(bench.far, false);
    run_ms(HOUR);
    conn_room_free(&bench.room);
    size_t left = edge_fini() + net_open_count();
    world_end();
    return left == 0 ? 0 : -1;
}

static void say(void)
{
    assert_int_equal(net_write(bench.far, BYTES(WORDS)), WORDS_SIZE);
}

static void what_is_read_was_heard(void **state)
{
    (void)state;
    say();
    run_ms(100);
    assert_int_equal(net_arrived(bench.far), WORDS_SIZE);
}

/* The reply comes while we already hang up. */
static void what_comes_after_we_gave_up_was_not(void **state)
{
    (void)state;
    say();
    conn_close_after_flush(bench.conn);
    run_ms(100);
    assert_int_equal(net_arrived(bench.far), 0);
}

static void what_was_kept_and_dropped_was_not(void **state)
{
    (void)state;
    bench.eats = 3;
    say();
    run_ms(100);
    conn_close(bench.conn);
    assert_int_equal(net_arrived(bench.far), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_read_was_heard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_after_we_gave_up_was_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_kept_and_dropped_was_not, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
