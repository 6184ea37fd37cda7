/* address_map: a text file that says which address stands for which, in memory.
 *
 * For: canonical and generic maps (rewriting.h). Not for: aliases and virtual tables, where one stands for many (lookup/alias.h).
 * A line is a key and its address, parted by blanks; empty lines and those that begin with '#' are passed over:
 *   user@domain  address       that address
 *   user         address       the user at `origin` or `hostname`
 *   @domain      address       every user of the domain
 * An address is user@domain, @domain (the user stays what it is) or user (at `origin`). ASCII, but for keys; case counts for
 * nothing. A key stands once.
 *   TRY(address_map_read(text, &map, &line));   if (address_map_find(&map, key, &target)) …   address_map_free(&map);
 * Lifetime: entries are views into the text, which the caller keeps. */
#ifndef MANSIO_CONFIG_ADDRESS_MAP_H
#define MANSIO_CONFIG_ADDRESS_MAP_H

#include "daemon/base/base.h"

struct address_map_entry {
    struct bytes key, target;
    unsigned line;
};

struct address_map {
    struct address_map_entry *entries; /* sorted by key */
    size_t count;
};

/* CODE_SYNTAX with why: the line *line_out is wrong. CODE_FULL: no memory. */
RESULT address_map_read(struct bytes text, struct address_map *map_out, unsigned *line_out);
void address_map_free(struct address_map *map);
bool address_map_find(const struct address_map *map, struct bytes key, struct bytes *target_out);

#endif
