/* tls: TLS sessions as an engine: ciphertext in and out as bytes, no socket. The only file that knows OpenSSL.
 *
 * For: conn.c, which owns the socket. Not for: deciding who must use TLS (policy, config).
 * Lifetime: a context lives as long as its owner keeps it; sessions made from it hold a reference of their own, so that a
 * reload may free it at once. Threads: none.
 *   TRY(tls_context_server(cert_pem, key_pem, &ctx));
 *   TRY(tls_accept(ctx, &tls));
 *   tls_input(tls, ciphertext);              then until CODE_MORE:
 *   r = tls_handshake(tls);  r = tls_read(tls, room, sizeof room, &size);
 *   send(tls_output(tls));  tls_output_drop(tls, sent);
 * Versions 1.2 and 1.3 with forward secrecy and authenticated ciphers (RFC 7525, RFC 8997). The client side takes any
 * certificate: mail's opportunistic encryption (RFC 7435); tls_context_verifier is where a stricter policy hooks in. */
#ifndef MANSIO_TLS_H
#define MANSIO_TLS_H

#include "daemon/base/base.h"

struct tls_context;
struct tls;

enum { TLS_NAME_SIZE_MAX = 255 };

/* `certificate` holds the chain in PEM, leaf first; `key` its private key, empty: another process has it (tls_remote.h). CODE_SYNTAX with why when either cannot be
 * read or they do not belong together. */
RESULT
tls_context_server(struct bytes certificate, struct bytes key, struct tls_context **ctx_out);
RESULT
tls_context_client(struct tls_context **ctx_out);
void tls_context_free(struct tls_context **ctx);

/* A second pair beside the first, whose key is of another kind. */
RESULT
tls_context_add(struct tls_context *ctx, struct bytes certificate, struct bytes key);
/* Whether the first certificate is for this host name. */
bool tls_context_serves(const struct tls_context *ctx, struct bytes name);
/* Whether `other`'s certificate is for a name of ctx's and its key of a kind that ctx has not. */
bool tls_context_goes_with(const struct tls_context *ctx, const struct tls_context *other);
/* Each certificate by its index; false beyond the last. */
struct tls_certificate_fact {
    char name[TLS_NAME_SIZE_MAX + 1]; /* the first DNS name in it, else its common name */
    bool rsa;
    int64_t ends; /* seconds since 1970 */
};
bool tls_context_fact(const struct tls_context *ctx, size_t index, struct tls_certificate_fact *fact_out);
/* Seconds since 1970: the end of the first certificate that ends. */
int64_t tls_context_expires(const struct tls_context *ctx);

/* Keys of session tickets (RFC 5077, RFC 8446 4.6.1), newest first: the first makes new tickets, all are understood; a ticket of
 * an older one is answered with a new one. Once per context. CODE_FULL when the heap has none. */
enum { TLS_TICKET_KEY_SIZE = 80, TLS_TICKET_KEYS_MAX = 2 };
RESULT
tls_context_tickets(struct tls_context *ctx, uint8_t keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE], size_t count);

/* SNI (RFC 6066): asked once per server session that names a host; NULL keeps the session's own context. */
typedef struct tls_context *tls_name_chooser(void *owner, struct bytes name);
void tls_context_chooser(struct tls_context *ctx, tls_name_chooser *choose, void *owner);

/* A client's judgement of the peer's chain: called at the end of verification with OpenSSL's own verdict (0 is good);
 * true lets the handshake go on. Without one every certificate is taken. */
typedef bool tls_verifier(void *owner, struct tls *tls, int verdict);
void tls_context_verifier(struct tls_context *ctx, tls_verifier *verify, void *owner);

/* The roots that tls_expect_name measures by: PEM, all of a file. */
RESULT
tls_context_roots(struct tls_context *ctx, const char *path);

/* One session. `name` is sent as SNI (never an address literal); empty: none. CODE_FULL when the heap has none. */
RESULT
tls_accept(struct tls_context *ctx, struct tls **tls_out);
RESULT
tls_connect(struct tls_context *ctx, struct bytes name, struct tls **tls_out);
/* Before the handshake, of a server: the client is asked for a certificate, of whatever authority. One that has none may go on: who
 * must have one is for the caller to say, afterwards, because a resumed session may be older than the question. */
void tls_ask_certificate(struct tls *tls);
/* SHA-256 of the peer's certificate; false: it showed none. */
enum { TLS_FINGERPRINT_SIZE = 32 };
bool tls_peer_fingerprint(const struct tls *tls, uint8_t out[TLS_FINGERPRINT_SIZE]);
/* Resumption, of a client, before the handshake: an older session of the same peer is offered (it may be refused: then the handshake is
 * a whole one), and new ones are handed over as octets, from within tls_handshake or tls_read. They hold secrets. */
typedef void tls_session_keeper(void *owner, struct bytes session);
void tls_keep_sessions(struct tls *tls, tls_session_keeper *keep, void *owner);
bool tls_resume(struct tls *tls, struct bytes session);
bool tls_is_resumed(const struct tls *tls);
/* Before the handshake, of a client: it fails unless the certificate is of a root of the context and for `name`, or with
 * `below` for a name below it too. */
RESULT
tls_expect_name(struct tls *tls, struct bytes name, bool below);
/* The same by TLSA records (RFC 6698, RFC 7672): tls_expect_dane, then tls_dane_add for each record, which says whether it can be
 * used: only DANE-TA(2) and DANE-EE(3), known selectors and digests. With none that can the session is not judged (RFC 7672
 * section 2.2). `base` is where the records were found, `domain` the one that mail is for (a name that DANE-TA takes too). */
RESULT
tls_expect_dane(struct tls *tls, struct bytes base, struct bytes domain);
bool tls_dane_add(struct tls *tls, uint8_t usage, uint8_t selector, uint8_t matching, struct bytes data);
void tls_free(struct tls **tls);

/* Ciphertext from the peer. Read until CODE_MORE right after it, or call tls_input_keep: the view dies with the caller's
 * buffer. CODE_FULL when the heap has none. */
RESULT
tls_input(struct tls *tls, struct bytes in);
RESULT
tls_input_keep(struct tls *tls);

/* CODE_OK done, CODE_MORE feed me, CODE_IO failed (why names the cause). */
RESULT
tls_handshake(struct tls *tls);
/* CODE_OK with size above 0, CODE_MORE, CODE_GONE after the peer's close_notify, CODE_IO. */
RESULT
tls_read(struct tls *tls, void *room, size_t room_size, size_t *size_out);
/* All of `in` becomes ciphertext. CODE_IO when the session is broken. */
RESULT
tls_write(struct tls *tls, struct bytes in);
/* Puts our close_notify into the output. */
void tls_shutdown(struct tls *tls);

/* Ciphertext waiting to be sent; good until the next call on tls. */
struct bytes tls_output(const struct tls *tls);
void tls_output_drop(struct tls *tls, size_t size);

/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384", for logs and the Received field; static text. */
struct bytes tls_version(const struct tls *tls);
struct bytes tls_cipher(const struct tls *tls);

/* What ties a login to this session. The exporter of RFC 9266: nothing where TLS 1.2 came without extended master secret, for
 * then it could be the same in two sessions. The hash of our own certificate (RFC 5929 section 4). Empty: there is none. */
enum { TLS_BINDING_SIZE_MAX = 64 };
struct bytes tls_exporter(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX]);
struct bytes tls_endpoint(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX]);

#endif
