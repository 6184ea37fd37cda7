#include "daemon/base/base.h"

void buf_init(struct buf *b, void *room, size_t room_size)
{
    *b = (struct buf){.data = room, .size = 0, .size_max = room_size};
}

void buf_reset(struct buf *b)
{
    b->size = 0;
}

struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->data, b->size};
}

size_t buf_left(const struct buf *b)
{
    return b->size_max - b->size;
}

RESULT buf_put(struct buf *b, struct bytes in)
{
    if (in.size > buf_left(b))
        return FAIL(CODE_FULL, "no room left in buffer");
    if (in.size > 0)
        memcpy(b->data + b->size, in.data, in.size);
    b->size += in.size;
    return OK;
}

RESULT buf_put_octet(struct buf *b, uint8_t octet)
{
    if (buf_left(b) == 0)
        return FAIL(CODE_FULL, "no room left in buffer");
    b->data[b->size++] = octet; /* a log line and a frame are made of these */
    return OK;
}

RESULT buf_put_str(struct buf *b, const char *string)
{
    return buf_put(b, bytes_of(string));
}

RESULT buf_put_u64_pad(struct buf *b, uint64_t value, unsigned width)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    ASSERT(width <= sizeof digits);
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (sizeof digits - at < width)
        digits[--at] = '0';
    return buf_put(b, (struct bytes){digits + at, sizeof digits - at});
}

RESULT buf_put_u64(struct buf *b, uint64_t value)
{
    return buf_put_u64_pad(b, value, 1);
}

void buf_drop(struct buf *b, size_t size)
{
    ASSERT(size <= b->size);
    if (size > 0)
        memmove(b->data, b->data + size, b->size - size);
    b->size -= size;
}
