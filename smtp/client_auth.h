/* client_auth: logs a client session in with SCRAM-SHA-256, PLAIN or LOGIN, the best that the server offers.
 *
 * For: whoever owns a client session to a smarthost. Not for: where credentials come from (daemon/config/logins.h).
 *   client_auth_init(&auth, &credentials, without_tls, nonce);
 *   cfg.login = &auth.login;   smtp_client_init(&client, &cfg, now);  ...
 *   client_auth_wipe(&auth);                                               when the session is over
 * Login and password are prepared by SASLprep where that can be done; else they are said as they are.
 * SCRAM proves the server too: who takes our proof without one of his own gets no mail.
 * Lifetime: as long as the session; credentials are borrowed, the nonce is copied. One exchange each. */
#ifndef MANSIO_SMTP_CLIENT_AUTH_H
#define MANSIO_SMTP_CLIENT_AUTH_H

#include "smtp/client_login.h"
#include "smtp/scram_client.h"

enum {
    CLIENT_AUTH_LOGIN_SIZE_MAX = SCRAM_USER_SIZE_MAX,
    CLIENT_AUTH_PASSWORD_SIZE_MAX = 512,
    CLIENT_AUTH_COMMAND_SIZE_MAX = 510, /* RFC 4954 section 4: with a longer initial response it must wait for 334 */
};

struct client_credentials {
    struct bytes login, password; /* bounds as above; no NUL, the login not empty */
};

struct client_auth {
    struct client_login login;
    const struct client_credentials *given;
    struct client_credentials credentials; /* prepared, in these rooms, when the exchange begins */
    uint8_t login_room[CLIENT_AUTH_LOGIN_SIZE_MAX], password_room[CLIENT_AUTH_PASSWORD_SIZE_MAX];
    uint8_t step; /* enum auth_step, client_auth.c */
    uint8_t nonce_room[SCRAM_NONCE_SIZE_MAX];
    struct bytes nonce;
    struct scram_client scram;
};

/* `nonce`: printable without commas, at most SCRAM_NONCE_SIZE_MAX octets that nobody can guess. */
void client_auth_init(
    struct client_auth *a, const struct client_credentials *credentials, bool without_tls, struct bytes nonce);
void client_auth_wipe(struct client_auth *a);

#endif
