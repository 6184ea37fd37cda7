/* base64: RFC 4648 section 4, for AUTH lines.
 *
 * Not for: MIME bodies (no line breaks are read or written).
 *   TRY(base64_decode(line, &out));   TRY(base64_encode(challenge, &out)); */
#ifndef MANSIO_SMTP_BASE64_H
#define MANSIO_SMTP_BASE64_H

#include "daemon/base/base.h"

/* Strict: padding must be there, nothing else may be. CODE_SYNTAX, or CODE_FULL when out has no room. */
RESULT
base64_decode(struct bytes in, struct buf *out);
RESULT
base64_encode(struct bytes in, struct buf *out);

#endif
