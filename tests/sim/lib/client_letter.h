/* client_letter: a letter by the dice: its sender, its recipients, its header and its body; entered in the ledger.
 *
 * For: client.c alone. What it makes is sound unless `must_fail` says otherwise.
 *   letter = letter_any(&(struct letter_plan){.door = DOOR_RELAY, .client = 17}); */
#ifndef MANSIO_SIM_CLIENT_LETTER_H
#define MANSIO_SIM_CLIENT_LETTER_H

#include "tests/sim/lib/house.h"

struct letter_plan {
    bool foreign; /* its client may send to nobody but us */
    uint32_t client;
    enum house_door door;
    const char *sender; /* the Sender field that is to be added; NULL: none */
};

/* heavy: most bodies are large. */
void letters_begin(bool heavy);
struct letter *letter_any(const struct letter_plan *plan);

#endif
