#include "smtp/header.h"

static const struct {
    struct bytes name;
    bool addresses;
} KINDS[HEADER_KIND_COUNT] = {
    [HEADER_FROM] = {BYTES_INIT("From"), true},
    [HEADER_SENDER] = {BYTES_INIT("Sender"), true},
    [HEADER_REPLY_TO] = {BYTES_INIT("Reply-To"), true},
    [HEADER_TO] = {BYTES_INIT("To"), true},
    [HEADER_CC] = {BYTES_INIT("Cc"), true},
    [HEADER_BCC] = {BYTES_INIT("Bcc"), true},
    [HEADER_DATE] = {BYTES_INIT("Date"), false},
    [HEADER_MESSAGE_ID] = {BYTES_INIT("Message-ID"), false},
    [HEADER_RESENT_FROM] = {BYTES_INIT("Resent-From"), true},
    [HEADER_RESENT_SENDER] = {BYTES_INIT("Resent-Sender"), true},
    [HEADER_RESENT_TO] = {BYTES_INIT("Resent-To"), true},
    [HEADER_RESENT_CC] = {BYTES_INIT("Resent-Cc"), true},
    [HEADER_RESENT_BCC] = {BYTES_INIT("Resent-Bcc"), true},
    [HEADER_RESENT_DATE] = {BYTES_INIT("Resent-Date"), false},
    [HEADER_RESENT_MESSAGE_ID] = {BYTES_INIT("Resent-Message-ID"), false},
};

struct bytes header_line_name(struct bytes line)
{
    size_t size = 0, blanks;

    /* RFC 5322 2.2: printable ASCII but the colon. 8-bit octets make it text, not a field. */
    while (size < line.size && line.data[size] > 32 && line.data[size] < 127 && line.data[size] != ':')
        size++;
    blanks = size;
    while (blanks < line.size && (line.data[blanks] == ' ' || line.data[blanks] == '\t'))
        blanks++;
    if (size == 0 || blanks == line.size || line.data[blanks] != ':')
        return BYTES_NONE;
    return bytes_head(line, size);
}

bool header_line_is_field(struct bytes line)
{
    return header_line_name(line).size > 0;
}

/* With its CRLF when there is one. */
static size_t line_size(struct bytes in)
{
    size_t at = 0;

    for (;;) {
        ptrdiff_t end = bytes_index(bytes_after(in, at), '\n');

        if (end == BYTES_NOT_FOUND)
            return in.size;
        at += (size_t)end + 1;
        if (at >= 2 && in.data[at - 2] == '\r')
            return at;
    }
}

RESULT header_next(struct bytes *rest, struct header_field *field_out)
{
    size_t size = line_size(*rest);
    struct bytes name = header_line_name(bytes_head(*rest, size)), whole;

    if (name.size == 0)
        return FAIL(CODE_GONE, "no field here");
    while (size < rest->size && (rest->data[size] == ' ' || rest->data[size] == '\t'))
        size += line_size(bytes_after(*rest, size));
    whole = bytes_head(*rest, size);
    field_out->name = name;
    field_out->whole = whole;
    field_out->value = bytes_after(whole, (size_t)bytes_index(whole, ':') + 1);
    if (bytes_ends_nocase(field_out->value, BYTES("\r\n")))
        field_out->value.size -= 2;
    *rest = bytes_after(*rest, size);
    return OK;
}

enum header_kind header_kind_of(struct bytes name)
{
    for (unsigned kind = HEADER_OTHER + 1; kind < HEADER_KIND_COUNT; kind++)
        if (bytes_equal_nocase(name, KINDS[kind].name))
            return kind;
    return HEADER_OTHER;
}

bool header_kind_is_resent(enum header_kind kind)
{
    return kind >= HEADER_RESENT_FROM && kind < HEADER_KIND_COUNT;
}

bool header_kind_has_addresses(enum header_kind kind)
{
    return KINDS[kind].addresses;
}
