#include "daemon/base/base.h"

void wire_store_u64(uint8_t at[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

uint64_t wire_load_u64(const uint8_t at[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

void wire_store_u32(uint8_t at[4], uint32_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

uint32_t wire_load_u32(const uint8_t at[4])
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 8 | at[i];
    return value;
}

RESULT wire_put_u8(struct buf *out, uint8_t value)
{
    return buf_put_octet(out, value);
}

RESULT wire_put_u16(struct buf *out, uint16_t value)
{
    uint8_t octets[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    return buf_put(out, (struct bytes){octets, sizeof octets});
}

RESULT wire_put_u32(struct buf *out, uint32_t value)
{
    uint8_t octets[4];
    wire_store_u32(octets, value);
    return buf_put(out, (struct bytes){octets, sizeof octets});
}

RESULT wire_put_u64(struct buf *out, uint64_t value)
{
    uint8_t octets[8];
    wire_store_u64(octets, value);
    return buf_put(out, (struct bytes){octets, sizeof octets});
}

RESULT wire_put_bytes(struct buf *out, struct bytes value)
{
    ASSERT(value.size <= UINT32_MAX);
    if (value.size + 4 > buf_left(out))
        return FAIL(CODE_FULL, "no room left in buffer");
    TRY(wire_put_u32(out, (uint32_t)value.size));
    return buf_put(out, value);
}

struct wire_reader wire_reader_over(struct bytes in)
{
    return (struct wire_reader){.rest = in, .failed = NULL};
}

void wire_fail(struct wire_reader *r, const char *why)
{
    if (r->failed == NULL)
        r->failed = why;
}

static const uint8_t *wire_eat(struct wire_reader *r, size_t size)
{
    if (r->failed != NULL || r->rest.size < size) {
        wire_fail(r, "data ends too early");
        return NULL;
    }
    const uint8_t *at = r->rest.data;
    r->rest = bytes_after(r->rest, size);
    return at;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    const uint8_t *at = wire_eat(r, 1);
    return at == NULL ? 0 : at[0];
}

uint8_t wire_get_enum(struct wire_reader *r, uint8_t bound)
{
    uint8_t value = wire_get_u8(r);
    if (value < bound)
        return value;
    wire_fail(r, "value out of range");
    return 0;
}

bool wire_get_bool(struct wire_reader *r)
{
    return wire_get_enum(r, 2) == 1;
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    const uint8_t *at = wire_eat(r, 2);
    return at == NULL ? 0 : (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    const uint8_t *at = wire_eat(r, 4);
    return at == NULL ? 0 : wire_load_u32(at);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    const uint8_t *at = wire_eat(r, 8);
    return at == NULL ? 0 : wire_load_u64(at);
}

struct bytes wire_get_bytes(struct wire_reader *r, size_t size_max)
{
    uint32_t size = wire_get_u32(r);

    if (size > size_max) {
        wire_fail(r, "field too long");
        return BYTES_NONE;
    }
    const uint8_t *at = wire_eat(r, size);
    return at == NULL ? BYTES_NONE : (struct bytes){at, size};
}

RESULT wire_check(const struct wire_reader *r)
{
    return r->failed == NULL ? OK : FAIL(CODE_CORRUPT, r->failed);
}

RESULT wire_end(const struct wire_reader *r)
{
    TRY(wire_check(r));
    return r->rest.size == 0 ? OK : FAIL(CODE_CORRUPT, "data left over");
}
