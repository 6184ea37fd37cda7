/* forward: the ~/.forward of a user of the host: read with his rights, and what it asks for.
 *
 * For: the job of a hand that acts as that user. Not for: following it (queued and lookup do).
 * Read is ~/.forward+EXTENSION for a subaddress if it is there, else ~/.forward. Nobody but the user and root may be able to change
 * it: a link, a file with two names, another owner, a mode that lets others write it or the home are refused.
 *   struct result r = forward_read(&owner, BYTES("+"), extension, &text);      CODE_GONE: there is none
 *   TRY(forward_targets(&owner, path, text, &arena, &targets));                CODE_SYNTAX: why
 * Targets: an address (bare ones get the domain of `path`); his own mailbox (his own name, with or without \\); |command; /file. */
#ifndef MANSIO_LOCAL_FORWARD_H
#define MANSIO_LOCAL_FORWARD_H

#include "daemon/ipc/words.h"
#include "daemon/local/owner.h"

enum { FORWARD_SIZE_MAX = 65536, FORWARD_TARGETS_MAX = 1000 };

struct forward_target {
    struct forward_target *next;
    enum child_kind kind; /* FORWARD, MAILBOX, COMMAND or FILE */
    struct bytes text;
};

/* `extension` empty: no subaddress, else `delimiter` parts it. CODE_GONE, CODE_REFUSED (it is not safe), CODE_IO. */
RESULT forward_read(const struct owner *owner, struct bytes delimiter, struct bytes extension, struct buf *text);
/* `path`: the canonical local@domain that led here. In the arena; NULL targets when it asks for nothing. */
RESULT forward_targets(const struct owner *owner, struct bytes path, struct bytes text, struct arena *a,
    struct forward_target **targets_out);

#endif
