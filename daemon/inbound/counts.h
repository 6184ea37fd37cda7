/* counts: what the front door did, counted here and told to queued for its metrics once a second while something happens.
 *
 * For: session_*.c. Not for: bounds (rates.h) or single cases (the log).
 *   counts_add(in->counts, DOOR_LIMITED, BYTES("client_messages"));     NULL counts nothing
 * Bounds: COUNTS_MAX pairs of family and label; later ones are left out. Lifetime: loop and depot outlive it. */
#ifndef MANSIO_INBOUND_COUNTS_H
#define MANSIO_INBOUND_COUNTS_H

#include "daemon/inbound/depot.h"

enum { COUNTS_MAX = 96, COUNTS_LABEL_SIZE_MAX = 64, COUNTS_WAIT_MS = 1000 };

struct counts;

struct counts *counts_new(struct loop *loop, struct depot *depot);
void counts_free(struct counts **counts);
/* A label is cut to COUNTS_LABEL_SIZE_MAX octets. */
void counts_add(struct counts *c, enum door_family family, struct bytes label);

#endif
