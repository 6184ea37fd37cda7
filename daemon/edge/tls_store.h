/* tls_store: the certificates of a server: which one a client gets, and the keys of its session tickets.
 *
 * For: inbound. Not for: files (the supervisor reads them and passes their content, supervisor/credentials.h).
 * Pairs of certificate and key are taken in the order of the configuration. Two pairs for the same names with keys of different kinds
 * (ECDSA, RSA) serve side by side: OpenSSL picks what the client can. The name that a client asks for (SNI) is looked for in the
 * certificates; without one, or with an unknown one, the first pair serves.
 * In a pack for a process that shall not have the keys they are empty (tls_remote.h).
 *   TRY(tls_store_new(pack, &store));  tls_accept(tls_store_context(store), &tls);  tls_store_free(&store);
 * Sessions may outlive the store. The pack: u32 count and ticket keys, u32 count and pairs, each field with its size (base/wire.h). */
#ifndef MANSIO_TLS_STORE_H
#define MANSIO_TLS_STORE_H

#include "daemon/edge/tls.h"

enum { TLS_PAIRS_MAX = 64, TLS_PACK_SIZE_MAX = 64 * 1024 * 1024 };

struct tls_store;

/* CODE_SYNTAX with why: the pack, a certificate or a key cannot be read, or they do not belong together. */
RESULT
tls_store_new(struct bytes pack, struct tls_store **store_out);
/* A pack in a sealed memory file, as it travels between processes. Taking closes fd; tls_pack_free wipes what was taken. */
RESULT
tls_pack_file(struct bytes pack, int *fd_out);
RESULT
tls_pack_take(int fd, struct bytes *pack_out);
void tls_pack_free(struct bytes *pack);
/* A store from a descriptor, which it closes. */
RESULT
tls_store_take(int fd, struct tls_store **store_out);
void tls_store_free(struct tls_store **store);
/* For clients that name nobody; it finds the others by itself. */
struct tls_context *tls_store_context(const struct tls_store *store);
size_t tls_store_pair_count(const struct tls_store *store);
/* The pair of this index. */
bool tls_store_fact(const struct tls_store *store, size_t index, struct tls_certificate_fact *fact_out);
/* Seconds since 1970 when the first of the certificates ends. */
int64_t tls_store_expires(const struct tls_store *store);

#endif
