/* buf: owns (or is lent) fixed room that is given at birth; append is whole or CODE_FULL, nothing truncates.
 *
 * For: building lines, frames and rows. Not for: growing strings.
 * Lifetime: the room is the caller's; buf_init only points at it.
 *   uint8_t room[512];
 *   struct buf line = BUF(room);
 *   TRY(buf_put(&line, BYTES("250 ")));
 *   TRY(buf_put_u64(&line, size));
 *   send(buf_bytes(&line)); */
#ifndef MANSIO_BUF_H
#define MANSIO_BUF_H

struct buf {
    uint8_t *data;
    size_t size;
    size_t size_max;
};

/* A buf over a whole array. */
#define BUF(array) ((struct buf){(array), 0, sizeof(array)})

void buf_init(struct buf *b, void *room, size_t room_size);
void buf_reset(struct buf *b);
/* What has been put so far; good until the next call on b. */
struct bytes buf_bytes(const struct buf *b);
size_t buf_left(const struct buf *b);

RESULT buf_put(struct buf *b, struct bytes in);
RESULT buf_put_octet(struct buf *b, uint8_t octet);
/* A NUL-terminated string of ours. */
RESULT buf_put_str(struct buf *b, const char *string);
/* Decimal. */
RESULT buf_put_u64(struct buf *b, uint64_t value);
/* Decimal, left-padded with zeros to `width` (at most 20). */
RESULT buf_put_u64_pad(struct buf *b, uint64_t value, unsigned width);
/* Forgets the first `size` octets and moves the rest to the front. */
void buf_drop(struct buf *b, size_t size);

#endif
