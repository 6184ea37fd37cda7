#include "smtp/downgrade.h"

#include "smtp/encoded_word.h"
#include "smtp/field_lex.h"
#include "smtp/header.h"

enum field_shape { SHAPE_TEXT, SHAPE_ADDRESSES, SHAPE_PARAMETERS, SHAPE_RECEIVED, SHAPE_TOKENS };

struct downgrade {
    const struct downgrade_config *cfg;
    struct buf *scratch, *out;
};

static enum field_shape shape_of(struct bytes name)
{
    static const struct {
        struct bytes name;
        enum field_shape shape;
    } names[] = {
        {BYTES_INIT("Content-Type"), SHAPE_PARAMETERS},
        {BYTES_INIT("Content-Disposition"), SHAPE_PARAMETERS},
        {BYTES_INIT("Content-Transfer-Encoding"), SHAPE_PARAMETERS}, /* whatever it says is not to change */
        {BYTES_INIT("MIME-Version"), SHAPE_PARAMETERS},
        {BYTES_INIT("Received"), SHAPE_RECEIVED},
        {BYTES_INIT("List-Id"), SHAPE_ADDRESSES},
        {BYTES_INIT("Errors-To"), SHAPE_ADDRESSES},
        {BYTES_INIT("Disposition-Notification-To"), SHAPE_ADDRESSES},
        {BYTES_INIT("Return-Receipt-To"), SHAPE_ADDRESSES},
        {BYTES_INIT("Mail-Followup-To"), SHAPE_ADDRESSES},
        {BYTES_INIT("Mail-Reply-To"), SHAPE_ADDRESSES},
        {BYTES_INIT("In-Reply-To"), SHAPE_TOKENS},
        {BYTES_INIT("References"), SHAPE_TOKENS},
        {BYTES_INIT("Return-Path"), SHAPE_TOKENS},
        {BYTES_INIT("Delivered-To"), SHAPE_TOKENS},
        {BYTES_INIT("X-Original-To"), SHAPE_TOKENS},
        {BYTES_INIT("Content-ID"), SHAPE_TOKENS},
        {BYTES_INIT("Content-Location"), SHAPE_TOKENS},
        {BYTES_INIT("DKIM-Signature"), SHAPE_TOKENS},
        {BYTES_INIT("Received-SPF"), SHAPE_TOKENS},
        {BYTES_INIT("Authentication-Results"), SHAPE_TOKENS},
    };
    enum header_kind kind = header_kind_of(name);

    if (kind != HEADER_OTHER)
        return header_kind_has_addresses(kind) ? SHAPE_ADDRESSES : SHAPE_TOKENS;
    if (bytes_starts_nocase(name, BYTES("ARC-")))
        return SHAPE_TOKENS;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (bytes_equal_nocase(name, names[i].name))
            return names[i].shape;
    return SHAPE_TEXT;
}

static bool is_blank(uint8_t o)
{
    return o == ' ' || o == '\t' || o == '\r' || o == '\n';
}

static bool is_special(struct field_token token, uint8_t octet)
{
    return token.kind == FIELD_SPECIAL && token.text.data[0] == octet;
}

/* Octets that have no form of their own here. */
static RESULT masked_put(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        TRY(buf_put_octet(out, text.data[i] > 127 ? '?' : text.data[i]));
    return OK;
}

static RESULT comment_put(struct downgrade *d, struct bytes comment)
{
    if (!bytes_has_8bit(comment))
        return buf_put(d->out, comment);
    buf_reset(d->scratch);
    TRY(field_unquote(comment, d->scratch));
    TRY(buf_put_octet(d->out, '('));
    TRY(encoded_word_put(d->out, buf_bytes(d->scratch)));
    return buf_put_octet(d->out, ')');
}

/* --- text --- */

/* The first word of the text (what stands before it are blanks); empty: there is none. */
static struct bytes word_first(struct bytes text)
{
    size_t at = 0, size = 0;

    while (at < text.size && is_blank(text.data[at]))
        at++;
    text = bytes_after(text, at);
    while (size < text.size && !is_blank(text.data[size]))
        size++;
    return bytes_head(text, size);
}

/* How much of the text, which begins with a word that is not ASCII, goes into encoded words: up to its last word that is not,
 * but not over one that is encoded already. */
static size_t run_size(struct bytes text)
{
    struct bytes word = word_first(text);
    size_t size = word.size;

    for (struct bytes rest = bytes_after(text, size);;) {
        word = word_first(rest);
        if (word.size == 0 || (!bytes_has_8bit(word) && encoded_word_is(word)))
            return size;
        rest = bytes_after(rest, (size_t)(word.data - rest.data) + word.size);
        if (bytes_has_8bit(word))
            size = text.size - rest.size;
    }
}

static RESULT text_put(struct downgrade *d, struct bytes text)
{
    bool encoded_before = false;

    while (text.size > 0) {
        struct bytes word = word_first(text);
        size_t blanks = word.size == 0 ? text.size : (size_t)(word.data - text.data);

        TRY(buf_put(d->out, bytes_head(text, blanks)));
        text = bytes_after(text, blanks);
        if (!bytes_has_8bit(word)) {
            TRY(buf_put(d->out, word));
            text = bytes_after(text, word.size);
            encoded_before = encoded_word_is(word);
            continue;
        }
        struct bytes run = bytes_head(text, run_size(text));
        text = bytes_after(text, run.size);
        buf_reset(d->scratch);
        if (encoded_before)
            TRY(buf_put_octet(d->scratch, ' '));
        TRY(field_unfold(run, d->scratch));
        struct bytes next = word_first(text);
        if (!bytes_has_8bit(next) && encoded_word_is(next))
            TRY(buf_put_octet(d->scratch, ' '));
        TRY(encoded_word_put(d->out, buf_bytes(d->scratch)));
        encoded_before = false;
    }
    return OK;
}

/* --- addresses --- */

/* A name: all of it becomes words when any of it must. */
static RESULT phrase_run_put(struct downgrade *d, struct bytes run, bool more)
{
    struct bytes rest = run, last = BYTES_NONE;
    struct field_token token;

    if (!bytes_has_8bit(run))
        return buf_put(d->out, run);
    buf_reset(d->scratch);
    for (bool first = true; field_lex_next(&rest, FIELD_LEX_ADDRESS, &token); first = false) {
        last = token.kind == FIELD_BLANK ? token.text : BYTES_NONE;
        if (first && token.kind == FIELD_BLANK)
            TRY(buf_put(d->out, token.text));
        else if (token.kind == FIELD_QUOTED)
            TRY(field_unquote(token.text, d->scratch));
        else if (token.kind != FIELD_BLANK || rest.size > 0)
            TRY(field_unfold(token.text, d->scratch));
    }
    if (d->out->size > 0 && !is_blank(d->out->data[d->out->size - 1]))
        TRY(buf_put_octet(d->out, ' '));
    TRY(encoded_word_put(d->out, buf_bytes(d->scratch)));
    if (last.size > 0)
        return buf_put(d->out, last);
    return more ? buf_put_octet(d->out, ' ') : OK;
}

/* `more`: something follows it that must not touch a word. */
static RESULT phrase_put(struct downgrade *d, struct bytes phrase, bool more)
{
    struct bytes rest = phrase;
    struct field_token token;
    size_t begin = 0;

    while (field_lex_next(&rest, FIELD_LEX_ADDRESS, &token)) {
        size_t at = (size_t)(token.text.data - phrase.data);
        if (token.kind != FIELD_COMMENT)
            continue;
        TRY(phrase_run_put(d, bytes_head(bytes_after(phrase, begin), at - begin), true));
        TRY(comment_put(d, token.text));
        begin = at + token.text.size;
    }
    return phrase_run_put(d, bytes_after(phrase, begin), more);
}

/* local@domain, with or without its angle brackets. */
static RESULT addr_spec_put(struct downgrade *d, struct bytes text)
{
    struct bytes rest = text;
    struct field_token token;
    const uint8_t *at = NULL;

    while (field_lex_next(&rest, FIELD_LEX_ADDRESS, &token))
        if (is_special(token, '@'))
            at = token.text.data;
    for (rest = text; field_lex_next(&rest, FIELD_LEX_ADDRESS, &token);) {
        if (!bytes_has_8bit(token.text))
            TRY(buf_put(d->out, token.text));
        else if (token.kind == FIELD_COMMENT)
            TRY(comment_put(d, token.text));
        else if (token.kind != FIELD_WORD || at == NULL || token.text.data < at)
            return FAIL(CODE_REFUSED, "a local part that is not ASCII");
        else if (!is_ok(d->cfg->domain(token.text, d->out)))
            return FAIL(CODE_REFUSED, "a domain without an ASCII form");
    }
    return OK;
}

/* A mailbox or a group's name, up to the comma, semicolon or colon that ends it. */
static RESULT mailbox_put(struct downgrade *d, struct bytes text)
{
    struct bytes rest = text;
    struct field_token token;
    size_t angle = text.size, angle_end = text.size;
    bool has_at = false;

    if (!bytes_has_8bit(text))
        return buf_put(d->out, text);
    while (field_lex_next(&rest, FIELD_LEX_ADDRESS, &token)) {
        size_t at = (size_t)(token.text.data - text.data);
        if (is_special(token, '<') && angle == text.size)
            angle = at;
        else if (is_special(token, '>') && angle < text.size)
            angle_end = at + 1;
        has_at = has_at || is_special(token, '@');
    }
    if (angle == text.size)
        return has_at ? addr_spec_put(d, text) : phrase_put(d, text, true);
    TRY(phrase_put(d, bytes_head(text, angle), true));
    TRY(addr_spec_put(d, bytes_head(bytes_after(text, angle), angle_end - angle)));
    return phrase_put(d, bytes_after(text, angle_end), false);
}

static RESULT addresses_put(struct downgrade *d, struct bytes value)
{
    struct bytes rest = value;
    struct field_token token;
    size_t begin = 0;
    bool in_angle = false;

    while (field_lex_next(&rest, FIELD_LEX_ADDRESS, &token)) {
        size_t at = (size_t)(token.text.data - value.data);
        if (is_special(token, '<') || is_special(token, '>'))
            in_angle = is_special(token, '<');
        bool ends = !in_angle && (is_special(token, ',') || is_special(token, ';') || is_special(token, ':'));
        if (!ends)
            continue;
        TRY(mailbox_put(d, bytes_head(bytes_after(value, begin), at - begin)));
        TRY(buf_put(d->out, token.text));
        begin = at + 1;
    }
    return mailbox_put(d, bytes_after(value, begin));
}

/* --- parameters --- */

/* The one word that stands before "=", without the blanks and folds behind it, of which none may get between it and its value;
 * nothing when there is more than one. */
static struct bytes name_before(struct bytes text)
{
    size_t size = 0;

    while (size < text.size && !is_blank(text.data[size]))
        size++;
    for (size_t i = size; i < text.size; i++)
        if (!is_blank(text.data[i]))
            return BYTES_NONE;
    return bytes_head(text, size);
}

static RESULT parameter_put(struct downgrade *d, struct bytes text)
{
    struct bytes rest = text, name = word_first(text);
    struct field_token token = {.text = text};

    if (!bytes_has_8bit(text))
        return buf_put(d->out, text);
    ptrdiff_t equals = bytes_index(text, '=');
    if (equals == BYTES_NOT_FOUND || bytes_has_8bit(bytes_head(text, (size_t)equals)) || name.size == 0)
        return masked_put(d->out, text);
    size_t blanks = (size_t)(name.data - text.data);
    name = name_before(bytes_after(bytes_head(text, (size_t)equals), blanks));
    if (name.size == 0)
        return masked_put(d->out, text);
    rest = bytes_after(text, (size_t)equals + 1);
    buf_reset(d->scratch);
    struct bytes value = word_first(rest);
    while (field_lex_next(&rest, "", &token) && token.kind == FIELD_BLANK)
        ;
    if (token.kind == FIELD_QUOTED)
        value = token.text;
    if (!bytes_has_8bit(value)) /* nor is what stands behind it a value */
        return masked_put(d->out, text);
    TRY(token.kind == FIELD_QUOTED ? field_unquote(value, d->scratch) : buf_put(d->scratch, value));
    TRY(buf_put(d->out, bytes_head(text, blanks)));
    if (bytes_ends_nocase(name, BYTES("*"))) /* encoded, and badly */
        name = bytes_head(name, name.size - 1);
    return encoded_parameter_put(d->out, name, buf_bytes(d->scratch));
}

static RESULT parameters_put(struct downgrade *d, struct bytes value)
{
    struct bytes rest = value;
    struct field_token token;
    size_t begin = 0;
    bool first = true;

    for (bool more = true; more;) {
        more = field_lex_next(&rest, FIELD_LEX_MIME, &token);
        if (more && !is_special(token, ';'))
            continue;
        size_t end = more ? (size_t)(token.text.data - value.data) : value.size;
        struct bytes part = bytes_head(bytes_after(value, begin), end - begin);
        TRY(first ? masked_put(d->out, part) : parameter_put(d, part));
        if (more)
            TRY(buf_put_octet(d->out, ';'));
        first = false;
        begin = end + 1;
    }
    return OK;
}

/* --- Received --- */

/* "for <address>" at the start of the text, when the address is not ASCII; 0: another thing. */
static size_t for_clause_size(struct bytes text)
{
    struct bytes rest = text;
    struct field_token token;

    if (!field_lex_next(&rest, FIELD_LEX_ADDRESS, &token) || !bytes_equal_nocase(token.text, BYTES("for")) ||
        !field_lex_next(&rest, FIELD_LEX_ADDRESS, &token) || token.kind != FIELD_BLANK ||
        !field_lex_next(&rest, FIELD_LEX_ADDRESS, &token) || !is_special(token, '<'))
        return 0;
    while (!is_special(token, '>'))
        if (!field_lex_next(&rest, FIELD_LEX_ADDRESS, &token))
            return 0;
    size_t size = text.size - rest.size;
    return bytes_has_8bit(bytes_head(text, size)) ? size : 0;
}

static RESULT received_put_ascii(struct downgrade *d, struct bytes value)
{
    struct bytes rest = value, blank = BYTES_NONE;
    struct field_token token;

    while (rest.size > 0) {
        size_t clause = for_clause_size(rest), before = d->out->size;

        if (clause > 0) {
            rest = bytes_after(rest, clause);
            blank = BYTES_NONE;
            continue;
        }
        TRY(buf_put(d->out, blank));
        blank = BYTES_NONE;
        before = d->out->size;
        (void)field_lex_next(&rest, FIELD_LEX_ADDRESS, &token);
        if (token.kind == FIELD_BLANK) {
            blank = token.text;
        } else if (token.kind == FIELD_COMMENT) {
            TRY(comment_put(d, token.text));
        } else if (!bytes_has_8bit(token.text)) {
            TRY(buf_put(d->out, token.text));
        } else if (!is_ok(d->cfg->domain(token.text, d->out))) {
            d->out->size = before;
            TRY(masked_put(d->out, token.text));
        }
    }
    return buf_put(d->out, blank);
}

/* --- */

static RESULT renamed_put(struct downgrade *d, const struct header_field *field)
{
    buf_reset(d->out);
    TRY(buf_put(d->out, BYTES("Downgraded-")));
    TRY(buf_put(d->out, field->name));
    TRY(buf_put_octet(d->out, ':'));
    return text_put(d, field->value);
}

static RESULT value_put(struct downgrade *d, const struct header_field *field)
{
    switch (shape_of(field->name)) {
    case SHAPE_TEXT:
        return text_put(d, field->value);
    case SHAPE_ADDRESSES:
        return addresses_put(d, field->value);
    case SHAPE_PARAMETERS:
        return parameters_put(d, field->value);
    case SHAPE_RECEIVED:
        return received_put_ascii(d, field->value);
    case SHAPE_TOKENS:
        break;
    }
    return renamed_put(d, field);
}

RESULT
downgrade_field(const struct downgrade_config *cfg, struct bytes whole, struct buf *scratch, struct buf *out)
{
    struct downgrade d = {cfg, scratch, out};
    struct header_field field;
    struct bytes rest = whole;

    TRY(header_next(&rest, &field));
    ASSERT(rest.size == 0);
    TRY(buf_put(out, bytes_head(whole, (size_t)(field.value.data - whole.data))));
    struct result r = value_put(&d, &field);
    if (r.code == CODE_REFUSED && cfg->rename)
        r = renamed_put(&d, &field);
    TRY(r);
    return buf_put(out, BYTES("\r\n"));
}
