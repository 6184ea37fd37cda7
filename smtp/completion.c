/* Design. The field that is being read is held back until its end is known (a CRLF and then no blank), judged, and put out.
 * (H1) At every call `out` has room for the longest held field and for everything that may be added, so nothing here can
 *      fail for room half way: completion_feed says CODE_FULL before it takes an octet.
 * (H2) A field that outgrows field_room passes (or vanishes) octet by octet from then on. */
#include "smtp/completion.h"

#include "smtp/base64.h"

enum completion_state {
    COMPLETION_FIELD,   /* gathering a field, or nothing yet */
    COMPLETION_PASSING, /* a field too long to be held (H2) */
    COMPLETION_DONE,
};

enum {
    ADDITION_SIZE_MAX = 8192, /* all additions together: two From-like fields, dates and ids, the destination */
    ENCODED_PIECE_SIZE = 45,  /* RFC 2047 section 2: 60 of base64 and the frame stay under 75 */
};
STATIC_ASSERT(COMPLETION_OUT_SIZE_MIN >= COMPLETION_FIELD_SIZE_MAX + ADDITION_SIZE_MAX);

void completion_init(struct completion *c, const struct completion_config *cfg)
{
    ASSERT(cfg->no_destination.size <= COMPLETION_DESTINATION_SIZE_MAX);
    ASSERT(cfg->full_name.size <= COMPLETION_NAME_SIZE_MAX);
    c->cfg = cfg;
    c->state = COMPLETION_FIELD;
    c->line_begins = c->resent_block = c->resent_over = c->sender_due = c->bcc_lost = c->authors_lost = false;
    c->last = c->kind = 0;
    c->seen = c->stripped = 0;
    buf_init(&c->field, c->field_room, sizeof c->field_room);
}

static bool has(uint32_t set, enum header_kind kind)
{
    return (set & (UINT32_C(1) << kind)) != 0;
}

static bool is_bcc(enum header_kind kind)
{
    return kind == HEADER_BCC || kind == HEADER_RESENT_BCC;
}

/* --- what is added --- */

static bool atom_octet(uint8_t o)
{
    return (o >= '0' && o <= '9') || (o >= 'a' && o <= 'z') || (o >= 'A' && o <= 'Z') ||
           (o != 0 && strchr("!#$%&'*+-/=?^_`{|}~ ", o) != NULL);
}

/* RFC 2047 section 5 (3), in pieces that end between characters. */
static RESULT name_put_encoded(struct buf *out, struct bytes name)
{
    while (name.size > 0) {
        size_t size = name.size < ENCODED_PIECE_SIZE ? name.size : ENCODED_PIECE_SIZE;

        while (size < name.size && size > 1 && (name.data[size] & 0xc0) == 0x80)
            size--;
        TRY(buf_put_str(out, "=?UTF-8?B?"));
        TRY(base64_encode(bytes_head(name, size), out));
        TRY(buf_put_str(out, "?="));
        name = bytes_after(name, size);
        if (name.size > 0)
            TRY(buf_put_str(out, "\r\n "));
    }
    return OK;
}

static RESULT name_put(struct buf *out, struct bytes name)
{
    bool atoms = true;

    if (bytes_has_8bit(name) && utf8_is_valid(name))
        return name_put_encoded(out, name);
    for (size_t i = 0; i < name.size; i++)
        atoms = atoms && atom_octet(name.data[i]);
    if (atoms && bytes_find(name, BYTES("=?")) == BYTES_NOT_FOUND)
        return buf_put(out, name);
    TRY(buf_put_octet(out, '"'));
    for (size_t i = 0; i < name.size; i++) {
        uint8_t o = name.data[i];

        if (o == '"' || o == '\\')
            TRY(buf_put_octet(out, '\\'));
        TRY(buf_put_octet(out, o < 0x20 || o > 0x7e ? '?' : o));
    }
    return buf_put_octet(out, '"');
}

static RESULT from_put(struct buf *out, const char *field, const struct completion_config *cfg)
{
    struct bytes name = bytes_trim(cfg->full_name);

    TRY(buf_put_str(out, field));
    if (name.size == 0) {
        TRY(buf_put(out, cfg->from));
        return buf_put_str(out, "\r\n");
    }
    TRY(name_put(out, name));
    TRY(buf_put_str(out, " <"));
    TRY(buf_put(out, cfg->from));
    return buf_put_str(out, ">\r\n");
}

static RESULT date_put(struct buf *out, const char *field, const struct completion_config *cfg)
{
    TRY(buf_put_str(out, field));
    TRY(walltime_put_date(out, cfg->now));
    return buf_put_str(out, "\r\n");
}

static RESULT id_put(struct buf *out, const char *field, const struct completion_config *cfg)
{
    TRY(buf_put_str(out, field));
    TRY(buf_put_str(out, "<"));
    TRY(buf_put(out, cfg->message_id));
    return buf_put_str(out, ">\r\n");
}

static RESULT line_put(struct buf *out, const char *field, struct bytes value)
{
    TRY(buf_put_str(out, field));
    TRY(buf_put(out, value));
    return buf_put_str(out, "\r\n");
}

/* The newest Resent block ends: RFC 5322 3.6.6 wants its author and date. */
static RESULT resent_complete(struct completion *c, struct buf *out)
{
    const struct completion_config *cfg = c->cfg;

    if (!c->resent_block)
        return OK;
    c->resent_block = false;
    c->resent_over = true;
    if (!cfg->add)
        return OK;
    if (!has(c->seen, HEADER_RESENT_FROM) && cfg->from.size > 0)
        TRY(from_put(out, "Resent-From: ", cfg));
    if (!has(c->seen, HEADER_RESENT_DATE))
        TRY(date_put(out, "Resent-Date: ", cfg));
    if (!has(c->seen, HEADER_RESENT_MESSAGE_ID))
        TRY(id_put(out, "Resent-Message-ID: ", cfg));
    return OK;
}

/* A resent message is somebody else's: its own fields stay as they came. */
static RESULT author_complete(struct completion *c, struct buf *out)
{
    const struct completion_config *cfg = c->cfg;
    bool made_by_other = cfg->from.size > 0 && !bytes_equal_nocase(cfg->from, cfg->user);

    if (!has(c->seen, HEADER_FROM) && cfg->from.size > 0) {
        TRY(from_put(out, "From: ", cfg));
        c->sender_due = made_by_other;
    }
    if (cfg->sender && cfg->user.size > 0 && c->sender_due && !has(c->seen, HEADER_SENDER))
        TRY(line_put(out, "Sender: ", cfg->user));
    if (!has(c->seen, HEADER_DATE))
        TRY(date_put(out, "Date: ", cfg));
    if (!has(c->seen, HEADER_MESSAGE_ID))
        TRY(id_put(out, "Message-ID: ", cfg));
    return OK;
}

static RESULT header_finish(struct completion *c, struct buf *out)
{
    const struct completion_config *cfg = c->cfg;
    bool destination = has(c->seen, HEADER_TO) || has(c->seen, HEADER_CC) || has(c->seen, HEADER_RESENT_TO) ||
                       has(c->seen, HEADER_RESENT_CC);

    TRY(resent_complete(c, out));
    if (cfg->add && !c->resent_over)
        TRY(author_complete(c, out));
    if (c->stripped != 0 && !destination && cfg->no_destination.size > 0)
        TRY(line_put(out, "", cfg->no_destination));
    c->state = COMPLETION_DONE;
    return OK;
}

/* --- fields --- */

/* Whether From names exactly the submitting user; what cannot be read is somebody else. */
static bool from_is_user(const struct completion *c, struct bytes value)
{
    struct address_list list;
    struct address_mailbox mailbox;
    struct result r;
    size_t count = 0;
    bool same = true;

    address_list_init(&list, c->cfg->origin);
    for (bool ended = false;;) {
        r = ended ? address_list_end(&list, &mailbox) : address_list_feed(&list, &value, &mailbox);
        if (r.code == CODE_MORE) {
            ended = true;
            continue;
        }
        if (!is_ok(r))
            break;
        count++;
        same = same && bytes_equal_nocase(mailbox.address.text, c->cfg->user);
    }
    return r.code == CODE_GONE && count == 1 && same;
}

/* The field with "@origin" behind every bare name. CODE_SYNTAX when it cannot be read. */
static RESULT field_put_completed(
    const struct completion *c, struct bytes whole, size_t value_at, struct bytes value, struct buf *out)
{
    struct address_list list;
    struct address_mailbox mailbox;
    struct result r;
    size_t written = 0;

    address_list_init(&list, c->cfg->origin);
    for (bool ended = false;;) {
        r = ended ? address_list_end(&list, &mailbox) : address_list_feed(&list, &value, &mailbox);
        if (r.code == CODE_MORE) {
            ended = true;
            continue;
        }
        if (!is_ok(r))
            break;
        if (!mailbox.bare)
            continue;
        size_t at = value_at + (size_t)mailbox.bare_end;

        TRY(buf_put(out, bytes_head(bytes_after(whole, written), at - written)));
        TRY(buf_put_octet(out, '@'));
        TRY(buf_put(out, c->cfg->origin));
        written = at;
    }
    if (r.code != CODE_GONE)
        return r;
    return buf_put(out, bytes_after(whole, written));
}

/* A piece of a Bcc field's value that is not passed on. */
static void bcc_keep(struct completion *c, struct bytes piece)
{
    if (c->cfg->bcc != NULL && !is_ok(buf_put(c->cfg->bcc, piece)))
        c->bcc_lost = true;
}

static void bcc_begin(struct completion *c)
{
    if (c->cfg->bcc != NULL && c->cfg->bcc->size > 0)
        bcc_keep(c, BYTES(","));
}

static void author_keep(struct completion *c, struct bytes value)
{
    struct buf *authors = c->cfg->authors;

    if (authors == NULL)
        return;
    c->authors_lost = c->authors_lost || (authors->size > 0 && !is_ok(buf_put_octet(authors, ','))) ||
                      !is_ok(buf_put(authors, value));
}

static void kind_note(struct completion *c, enum header_kind kind)
{
    uint32_t bit = UINT32_C(1) << kind;

    if (kind == HEADER_OTHER || (header_kind_is_resent(kind) && c->resent_over))
        return;
    if (is_bcc(kind) && c->cfg->strip_bcc)
        c->stripped |= bit;
    c->seen |= bit;
}

/* Before a field of this kind goes out: does the newest Resent block begin, go on or end here? Its fields stand together,
 * and a second author or date belongs to the block below it. */
static RESULT resent_step(struct completion *c, enum header_kind kind, struct buf *out)
{
    bool single = kind == HEADER_RESENT_FROM || kind == HEADER_RESENT_DATE || kind == HEADER_RESENT_MESSAGE_ID ||
                  kind == HEADER_RESENT_SENDER;

    if (c->resent_over)
        return OK;
    if (!header_kind_is_resent(kind) || (single && has(c->seen, kind)))
        return resent_complete(c, out);
    c->resent_block = true;
    return OK;
}

static RESULT field_end(struct completion *c, struct buf *out)
{
    struct bytes whole = buf_bytes(&c->field), rest = whole;
    struct header_field field;
    size_t value_at, before;
    enum header_kind kind;
    struct result r = header_next(&rest, &field);

    ASSERT(is_ok(r));
    kind = header_kind_of(field.name);
    TRY(resent_step(c, kind, out));
    kind_note(c, kind);
    value_at = (size_t)(field.value.data - whole.data);
    if (is_bcc(kind) && c->cfg->strip_bcc) {
        if (kind == HEADER_BCC) {
            bcc_begin(c);
            bcc_keep(c, field.value);
        }
        buf_reset(&c->field);
        return OK;
    }
    if (kind == HEADER_FROM) {
        c->sender_due = c->sender_due || !from_is_user(c, field.value);
        author_keep(c, field.value);
    }
    before = out->size;
    if (c->cfg->add && header_kind_has_addresses(kind) && c->cfg->origin.size > 0 &&
        is_ok(field_put_completed(c, whole, value_at, field.value, out))) {
        buf_reset(&c->field);
        return OK;
    }
    out->size = before; /* unreadable, or too long when completed: as it came */
    TRY(buf_put(out, whole));
    buf_reset(&c->field);
    return OK;
}

/* What is held turns out to be no field: the header ended before it. */
static RESULT header_ends_before_text(struct completion *c, struct buf *out)
{
    TRY(header_finish(c, out));
    TRY(buf_put_str(out, "\r\n"));
    TRY(buf_put(out, buf_bytes(&c->field)));
    buf_reset(&c->field);
    return OK;
}

/* The field that is held has outgrown its room (H2). */
static RESULT field_overflow(struct completion *c, struct buf *out)
{
    struct bytes name = header_line_name(buf_bytes(&c->field));

    if (name.size == 0)
        return header_ends_before_text(c, out);
    c->kind = (uint8_t)header_kind_of(name);
    TRY(resent_step(c, c->kind, out));
    kind_note(c, c->kind);
    if (c->kind == HEADER_FROM)
        c->sender_due = c->authors_lost = true;
    if (c->kind == HEADER_BCC && c->cfg->strip_bcc) {
        bcc_begin(c);
        bcc_keep(c, bytes_after(buf_bytes(&c->field), (size_t)bytes_index(buf_bytes(&c->field), ':') + 1));
    }
    if (!is_bcc(c->kind) || !c->cfg->strip_bcc)
        TRY(buf_put(out, buf_bytes(&c->field)));
    buf_reset(&c->field);
    c->state = COMPLETION_PASSING;
    return OK;
}

/* An octet of a field that is not held. */
static RESULT octet_pass(struct completion *c, uint8_t octet, bool line_ends, struct buf *out)
{
    c->line_begins = line_ends;
    if (!is_bcc(c->kind) || !c->cfg->strip_bcc)
        return buf_put_octet(out, octet);
    if (c->kind == HEADER_BCC)
        bcc_keep(c, (struct bytes){&octet, 1});
    return OK;
}

/* A line begins with this octet: a fold, or the end of the field before it. */
static RESULT line_begin(struct completion *c, uint8_t octet, struct buf *out)
{
    bool blank = octet == ' ' || octet == '\t';

    c->line_begins = false;
    if (c->state == COMPLETION_PASSING) {
        if (!blank)
            c->state = COMPLETION_FIELD;
        return OK;
    }
    if (blank && c->field.size > 0)
        return OK;
    return c->field.size == 0 ? OK : field_end(c, out);
}

/* The first line of what is held is whole. */
static RESULT line_whole(struct completion *c, struct buf *out)
{
    struct bytes held = buf_bytes(&c->field);

    if (bytes_equal(held, BYTES("\r\n"))) {
        TRY(header_finish(c, out));
        TRY(buf_put(out, held));
        buf_reset(&c->field);
        return OK;
    }
    return header_line_is_field(held) ? OK : header_ends_before_text(c, out);
}

static RESULT octet_take(struct completion *c, uint8_t octet, struct buf *out)
{
    bool line_ends = c->last == '\r' && octet == '\n';

    c->last = octet;
    if (c->state == COMPLETION_PASSING)
        return octet_pass(c, octet, line_ends, out);
    if (buf_left(&c->field) <= 2) { /* what is kept back is for completion_end's CRLF */
        TRY(field_overflow(c, out));
        if (c->state == COMPLETION_DONE)
            return buf_put_octet(out, octet);
        return octet_pass(c, octet, line_ends, out);
    }
    TRY(buf_put_octet(&c->field, octet));
    if (!line_ends)
        return OK;
    c->line_begins = true;
    /* Only the first line decides what this is; the others are folds. */
    return bytes_find(buf_bytes(&c->field), BYTES("\r\n")) + 2 == (ptrdiff_t)c->field.size ? line_whole(c, out) : OK;
}

RESULT completion_feed(struct completion *c, struct bytes *in, struct buf *out)
{
    struct result r = OK;

    while (c->state != COMPLETION_DONE && is_ok(r)) {
        if (in->size == 0)
            return FAIL(CODE_MORE, "the header goes on");
        if (buf_left(out) < COMPLETION_FIELD_SIZE_MAX + ADDITION_SIZE_MAX)
            return FAIL(CODE_FULL, "flush what is there");
        if (c->line_begins)
            r = line_begin(c, in->data[0], out);
        if (is_ok(r))
            r = octet_take(c, in->data[0], out);
        *in = bytes_after(*in, 1);
    }
    ASSERT(is_ok(r)); /* (H1) */
    return OK;
}

RESULT completion_end(struct completion *c, struct buf *out)
{
    struct result r = OK;

    if (c->state == COMPLETION_DONE)
        return OK;
    if (buf_left(out) < COMPLETION_FIELD_SIZE_MAX + ADDITION_SIZE_MAX)
        return FAIL(CODE_FULL, "flush what is there");
    if (c->state == COMPLETION_FIELD && c->field.size > 0) {
        if (header_line_is_field(buf_bytes(&c->field))) {
            /* its last line may lack its end */
            if (!c->line_begins)
                r = buf_put_str(&c->field, "\r\n");
            if (is_ok(r))
                r = field_end(c, out);
        } else {
            r = header_ends_before_text(c, out);
        }
    } else if (c->state == COMPLETION_PASSING && !c->line_begins && !(is_bcc(c->kind) && c->cfg->strip_bcc)) {
        r = buf_put_str(out, "\r\n");
    }
    if (is_ok(r) && c->state != COMPLETION_DONE) {
        r = header_finish(c, out);
        if (is_ok(r))
            r = buf_put_str(out, "\r\n");
    }
    ASSERT(is_ok(r)); /* (H1) */
    return OK;
}
