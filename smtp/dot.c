/* The search looks for the dot, not for the CRLF: memchr runs through encoded parts without a stop, because base64 has no
 * dot but has a CRLF every 76 octets. */
#include "smtp/dot.h"

void smtp_dot_init(struct smtp_dot *d)
{
    *d = (struct smtp_dot){.before = {'\r', '\n'}};
}

static void sent(struct smtp_dot *d, struct bytes piece)
{
    if (piece.size >= 2)
        d->before[0] = piece.data[piece.size - 2];
    else
        d->before[0] = d->before[1];
    d->before[1] = piece.data[piece.size - 1];
}

/* Whether a line begins at `at`. */
static bool line_begins(const struct smtp_dot *d, struct bytes content, size_t at)
{
    uint8_t last = at > 0 ? content.data[at - 1] : d->before[1];
    uint8_t last_but_one = at > 1 ? content.data[at - 2] : at == 1 ? d->before[1] : d->before[0];
    return last == '\n' && last_but_one == '\r';
}

bool smtp_dot_next(struct smtp_dot *d, struct bytes *content, struct bytes *piece_out)
{
    /* The dot that was sent once already begins this piece; the search goes on behind it. */
    size_t from = d->doubled ? 1 : 0;
    struct bytes whole = *content;

    if (whole.size == 0)
        return false;
    d->doubled = false;
    for (;;) {
        ptrdiff_t hit = bytes_index(bytes_after(whole, from), '.');
        if (hit == BYTES_NOT_FOUND)
            break;
        size_t at = from + (size_t)hit;
        if (line_begins(d, whole, at)) {
            *piece_out = bytes_head(whole, at + 1);
            *content = bytes_after(whole, at);
            /* As if the dot had not been sent: it is still at the start of the rest. */
            if (at > 0)
                sent(d, bytes_head(whole, at));
            d->doubled = true;
            return true;
        }
        from = at + 1;
    }
    *piece_out = whole;
    *content = bytes_after(whole, whole.size);
    sent(d, whole);
    return true;
}

struct bytes smtp_dot_end(const struct smtp_dot *d)
{
    ASSERT(!d->doubled);
    bool ended = d->before[0] == '\r' && d->before[1] == '\n';
    return ended ? BYTES(".\r\n") : BYTES("\r\n.\r\n");
}
