/* mbox: one message to the end of a file of messages, under the locks that readers keep.
 *
 * For: a helper of local (it blocks). Not for: the loop. The file is made when missing, mode 0600; links are not followed.
 * Locks: PATH.lock (a dotlock, where the folder lets us make one) and then fcntl, each waited for with a bound. A line that begins
 * with "From " behind any number of '>' gets another '>' (mboxrd), so that readers can undo it. What cannot be written whole is cut off
 * again; the message is synced before success is said.
 *   TRY(mbox_append("/var/mail/archive", STDIN_FILENO, BYTES("a@b.example"), now_s, MBOX_WAIT_MS)); */
#ifndef MANSIO_LOCAL_MBOX_H
#define MANSIO_LOCAL_MBOX_H

#include "daemon/base/base.h"

enum { MBOX_WAIT_MS = 30000, MBOX_STALE_S = 600 };

/* `input`: a message with LF line ends, from its beginning. `sender` empty: MAILER-DAEMON. now_s: seconds since 1970.
 * CODE_TIMEOUT: somebody holds a lock; CODE_REFUSED: not a regular file; CODE_IO with errno. */
RESULT mbox_append(const char *path, int input, struct bytes sender, int64_t now_s, int64_t wait_ms);

#endif
