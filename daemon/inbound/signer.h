/* signer: inbound's way to its private keys: certificates come from the keys process, and each full handshake asks it for a signature.
 *
 * For: inbound's main. Not for: choosing certificates (edge/tls_store.h). Threads: none; lives as long as the process.
 * A question stops this process until its answer is there, as the signature itself would if the key were here; at most for
 * SIGNER_WAIT_MS, then that handshake fails. Without a keys process (it is being restarted) full handshakes fail at once.
 *   signer_new(loop, on_certificates, ip);   signer_channel(s, fd) for each keys process that comes;   signer_free(&s); */
#ifndef MANSIO_INBOUND_SIGNER_H
#define MANSIO_INBOUND_SIGNER_H

#include "daemon/edge/packets.h"

enum { SIGNER_WAIT_MS = 2000 };

struct signer;

/* fd: the certificates (edge/tls_store.h), the receiver's. Never called from within a handshake. */
typedef void signer_certificates(void *ctx, int fd);

/* NULL when the heap or OpenSSL has no room for it. */
struct signer *signer_new(struct loop *loop, signer_certificates *on_certificates, void *ctx);
/* Takes the socket; it replaces the one before. */
void signer_channel(struct signer *s, int fd);
void signer_free(struct signer **s);

#endif
