/* login: users with passwords, and the client's side of AUTH: PLAIN, LOGIN, SCRAM-SHA-256 and -PLUS, written apart from ours.
 *
 * For: clients (login_first, login_next) and house_auth.c, which knows the users. A wrong login is wrong in one thing: the
 * password, the name, the proof's last octet, or what binds it to the TLS session.
 *   login_any(&login);  say(c, "AUTH %s", login_first(&login));  334: say(c, "%s", login_next(&login, challenge)); */
#ifndef MANSIO_SIM_LOGIN_H
#define MANSIO_SIM_LOGIN_H

#include "smtp/scram.h"
#include "tests/sim/lib/world.h"

enum { LOGIN_USERS = 4, LOGIN_TEXT_MAX = 700 };

/* What binds to the simulated TLS: the stand-in's exporter gives it. */
#define LOGIN_BINDING "what only this session exports..."

enum login_mechanism { LOGIN_PLAIN, LOGIN_LOGIN, LOGIN_SCRAM, LOGIN_SCRAM_PLUS, LOGIN_MECHANISMS };

struct login {
    enum login_mechanism mechanism;
    char user[24];
    bool wrong;   /* it may not succeed */
    bool initial; /* a response comes with AUTH itself */
    unsigned step;
    char bare[80], nonce[24]; /* SCRAM: client-first-message-bare */
    uint8_t proof_of_server[DIGEST_SIZE];
    char text[LOGIN_TEXT_MAX];
};

void login_any(struct login *l, bool may_be_wrong);
/* The words behind AUTH. */
const char *login_first(struct login *l);
/* The line that answers this challenge (base64). */
const char *login_next(struct login *l, struct bytes challenge);

/* The password of a user; NULL: there is none. */
const char *login_password(struct bytes user);
/* The Sender field of what he submits under another name. */
const char *login_sender(struct bytes user);
/* His stored keys; false: there is none. */
bool login_keys(struct bytes user, struct scram_keys *keys_out);

#endif
