/* handshake: whether octets are what a TLS server signs in a handshake, and nothing else.
 *
 * For: the keys process, before it signs. A signature over anything else (another protocol's challenge, a certificate, a client's
 * proof) could be used elsewhere. Pure.
 *   if (handshake_may_sign(content, scheme)) ... */
#ifndef MANSIO_KEYS_HANDSHAKE_H
#define MANSIO_KEYS_HANDSHAKE_H

#include "daemon/base/base.h"

enum { HANDSHAKE_CONTENT_SIZE_MAX = 320 };

/* The server's CertificateVerify of TLS 1.3 (RFC 8446 4.4.3) with a hash of 32 or 48 octets; or ServerKeyExchange of TLS 1.2 with a
 * named curve (RFC 8422 5.4): both randoms, then curve and point. `scheme`: RSA PKCS #1 is for TLS 1.2 alone. */
bool handshake_may_sign(struct bytes content, uint32_t scheme);

#endif
