/* dsn_check: a small strict reader of notifications, the oracle of dsn_test.c and dsn_fuzz.c.
 *
 * For: saying whether octets are a well-formed multipart/report of three parts (RFC 6522, 3464), and giving the parts. It
 * knows nothing of the writer but the boundary's quotes.
 *   struct dsn_parts parts;
 *   const char *why = dsn_check(written, recipient_count, utf8, body_type, &parts);   NULL: well-formed */
#ifndef MANSIO_TESTS_DSN_CHECK_H
#define MANSIO_TESTS_DSN_CHECK_H

#include "queue/dsn.h"
#include "queue/dsn_text.h"

struct dsn_part {
    struct bytes header, body;
};

struct dsn_parts {
    struct bytes header;
    struct dsn_part part[3];
};

static inline struct bytes dsn_check_line(struct bytes *rest)
{
    ptrdiff_t end = bytes_find(*rest, BYTES("\r\n"));
    struct bytes line = bytes_head(*rest, end < 0 ? rest->size : (size_t)end);

    *rest = bytes_after(*rest, end < 0 ? rest->size : (size_t)end + 2);
    return line;
}

/* The value of the only field of that name in a block of unfolded-able lines; data NULL when there is none or more. */
static inline struct bytes dsn_check_field(struct bytes block, const char *name)
{
    struct bytes found = BYTES_NONE, wanted = bytes_of(name);

    for (struct bytes rest = block; rest.size > 0;) {
        struct bytes line = dsn_check_line(&rest);
        if (line.size <= wanted.size || line.data[wanted.size] != ':' || !bytes_starts_nocase(line, wanted))
            continue;
        if (found.data != NULL)
            return BYTES_NONE;
        while (rest.size > 0 && rest.data[0] == ' ') { /* views of one block lie side by side */
            dsn_check_line(&rest);
            line.size = (size_t)(rest.data - line.data) - 2;
        }
        found = bytes_trim(bytes_after(line, wanted.size + 1));
    }
    return found;
}

/* Every line a field "Name: value" or a continuation with something on it; no octets but printable ones. */
static inline const char *dsn_check_fields(struct bytes block, bool utf8)
{
    bool first = true;

    for (struct bytes rest = block; rest.size > 0; first = false) {
        struct bytes line = dsn_check_line(&rest);
        ptrdiff_t colon = bytes_index(line, ':');

        for (size_t i = 0; i < line.size; i++)
            if (line.data[i] < ' ' || line.data[i] == 127 || (!utf8 && line.data[i] > 127))
                return "a control or 8-bit octet in a field";
        if (utf8 && !dsn_utf8_is(line))
            return "broken UTF-8 in a field";
        if (bytes_trim(line).size == 0)
            return "an empty line among fields";
        if (line.data[0] == ' ') {
            if (first)
                return "a continuation without a field";
            continue;
        }
        if (colon <= 0)
            return "a line that is no field";
        for (ptrdiff_t i = 0; i < colon; i++)
            if (!(octet_lower(line.data[i]) >= 'a' && octet_lower(line.data[i]) <= 'z') && line.data[i] != '-')
                return "a field name of other than letters";
    }
    return NULL;
}

/* Takes the block up to the empty line; the empty line is eaten. */
static inline bool dsn_check_block(struct bytes *rest, struct bytes *block_out)
{
    ptrdiff_t end;

    if (bytes_starts(*rest, BYTES("\r\n"))) {
        *block_out = BYTES_NONE;
        *rest = bytes_after(*rest, 2);
        return true;
    }
    end = bytes_find(*rest, BYTES("\r\n\r\n"));
    if (end < 0)
        return false;
    *block_out = bytes_head(*rest, (size_t)end + 2);
    *rest = bytes_after(*rest, (size_t)end + 4);
    return true;
}

static inline const char *dsn_check_lines(struct bytes text, bool may_be_8bit)
{
    if (text.size < 2 || !bytes_equal(bytes_after(text, text.size - 2), BYTES("\r\n")))
        return "the end is not CRLF";
    for (struct bytes rest = text; rest.size > 0;) {
        struct bytes line = dsn_check_line(&rest);
        if (line.size > 998)
            return "a line over 998 octets";
        if (bytes_index(line, '\r') >= 0 || bytes_index(line, '\n') >= 0 || bytes_index(line, '\0') >= 0)
            return "a bare CR or LF, or NUL";
        if (!may_be_8bit && bytes_has_8bit(line))
            return "8-bit octets in a 7-bit notification";
    }
    return NULL;
}

static inline const char *dsn_check_recipient(struct bytes block)
{
    struct bytes status = dsn_check_field(block, "Status"), action = dsn_check_field(block, "Action");
    static const char *const names[] = {"failed", "delayed", "relayed", "expanded", "delivered"};
    bool known = false;

    if (bytes_index(dsn_check_field(block, "Final-Recipient"), ';') <= 0)
        return "no Final-Recipient, or one without a type";
    for (size_t i = 0; i < COUNT_OF(names); i++)
        known |= bytes_equal(action, bytes_of(names[i]));
    if (!known)
        return "no Action, or an unknown one";
    if (status.size < 5 || bytes_index(bytes_of("245"), status.data[0]) < 0 || status.data[1] != '.')
        return "no Status, or a broken one";
    return NULL;
}

static inline const char *dsn_check_status(struct bytes body, size_t recipient_count, bool utf8)
{
    struct bytes block;
    const char *why;
    size_t count = 0;

    if (!dsn_check_block(&body, &block))
        return "the report has no recipients";
    if ((why = dsn_check_fields(block, utf8)) != NULL)
        return why;
    if (!bytes_starts(dsn_check_field(block, "Reporting-MTA"), BYTES("dns; ")))
        return "no Reporting-MTA";
    if (dsn_check_field(block, "Arrival-Date").size == 0)
        return "no Arrival-Date";
    while (body.size > 0) {
        ptrdiff_t end = bytes_find(body, BYTES("\r\n\r\n"));
        block = bytes_head(body, end < 0 ? body.size : (size_t)end + 2);
        body = bytes_after(body, end < 0 ? body.size : (size_t)end + 4);
        if ((why = dsn_check_fields(block, utf8)) != NULL || (why = dsn_check_recipient(block)) != NULL)
            return why;
        count++;
    }
    return count == recipient_count ? NULL : "not one block for each recipient";
}

static inline const char *dsn_check_parts(struct bytes body, struct bytes boundary, struct dsn_parts *parts)
{
    struct bytes starts[4];
    size_t count = 0;
    bool closed = false;

    for (struct bytes rest = body; rest.size > 0;) {
        struct bytes at = rest, line = dsn_check_line(&rest);
        if (!bytes_starts(line, BYTES("--")) || !bytes_starts(bytes_after(line, 2), boundary))
            continue;
        if (closed || count == 4)
            return "more delimiters than parts";
        starts[count++] = at;
        closed = bytes_equal(bytes_after(line, 2 + boundary.size), BYTES("--"));
        if (!closed && line.size != 2 + boundary.size)
            return "a line that only begins like a delimiter";
        if (closed && rest.size > 0)
            return "something behind the last delimiter";
    }
    if (!closed || count != 4)
        return "not three parts";
    for (size_t i = 0; i < 3; i++) {
        struct bytes part = bytes_head(starts[i], (size_t)(starts[i + 1].data - starts[i].data));
        dsn_check_line(&part);
        if (part.size < 2)
            return "a delimiter right behind another";
        part.size -= 2; /* the CRLF before a delimiter is the delimiter's */
        if (!dsn_check_block(&part, &parts->part[i].header))
            return "a part without an end of its header";
        parts->part[i].body = part;
    }
    return NULL;
}

static inline const char *dsn_check(
    struct bytes text, size_t recipient_count, bool utf8, enum body_type body_type, struct dsn_parts *parts)
{
    static const char *const wanted[] = {"From", "To", "Date", "Subject", "Message-ID", "MIME-Version"};
    struct bytes body = text, type, boundary;
    const char *why;
    ptrdiff_t at;

    if ((why = dsn_check_lines(text, utf8 || body_type == BODY_8BITMIME)) != NULL)
        return why;
    if (!dsn_check_block(&body, &parts->header))
        return "no end of the header";
    if ((why = dsn_check_fields(parts->header, utf8)) != NULL)
        return why;
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        if (dsn_check_field(parts->header, wanted[i]).size == 0)
            return "a header field is missing or double";
    if (!bytes_equal(dsn_check_field(parts->header, "Auto-Submitted"), BYTES("auto-replied")))
        return "no Auto-Submitted";
    type = dsn_check_field(parts->header, "Content-Type");
    at = bytes_find(type, BYTES("boundary=\""));
    if (!bytes_starts(type, BYTES("multipart/report; report-type=delivery-status;")) || at < 0)
        return "not a multipart/report";
    boundary = bytes_after(type, (size_t)at + 10);
    at = bytes_index(boundary, '"');
    if (at <= 0 || at > 70)
        return "a boundary of no or too great length";
    boundary.size = (size_t)at;
    if ((why = dsn_check_parts(body, boundary, parts)) != NULL)
        return why;
    for (size_t i = 0; i < 3; i++)
        if ((why = dsn_check_fields(parts->part[i].header, false)) != NULL)
            return why;
    if (!bytes_starts(dsn_check_field(parts->part[0].header, "Content-Type"), BYTES("text/plain")))
        return "the first part is not text";
    if (!bytes_equal(dsn_check_field(parts->part[1].header, "Content-Type"),
            utf8 ? BYTES("message/global-delivery-status") : BYTES("message/delivery-status")))
        return "the second part is no delivery status";
    return dsn_check_status(parts->part[1].body, recipient_count, utf8);
}

#endif
