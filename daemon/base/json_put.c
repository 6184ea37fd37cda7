#include "daemon/base/json_put.h"

size_t json_utf8_size(struct bytes b)
{
    uint8_t first = b.size > 0 ? b.data[0] : 0;
    size_t size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (b.size < size || (first >= 0x80 && first < 0xc2) || first > 0xf4)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((b.data[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xc2 && b.data[1] < 0xa0) || (first == 0xe0 && b.data[1] < 0xa0) ||
        (first == 0xed && b.data[1] > 0x9f) || (first == 0xf0 && b.data[1] < 0x90) ||
        (first == 0xf4 && b.data[1] > 0x8f))
        return 0;
    return size;
}

static bool is_plain(uint8_t octet)
{
    return octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\';
}

RESULT json_put_text(struct buf *out, struct bytes value)
{
    static const char hex[] = "0123456789abcdef";

    TRY(buf_put_octet(out, '"'));
    while (value.size > 0) {
        uint8_t octet = value.data[0];
        size_t size = 0;

        while (size < value.size && is_plain(value.data[size]))
            size++;
        if (size == 0 && octet >= 0x80)
            size = json_utf8_size(value);
        if (size > 0) {
            TRY(buf_put(out, bytes_head(value, size)));
        } else {
            uint8_t escape[] = {'\\', 'u', '0', '0', (uint8_t)hex[octet >> 4], (uint8_t)hex[octet & 15]};

            size = 1;
            if (octet == '"' || octet == '\\') {
                TRY(buf_put_octet(out, '\\'));
                TRY(buf_put_octet(out, octet));
            } else {
                TRY(buf_put(out, (struct bytes){escape, sizeof escape}));
            }
        }
        value = bytes_after(value, size);
    }
    return buf_put_octet(out, '"');
}

RESULT json_put_number(struct buf *out, int64_t value)
{
    if (value < 0)
        TRY(buf_put_octet(out, '-'));
    return buf_put_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

RESULT json_put_name(struct buf *out, const char *name)
{
    uint8_t last = out->size > 0 ? out->data[out->size - 1] : '{';

    if (last != '{' && last != '\n')
        TRY(buf_put_octet(out, ','));
    TRY(buf_put_octet(out, '"'));
    TRY(buf_put_str(out, name));
    return buf_put_str(out, "\":");
}

RESULT json_put_field_text(struct buf *out, const char *name, struct bytes value)
{
    TRY(json_put_name(out, name));
    return json_put_text(out, value);
}

RESULT json_put_field_str(struct buf *out, const char *name, const char *value)
{
    return json_put_field_text(out, name, bytes_of(value));
}

RESULT json_put_field_number(struct buf *out, const char *name, int64_t value)
{
    TRY(json_put_name(out, name));
    return json_put_number(out, value);
}

RESULT json_put_field_bool(struct buf *out, const char *name, bool value)
{
    TRY(json_put_name(out, name));
    return buf_put_str(out, value ? "true" : "false");
}

RESULT json_put_field_id(struct buf *out, const char *name, struct message_id id)
{
    TRY(json_put_name(out, name));
    TRY(buf_put_octet(out, '"'));
    TRY(message_id_put(out, id));
    return buf_put_octet(out, '"');
}
