/* The lookup blocks. */
#include "daemon/config/reader.h"

enum { /* new users count at once, or nearly so */
    SYSTEM_TIMEOUT_MS = 10000,
    SYSTEM_CACHE_MS = 5000,
    SYSTEM_MISSING_MS = 500,
    SYSTEM_CACHE_SIZE = 10000,
    SYSTEM_SEATS = 4,
};

static const struct {
    struct bytes word;
    enum lookup_kind kind;
    bool needs_query, whole; /* `whole`: the word is part of what follows */
} kinds[] = {
    {BYTES_INIT("text:"), LOOKUP_TEXT, false, false},
    {BYTES_INIT("lmdb:"), LOOKUP_LMDB, false, false},
    {BYTES_INIT("cdb:"), LOOKUP_CDB, false, false},
    {BYTES_INIT("pcre:"), LOOKUP_PCRE, false, false},
    {BYTES_INIT("sqlite:"), LOOKUP_SQLITE, true, false},
    {BYTES_INIT("postgresql:"), LOOKUP_POSTGRESQL, true, false},
    {BYTES_INIT("ldap://"), LOOKUP_LDAP, true, true},
    {BYTES_INIT("ldaps://"), LOOKUP_LDAP, true, true},
    {BYTES_INIT("ldapi://"), LOOKUP_LDAP, true, true},
    {BYTES_INIT("dovecot:"), LOOKUP_DOVECOT, false, false},
    {BYTES_INIT("callahead:"), LOOKUP_CALLAHEAD, false, false},
};

/* A value that is bound must not stand in quotes, and every % means something. NULL: nothing is wrong. */
static const char *query_fault(struct bytes query, bool sql)
{
    uint8_t quote = 0;
    bool bound = false;

    for (size_t i = 0; i < query.size; i++) {
        uint8_t octet = query.data[i];

        if (sql && (octet == '\'' || octet == '"') && (quote == 0 || quote == octet))
            quote = quote == 0 ? octet : 0;
        if (octet != '%')
            continue;
        if (++i == query.size || (query.data[i] != '%' && bytes_index(BYTES("aud"), query.data[i]) == BYTES_NOT_FOUND))
            return "a query where behind % stands a (the address), u (the user), d (the domain) or %";
        if (query.data[i] == '%')
            continue;
        if (quote != 0)
            return "a query without quotes around %a, %u and %d: they are bound as values";
        bound = true;
    }
    return bound ? NULL : "a query with %a, %u or %d";
}

static RESULT from_read(struct reader *r, const struct config_tree_block *block, struct config_lookup *lookup)
{
    static const char expected[] =
        "text:/path, lmdb:/path, cdb:/path, pcre:/path, sqlite:/path, postgresql:connection, "
        "ldap://host/base?attribute?scope, dovecot:/socket or callahead:[host]:port";
    const struct config_tree_cell *cell = reader_cell(block, "from"), *query = reader_cell(block, "query");
    bool is_path = true;
    size_t i = 0;

    if (cell == NULL)
        return READER_FAIL(
            r, block->line, "lookup \"%.100s\" has no from; expected %s", (const char *)block->title.data, expected);
    while (i < COUNT_OF(kinds) && !bytes_starts(cell->text, kinds[i].word))
        i++;
    if (i == COUNT_OF(kinds))
        return reader_wrong(r, cell, "from", expected);
    lookup->kind = kinds[i].kind;
    struct bytes rest = bytes_after(cell->text, kinds[i].whole ? 0 : kinds[i].word.size);
    if (lookup->kind == LOOKUP_POSTGRESQL || lookup->kind == LOOKUP_LDAP) {
        is_path = false;
    } else if (lookup->kind == LOOKUP_CALLAHEAD) {
        struct route_target target;
        uint8_t octets[LANE_NAME_SIZE_MAX];
        struct buf relay = BUF(octets);

        is_path = false;
        if (!is_ok(buf_put_str(&relay, "relay:")) || !is_ok(buf_put(&relay, rest)) ||
            bytes_index(rest, ',') != BYTES_NOT_FOUND || bytes_index(rest, '|') != BYTES_NOT_FOUND ||
            bytes_index(rest, '*') != BYTES_NOT_FOUND ||
            !is_ok(route_target_parse(&r->cfg->arena, buf_bytes(&relay), &target)))
            return reader_wrong(r, cell, "from", "callahead:[host]:port");
        rest = target.hop;
    }
    if (is_path && (rest.size == 0 || rest.data[0] != '/'))
        return reader_wrong(r, cell, "from", "a path that begins with / behind the colon");
    TRY(reader_keep(r->cfg, rest, &lookup->from));
    if (kinds[i].needs_query != (query != NULL))
        return READER_FAIL(r, query != NULL ? query->line : block->line,
            kinds[i].needs_query ? "lookup \"%.100s\": found no query, expected one with from = \"%s…\""
                                 : "lookup \"%.100s\": found a query, expected none with from = \"%s…\"",
            (const char *)block->title.data, (const char *)kinds[i].word.data);
    const char *fault = query == NULL ? NULL : query_fault(query->text, lookup->kind != LOOKUP_LDAP);
    return fault == NULL ? OK : reader_wrong(r, query, "query", fault);
}

RESULT config_lookups_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_LOOKUP);
    void *items;

    TRY(reader_list(r->cfg, count + 1, sizeof *r->cfg->lookups, &items)); /* and that of config_system_lookup_add */
    r->cfg->lookups = items;
    for (; r->cfg->lookup_count < count; r->cfg->lookup_count++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LOOKUP, r->cfg->lookup_count);
        struct config_lookup *lookup = &r->cfg->lookups[r->cfg->lookup_count];

        TRY(reader_keep(r->cfg, block.title, &lookup->name));
        TRY(from_read(r, &block, lookup));
        TRY(reader_block(r, &block, lookup));
    }
    return OK;
}

void config_system_lookup_add(struct config *cfg)
{
    bool wanted = cfg->hosted != NULL && cfg->hosted->system_users;

    for (size_t i = 0; i < cfg->domain_count; i++)
        wanted = wanted || cfg->domains[i].system_users;
    cfg->system_lookup = cfg->lookup_count;
    if (wanted)
        cfg->lookups[cfg->lookup_count++] = (struct config_lookup){
            .name = BYTES("the host's users"),
            .kind = LOOKUP_SYSTEM,
            .from = BYTES(""),
            .timeout = SYSTEM_TIMEOUT_MS,
            .cache = SYSTEM_CACHE_MS,
            .cache_missing = SYSTEM_MISSING_MS,
            .cache_size = SYSTEM_CACHE_SIZE,
            .connections = SYSTEM_SEATS,
        };
}

static const struct bytes LOOKUP_PREFIX = BYTES_INIT("lookup:");

bool config_is_lookup(struct bytes item)
{
    return bytes_starts(item, LOOKUP_PREFIX);
}

RESULT config_lookup_find(const struct config *cfg, struct bytes item, size_t *index_out)
{
    struct bytes name = bytes_after(item, LOOKUP_PREFIX.size);

    for (*index_out = 0; *index_out < cfg->lookup_count; ++*index_out)
        if (config_is_lookup(item) && bytes_equal(cfg->lookups[*index_out].name, name))
            return OK;
    return FAIL(CODE_GONE, "no lookup block of that name");
}

bool config_lookup_is_table(const struct config_lookup *lookup)
{
    return lookup->kind == LOOKUP_TEXT || lookup->kind == LOOKUP_LMDB || lookup->kind == LOOKUP_CDB ||
           lookup->kind == LOOKUP_PCRE;
}
