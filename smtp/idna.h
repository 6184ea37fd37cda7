/* idna: a UTF-8 domain to the A-labels that DNS and older servers know (RFC 5891, by libidn2; not a pure core).
 *
 *   uint8_t room[DOMAIN_SIZE_MAX];
 *   struct buf ascii = BUF(room);
 *   TRY(idna_to_ascii(BYTES("bücher.example"), &ascii));     -- xn--bcher-kva.example
 * An ASCII domain comes out as it went in, in lower case. */
#ifndef MANSIO_SMTP_IDNA_H
#define MANSIO_SMTP_IDNA_H

#include "daemon/base/base.h"

/* CODE_SYNTAX when IDNA does not allow the name, CODE_FULL when the result is over DOMAIN_SIZE_MAX or out has no room. */
RESULT
idna_to_ascii(struct bytes domain, struct buf *out);

#endif
