/* tls_remote: private keys that are elsewhere: a key object for OpenSSL that knows its public half and asks for each signature.
 *
 * For: inbound, whose certificates come without keys (tls_store). Not for: holding keys (daemon/keys). Threads: none.
 * One signer serves the process:
 *   TRY(tls_remote_init(ask_keys, signer));
 *   EVP_PKEY *key = tls_remote_key(certificate);  SSL_CTX_use_PrivateKey(ctx, key);
 * It is a provider of OpenSSL 3 with two kinds of key (RSA, EC) and their signatures. All else stays with the default provider: the
 * default property query prefers it. */
#ifndef MANSIO_EDGE_TLS_REMOTE_H
#define MANSIO_EDGE_TLS_REMOTE_H

#include "daemon/base/base.h"

#include <openssl/evp.h>

enum { TLS_KEY_ID_SIZE = 32, TLS_SIGNATURE_SIZE_MAX = 1024 };

/* What shall be signed. */
struct tls_signing {
    uint8_t key[TLS_KEY_ID_SIZE]; /* SHA-256 of the public key in DER (SubjectPublicKeyInfo) */
    uint16_t scheme;              /* of TLS: rsa_pss_rsae_sha256 is 0x0804 (RFC 8446 4.2.3) */
    struct bytes content;         /* all of it: who signs also makes the digest */
};

/* Blocks. False: there is no signature, and the handshake fails. */
typedef bool tls_signer(
    void *owner, const struct tls_signing *what, uint8_t room[TLS_SIGNATURE_SIZE_MAX], size_t *size_out);

/* Again with another owner (NULL: nobody) is fine. CODE_FULL when OpenSSL does not take the provider. */
RESULT tls_remote_init(tls_signer *sign, void *owner);
/* For this public key; NULL when it is of another kind than RSA and EC, or the heap has none. */
EVP_PKEY *tls_remote_key(EVP_PKEY *public_half);
/* False for a key that cannot be written as DER. */
bool tls_key_id(EVP_PKEY *key, uint8_t id_out[TLS_KEY_ID_SIZE]);

#endif
