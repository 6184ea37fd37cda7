#include "daemon/config/keys.h"

#include "daemon/config/config.h"

/* The struct that a block's fields live in. */
#define BLOCK(id, name, type, flags) typedef type block_##id;
#include "daemon/config/keys.def"
#undef BLOCK

const struct config_key config_keys[] = {
#define KEY(block, name, kind, field, preset, low, high, words)                                                        \
    {CONFIG_BLOCK_##block, #name, CONFIG_KIND_##kind, offsetof(block_##block, field), preset, low, high, words},
#include "daemon/config/keys.def"
#undef KEY
};
const size_t config_key_count = COUNT_OF(config_keys);

const char *const config_block_names[CONFIG_BLOCK_COUNT] = {
#define BLOCK(id, name, type, flags) name,
#include "daemon/config/keys.def"
#undef BLOCK
};

bool config_key_is_list(const struct config_key *key)
{
    switch (key->kind) {
    case CONFIG_KIND_TEXTS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_TABLES:
    case CONFIG_KIND_MEMBERS:
    case CONFIG_KIND_LOOKUPS:
    case CONFIG_KIND_NETWORKS:
    case CONFIG_KIND_ENDPOINTS:
        return true;
    case CONFIG_KIND_CUSTOM:
        return (key->block == CONFIG_BLOCK_DNS && strcmp(key->name, "servers") == 0) ||
               (key->block == CONFIG_BLOCK_SOURCE && strcmp(key->name, "address") == 0) ||
               (key->block == CONFIG_BLOCK_CHECKS && strcmp(key->name, "lists") == 0) ||
               (key->block == CONFIG_BLOCK_RETRY && strcmp(key->name, "plan") == 0);
    default:
        return false;
    }
}

const struct config_key *config_key_find(enum config_block block, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].block == block && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}
