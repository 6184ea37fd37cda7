/* rewriting: which address stands for which: canonical maps, masquerading and generic maps, as the block `rewrite` has them.
 * docs/rewriting.md tells it to operators.
 *
 * For: inbound (envelopes, and headers through smtp/rewrite.h) and outbound (generic). Not for: aliases, which say who gets mail.
 *   struct rewriting w = {.cfg = cfg};
 *   TRY(rewriting_take(&w, TABLE_CANONICAL, text));          for each table that comes; the text is taken
 *   if (rewriting_is_for(&w, class) && rewriting_canonical(&w, REWRITE_SENDER, true, path, &out)) …
 *   rewriting_fini(&w);
 * Each map is asked once, for the address and, where it has none, for user@domain without the tag of a subaddress of ours (the tag
 * stays), user, and @domain. Lifetime: of its process; cfg is borrowed. */
#ifndef MANSIO_CONFIG_REWRITING_H
#define MANSIO_CONFIG_REWRITING_H

#include "daemon/config/address_map.h"
#include "daemon/config/config.h"
#include "smtp/rewrite.h"

enum { REWRITING_MAP_COUNT = TABLE_GENERIC + 1 };

struct rewriting {
    const struct config *cfg;
    struct address_map maps[REWRITING_MAP_COUNT];
    struct bytes texts[REWRITING_MAP_COUNT]; /* theirs */
};

/* `text` is of mem_take and belongs to `w` from now on, whatever is returned. */
RESULT rewriting_take(struct rewriting *w, enum config_table table, struct bytes text);
void rewriting_fini(struct rewriting *w);

/* Whether mail of the class is rewritten at all: when it comes in, and when it goes out. */
bool rewriting_is_for(const struct rewriting *w, enum mail_class class);
bool rewriting_has_canonical(const struct rewriting *w);
bool rewriting_has_generic(const struct rewriting *w);

/* True: `out` (ADDRESS_SIZE_MAX of room) holds what stands for the canonical address `path`; false: it stays. First the map of its
 * side, then the one of both, then masquerading, which recipients of the envelope are spared: their host may be a real one. */
bool rewriting_canonical(
    const struct rewriting *w, enum rewrite_side side, bool envelope, struct bytes path, struct buf *out);
bool rewriting_generic(const struct rewriting *w, struct bytes path, struct buf *out);

#endif
