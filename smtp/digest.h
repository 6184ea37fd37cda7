/* digest: SHA-256 and what SCRAM builds from it, and SRS's HMAC, over OpenSSL's libcrypto.
 *
 * For: scram.c, srs.c, the users file, queuectl. Not for: TLS (edge/tls.h) or checksums of stored rows (base/checksum.h).
 * Threads: any; nothing is kept between calls. A library that has no SHA-256 is a broken installation: it stops the process.
 *   uint8_t key[DIGEST_SIZE];
 *   digest_hmac(BYTES("key"), BYTES("text"), key);   digest_stretch(password, salt, 15000, key); */
#ifndef MANSIO_SMTP_DIGEST_H
#define MANSIO_SMTP_DIGEST_H

#include "daemon/base/base.h"

enum { DIGEST_SIZE = 32, DIGEST_SHA1_SIZE = 20 };

void digest_sha256(struct bytes in, uint8_t out[DIGEST_SIZE]);
/* RFC 2104. */
void digest_hmac(struct bytes key, struct bytes in, uint8_t out[DIGEST_SIZE]);
/* The same with SHA-1, for those who use nothing else (SRS). */
void digest_hmac_sha1(struct bytes key, struct bytes in, uint8_t out[DIGEST_SHA1_SIZE]);
/* PBKDF2 with HMAC-SHA-256 (RFC 8018 5.2), one block: Hi() of RFC 5802 2.2. */
void digest_stretch(struct bytes password, struct bytes salt, uint32_t iterations, uint8_t out[DIGEST_SIZE]);
/* In a time that depends on the size alone. */
bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE]);
/* Octets that nobody can guess. */
void digest_random(uint8_t *out, size_t size);

#endif
