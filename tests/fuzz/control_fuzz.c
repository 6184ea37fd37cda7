/* Any octets as requests on the control socket, by anybody: each request gets exactly one last line, in bounded pulls, and
 * nothing is changed for a stranger. No store is behind it: what needs one is refused by the ports. */
#include "daemon/queued/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct control_setup setup;

static RESULT refuse_order(void *context, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime now, uint32_t *count_out)
{
    (void)context;
    (void)order;
    (void)targets;
    (void)now;
    ASSERT(setup.may_all && count > 0);
    *count_out = 1;
    return OK;
}

static RESULT refuse_lane(void *context, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out)
{
    (void)context;
    (void)now;
    ASSERT(setup.may_all && lane.size > 0 && lane.size <= LANE_NAME_SIZE_MAX);
    *count_out = 0;
    *more_out = false;
    return FAIL(CODE_GONE, "no such lane");
}

static RESULT refuse_lane_order(
    void *context, struct bytes lane, enum lane_order order, uint32_t slots, struct walltime now)
{
    (void)context;
    (void)now;
    ASSERT(setup.may_all && lane.size > 0 && order <= LANE_ORDER_LIMIT && slots <= 10000);
    return OK;
}

static RESULT refuse_pause(void *context, bool paused, struct walltime now)
{
    (void)context;
    (void)paused;
    (void)now;
    ASSERT(setup.may_all);
    return OK;
}

static RESULT refuse_ban(void *context, struct bytes who, int64_t for_ms, struct walltime now)
{
    (void)context;
    (void)now;
    ASSERT(setup.may_all && who.size > 0 && for_ms >= 0);
    return FAIL(CODE_SYNTAX, "no address");
}

static RESULT refuse_unban(void *context, struct bytes who, struct walltime now, uint32_t *count_out)
{
    (void)context;
    (void)now;
    ASSERT(setup.may_all && who.size > 0);
    *count_out = 0;
    return OK;
}

static bool no_bans(void *context, size_t *cursor, struct walltime now, struct ward_view *view_out)
{
    (void)context;
    (void)cursor;
    (void)now;
    (void)view_out;
    return false;
}

/* Verbs that walk the store are looked at by control_test; here they would need a disk for each input. */
static bool needs_store(const struct control *c)
{
    return c->error == NULL && !(c->verb == CONTROL_RETRY && c->lane_size > 0) && c->verb < CONTROL_SUSPEND;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct control_ports ports = {NULL, refuse_order, refuse_lane, NULL, refuse_lane_order, refuse_pause,
        NULL, NULL, NULL, NULL, refuse_ban, refuse_unban, no_bans};
    static uint8_t room[CONTROL_ROOM_MIN];
    struct bytes rest = {data, size};
    struct control c;

    setup = (struct control_setup){.ports = &ports, .uid = 7, .may_all = size > 0 && data[0] % 2 == 0};
    control_init(&c, &setup);
    while (rest.size > 0 && !control_dead(&c)) {
        size_t eaten = control_feed(&c, bytes_head(rest, 1 + rest.data[0] % 64));

        ASSERT(eaten > 0 && eaten <= rest.size);
        rest = bytes_after(rest, eaten);
        for (unsigned pulls = 0; control_busy(&c); pulls++) {
            struct buf out = BUF(room);

            if (needs_store(&c)) {
                control_fini(&c);
                return 0;
            }
            control_pull(&c, (struct walltime){1}, &out);
            ASSERT(pulls <= CONTROL_IDS_MAX);
            if (!control_busy(&c))
                ASSERT(out.size > 0 && out.data[out.size - 1] == '\n');
        }
    }
    control_fini(&c);
    return 0;
}
