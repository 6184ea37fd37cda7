/* xtext: RFC 3461 section 4: printable ASCII as it is, the rest as +XX.
 *
 * For: ENVID, ORCPT and AUTH= in both directions, XCLIENT values, DSN fields.
 *   TRY(xtext_decode(BYTES("joe+2Bx"), &out));     -- joe+x
 *   TRY(xtext_encode(BYTES("joe+x"), &out));       -- joe+2Bx */
#ifndef MANSIO_SMTP_XTEXT_H
#define MANSIO_SMTP_XTEXT_H

#include "daemon/base/base.h"

/* CODE_SYNTAX when `in` is not xtext, or stands for a control character (those could break a line later); octets above 127
 * pass as they are: the caller decides about UTF-8. CODE_FULL when out has no room. */
RESULT
xtext_decode(struct bytes in, struct buf *out);
/* '+', '=', space, controls and octets above 127 become +XX. */
RESULT
xtext_encode(struct bytes in, struct buf *out);

#endif
