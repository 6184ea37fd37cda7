/* reply: the one encoder of what the server says: code, enhanced status (RFC 2034), text, lines within the RFC's limit.
 *
 * For: the server session. Not for: reading a peer's replies (the client session does that).
 * Text that came from outside may hold anything: octets that are not printable are written as '?', so a CR in a value
 * cannot become a line; text too long for one line (RFC 5321 4.5.3.1.5) becomes several.
 *   TRY(reply_put(&out, &REPLY(250, 2, 1, 5, "ok")));       -- 250 2.1.5 ok */
#ifndef MANSIO_SMTP_REPLY_H
#define MANSIO_SMTP_REPLY_H

#include "daemon/base/base.h"
#include "smtp/esmtp.h"

struct reply {
    uint16_t code;                 /* 200..599 */
    struct enhanced_status status; /* class 0: none is written */
    struct bytes text;
};

enum { REPLY_TEXT_SIZE_MAX = 768 }; /* of one reply; what is longer is not sent */

#define REPLY(code_, class_, subject_, detail_, literal_)                                                              \
    ((struct reply){(code_), {(class_), (subject_), (detail_)}, BYTES(literal_)})

/* Whole or CODE_FULL. Only the first REPLY_TEXT_SIZE_MAX octets of the text are looked at. */
RESULT
reply_put(struct buf *out, const struct reply *reply);

/* The octets that reply_put would need at most for a reply with a text of this size. */
size_t reply_size_max(size_t text_size);

/* "5.1.1"; nothing for class 0. */
RESULT
enhanced_status_put(struct buf *out, struct enhanced_status status);

#endif
