/* The route blocks; the table they make together with the domains. */
#include "daemon/config/reader.h"
#include "daemon/config/value.h"

/* "user@example.net", "from:user@example.org" or "from:@example.org". */
static RESULT address_pattern_read(struct reader *r, const struct config_tree_block *block, struct route *route)
{
    static const struct bytes from = BYTES_INIT("from:");
    bool is_sender = bytes_starts(block->title, from);
    struct bytes address = bytes_after(block->title, is_sender ? from.size : 0), domain;
    ptrdiff_t at = bytes_rindex(address, '@');
    uint8_t octets[ADDRESS_SIZE_MAX + sizeof "from:"];
    struct buf pattern = BUF(octets);
    const char *why = "an address";
    bool good = (at > 0 || is_sender) && is_ok(reader_name(r, bytes_after(address, (size_t)at + 1), &domain, &why)) &&
                (!is_sender || is_ok(buf_put(&pattern, from)));

    for (ptrdiff_t i = 0; i <= at && good; i++)
        good = is_ok(buf_put_octet(&pattern, octet_lower(address.data[i])));
    if (!good || !is_ok(buf_put(&pattern, domain)) || pattern.size > ADDRESS_SIZE_MAX)
        return READER_FAIL(r, block->line,
            "route: found \"%.200s\", expected \"user@example.net\", \"from:user@example.org\" or "
            "\"from:@example.org\"",
            (const char *)block->title.data);
    return reader_keep(r->cfg, buf_bytes(&pattern), &route->pattern);
}

static RESULT pattern_read(struct reader *r, const struct config_tree_block *block, struct route *route)
{
    struct bytes name = block->title;
    const char *why;

    if (bytes_index(name, '@') != BYTES_NOT_FOUND)
        return address_pattern_read(r, block, route);
    route->wildcard = bytes_equal(name, BYTES("*")) || bytes_starts(name, BYTES("*."));
    if (bytes_equal(name, BYTES("*")))
        return reader_keep(r->cfg, BYTES(""), &route->pattern);
    if (!is_ok(reader_name(r, bytes_after(name, route->wildcard ? 2 : 0), &name, &why)))
        return READER_FAIL(r, block->line,
            "route: found \"%.200s\", expected \"example.net\", \"*.example.net\" or \"*\"",
            (const char *)block->title.data);
    if (route->wildcard) {
        uint8_t room[DOMAIN_SIZE_MAX + 2];
        struct buf dotted = BUF(room);

        TRY(buf_put_octet(&dotted, '.'));
        TRY(buf_put(&dotted, name));
        return reader_keep(r->cfg, buf_bytes(&dotted), &route->pattern);
    }
    route->pattern = name;
    return OK;
}

static RESULT fingerprint_check(struct reader *r, const struct config_tree_block *block, const struct route *route)
{
    const struct config_tree_cell *cell = reader_cell(block, "tls_fingerprint");
    uint8_t fingerprint[VALUE_FINGERPRINT_SIZE];
    struct bytes rest = route->tls_fingerprint;
    struct result result;

    if (cell == NULL)
        return OK;
    if (route->target.kind != ROUTE_RELAY || route->tls != ROUTE_TLS_VERIFY)
        return READER_FAIL(r, cell->line, "tls_fingerprint: expected only with via = \"relay:…\" and tls = \"verify\"");
    do
        result = value_fingerprint_next(&rest, fingerprint);
    while (is_ok(result));
    return result.code == CODE_GONE ? OK : reader_wrong(r, cell, "tls_fingerprint", result.why);
}

static RESULT route_read(struct reader *r, const struct config_tree_block *block, struct route *items, size_t index)
{
    struct route *route = &items[index];
    const struct config_tree_cell *via = reader_cell(block, "via"), *port = reader_cell(block, "port");

    TRY(pattern_read(r, block, route));
    for (size_t i = 0; i < index; i++)
        if (items[i].wildcard == route->wildcard && bytes_equal(items[i].pattern, route->pattern))
            return READER_FAIL(r, block->line, "a second route block for \"%.200s\"; expected each pattern once",
                (const char *)block->title.data);
    TRY(reader_block(r, block, route));
    TRY(config_source_check(r, block, route->source, route->target.kind));
    if (route->target.kind == ROUTE_LOCAL || route->target.kind == ROUTE_PIPE)
        return reader_wrong(
            r, via, "via", "mx, relay:…, lmtp:…, hold, discard or error:… (mailboxes belong to a domain block)");
    if (reader_cell(block, "tls") != NULL && route->target.kind != ROUTE_MX && route->target.kind != ROUTE_RELAY)
        return READER_FAIL(r, reader_cell(block, "tls")->line,
            "tls: found with via = '%s', expected only with mx or relay:…",
            via != NULL ? (const char *)via->text.data : "");
    TRY(fingerprint_check(r, block, route));
    if (route->credentials.size > 0 && route->target.kind != ROUTE_RELAY)
        return READER_FAIL(r, reader_cell(block, "credentials")->line,
            "credentials: found with via = '%s', expected only with relay:…",
            via != NULL ? (const char *)via->text.data : "");
    if (route->credentials.size > 0 && route->tls == ROUTE_TLS_NONE && !route->auth_without_tls)
        return READER_FAIL(r, reader_cell(block, "credentials")->line,
            "credentials: found with tls = 'none', expected another or auth_without_tls = true");
    const struct config_tree_cell *of_mx = port != NULL ? port : reader_cell(block, "tls");
    if (of_mx != NULL && route->target.kind == ROUTE_MX && bytes_index(route->pattern, '@') != BYTES_NOT_FOUND)
        return READER_FAIL(r, of_mx->line,
            "port and tls of via = \"mx\" belong to the recipients' domain; expected none in a route for an address");
    if (port != NULL && route->target.kind != ROUTE_MX)
        return READER_FAIL(r, port->line, "port: found with via = '%s', expected only with via = \"mx\"",
            via != NULL ? (const char *)via->text.data : "");
    return OK;
}

/* A lane is its next hop: who goes there goes there with one login. */
static RESULT logins_agree(struct reader *r, const struct route *items, size_t route_count, size_t count)
{
    for (size_t i = 0; i < route_count; i++)
        for (size_t j = 0; j < count && items[i].credentials.size > 0; j++) {
            const struct route *other = &items[j];
            if (other->target.kind != ROUTE_RELAY || !bytes_equal(other->target.hop, items[i].target.hop) ||
                (bytes_equal(other->credentials, items[i].credentials) &&
                    other->auth_without_tls == items[i].auth_without_tls))
                continue;
            struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_ROUTE, i);
            return READER_FAIL(r, block.line,
                "route \"%.200s\": another route or domain goes to the same host; expected the same credentials there",
                (const char *)block.title.data);
        }
    return OK;
}

RESULT config_routes_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_ROUTE), used = 0;
    struct route *items;
    void *taken;
    bool has_default = false;

    TRY(reader_list(r->cfg, count + r->cfg->domain_count + 1, sizeof *items, &taken));
    items = taken;
    for (; used < count; used++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_ROUTE, used);

        TRY(route_read(r, &block, items, used));
        has_default = has_default || items[used].pattern.size == 0;
    }
    for (size_t i = 0; i < r->cfg->domain_count; i++)
        items[used++] = (struct route){.pattern = r->cfg->domains[i].name,
            .is_domain = true,
            .target = r->cfg->domains[i].target,
            .port = 25,
            .source = r->cfg->domains[i].source,
            .give_up_after_ms = r->cfg->domains[i].give_up_after_ms};
    TRY(logins_agree(r, items, count, used));
    if (!has_default)
        items[used++] =
            (struct route){.pattern = BYTES(""), .wildcard = true, .target = {.kind = ROUTE_MX}, .port = 25};
    route_table_sort(items, used);
    r->cfg->routes = (struct route_table){items, used};
    return OK;
}
