/* The metrics text: buckets add up, labels cannot break a line, and a full table of next hops still fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/queued/metrics.h"

static uint8_t room[METRICS_SIZE_MAX];

static void buckets_are_cumulative(void **state)
{
    struct buf out = BUF(room);
    struct engine_stats stats = {.open = true};
    struct store_stats store = {.messages = 3, .recipients = 5, .due_rows = 4};

    (void)state;
    histogram_add(&stats.delivery_delays, tally_delay_bounds_ms, 100);
    histogram_add(&stats.delivery_delays, tally_delay_bounds_ms, 101);
    histogram_add(&stats.delivery_delays, tally_delay_bounds_ms, UINT32_MAX);
    assert_true(is_ok(metrics_put(&out, &(struct metrics){.engine = &stats, .store = &store, .oldest_ms = 1500})));
    struct bytes text = buf_bytes(&out);
    assert_true(bytes_find(text, BYTES("delay_seconds_bucket{le=\"0.100\"} 1\n")) >= 0);
    assert_true(bytes_find(text, BYTES("delay_seconds_bucket{le=\"0.500\"} 2\n")) >= 0);
    assert_true(bytes_find(text, BYTES("delay_seconds_bucket{le=\"86400\"} 2\n")) >= 0);
    assert_true(bytes_find(text, BYTES("delay_seconds_bucket{le=\"+Inf\"} 3\n")) >= 0);
    assert_true(bytes_find(text, BYTES("state=\"held\"} 1\n")) >= 0);
    assert_true(bytes_find(text, BYTES("age_seconds 1.500\n")) >= 0);
    assert_true(bytes_find(text, BYTES("mansio_lane")) < 0);
}

static void the_front_door(void **state)
{
    struct buf out = BUF(room);
    struct engine_stats stats = {0};
    struct store_stats store = {0};
    static struct tally_doors doors;
    struct metrics m = {.engine = &stats, .store = &store, .doors = &doors, .bans = 3, .logins_held = 1};

    (void)state;
    tally_door_add(&doors, DOOR_LIMITED, BYTES("client_messages"), 2);
    tally_door_add(&doors, DOOR_LOGIN, BYTES("bad"), 5);
    tally_door_add(&doors, DOOR_LIMITED, BYTES("login_octets"), 1);
    tally_door_add(&doors, DOOR_LIMITED, BYTES("client_messages"), 40);
    tally_door_add(&doors, DOOR_LISTED, BYTES("a\"b\n"), 1);
    doors.bans_by_hand = 9;
    assert_true(is_ok(metrics_put(&out, &m)));
    assert_true(bytes_find(buf_bytes(&out), BYTES("# TYPE mansio_limited_total counter\n"
                                                  "mansio_limited_total{limit=\"client_messages\"} 42\n"
                                                  "mansio_limited_total{limit=\"login_octets\"} 1\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("\nmansio_logins_total{result=\"bad\"} 5\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("\nmansio_bans_total{by=\"postmaster\"} 9\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("\nmansio_bans 3\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("\nmansio_logins_held 1\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("b\n\"")) < 0);
    for (uint64_t i = 0; i < 1000; i++)
        tally_door_add(&doors, DOOR_REFUSED, (struct bytes){(const uint8_t *)&i, sizeof i}, 1);
    assert_int_equal(doors.count, TALLY_DOORS_MAX);
    buf_reset(&out);
    assert_true(is_ok(metrics_put(&out, &m)));
}

static void certificates_and_dane(void **state)
{
    struct buf out = BUF(room);
    struct engine_stats stats = {0};
    struct store_stats store = {0};
    struct tally_tls tls = {0};
    struct metrics m = {.engine = &stats, .store = &store, .tls = &tls};

    (void)state;
    assert_true(is_ok(metrics_put(&out, &m)));
    assert_true(bytes_find(buf_bytes(&out), BYTES("mansio_tls")) < 0 && bytes_find(buf_bytes(&out), BYTES("dane")) < 0);
    tally_certificate_set(&tls, 0, 2, BYTES("mx.a.test\n"), false, 1800000000);
    tally_certificate_set(&tls, 1, 2, BYTES("mx.a.test"), true, 1700000000);
    tally_certificate_set(&tls, 7, 2, BYTES("beyond"), true, 1);
    tls.dane_known = true;
    buf_reset(&out);
    assert_true(is_ok(metrics_put(&out, &m)));
    assert_true(
        bytes_find(buf_bytes(&out), BYTES("{index=\"00\",name=\"mx.a.test?\",key=\"ecdsa\"} 1800000000\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("{index=\"01\",name=\"mx.a.test\",key=\"rsa\"} 1700000000\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("beyond")) < 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("\nmansio_dane_live 0\n")) >= 0);
    for (uint32_t i = 0; i < 500; i++)
        tally_certificate_set(&tls, i, 500, BYTES("x"), true, 1);
    assert_int_equal(tls.count, TALLY_CERTIFICATES_MAX);
    buf_reset(&out);
    assert_true(is_ok(metrics_put(&out, &m)));
}

static void rates_look_back(void **state)
{
    enum { MINUTE = 60000 };
    struct tally_flow flow = {.minute = 0};
    struct walltime start = {INT64_C(1700000000) * 1000 / MINUTE * MINUTE};

    (void)state;
    assert_int_equal(tally_flow_rate(&flow, start, 15), 0);
    for (int i = 0; i < 5; i++) /* 60 a minute */
        tally_flow_add(&flow, walltime_after(start, i * MINUTE), 60);
    struct walltime now = walltime_after(start, 5 * MINUTE);
    assert_int_equal(tally_flow_rate(&flow, now, 1), 1000);
    assert_int_equal(tally_flow_rate(&flow, now, 5), 1000);
    assert_int_equal(tally_flow_rate(&flow, now, 15), 333);
    assert_int_equal(tally_flow_rate(&flow, walltime_after(now, MINUTE / 2), 1), 500); /* half of the last minute */
    assert_int_equal(tally_flow_rate(&flow, walltime_after(now, 2 * MINUTE), 1), 0);
    assert_int_equal(tally_flow_rate(&flow, walltime_after(now, 10 * MINUTE), 15), 333);
    assert_int_equal(tally_flow_rate(&flow, walltime_after(now, 20 * MINUTE), 15), 0);
    tally_flow_add(&flow, walltime_after(now, 100 * MINUTE), 90);
    assert_int_equal(tally_flow_rate(&flow, walltime_after(now, 100 * MINUTE), 15), 100);
    tally_flow_add(&flow, start, 15); /* the clock went back */
    assert_int_equal(tally_flow_rate(&flow, start, 15), 16);
}

static void lanes_are_bounded_and_harmless(void **state)
{
    struct buf out = BUF(room);
    struct engine_stats stats = {0};
    struct store_stats store = {0};
    struct tally_lanes *lanes = calloc(1, sizeof *lanes);
    uint8_t name[LANE_NAME_SIZE_MAX];

    (void)state;
    tally_lane_add(lanes, BYTES("mx:a\"\\\n\xff"), TALLY_FAILED);
    for (unsigned i = 0; i < 400; i++) {
        memset(name, 'x', sizeof name);
        name[0] = (uint8_t)('a' + i % 26);
        name[1] = (uint8_t)('a' + i / 26);
        tally_lane_add(lanes, (struct bytes){name, 60}, TALLY_DELIVERED);
    }
    tally_lane_add(lanes, BYTES("mx:a\"\\\n\xff"), TALLY_FAILED);
    assert_int_equal(lanes->count, TALLY_LANES_MAX);
    assert_true(is_ok(metrics_put(&out, &(struct metrics){.engine = &stats, .store = &store, .results = lanes})));
    assert_true(bytes_find(buf_bytes(&out), BYTES("{lane=\"mx:a\\\"\\\\??\",result=\"failed\",class=\"5\"} 2\n")) >= 0);
    assert_true(bytes_find(buf_bytes(&out), BYTES("{lane=\"*\",result=\"delivered\",class=\"2\"} 301\n")) >= 0);
    /* names that fill the room: the part is left out, the rest stands */
    lanes->count = 0;
    for (unsigned i = 0; i < 128; i++) {
        name[0] = (uint8_t)i;
        tally_lane_add(lanes, (struct bytes){name, sizeof name}, TALLY_DELIVERED);
    }
    buf_reset(&out);
    assert_true(is_ok(metrics_put(&out, &(struct metrics){.engine = &stats, .store = &store, .results = lanes})));
    assert_true(bytes_find(buf_bytes(&out), BYTES("mansio_accepting 0\n")) >= 0);
    assert_int_equal(out.data[out.size - 1], '\n');
    free(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_cumulative),
        cmocka_unit_test(the_front_door),
        cmocka_unit_test(certificates_and_dane),
        cmocka_unit_test(rates_look_back),
        cmocka_unit_test(lanes_are_bounded_and_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
