/* reader: what the readers of single blocks share: keeping, telling what is wrong, and filling a block by its rows of keys.def.
 *
 * For: config.c, which reads the whole, and the other config_*.c, a noun each. Not for: anybody
 * outside this folder. A reader lives as long as one reading; what it keeps lies in the arena of the tree that it makes.
 *   TRY(reader_block(r, &block, &domain));                                     every key that a row can describe
 *   const struct config_tree_cell *cell = reader_cell(&block, "maildir");      one that it cannot
 *   if (!fits) return reader_wrong(r, cell, "maildir", "a path that begins with /"); */
#ifndef MANSIO_CONFIG_READER_H
#define MANSIO_CONFIG_READER_H

#include "daemon/config/config.h"
#include "daemon/config/tree.h"

struct config_key;

struct reader {
    const char *name;
    struct config *cfg;
    const struct config_tree *tree;
    struct config_error *error;
    const struct config_endpoint **bound; /* every listen address so far */
    size_t bound_count;
};

#define READER_FAIL(r, line, ...)                                                                                      \
    (config_error_set((r)->error, (r)->name, (line), __VA_ARGS__), FAIL(CODE_SYNTAX, "the configuration has an "       \
                                                                                     "error"))

/* A NUL-terminated copy in the tree's arena. */
RESULT reader_keep(struct config *cfg, struct bytes in, struct bytes *kept_out);
/* Room for a list; NULL for none. */
RESULT reader_list(struct config *cfg, size_t count, size_t item_size, void **items_out);
/* Always an error: what was found in the cell and what was expected. */
RESULT reader_wrong(struct reader *r, const struct config_tree_cell *cell, const char *key, const char *expected);
/* A host or domain name as value_name has it; *why_out says what was expected. */
RESULT reader_name(struct reader *r, struct bytes in, struct bytes *kept_out, const char **why_out);
/* Index in "none|opportunistic|required". */
RESULT reader_word(
    struct reader *r, const struct config_tree_cell *cell, const char *key, const char *words, unsigned *index_out);
/* Fills every field of a block that keys.def can describe, defaults included. `base` is the block's struct. */
RESULT reader_block(struct reader *r, const struct config_tree_block *block, void *base);
/* The only cell of a key, or NULL when the file does not set it. */
const struct config_tree_cell *reader_cell(const struct config_tree_block *block, const char *key);

/* Each its blocks, in this order. */
RESULT config_lookups_read(struct reader *r);
RESULT config_sources_read(struct reader *r);
/* After the domains: the lookup that has no block. */
void config_system_lookup_add(struct config *cfg);
RESULT config_listens_read(struct reader *r);
RESULT config_domains_read(struct reader *r);
RESULT config_logins_read(struct reader *r);
RESULT config_routes_read(struct reader *r);
/* Of a route or domain block: whether its source is one, and of use to it. */
RESULT config_source_check(
    struct reader *r, const struct config_tree_block *block, struct bytes name, enum route_kind kind);
/* What a row cannot say of the block `checks`. */
RESULT config_checks_read(struct reader *r, const struct config_tree_block *block);
/* Of `rewrite`; of `srs`, once the domains are read. */
RESULT config_rewrite_read(struct reader *r, const struct config_tree_block *block);
RESULT config_srs_read(struct reader *r);

#endif
