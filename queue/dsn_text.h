/* dsn_text: the one encoder of what a notification says: no octet of a reply, an address or a header field can become a
 * line, a field or a boundary of ours.
 *
 * For: dsn.c alone. Not for: replies and log fields, which have encoders of their own.
 * A writer remembers its first failure (no room left), so that a report is written piece after piece and asked once.
 *   struct dsn_writer w = {.out = out, .utf8 = utf8};
 *   dsn_say(&w, "Final-Recipient: rfc822; ");  dsn_value(&w, address, false);  dsn_end_line(&w);
 *   if (w.full) ... */
#ifndef MANSIO_QUEUE_DSN_TEXT_H
#define MANSIO_QUEUE_DSN_TEXT_H

#include "daemon/base/base.h"

struct dsn_writer {
    struct buf *out;
    bool utf8;     /* UTF-8 may stand as it is (RFC 6533) */
    bool qp;       /* quoted-printable: everything may stand, encoded */
    bool full;     /* there was no room; nothing more is written */
    size_t column; /* in the current line, as encoded */
};

/* Our own words: 7-bit, as they are; LF means CRLF. */
void dsn_say(struct dsn_writer *w, const char *words);
void dsn_end_line(struct dsn_writer *w);
void dsn_number(struct dsn_writer *w, uint64_t value);
void dsn_date(struct dsn_writer *w, struct walltime t);
/* Octet for octet what a printable value holds; controls and what cannot stand here become "?". In an address what is not
 * ASCII becomes \x{…} where only ASCII may stand (RFC 6533 section 3). Folds only where the line would grow beyond bounds. */
void dsn_value(struct dsn_writer *w, struct bytes value, bool is_address);
/* Words of prose (a reply): white space and line ends part words, lines are broken between words and continued with
 * `indent`. At most size_max octets of it. */
void dsn_words(struct dsn_writer *w, struct bytes text, const char *indent, size_t size_max);
/* One line of the original, without its CRLF, quoted-printable where w->qp says so. */
void dsn_original_line(struct dsn_writer *w, struct bytes line);

/* The size of the UTF-8 character at the front of `text` (RFC 3629), with its code point; 0 when there is none or when it is
 * a control. */
size_t dsn_utf8_size(struct bytes text, uint32_t *point_out);
bool dsn_utf8_is(struct bytes text);

#endif
