/* Content is lines ended by CRLF (data.h sees to that), so LF alone tells where a line ends. At the start of each line a few
 * octets decide: a blank continues the field before, an empty line ends the header, and so does a line that is no field. */
#include "smtp/header_scan.h"

enum scan_state {
    SCAN_LINE_START, /* nothing of the line seen yet */
    SCAN_NAME,       /* in a field's name */
    SCAN_SKIP,       /* in a line that does not matter any more */
    SCAN_VALUE,      /* in a value that is kept */
};

void header_scan_init(struct header_scan *h)
{
    *h = (struct header_scan){.state = SCAN_LINE_START};
}

static void value_add(struct header_value *value, uint8_t octet)
{
    bool blank = octet == ' ' || octet == '\t';

    if ((octet < ' ' && !blank) || octet == 127 || value->size == sizeof value->data)
        return;
    /* Folding leaves runs of blanks; one says as much in a list. */
    if (blank && (value->size == 0 || value->data[value->size - 1] == ' '))
        return;
    value->data[value->size++] = blank ? ' ' : octet;
}

static void name_done(struct header_scan *h)
{
    struct bytes name = bytes_trim((struct bytes){h->name, h->name_size});
    struct header_value *value = NULL;

    h->state = SCAN_SKIP;
    h->value = NULL;
    if (bytes_equal_nocase(name, BYTES("Received")))
        h->received_count++;
    else if (bytes_equal_nocase(name, BYTES("Message-ID")))
        value = &h->message_id;
    else if (bytes_equal_nocase(name, BYTES("Subject")))
        value = &h->subject;
    if (value != NULL && !value->seen) {
        value->seen = true;
        h->value = value;
        h->state = SCAN_VALUE;
    }
}

/* One octet where a line decides what it is. False: the header ended before this octet's line. */
static bool octet_feed(struct header_scan *h, uint8_t octet)
{
    if (h->state == SCAN_LINE_START) {
        if (octet == ' ' || octet == '\t') {
            h->state = h->value == NULL ? SCAN_SKIP : SCAN_VALUE;
            return true;
        }
        h->name_size = 0;
        h->value = NULL;
        h->state = SCAN_NAME;
    }
    if (octet == ':') {
        name_done(h);
        return true;
    }
    /* An empty line, or a line without a name: from here on it is body. */
    if (octet == '\r' || octet == '\n')
        return false;
    if (h->name_size < sizeof h->name)
        h->name[h->name_size++] = octet;
    return true;
}

size_t header_scan_feed(struct header_scan *h, struct bytes content)
{
    size_t i = 0;

    if (h->done)
        return 0;
    while (i < content.size) {
        if (h->state == SCAN_LINE_START || h->state == SCAN_NAME) {
            if (!octet_feed(h, content.data[i++])) {
                h->done = true;
                break;
            }
            if (h->state != SCAN_VALUE)
                continue;
            if (i == content.size)
                break;
        }
        ptrdiff_t lf = bytes_index(bytes_after(content, i), '\n');
        size_t line_end = lf == BYTES_NOT_FOUND ? content.size : i + (size_t)lf + 1;
        if (h->state == SCAN_VALUE)
            for (size_t k = i; k < line_end; k++)
                value_add(h->value, content.data[k]);
        if (h->state == SCAN_VALUE && lf != BYTES_NOT_FOUND)
            value_add(h->value, ' ');
        if (lf != BYTES_NOT_FOUND)
            h->state = SCAN_LINE_START;
        i = line_end;
    }
    h->size += i;
    h->done = h->done || h->size >= HEADER_SIZE_SCANNED_MAX;
    h->has_8bit = h->has_8bit || bytes_has_8bit(bytes_head(content, i));
    return i;
}

struct bytes header_scan_value(const struct header_value *value)
{
    struct bytes view = bytes_trim((struct bytes){value->data, value->size});

    if (value->size == sizeof value->data)
        while (view.size > 0 && view.data[view.size - 1] > 127) {
            bool lead = view.data[view.size - 1] >= 0xc0;
            view.size--;
            if (lead)
                break;
        }
    return view;
}
