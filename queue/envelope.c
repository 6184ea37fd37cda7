#include "queue/envelope.h"

RESULT envelope_head_put(struct buf *out, const struct envelope_head *head)
{
    ASSERT(head->reverse_path.size <= ADDRESS_SIZE_MAX && head->envid.size <= ENVID_SIZE_MAX);
    ASSERT(head->message_id.size <= DISPLAY_FIELD_SIZE_MAX && head->subject.size <= DISPLAY_FIELD_SIZE_MAX);
    ASSERT(head->helo.size <= HELO_SIZE_MAX);
    TRY(wire_put_u64(out, head->id.value));
    TRY(wire_put_u64(out, (uint64_t)head->arrival.ms));
    TRY(wire_put_bytes(out, head->reverse_path));
    TRY(wire_put_u64(out, head->body_size));
    TRY(wire_put_u32(out, head->rcpt_count));
    TRY(wire_put_u8(out, (uint8_t)head->body_type));
    TRY(wire_put_u8(out, (uint8_t)head->ret));
    TRY(wire_put_bytes(out, head->envid));
    TRY(wire_put_u32(out, head->flags));
    TRY(wire_put_u8(out, head->priority));
    TRY(wire_put_u8(out, (uint8_t)head->origin));
    TRY(wire_put_bytes(out, head->client));
    TRY(wire_put_bytes(out, head->helo));
    TRY(wire_put_bytes(out, head->login));
    TRY(wire_put_bytes(out, head->message_id));
    return wire_put_bytes(out, head->subject);
}

RESULT envelope_head_get(struct wire_reader *in, struct envelope_head *head_out)
{
    struct envelope_head h = {.id = {wire_get_u64(in)}};

    h.arrival.ms = (int64_t)wire_get_u64(in);
    h.reverse_path = wire_get_bytes(in, ADDRESS_SIZE_MAX);
    h.body_size = wire_get_u64(in);
    h.rcpt_count = wire_get_u32(in);
    h.body_type = wire_get_enum(in, BODY_TYPE_COUNT);
    h.ret = wire_get_enum(in, DSN_RET_COUNT);
    h.envid = wire_get_bytes(in, ENVID_SIZE_MAX);
    h.flags = wire_get_u32(in);
    h.priority = wire_get_u8(in);
    h.origin = wire_get_enum(in, ORIGIN_KIND_COUNT);
    h.client = wire_get_bytes(in, DISPLAY_FIELD_SIZE_MAX);
    h.helo = wire_get_bytes(in, HELO_SIZE_MAX);
    h.login = wire_get_bytes(in, DISPLAY_FIELD_SIZE_MAX);
    h.message_id = wire_get_bytes(in, DISPLAY_FIELD_SIZE_MAX);
    h.subject = wire_get_bytes(in, DISPLAY_FIELD_SIZE_MAX);
    if (h.id.value == 0)
        wire_fail(in, "message id is zero");
    TRY(wire_check(in));
    *head_out = h;
    return OK;
}

RESULT envelope_head_copy(struct arena *a, const struct envelope_head *head, struct envelope_head *copy_out)
{
    struct envelope_head h = *head;

    TRY(arena_copy(a, head->reverse_path, &h.reverse_path));
    TRY(arena_copy(a, head->envid, &h.envid));
    TRY(arena_copy(a, head->client, &h.client));
    TRY(arena_copy(a, head->helo, &h.helo));
    TRY(arena_copy(a, head->login, &h.login));
    TRY(arena_copy(a, head->message_id, &h.message_id));
    TRY(arena_copy(a, head->subject, &h.subject));
    *copy_out = h;
    return OK;
}

RESULT recipient_put(struct buf *out, const struct recipient *rcpt)
{
    ASSERT(rcpt->forward_path.size > 0 && rcpt->forward_path.size <= ADDRESS_SIZE_MAX);
    ASSERT(rcpt->lane.size <= LANE_NAME_SIZE_MAX && rcpt->last_reply.size <= REPLY_KEPT_SIZE_MAX);
    TRY(wire_put_u32(out, rcpt->n));
    TRY(wire_put_bytes(out, rcpt->forward_path));
    TRY(wire_put_bytes(out, rcpt->orcpt));
    TRY(wire_put_u8(out, rcpt->notify));
    TRY(wire_put_bytes(out, rcpt->lane));
    TRY(wire_put_u8(out, (uint8_t)rcpt->state));
    TRY(wire_put_u32(out, rcpt->attempts));
    TRY(wire_put_u64(out, (uint64_t)rcpt->next_try.ms));
    TRY(wire_put_u8(out, rcpt->warned));
    TRY(wire_put_u32(out, rcpt->parent));
    TRY(wire_put_bytes(out, rcpt->last_status));
    TRY(wire_put_bytes(out, rcpt->last_reply));
    TRY(wire_put_bytes(out, rcpt->last_host));
    if (rcpt->sender.size + rcpt->via.size == 0)
        return OK;
    TRY(wire_put_bytes(out, rcpt->sender));
    return rcpt->via.size == 0 ? OK : wire_put_bytes(out, rcpt->via);
}

RESULT recipient_get(struct wire_reader *in, struct recipient *rcpt_out)
{
    struct recipient r = {.n = wire_get_u32(in)};

    r.forward_path = wire_get_bytes(in, ADDRESS_SIZE_MAX);
    r.orcpt = wire_get_bytes(in, ORCPT_SIZE_MAX);
    r.notify = wire_get_enum(in, DSN_NOTIFY_ALL + 1);
    r.lane = wire_get_bytes(in, LANE_NAME_SIZE_MAX);
    r.state = wire_get_enum(in, RECIPIENT_STATE_COUNT);
    r.attempts = wire_get_u32(in);
    r.next_try.ms = (int64_t)wire_get_u64(in);
    r.warned = wire_get_bool(in);
    r.parent = wire_get_u32(in);
    r.last_status = wire_get_bytes(in, DISPLAY_FIELD_SIZE_MAX);
    r.last_reply = wire_get_bytes(in, REPLY_KEPT_SIZE_MAX);
    r.last_host = wire_get_bytes(in, DOMAIN_SIZE_MAX + 64);
    /* Only where there is one: rows without them are older than these fields. */
    if (in->rest.size > 0 && in->failed == NULL) {
        r.sender = wire_get_bytes(in, ADDRESS_SIZE_MAX);
        bool has_via = in->rest.size > 0 && in->failed == NULL;
        if (has_via)
            r.via = wire_get_bytes(in, RECIPIENT_VIA_SIZE_MAX);
        if ((has_via ? r.via : r.sender).size == 0)
            wire_fail(in, "an empty field at the end");
    }
    if (r.forward_path.size == 0)
        wire_fail(in, "recipient without a forward-path");
    TRY(wire_check(in));
    *rcpt_out = r;
    return OK;
}

RESULT recipient_copy(struct arena *a, const struct recipient *rcpt, struct recipient *copy_out)
{
    struct recipient r = *rcpt;

    TRY(arena_copy(a, rcpt->forward_path, &r.forward_path));
    TRY(arena_copy(a, rcpt->orcpt, &r.orcpt));
    TRY(arena_copy(a, rcpt->lane, &r.lane));
    TRY(arena_copy(a, rcpt->sender, &r.sender));
    TRY(arena_copy(a, rcpt->via, &r.via));
    TRY(arena_copy(a, rcpt->last_status, &r.last_status));
    TRY(arena_copy(a, rcpt->last_reply, &r.last_reply));
    TRY(arena_copy(a, rcpt->last_host, &r.last_host));
    *copy_out = r;
    return OK;
}
