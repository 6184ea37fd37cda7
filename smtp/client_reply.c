/* A line that lies whole in the input is parsed where it is; only a line cut by the end of the input is copied. The kept
 * text is built line by line: the first with its code and status, the others without them, one space between. */
#include "smtp/client_reply.h"

void client_reply_reset(struct client_reply *r)
{
    r->code = 0;
    r->line_count = 0;
    r->size = 0;
    r->status = (struct enhanced_status){0, 0, 0};
    r->text_size = 0;
    r->line_size = 0;
}

bool client_reply_empty(const struct client_reply *r)
{
    return r->size == 0;
}

struct peer_reply client_reply_view(const struct client_reply *r)
{
    return (struct peer_reply){.code = r->code, .status = r->status, .text = {r->text, r->text_size}};
}

static bool digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

/* One to three digits at *at; moves past them. */
static bool status_number(struct bytes text, size_t *at, uint16_t *value_out)
{
    size_t start = *at;
    uint16_t value = 0;

    while (*at < text.size && *at - start < 3 && digit(text.data[*at]))
        value = (uint16_t)(value * 10 + (text.data[(*at)++] - '0'));
    *value_out = value;
    return *at > start;
}

bool enhanced_status_read(struct bytes text, uint16_t code, struct enhanced_status *status_out, size_t *size_out)
{
    struct enhanced_status s;
    size_t at = 2;

    if (text.size < 5 || text.data[0] != '0' + code / 100 || text.data[1] != '.')
        return false;
    s.class = (uint8_t)(code / 100);
    if (s.class != 2 && s.class != 4 && s.class != 5)
        return false;
    if (!status_number(text, &at, &s.subject) || at >= text.size || text.data[at++] != '.')
        return false;
    if (!status_number(text, &at, &s.detail) || (at < text.size && text.data[at] != ' '))
        return false;
    *status_out = s;
    *size_out = at;
    return true;
}

/* Octets of the UTF-8 character at the start of `b` (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_size(struct bytes b)
{
    uint8_t first = b.data[0], low = 0x80, high = 0xbf;
    size_t size;

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf) {
        size = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        size = 3;
        low = first == 0xe0 ? 0xa0 : 0x80;
        high = first == 0xed ? 0x9f : 0xbf;
    } else if (first >= 0xf0 && first <= 0xf4) {
        size = 4;
        low = first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (b.size < size || b.data[1] < low || b.data[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (b.data[i] < 0x80 || b.data[i] > 0xbf)
            return 0;
    return size;
}

void peer_text_put(struct buf *out, struct bytes in)
{
    while (in.size > 0) {
        size_t plain = 0;
        while (plain < in.size && in.data[plain] >= 0x20 && in.data[plain] < 0x7f)
            plain++;
        if (plain > 0) {
            struct bytes run = bytes_head(in, plain < buf_left(out) ? plain : buf_left(out));
            if (!is_ok(buf_put(out, run)) || run.size < plain)
                return;
            in = bytes_after(in, plain);
            continue;
        }
        uint8_t octet = in.data[0];
        size_t size = utf8_size(in);
        /* C1 controls (U+0080..U+009F) are controls too: a terminal obeys some of them. */
        bool control = octet < 0x20 || octet == 0x7f || (octet == 0xc2 && size == 2 && in.data[1] < 0xa0);
        struct bytes piece = control ? BYTES(" ") : size == 0 ? BYTES("?") : bytes_head(in, size);
        if (!is_ok(buf_put(out, piece)))
            return;
        in = bytes_after(in, size == 0 ? 1 : size);
    }
}

static void text_keep(struct client_reply *r, const struct client_reply_line *line)
{
    struct buf text = {r->text, r->text_size, sizeof r->text};
    struct bytes from = line->whole;
    struct enhanced_status status;
    size_t status_size = 0;
    bool has_status = enhanced_status_read(line->text, line->code, &status, &status_size);

    if (r->line_count == 1) {
        if (has_status)
            r->status = status;
        /* "550-text" is shown as "550 text": the hyphen says only that the peer had more lines. */
        peer_text_put(&text, bytes_head(from, 3));
        if (line->text.size > 0) {
            peer_text_put(&text, BYTES(" "));
            peer_text_put(&text, line->text);
        }
    } else {
        from = bytes_trim(bytes_after(line->text, status_size));
        if (from.size > 0) {
            peer_text_put(&text, BYTES(" "));
            peer_text_put(&text, from);
        }
    }
    r->text_size = (uint32_t)text.size;
}

static RESULT line_parse(struct client_reply *r, struct bytes line, struct client_reply_line *line_out)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (++r->line_count > REPLY_LINES_MAX)
        return FAIL(CODE_FULL, "reply has too many lines");
    if (line.size < 3 || !digit(line.data[0]) || !digit(line.data[1]) || !digit(line.data[2]))
        return FAIL(CODE_SYNTAX, "reply does not begin with a three-digit code");
    uint16_t code = (uint16_t)((line.data[0] - '0') * 100 + (line.data[1] - '0') * 10 + (line.data[2] - '0'));
    if (code < 200 || code > 599)
        return FAIL(CODE_SYNTAX, "reply code is out of range");
    if (line.size > 3 && line.data[3] != ' ' && line.data[3] != '-')
        return FAIL(CODE_SYNTAX, "reply code is not followed by a space or a hyphen");
    if (r->line_count > 1 && code != r->code)
        return FAIL(CODE_SYNTAX, "lines of one reply differ in their code");
    r->code = code;
    *line_out = (struct client_reply_line){
        .code = code,
        .last = line.size == 3 || line.data[3] == ' ',
        .text = bytes_after(line, 4),
        .whole = line,
    };
    text_keep(r, line_out);
    return OK;
}

RESULT
client_reply_feed(struct client_reply *r, struct bytes in, size_t *eaten_out, struct client_reply_line *line_out)
{
    ptrdiff_t end = bytes_index(in, '\n');
    struct bytes part = bytes_head(in, end == BYTES_NOT_FOUND ? in.size : (size_t)end);
    struct bytes line = part;

    *eaten_out = end == BYTES_NOT_FOUND ? in.size : (size_t)end + 1;
    if (*eaten_out > REPLY_SIZE_MAX - r->size)
        return FAIL(CODE_FULL, "reply is too long");
    r->size += (uint32_t)*eaten_out;
    if (bytes_index(part, 0) != BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "reply bears a NUL");
    if (end == BYTES_NOT_FOUND || r->line_size > 0) {
        struct bytes kept = bytes_head(part, sizeof r->line - r->line_size);
        if (kept.size > 0)
            memcpy(r->line + r->line_size, kept.data, kept.size);
        r->line_size += (uint32_t)kept.size;
        line = (struct bytes){r->line, r->line_size};
    }
    if (end == BYTES_NOT_FOUND)
        return FAIL(CODE_MORE, "line has no end yet");
    r->line_size = 0;
    return line_parse(r, bytes_head(line, sizeof r->line), line_out);
}
