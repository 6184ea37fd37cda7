/* doorman: what the DNS says of clients, for inbound, which may not ask it itself.
 *
 * For: main.c, at client_ask. Not for: what to think of it (inbound/repute.h). One answer for each question, at the latest
 * after checks.time, with what is known by then: a DNS that is dead holds nobody up for longer and refuses nobody.
 *   TRY(doorman_new(loop, cfg, &d));   doorman_ask(d, channel, &m->client_ask);
 *   doorman_leave(d, channel);         before the channel goes
 * The resolver is made at the first question: a server that asks nothing has no socket for it. */
#ifndef MANSIO_LOOKUP_DOORMAN_H
#define MANSIO_LOOKUP_DOORMAN_H

#include "daemon/config/config.h"
#include "daemon/edge/channel.h"

struct doorman;

RESULT doorman_new(struct loop *loop, const struct config *cfg, struct doorman **doorman_out);
void doorman_free(struct doorman **doorman);
void doorman_ask(struct doorman *d, struct channel *channel, const struct msg_client_ask *ask);
void doorman_leave(struct doorman *d, const struct channel *channel);

#endif
