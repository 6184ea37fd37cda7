/* Design. One walk over the content serves both passes: `surveying` tells whether a part is counted or written.
 *
 *   header --empty line--> part | aside (before the first part of a multipart) | header (of an enclosed message)
 *   any    --delimiter---> header (of the next part) | aside (behind the last)
 *
 * (M1) A line that may be a delimiter is held back until it is whole, so is the line end before it: it is the delimiter's
 *      (RFC 2046 5.1.1). Only a whole line is one, blanks at its end apart, as most readers have it.
 * (M2) What a part becomes is known before its header goes out, because the survey noted it under the part's number; both
 *      passes count the same parts, because nothing of the walk depends on the pass.
 * (M3) Before each octet the stage has room for whatever it may bring about, so nothing here can fail half way. */
#include "smtp/convert.h"

#include "smtp/header.h"

enum { NEW_FIELDS_SIZE_MAX = 128, FIELD_END_SIZE = 2 /* kept for the CRLF that a last field may lack */ };
enum convert_where { IN_HEADER, IN_PART, IN_ASIDE, IN_REST };
enum convert_line_end { LINE_END_NONE, LINE_END_CR, LINE_END_CRLF };
enum convert_action { ACTION_KEEP, ACTION_7BIT, ACTION_QP, ACTION_BASE64, ACTION_MASK = 3, ACTION_NOT_UTF8 = 4 };

static void octet_pass(struct convert *c, uint8_t octet);
static void header_begin(struct convert *c, bool message);

static void put(struct convert *c, struct bytes text)
{
    struct result r = buf_put(&c->stage, text);
    ASSERT(is_ok(r)); /* (M3) */
}

static void put_octet(struct convert *c, uint8_t octet)
{
    struct result r = buf_put_octet(&c->stage, octet);
    ASSERT(is_ok(r));
}

static void refuse(struct convert *c, enum convert_verdict verdict, const char *why)
{
    if (c->verdict != CONVERT_OK)
        return;
    c->verdict = verdict;
    c->why = why;
}

/* --- plan --- */

static void plan_put(struct convert *c, uint8_t action)
{
    if (!c->surveying || action == ACTION_KEEP)
        return;
    if (c->entity.number >= CONVERT_PARTS_MAX)
        refuse(c, CONVERT_SEALED, "the message has too many parts to convert it");
    else
        c->plan[c->entity.number] = action;
    c->size_added += NEW_FIELDS_SIZE_MAX;
}

/* Multiparts and messages hold ASCII alone when their parts do (RFC 2045 6.4). */
static uint8_t action_around(const struct convert *c)
{
    return c->entity.transfer == MIME_8BIT || c->entity.transfer == MIME_BINARY ? ACTION_7BIT : ACTION_KEEP;
}

/* --- parts --- */

static void count_octet(struct convert_count *count, uint8_t octet)
{
    count->size++;
    count->line_size++;
    count->overlong = count->overlong || count->line_size > CONVERT_TEXT_LINE_SIZE_MAX;
    count->eight_bit = count->eight_bit || octet > 127 || octet == 0;
    count->escaped += transfer_is_escaped(octet);
    if (count->utf8_left > 0) {
        count->utf8_left--;
        count->not_utf8 = count->not_utf8 || (octet & 0xc0) != 0x80;
    } else if (octet > 127) {
        count->not_utf8 = count->not_utf8 || octet < 0xc2 || octet > 0xf4;
        count->utf8_left = octet >= 0xf0 ? 3 : octet >= 0xe0 ? 2 : 1;
    }
}

static void part_octet(struct convert *c, uint8_t octet)
{
    if (c->surveying)
        count_octet(&c->count, octet);
    else
        transfer_octet(&c->transfer, octet, &c->stage);
}

static void part_line(struct convert *c)
{
    if (!c->surveying) {
        transfer_line(&c->transfer, &c->stage);
        return;
    }
    c->count.size += 2;
    c->count.lines++;
    c->count.line_size = 0;
}

static void part_take(struct convert *c, uint8_t octet)
{
    uint8_t held = c->line_end;

    c->line_end = LINE_END_NONE;
    c->line_begins = false;
    if (held == LINE_END_CRLF)
        part_line(c);
    if (held == LINE_END_CR && octet == '\n') {
        c->line_end = LINE_END_CRLF;
        c->line_begins = true;
        return;
    }
    if (held == LINE_END_CR)
        part_octet(c, '\r');
    if (octet == '\r')
        c->line_end = LINE_END_CR;
    else
        part_octet(c, octet);
}

static bool part_is_sealed(const struct convert *c)
{
    enum mime_kind kind = c->entity.type.kind;
    return kind == MIME_SEALED || kind == MIME_MULTIPART || kind == MIME_MESSAGE || c->entity.transfer == MIME_ENCODED;
}

/* Text stays readable unless much of it is not ASCII: then base64, a third longer than the text, is the shorter form. */
static uint8_t action_of_text(const struct convert_count *count)
{
    return count->escaped <= count->size / 4 ? ACTION_QP : ACTION_BASE64;
}

/* The survey has seen a part whole. */
static void part_plan(struct convert *c)
{
    const struct convert_count *count = &c->count;

    if (part_is_sealed(c)) {
        if (count->eight_bit)
            refuse(c, CONVERT_SEALED,
                c->entity.type.kind == MIME_SEALED ? "a signed or sealed part holds 8-bit text"
                                                   : "a part holds 8-bit octets against what it says of itself");
        plan_put(c, action_around(c));
        return;
    }
    if (!count->eight_bit && !count->overlong) {
        plan_put(c, action_around(c));
        return;
    }
    bool text = c->entity.type.kind != MIME_OTHER;
    uint8_t action = text ? action_of_text(count) : ACTION_BASE64;
    c->size_added += transfer_size_max(action == ACTION_QP ? TRANSFER_QP : TRANSFER_BASE64, count->size, count->lines,
                         count->escaped) -
                     count->size + 2;
    plan_put(c, action | (count->not_utf8 || count->utf8_left > 0 ? ACTION_NOT_UTF8 : 0));
}

/* content_ends: not a delimiter, whose the last line end would be, but the end of all. */
static void part_end(struct convert *c, bool content_ends)
{
    uint8_t held = c->line_end;

    c->line_end = LINE_END_NONE;
    if (content_ends && held == LINE_END_CR)
        part_octet(c, '\r');
    if (content_ends && held == LINE_END_CRLF)
        part_line(c);
    if (c->surveying) {
        part_plan(c);
        return;
    }
    transfer_end(&c->transfer, &c->stage);
    if (held == LINE_END_CRLF && !content_ends)
        put(c, BYTES("\r\n"));
    else if (c->transfer.kind == TRANSFER_BASE64)
        put(c, BYTES("\r\n"));
}

static void part_begin(struct convert *c)
{
    uint8_t action = c->entity.action & ACTION_MASK;

    c->where = IN_PART;
    c->line_end = LINE_END_NONE;
    c->count = (struct convert_count){.size = 0};
    transfer_init(&c->transfer, action == ACTION_QP       ? TRANSFER_QP
                                : action == ACTION_BASE64 ? TRANSFER_BASE64
                                                          : TRANSFER_PLAIN);
}

/* --- headers --- */

static void transfer_put(struct convert *c)
{
    static const struct bytes words[] = {
        [ACTION_7BIT] = BYTES_INIT("7bit"),
        [ACTION_QP] = BYTES_INIT("quoted-printable"),
        [ACTION_BASE64] = BYTES_INIT("base64"),
    };

    c->entity.transfer_put = true;
    put(c, BYTES("Content-Transfer-Encoding: "));
    put(c, words[c->entity.action & ACTION_MASK]);
    put(c, BYTES("\r\n"));
}

/* What the header must say, and has not. */
static void header_complete(struct convert *c)
{
    const struct convert_entity *e = &c->entity;
    uint8_t action = e->action & ACTION_MASK;

    if (action == ACTION_KEEP)
        return;
    bool encoded = action == ACTION_QP || action == ACTION_BASE64;
    bool utf8 = (e->action & ACTION_NOT_UTF8) == 0;

    if (encoded && e->message && !e->mime_version)
        put(c, BYTES("MIME-Version: 1.0\r\n"));
    if (encoded && e->message && !e->typed)
        put(c, utf8 ? BYTES("Content-Type: text/plain; charset=utf-8\r\n")
                    : BYTES("Content-Type: text/plain; charset=unknown-8bit\r\n"));
    if (!e->transfer_put)
        transfer_put(c);
}

static void body_begin(struct convert *c)
{
    struct convert_entity *e = &c->entity;

    c->line_begins = true;
    c->last = 0;
    if (!c->cfg.bodies) {
        c->where = IN_REST;
        return;
    }
    if (!e->typed && c->default_message && !e->message)
        e->type.kind = MIME_MESSAGE;
    bool identity = e->transfer != MIME_ENCODED;
    if (identity && e->type.kind == MIME_MULTIPART && c->depth < CONVERT_DEPTH_MAX) {
        plan_put(c, action_around(c));
        c->boundaries[c->depth].size = e->type.boundary_size;
        c->boundaries[c->depth].digest = e->type.digest;
        memcpy(c->boundaries[c->depth].text, e->type.boundary, e->type.boundary_size);
        c->depth++;
        c->where = IN_ASIDE;
    } else if (identity && e->type.kind == MIME_MESSAGE) {
        plan_put(c, action_around(c));
        header_begin(c, true);
    } else {
        part_begin(c);
    }
}

static void header_begin(struct convert *c, bool message)
{
    uint32_t number = c->part_count++;

    c->entity = (struct convert_entity){.number = number, .root = number == 0, .message = message};
    if (!c->surveying && number < CONVERT_PARTS_MAX)
        c->entity.action = c->plan[number];
    c->where = IN_HEADER;
    c->line_begins = true;
    c->last = 0;
    buf_reset(&c->field);
}

static void field_downgrade(struct convert *c, struct bytes whole)
{
    struct downgrade_config cfg = {.domain = c->cfg.domain, .rename = !c->entity.root};
    struct buf out;

    buf_init(&out, c->stage.data + c->stage.size, CONVERT_FIELD_OUT_SIZE_MAX);
    struct result r = downgrade_field(&cfg, whole, &c->scratch, &out);
    if (is_ok(r)) {
        c->stage.size += out.size;
        c->size_added += c->surveying && out.size > whole.size ? out.size - whole.size : 0;
    } else if (r.code == CODE_REFUSED) {
        refuse(c, CONVERT_UTF8, "an address in the header cannot be written in ASCII");
    } else {
        refuse(c, CONVERT_SEALED, "a header field with 8-bit text is too long to convert it");
    }
}

/* What the field says of the part, noted. False: it is replaced by another. */
static bool field_note(struct convert *c, struct bytes name, struct bytes value)
{
    struct convert_entity *e = &c->entity;

    if (bytes_equal_nocase(name, BYTES("Content-Transfer-Encoding"))) {
        if (!e->transfer_seen)
            e->transfer = mime_transfer_read(value);
        e->transfer_seen = true;
        return (e->action & ACTION_MASK) == ACTION_KEEP;
    }
    if (bytes_equal_nocase(name, BYTES("Content-Type"))) {
        if (!e->typed)
            mime_type_read(value, &e->type);
        e->typed = true;
    }
    e->mime_version = e->mime_version || bytes_equal_nocase(name, BYTES("MIME-Version"));
    return true;
}

static void field_end(struct convert *c)
{
    struct bytes whole = buf_bytes(&c->field), rest = whole;
    struct header_field field;
    struct result r = header_next(&rest, &field);

    ASSERT(is_ok(r));
    buf_reset(&c->field);
    if (!field_note(c, field.name, field.value)) {
        if (!c->entity.transfer_put)
            transfer_put(c);
        return;
    }
    if (bytes_has_8bit(whole))
        field_downgrade(c, whole);
    else
        put(c, whole);
}

/* The header is over; `empty_line`: by one, else by a line that is none of its: then the empty line is put in, or what follows
 * could become a field by being changed. */
static void header_over(struct convert *c, bool empty_line)
{
    header_complete(c);
    put(c, BYTES("\r\n"));
    c->size_added += c->surveying && !empty_line ? 2 : 0;
    body_begin(c);
}

/* What is held is no field, but the first line of the body. */
static void header_over_by_text(struct convert *c)
{
    c->replay = buf_bytes(&c->field);
    header_over(c, false);
    buf_reset(&c->field);
}

/* The field has outgrown its room: it passes as it is. */
static void field_overflow(struct convert *c)
{
    struct bytes held = buf_bytes(&c->field), name = header_line_name(held);

    if (name.size == 0) {
        header_over_by_text(c);
        return;
    }
    if (bytes_equal_nocase(name, BYTES("Content-Type"))) {
        c->entity.type.kind = MIME_SEALED;
        c->entity.typed = true;
    }
    if (bytes_has_8bit(held))
        refuse(c, CONVERT_SEALED, "a header field with 8-bit text is too long to convert it");
    put(c, held);
    buf_reset(&c->field);
    c->entity.overlong = true;
}

/* A line begins within the header: a fold, or the end of the field before. */
static void header_line_begin(struct convert *c, bool blank)
{
    c->line_begins = false;
    if (blank)
        return;
    if (c->entity.overlong)
        c->entity.overlong = false;
    else if (c->field.size > 0)
        field_end(c);
}

static void header_take(struct convert *c, uint8_t octet)
{
    if (c->line_begins)
        header_line_begin(c, octet == ' ' || octet == '\t');
    bool line_ends = c->last == '\r' && octet == '\n';
    c->last = octet;
    c->line_begins = line_ends;
    if (c->entity.overlong) {
        if (octet > 127)
            refuse(c, CONVERT_SEALED, "a header field with 8-bit text is too long to convert it");
        put_octet(c, octet);
        return;
    }
    struct result r = buf_put_octet(&c->field, octet);
    ASSERT(is_ok(r));
    struct bytes held = buf_bytes(&c->field);
    bool first_line = line_ends && bytes_find(held, BYTES("\r\n")) + 2 == (ptrdiff_t)held.size;
    if (first_line && held.size == 2) {
        buf_reset(&c->field);
        header_over(c, true);
    } else if (first_line && !header_line_is_field(held)) {
        header_over_by_text(c);
    } else if (buf_left(&c->field) <= FIELD_END_SIZE) {
        field_overflow(c);
    }
}

/* --- delimiters --- */

static void aside_take(struct convert *c, uint8_t octet)
{
    c->line_begins = c->last == '\r' && octet == '\n';
    c->last = octet;
    put_octet(c, octet > 127 ? '?' : octet);
}

/* Whether the line is a delimiter of the multipart at this level: 1 between parts, 2 the last, 0 none. */
static unsigned delimiter_kind(const struct convert *c, struct bytes line, unsigned level)
{
    struct bytes boundary = {c->boundaries[level].text, c->boundaries[level].size};

    if (!bytes_starts(line, boundary))
        return 0;
    line = bytes_after(line, boundary.size);
    return line.size == 0 ? 1 : bytes_equal(line, BYTES("--")) ? 2 : 0;
}

/* Takes the line in c->hold for a delimiter, if it is one; the innermost multipart is asked first. */
static bool delimiter_take(struct convert *c)
{
    struct bytes whole = buf_bytes(&c->hold), line = bytes_head(whole, whole.size - 2);
    unsigned kind = 0, level = c->depth;

    while (line.size > 0 && (line.data[line.size - 1] == ' ' || line.data[line.size - 1] == '\t'))
        line.size--;
    while (kind == 0 && level > 0)
        kind = delimiter_kind(c, bytes_after(line, 2), --level);
    if (kind == 0)
        return false;
    if (c->where == IN_PART)
        part_end(c, false);
    else if (c->where == IN_HEADER && c->field.size > 0)
        field_end(c);
    put(c, whole);
    c->holding = false;
    if (kind == 1) {
        c->depth = level + 1;
        c->default_message = c->boundaries[level].digest;
        header_begin(c, false);
    } else {
        c->depth = level;
        c->where = IN_ASIDE;
        c->line_begins = true;
        c->last = 0;
    }
    return true;
}

/* The line is none. */
static void hold_release(struct convert *c)
{
    c->holding = false;
    for (size_t i = 0; i < c->hold.size; i++)
        octet_pass(c, c->hold.data[i]);
}

static void hold_take(struct convert *c, uint8_t octet)
{
    struct result r = buf_put_octet(&c->hold, octet);
    ASSERT(is_ok(r));
    size_t size = c->hold.size;
    bool whole = size >= 2 && octet == '\n' && c->hold.data[size - 2] == '\r';
    if (whole && size >= 4 && c->hold.data[1] == '-' && delimiter_take(c))
        return;
    if (whole || buf_left(&c->hold) == 0 || (size == 2 && octet != '-'))
        hold_release(c);
}

/* --- the walk --- */

/* An octet that belongs to no delimiter. */
static void octet_pass(struct convert *c, uint8_t octet)
{
    switch ((enum convert_where)c->where) {
    case IN_HEADER:
        header_take(c, octet);
        break;
    case IN_PART:
        part_take(c, octet);
        break;
    case IN_ASIDE:
        aside_take(c, octet);
        break;
    case IN_REST:
        put_octet(c, octet);
        break;
    }
}

static void octet_take(struct convert *c, uint8_t octet)
{
    if (!c->holding && c->line_begins && c->depth > 0 && octet == '-') {
        c->holding = true;
        buf_reset(&c->hold);
    }
    if (c->holding)
        hold_take(c, octet);
    else
        octet_pass(c, octet);
}

/* Octets that were held for a field and are body: at most one line, which may be the first delimiter of this body. */
static void replay(struct convert *c)
{
    while (c->replay.size > 0 && buf_left(&c->stage) >= CONVERT_STEP_SIZE_MAX) {
        uint8_t octet = c->replay.data[0];
        c->replay = bytes_after(c->replay, 1);
        octet_take(c, octet);
    }
}

static void pass_begin(struct convert *c)
{
    c->ended = c->holding = c->default_message = false;
    c->depth = 0;
    c->part_count = 0;
    c->replay = BYTES_NONE;
    buf_init(&c->hold, c->hold_room, sizeof c->hold_room);
    buf_init(&c->field, c->field_room, sizeof c->field_room);
    buf_init(&c->scratch, c->scratch_room, sizeof c->scratch_room);
    buf_init(&c->stage, c->stage_room, sizeof c->stage_room);
    header_begin(c, true);
}

void convert_init(struct convert *c, const struct convert_config *cfg)
{
    memset(c, 0, offsetof(struct convert, hold_room));
    c->cfg = *cfg;
    c->surveying = true;
    c->size_added = FIELD_END_SIZE;
    pass_begin(c);
}

/* The headers that the survey writes go nowhere. */
bool convert_survey(struct convert *c, struct bytes content)
{
    while (content.size > 0 && c->verdict == CONVERT_OK && c->where != IN_REST)
        (void)convert_feed(c, &content);
    return c->verdict == CONVERT_OK && c->where != IN_REST;
}

void convert_survey_end(struct convert *c)
{
    while (!c->ended)
        (void)convert_end(c);
}

void convert_begin(struct convert *c)
{
    ASSERT(c->verdict == CONVERT_OK);
    c->surveying = false;
    pass_begin(c);
}

struct bytes convert_feed(struct convert *c, struct bytes *content)
{
    buf_reset(&c->stage);
    replay(c);
    while (content->size > 0 && c->replay.size == 0 && buf_left(&c->stage) >= CONVERT_STEP_SIZE_MAX) {
        uint8_t octet = content->data[0];
        *content = bytes_after(*content, 1);
        octet_take(c, octet);
        replay(c);
    }
    return buf_bytes(&c->stage);
}

struct bytes convert_end(struct convert *c)
{
    buf_reset(&c->stage);
    while (!c->ended && buf_left(&c->stage) >= CONVERT_STEP_SIZE_MAX) {
        if (c->replay.size > 0) {
            replay(c);
        } else if (c->holding) {
            hold_release(c);
        } else if (c->where == IN_HEADER && c->field.size > 0) {
            if (!header_line_is_field(buf_bytes(&c->field))) {
                header_over_by_text(c);
            } else {
                struct result r = c->line_begins ? OK : buf_put(&c->field, BYTES("\r\n"));
                ASSERT(is_ok(r));
                field_end(c);
            }
        } else {
            if (c->where == IN_PART)
                part_end(c, true);
            c->ended = true;
        }
    }
    return buf_bytes(&c->stage);
}
