#include "smtp/encoded_word.h"

#include "smtp/address.h"
#include "smtp/base64.h"

enum {
    LINE_SIZE_MAX = 76, /* RFC 2047 section 2, as far as the line holds an encoded word */
    WORD_SIZE_MAX = 75,
    PIECE_SIZE_MIN = 12, /* less room than for this on a line is none */
    PERCENT_SIZE_MAX = 60,
};

static size_t column_of(const struct buf *out)
{
    ptrdiff_t end = bytes_rindex(buf_bytes(out), '\n');
    return end == BYTES_NOT_FOUND ? out->size : out->size - (size_t)end - 1;
}

RESULT
encoded_fold(struct buf *out)
{
    uint8_t blank = ' ';
    bool written = false;

    /* A line of blanks alone must not arise: to many readers it ends the header. */
    for (size_t i = out->size; i > 0 && out->data[i - 1] != '\n'; i--)
        written = written || (out->data[i - 1] != ' ' && out->data[i - 1] != '\t');
    if (!written)
        return OK;
    if (out->size > 0 && (out->data[out->size - 1] == ' ' || out->data[out->size - 1] == '\t'))
        blank = out->data[--out->size];
    TRY(buf_put(out, BYTES("\r\n")));
    return buf_put_octet(out, blank);
}

/* How many octets of the text a word with `room` columns takes: a base64 group makes 4 of 3; characters stay whole. */
static size_t piece_size(struct bytes text, size_t frame, size_t room, bool utf8)
{
    size_t size = room > frame ? (room - frame) / 4 * 3 : 0;

    if (size >= text.size)
        return text.size;
    while (utf8 && size > 0 && (text.data[size] & 0xc0) == 0x80)
        size--;
    return size;
}

RESULT
encoded_word_put(struct buf *out, struct bytes text)
{
    bool utf8 = utf8_is_valid(text);
    struct bytes begin = utf8 ? BYTES("=?UTF-8?B?") : BYTES("=?unknown-8bit?B?");
    size_t frame = begin.size + 2;

    for (bool first = true; text.size > 0; first = false) {
        size_t column = column_of(out), room = column < LINE_SIZE_MAX ? LINE_SIZE_MAX - column : 0;
        size_t size = piece_size(text, frame, room < WORD_SIZE_MAX ? room : WORD_SIZE_MAX, utf8);

        if (!first || size < (text.size < PIECE_SIZE_MIN ? text.size : PIECE_SIZE_MIN)) {
            TRY(encoded_fold(out));
            size = piece_size(text, frame, WORD_SIZE_MAX, utf8);
        }
        TRY(buf_put(out, begin));
        TRY(base64_encode(bytes_head(text, size), out));
        TRY(buf_put(out, BYTES("?=")));
        text = bytes_after(text, size);
    }
    return OK;
}

bool encoded_word_is(struct bytes word)
{
    return word.size > 6 && bytes_starts(word, BYTES("=?")) && bytes_ends_nocase(word, BYTES("?="));
}

static bool is_plain(uint8_t o)
{
    return (o >= '0' && o <= '9') || (o >= 'a' && o <= 'z') || (o >= 'A' && o <= 'Z') ||
           (o != 0 && strchr("!#$&+-.^_`{|}~", o) != NULL);
}

static RESULT percent_put(struct buf *out, uint8_t octet)
{
    static const char hex[] = "0123456789ABCDEF";

    if (is_plain(octet))
        return buf_put_octet(out, octet);
    TRY(buf_put_octet(out, '%'));
    TRY(buf_put_octet(out, (uint8_t)hex[octet >> 4]));
    return buf_put_octet(out, (uint8_t)hex[octet & 15]);
}

RESULT
encoded_parameter_put(struct buf *out, struct bytes name, struct bytes value)
{
    struct bytes charset = utf8_is_valid(value) ? BYTES("UTF-8''") : BYTES("unknown-8bit''");
    size_t size = charset.size;

    for (size_t i = 0; i < value.size; i++)
        size += is_plain(value.data[i]) ? 1 : 3;
    bool whole = size <= PERCENT_SIZE_MAX;
    for (size_t at = 0, number = 0; at < value.size || number == 0; number++) {
        if (number > 0)
            TRY(buf_put(out, BYTES(";\r\n ")));
        TRY(buf_put(out, name));
        if (!whole) {
            TRY(buf_put_octet(out, '*'));
            TRY(buf_put_u64(out, number));
        }
        TRY(buf_put(out, BYTES("*=")));
        if (number == 0)
            TRY(buf_put(out, charset));
        for (size_t left = PERCENT_SIZE_MAX; at < value.size && left >= 3; at++) {
            TRY(percent_put(out, value.data[at]));
            left -= is_plain(value.data[at]) ? 1 : 3;
        }
    }
    return OK;
}
