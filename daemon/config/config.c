/* From the tree of words to struct config. Each key is read by the row of keys.def that declares it; what a row cannot say
 * (CUSTOM) and what keys mean together is read and checked below, block by block. The first error ends the reading. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/config/config.h"
#include "daemon/config/local_name.h"
#include "daemon/config/tree.h"
#include "daemon/config/value.h"
#include "smtp/header.h"

enum {
    CONFIG_FILE_SIZE_MAX = 16 * 1024 * 1024,
    CONFIG_ARENA_SIZE_MAX = 128 * 1024 * 1024,
};

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
static RESULT text_keep(struct config *cfg, struct bytes in, struct bytes *kept_out)
{
    void *memory;

    TRY(arena_take(&cfg->arena, in.size + 1, &memory));
    if (in.size > 0)
        memcpy(memory, in.data, in.size);
    *kept_out = (struct bytes){memory, in.size};
    return OK;
}

static RESULT list_take(struct config *cfg, size_t count, size_t item_size, void **items_out)
{
    *items_out = NULL;
    return count == 0 ? OK : arena_take(&cfg->arena, count * item_size, items_out);
}

static RESULT wrong(struct reader *r, const struct config_tree_cell *cell, const char *key, const char *expected)
{
    return READER_FAIL(r, cell->line, "%s: found '%.200s', expected %s", key, (const char *)cell->text.data, expected);
}

static RESULT name_keep(struct reader *r, struct bytes in, struct bytes *kept_out, const char **why_out)
{
    uint8_t room[DOMAIN_SIZE_MAX + 1];
    struct buf name = BUF(room);
    struct result result = value_name(in, &name);

    *why_out = result.why;
    TRY(result);
    return text_keep(r->cfg, buf_bytes(&name), kept_out);
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
        return wrong(r, cell, k->name, result.why);
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

static RESULT word_read(
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
            return wrong(r, cell, k->name, "a path that begins with /");
        return text_keep(r->cfg, cell->text, field);
    case CONFIG_KIND_TEXT:
        if (cell->text.size == 0)
            return wrong(r, cell, k->name, "a word");
        return text_keep(r->cfg, cell->text, field);
    case CONFIG_KIND_NAME:
        return is_ok(name_keep(r, cell->text, field, &why)) ? OK : wrong(r, cell, k->name, why);
    case CONFIG_KIND_BOOL: {
        struct result result = value_bool(cell->text, field);

        return is_ok(result) ? OK : wrong(r, cell, k->name, result.why);
    }
    case CONFIG_KIND_WORD:
        TRY(word_read(r, cell, k->name, k->words, &index));
        *(int *)field = (int)index;
        return OK;
    case CONFIG_KIND_SWITCH:
        TRY(word_read(r, cell, k->name, k->words, &index));
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

static RESULT texts_read(struct reader *r, const struct config_key *k, const struct config_tree_values *values,
    struct config_text_list *list)
{
    void *items;

    TRY(list_take(r->cfg, values->count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values->count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(values, list->count);

        if (cell->text.size == 0 || (k->kind == CONFIG_KIND_PATHS && cell->text.data[0] != '/'))
            return wrong(r, cell, k->name, k->kind == CONFIG_KIND_PATHS ? "a path that begins with /" : "a word");
        TRY(text_keep(r->cfg, cell->text, &list->items[list->count]));
    }
    return OK;
}

static RESULT networks_read(struct reader *r, const struct config_key *k, const struct config_tree_values *values,
    struct config_network_list *list)
{
    void *items;

    TRY(list_take(r->cfg, values->count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values->count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(values, list->count);
        struct result result = value_network(cell->text, &list->items[list->count]);

        if (!is_ok(result))
            return wrong(r, cell, k->name, result.why);
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

    TRY(list_take(r->cfg, values->count * VALUE_ENDPOINTS_MAX, sizeof *listen->endpoints, &items));
    listen->endpoints = items;
    for (size_t i = 0; i < values->count; i++) {
        const struct config_tree_cell *cell = config_tree_cell(values, i);
        struct config_endpoint *fresh = listen->endpoints + listen->endpoint_count;
        struct bytes text;
        size_t count;
        struct result result;

        TRY(text_keep(r->cfg, cell->text, &text));
        result = value_endpoints(text, fresh, &count);
        if (!is_ok(result))
            return wrong(r, cell, "address", result.why);
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

/* Fills every field of a block that keys.def can describe, defaults included. `base` is the block's struct. */
static RESULT block_read(struct reader *r, const struct config_tree_block *block, void *base)
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

/* The only cell of a key, or NULL when the file does not set it. */
static const struct config_tree_cell *only_cell(const struct config_tree_block *block, const char *key)
{
    struct config_tree_values values = config_tree_values(block, key);

    return values.count > 0 ? config_tree_cell(&values, 0) : NULL;
}

static RESULT log_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = only_cell(block, "to");

    r->cfg->log.to = LOG_TO_STDERR;
    if (cell == NULL || bytes_equal(cell->text, BYTES("stderr")))
        return OK;
    if (bytes_equal(cell->text, BYTES("journal"))) {
        r->cfg->log.to = LOG_TO_JOURNAL;
        return OK;
    }
    if (!bytes_starts(cell->text, BYTES("/")))
        return wrong(r, cell, "to", "stderr, journal or a path that begins with /");
    r->cfg->log.to = LOG_TO_FILE;
    return text_keep(r->cfg, cell->text, &r->cfg->log.path);
}

static RESULT tls_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *certificate = only_cell(block, "certificate"), *key = only_cell(block, "key");

    if ((certificate == NULL) != (key == NULL))
        return READER_FAIL(r, block->line, "tls: found a %s without its %s, expected both",
            key == NULL ? "certificate" : "key", key == NULL ? "key" : "certificate");
    if (r->cfg->tls_certificates.count != r->cfg->tls_keys.count)
        return READER_FAIL(r, block->line, "tls: found %zu certificates and %zu keys, expected one key for each",
            r->cfg->tls_certificates.count, r->cfg->tls_keys.count);
    return OK;
}

static RESULT listen_class_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    static const char words[] = "smtp|submission|submissions";
    const struct config_tree_cell *cell = only_cell(block, "class");
    unsigned titled, index;
    bool is_titled = is_ok(value_word(block->title, words, &titled));

    if (cell == NULL && !is_titled)
        return READER_FAIL(r, block->line, "listen \"%.100s\" has no class; expected class = one of %s",
            (const char *)block->title.data, words);
    index = titled;
    if (cell != NULL)
        TRY(word_read(r, cell, "class", words, &index));
    listen->class = (enum listen_class)index;
    return OK;
}

static RESULT listen_tls_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    const struct config_tree_cell *cell = only_cell(block, "tls");
    unsigned index = listen->class == LISTEN_SUBMISSIONS ? LISTEN_TLS_IMPLICIT : LISTEN_TLS_OPPORTUNISTIC;

    if (cell != NULL)
        TRY(word_read(r, cell, "tls", "none|opportunistic|required|implicit", &index));
    listen->tls = (enum listen_tls)index;
    if (listen->tls < LISTEN_TLS_REQUIRED || r->cfg->tls_certificates.count > 0)
        return OK;
    return READER_FAIL(r, cell != NULL ? cell->line : block->line,
        "listen \"%.100s\" wants tls = %s, but there is no certificate; expected tls { certificate = \"…\" key = \"…\" "
        "}",
        (const char *)block->title.data, listen->tls == LISTEN_TLS_REQUIRED ? "required" : "implicit");
}

/* Users' programs leak Bcc fields, other servers' mail is not ours to change (docs/envelope-and-headers.md). */
static RESULT listen_bcc_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    const struct config_tree_cell *cell = only_cell(block, "bcc");
    unsigned index = listen->class == LISTEN_SMTP ? BCC_KEEP : BCC_STRIP;

    if (cell != NULL)
        TRY(word_read(r, cell, "bcc", "keep|strip|split", &index));
    listen->bcc = (enum bcc_policy)index;
    return OK;
}

/* An address that nobody wrote. */
static RESULT endpoints_preset(struct reader *r, struct config_listen *listen, const char *const *texts, size_t count)
{
    void *items;

    TRY(list_take(r->cfg, count * VALUE_ENDPOINTS_MAX, sizeof *listen->endpoints, &items));
    listen->endpoints = items;
    for (size_t i = 0; i < count; i++) {
        size_t added = 0;

        TRY(value_endpoints(bytes_of(texts[i]), listen->endpoints + listen->endpoint_count, &added));
        for (; added > 0; added--)
            listen->endpoints[listen->endpoint_count++].optional = true;
    }
    return OK;
}

static RESULT listens_read(struct reader *r)
{
    static const char *const loopback[] = {"127.0.0.1:25", "[::1]:25"};
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_LISTEN), addresses = 0;
    void *items;

    r->cfg->listen_count = count > 0 ? count : 1;
    TRY(list_take(r->cfg, r->cfg->listen_count, sizeof *r->cfg->listens, &items));
    r->cfg->listens = items;
    if (count == 0) { /* a file that says nothing serves this host alone */
        struct config_listen *listen = &r->cfg->listens[0];

        listen->tls = LISTEN_TLS_OPPORTUNISTIC;
        TRY(text_keep(r->cfg, BYTES("smtp"), &listen->title));
        return endpoints_preset(r, listen, loopback, COUNT_OF(loopback));
    }
    for (size_t i = 0; i < count; i++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LISTEN, i);

        addresses += config_tree_values(&block, "address").count + 1;
    }
    TRY(list_take(r->cfg, addresses * VALUE_ENDPOINTS_MAX, sizeof(void *), &items));
    r->bound = items;
    for (size_t i = 0; i < count; i++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LISTEN, i);
        struct config_listen *listen = &r->cfg->listens[i];

        TRY(text_keep(r->cfg, block.title, &listen->title));
        TRY(listen_class_read(r, &block, listen));
        TRY(listen_tls_read(r, &block, listen));
        TRY(listen_bcc_read(r, &block, listen));
        TRY(block_read(r, &block, listen));
        if (listen->endpoint_count == 0)
            return READER_FAIL(r, block.line,
                "listen \"%.100s\" has no address; expected address = \"*:25\" or the like",
                (const char *)block.title.data);
    }
    return OK;
}

/* Absolute, and only %d, %u and %% behind a percent sign. */
static bool maildir_is_valid(struct bytes path)
{
    if (!bytes_starts(path, BYTES("/")))
        return false;
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] != '%')
            continue;
        if (++i == path.size || strchr("du%", path.data[i]) == NULL || path.data[i] == 0)
            return false;
    }
    return true;
}

static RESULT maildir_preset(struct reader *r, struct bytes *maildir_out)
{
    static const char below[] = "/mail/%d/%u";
    struct bytes dir = r->cfg->state_dir;
    uint8_t *memory;
    void *taken;

    TRY(arena_take(&r->cfg->arena, dir.size + sizeof below, &taken));
    memory = taken;
    memcpy(memory, dir.data, dir.size);
    memcpy(memory + dir.size, below, sizeof below);
    *maildir_out = (struct bytes){memory, dir.size + sizeof below - 1};
    return OK;
}

static RESULT domain_read(struct reader *r, const struct config_tree_block *block, struct config_domain *domain)
{
    const struct config_tree_cell *maildir = only_cell(block, "maildir"), *deliver = only_cell(block, "deliver");
    const char *why;

    if (!is_ok(name_keep(r, block->title, &domain->name, &why)))
        return READER_FAIL(
            r, block->line, "domain: found \"%.200s\", expected %s", (const char *)block->title.data, why);
    for (const struct config_domain *d = r->cfg->domains; d < domain; d++)
        if (bytes_equal(d->name, domain->name))
            return READER_FAIL(r, block->line, "a second domain block for \"%s\"; expected each domain once",
                (const char *)d->name.data);
    TRY(block_read(r, block, domain));
    if (domain->target.kind != ROUTE_LOCAL) {
        if (maildir != NULL)
            return READER_FAIL(r, maildir->line,
                "maildir: found with deliver = '%s', expected only with deliver = \"maildir\"",
                deliver != NULL ? (const char *)deliver->text.data : "");
        return OK;
    }
    if (maildir == NULL)
        return maildir_preset(r, &domain->maildir);
    if (!maildir_is_valid(maildir->text))
        return wrong(r, maildir, "maildir",
            "a path that begins with /, where %d is the domain, %u the local part and %% a percent sign");
    return text_keep(r->cfg, maildir->text, &domain->maildir);
}

static RESULT domains_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_DOMAIN);
    void *items;

    r->cfg->domain_count = count > 0 ? count : 1;
    TRY(list_take(r->cfg, r->cfg->domain_count, sizeof *r->cfg->domains, &items));
    r->cfg->domains = items;
    if (count == 0) { /* our own name is ours while nothing else is */
        r->cfg->domains[0].name = r->cfg->hostname;
        r->cfg->domains[0].target.kind = ROUTE_LOCAL;
        r->cfg->domains[0].subaddress = BYTES("+");
        return maildir_preset(r, &r->cfg->domains[0].maildir);
    }
    for (size_t i = 0; i < count; i++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_DOMAIN, i);

        TRY(domain_read(r, &block, &r->cfg->domains[i]));
    }
    return OK;
}

/* "local@domain" or "@domain"; the domain's case and form are made one. */
static RESULT sender_read(struct reader *r, const struct config_tree_cell *cell, struct bytes *sender_out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(room);
    ptrdiff_t at = bytes_rindex(cell->text, '@');
    struct bytes domain;
    const char *why = "an address or @domain";

    if (at == BYTES_NOT_FOUND || !is_ok(name_keep(r, bytes_after(cell->text, (size_t)at + 1), &domain, &why)) ||
        !is_ok(buf_put(&sender, bytes_head(cell->text, (size_t)at + 1))) || !is_ok(buf_put(&sender, domain)))
        return wrong(r, cell, "senders", "an address (alice@example.org) or a domain (@example.org)");
    return text_keep(r->cfg, buf_bytes(&sender), sender_out);
}

static RESULT logins_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_LOGIN);
    void *items;

    TRY(list_take(r->cfg, count, sizeof *r->cfg->logins, &items));
    r->cfg->logins = items;
    for (; r->cfg->login_count < count; r->cfg->login_count++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LOGIN, r->cfg->login_count);
        struct config_login *login = &r->cfg->logins[r->cfg->login_count];
        struct config_tree_values values = config_tree_values(&block, "senders");

        TRY(text_keep(r->cfg, block.title, &login->name));
        TRY(block_read(r, &block, login));
        for (size_t i = 0; i < values.count; i++)
            TRY(sender_read(r, config_tree_cell(&values, i), &login->senders.items[i]));
    }
    return OK;
}

static RESULT pattern_read(struct reader *r, const struct config_tree_block *block, struct route *route)
{
    struct bytes name = block->title;
    const char *why;

    route->wildcard = bytes_equal(name, BYTES("*")) || bytes_starts(name, BYTES("*."));
    if (bytes_equal(name, BYTES("*")))
        return text_keep(r->cfg, BYTES(""), &route->pattern);
    if (!is_ok(name_keep(r, bytes_after(name, route->wildcard ? 2 : 0), &name, &why)))
        return READER_FAIL(r, block->line,
            "route: found \"%.200s\", expected \"example.net\", \"*.example.net\" or \"*\"",
            (const char *)block->title.data);
    if (route->wildcard) {
        uint8_t room[DOMAIN_SIZE_MAX + 2];
        struct buf dotted = BUF(room);

        TRY(buf_put_octet(&dotted, '.'));
        TRY(buf_put(&dotted, name));
        return text_keep(r->cfg, buf_bytes(&dotted), &route->pattern);
    }
    route->pattern = name;
    return OK;
}

static RESULT route_read(struct reader *r, const struct config_tree_block *block, struct route *items, size_t index)
{
    struct route *route = &items[index];
    const struct config_tree_cell *via = only_cell(block, "via"), *port = only_cell(block, "port");

    TRY(pattern_read(r, block, route));
    for (size_t i = 0; i < index; i++)
        if (items[i].wildcard == route->wildcard && bytes_equal(items[i].pattern, route->pattern))
            return READER_FAIL(r, block->line, "a second route block for \"%.200s\"; expected each pattern once",
                (const char *)block->title.data);
    TRY(block_read(r, block, route));
    if (route->target.kind == ROUTE_LOCAL || route->target.kind == ROUTE_PIPE)
        return wrong(
            r, via, "via", "mx, relay:…, lmtp:…, hold, discard or error:… (mailboxes belong to a domain block)");
    if (only_cell(block, "tls") != NULL && route->target.kind != ROUTE_MX && route->target.kind != ROUTE_RELAY)
        return READER_FAIL(r, only_cell(block, "tls")->line,
            "tls: found with via = '%s', expected only with mx or relay:…",
            via != NULL ? (const char *)via->text.data : "");
    if (port != NULL && route->target.kind != ROUTE_MX)
        return READER_FAIL(r, port->line, "port: found with via = '%s', expected only with via = \"mx\"",
            via != NULL ? (const char *)via->text.data : "");
    return OK;
}

static RESULT routes_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_ROUTE), used = 0;
    struct route *items;
    void *taken;
    bool has_default = false;

    TRY(list_take(r->cfg, count + r->cfg->domain_count + 1, sizeof *items, &taken));
    items = taken;
    for (; used < count; used++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_ROUTE, used);

        TRY(route_read(r, &block, items, used));
        has_default = has_default || items[used].pattern.size == 0;
    }
    for (size_t i = 0; i < r->cfg->domain_count; i++)
        items[used++] = (struct route){
            .pattern = r->cfg->domains[i].name, .is_domain = true, .target = r->cfg->domains[i].target, .port = 25};
    if (!has_default)
        items[used++] =
            (struct route){.pattern = BYTES(""), .wildcard = true, .target = {.kind = ROUTE_MX}, .port = 25};
    route_table_sort(items, used);
    r->cfg->routes = (struct route_table){items, used};
    return OK;
}

static RESULT dns_read(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values values = config_tree_values(block, "servers");
    struct config_text_list *list = &r->cfg->dns.servers;
    void *items;

    TRY(list_take(r->cfg, values.count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values.count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(&values, list->count);
        uint8_t room[64];
        struct buf server = BUF(room);
        struct result result = value_dns_server(cell->text, &server);

        if (!is_ok(result))
            return wrong(r, cell, "servers", result.why);
        TRY(text_keep(r->cfg, buf_bytes(&server), &list->items[list->count]));
    }
    return OK;
}

static RESULT retry_read(struct reader *r, const struct config_tree_block *block)
{
    static const char *const preset[] = {"2m", "5m", "10m", "20m", "40m", "80m", "160m", "4h"};
    struct config_tree_values values = config_tree_values(block, "plan");
    struct retry_plan *plan = &r->cfg->retry;

    if (!values.set) {
        for (plan->step_count = 0; plan->step_count < COUNT_OF(preset); plan->step_count++)
            TRY(value_time(bytes_of(preset[plan->step_count]), &plan->steps_ms[plan->step_count]));
        return OK;
    }
    if (values.count == 0)
        return READER_FAIL(r, block->line, "plan: found an empty list, expected at least one time");
    if (values.count > RETRY_STEP_COUNT_MAX)
        return READER_FAIL(
            r, block->line, "plan: found %zu steps, expected at most %d", values.count, RETRY_STEP_COUNT_MAX);
    for (plan->step_count = 0; plan->step_count < values.count; plan->step_count++) {
        const struct config_tree_cell *cell = config_tree_cell(&values, plan->step_count);
        int64_t *step = &plan->steps_ms[plan->step_count];
        struct result result = value_time(cell->text, step);

        if (!is_ok(result) || *step == 0)
            return wrong(r, cell, "plan", is_ok(result) ? "a time above 0" : result.why);
    }
    return OK;
}

/* The field that stands for the recipients when Bcc was the only one and has gone. */
static RESULT submission_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = only_cell(block, "no_destination");
    struct bytes field = cell != NULL ? cell->text : BYTES("Cc: recipient list not shown: ;");
    enum header_kind kind = header_kind_of(header_line_name(field));
    bool plain = field.size <= NO_DESTINATION_SIZE_MAX;

    for (size_t i = 0; i < field.size; i++)
        plain = plain && field.data[i] >= 0x20 && field.data[i] < 0x7f;
    if (!plain || (field.size > 0 && kind != HEADER_TO && kind != HEADER_CC))
        return wrong(
            r, cell, "no_destination", "a whole To or Cc field such as \"To: undisclosed-recipients:;\", or \"\"");
    return text_keep(r->cfg, field, &r->cfg->submission.no_destination);
}

static uint32_t core_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return count < 1 ? 1 : count > 256 ? 256 : (uint32_t)count;
}

static RESULT names_read(struct reader *r)
{
    struct config *cfg = r->cfg;

    if (cfg->hostname.size == 0) {
        uint8_t room[DOMAIN_SIZE_MAX + 1];
        struct buf name = BUF(room);

        if (!is_ok(local_name_put(&name)))
            return READER_FAIL(
                r, 0, "hostname: this machine has no usable name of its own, expected hostname = \"mail.example.org\"");
        TRY(text_keep(cfg, buf_bytes(&name), &cfg->hostname));
    }
    if (cfg->origin.size == 0)
        cfg->origin = cfg->hostname;
    return OK;
}

static RESULT tree_read(struct reader *r)
{
    static const enum config_block singles[] = {CONFIG_BLOCK_ROOT, CONFIG_BLOCK_LOG, CONFIG_BLOCK_TLS,
        CONFIG_BLOCK_AUTH, CONFIG_BLOCK_DNS, CONFIG_BLOCK_RETRY, CONFIG_BLOCK_TIMEOUTS, CONFIG_BLOCK_LIMITS,
        CONFIG_BLOCK_PROCESSES, CONFIG_BLOCK_DSN, CONFIG_BLOCK_SUBMISSION};
    static const char *const loopback[] = {"127.0.0.0/8", "::1"};
    struct config *cfg = r->cfg;

    cfg->processes.inbound = cfg->processes.outbound = core_count();
    for (size_t i = 0; i < COUNT_OF(singles); i++) {
        struct config_tree_block block = config_tree_block(r->tree, singles[i], 0);

        TRY(block_read(r, &block, cfg));
        if (singles[i] == CONFIG_BLOCK_LOG)
            TRY(log_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_TLS)
            TRY(tls_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_DNS)
            TRY(dns_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_RETRY)
            TRY(retry_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_SUBMISSION)
            TRY(submission_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_ROOT && !config_tree_values(&block, "relay_from").set) {
            void *items;

            TRY(list_take(cfg, COUNT_OF(loopback), sizeof *cfg->relay_from.items, &items));
            cfg->relay_from.items = items;
            for (cfg->relay_from.count = 0; cfg->relay_from.count < COUNT_OF(loopback); cfg->relay_from.count++)
                TRY(value_network(
                    bytes_of(loopback[cfg->relay_from.count]), &cfg->relay_from.items[cfg->relay_from.count]));
        }
    }
    TRY(names_read(r));
    TRY(listens_read(r));
    TRY(domains_read(r));
    TRY(logins_read(r));
    return routes_read(r);
}

RESULT config_read_text(const char *name, struct bytes text, struct config **cfg_out, struct config_error *error_out)
{
    struct config_tree *tree;
    struct reader reader = {.name = name, .error = error_out};
    struct result r;

    *cfg_out = NULL;
    TRY(config_tree_parse(name, text, &tree, error_out));
    reader.tree = tree;
    reader.cfg = mem_take_zero(sizeof *reader.cfg);
    r = FAIL(CODE_FULL, "out of memory");
    if (reader.cfg != NULL) {
        arena_init(&reader.cfg->arena, CONFIG_ARENA_SIZE_MAX);
        r = text_keep(reader.cfg, bytes_of(name), &reader.cfg->path);
        if (is_ok(r))
            r = tree_read(&reader);
    }
    config_tree_free(&tree);
    if (!is_ok(r)) {
        config_error_set(error_out, name, 0, "%s", r.why);
        config_free(&reader.cfg);
        return r;
    }
    *cfg_out = reader.cfg;
    return OK;
}

RESULT config_read_file(const char *path, struct config **cfg_out, struct config_error *error_out)
{
    FILE *file = fopen(path, "re");
    uint8_t *memory;
    size_t size, room = 65536;
    struct result r;

    *cfg_out = NULL;
    error_out->text[0] = 0;
    if (file == NULL) {
        int sys = errno;

        config_error_set(error_out, path, 0, "cannot be read: %s", strerror(sys));
        return FAIL_SYS(sys, "the configuration cannot be read");
    }
    memory = mem_take(room);
    for (size = 0; memory != NULL; room *= 2) {
        size += fread(memory + size, 1, room - size, file);
        if (size < room || room > CONFIG_FILE_SIZE_MAX)
            break;
        void *more = mem_resize(memory, room * 2);
        if (more == NULL) {
            mem_free(memory);
            memory = NULL;
        } else {
            memory = more;
        }
    }
    if (memory == NULL) {
        config_error_set(error_out, path, 0, "out of memory");
        r = FAIL(CODE_FULL, "out of memory");
    } else if (ferror(file)) {
        int sys = errno;

        config_error_set(error_out, path, 0, "cannot be read: %s", strerror(sys));
        r = FAIL_SYS(sys, "the configuration cannot be read");
    } else if (size > CONFIG_FILE_SIZE_MAX) {
        config_error_set(
            error_out, path, 0, "found more than %d octets, expected a configuration", CONFIG_FILE_SIZE_MAX);
        r = FAIL(CODE_FULL, "the configuration is too large");
    } else {
        r = config_read_text(path, (struct bytes){memory, size}, cfg_out, error_out);
    }
    mem_free(memory);
    (void)fclose(file);
    return r;
}

void config_free(struct config **cfg)
{
    if (*cfg == NULL)
        return;
    arena_fini(&(*cfg)->arena);
    mem_free(*cfg);
    *cfg = NULL;
}

bool config_network_contains(const struct config_network_list *list, const uint8_t address[16])
{
    for (size_t i = 0; i < list->count; i++) {
        const struct config_network *n = &list->items[i];
        size_t whole = n->prefix_bits / 8;
        uint8_t mask = (uint8_t)(0xff00u >> (n->prefix_bits % 8));

        if (memcmp(n->address, address, whole) != 0)
            continue;
        if (mask == 0 || ((n->address[whole] ^ address[whole]) & mask) == 0)
            return true;
    }
    return false;
}

const struct config_domain *config_domain_find(const struct config *cfg, struct bytes domain)
{
    for (size_t i = 0; i < cfg->domain_count; i++)
        if (bytes_equal(cfg->domains[i].name, domain))
            return &cfg->domains[i];
    return NULL;
}

struct bytes config_domain_user(const struct config_domain *d, struct bytes local_part)
{
    if (bytes_equal(d->subaddress, BYTES("none")))
        return local_part;
    for (size_t i = 1; i < local_part.size; i++)
        if (bytes_index(d->subaddress, local_part.data[i]) != BYTES_NOT_FOUND)
            return bytes_head(local_part, i);
    return local_part;
}

bool config_domain_has_aliases(const struct config_domain *d)
{
    return d->aliases.count + d->virtual.count > 0;
}

bool config_domain_is_looked_up(const struct config_domain *d)
{
    for (size_t i = 0; i < d->users.count; i++)
        if (d->users.items[i].data[0] == '/')
            return true;
    return config_domain_has_aliases(d);
}
