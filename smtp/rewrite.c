/* Design. Octets of a field that does not matter go out at once, in spans. Those of an address field are held from the end of
 * the mailbox before, and go out when the list has understood the next one.
 * (W1) At every step `out` has room for everything held and one address: rewrite_feed says CODE_FULL before it takes an octet.
 * (W2) held is a stretch of the value that ends with the last octet eaten; what of a mailbox has gone out already (held was
 *      full) cannot be replaced any more, and it stays as it is. */
#include "smtp/rewrite.h"

enum rewrite_state {
    REWRITE_NAME,      /* at the start of a line, or within a field's name */
    REWRITE_PASSING,   /* a value that is not looked at */
    REWRITE_ADDRESSES, /* one that is */
    REWRITE_DONE,
};

#define STEP_ROOM                                                                                                      \
    (REWRITE_HELD_SIZE_MAX + ADDRESS_SIZE_MAX + 2) /* what is held, an address, an octet of the next line */
STATIC_ASSERT((int)REWRITE_OUT_SIZE_MIN >= (int)STEP_ROOM);

static const struct bytes SEALS[] = {BYTES_INIT("DKIM-Signature"), BYTES_INIT("ARC-Seal")};

void rewrite_init(struct rewrite *w, const struct rewrite_config *cfg)
{
    w->cfg = cfg;
    w->state = REWRITE_NAME;
    w->side = REWRITE_SENDER;
    w->last = 0;
    w->line_begins = true;
    w->blank_in_name = w->sealed = false;
    w->held_from = w->count = 0;
    buf_init(&w->name, w->name_room, sizeof w->name_room);
    buf_init(&w->held, w->held_room, sizeof w->held_room);
}

static RESULT held_put(struct rewrite *w, struct buf *out)
{
    TRY(buf_put(out, buf_bytes(&w->held)));
    w->held_from += w->held.size;
    buf_reset(&w->held);
    return OK;
}

/* A mailbox has ended within what is held. */
static RESULT mailbox_put(struct rewrite *w, const struct address_mailbox *mailbox, struct buf *out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf address = BUF(room);
    struct bytes held = buf_bytes(&w->held);

    if (mailbox->spec_begin < w->held_from || /* (W2) */
        !w->cfg->map(w->cfg->ctx, w->side, mailbox->address.text, &address) ||
        bytes_equal(buf_bytes(&address), mailbox->address.text))
        return held_put(w, out);
    TRY(buf_put(out, bytes_head(held, (size_t)(mailbox->spec_begin - w->held_from))));
    TRY(buf_put(out, buf_bytes(&address)));
    TRY(buf_put(out, bytes_after(held, (size_t)(mailbox->spec_end - w->held_from))));
    w->held_from += held.size;
    w->count++;
    buf_reset(&w->held);
    return OK;
}

/* The line that begins belongs to another field, or the content is over. */
static RESULT list_end(struct rewrite *w, struct buf *out)
{
    struct address_mailbox mailbox;

    if (is_ok(address_list_end(&w->list, &mailbox)))
        return mailbox_put(w, &mailbox, out);
    return held_put(w, out);
}

static RESULT address_octet(struct rewrite *w, uint8_t octet, struct buf *out)
{
    struct bytes in = {&octet, 1};
    struct address_mailbox mailbox;

    if (buf_left(&w->held) == 0)
        TRY(held_put(w, out));
    TRY(buf_put_octet(&w->held, octet));
    struct result r = address_list_feed(&w->list, &in, &mailbox);
    if (is_ok(r))
        return mailbox_put(w, &mailbox, out);
    if (r.code == CODE_MORE)
        return OK;
    w->state = REWRITE_PASSING;
    return held_put(w, out);
}

static void value_begin(struct rewrite *w)
{
    struct bytes name = buf_bytes(&w->name);
    enum header_kind kind = header_kind_of(name);

    for (size_t i = 0; i < COUNT_OF(SEALS); i++)
        w->sealed = w->sealed || bytes_equal_nocase(name, SEALS[i]);
    w->state = REWRITE_PASSING;
    if (w->sealed || !header_kind_has_addresses(kind))
        return;
    w->state = REWRITE_ADDRESSES;
    w->side = kind == HEADER_FROM || kind == HEADER_SENDER || kind == HEADER_REPLY_TO || kind == HEADER_RESENT_FROM ||
                      kind == HEADER_RESENT_SENDER
                  ? REWRITE_SENDER
                  : REWRITE_RECIPIENT;
    w->held_from = 0;
    address_list_init(&w->list, w->cfg->origin);
}

/* RFC 5322 2.2, with section 4.5's blanks before the colon; whatever else stands there, the header was over before it. */
static void name_octet(struct rewrite *w, uint8_t octet)
{
    bool blank = octet == ' ' || octet == '\t';

    if (octet == ':' && w->name.size > 0) {
        value_begin(w);
        return;
    }
    if (octet <= 0x20 || octet >= 0x7f || octet == ':' || w->blank_in_name) {
        w->blank_in_name = w->name.size > 0 && blank;
        if (!w->blank_in_name)
            w->state = REWRITE_DONE;
        return;
    }
    if (!is_ok(buf_put_octet(&w->name, octet)))
        w->name.data[0] = 0; /* a name as long as this is nobody's: what has been kept of it must not match */
}

/* A line begins with this octet. */
static RESULT line_begin(struct rewrite *w, uint8_t octet, struct buf *out)
{
    w->line_begins = false;
    if ((octet == ' ' || octet == '\t') && w->state != REWRITE_NAME)
        return OK;
    if (w->state == REWRITE_ADDRESSES)
        TRY(list_end(w, out));
    w->state = REWRITE_NAME;
    w->blank_in_name = false;
    buf_reset(&w->name);
    return OK;
}

/* As much of a value that is not looked at as lies in `in`, up to the end of its line. */
static RESULT span_pass(struct rewrite *w, struct bytes *in, struct buf *out)
{
    ptrdiff_t end = bytes_index(*in, '\n');
    size_t size = end == BYTES_NOT_FOUND ? in->size : (size_t)end + 1;

    if (size > buf_left(out))
        size = buf_left(out);
    uint8_t before = size > 1 ? in->data[size - 2] : w->last;
    w->last = in->data[size - 1];
    w->line_begins = before == '\r' && w->last == '\n';
    TRY(buf_put(out, bytes_head(*in, size)));
    *in = bytes_after(*in, size);
    return OK;
}

static RESULT octet_take(struct rewrite *w, uint8_t octet, struct buf *out)
{
    bool line_ends = w->last == '\r' && octet == '\n';

    w->last = octet;
    if (w->state == REWRITE_ADDRESSES) {
        w->line_begins = line_ends;
        return address_octet(w, octet, out);
    }
    name_octet(w, octet);
    return buf_put_octet(out, octet);
}

RESULT rewrite_feed(struct rewrite *w, struct bytes *in, struct buf *out)
{
    while (w->state != REWRITE_DONE) {
        struct result r = OK;

        if (in->size == 0)
            return FAIL(CODE_MORE, "the header goes on");
        if (buf_left(out) < STEP_ROOM)
            return FAIL(CODE_FULL, "flush what is there");
        if (w->line_begins)
            r = line_begin(w, in->data[0], out);
        if (is_ok(r) && w->state == REWRITE_PASSING) {
            r = span_pass(w, in, out);
        } else if (is_ok(r)) {
            r = octet_take(w, in->data[0], out);
            *in = bytes_after(*in, 1);
        }
        ASSERT(is_ok(r)); /* (W1) */
    }
    return OK;
}

RESULT rewrite_leave(struct rewrite *w, struct buf *out)
{
    if (buf_left(out) < STEP_ROOM)
        return FAIL(CODE_FULL, "flush what is there");
    w->state = REWRITE_DONE;
    return held_put(w, out);
}

RESULT rewrite_end(struct rewrite *w, struct buf *out)
{
    if (buf_left(out) < STEP_ROOM)
        return FAIL(CODE_FULL, "flush what is there");
    if (w->state == REWRITE_ADDRESSES) {
        struct result r = list_end(w, out);
        ASSERT(is_ok(r)); /* (W1) */
    }
    w->state = REWRITE_DONE;
    return OK;
}
