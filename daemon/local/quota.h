/* quota: the Maildir++ quota of one Maildir, as its file `maildirsize` says.
 *
 * For: mailbox.c, around the commit of a message. Not for: making the file or counting it anew, which is the part of the program that
 * serves the mailbox (Dovecot's quota plugin, courier): a Maildir without the file has no quota of this kind.
 * The file: "10000000S,1000C" and then lines "octets messages", of which the sum is what is there now.
 *   TRY(quota_check(dir_fd, size, &counted));      CODE_IO with EDQUOT: the message does not fit
 *   quota_add(dir_fd, size);             it is there now
 * Threads: any; nothing is kept and nothing taken from the heap. */
#ifndef MANSIO_LOCAL_QUOTA_H
#define MANSIO_LOCAL_QUOTA_H

#include "daemon/base/base.h"

/* *counted_out: whether there is a file, to be added to. */
RESULT quota_check(int dir_fd, uint64_t size, bool *counted_out);
void quota_add(int dir_fd, uint64_t size);
/* The same for the file's text: whether another message of `size` octets is within it. */
bool quota_has_room(struct bytes text, uint64_t size);

#endif
