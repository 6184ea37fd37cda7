/* saslprep: user names and passwords in the one form in which they are compared (RFC 4013, by libidn; not a pure core).
 *
 *   uint8_t room[512];
 *   struct buf prepared = BUF(room);
 *   TRY(saslprep(BYTES("I\u00adX"), SASLPREP_QUERY, &prepared));     -- "IX"
 * So it does not matter whether a client sends an accented letter as one character or as two, or a blank of another width.
 * Printable ASCII comes out as it went in. */
#ifndef MANSIO_SMTP_SASLPREP_H
#define MANSIO_SMTP_SASLPREP_H

#include "daemon/base/base.h"

enum { SASLPREP_SIZE_MAX = 512 }; /* of what goes in, in octets */

enum saslprep_use {
    SASLPREP_QUERY,  /* to be compared */
    SASLPREP_STORED, /* to be kept: then characters that Unicode 3.2 does not know are refused (RFC 3454 section 7) */
};

/* CODE_SYNTAX: it is empty or becomes so, is no UTF-8, or holds what the profile prohibits; CODE_FULL: too long, or `out` has no room. */
RESULT
saslprep(struct bytes in, enum saslprep_use use, struct buf *out);

#endif
