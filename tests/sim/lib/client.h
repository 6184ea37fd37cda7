/* client: somebody who sends mail to us, well or badly: an SMTP client written apart from ours.
 *
 * For: the scenario. Each client is one connection with a few letters; it makes them, enters them in the ledger, and reports
 * what it was told. What no sound server would say is wrong (world_wrong).
 *   client_start(letter_count);        it lives by itself and ends by itself */
#ifndef MANSIO_SIM_CLIENT_H
#define MANSIO_SIM_CLIENT_H

#include "tests/sim/lib/ledger.h"

/* Before the first of a run. */
void clients_begin(bool heavy);
void client_start(unsigned letter_count);
size_t client_count(void);

#endif
