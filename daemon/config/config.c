/* From the tree of words to struct config. Each key is read by the row of keys.def that declares it (reader.c); what a row cannot
 * say (CUSTOM) and what keys mean together is read and checked here and in config_*.c, block by block. The first error ends the
 * reading. */
#include <sched.h>
#include <stdio.h>

#include "daemon/config/local_name.h"
#include "daemon/config/reader.h"
#include "daemon/config/value.h"
#include "smtp/header.h"

enum {
    CONFIG_FILE_SIZE_MAX = 16 * 1024 * 1024,
    CONFIG_ARENA_SIZE_MAX = 128 * 1024 * 1024,
};

static RESULT log_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = reader_cell(block, "to");

    r->cfg->log.to = LOG_TO_STDERR;
    if (cell == NULL || bytes_equal(cell->text, BYTES("stderr")))
        return OK;
    if (bytes_equal(cell->text, BYTES("journal"))) {
        r->cfg->log.to = LOG_TO_JOURNAL;
        return OK;
    }
    if (!bytes_starts(cell->text, BYTES("/")))
        return reader_wrong(r, cell, "to", "stderr, journal or a path that begins with /");
    r->cfg->log.to = LOG_TO_FILE;
    return reader_keep(r->cfg, cell->text, &r->cfg->log.path);
}

static RESULT tls_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *certificate = reader_cell(block, "certificate"), *key = reader_cell(block, "key");

    if ((certificate == NULL) != (key == NULL))
        return READER_FAIL(r, block->line, "tls: found a %s without its %s, expected both",
            key == NULL ? "certificate" : "key", key == NULL ? "key" : "certificate");
    if (r->cfg->tls_certificates.count != r->cfg->tls_keys.count)
        return READER_FAIL(r, block->line, "tls: found %zu certificates and %zu keys, expected one key for each",
            r->cfg->tls_certificates.count, r->cfg->tls_keys.count);
    return OK;
}

static RESULT dns_read(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values values = config_tree_values(block, "servers");
    struct config_text_list *list = &r->cfg->dns.servers;
    void *items;

    TRY(reader_list(r->cfg, values.count, sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < values.count; list->count++) {
        const struct config_tree_cell *cell = config_tree_cell(&values, list->count);
        uint8_t room[64];
        struct buf server = BUF(room);
        struct result result = value_dns_server(cell->text, &server);

        if (!is_ok(result))
            return reader_wrong(r, cell, "servers", result.why);
        TRY(reader_keep(r->cfg, buf_bytes(&server), &list->items[list->count]));
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
            return reader_wrong(r, cell, "plan", is_ok(result) ? "a time above 0" : result.why);
    }
    return OK;
}

static bool is_service_name(struct bytes name)
{
    bool good = name.size > 0 && name.size <= PAM_SERVICE_SIZE_MAX;

    for (size_t i = 0; i < name.size; i++) {
        uint8_t o = name.data[i];
        good = good && ((o >= 'a' && o <= 'z') || (o >= '0' && o <= '9') || (i > 0 && (o == '-' || o == '_')));
    }
    return good;
}

static RESULT passwords_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = reader_cell(block, "passwords");
    struct bytes text = cell == NULL ? BYTES("file") : cell->text, rest = BYTES_NONE;

    if (bytes_equal(text, BYTES("pam")))
        text = BYTES("pam:mansio");
    ptrdiff_t colon = bytes_index(text, ':');
    if (colon != BYTES_NOT_FOUND)
        rest = bytes_after(text, (size_t)colon + 1);
    if (bytes_starts(text, BYTES("pam:")) && is_service_name(rest))
        r->cfg->auth.passwords = PASSWORDS_PAM;
    else if (bytes_starts(text, BYTES("dovecot:/")) && rest.size <= SOCKET_PATH_SIZE_MAX)
        r->cfg->auth.passwords = PASSWORDS_DOVECOT;
    else if (!bytes_equal(text, BYTES("file")))
        return reader_wrong(r, cell, "passwords", "file, pam, pam:service or dovecot:/path/of/a/socket");
    return reader_keep(r->cfg, rest, &r->cfg->auth.passwords_at);
}

/* The field that stands for the recipients when Bcc was the only one and has gone. */
static RESULT submission_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = reader_cell(block, "no_destination");
    struct bytes field = cell != NULL ? cell->text : BYTES("Cc: recipient list not shown: ;");
    enum header_kind kind = header_kind_of(header_line_name(field));
    bool plain = field.size <= NO_DESTINATION_SIZE_MAX;

    for (size_t i = 0; i < field.size; i++)
        plain = plain && field.data[i] >= 0x20 && field.data[i] < 0x7f;
    if (!plain || (field.size > 0 && kind != HEADER_TO && kind != HEADER_CC))
        return reader_wrong(
            r, cell, "no_destination", "a whole To or Cc field such as \"To: undisclosed-recipients:;\", or \"\"");
    return reader_keep(r->cfg, field, &r->cfg->submission.no_destination);
}

static uint32_t core_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return count < 1 ? 1 : count > 256 ? 256 : (uint32_t)count;
}

/* A bare port is one of this host alone: whoever reaches it reads the names of next hops. */
static RESULT metrics_http_read(struct reader *r, const struct config_tree_block *block)
{
    const struct config_tree_cell *cell = reader_cell(block, "metrics_http");
    uint8_t room[32];
    struct buf local = BUF(room);
    struct bytes text;
    uint64_t port;

    if (cell == NULL || bytes_equal(cell->text, BYTES("off")))
        return OK;
    text = cell->text;
    if (is_ok(bytes_to_u64(text, 65535, &port)) && is_ok(buf_put_str(&local, "127.0.0.1:")) &&
        is_ok(buf_put_u64(&local, port)))
        text = buf_bytes(&local);
    TRY(reader_keep(r->cfg, text, &text));
    if (is_ok(value_endpoints(text, r->cfg->metrics_http, &r->cfg->metrics_http_count)))
        return OK;
    return reader_wrong(r, cell, "metrics_http", "off, a port, or ADDRESS:PORT");
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
        TRY(reader_keep(cfg, buf_bytes(&name), &cfg->hostname));
    }
    if (cfg->origin.size == 0)
        cfg->origin = cfg->hostname;
    return OK;
}

static RESULT loopback_put(struct config *cfg, struct config_network_list *list)
{
    static const char *const loopback[] = {"127.0.0.0/8", "::1"};
    void *items;

    TRY(reader_list(cfg, COUNT_OF(loopback), sizeof *list->items, &items));
    list->items = items;
    for (list->count = 0; list->count < COUNT_OF(loopback); list->count++)
        TRY(value_network(bytes_of(loopback[list->count]), &list->items[list->count]));
    return OK;
}

static RESULT relay_certificates_check(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values values = config_tree_values(block, "relay_certificates");
    uint8_t fingerprint[VALUE_FINGERPRINT_SIZE];

    for (size_t i = 0; i < values.count; i++) {
        const struct config_tree_cell *cell = config_tree_cell(&values, i);
        struct result result = value_fingerprint(cell->text, fingerprint);

        if (!is_ok(result))
            return reader_wrong(r, cell, "relay_certificates", result.why);
    }
    return OK;
}

static RESULT tree_read(struct reader *r)
{
    static const enum config_block singles[] = {CONFIG_BLOCK_ROOT, CONFIG_BLOCK_LOG, CONFIG_BLOCK_TLS,
        CONFIG_BLOCK_AUTH, CONFIG_BLOCK_DNS, CONFIG_BLOCK_RETRY, CONFIG_BLOCK_TIMEOUTS, CONFIG_BLOCK_LIMITS,
        CONFIG_BLOCK_RATES, CONFIG_BLOCK_CHECKS, CONFIG_BLOCK_PROCESSES, CONFIG_BLOCK_DSN, CONFIG_BLOCK_SUBMISSION,
        CONFIG_BLOCK_REWRITE, CONFIG_BLOCK_SRS};
    struct config *cfg = r->cfg;

    cfg->processes.inbound = cfg->processes.outbound = core_count();
    TRY(config_lookups_read(r)); /* others name them */
    for (size_t i = 0; i < COUNT_OF(singles); i++) {
        struct config_tree_block block = config_tree_block(r->tree, singles[i], 0);

        TRY(reader_block(r, &block, cfg));
        if (singles[i] == CONFIG_BLOCK_ROOT)
            TRY(relay_certificates_check(r, &block));
        if (singles[i] == CONFIG_BLOCK_LOG)
            TRY(log_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_TLS)
            TRY(tls_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_AUTH)
            TRY(passwords_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_DNS)
            TRY(dns_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_RETRY)
            TRY(retry_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_SUBMISSION)
            TRY(submission_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_CHECKS)
            TRY(config_checks_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_ROOT)
            TRY(metrics_http_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_REWRITE)
            TRY(config_rewrite_read(r, &block));
        if (singles[i] == CONFIG_BLOCK_ROOT && !config_tree_values(&block, "relay_from").set)
            TRY(loopback_put(cfg, &cfg->relay_from));
        if (singles[i] == CONFIG_BLOCK_ROOT && !config_tree_values(&block, "exempt_from").set)
            TRY(loopback_put(cfg, &cfg->exempt_from));
    }
    TRY(names_read(r));
    TRY(config_sources_read(r)); /* so are these */
    TRY(config_listens_read(r));
    TRY(config_domains_read(r));
    TRY(config_srs_read(r));
    config_system_lookup_add(cfg);
    TRY(config_logins_read(r));
    return config_routes_read(r);
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
        r = reader_keep(reader.cfg, bytes_of(name), &reader.cfg->path);
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
