/* expand: one recipient of ours and all that its alias data leads to, down to those who really get the mail. Pure.
 *
 * For: the lookup process. Not for: storing (queued replaces the recipient by its leaves in one transaction, Q3).
 * Expansion goes to the bottom in one go: what comes out are addresses elsewhere, mailboxes here, commands and files, each
 * once, however many ways lead to it. An address that names itself means its own mailbox; a circle adds nothing, and a recipient
 * whose circles lead to nobody is EXPAND_LOOP. A file that cannot be read makes the whole recipient wait: nobody gets the
 * mail twice because others waited.
 * owner-NAME beside NAME: what NAME leads to is sent under that address (but a null reverse-path stays null).
 *   struct expansion x;
 *   expand(&book, cfg, &arena, path, &x);
 *   for (leaf = x.leaves; leaf != NULL; leaf = leaf->next) …           everything lives in the arena */
#ifndef MANSIO_LOOKUP_EXPAND_H
#define MANSIO_LOOKUP_EXPAND_H

#include "daemon/lookup/book.h"

enum { EXPAND_LEAF_COUNT_MAX = 200000 };

enum expand_verdict {
    EXPAND_LEAVES,
    EXPAND_UNKNOWN,  /* 5.1.1 */
    EXPAND_LOOP,     /* 5.4.6 */
    EXPAND_LATER,    /* 4.3.0, `why` tells */
    EXPAND_TOO_MANY, /* 5.4.6: over EXPAND_LEAF_COUNT_MAX */
    EXPAND_WAIT,     /* cards are being asked for (cards.h): the same again when they are there */
};

enum leaf_kind {
    LEAF_ADDRESS, /* text: where its route leads; not expanded again */
    LEAF_UNKNOWN, /* text: an address in a domain of ours that does not exist */
    LEAF_COMMAND, /* text: command line; address: the alias that holds it */
    LEAF_FILE,
};

struct leaf {
    struct leaf *next;
    enum leaf_kind kind;
    struct bytes text, address;
    struct bytes owner; /* the reverse-path from here on; empty: the message's own */
    struct bytes via;   /* LEAF_ADDRESS: its route by a lookup, as in `via`; empty: that of the configuration */
};

struct expansion {
    enum expand_verdict verdict;
    const char *why; /* a literal */
    struct leaf *leaves;
    uint32_t leaf_count;
};

/* `path`: a canonical local@domain. */
void expand(
    const struct book *b, const struct config *cfg, struct arena *a, struct bytes path, struct expansion *x_out);

#endif
