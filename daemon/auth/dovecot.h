/* dovecot: the client's side of Dovecot's authentication protocol, version 1, for passwords that we were shown. Pure.
 *
 * For: elsewhere.c, which has the socket. Not for: SASL dialogues with the client (exchange.h): only finished PLAIN goes there.
 *   TRY(dovecot_greet(getpid(), &out));                         what to say first
 *   r = dovecot_read(&d, line, &answer);                        each line that comes, without its end
 *     OK        answer is filled       CODE_MORE  nothing for us; d.ready turns true at the end of its greeting
 *     CODE_REFUSED  it speaks something else, or does not take PLAIN: hang up
 *   TRY(dovecot_ask(&question, &out));                          once d.ready */
#ifndef MANSIO_AUTH_DOVECOT_H
#define MANSIO_AUTH_DOVECOT_H

#include "daemon/auth/account.h"
#include "daemon/auth/password.h"
#include "daemon/ipc/words.h"

enum {
    DOVECOT_LINE_SIZE_MAX = 8192, /* of its own, AUTH_CLIENT_MAX_LINE_LENGTH */
    DOVECOT_ASK_SIZE_MAX = 2048,
};

struct dovecot {
    bool version, plain, ready;
};

struct dovecot_question {
    uint32_t number; /* not 0, no other one under way has it */
    struct bytes name, password;
    struct bytes client; /* its address as text; empty: unknown */
    bool secured;        /* it came over TLS */
};

struct dovecot_answer {
    uint32_t number;
    enum password_verdict verdict;
    struct buf name; /* GOOD: what Dovecot calls him; empty: as we did */
    uint8_t room[ACCOUNT_NAME_SIZE_MAX];
};

RESULT
dovecot_greet(uint64_t pid, struct buf *out);
RESULT
dovecot_ask(const struct dovecot_question *question, struct buf *out);
RESULT
dovecot_read(struct dovecot *d, struct bytes line, struct dovecot_answer *answer_out);

#endif
