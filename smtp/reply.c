#include "smtp/reply.h"

enum { REPLY_OVERHEAD_MAX = 4 + 12 + 2 }; /* "250-", "5.999.999 ", CRLF */

RESULT
enhanced_status_put(struct buf *out, struct enhanced_status status)
{
    if (status.class == 0)
        return OK;
    TRY(buf_put_octet(out, (uint8_t)('0' + status.class)));
    TRY(buf_put_octet(out, '.'));
    TRY(buf_put_u64(out, status.subject));
    TRY(buf_put_octet(out, '.'));
    return buf_put_u64(out, status.detail);
}

size_t reply_size_max(size_t text_size)
{
    size_t text = text_size < REPLY_TEXT_SIZE_MAX ? text_size : REPLY_TEXT_SIZE_MAX;
    return text + (text / (REPLY_LINE_SIZE_MAX - REPLY_OVERHEAD_MAX) + 1) * REPLY_OVERHEAD_MAX;
}

static RESULT reply_line_put(struct buf *out, const struct reply *reply, struct bytes text, bool last)
{
    TRY(buf_put_u64(out, reply->code));
    TRY(buf_put_octet(out, last ? ' ' : '-'));
    TRY(enhanced_status_put(out, reply->status));
    if (reply->status.class != 0)
        TRY(buf_put_octet(out, ' '));
    for (size_t i = 0; i < text.size; i++) {
        uint8_t o = text.data[i];
        /* UTF-8 passes: with SMTPUTF8 it is allowed (RFC 6531 3.7.4.3), and an address may stand in the text. */
        TRY(buf_put_octet(out, o < ' ' || o == 127 ? '?' : o));
    }
    return buf_put(out, BYTES("\r\n"));
}

RESULT
reply_put(struct buf *out, const struct reply *reply)
{
    struct bytes text = bytes_head(reply->text, REPLY_TEXT_SIZE_MAX);
    size_t line_max = REPLY_LINE_SIZE_MAX - REPLY_OVERHEAD_MAX;

    ASSERT(reply->code >= 200 && reply->code < 600);
    ASSERT(reply->status.class <= 5 && reply->status.subject < 1000 && reply->status.detail < 1000);
    if (buf_left(out) < reply_size_max(text.size))
        return FAIL(CODE_FULL, "no room left for a reply");
    while (text.size > line_max) {
        TRY(reply_line_put(out, reply, bytes_head(text, line_max), false));
        text = bytes_after(text, line_max);
    }
    return reply_line_put(out, reply, text, true);
}
