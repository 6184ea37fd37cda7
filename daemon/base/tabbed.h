/* tabbed: lines of fields parted by tabs, as Dovecot's services speak them.
 *
 * For: daemon/auth/dovecot.c, daemon/lookup/book_dovecot.c. Not for: lines (who reads the socket makes those). Pure.
 *   word = tabbed_take(&line);       the first field, which is gone from the line then; empty at the end
 *   TRY(tabbed_unescape(field, &out)); */
#ifndef MANSIO_TABBED_H
#define MANSIO_TABBED_H

#include "daemon/base/base.h"

struct bytes tabbed_take(struct bytes *rest);
/* Octets that would end a field or line travel as 0x01 and a letter. CODE_SYNTAX for a letter that means nothing, CODE_FULL. */
RESULT
tabbed_unescape(struct bytes field, struct buf *out);

#endif
