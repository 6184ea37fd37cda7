/* What callers write to sendmail's standard input, brought to one form (CONTRACT of this command, docs/envelope-and-headers.md):
 * LF, CRLF and a lone CR end a line and become CRLF; a missing last line end is put in; NUL is refused; unless -i, a line that
 * is a single dot ends the message. A first line "From …" is a mailbox's separator and is dropped. */
#include <unistd.h>

#include "tools/sendmail.h"

enum { PORTION_SIZE = 65536, ROOM_FIRST = 65536 };

static RESULT room_make(struct sendmail_input *in, size_t size)
{
    size_t room = in->room > 0 ? in->room : ROOM_FIRST;
    uint8_t *data;

    while (room - in->size < size) {
        if (room > SIZE_MAX / 2)
            return FAIL(CODE_IO, "out of memory");
        room *= 2;
    }
    if (room == in->room)
        return OK;
    data = mem_resize(in->data, room);
    if (data == NULL)
        return FAIL(CODE_IO, "out of memory");
    in->data = data;
    in->room = room;
    return OK;
}

RESULT sendmail_input_put(struct sendmail_input *in, struct bytes octets)
{
    TRY(room_make(in, octets.size));
    if (octets.size > 0)
        memcpy(in->data + in->size, octets.data, octets.size);
    in->size += octets.size;
    return OK;
}

void sendmail_input_free(struct sendmail_input *in)
{
    mem_free(in->data);
    *in = (struct sendmail_input){.data = NULL};
}

struct bytes sendmail_input_bytes(const struct sendmail_input *in)
{
    return (struct bytes){in->data, in->size};
}

/* The present line is whole. */
static void line_end(struct sendmail_reader *r, struct sendmail_input *out)
{
    struct bytes line = {out->data + r->line_at, out->size - r->line_at};

    if (!r->ignore_dots && bytes_equal(line, BYTES("."))) {
        out->size = r->line_at;
        r->ended = true;
        return;
    }
    if (r->line == 1 && (bytes_starts(line, BYTES("From ")) || bytes_starts(line, BYTES(">From ")))) {
        out->size = r->line_at;
    } else {
        out->data[out->size++] = '\r';
        out->data[out->size++] = '\n';
    }
    r->line_at = out->size;
    r->line++;
}

RESULT sendmail_reader_take(
    struct sendmail_reader *r, struct sendmail_input *out, struct bytes portion, uint64_t size_max)
{
    if (r->line == 0)
        r->line = 1;
    TRY(room_make(out, portion.size * 2 + 2)); /* every octet may become CRLF */
    for (size_t i = 0; i < portion.size && !r->ended; i++) {
        uint8_t octet = portion.data[i];

        if (octet == '\n' && r->behind_cr) {
            r->behind_cr = false;
            continue;
        }
        r->behind_cr = octet == '\r';
        if (octet == '\r' || octet == '\n')
            line_end(r, out);
        else if (octet == 0)
            return FAIL(CODE_SYNTAX, "a NUL");
        else
            out->data[out->size++] = octet;
        out->has_8bit = out->has_8bit || octet > 127;
    }
    return out->size > size_max ? FAIL(CODE_FULL, "larger than the configured message_size") : OK;
}

RESULT sendmail_reader_end(struct sendmail_reader *r, struct sendmail_input *out, uint64_t size_max)
{
    TRY(room_make(out, 2));
    if (!r->ended && out->size > r->line_at)
        line_end(r, out);
    return out->size > size_max ? FAIL(CODE_FULL, "larger than the configured message_size") : OK;
}

static int failed(const struct sendmail_reader *r, struct result why)
{
    switch (why.code) {
    case CODE_SYNTAX:
        sendmail_say("the message is refused: line %" PRIu64 " holds %s", r->line, why.why);
        return EX_DATAERR;
    case CODE_FULL:
        sendmail_say("the message is refused: it is %s", why.why);
        return EX_NOPERM;
    default:
        sendmail_say("%s", why.why);
        return EX_TEMPFAIL;
    }
}

int sendmail_input_read(struct sendmail_input *in, int fd, bool ignore_dots, uint64_t size_max)
{
    static uint8_t portion[PORTION_SIZE];
    struct sendmail_reader reader = {.ignore_dots = ignore_dots, .line = 1};
    struct result r = OK;

    while (is_ok(r) && !reader.ended) {
        ssize_t n = read(fd, portion, sizeof portion);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            sendmail_say("cannot read the message: %s", strerror(errno));
            return EX_IOERR;
        }
        if (n == 0)
            break;
        r = sendmail_reader_take(&reader, in, (struct bytes){portion, (size_t)n}, size_max);
    }
    if (is_ok(r))
        r = sendmail_reader_end(&reader, in, size_max);
    return is_ok(r) ? EX_OK : failed(&reader, r);
}
