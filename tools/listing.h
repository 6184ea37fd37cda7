/* listing: mailq's form of one message, straight from its line of the control protocol.
 *
 * For: `mailq` on a deep queue, where making a tree of each line would cost more than all the rest. Not for: lines with anything
 * that needs care (escapes, other than printable ASCII, hundreds of recipients): those go through jansson and render.c, which print
 * the same.
 *   if (!listing_line(t, line, index)) render_mailq(stdout, json_loadb(…), now);
 * Threads: none. */
#ifndef MANSIO_TOOLS_LISTING_H
#define MANSIO_TOOLS_LISTING_H

#include "tools/queuectl.h"

/* The whole of one message, as render_mailq has it; CODE_SYNTAX for another form, CODE_FULL. */
RESULT listing_put(struct buf *out, struct bytes line, int64_t now);
/* False, and nothing was printed: not of the simple form. */
bool listing_line(const struct tool *t, struct bytes line, uint64_t index);

#endif
