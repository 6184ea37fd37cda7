/* resumption: TLS sessions to take up again, by destination: a second connection to a host saves the signatures of a whole handshake.
 *
 * For: link_tls.c. Not for: sessions that TLSA records prove: they are proved anew each time, since records change. Threads: none.
 * A key holds all that decided what the first handshake had to prove (level, host, address, port, domain), so that nothing is taken
 * up that proved less. Each session serves once (RFC 8446 C.4); the host gives a new one. Bounds: RESUMPTION_COUNT_MAX sessions, each
 * for RESUMPTION_KEEP_MS; the oldest goes first. Secrets are wiped.
 *   resumption_put(r, key, session, now);    if (resumption_take(r, key, now, &room)) ... offer buf_bytes(&room) ... */
#ifndef MANSIO_OUTBOUND_RESUMPTION_H
#define MANSIO_OUTBOUND_RESUMPTION_H

#include "daemon/base/base.h"

enum {
    RESUMPTION_COUNT_MAX = 256,
    RESUMPTION_KEEP_MS = 3600000,
    RESUMPTION_KEY_SIZE_MAX = 640,
    RESUMPTION_SESSION_SIZE_MAX = 16384,
};

struct resumption_entry {
    uint8_t *octets; /* key, then session; NULL: free */
    uint16_t key_size, session_size;
    struct instant until;
};

struct resumption {
    struct resumption_entry entries[RESUMPTION_COUNT_MAX];
};

/* Takes the place of one with the same key. What is too large, or finds no memory, is not kept. */
void resumption_put(struct resumption *r, struct bytes key, struct bytes session, struct instant now);
/* Out of the table into `room`; false when there is none. */
bool resumption_take(struct resumption *r, struct bytes key, struct instant now, struct buf *room);
void resumption_fini(struct resumption *r);

#endif
