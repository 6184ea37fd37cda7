/* content: a message as it is stored, in lines of base64: for sending it to somebody who was forgotten (queuectl resend). */
#include "daemon/queued/control_parts.h"

#include "smtp/base64.h"

enum { CONTENT_PIECE_SIZE = 3 * 1024 }; /* a line of 4 KiB; each is decoded by itself */

static RESULT piece_put(struct buf *out, struct bytes piece)
{
    TRY(buf_put_str(out, "{\"v\":1,\"data\":\""));
    TRY(base64_encode(piece, out));
    return buf_put_str(out, "\"}\n");
}

/* Whether the one message that is asked for is there, and for this peer. */
static bool content_allowed(struct control *c)
{
    struct envelope_head head;

    if (c->id_count != 1)
        control_refuse(c, "usage", "expected one id");
    else if (!is_ok(store_message_get(c->setup.store, c->ids[0], &head)))
        control_refuse(c, "gone", "no such message in the queue");
    else if (!control_may_see(c, &head))
        control_refuse(c, "denied", "that message is not yours");
    return c->error == NULL;
}

enum step control_content_step(struct control *c, struct buf *out)
{
    size_t before = out->size;
    struct bytes piece;
    struct result r;

    if (c->cursor == 0 && !content_allowed(c))
        return STEP_DONE;
    r = store_body_get(c->setup.store, c->ids[0], c->cursor, CONTENT_PIECE_SIZE, &piece);
    if (r.code == CODE_GONE)
        return STEP_DONE;
    if (!is_ok(r)) {
        control_refuse(c, "failed", r.why);
        return STEP_DONE;
    }
    if (!is_ok(piece_put(out, piece))) {
        out->size = before;
        return STEP_FULL;
    }
    c->cursor += piece.size;
    c->lines++;
    return STEP_MORE;
}
