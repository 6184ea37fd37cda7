#include "queue/dsn_text.h"

enum {
    COLUMN_WRAP = 76,   /* between words */
    COLUMN_QP_MAX = 72, /* RFC 2045 6.7: 76 with the "=" of the soft break and a whole encoded octet */
    COLUMN_MAX = 900,   /* RFC 5322 2.1.1: 998, with room for what one character may become */
};

static const char hex_digits[] = "0123456789ABCDEF";

static void raw(struct dsn_writer *w, uint8_t octet)
{
    if (!w->full && !is_ok(buf_put_octet(w->out, octet)))
        w->full = true;
    w->column++;
}

void dsn_end_line(struct dsn_writer *w)
{
    raw(w, '\r');
    raw(w, '\n');
    w->column = 0;
}

static void encoded(struct dsn_writer *w, uint8_t octet)
{
    raw(w, '=');
    raw(w, (uint8_t)hex_digits[octet >> 4]);
    raw(w, (uint8_t)hex_digits[octet & 15]);
}

static void octet_put(struct dsn_writer *w, uint8_t octet)
{
    if (w->qp && w->column >= COLUMN_QP_MAX) {
        raw(w, '=');
        dsn_end_line(w);
    }
    if (w->qp && (octet == '=' || octet > 126))
        encoded(w, octet);
    else
        raw(w, octet);
}

void dsn_say(struct dsn_writer *w, const char *words)
{
    for (; *words != '\0'; words++) {
        if (*words == '\n')
            dsn_end_line(w);
        else
            octet_put(w, (uint8_t)*words);
    }
}

void dsn_number(struct dsn_writer *w, uint64_t value)
{
    uint8_t room[20];
    struct buf digits = BUF(room);

    if (!is_ok(buf_put_u64(&digits, value)))
        w->full = true;
    for (size_t i = 0; i < digits.size; i++)
        octet_put(w, room[i]);
}

void dsn_date(struct dsn_writer *w, struct walltime t)
{
    uint8_t room[WALLTIME_DATE_SIZE_MAX];
    struct buf date = BUF(room);

    /* Outside the years 1970 to 9999 the calendar has no RFC 5322 form: a damaged clock must not make a damaged field. */
    if (t.ms < 0 || t.ms > INT64_C(253402300799000))
        t.ms = 0;
    if (!is_ok(walltime_put_date(&date, t)))
        w->full = true;
    for (size_t i = 0; i < date.size; i++)
        octet_put(w, room[i]);
}

size_t dsn_utf8_size(struct bytes text, uint32_t *point_out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size;
    uint32_t point;

    if (text.size == 0 || text.data[0] < 0xc2 || text.data[0] > 0xf4)
        return 0;
    size = text.data[0] < 0xe0 ? 2 : text.data[0] < 0xf0 ? 3 : 4;
    if (text.size < size)
        return 0;
    point = text.data[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text.data[i] & 0x3f);
    }
    if (point < least[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    /* C1 controls (NEL ends a line for some readers) and the line and paragraph separators are controls to us. */
    if (point < 0xa0 || point == 0x2028 || point == 0x2029)
        return 0;
    *point_out = point;
    return size;
}

bool dsn_utf8_is(struct bytes text)
{
    while (text.size > 0) {
        uint32_t point;
        size_t size = text.data[0] < 128 ? 1 : dsn_utf8_size(text, &point);
        if (size == 0)
            return false;
        text = bytes_after(text, size);
    }
    return true;
}

static void code_point_put(struct dsn_writer *w, uint32_t point)
{
    unsigned shift = 20;

    dsn_say(w, "\\x{");
    while (shift > 4 && point >> shift == 0)
        shift -= 4;
    for (;; shift -= 4) {
        octet_put(w, (uint8_t)hex_digits[point >> shift & 15]);
        if (shift == 0)
            break;
    }
    dsn_say(w, "}");
}

/* The character at the front of `text`; returns its size. Whatever is not a printable character comes out as "?". */
static size_t character_put(struct dsn_writer *w, struct bytes text, bool is_address)
{
    uint32_t point = 0;
    size_t size = text.data[0] < 128 ? 1 : dsn_utf8_size(text, &point);

    if (size == 1) {
        octet_put(w, text.data[0] < ' ' || text.data[0] == 127 ? '?' : text.data[0]);
        return 1;
    }
    if (size > 0 && (w->utf8 || w->qp))
        for (size_t i = 0; i < size; i++)
            octet_put(w, text.data[i]);
    else if (size > 0 && is_address)
        code_point_put(w, point);
    else
        octet_put(w, '?');
    return size > 0 ? size : 1;
}

void dsn_value(struct dsn_writer *w, struct bytes value, bool is_address)
{
    value = bytes_trim(value); /* so that a folded line never holds white space alone */
    while (value.size > 0) {
        if (!w->qp && w->column >= COLUMN_MAX) {
            dsn_end_line(w);
            dsn_say(w, " ");
        }
        value = bytes_after(value, character_put(w, value, is_address));
    }
}

static bool octet_is_space(uint8_t octet)
{
    return octet <= ' ' && octet != 0;
}

void dsn_words(struct dsn_writer *w, struct bytes text, const char *indent, size_t size_max)
{
    bool first = true, cut = text.size > size_max;

    text = bytes_head(text, size_max);
    if (cut) { /* not within a character */
        while (text.size > 0 && (text.data[text.size - 1] & 0xc0) == 0x80)
            text.size--;
        while (text.size > 0 && text.data[text.size - 1] >= 0xc0)
            text.size--;
    }
    while (text.size > 0) {
        size_t size = 0;
        bool line_end = false;

        for (; text.size > 0 && octet_is_space(text.data[0]); text = bytes_after(text, 1))
            line_end |= text.data[0] == '\r' || text.data[0] == '\n';
        while (size < text.size && !octet_is_space(text.data[size]))
            size++;
        if (size == 0)
            break;
        if (!first && (line_end || w->column + 1 + size > COLUMN_WRAP)) {
            dsn_end_line(w);
            dsn_say(w, indent);
        } else if (!first) {
            dsn_say(w, " ");
        }
        dsn_value(w, bytes_head(text, size), false);
        text = bytes_after(text, size);
        first = false;
    }
    if (cut)
        dsn_say(w, " [...]");
}

void dsn_original_line(struct dsn_writer *w, struct bytes line)
{
    for (size_t i = 0; i < line.size; i++) {
        uint8_t octet = line.data[i];
        bool last = i + 1 == line.size;

        if (!w->qp) {
            raw(w, octet);
            continue;
        }
        if (w->column >= COLUMN_QP_MAX) {
            raw(w, '=');
            dsn_end_line(w);
        }
        /* RFC 2045 6.7: white space at a line's end must be encoded, controls (a bare CR or LF) always. */
        if (octet == '=' || octet > 126 || (octet < ' ' && octet != '\t') || (last && (octet == ' ' || octet == '\t')))
            encoded(w, octet);
        else
            raw(w, octet);
    }
    dsn_end_line(w);
}
