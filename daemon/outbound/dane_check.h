/* dane_check: whether DANE works here: once at the start and then daily it asks the resolver for a name in a signed zone, one in an
 * unsigned zone and one in a zone that is broken on purpose. A resolver that validates vouches for the first, not for the second, and
 * gives no answer for the third.
 *
 * For: outbound's main, where a route asks for TLSA records. Not for: deciding deliveries: each asks for itself.
 *   TRY(dane_check_new(loop, cfg, on_state, ob, &check));   dane_check_free(&check); */
#ifndef MANSIO_OUTBOUND_DANE_CHECK_H
#define MANSIO_OUTBOUND_DANE_CHECK_H

#include "daemon/config/config.h"
#include "daemon/edge/dns_edge.h"
#include "daemon/edge/loop.h"

enum { DANE_CHECK_EVERY_MS = 86400000, DANE_CHECK_AGAIN_MS = 600000 };

struct dane_check;

/* From the loop, after each look; it has been logged. */
typedef void dane_check_on_state(void *owner, bool live);

/* NULL in *check_out, and OK, where no route wants TLSA records. */
RESULT dane_check_new(struct loop *loop, const struct config *cfg, dane_check_on_state *on_state, void *owner,
    struct dane_check **check_out);
void dane_check_free(struct dane_check **check);

#endif
