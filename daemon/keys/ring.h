/* ring: private keys with their certificates, proved to belong together.
 *
 * For: the keys process. Not for: who may ask (main.c). Threads: none. Lifetime: each ring is one reading of the files; what is
 * renewed is a new ring.
 *   TRY(ring_new(pack, &ring));                             pack: edge/tls_store.h, with keys
 *   ring_public(ring)                                       the same without keys, for inbound
 *   if (ring_sign(ring, id, scheme, content, room, &size)) ... */
#ifndef MANSIO_KEYS_RING_H
#define MANSIO_KEYS_RING_H

#include "daemon/base/base.h"
#include "daemon/edge/tls_remote.h"

struct ring;

/* CODE_SYNTAX with why: a certificate or key cannot be read, they do not belong together, or the key is neither RSA nor ECDSA. */
RESULT ring_new(struct bytes pack, struct ring **ring_out);
/* Wipes the keys. */
void ring_free(struct ring **ring);
struct bytes ring_public(const struct ring *ring);
/* Seconds since 1970: when the first certificate ends. */
int64_t ring_expires(const struct ring *ring);
/* Whether each certificate of each file is signed by the next one. */
bool ring_chains_hold(const struct ring *ring);
bool ring_has(const struct ring *ring, struct bytes key);
/* False: no such key, or the scheme is not for it. The caller has judged `content` (handshake.h). */
bool ring_sign(const struct ring *ring, struct bytes key, uint32_t scheme, struct bytes content,
    uint8_t room[TLS_SIGNATURE_SIZE_MAX], size_t *size_out);

#endif
