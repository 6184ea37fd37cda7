/* exchange: one SASL exchange as the server: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS. Pure.
 * Names and passwords are prepared by SASLprep; what that prohibits is EXCHANGE_BAD.
 *
 * For: the auth process. Not for: checking passwords or finding users: those leave as questions.
 *   exchange_init(&x, mechanism, plus_offered, nonce);
 *   step = exchange_feed(&x, &response, &bindings);
 *     EXCHANGE_CHALLENGE  send exchange_text(&x), feed the answer
 *     EXCHANGE_PASSWORD   check x.password of x.name; then exchange_wipe
 *     EXCHANGE_KEYS       step = exchange_keys(&x, &keys of x.name)
 *     EXCHANGE_GOOD       x.name is in;  EXCHANGE_BAD it is not (x.why);  EXCHANGE_MALFORMED 501 (x.why)
 * Lifetime: the struct holds all it needs. It holds secrets: exchange_wipe before its memory goes. */
#ifndef MANSIO_AUTH_EXCHANGE_H
#define MANSIO_AUTH_EXCHANGE_H

#include "daemon/auth/account.h"
#include "daemon/auth/password.h"
#include "smtp/scram.h"

enum exchange_step {
    EXCHANGE_CHALLENGE,
    EXCHANGE_PASSWORD,
    EXCHANGE_KEYS,
    EXCHANGE_GOOD,
    EXCHANGE_BAD,
    EXCHANGE_MALFORMED,
};

enum exchange_mechanism {
    EXCHANGE_PLAIN,
    EXCHANGE_LOGIN,
    EXCHANGE_SCRAM,
    EXCHANGE_SCRAM_PLUS,
    EXCHANGE_MECHANISM_COUNT,
};

struct exchange {
    enum exchange_mechanism mechanism;
    uint8_t turn;             /* how many responses have come */
    bool password_as_it_came; /* set after exchange_init: whoever judges it did not store it prepared */
    const char *why;
    uint8_t name_room[ACCOUNT_NAME_SIZE_MAX + 1];
    uint8_t password_room[PASSWORD_SIZE_MAX];
    uint8_t text_room[SCRAM_CHALLENGE_SIZE_MAX];
    struct buf name, password, text; /* name and password are NUL-terminated behind their size */
    struct scram_server scram;
};

const char *exchange_mechanism_name(enum exchange_mechanism mechanism);
/* CODE_GONE: there is no such mechanism. `nonce` as in scram_server_init. */
RESULT
exchange_init(struct exchange *x, struct bytes mechanism, bool plus_offered, struct bytes nonce);
/* `has_response` false: AUTH came without an initial response. */
enum exchange_step exchange_feed(
    struct exchange *x, struct bytes response, bool has_response, const struct scram_bindings *bindings);
enum exchange_step exchange_keys(struct exchange *x, const struct scram_keys *keys);
struct bytes exchange_text(const struct exchange *x);
void exchange_wipe(struct exchange *x);

#endif
