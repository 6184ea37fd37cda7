#include "daemon/config/reader.h"

#include "daemon/config/keys.h"
#include "daemon/config/value.h"

RESULT reader_keep(struct config *cfg, struct bytes in, struct bytes *kept_out)
{
    void *memory;

    TRY(arena_take(&cfg->arena, in.size + 1, &memory));
    if (in.size > 0)
        memcpy(memory, in.data, in.size);
    *kept_out = (struct bytes){memory, in.size};
    return OK;
}

RESULT reader_list(struct config *cfg, size_t count, size_t item_size, void **items_out)
{
    *items_out = NULL;
    return count == 0 ? OK : arena_take(&cfg->arena, count * item_size, items_out);
}

RESULT reader_wrong(struct reader *r, const struct config_tree_cell *cell, const char *key, const char *expected)
{
    return READER_FAIL(r, cell->line, "%s: found '%.200s', expected %s", key, (const char *)cell->text.data, expected);
}

RESULT reader_name(struct reader *r, struct bytes in, struct bytes *kept_out, const char **why_out)
{
    uint8_t room[DOMAIN_SIZE_MAX + 1];
    struct buf name = BUF(room);
    struct result result = value_name(in, &name);

    *why_out = result.why;
    TRY(result);
    return reader_keep(r->cfg, buf_bytes(&name), kept_out);
}

static RESULT number_read(
    struct reader *r, const struct config_key *k, const struct config_tree_cell *cell, void *field)
{
    struct result result;
    uint64_t octets = 0;
    int64_t value = 0;
    uint32_t percent = 0;

    switch (k->kind) {
    case CONFIG_KIND_TIME:
        result = value_time(cell->text, &value);
        break;
    case CONFIG_KIND_SIZE:
        result = value_size(cell->text, &octets);
        value = (int64_t)octets;
        break;
    case CONFIG_KIND_PERCENT:
        result = value_percent(cell->text, &percent);
        value = percent;
        break;
    default:
        result = bytes_to_u64(cell->text, INT64_MAX, &octets);
        value = (int64_t)octets;
        if (!is_ok(result))
            result.why = "a number";
    }
    if (!is_ok(result))
        return reader_wrong(r, cell, k->name, result.why);
    if (value < k->low || value > k->high) {
        const char *unit = k->kind == CONFIG_KIND_TIME ? " ms" : k->kind == CONFIG_KIND_SIZE ? " octets" : "";

        if (k->high == INT64_MAX)
            return READER_FAIL(r, cell->line, "%s: found '%.100s', expected at least %" PRId64 "%s", k->name,
                (const char *)cell->text.data, k->low, unit);
        return READER_FAIL(r, cell->line, "%s: found '%.100s', expected %" PRId64 " to %" PRId64 "%s", k->name,
            (const char *)cell->text.data, k->low, k->high, unit);
    }
    if (k->kind == CONFIG_KIND_PORT)
        *(uint16_t *)field = (uint16_t)value;
    else if (k->kind == CONFIG_KIND_NUMBER || k->kind == CONFIG_KIND_PERCENT)
        *(uint32_t *)field = (uint32_t)value;
    else
        *(int64_t *)field = value;
    return OK;
}

RESULT reader_word(
    struct reader *r, const struct config_tree_cell *cell, const char *key, const char *words, unsigned *index_out)
{
    if (!is_ok(value_word(cell->text, words, index_out)))
        return READER_FAIL(
            r, cell->line, "%s: found '%.200s', expected one of %s", key, (const char *)cell->text.data, words);
    return OK;
}

static RESULT single_read(
    struct reader *r, const struct config_key *k, const struct config_tree_cell *cell, void *field)
{
    const char *why;
    unsigned index;

    switch (k->kind) {
    case CONFIG_KIND_PATH:
        if (cell->text.size == 0 || cell->text.data[0] != '/')
            return reader_wrong(r, cell, k->name, "a path that begins with /");
        return reader_keep(r->cfg, cell->text, field);
    case CONFIG_KIND_TEXT:
        if (cell->text.size == 0)
            return reader_wrong(r, cell, k->name, "a word");
        return reader_keep(r->cfg, cell->text, field);
    case CONFIG_KIND_NAME:
        return is_ok(reader_name(r, cell->text, field, &why)) ? OK : reader_wrong(r, cell, k->name, why);
    case CONFIG_KIND_BOOL: {
        struct result result = value_bool(cell->text, field);

        return is_ok(result) ? OK : reader_wrong(r, cell, k->name, result.why);
    }
    case CONFIG_KIND_RATE: {
        struct result result = value_rate(cell->text, field);

        return is_ok(result) ? OK : reader_wrong(r, cell, k->name, result.why);
    }
    case CONFIG_KIND_WORD:
        TRY(reader_word(r, cell, k->name, k->words, &index));
        *(int *)field = (int)index;
        return OK;
    case CONFIG_KIND_SWITCH:
        TRY(reader_word(r, cell, k->name, k->words, &index));
        *(bool *)field = index == 1;
        return OK;
    case CONFIG_KIND_TARGET: {
        struct result result = route_target_parse(&r->cfg->arena, cell->text, field);

        if (is_ok(result))
            return OK;
        return READER_FAIL(r, cell->line, "%s: found '%.200s': %s; expected one of %s", k->name,
            (const char *)cell->text.data, result.why, k->words);
    }
    default:
        return number_read(r, k, cell, field);
    }
}

/* What an item of a list must be, by its kind; NULL when it is. */
static const char *item_fault(const struct reader *r, enum config_kind kind, struct bytes item)
{
    bool path = item.size > 0 && item.data[0] == '/';
    size_t index;

    if (kind != CONFIG_KIND_TEXTS && kind != CONFIG_KIND_PATHS && config_is_lookup(item))
        return is_ok(config_lookup_find(r->cfg, item, &index)) ? NULL : "lookup: and the name of a lookup block";
    switch (kind) {
    case CONFIG_KIND_PATHS:
        return path ? NULL : "a path that begins with /";
    case CONFIG_KIND_TABLES:
        return path ? NULL : "a path that begins with /, or lookup: and the name of a lookup block";
    case CONFIG_KIND_LOOKUPS:
        return "lookup: and the name of a lookup block";
    default:
        return item.size > 0 ? NULL : "a word";
    }
}

static RESULT texts_read(struct reader *r, const struct config_key *k, const struct config_tree_values *values,
    struct config_text_list *list)
{
    void *items;

    TRY(reader_list(r->cfg, values->count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values->count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(values, list->count);
        const char *fault = item_fault(r, k->kind, cell->text);

        if (fault != NULL)
            return reader_wrong(r, cell, k->name, fault);
        TRY(reader_keep(r->cfg, cell->text, &list->items[list->count]));
    }
    return OK;
}

static RESULT networks_read(struct reader *r, const struct config_key *k, const struct config_tree_values *values,
    struct config_network_list *list)
{
    void *items;

    TRY(reader_list(r->cfg, values->count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values->count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(values, list->count);
        struct result result = value_network(cell->text, &list->items[list->count]);

        if (!is_ok(result))
            return reader_wrong(r, cell, k->name, result.why);
    }
    return OK;
}

/* The same socket twice, or a wildcard beside one of its addresses: the second bind would fail. */
static bool endpoints_collide(const struct config_endpoint *a, const struct config_endpoint *b)
{
    static const uint8_t any[16];

    if (a->port != b->port || a->port == 0 || a->ipv6 != b->ipv6)
        return false;
    return memcmp(a->address, b->address, 16) == 0 || memcmp(a->address, any, 16) == 0 ||
           memcmp(b->address, any, 16) == 0;
}

static RESULT endpoints_read(struct reader *r, const struct config_tree_values *values, struct config_listen *listen)
{
    void *items;

    TRY(reader_list(r->cfg, values->count * VALUE_ENDPOINTS_MAX, sizeof *listen->endpoints, &items));
    listen->endpoints = items;
    for (size_t i = 0; i < values->count; i++) {
        const struct config_tree_cell *cell = config_tree_cell(values, i);
        struct config_endpoint *fresh = listen->endpoints + listen->endpoint_count;
        struct bytes text;
        size_t count;
        struct result result;

        TRY(reader_keep(r->cfg, cell->text, &text));
        result = value_endpoints(text, fresh, &count);
        if (!is_ok(result))
            return reader_wrong(r, cell, "address", result.why);
        for (size_t f = 0; f < count; f++) {
            for (size_t b = 0; b < r->bound_count; b++)
                if (endpoints_collide(r->bound[b], &fresh[f]))
                    return READER_FAIL(r, cell->line,
                        "address: found '%s', which '%s' takes already; expected each address and port once",
                        (const char *)text.data, (const char *)r->bound[b]->text.data);
        }
        for (size_t f = 0; f < count; f++)
            r->bound[r->bound_count++] = &fresh[f];
        listen->endpoint_count += count;
    }
    return OK;
}

RESULT reader_block(struct reader *r, const struct config_tree_block *block, void *base)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        void *field = (uint8_t *)base + k->offset;
        struct config_tree_values values;

        if (k->block != block->kind || k->kind == CONFIG_KIND_CUSTOM)
            continue;
        values = config_tree_values(block, k->name);
        if (config_key_is_list(k)) {
            if (k->kind == CONFIG_KIND_NETWORKS)
                TRY(networks_read(r, k, &values, field));
            else if (k->kind == CONFIG_KIND_ENDPOINTS)
                TRY(endpoints_read(r, &values, base));
            else
                TRY(texts_read(r, k, &values, field));
        } else if (values.count > 0) {
            TRY(single_read(r, k, config_tree_cell(&values, 0), field));
        } else if (k->preset != NULL) {
            struct config_tree_cell preset = {0, bytes_of(k->preset)};

            TRY(single_read(r, k, &preset, field));
        }
    }
    return OK;
}

const struct config_tree_cell *reader_cell(const struct config_tree_block *block, const char *key)
{
    struct config_tree_values values = config_tree_values(block, key);

    return values.count > 0 ? config_tree_cell(&values, 0) : NULL;
}
