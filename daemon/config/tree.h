/* tree: a configuration text as blocks, keys and values, each value with the line it stood on.
 *
 * For: daemon/config/config.c; the only code that knows libConfuse. Not for: meaning.
 * libConfuse keeps no line per value, so every value is a CFGT_PTR cell made by our own parse callback, which sees the line.
 * Lifetime: views die with config_tree_free. Threads: one parse at a time (libConfuse's lexer is global).
 *   TRY(config_tree_parse("mansio.conf", text, &tree, &error));
 *   for (size_t i = 0; i < config_tree_count(tree, CONFIG_BLOCK_LISTEN); i++) {
 *       struct config_tree_block block = config_tree_block(tree, CONFIG_BLOCK_LISTEN, i);
 *       struct config_tree_values values = config_tree_values(&block, "address"); }
 *   config_tree_free(&tree); */
#ifndef MANSIO_CONFIG_TREE_H
#define MANSIO_CONFIG_TREE_H

#include "daemon/config/config.h"
#include "daemon/config/keys.h"

struct config_tree;

struct config_tree_block {
    enum config_block kind;
    struct bytes title;
    int line; /* of its first key, or of its end when it has none */
    void *section;
};

struct config_tree_cell {
    int line;
    struct bytes text; /* NUL-terminated behind its end */
};

struct config_tree_values {
    bool set; /* written in the file, perhaps as the empty list */
    size_t count;
    void *option;
};

RESULT config_tree_parse(
    const char *name, struct bytes text, struct config_tree **tree_out, struct config_error *error_out);
void config_tree_free(struct config_tree **tree);

/* Untitled blocks count one, written or not. */
size_t config_tree_count(const struct config_tree *tree, enum config_block kind);
struct config_tree_block config_tree_block(const struct config_tree *tree, enum config_block kind, size_t index);
struct config_tree_values config_tree_values(const struct config_tree_block *block, const char *key);
const struct config_tree_cell *config_tree_cell(const struct config_tree_values *values, size_t index);

/* Writes "name:line: ..." into error_out, unless there is an error already. */
void config_error_set(struct config_error *error_out, const char *name, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
