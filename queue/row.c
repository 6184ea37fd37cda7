#include "queue/row.h"

enum { KEY_ID_SIZE = 8, KEY_ID_N_SIZE = 12 };

static uint32_t row_sum(struct bytes key, struct bytes payload)
{
    static const uint8_t version = ROW_VERSION;
    uint32_t sum = checksum_crc32c(0, key);

    sum = checksum_crc32c(sum, (struct bytes){&version, 1});
    return checksum_crc32c(sum, payload);
}

struct buf row_buf(void *room, size_t room_size)
{
    struct buf value;

    ASSERT(room_size >= ROW_HEADER_SIZE);
    buf_init(&value, room, room_size);
    value.size = ROW_HEADER_SIZE;
    return value;
}

void row_header_put(struct bytes key, struct bytes payload, uint8_t header_out[ROW_HEADER_SIZE])
{
    header_out[0] = ROW_VERSION;
    wire_store_u32(header_out + 1, row_sum(key, payload));
}

void row_seal(struct bytes key, struct buf *value)
{
    ASSERT(value->size >= ROW_HEADER_SIZE);
    row_header_put(key, bytes_after(buf_bytes(value), ROW_HEADER_SIZE), value->data);
}

RESULT row_open(struct bytes key, struct bytes value, struct bytes *payload_out)
{
    if (value.size < ROW_HEADER_SIZE)
        return FAIL(CODE_CORRUPT, "row is too short");
    if (value.data[0] != ROW_VERSION)
        return FAIL(CODE_CORRUPT, "row has an unknown version");
    struct bytes payload = bytes_after(value, ROW_HEADER_SIZE);
    if (wire_load_u32(value.data + 1) != row_sum(key, payload))
        return FAIL(CODE_CORRUPT, "row does not match its checksum");
    *payload_out = payload;
    return OK;
}

void row_key_id(struct row_key *key_out, struct message_id id)
{
    wire_store_u64(key_out->room, id.value);
    key_out->size = KEY_ID_SIZE;
}

void row_key_id_n(struct row_key *key_out, struct message_id id, uint32_t n)
{
    wire_store_u64(key_out->room, id.value);
    wire_store_u32(key_out->room + KEY_ID_SIZE, n);
    key_out->size = KEY_ID_N_SIZE;
}

void row_key_seen(struct row_key *key_out, struct message_id id, uint64_t hash, uint32_t k)
{
    wire_store_u64(key_out->room, id.value);
    wire_store_u64(key_out->room + KEY_ID_SIZE, hash);
    wire_store_u32(key_out->room + 2 * KEY_ID_SIZE, k);
    key_out->size = 2 * KEY_ID_SIZE + 4;
}

bool row_lane_valid(struct bytes lane)
{
    return lane.size > 0 && lane.size <= LANE_NAME_SIZE_MAX && bytes_index(lane, 0) == BYTES_NOT_FOUND;
}

/* A NUL ends the name in the key: it sorts before any octet of a longer name, so lanes stand in the order of bytes_compare. */
void row_key_lane_first(struct row_key *key_out, struct bytes lane)
{
    ASSERT(row_lane_valid(lane));
    memcpy(key_out->room, lane.data, lane.size);
    key_out->room[lane.size] = 0;
    key_out->size = lane.size + 1;
}

void row_key_lane_end(struct row_key *key_out, struct bytes lane)
{
    row_key_lane_first(key_out, lane);
    key_out->room[lane.size] = 1;
}

void row_key_due(struct row_key *key_out, struct bytes lane, struct walltime next_try, struct message_id id, uint32_t n)
{
    row_key_lane_first(key_out, lane);
    uint8_t *at = key_out->room + key_out->size;
    wire_store_u64(at, (uint64_t)next_try.ms ^ UINT64_C(1) << 63); /* so that times before 1970 sort first */
    wire_store_u64(at + 8, id.value);
    wire_store_u32(at + 16, n);
    key_out->size += ROW_DUE_TAIL_SIZE - 1;
}

RESULT row_key_id_get(struct bytes key, struct message_id *id_out)
{
    if (key.size != KEY_ID_SIZE || wire_load_u64(key.data) == 0)
        return FAIL(CODE_CORRUPT, "key is not a message id");
    *id_out = (struct message_id){wire_load_u64(key.data)};
    return OK;
}

RESULT row_key_id_n_get(struct bytes key, struct message_id *id_out, uint32_t *n_out)
{
    if (key.size != KEY_ID_N_SIZE || wire_load_u64(key.data) == 0)
        return FAIL(CODE_CORRUPT, "key is not a message id and a number");
    *id_out = (struct message_id){wire_load_u64(key.data)};
    *n_out = wire_load_u32(key.data + KEY_ID_SIZE);
    return OK;
}

RESULT row_key_due_get(
    struct bytes key, struct bytes *lane_out, struct walltime *next_try_out, struct message_id *id_out, uint32_t *n_out)
{
    if (key.size <= ROW_DUE_TAIL_SIZE)
        return FAIL(CODE_CORRUPT, "key is not a place in the schedule");
    struct bytes lane = bytes_head(key, key.size - ROW_DUE_TAIL_SIZE);
    const uint8_t *at = key.data + lane.size;
    if (at[0] != 0 || !row_lane_valid(lane))
        return FAIL(CODE_CORRUPT, "key is not a place in the schedule");
    *lane_out = lane;
    next_try_out->ms = (int64_t)(wire_load_u64(at + 1) ^ UINT64_C(1) << 63);
    *id_out = (struct message_id){wire_load_u64(at + 9)};
    *n_out = wire_load_u32(at + 17);
    return id_out->value != 0 ? OK : FAIL(CODE_CORRUPT, "message id is zero");
}

RESULT row_message_open(struct bytes key, struct bytes value, struct envelope_head *head_out)
{
    struct bytes payload;
    struct message_id id;

    TRY(row_open(key, value, &payload));
    struct wire_reader in = wire_reader_over(payload);
    TRY(envelope_head_get(&in, head_out));
    TRY(wire_end(&in));
    TRY(row_key_id_get(key, &id));
    return message_id_equal(id, head_out->id) ? OK : FAIL(CODE_CORRUPT, "head stands under another id");
}

RESULT row_recipient_open(struct bytes key, struct bytes value, struct recipient *rcpt_out)
{
    struct bytes payload;
    struct message_id id;
    uint32_t n;

    TRY(row_open(key, value, &payload));
    struct wire_reader in = wire_reader_over(payload);
    TRY(recipient_get(&in, rcpt_out));
    TRY(wire_end(&in));
    TRY(row_key_id_n_get(key, &id, &n));
    if (n != rcpt_out->n)
        return FAIL(CODE_CORRUPT, "recipient stands under another number");
    if ((rcpt_out->state == RECIPIENT_WAITING || rcpt_out->state == RECIPIENT_PARKED) &&
        !row_lane_valid(rcpt_out->lane))
        return FAIL(CODE_CORRUPT, "recipient waits in no lane");
    return OK;
}

RESULT row_due_open(struct bytes key, struct bytes value, struct bytes *lane_out, struct walltime *next_try_out,
    struct message_id *id_out, uint32_t *n_out)
{
    struct bytes payload;

    TRY(row_open(key, value, &payload));
    if (payload.size != 0)
        return FAIL(CODE_CORRUPT, "place in the schedule has a payload");
    return row_key_due_get(key, lane_out, next_try_out, id_out, n_out);
}

RESULT row_history_open(struct bytes key, struct bytes value, struct walltime *at_out, struct bytes *row_out)
{
    struct bytes payload;
    struct message_id id;
    uint32_t k;

    TRY(row_open(key, value, &payload));
    TRY(row_key_id_n_get(key, &id, &k));
    struct wire_reader in = wire_reader_over(payload);
    at_out->ms = (int64_t)wire_get_u64(&in);
    TRY(wire_check(&in));
    *row_out = in.rest;
    return OK;
}
