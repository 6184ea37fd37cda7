#include "smtp/mime.h"

#include "smtp/field_lex.h"

/* The next token that is neither blank nor comment. */
static bool token_next(struct bytes *rest, struct field_token *token_out)
{
    while (field_lex_next(rest, FIELD_LEX_MIME, token_out))
        if (token_out->kind != FIELD_BLANK && token_out->kind != FIELD_COMMENT)
            return true;
    return false;
}

static bool is_special(struct field_token token, uint8_t octet)
{
    return token.kind == FIELD_SPECIAL && token.text.data[0] == octet;
}

/* What stands behind the "=": quoted, or up to a blank or semicolon. Many writers leave the quotes out although there are
 * octets in it that need them. */
static struct bytes value_take(struct bytes *rest, struct buf *room)
{
    struct field_token token;
    struct bytes before = *rest;
    size_t size = 0;

    if (!token_next(rest, &token))
        return BYTES_NONE;
    if (token.kind == FIELD_QUOTED)
        return is_ok(field_unquote(token.text, room)) ? buf_bytes(room) : BYTES_NONE;
    before = bytes_after(before, (size_t)(token.text.data - before.data));
    while (size < before.size && before.data[size] > ' ' && before.data[size] != ';' && before.data[size] != 127)
        size++;
    *rest = bytes_after(before, size);
    return bytes_head(before, size);
}

static void boundary_keep(struct mime_type *type, struct bytes value)
{
    value = bytes_trim(value);
    if (value.size == 0 || value.size > sizeof type->boundary || bytes_has_8bit(value))
        return;
    memcpy(type->boundary, value.data, value.size);
    type->boundary_size = (uint8_t)value.size;
}

static void boundary_find(struct bytes rest, struct mime_type *type)
{
    uint8_t octets[512];
    struct field_token token, name;

    while (token_next(&rest, &token)) {
        struct buf room = BUF(octets);

        if (!is_special(token, ';'))
            continue;
        if (!token_next(&rest, &name) || name.kind != FIELD_WORD || !token_next(&rest, &token) ||
            !is_special(token, '='))
            continue;
        struct bytes value = value_take(&rest, &room);
        if (bytes_equal_nocase(name.text, BYTES("boundary"))) {
            boundary_keep(type, value);
            return;
        }
    }
}

static enum mime_kind message_kind(struct bytes subtype)
{
    if (bytes_equal_nocase(subtype, BYTES("rfc822")))
        return MIME_MESSAGE;
    /* RFC 2046 5.2.2, 5.2.3: 7-bit whatever happens. */
    if (bytes_equal_nocase(subtype, BYTES("partial")) || bytes_equal_nocase(subtype, BYTES("external-body")))
        return MIME_SEALED;
    /* RFC 6532 3.7: any encoding may be used. */
    return bytes_equal_nocase(subtype, BYTES("global")) ? MIME_OTHER : MIME_REPORT;
}

void mime_type_read(struct bytes value, struct mime_type *type_out)
{
    struct field_token token, subtype;
    struct bytes rest = value;

    *type_out = (struct mime_type){.kind = MIME_TEXT};
    if (!token_next(&rest, &token) || token.kind != FIELD_WORD)
        return;
    struct bytes type = token.text;
    if (!token_next(&rest, &token) || !is_special(token, '/') || !token_next(&rest, &subtype) ||
        subtype.kind != FIELD_WORD)
        return;
    if (bytes_equal_nocase(type, BYTES("text")))
        return;
    if (bytes_equal_nocase(type, BYTES("message"))) {
        type_out->kind = message_kind(subtype.text);
        return;
    }
    if (!bytes_equal_nocase(type, BYTES("multipart"))) {
        type_out->kind = MIME_OTHER;
        return;
    }
    boundary_find(rest, type_out);
    bool sealed = type_out->boundary_size == 0 || bytes_equal_nocase(subtype.text, BYTES("signed")) ||
                  bytes_equal_nocase(subtype.text, BYTES("encrypted"));
    type_out->kind = sealed ? MIME_SEALED : MIME_MULTIPART;
    type_out->digest = bytes_equal_nocase(subtype.text, BYTES("digest"));
}

enum mime_transfer mime_transfer_read(struct bytes value)
{
    static const struct {
        struct bytes word;
        enum mime_transfer transfer;
    } words[] = {
        {BYTES_INIT("7bit"), MIME_7BIT},
        {BYTES_INIT("8bit"), MIME_8BIT},
        {BYTES_INIT("binary"), MIME_BINARY},
    };
    struct field_token token;
    size_t size = 0;

    if (!token_next(&value, &token))
        return MIME_7BIT;
    while (size < token.text.size && token.text.data[size] < 128) /* no octet above belongs to a word (RFC 2045 5.1) */
        size++;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (bytes_equal_nocase(bytes_head(token.text, size), words[i].word))
            return words[i].transfer;
    return MIME_ENCODED;
}
