/* cards: what the lookups of the configuration have answered, and what they are still to be asked. Pure.
 *
 * For: book.c, which wants an answer now and takes "not yet" for one; main.c and job.c, which wait; asker.c, which asks.
 * Not for: asking (asker.h) or what an answer means (book.h).
 * A card is one key of one lookup. Who wants it and finds it pending is told so, waits, and does all its work again when the
 * card is there: so whatever reads the book stays one straight function. Answers are kept for the lookup's `cache`
 * (found) or `cache_missing` (not there), failures for CARDS_FAILURE_MS, so that a dead server is not asked for every
 * recipient; at most `cache_size` for each lookup, the oldest go first.
 * (C1) What was answered since the longest waiting waiter began neither expires nor goes: whoever does its work again finds all
 *      that it has seen, and comes to an end.
 * (C2) A card that is asked for is answered: by its lookup, or as failed when the lookup's `timeout` has passed since it was
 *      asked; then everything else that the lookup owes has failed as well.
 *   cards_begin(&cards, &w, now);                            begin of a piece of work
 *   do_it: if (book_ask(…) == BOOK_WAIT) { cards_wait(&cards, &w); return; }      ... cards_next_ready gives it back: do_it
 *   cards_leave(&cards, &w);                                 its end, waiting or not */
#ifndef MANSIO_LOOKUP_CARDS_H
#define MANSIO_LOOKUP_CARDS_H

#include "daemon/config/config.h"
#include "daemon/lookup/alias.h"

enum {
    CARDS_FAILURE_MS = 2000,
    CARD_TEXT_SIZE_MAX = 262144, /* of one answer: an alias for some 10,000 members */
    CARDS_HELD_MAX = 250000,     /* of one lookup, (C1) included; over it an answer is a failure */
};

enum card_state { CARD_WANTED, CARD_ASKED, CARD_FOUND, CARD_MISSING, CARD_FAILED };

struct card {
    struct card *next_same_hash, *older, *newer;
    struct card_waiter *waiters;
    enum card_state state;
    bool parsed, unusable;
    struct instant since; /* of its state */
    struct bytes key, text;
    struct alias_table table; /* of the text, once somebody wanted it so */
};

struct card_waiter {
    void *owner;
    struct instant began;
    struct card_waiter *older, *newer; /* of all that have begun */
    struct card_waiter *next, **link;  /* at a card, or among the ready; link NULL: neither */
};

struct card_list { /* in the order of `since` */
    struct card *oldest, *newest;
};

struct card_shelf {
    const struct config_lookup *lookup;
    struct map by_key;
    struct card_list wanted, asked, answered;
    uint32_t count;
};

struct cards {
    struct card_shelf *shelves; /* as many as cfg->lookups */
    size_t count;
    struct instant now;
    struct card_waiter *first, *last; /* waiters that have begun */
    struct card_waiter *ready, **ready_end;
    struct card *pending; /* what cards_get has last found not to be there yet */
};

/* CODE_FULL when the heap has none. */
RESULT cards_init(struct cards *c, const struct config *cfg);
void cards_fini(struct cards *c);

/* NULL: the heap has none. The state is FOUND, MISSING or FAILED, else it is being asked for; `c->pending` then is the card.
 * `key` compares without case (ASCII). */
struct card *cards_get(struct cards *c, size_t lookup, struct bytes key);
/* The answer as targets (ALIAS_FORM_VIRTUAL; rows are parted by line ends or commas); NULL when it cannot be read so, or holds more than addresses: what a
 * database says must not run commands or write files. */
const struct alias_entry *card_targets(struct card *card);

void cards_begin(struct cards *c, struct card_waiter *w, void *owner, struct instant now);
/* For what cards_get found pending last; ready at once when nothing is. */
void cards_wait(struct cards *c, struct card_waiter *w);
void cards_leave(struct cards *c, struct card_waiter *w);
/* A waiter whose card is there; NULL: none. */
struct card_waiter *cards_next_ready(struct cards *c);

/* The next key to ask of this lookup; it counts as asked. NULL: none. */
const struct card *cards_next_wanted(struct cards *c, size_t lookup);
/* What came: FOUND, MISSING or FAILED. An answer that nobody waits for any more is taken too. */
void cards_answer(struct cards *c, size_t lookup, struct bytes key, enum card_state state, struct bytes text);
/* The time goes on: what is over its `timeout` fails. Then the next time to call. */
struct instant cards_tick(struct cards *c, struct instant now);

#endif
