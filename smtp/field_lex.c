#include "smtp/field_lex.h"

static bool is_blank(uint8_t o)
{
    return o == ' ' || o == '\t' || o == '\r' || o == '\n';
}

/* The size of what begins with a frame's first octet. */
static size_t framed_size(struct bytes in, uint8_t first, uint8_t closing)
{
    size_t depth = 0;

    for (size_t i = 0; i < in.size; i++) {
        uint8_t o = in.data[i];

        if (o == '\\')
            i++;
        else if (o == closing && (depth == 1 || first == closing) && i > 0)
            return i + 1;
        else if (o == first)
            depth++;
        else if (o == closing)
            depth--;
    }
    return in.size;
}

bool field_lex_next(struct bytes *rest, const char *specials, struct field_token *token_out)
{
    struct bytes in = *rest, special = bytes_of(specials);
    size_t size = 1;

    if (in.size == 0)
        return false;
    if (is_blank(in.data[0])) {
        token_out->kind = FIELD_BLANK;
        while (size < in.size && is_blank(in.data[size]))
            size++;
    } else if (in.data[0] == '(') {
        token_out->kind = FIELD_COMMENT;
        size = framed_size(in, '(', ')');
    } else if (in.data[0] == '"') {
        token_out->kind = FIELD_QUOTED;
        size = framed_size(in, '"', '"');
    } else if (in.data[0] == '[') {
        token_out->kind = FIELD_LITERAL;
        size = framed_size(in, '[', ']');
    } else if (bytes_index(special, in.data[0]) != BYTES_NOT_FOUND) {
        token_out->kind = FIELD_SPECIAL;
    } else {
        token_out->kind = FIELD_WORD;
        while (size < in.size && !is_blank(in.data[size]) && in.data[size] != '(' && in.data[size] != '"' &&
               in.data[size] != '[' && bytes_index(special, in.data[size]) == BYTES_NOT_FOUND)
            size++;
    }
    token_out->text = bytes_head(in, size);
    *rest = bytes_after(in, size);
    return true;
}

RESULT
field_unquote(struct bytes text, struct buf *out)
{
    uint8_t closing = text.size == 0 ? 0 : text.data[0] == '(' ? ')' : text.data[0];

    for (size_t i = 1; i < text.size; i++) {
        uint8_t o = text.data[i];

        if (i + 1 == text.size && o == closing)
            break;
        if (o == '\\' && i + 1 < text.size)
            o = text.data[++i];
        if (o != '\r' && o != '\n')
            TRY(buf_put_octet(out, o));
    }
    return OK;
}

RESULT
field_unfold(struct bytes text, struct buf *out)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '\r' && text.data[i] != '\n')
            TRY(buf_put_octet(out, text.data[i]));
    return OK;
}
