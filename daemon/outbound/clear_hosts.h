/* clear_hosts: hosts whose TLS handshake failed and that took mail in the clear instead, so that the next attempt does not wait for the same
 * handshake again.
 *
 * For: link_tls.c, at the level `opportunistic` alone. Not for: levels that ask for TLS: mail of theirs is never sent in the clear. Threads: none.
 * A key holds host, address and port: a domain that names somebody else's address as its MX host, and so makes the handshake fail
 * by the name, spoils nothing for mail that is meant for that address under its own name. Plain memory; all zero is an empty table.
 * Bounds: CLEAR_HOSTS_COUNT_MAX places, each for CLEAR_HOSTS_KEEP_MS; the oldest goes first. What is forgotten costs a handshake.
 *   if (clear_hosts_has(&t, key, now)) ... no STARTTLS ...    clear_hosts_put(&t, key, now); */
#ifndef MANSIO_OUTBOUND_CLEAR_HOSTS_H
#define MANSIO_OUTBOUND_CLEAR_HOSTS_H

#include "daemon/base/base.h"
#include "smtp/digest.h"

enum {
    CLEAR_HOSTS_COUNT_MAX = 1024,
    CLEAR_HOSTS_KEEP_MS = 3600000,
};

struct clear_hosts_place {
    struct instant until;
    uint8_t digest[DIGEST_SIZE]; /* of the key: names from the DNS choose no collision */
};

struct clear_hosts {
    size_t count;
    struct clear_hosts_place places[CLEAR_HOSTS_COUNT_MAX]; /* the first `count`, in no order */
};

/* From now on for CLEAR_HOSTS_KEEP_MS, whether it was there or not. */
void clear_hosts_put(struct clear_hosts *t, struct bytes key, struct instant now);
/* False, and forgotten, when its time is over. */
bool clear_hosts_has(struct clear_hosts *t, struct bytes key, struct instant now);

#endif
