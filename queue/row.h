/* row: how a row of the store looks, without the store: keys, and the seal around every value. Pure.
 *
 * For: store*.c, their tests and the fuzzer. Not for: what a value means (envelope.h, scheduler.h, the engine).
 * A value is a version octet, a CRC-32C and the payload. The sum runs over key, version and payload, so that a row which
 * stands in the wrong place is as damaged as one with a flipped bit. Keys are big-endian: LMDB's order (memcmp) is ours.
 *
 *   message, spill   id u64
 *   seen             id u64, hash u64, k u32: who gets an expanded message; the payload is the name
 *   body, recipient, history   id u64, chunk or n or k u32
 *   held             id u64, n u32: a recipient held before its time; no value and no seal (store_held.c)
 *   lane_due         lane, 0, next try u64 (sign flipped), id u64, n u32; empty payload
 *   lane             lane
 *   domain           "@", domain in lower case; duplicates of id u64, n u32, without a seal (store_index.c)
 *   quarantine       id u64 (0: not of one message), sub-database u8, the row's old key
 *
 *   uint8_t room[ROW_HEADER_SIZE + RECIPIENT_SIZE_MAX];
 *   struct buf value = row_buf(room, sizeof room);
 *   TRY(recipient_put(&value, &rcpt));
 *   row_seal(key, &value);                        ready to be stored
 *   TRY(row_open(key, stored, &payload));         CODE_CORRUPT when it does not hold together */
#ifndef MANSIO_QUEUE_ROW_H
#define MANSIO_QUEUE_ROW_H

#include "queue/envelope.h"

enum {
    ROW_VERSION = 1,
    ROW_HEADER_SIZE = 5,    /* version u8, checksum u32 */
    ROW_KEY_SIZE_MAX = 511, /* LMDB's own bound */
    ROW_DUE_TAIL_SIZE = 1 + 8 + 8 + 4,
};
STATIC_ASSERT(LANE_NAME_SIZE_MAX + ROW_DUE_TAIL_SIZE + 9 <= ROW_KEY_SIZE_MAX); /* also within a quarantine key */
/* A whole chunk and its header fill 64 pages less the page header. */
STATIC_ASSERT(BODY_CHUNK_SIZE_MAX + ROW_HEADER_SIZE + 16 == 64 * 4096);

/* A key in its own room. */
struct row_key {
    uint8_t room[ROW_KEY_SIZE_MAX];
    size_t size;
};

static inline struct bytes row_key_bytes(const struct row_key *key)
{
    return (struct bytes){key->room, key->size};
}

/* --- values --- */
/* A buf over `room` in which the header's place is already taken. room_size must be at least ROW_HEADER_SIZE. */
struct buf row_buf(void *room, size_t room_size);
/* Fills in the header of a value that is complete: all of `value` becomes the stored value. */
void row_seal(struct bytes key, struct buf *value);
/* The same where the payload stands apart: writes the header for `payload` at `header_out`. */
void row_header_put(struct bytes key, struct bytes payload, uint8_t header_out[ROW_HEADER_SIZE]);
/* The payload of a stored value, checked; it borrows `value`. */
RESULT row_open(struct bytes key, struct bytes value, struct bytes *payload_out);

/* --- keys --- */
void row_key_id(struct row_key *key_out, struct message_id id);
void row_key_id_n(struct row_key *key_out, struct message_id id, uint32_t n);
void row_key_seen(struct row_key *key_out, struct message_id id, uint64_t hash, uint32_t k);
/* The lane's size must be within 1..LANE_NAME_SIZE_MAX and hold no NUL (row_lane_valid). */
void row_key_due(
    struct row_key *key_out, struct bytes lane, struct walltime next_try, struct message_id id, uint32_t n);
/* Where the rows of `lane` begin, and the first place behind them all. */
void row_key_lane_first(struct row_key *key_out, struct bytes lane);
void row_key_lane_end(struct row_key *key_out, struct bytes lane);
bool row_lane_valid(struct bytes lane);

/* Keys read back; CODE_CORRUPT when they have another form. Views borrow the key. */
RESULT row_key_id_get(struct bytes key, struct message_id *id_out);
RESULT row_key_id_n_get(struct bytes key, struct message_id *id_out, uint32_t *n_out);
RESULT row_key_due_get(struct bytes key, struct bytes *lane_out, struct walltime *next_try_out,
    struct message_id *id_out, uint32_t *n_out);

/* --- whole rows: seal, form, and agreement with the key; CODE_CORRUPT. Views borrow `value` (the lane: `key`). --- */
RESULT row_message_open(struct bytes key, struct bytes value, struct envelope_head *head_out);
RESULT row_recipient_open(struct bytes key, struct bytes value, struct recipient *rcpt_out);
RESULT row_due_open(struct bytes key, struct bytes value, struct bytes *lane_out, struct walltime *next_try_out,
    struct message_id *id_out, uint32_t *n_out);
RESULT row_history_open(struct bytes key, struct bytes value, struct walltime *at_out, struct bytes *row_out);

#endif
