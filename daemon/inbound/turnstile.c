/* A client's first waiter belongs to the round under way, its second to the next one, and so on; the lowest round goes first, and in a
 * round whoever came first. Both walks are bounded by the sessions of this process, and happen once a handshake. */
#include "daemon/inbound/turnstile.h"

void turnstile_enter(struct turnstile *t, struct turnstile_place *place, uint64_t client)
{
    struct turnstile_place **at = &t->first;

    ASSERT(!place->waits);
    *place = (struct turnstile_place){.client = client, .round = t->round, .waits = true};
    for (; *at != NULL; at = &(*at)->next)
        if ((*at)->client == client)
            place->round = (*at)->round + 1;
    *at = place;
    t->count++;
}

void turnstile_leave(struct turnstile *t, struct turnstile_place *place)
{
    struct turnstile_place **at = &t->first;

    if (!place->waits)
        return;
    while (*at != place)
        at = &(*at)->next;
    *at = place->next;
    place->waits = false;
    t->count--;
}

struct turnstile_place *turnstile_next(struct turnstile *t)
{
    struct turnstile_place *best = t->first;

    for (struct turnstile_place *p = t->first; p != NULL; p = p->next)
        if (p->round < best->round)
            best = p;
    if (best != NULL) {
        t->round = best->round;
        turnstile_leave(t, best);
    }
    return best;
}
