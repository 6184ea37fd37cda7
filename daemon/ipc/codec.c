/* One pair of functions for each field type, one pair for each message, both lists made from messages.def. */
#include "daemon/ipc/codec.h"

struct msg_row {
    const char *name;
    enum ipc_role from;
    enum ipc_role to;
    size_t bound;
};

static const struct msg_row msg_rows[MSG_KIND_COUNT] = {
#define MSG(name, from, to, bound, fields) {#name, ROLE_##from, ROLE_##to, bound},
#include "daemon/ipc/messages.def"
#undef MSG
};

#define MSG(name, from, to, bound, fields) STATIC_ASSERT((bound) + MSG_HEAD_SIZE <= FRAME_SIZE_MAX);
#include "daemon/ipc/messages.def"
#undef MSG

/* --- fields out --- */

static RESULT put_boolean(struct buf *out, const bool *value)
{
    return wire_put_u8(out, *value);
}

static RESULT put_u32(struct buf *out, const uint32_t *value)
{
    return wire_put_u32(out, *value);
}

static RESULT put_u64(struct buf *out, const uint64_t *value)
{
    return wire_put_u64(out, *value);
}

static RESULT put_message_id(struct buf *out, const struct message_id *value)
{
    ASSERT(value->value != 0);
    return wire_put_u64(out, value->value);
}

static RESULT put_job_id(struct buf *out, const struct job_id *value)
{
    return wire_put_u64(out, value->value);
}

static RESULT put_bytes(struct buf *out, const struct bytes *value)
{
    return wire_put_bytes(out, *value);
}

static RESULT put_envelope_head(struct buf *out, const struct envelope_head *value)
{
    return envelope_head_put(out, value);
}

static RESULT put_recipient(struct buf *out, const struct recipient *value)
{
    return recipient_put(out, value);
}

/* --- fields in; the reader remembers the first failure --- */

static void get_boolean(struct wire_reader *in, size_t bound, bool *value_out)
{
    (void)bound;
    *value_out = wire_get_bool(in);
}

static void get_u32(struct wire_reader *in, size_t bound, uint32_t *value_out)
{
    (void)bound;
    *value_out = wire_get_u32(in);
}

static void get_u64(struct wire_reader *in, size_t bound, uint64_t *value_out)
{
    (void)bound;
    *value_out = wire_get_u64(in);
}

static void get_message_id(struct wire_reader *in, size_t bound, struct message_id *value_out)
{
    (void)bound;
    value_out->value = wire_get_u64(in);
    if (value_out->value == 0)
        wire_fail(in, "message id is zero");
}

static void get_job_id(struct wire_reader *in, size_t bound, struct job_id *value_out)
{
    (void)bound;
    value_out->value = wire_get_u64(in);
}

static void get_bytes(struct wire_reader *in, size_t bound, struct bytes *value_out)
{
    *value_out = wire_get_bytes(in, bound);
}

static void get_envelope_head(struct wire_reader *in, size_t bound, struct envelope_head *value_out)
{
    (void)bound;
    struct result r = envelope_head_get(in, value_out);
    if (!is_ok(r))
        wire_fail(in, r.why);
}

static void get_recipient(struct wire_reader *in, size_t bound, struct recipient *value_out)
{
    (void)bound;
    struct result r = recipient_get(in, value_out);
    if (!is_ok(r))
        wire_fail(in, r.why);
}

#define ENUM_FIELD(type, count)                                                                                        \
    static RESULT put_##type(struct buf *out, const enum type *value)                                                  \
    {                                                                                                                  \
        ASSERT((unsigned)*value < (count));                                                                            \
        return wire_put_u8(out, (uint8_t)*value);                                                                      \
    }                                                                                                                  \
    static void get_##type(struct wire_reader *in, size_t bound, enum type *value_out)                                 \
    {                                                                                                                  \
        (void)bound;                                                                                                   \
        *value_out = (enum type)wire_get_enum(in, (count));                                                            \
    }
ENUM_FIELD(ipc_role, ROLE_COUNT)
ENUM_FIELD(tx_outcome, TX_OUTCOME_COUNT)
ENUM_FIELD(job_outcome, JOB_OUTCOME_COUNT)
ENUM_FIELD(auth_outcome, AUTH_OUTCOME_COUNT)
ENUM_FIELD(door_family, DOOR_FAMILY_COUNT)
ENUM_FIELD(password_verdict, PASSWORD_VERDICT_COUNT)
ENUM_FIELD(lane_verdict, LANE_VERDICT_COUNT)
ENUM_FIELD(child_kind, CHILD_KIND_COUNT)
ENUM_FIELD(rcpt_known, RCPT_KNOWN_COUNT)

/* --- messages --- */

#define F(type, name) TRY(put_##type(out, &m->name));
#define MSG(name, from, to, bound, fields)                                                                             \
    static RESULT put_msg_##name(struct buf *out, const struct msg_##name *m)                                          \
    {                                                                                                                  \
        (void)out;                                                                                                     \
        (void)m;                                                                                                       \
        fields return OK;                                                                                              \
    }
#include "daemon/ipc/messages.def"
#undef MSG
#undef F

#define F(type, name) get_##type(in, size_max, &m->name);
#define MSG(name, from, to, bound, fields)                                                                             \
    static void get_msg_##name(struct wire_reader *in, size_t size_max, struct msg_##name *m)                          \
    {                                                                                                                  \
        (void)in;                                                                                                      \
        (void)size_max;                                                                                                \
        (void)m;                                                                                                       \
        fields                                                                                                         \
    }
#include "daemon/ipc/messages.def"
#undef MSG
#undef F

static RESULT payload_put(struct buf *out, const struct msg *m)
{
    switch (m->kind) {
#define MSG(name, from, to, bound, fields)                                                                             \
    case MSG_##name:                                                                                                   \
        return put_msg_##name(out, &m->name);
#include "daemon/ipc/messages.def"
#undef MSG
    case MSG_KIND_COUNT:
        break;
    }
    ASSERT(!"a message of the table");
    return OK;
}

static void payload_get(struct wire_reader *in, size_t size_max, struct msg *m)
{
    switch (m->kind) {
#define MSG(name, from, to, bound, fields)                                                                             \
    case MSG_##name:                                                                                                   \
        get_msg_##name(in, size_max, &m->name);                                                                        \
        return;
#include "daemon/ipc/messages.def"
#undef MSG
    case MSG_KIND_COUNT:
        break;
    }
    ASSERT(!"a message of the table");
}

RESULT
msg_encode(struct buf *out, const struct msg *m)
{
    const uint8_t head[MSG_HEAD_SIZE] = {0, 0, 0, 0, (uint8_t)((unsigned)m->kind >> 8), (uint8_t)m->kind};
    size_t before = out->size;

    ASSERT((unsigned)m->kind < MSG_KIND_COUNT);
    struct result r = buf_put(out, (struct bytes){head, sizeof head});
    if (is_ok(r))
        r = payload_put(out, m);
    if (!is_ok(r)) {
        out->size = before;
        return r;
    }
    size_t size = out->size - before - MSG_HEAD_SIZE;
    ASSERT(size <= msg_rows[m->kind].bound);
    wire_store_u32(out->data + before, (uint32_t)size);
    return OK;
}

unsigned msg_frame_kind(struct bytes frame)
{
    if (frame.size < MSG_HEAD_SIZE)
        return MSG_KIND_COUNT;
    return (unsigned)frame.data[4] << 8 | frame.data[5];
}

RESULT
msg_frame_size(struct bytes in, size_t *size_out)
{
    if (in.size < MSG_HEAD_SIZE)
        return FAIL(CODE_MORE, "head of a frame is not whole");
    uint32_t size = wire_load_u32(in.data);
    unsigned kind = msg_frame_kind(in);
    if (kind >= MSG_KIND_COUNT)
        return FAIL(CODE_CORRUPT, "unknown message");
    if (size > msg_rows[kind].bound)
        return FAIL(CODE_CORRUPT, "message over its bound");
    if (in.size - MSG_HEAD_SIZE < size)
        return FAIL(CODE_MORE, "frame is not whole");
    *size_out = MSG_HEAD_SIZE + (size_t)size;
    return OK;
}

static bool role_is(enum ipc_role role, enum ipc_role allowed)
{
    switch (allowed) {
    case ROLE_WORKER:
        return role == ROLE_OUTBOUND || role == ROLE_LOCAL || role == ROLE_LOOKUP;
    case ROLE_CHILD:
        return role < ROLE_COUNT && role != ROLE_SUPERVISOR;
    default:
        return role == allowed;
    }
}

RESULT
msg_decode(struct bytes frame, enum ipc_role from, enum ipc_role to, struct msg *msg_out)
{
    size_t size = 0;
    struct result r = msg_frame_size(frame, &size);

    if (r.code == CODE_MORE)
        return FAIL(CODE_CORRUPT, "frame ends too early");
    TRY(r);
    if (size != frame.size)
        return FAIL(CODE_CORRUPT, "data left over after a frame");
    msg_out->kind = (enum msg_kind)msg_frame_kind(frame);
    const struct msg_row *row = &msg_rows[msg_out->kind];
    if (!role_is(from, row->from) || !role_is(to, row->to))
        return FAIL(CODE_REFUSED, "message does not go this way");
    struct wire_reader in = wire_reader_over(bytes_after(frame, MSG_HEAD_SIZE));
    payload_get(&in, row->bound, msg_out);
    return wire_end(&in);
}

const char *msg_name(unsigned kind)
{
    return kind < MSG_KIND_COUNT ? msg_rows[kind].name : "unknown";
}

size_t msg_frame_size_max(enum msg_kind kind)
{
    ASSERT((unsigned)kind < MSG_KIND_COUNT);
    return MSG_HEAD_SIZE + msg_rows[kind].bound;
}

const char *ipc_role_name(enum ipc_role role)
{
    static const char *const names[ROLE_COUNT] = {
        "supervisor", "inbound", "queued", "outbound", "local", "auth", "lookup", "keys", "pam"};

    return (unsigned)role < ROLE_COUNT ? names[role] : "unknown";
}
