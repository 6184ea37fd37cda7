/* guard: who guesses passwords: failed logins counted by address block, answered later and later, then not at all.
 *
 * For: the auth process. Not for: sessions per client (inbound/census.h). Pure: the time comes in.
 * A block is an IPv4 address or an IPv6 /64. Every failure after the second makes the answer wait twice as long (1 s to
 * 16 s); at `failures_max` the block is shut out for ban_ms, twice as long each time up to ban_max_ms. A failure is forgotten
 * after GUARD_FORGET_MS without another. A success forgives nothing: a guesser may own an account.
 * The table is fixed; when it is full the entry that was quiet for longest is taken.
 * Two of them stand side by side: one of address blocks, and one of logins (guard_login_key), for guesses at one name from everywhere.
 * There a success of a client makes it an acquaintance: it is judged also while strangers are not.
 *   if (!guard_admit(&g, block, now)) ... 454 ...;   guard_begin / guard_end around each hash
 *   delay_ms = guard_failed(&g, block, now); */
#ifndef MANSIO_AUTH_GUARD_H
#define MANSIO_AUTH_GUARD_H

#include "daemon/base/base.h"

enum {
    GUARD_BLOCKS_MAX = 4096,
    GUARD_PENDING_MAX = 4, /* hashes of one block at a time */
    GUARD_FORGET_MS = 3600000,
    GUARD_DELAY_FIRST_MS = 1000,
    GUARD_DELAY_MAX_MS = 16000,
    GUARD_FREE_FAILURES = 2, /* a mistyped password costs nothing */
};

struct guard_block {
    uint64_t key; /* 0: free */
    uint32_t failures, pending, bans;
    struct instant last, shut_until;
};

struct guard {
    uint32_t failures_max; /* 0: never shut out */
    int64_t ban_ms, ban_max_ms;
    struct guard_block blocks[GUARD_BLOCKS_MAX];
};

void guard_init(struct guard *g, uint32_t failures_max, int64_t ban_ms, int64_t ban_max_ms);
/* False: shut out, or too many of this block's passwords are being checked. */
bool guard_admit(struct guard *g, uint64_t key, struct instant now);
bool guard_begin(struct guard *g, uint64_t key, struct instant now);
void guard_end(struct guard *g, uint64_t key);
/* How long the answer has to wait. */
int64_t guard_failed(struct guard *g, uint64_t key, struct instant now);
/* What another has decided, or what was kept over a restart: shut out until then, after so many bans. A moment in the past
 * forgets all about the block. */
void guard_set(struct guard *g, uint64_t key, struct instant now, struct instant until, uint32_t bans);
/* How often it was shut out lately. */
uint32_t guard_bans(const struct guard *g, uint64_t key);
/* When a shut out block may come again; the past when it may now. */
struct instant guard_shut_until(const struct guard *g, uint64_t key);

/* Which clients have logged in as whom: a table of hashes, the later one of two with one place stays. */
enum { ACQUAINTANCES_MAX = 8192 };

struct acquaintances {
    uint64_t pairs[ACQUAINTANCES_MAX];
};

/* Never that of a block. */
uint64_t guard_login_key(struct bytes name);
void acquaintance_add(struct acquaintances *a, uint64_t login, uint64_t block);
bool acquaintance_is(const struct acquaintances *a, uint64_t login, uint64_t block);

#endif
