/* field_lex: the words of a structured header field's value (RFC 5322 3.2, RFC 2045 5.1), as they stand in memory.
 *
 * For: mime.h and downgrade.h. Not for: reading addresses (address_list.h). Nothing is refused: a comment or a quoted
 * string without its end goes to the end of the value, and 8-bit octets belong to words.
 *   while (field_lex_next(&rest, FIELD_LEX_ADDRESS, &token)) use(token.kind, token.text);
 * All tokens together are the value, octet for octet. Lifetime: views into it. */
#ifndef MANSIO_SMTP_FIELD_LEX_H
#define MANSIO_SMTP_FIELD_LEX_H

#include "daemon/base/base.h"

/* Octets that are tokens of their own. */
#define FIELD_LEX_ADDRESS "<>,;:@"
#define FIELD_LEX_MIME "<>,;:@/?="

enum field_token_kind {
    FIELD_BLANK,   /* spaces, tabs, line ends */
    FIELD_COMMENT, /* with its parentheses, nested ones in it */
    FIELD_QUOTED,  /* with its quotes */
    FIELD_LITERAL, /* with its brackets */
    FIELD_SPECIAL, /* one octet */
    FIELD_WORD,
};

struct field_token {
    enum field_token_kind kind;
    struct bytes text;
};

/* Takes the next token off *rest; false at its end. */
bool field_lex_next(struct bytes *rest, const char *specials, struct field_token *token_out);

/* What a quoted string or a comment holds: without its frame and backslashes; line ends go. CODE_FULL. */
RESULT
field_unquote(struct bytes text, struct buf *out);

/* Without the line ends of folding. CODE_FULL. */
RESULT
field_unfold(struct bytes text, struct buf *out);

#endif
