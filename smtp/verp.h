/* verp: variable envelope return paths: a reverse-path for each recipient, which names the recipient, so that a mailing list
 * knows from the address of a bounce alone who cannot be reached.
 *
 * For: a message that asks for it (sendmail -XV, the parameter XVERP of MAIL). Not for: reading such an address back: that
 * is the list's program.
 *   TRY(verp_put(&out, BYTES("list-bounces@a.example"), delimiters, BYTES("bob@b.example"), utf8));
 *   -- out is list-bounces+bob=b.example@a.example */
#ifndef MANSIO_SMTP_VERP_H
#define MANSIO_SMTP_VERP_H

#include "daemon/base/base.h"

/* Between the sender's name and the recipient's, and in the place of the recipient's @. {0}: no such thing is asked for. */
struct verp_delimiters {
    uint8_t before, at;
};

static inline bool verp_is_on(struct verp_delimiters d)
{
    return d.before != 0;
}

/* Two octets out of "-+=", as in Postfix. CODE_SYNTAX for anything else. */
RESULT verp_delimiters_read(struct bytes text, struct verp_delimiters *delimiters_out);

/* Both addresses are canonical (address.h); the null path has no name to put anything behind: ASSERTed. The result is
 * canonical too. CODE_FULL when it is longer than an address may be. */
RESULT verp_put(struct buf *out, struct bytes reverse_path, struct verp_delimiters delimiters,
    struct bytes forward_path, bool utf8);

#endif
