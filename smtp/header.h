/* header: the fields of a header block that lies in memory (RFC 5322 2.2, with section 4.5's blanks before the colon).
 *
 * For: sendmail, which reads a message whole, and the completion of headers. Not for: content that passes by
 * (header_scan.h). The block's lines end with CRLF.
 *   struct header_field field;
 *   while (is_ok(header_next(&rest, &field))) use(field.name, field.value);
 *   -- rest now begins with the empty line, or with the first line that is no field
 * Lifetime: all views point into the block. */
#ifndef MANSIO_SMTP_HEADER_H
#define MANSIO_SMTP_HEADER_H

#include "daemon/base/base.h"

struct header_field {
    struct bytes name;  /* without blanks and colon */
    struct bytes value; /* behind the colon, folds included, without the last CRLF */
    struct bytes whole; /* all of it, the last CRLF included when there is one */
};

/* Takes the field at the start of *rest. CODE_GONE: there is none (an empty line, the end, or a line that is no field). */
RESULT
header_next(struct bytes *rest, struct header_field *field_out);

/* "Name:" at the start of a line (of which at least the colon is there). */
bool header_line_is_field(struct bytes line);
/* The name of the field that begins with this line; empty when it is none. */
struct bytes header_line_name(struct bytes line);

/* What a field means for envelopes and completion; HEADER_OTHER for all the rest. */
enum header_kind {
    HEADER_OTHER,
    HEADER_FROM,
    HEADER_SENDER,
    HEADER_REPLY_TO,
    HEADER_TO,
    HEADER_CC,
    HEADER_BCC,
    HEADER_DATE,
    HEADER_MESSAGE_ID,
    HEADER_RESENT_FROM,
    HEADER_RESENT_SENDER,
    HEADER_RESENT_TO,
    HEADER_RESENT_CC,
    HEADER_RESENT_BCC,
    HEADER_RESENT_DATE,
    HEADER_RESENT_MESSAGE_ID,
    HEADER_KIND_COUNT,
};
enum header_kind header_kind_of(struct bytes name);
bool header_kind_is_resent(enum header_kind kind);
/* Its value is a list of addresses. */
bool header_kind_has_addresses(enum header_kind kind);

#endif
