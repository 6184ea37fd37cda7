/* States between two calls:
 *   LINE_START  after a line end, and at the beginning
 *   TEXT        inside a line
 *   CR          a CR was eaten and not yet given: what comes next decides what it was
 *   DOT         a dot at the start of a line was eaten: transparency, or the end (with dots only)
 *   DOT_CR      the same and a CR
 *   END
 * (D1) Text is scanned a line at a time with memchr, and as many whole lines as there are come out as one view.
 * (D2) Every fault is placed by its offset and the first one stays, so that the verdict does not depend on how the input
 *      was cut into pieces.
 * (D3) After a fault the same states lead to the same end; only nothing is given any more. A sender who sees 550 and a
 *      sender who sees 250 have ended their message at the same octet. */
#include "smtp/data.h"

enum data_state { STATE_LINE_START, STATE_TEXT, STATE_CR, STATE_DOT, STATE_DOT_CR, STATE_END };

static const struct bytes crlf = BYTES_INIT("\r\n");

void data_reader_init(struct data_reader *d, enum data_mode mode, uint64_t size_max)
{
    *d = (struct data_reader){
        .mode = (uint8_t)mode, .size_max = size_max == 0 ? UINT64_MAX : size_max, .line = 1, .state = STATE_LINE_START};
}

static bool has_dots(const struct data_reader *d)
{
    return d->mode == DATA_DOTS || d->mode == DATA_DOTS_CONVERT;
}

static bool converts(const struct data_reader *d)
{
    return d->mode == DATA_DOTS_CONVERT || d->mode == DATA_CHUNK_CONVERT;
}

static void fault(struct data_reader *d, enum data_fault what, uint64_t line, uint64_t octet)
{
    if (d->fault != DATA_FAULT_NONE)
        return;
    d->fault = what;
    d->fault_line = line;
    d->fault_octet = octet;
}

/* A fault whose culprit is the octet after those counted so far. One that is also over the size is that first. */
static void fault_here(struct data_reader *d, enum data_fault what)
{
    fault(d, d->size == d->size_max ? DATA_FAULT_SIZE : what, d->line, d->line_size + 1);
}

/* The line ends here: CRLF as content, unless that is one fault too late or one octet too much. */
static void line_end(struct data_reader *d, struct bytes *content_out)
{
    d->state = STATE_LINE_START;
    if (d->fault == DATA_FAULT_NONE && d->size_max - d->size < crlf.size)
        fault(d, DATA_FAULT_SIZE, d->line, d->line_size + 1);
    if (d->fault == DATA_FAULT_NONE) {
        *content_out = crlf;
        d->size += crlf.size;
    }
    d->line++;
    d->line_size = 0;
}

/* What one look at plain text found. */
struct segment {
    size_t size;   /* octets of content */
    size_t eaten;  /* the same, or one more for a CR at the end of the input */
    uint64_t line; /* after it, as line_size and state */
    uint64_t line_size;
    enum data_state state;
    enum data_fault fault; /* its culprit is the octet after `size` */
};

/* What to do at an octet that is CR or LF and not part of a CRLF. True: the scan stops before it. */
static bool bare_stops(const struct data_reader *d, uint8_t octet, struct segment *s)
{
    if (converts(d))
        return true;
    if (d->fault != DATA_FAULT_NONE)
        return false;
    s->fault = octet == '\r' ? DATA_FAULT_BARE_CR : DATA_FAULT_BARE_LF;
    return true;
}

/* From `in`, which begins inside a line or at the start of one without a dot, to the first of: a line that begins with a
 * dot, a fault, an end of line that must be converted, the end of the input. */
static struct segment segment_scan(const struct data_reader *d, struct bytes in)
{
    const uint8_t *start = in.data, *p = start, *end = start + in.size;
    const uint8_t *lf = p;
    bool lf_stale = true;
    struct segment s = {.line = d->line, .line_size = d->line_size, .state = STATE_TEXT};

    while (p < end) {
        if (lf_stale || (lf != NULL && lf < p)) /* once per LF: a run of bare CRs must not cost its square */
            lf = memchr(p, '\n', (size_t)(end - p));
        lf_stale = false;
        const uint8_t *stop = lf == NULL ? end : lf;
        const uint8_t *cr = memchr(p, '\r', (size_t)(stop - p));
        const uint8_t *text_end = cr == NULL ? stop : cr;
        if (d->fault == DATA_FAULT_NONE && (uint64_t)(text_end - p) > TEXT_LINE_SIZE_MAX - s.line_size) {
            s.fault = DATA_FAULT_LONG_LINE;
            p += TEXT_LINE_SIZE_MAX - s.line_size;
            break;
        }
        s.line_size += (uint64_t)(text_end - p);
        s.state = STATE_TEXT;
        p = text_end;
        if (p == end)
            break;
        if (cr != NULL && cr + 1 == lf) {
            p = lf + 1;
            s.line++;
            s.line_size = 0;
            s.state = STATE_LINE_START;
            if (p < end && *p == '.' && has_dots(d))
                break;
        } else if (cr != NULL && cr + 1 == end) {
            s.state = STATE_CR;
            break;
        } else if (bare_stops(d, *p, &s)) {
            break;
        } else {
            p++;
        }
    }
    s.size = (size_t)(p - start);
    s.eaten = s.size + (s.state == STATE_CR);
    return s;
}

/* Line and octet of offset `at` in a segment that begins where d stands. */
static void segment_place(
    const struct data_reader *d, struct bytes in, size_t at, uint64_t *line_out, uint64_t *octet_out)
{
    uint64_t line = d->line, before = d->line_size;
    size_t line_start = 0;

    for (size_t i = 0; i < at; i++) {
        if (in.data[i] == '\n') {
            line++;
            before = 0;
            line_start = i + 1;
        }
    }
    *line_out = line;
    *octet_out = before + (at - line_start) + 1;
}

/* The first fault of a segment (D2): NUL and size against what the scan found. Shortens *size to what comes before it. */
static enum data_fault segment_fault(
    const struct data_reader *d, struct bytes in, const struct segment *s, size_t *size)
{
    uint64_t left = d->size_max - d->size;
    enum data_fault what = s->fault;

    *size = s->size;
    if (*size > left || (what != DATA_FAULT_NONE && *size == left)) {
        *size = (size_t)left;
        /* A CRLF is not torn apart: its LF alone could not be told from a bare one (D3). */
        if (*size > 0 && in.data[*size] == '\n' && in.data[*size - 1] == '\r')
            --*size;
        what = DATA_FAULT_SIZE;
    }
    const uint8_t *nul = *size == 0 ? NULL : memchr(in.data, 0, *size);
    if (nul != NULL) {
        *size = (size_t)(nul - in.data);
        what = DATA_FAULT_NUL;
    }
    return what;
}

static size_t text_read(struct data_reader *d, struct bytes in, struct bytes *content_out)
{
    enum { CONVERT_LOOK_SIZE_MAX = 4096 };

    /* Where each odd line end stops the scan, it must not look far ahead each time. */
    if (converts(d))
        in = bytes_head(in, CONVERT_LOOK_SIZE_MAX);
    struct segment s = segment_scan(d, in);

    if (d->fault == DATA_FAULT_NONE) {
        size_t given;
        enum data_fault what = segment_fault(d, in, &s, &given);
        *content_out = bytes_head(in, given);
        if (what != DATA_FAULT_NONE) {
            uint64_t line, octet;
            segment_place(d, in, given, &line, &octet);
            fault(d, what, line, octet);
            d->size += given;
            d->state = given > 0 && in.data[given - 1] == '\n' ? STATE_LINE_START : given > 0 ? STATE_TEXT : d->state;
            return given;
        }
        d->size += given;
    }
    d->line = s.line;
    d->line_size = s.line_size;
    d->state = (uint8_t)s.state;
    return s.eaten;
}

/* A line end that is not CRLF, at the start of `in`, where such are converted. */
static bool is_odd_line_end(const struct data_reader *d, struct bytes in)
{
    return converts(d) && (in.data[0] == '\n' || (in.data[0] == '\r' && in.size > 1 && in.data[1] != '\n'));
}

/* One move from the present state: how many octets of `in` (not empty) were eaten. */
static size_t step(struct data_reader *d, struct bytes in, struct bytes *content_out)
{
    uint8_t next = in.data[0];

    switch ((enum data_state)d->state) {
    case STATE_LINE_START:
    case STATE_TEXT:
        if (d->state == STATE_LINE_START && next == '.' && has_dots(d)) {
            d->state = STATE_DOT;
            d->line_size = 1;
            return 1;
        }
        if (is_odd_line_end(d, in)) {
            line_end(d, content_out);
            return 1;
        }
        return text_read(d, in, content_out);
    case STATE_CR:
        if (next == '\n' || converts(d)) {
            line_end(d, content_out);
            return next == '\n';
        }
        fault_here(d, DATA_FAULT_BARE_CR);
        d->state = STATE_TEXT;
        return 0;
    case STATE_DOT:
        d->state = STATE_TEXT;
        if (next == '\r')
            d->state = STATE_DOT_CR;
        else if (next == '\n' && converts(d))
            d->state = STATE_END;
        return d->state != STATE_TEXT;
    case STATE_DOT_CR:
        if (next == '\n' || converts(d)) {
            d->state = STATE_END;
            return next == '\n';
        }
        fault_here(d, DATA_FAULT_BARE_CR);
        d->state = STATE_TEXT;
        return 0;
    case STATE_END:
        break;
    }
    return 0;
}

bool data_read(struct data_reader *d, struct bytes in, size_t *eaten_out, struct bytes *content_out)
{
    size_t at = 0;

    *content_out = BYTES_NONE;
    while (at < in.size && d->state != STATE_END && content_out->size == 0)
        at += step(d, bytes_after(in, at), content_out);
    *eaten_out = at;
    return d->state == STATE_END && content_out->size == 0;
}

void data_finish(struct data_reader *d, struct bytes *content_out)
{
    *content_out = BYTES_NONE;
    if (d->state == STATE_CR && !converts(d))
        fault_here(d, DATA_FAULT_BARE_CR);
    if (d->state != STATE_LINE_START)
        line_end(d, content_out);
}
