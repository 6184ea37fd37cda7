#include "queue/attempt.h"

RESULT attempt_put(struct buf *out, const struct attempt *a)
{
    TRY(wire_put_u8(out, (uint8_t)a->kind));
    TRY(wire_put_u32(out, a->n));
    TRY(wire_put_u32(out, a->count));
    TRY(wire_put_bytes(out, a->forward_path));
    TRY(wire_put_bytes(out, a->lane));
    TRY(wire_put_bytes(out, a->host));
    TRY(wire_put_bytes(out, a->address));
    TRY(wire_put_bytes(out, a->tls));
    TRY(wire_put_bytes(out, a->status));
    TRY(wire_put_bytes(out, a->reply));
    TRY(wire_put_bytes(out, a->transcript));
    TRY(wire_put_u64(out, a->caused.value));
    TRY(wire_put_bytes(out, a->from));
    return wire_put_bytes(out, a->message_id);
}

RESULT attempt_get(struct bytes row, struct attempt *attempt_out)
{
    struct wire_reader in = wire_reader_over(row);
    struct attempt a = {.kind = wire_get_enum(&in, ATTEMPT_KIND_COUNT)};

    a.n = wire_get_u32(&in);
    a.count = wire_get_u32(&in);
    a.forward_path = wire_get_bytes(&in, ADDRESS_SIZE_MAX);
    a.lane = wire_get_bytes(&in, LANE_NAME_SIZE_MAX);
    a.host = wire_get_bytes(&in, DISPLAY_FIELD_SIZE_MAX);
    a.address = wire_get_bytes(&in, DISPLAY_FIELD_SIZE_MAX);
    a.tls = wire_get_bytes(&in, DISPLAY_FIELD_SIZE_MAX);
    a.status = wire_get_bytes(&in, DISPLAY_FIELD_SIZE_MAX);
    a.reply = wire_get_bytes(&in, REPLY_KEPT_SIZE_MAX);
    a.transcript = wire_get_bytes(&in, ATTEMPT_TRANSCRIPT_SIZE_MAX);
    a.caused.value = wire_get_u64(&in);
    if (in.rest.size > 0) {
        a.from = wire_get_bytes(&in, ADDRESS_SIZE_MAX);
        a.message_id = wire_get_bytes(&in, DISPLAY_FIELD_SIZE_MAX);
    }
    TRY(wire_end(&in));
    *attempt_out = a;
    return OK;
}

const char *attempt_kind_name(enum attempt_kind kind)
{
    static const char *const names[ATTEMPT_KIND_COUNT] = {
        "delivered", "deferred", "failed", "expanded", "discarded", "queued", "deleted"};
    ASSERT(kind < ATTEMPT_KIND_COUNT);
    return names[kind];
}
