/* scram: the server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), and its stored keys.
 *
 * For: the auth process, one exchange at a time; queuectl, which makes keys from passwords. Not for: base64 of the SMTP
 * line (smtp/server_auth.c did that) or finding the user (the caller does, between two steps).
 *   TRY(scram_server_first(&s, client_first, &user));          the user name, unescaped
 *   ... look up keys, or scram_keys_pretend for a stranger ...
 *   TRY(scram_server_challenge(&s, &keys, &out));              send out
 *   TRY(scram_server_final(&s, client_final, &out));           OK: it is he; send out (the server's own proof)
 * CODE_SYNTAX: the message is malformed; CODE_REFUSED: wrong proof, wrong binding or a nonce that is not ours.
 * Lifetime: the struct holds all it needs; views given in are copied. Pure: nonce and binding are handed in. */
#ifndef MANSIO_SMTP_SCRAM_H
#define MANSIO_SMTP_SCRAM_H

#include "smtp/digest.h"

enum {
    SCRAM_SALT_SIZE = 16,
    SCRAM_SALT_SIZE_MAX = 32,
    SCRAM_NONCE_SIZE_MAX = 32,        /* ours, printable */
    SCRAM_CLIENT_NONCE_SIZE_MAX = 88, /* as sent; common clients use 24 to 44 */
    SCRAM_MESSAGE_SIZE_MAX = 1024,
    SCRAM_USER_SIZE_MAX = 256,
    SCRAM_BINDING_SIZE_MAX = 64,
    SCRAM_CHALLENGE_SIZE_MAX = 192, /* of what we send */
    SCRAM_ITERATIONS = 15000,       /* RFC 7677 asks at least 4096 and suggests 15000 */
    SCRAM_ITERATIONS_MIN = 4096,
    SCRAM_ITERATIONS_MAX = 1000000,
    SCRAM_KEYS_TEXT_SIZE_MAX = 200,
};

struct scram_keys {
    uint32_t iterations;
    size_t salt_size;
    uint8_t salt[SCRAM_SALT_SIZE_MAX];
    uint8_t stored_key[DIGEST_SIZE], server_key[DIGEST_SIZE];
};

/* From a password (RFC 5802 section 3). */
void scram_keys_make(struct bytes password, struct bytes salt, uint32_t iterations, struct scram_keys *keys_out);
/* Keys that no password fits, the same for one name and secret each time: a stranger cannot tell who has an account. */
void scram_keys_pretend(struct bytes secret, struct bytes user, struct scram_keys *keys_out);
/* "SCRAM-SHA-256$15000:salt$stored:server", the form that PostgreSQL and others store. */
RESULT
scram_keys_put(struct buf *out, const struct scram_keys *keys);
RESULT
scram_keys_parse(struct bytes text, struct scram_keys *keys_out);

/* What binds the exchange to its TLS session: RFC 9266 tls-exporter, RFC 5929 tls-server-end-point. Empty: not there. */
struct scram_bindings {
    struct bytes exporter, endpoint;
};

struct scram_server {
    bool plus;    /* the mechanism is SCRAM-SHA-256-PLUS */
    bool offered; /* -PLUS was offered: a client that can and says "y" was lied to (RFC 5802 section 6) */
    uint8_t nonce_room[SCRAM_CLIENT_NONCE_SIZE_MAX + SCRAM_NONCE_SIZE_MAX];
    uint8_t message_room[SCRAM_MESSAGE_SIZE_MAX];
    uint8_t binding_room[SCRAM_MESSAGE_SIZE_MAX + SCRAM_BINDING_SIZE_MAX]; /* gs2 header, channel binding data */
    uint8_t user_room[SCRAM_USER_SIZE_MAX];
    uint8_t own_nonce[SCRAM_NONCE_SIZE_MAX];
    size_t own_nonce_size;
    struct buf nonce, message, binding, user;
    struct scram_keys keys;
};

/* `nonce`: printable without commas, at most SCRAM_NONCE_SIZE_MAX, and nobody can guess it (random octets in base64). */
void scram_server_init(struct scram_server *s, bool plus, bool plus_offered, struct bytes nonce);
/* `user_out` lives in *s. An authorisation identity other than the user's own name is CODE_REFUSED. */
RESULT
scram_server_first(
    struct scram_server *s, struct bytes in, const struct scram_bindings *bindings, struct bytes *user_out);
RESULT
scram_server_challenge(struct scram_server *s, const struct scram_keys *keys, struct buf *out);
RESULT
scram_server_final(struct scram_server *s, struct bytes in, struct buf *out);

#endif
