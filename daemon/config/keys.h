/* keys: the table of configuration keys (keys.def) as data.
 *
 * For: the reader, and the tests that compare documentation with what is read. Not for: values (config.h).
 *   for (size_t i = 0; i < config_key_count; i++) check(config_keys[i].name); */
#ifndef MANSIO_CONFIG_KEYS_H
#define MANSIO_CONFIG_KEYS_H

#include "daemon/base/base.h"

enum config_block {
#define BLOCK(id, name, type, flags) CONFIG_BLOCK_##id,
#include "daemon/config/keys.def"
#undef BLOCK
    CONFIG_BLOCK_COUNT
};

enum config_kind {
    CONFIG_KIND_TEXT,
    CONFIG_KIND_TEXTS,
    CONFIG_KIND_PATH, /* absolute */
    CONFIG_KIND_PATHS,
    CONFIG_KIND_TABLES,  /* each a path, or lookup:NAME of a lookup block */
    CONFIG_KIND_MEMBERS, /* each a word, a path or lookup:NAME */
    CONFIG_KIND_LOOKUPS, /* each lookup:NAME */
    CONFIG_KIND_NAME,    /* a host or domain name */
    CONFIG_KIND_TIME,
    CONFIG_KIND_SIZE,
    CONFIG_KIND_NUMBER,
    CONFIG_KIND_PORT,
    CONFIG_KIND_PERCENT, /* written 0..1 */
    CONFIG_KIND_RATE,    /* "100/1m burst 20"; 0 is no bound */
    CONFIG_KIND_BOOL,
    CONFIG_KIND_WORD,
    CONFIG_KIND_SWITCH, /* two words, kept as bool */
    CONFIG_KIND_NETWORKS,
    CONFIG_KIND_ENDPOINTS,
    CONFIG_KIND_TARGET,
    CONFIG_KIND_CUSTOM, /* config.c reads it by hand */
};

struct config_key {
    enum config_block block;
    const char *name;
    enum config_kind kind;
    size_t offset;
    const char *preset; /* the default's text; NULL: none or computed */
    int64_t low, high;
    const char *words;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;
/* "" for the top level. */
extern const char *const config_block_names[CONFIG_BLOCK_COUNT];

/* True for keys that take a list. */
bool config_key_is_list(const struct config_key *key);
/* NULL when the block has no such key. */
const struct config_key *config_key_find(enum config_block block, const char *name);

#endif
