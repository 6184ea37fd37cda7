/* wire: big-endian fields, for frames between processes and rows on disk: one writer, one reader.
 *
 * The writer is a struct buf (whole or CODE_FULL). The reader remembers its first failure, so a decoder reads field
 * after field and asks once; it never reads past its view.
 *   TRY(wire_put_u32(&out, n));  TRY(wire_put_bytes(&out, reply));
 *   struct wire_reader r = wire_reader_over(in);
 *   uint32_t n = wire_get_u32(&r);  struct bytes reply = wire_get_bytes(&r, REPLY_SIZE_MAX);
 *   TRY(wire_end(&r));        CODE_CORRUPT when anything was short, too long, or left over
 * Views that wire_get_bytes gives borrow from the input. */
#ifndef MANSIO_WIRE_H
#define MANSIO_WIRE_H

struct wire_reader {
    struct bytes rest;
    const char *failed; /* NULL, or why (a literal) */
};

RESULT wire_put_u8(struct buf *out, uint8_t value);
RESULT wire_put_u16(struct buf *out, uint16_t value);
RESULT wire_put_u32(struct buf *out, uint32_t value);
RESULT wire_put_u64(struct buf *out, uint64_t value);
/* A u32 size and the octets. */
RESULT wire_put_bytes(struct buf *out, struct bytes value);

struct wire_reader wire_reader_over(struct bytes in);
uint8_t wire_get_u8(struct wire_reader *r);
/* CODE_CORRUPT later unless the octet is 0 or 1. */
bool wire_get_bool(struct wire_reader *r);
/* An octet that must be below `bound` (an enum's count). */
uint8_t wire_get_enum(struct wire_reader *r, uint8_t bound);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
struct bytes wire_get_bytes(struct wire_reader *r, size_t size_max);
void wire_fail(struct wire_reader *r, const char *why);
/* OK when nothing failed, whether or not octets are left. */
RESULT wire_check(const struct wire_reader *r);
/* OK when nothing failed and the last octet was eaten. */
RESULT wire_end(const struct wire_reader *r);

/* Big-endian in place, for keys. */
void wire_store_u64(uint8_t at[8], uint64_t value);
uint64_t wire_load_u64(const uint8_t at[8]);
void wire_store_u32(uint8_t at[4], uint32_t value);
uint32_t wire_load_u32(const uint8_t at[4]);

#endif
