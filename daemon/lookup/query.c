#include "daemon/lookup/query.h"

/* The part of the key that a letter behind % means. */
static RESULT part_of(struct bytes key, uint8_t letter, struct bytes *part_out)
{
    ptrdiff_t at = bytes_rindex(key, '@');

    *part_out = key;
    if (letter == 'u' && at != BYTES_NOT_FOUND)
        *part_out = bytes_head(key, (size_t)at);
    if (letter == 'd' && at != BYTES_NOT_FOUND)
        *part_out = bytes_after(key, (size_t)at + 1);
    return part_out->size > 0 ? OK : FAIL(CODE_GONE, "the key has not what the query wants");
}

/* Copies up to the next value; its letter, or 0 at the end. */
static RESULT text_take(struct bytes *rest, struct buf *out, uint8_t *letter_out)
{
    *letter_out = 0;
    while (rest->size > 0) {
        uint8_t octet = rest->data[0];

        *rest = bytes_after(*rest, 1);
        if (octet == '%' && rest->size > 0) {
            octet = rest->data[0];
            *rest = bytes_after(*rest, 1);
            if (octet != '%') {
                *letter_out = octet;
                return OK;
            }
        }
        TRY(buf_put_octet(out, octet));
    }
    return OK;
}

RESULT query_sql(
    struct bytes query, struct bytes key, uint8_t mark, struct buf *sql_out, struct query_values *values_out)
{
    uint8_t letter;

    values_out->count = 0;
    for (;;) {
        TRY(text_take(&query, sql_out, &letter));
        if (letter == 0)
            return OK;
        if (values_out->count == QUERY_VALUES_MAX)
            return FAIL(CODE_FULL, "the query has too many values");
        TRY(part_of(key, letter, &values_out->items[values_out->count++]));
        TRY(buf_put_octet(sql_out, mark));
        TRY(buf_put_u64(sql_out, values_out->count));
    }
}

static RESULT escaped_put(struct buf *out, struct bytes value)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < value.size; i++) {
        uint8_t octet = value.data[i];

        if (octet != '*' && octet != '(' && octet != ')' && octet != '\\' && octet >= ' ' && octet < 0x7f) {
            TRY(buf_put_octet(out, octet));
            continue;
        }
        TRY(buf_put_octet(out, '\\'));
        TRY(buf_put_octet(out, (uint8_t)hex[octet >> 4]));
        TRY(buf_put_octet(out, (uint8_t)hex[octet & 15]));
    }
    return OK;
}

RESULT query_ldap(struct bytes query, struct bytes key, struct buf *filter_out)
{
    uint8_t letter;
    struct bytes part;

    for (;;) {
        TRY(text_take(&query, filter_out, &letter));
        if (letter == 0)
            return OK;
        TRY(part_of(key, letter, &part));
        TRY(escaped_put(filter_out, part));
    }
}
