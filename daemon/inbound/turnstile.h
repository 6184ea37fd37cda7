/* turnstile: who of those that wait for a TLS handshake is next: one of each client (block of addresses) before a second of any.
 *
 * For: session_limits.c, while users send and handshakes of strangers are paced. Not for: how many may go (rates.handshakes).
 * Pure. A place lives in its waiter and is in at most one turnstile.
 *   turnstile_enter(&t, &s->turn, s->block);
 *   while (may_go() && (place = turnstile_next(&t)) != NULL) ...      it has left
 *   turnstile_leave(&t, &s->turn);                                    gave up; nothing when it is not in there */
#ifndef MANSIO_INBOUND_TURNSTILE_H
#define MANSIO_INBOUND_TURNSTILE_H

#include "daemon/base/base.h"

struct turnstile_place {
    struct turnstile_place *next;
    uint64_t client, round;
    bool waits;
};

struct turnstile {
    struct turnstile_place *first; /* in the order in which they came */
    uint64_t round;                /* that of whoever went last */
    size_t count;
};

void turnstile_enter(struct turnstile *t, struct turnstile_place *place, uint64_t client);
void turnstile_leave(struct turnstile *t, struct turnstile_place *place);
/* Takes one out; NULL: nobody waits. */
struct turnstile_place *turnstile_next(struct turnstile *t);

#endif
