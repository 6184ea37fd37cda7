#include "smtp/verp.h"

#include "smtp/address.h"

RESULT verp_delimiters_read(struct bytes text, struct verp_delimiters *delimiters_out)
{
    static const struct bytes known = BYTES_INIT("-+=");

    if (text.size != 2 || bytes_index(known, text.data[0]) == BYTES_NOT_FOUND ||
        bytes_index(known, text.data[1]) == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "two delimiters are wanted, each one of - + =");
    *delimiters_out = (struct verp_delimiters){text.data[0], text.data[1]};
    return OK;
}

/* Between quotes. */
static RESULT quoted_octets_put(struct buf *out, struct bytes octets)
{
    for (size_t i = 0; i < octets.size; i++) {
        if (octets.data[i] == '"' || octets.data[i] == '\\')
            TRY(buf_put_octet(out, '\\'));
        TRY(buf_put_octet(out, octets.data[i]));
    }
    return OK;
}

static RESULT quoted_local_put(struct buf *out, struct bytes path)
{
    uint8_t room[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(room);
    ptrdiff_t at = bytes_rindex(path, '@');

    TRY(address_put_unquoted(&plain, at == BYTES_NOT_FOUND ? path : bytes_head(path, (size_t)at)));
    return quoted_octets_put(out, buf_bytes(&plain));
}

RESULT verp_put(
    struct buf *out, struct bytes reverse_path, struct verp_delimiters delimiters, struct bytes forward_path, bool utf8)
{
    uint8_t room[3 * ADDRESS_SIZE_MAX], canonical_room[ADDRESS_SIZE_MAX];
    struct buf whole = BUF(room), canonical = BUF(canonical_room);
    ptrdiff_t senders_at = bytes_rindex(reverse_path, '@'), recipients_at = bytes_rindex(forward_path, '@');
    struct address address;

    ASSERT(verp_is_on(delimiters) && senders_at != BYTES_NOT_FOUND);
    TRY(buf_put_octet(&whole, '"')); /* the parser takes off quotes that are not needed */
    TRY(quoted_local_put(&whole, reverse_path));
    TRY(buf_put_octet(&whole, delimiters.before));
    TRY(quoted_local_put(&whole, forward_path));
    if (recipients_at != BYTES_NOT_FOUND) {
        TRY(buf_put_octet(&whole, delimiters.at));
        TRY(quoted_octets_put(&whole, bytes_after(forward_path, (size_t)recipients_at + 1)));
    }
    TRY(buf_put_octet(&whole, '"'));
    TRY(buf_put(&whole, bytes_after(reverse_path, (size_t)senders_at)));
    TRY(address_parse_mailbox(buf_bytes(&whole), utf8 ? ADDRESS_UTF8 : 0, &canonical, &address));
    return buf_put(out, address.text);
}
