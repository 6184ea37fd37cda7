/* The source blocks: from where, and as whom, mail of some routes goes out. */
#include <arpa/inet.h>

#include "daemon/config/reader.h"

/* It is part of the name of a lane. */
static bool name_is_valid(struct bytes name)
{
    bool valid = name.size > 0 && name.size <= ROUTE_SOURCE_NAME_SIZE_MAX;

    for (size_t i = 0; i < name.size && valid; i++) {
        uint8_t octet = octet_lower(name.data[i]);
        valid = (octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9') || octet == '-' || octet == '_' ||
                octet == '.';
    }
    return valid;
}

static RESULT address_read(struct reader *r, const struct config_tree_cell *cell, struct config_source *source)
{
    static const uint8_t any[16];
    const char *text = (const char *)cell->text.data;
    bool ipv4 = inet_pton(AF_INET, text, source->ipv4) == 1;
    bool ipv6 = !ipv4 && inet_pton(AF_INET6, text, source->ipv6) == 1;
    bool again = (ipv4 && source->has_ipv4) || (ipv6 && source->has_ipv6);

    if (!ipv4 && !ipv6)
        return reader_wrong(r, cell, "address", "an IPv4 or IPv6 address of this host");
    if (again || memcmp(ipv4 ? source->ipv4 : source->ipv6, any, ipv4 ? 4 : 16) == 0)
        return reader_wrong(r, cell, "address", "at most one address of each family, and none of zeros");
    source->has_ipv4 = source->has_ipv4 || ipv4;
    source->has_ipv6 = source->has_ipv6 || ipv6;
    return OK;
}

static RESULT source_read(struct reader *r, const struct config_tree_block *block, struct config_source *source)
{
    struct config_tree_values addresses = config_tree_values(block, "address");

    if (!name_is_valid(block->title))
        return READER_FAIL(r, block->line,
            "source: found \"%.200s\", expected at most %d letters, digits, '-', '_', '.'",
            (const char *)block->title.data, ROUTE_SOURCE_NAME_SIZE_MAX);
    TRY(reader_keep(r->cfg, block->title, &source->name));
    TRY(reader_block(r, block, source));
    for (size_t i = 0; i < addresses.count; i++)
        TRY(address_read(r, config_tree_cell(&addresses, i), source));
    if (!config_source_ipv4(source) && !config_source_ipv6(source))
        return READER_FAIL(r, block->line,
            "source \"%s\": found an address of the family that it does not use, expected one of families = '%s'",
            (const char *)source->name.data, source->families == SOURCE_IPV4 ? "ipv4" : "ipv6");
    return OK;
}

RESULT config_sources_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_SOURCE);
    void *items;

    TRY(reader_list(r->cfg, count, sizeof *r->cfg->sources, &items));
    r->cfg->sources = items;
    for (; r->cfg->source_count < count; r->cfg->source_count++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_SOURCE, r->cfg->source_count);

        r->cfg->sources[r->cfg->source_count] = (struct config_source){0};
        TRY(source_read(r, &block, &r->cfg->sources[r->cfg->source_count]));
    }
    return OK;
}

RESULT config_source_check(
    struct reader *r, const struct config_tree_block *block, struct bytes name, enum route_kind kind)
{
    const struct config_tree_cell *cell = reader_cell(block, "source");

    if (cell == NULL)
        return OK;
    if (kind != ROUTE_MX && kind != ROUTE_RELAY)
        return READER_FAIL(r, cell->line, "source: found '%.200s', expected it only with mx or relay:…",
            (const char *)cell->text.data);
    return config_source_find(r->cfg, name) != NULL ? OK
                                                    : reader_wrong(r, cell, "source", "the name of a source block");
}

const struct config_source *config_source_find(const struct config *cfg, struct bytes name)
{
    for (size_t i = 0; i < cfg->source_count; i++)
        if (bytes_equal(cfg->sources[i].name, name))
            return &cfg->sources[i];
    return NULL;
}

bool config_source_ipv4(const struct config_source *s)
{
    return s->families != SOURCE_IPV6 && (s->has_ipv4 || !s->has_ipv6);
}

bool config_source_ipv6(const struct config_source *s)
{
    return s->families != SOURCE_IPV4 && (s->has_ipv6 || !s->has_ipv4);
}
