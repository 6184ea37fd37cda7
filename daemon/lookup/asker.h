/* asker: asks the lookups, on helper threads, for what the cards (cards.h) want.
 *
 * For: the lookup process. Not for: what answers mean. A lookup has `connections` seats, each with a connection of its own to the
 * back end (backend.h), opened when it is first needed; a seat asks one key at a time. There are as many threads as seats, so
 * a server that keeps its seats waiting keeps nobody else's. What a seat is asked in vain is told once for each change: a
 * lookup fails, a lookup works again.
 *   asker_new(loop, cfg, &cards, on_cards, ctx);  asker_start(asker);      on_cards: answers have come, or time has passed: look at cards_next_ready
 *   asker_turn(asker);                                after anything that may have made cards wanted
 * One in a process. asker_free waits a moment for threads that are asking; one that does not come back keeps its memory. */
#ifndef MANSIO_LOOKUP_ASKER_H
#define MANSIO_LOOKUP_ASKER_H

#include "daemon/edge/loop.h"
#include "daemon/lookup/cards.h"

struct asker;

/* NULL without memory; then nothing has begun. */
struct asker *asker_new(
    struct loop *loop, const struct config *cfg, struct cards *cards, void (*on_cards)(void *ctx), void *ctx);
/* Once the sandbox holds whatever threads come: until then nobody is asked. */
void asker_start(struct asker *a);
void asker_turn(struct asker *a);
/* False when a thread is still asking: its memory stays. */
bool asker_free(struct asker **asker);

#endif
