/* account: one line of the users file: who may log in, and what his password is checked against.
 *
 *     alice:$y$j9T$…:SCRAM-SHA-256$15000:…$…:…
 * For: the auth process (finding) and queuectl (editing). Not for: hashing (password.h) or opening files.
 * Blank lines and lines that begin with # are kept and mean nothing. A hash of `!` lets nobody in. Pure.
 *   TRY(account_find(text, BYTES("alice"), &account));
 *   TRY(accounts_edit(text, BYTES("alice"), new_line, &out)); */
#ifndef MANSIO_AUTH_ACCOUNT_H
#define MANSIO_AUTH_ACCOUNT_H

#include "daemon/base/base.h"

enum {
    ACCOUNT_NAME_SIZE_MAX = 256, /* LOCAL_PART_SIZE_MAX: what a session keeps of a login */
    ACCOUNT_HASH_SIZE_MAX = 384, /* CRYPT_OUTPUT_SIZE */
    ACCOUNT_LINE_SIZE_MAX = 1024,
    ACCOUNTS_SIZE_MAX = 16777216,
};

/* Views into the text. */
struct account {
    struct bytes name;
    struct bytes hash;  /* crypt(3) */
    struct bytes scram; /* scram_keys_put's form; empty: only mechanisms that show the password */
};

/* No colon, no blank at its ends, no control characters, not empty, not beginning with #. */
bool account_name_is_valid(struct bytes name);
/* One line without its end. CODE_SYNTAX with why; CODE_GONE: a comment or a blank line. */
RESULT
account_parse(struct bytes line, struct account *account_out);
/* With LF. */
RESULT
account_put(struct buf *out, const struct account *account);
/* Names compare as they are. Of two lines with one name the first counts. Takes the same time whether it is there. */
RESULT
account_find(struct bytes text, struct bytes name, struct account *account_out);
/* The text with that user's lines replaced by `line` (with LF; empty: taken out). A name that was not there goes to the end.
 * *found_out says which. */
RESULT
accounts_edit(struct bytes text, struct bytes name, struct bytes line, struct buf *out, bool *found_out);
/* Walks: false at the end. The line has no LF. */
bool account_line(struct bytes *text, struct bytes *line_out);

#endif
