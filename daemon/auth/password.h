/* password: crypt(3) hashes: making them (yescrypt) and checking against them (whatever the system's crypt knows).
 *
 * For: the auth process's helper threads and queuectl. Not for: SCRAM keys (smtp/scram.h).
 * Slow and memory-hungry by design: a check takes tens of milliseconds and 16 MiB. Threads: any; no shared state.
 *   TRY(password_hash(BYTES("secret"), &out));            "$y$j9T$…"
 *   struct password_room *room = mem_take_zero(sizeof *room);
 *   if (password_check(room, "secret", "$y$j9T$…")) ... */
#ifndef MANSIO_AUTH_PASSWORD_H
#define MANSIO_AUTH_PASSWORD_H

#include "daemon/base/base.h"

enum { PASSWORD_SIZE_MAX = 512 }; /* CRYPT_MAX_PASSPHRASE_SIZE */

struct password_room { /* what crypt works in; wiped after each use */
    _Alignas(16) uint8_t octets[32768];
};

/* CODE_IO when the system's crypt cannot. The password holds no NUL. */
RESULT
password_hash(struct bytes password, struct buf *out);
/* NUL-terminated both. Takes as long for a hash that never fits. */
bool password_check(struct password_room *room, const char *password, const char *hash);
/* Of the same cost as those that password_hash makes, and of no password: for users who do not exist. */
extern const char PASSWORD_OF_NOBODY[];

#endif
