/* ledger_parts: what the files of the ledger share; nobody else includes it. */
#ifndef MANSIO_SIM_LEDGER_PARTS_H
#define MANSIO_SIM_LEDGER_PARTS_H

#include "queue/dsn.h"
#include "tests/sim/lib/ledger.h"

struct letter *ledger_letter_new(const char *from, uint32_t rcpt_count);
void letter_id_set(struct letter *l, struct message_id id);
/* ledger_dsn.c: a notification was queued; reads it out of the store. */
void ledger_dsn_born(struct message_id id);
/* Words of a host that came back, "tok=17": whether it may be said of this recipient. `text` may hold none. 0 or the code. */
unsigned ledger_token_check(struct bytes text, const struct fate *f, const char *where);
bool fate_is_resolved(const struct fate *f);

#endif
