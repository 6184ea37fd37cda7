/* rates: the buckets (base/rate.h) of all clients, logins, users and sender domains, shared by the inbound processes.
 *
 * For: session_limits.c. Not for: sessions open now (census.h, whose memory this is), nor for quotas that outlive the daemon
 * (queued/quota.h). Pure but for the atomics: the time and the memory come in.
 * The table is fixed. A bucket that is full again is the same as none and its place is free; when a key finds none, the one
 * of its neighbours that is nearest to being full is forgotten: under a flood from everywhere bounds leak, they never refuse
 * who did nothing.
 *   uint64_t key = rates_key(LIMIT_CLIENT_MESSAGES, subject);
 *   if (!rates_take(table, &cfg->rates.client_messages, key, now_ms, 1)) ... 450 ... */
#ifndef MANSIO_INBOUND_RATES_H
#define MANSIO_INBOUND_RATES_H

#include <stdatomic.h>

#include "daemon/base/base.h"
#include "daemon/base/rate.h"

enum { RATES_SLOT_COUNT = 65536, RATES_WALK = 8 };

struct rates_slot {
    _Atomic uint64_t key; /* 0: never used */
    _Atomic uint64_t bucket;
};

/* Never 0. `kind` tells apart what is counted of one subject. */
uint64_t rates_key(unsigned kind, struct bytes subject);
bool rates_take(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms, uint64_t n);
void rates_spend(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms, uint64_t n);
/* True when not even one could be taken. */
bool rates_spent(struct rates_slot *table, const struct rate *rate, uint64_t key, int64_t now_ms);

#endif
