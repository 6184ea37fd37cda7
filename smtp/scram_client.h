/* scram_client: the client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
 *
 * For: client_auth.c. Not for: the server's side (scram.h), base64 of the SMTP line.
 *   scram_client_init(&s, login, password, nonce);
 *   TRY(scram_client_first(&s, &out));               send out
 *   TRY(scram_client_final(&s, server_first, &out)); send out
 *   TRY(scram_client_verify(&s, server_final));      OK: the server knows the password too
 * CODE_SYNTAX: the server's message is malformed; CODE_REFUSED: it is not an answer to ours, asks for too little or too much
 * work, refuses us, or does not prove itself.
 * Lifetime: login and password are borrowed until scram_client_final has returned. Pure: the nonce is handed in. */
#ifndef MANSIO_SMTP_SCRAM_CLIENT_H
#define MANSIO_SMTP_SCRAM_CLIENT_H

#include "smtp/scram.h"

enum {
    SCRAM_JOINT_NONCE_SIZE_MAX = 255, /* ours with the server's behind it */
    SCRAM_SERVER_SALT_SIZE_MAX = 64,
    /* What a server may make us compute at a login, some 0.1 s: the whole process waits for it. */
    SCRAM_SERVER_ITERATIONS_MAX = 200000,
};

struct scram_client {
    struct bytes login, password;
    struct bytes own_nonce; /* in `bare` */
    bool proof_due;         /* the server's signature is known and has not been seen */
    uint8_t server_signature[DIGEST_SIZE];
    struct buf bare; /* client-first-message-bare */
    uint8_t bare_room[3 * SCRAM_USER_SIZE_MAX + SCRAM_NONCE_SIZE_MAX + 8];
};

/* `nonce`: as for scram_server_init. `login`: at most SCRAM_USER_SIZE_MAX octets, no NUL. */
void scram_client_init(struct scram_client *s, struct bytes login, struct bytes password, struct bytes nonce);
RESULT
scram_client_first(struct scram_client *s, struct buf *out);
RESULT
scram_client_final(struct scram_client *s, struct bytes in, struct buf *out);
RESULT
scram_client_verify(struct scram_client *s, struct bytes in);

#endif
