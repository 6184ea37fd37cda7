/* lexical: puts a configuration text into one plain form before libConfuse reads it.
 *
 * For: daemon/config/tree.c. Not for: meaning; it knows words, quotes, comments and braces alone.
 * Why it exists (libConfuse 3.3): an unquoted `*` is dropped, `${NAME}` takes in the environment of whoever runs the program,
 * an unterminated quote at the end of the text is accepted in silence, NUL ends the text, and a word like `log|level` reaches into
 * another block. Here each word leaves as one single-quoted string on the line it stood on, comments leave as nothing, and
 * whatever cannot be meant is an error with its line. So a file means the same to every program and user.
 *   TRY(lexical_plain(text, &out, &error)); */
#ifndef MANSIO_CONFIG_LEXICAL_H
#define MANSIO_CONFIG_LEXICAL_H

#include "daemon/base/base.h"

struct lexical_error {
    int line;
    struct bytes found; /* a view of the text */
    const char *why;    /* what was expected */
};

/* Room that the plain form of any text of `size` octets fits in. */
static inline size_t lexical_room(size_t size)
{
    return size * 4 + 2;
}

/* CODE_SYNTAX with error_out filled. The plain form ends with a LF. */
RESULT lexical_plain(struct bytes text, struct buf *out, struct lexical_error *error_out);

#endif
