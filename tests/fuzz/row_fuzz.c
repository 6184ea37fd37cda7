/* Stored rows: whatever stands on disk is read or refused, and what is read is written back octet for octet.
 * First octet: the kind of row; second: whether the seal is made right (so that the forms behind it are reached) or taken
 * as it comes; third: the size of the key, cut to what is there. */
#include "queue/attempt.h"
#include "queue/row.h"
#include "queue/scheduler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was decoded from `payload` must encode to the same octets. */
static void same(struct result r, const struct buf *written, struct bytes payload)
{
    ASSERT(is_ok(r) && bytes_equal(bytes_after(buf_bytes(written), ROW_HEADER_SIZE), payload));
}

static void open_message(struct bytes key, struct bytes value)
{
    uint8_t room[ROW_HEADER_SIZE + ENVELOPE_HEAD_SIZE_MAX];
    struct buf written = row_buf(room, sizeof room);
    struct envelope_head head;

    if (is_ok(row_message_open(key, value, &head)))
        same(envelope_head_put(&written, &head), &written, bytes_after(value, ROW_HEADER_SIZE));
}

static void open_recipient(struct bytes key, struct bytes value)
{
    uint8_t room[ROW_HEADER_SIZE + RECIPIENT_SIZE_MAX];
    struct buf written = row_buf(room, sizeof room);
    struct recipient rcpt;

    if (is_ok(row_recipient_open(key, value, &rcpt)))
        same(recipient_put(&written, &rcpt), &written, bytes_after(value, ROW_HEADER_SIZE));
}

static void open_lane(struct bytes key, struct bytes value)
{
    uint8_t room[ROW_HEADER_SIZE + LANE_HEALTH_SIZE_MAX];
    struct buf written = row_buf(room, sizeof room);
    struct lane_health health;
    struct bytes payload;

    if (!is_ok(row_open(key, value, &payload)))
        return;
    struct wire_reader in = wire_reader_over(payload);
    if (is_ok(lane_health_get(&in, &health)) && is_ok(wire_end(&in)))
        same(lane_health_put(&written, &health), &written, payload);
}

static void open_due(struct bytes key, struct bytes value)
{
    struct row_key again;
    struct bytes lane;
    struct walltime at;
    struct message_id id;
    uint32_t n;

    if (!is_ok(row_due_open(key, value, &lane, &at, &id, &n)))
        return;
    row_key_due(&again, lane, at, id, n);
    ASSERT(bytes_equal(row_key_bytes(&again), key));
}

static void open_history(struct bytes key, struct bytes value)
{
    uint8_t room[ROW_HEADER_SIZE + ATTEMPT_SIZE_MAX];
    struct buf written = row_buf(room, sizeof room);
    struct attempt attempt, again;
    struct bytes row;
    struct walltime at;

    if (!is_ok(row_history_open(key, value, &at, &row)))
        return;
    ASSERT(row.size + 8 + ROW_HEADER_SIZE == value.size);
    if (!is_ok(attempt_get(row, &attempt)))
        return;
    /* One of old comes back with two empty values more. */
    ASSERT(is_ok(attempt_put(&written, &attempt)));
    struct bytes payload = bytes_after(buf_bytes(&written), ROW_HEADER_SIZE);
    ASSERT(bytes_starts(payload, row) && is_ok(attempt_get(payload, &again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[ROW_HEADER_SIZE + 65536];
    static void (*const open_row[])(struct bytes, struct bytes) = {
        open_message, open_recipient, open_lane, open_due, open_history};

    if (size < 3 || size > 65536)
        return 0;
    struct bytes rest = {data + 3, size - 3};
    struct bytes key = bytes_head(rest, data[2]);
    struct bytes value = bytes_after(rest, key.size);
    if (data[1] & 1) {
        struct buf sealed = row_buf(room, sizeof room);
        ASSERT(is_ok(buf_put(&sealed, value)));
        row_seal(key, &sealed);
        value = buf_bytes(&sealed);
    }
    open_row[data[0] % COUNT_OF(open_row)](key, value);
    return 0;
}
