#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/queued/standby.h"

static struct standby *made(void)
{
    struct standby *s = standby_new(7);

    assert_non_null(s);
    return s;
}

static bool takes(struct standby *s, enum ipc_role role, const char *lane)
{
    uint8_t octets[LANE_NAME_SIZE_MAX];
    struct buf room = BUF(octets);

    return standby_take(s, role, &room) && bytes_equal(buf_bytes(&room), bytes_of(lane));
}

static void test_first_come_first_called(void **state)
{
    struct standby *s = made();
    uint8_t octets[LANE_NAME_SIZE_MAX];
    struct buf room = BUF(octets);

    (void)state;
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:a.test")));
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:b.test")));
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:a.test"))); /* it keeps its place */
    assert_true(standby_put(s, ROLE_LOCAL, BYTES("local")));
    assert_true(takes(s, ROLE_OUTBOUND, "mx:a.test"));
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:a.test")));
    assert_true(takes(s, ROLE_OUTBOUND, "mx:b.test"));
    assert_true(takes(s, ROLE_OUTBOUND, "mx:a.test"));
    assert_false(standby_take(s, ROLE_OUTBOUND, &room));
    assert_true(standby_is_empty(s, ROLE_OUTBOUND));
    assert_false(standby_is_empty(s, ROLE_LOCAL));
    assert_true(takes(s, ROLE_LOCAL, "local"));
    standby_free(&s);
}

static void test_bounded(void **state)
{
    struct standby *s = made();
    char name[32];

    (void)state;
    for (int i = 0; i < STANDBY_COUNT_MAX; i++) {
        int size = snprintf(name, sizeof name, "mx:d%d.test", i);
        assert_true(standby_put(s, ROLE_OUTBOUND, (struct bytes){(const uint8_t *)name, (size_t)size}));
    }
    assert_false(standby_put(s, ROLE_OUTBOUND, BYTES("mx:more.test")));
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:d5.test")));
    assert_true(takes(s, ROLE_OUTBOUND, "mx:d0.test"));
    assert_true(standby_put(s, ROLE_OUTBOUND, BYTES("mx:more.test")));
    standby_free(&s); /* with those that still stand there */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_called),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
