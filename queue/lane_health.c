/* lane_health: the row of a lane, as scheduler.h declares it. */
#include "queue/scheduler.h"

RESULT
lane_health_put(struct buf *out, const struct lane_health *health)
{
    ASSERT(health->last_error.size <= LANE_ERROR_SIZE_MAX);
    TRY(wire_put_u32(out, health->failures));
    TRY(wire_put_u32(out, health->slots));
    TRY(wire_put_u32(out, health->slots_limit));
    TRY(wire_put_u64(out, (uint64_t)health->suspended_until.ms));
    TRY(wire_put_u8(out, health->suspended));
    TRY(wire_put_bytes(out, health->last_error));
    return health->pace_ms == 0 ? OK : wire_put_u32(out, health->pace_ms);
}

RESULT
lane_health_get(struct wire_reader *in, struct lane_health *health_out)
{
    struct lane_health h = {.failures = wire_get_u32(in)};

    h.slots = wire_get_u32(in);
    h.slots_limit = wire_get_u32(in);
    h.suspended_until.ms = (int64_t)wire_get_u64(in);
    h.suspended = wire_get_bool(in);
    h.last_error = wire_get_bytes(in, LANE_ERROR_SIZE_MAX);
    if (in->rest.size > 0 && in->failed == NULL) { /* only where there is one */
        h.pace_ms = wire_get_u32(in);
        if (h.pace_ms == 0)
            wire_fail(in, "a pace of nothing");
    }
    TRY(wire_check(in));
    *health_out = h;
    return OK;
}
