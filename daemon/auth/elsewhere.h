/* elsewhere: passwords that are not ours to judge: asked of the process pam, or of Dovecot by its socket.
 *
 * For: the auth process where `passwords` is not "file". Not for: the users file (roll.h).
 * Questions go out at once and side by side; each is answered once, from the loop, within auth.password_time and a second. A Dovecot
 * that went away is dialled again at the next question.
 *   e = elsewhere_new(loop, cfg, answered);     NULL: out of memory
 *   if (!elsewhere_ask(e, &question, owner)) ... too many at once, or nobody to ask: busy
 *   elsewhere_free(&e);                         who waits is not called any more
 * Lifetime: the loop and the configuration outlive it. */
#ifndef MANSIO_AUTH_ELSEWHERE_H
#define MANSIO_AUTH_ELSEWHERE_H

#include "daemon/auth/dovecot.h"
#include "daemon/config/config.h"
#include "daemon/edge/loop.h"

struct elsewhere;

enum { ELSEWHERE_PENDING_MAX = 256 };

/* `name`: what he is called there; empty: as it was asked. Good during the call. */
typedef void elsewhere_answered(void *owner, enum password_verdict verdict, struct bytes name);

struct elsewhere *elsewhere_new(struct loop *loop, const struct config *cfg, elsewhere_answered *answered);
void elsewhere_free(struct elsewhere **elsewhere);
/* Takes the descriptor of a new channel to pam. */
void elsewhere_channel(struct elsewhere *e, int fd);
/* The number in `question` is not looked at. Copies all it needs. */
bool elsewhere_ask(struct elsewhere *e, const struct dovecot_question *question, void *owner);

#endif
