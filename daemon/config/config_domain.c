/* The domain blocks, and those of the logins that may write in their name. */
#include "daemon/config/reader.h"

/* Absolute or in a home, and only %d, %u and %% behind a percent sign. */
static bool mailbox_is_valid(struct bytes path, bool has_home)
{
    if (!bytes_starts(path, BYTES("/")) && !(has_home && bytes_starts(path, BYTES("~/"))))
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
    const struct config_tree_cell *maildir = reader_cell(block, "maildir"), *deliver = reader_cell(block, "deliver");
    const char *why;

    TRY(reader_keep(r->cfg, deliver != NULL ? deliver->text : BYTES("maildir"), &domain->deliver));
    if (bytes_equal(block->title, BYTES("*")))
        domain->name = BYTES("*");
    else if (!is_ok(reader_name(r, block->title, &domain->name, &why)))
        return READER_FAIL(
            r, block->line, "domain: found \"%.200s\", expected %s", (const char *)block->title.data, why);
    for (const struct config_domain *d = r->cfg->domains; d < domain; d++)
        if (bytes_equal(d->name, domain->name))
            return READER_FAIL(r, block->line, "a second domain block for \"%s\"; expected each domain once",
                (const char *)d->name.data);
    TRY(reader_block(r, block, domain));
    TRY(config_source_check(r, block, domain->source, domain->target.kind));
    if (bytes_equal(domain->name, BYTES("*")) != (domain->names.count > 0))
        return READER_FAIL(r, block->line,
            "domain \"%s\": found %s names, expected them in domain \"*\", and only there",
            (const char *)domain->name.data, domain->names.count > 0 ? "a list of" : "no");
    const struct config_tree_cell *mbox = reader_cell(block, "mbox"), *box = mbox != NULL ? mbox : maildir;
    if (domain->target.kind != ROUTE_LOCAL) {
        if (box != NULL)
            return READER_FAIL(r, box->line, "%s: found with deliver = '%s', expected only with deliver = \"maildir\"",
                mbox != NULL ? "mbox" : "maildir", deliver != NULL ? (const char *)deliver->text.data : "");
        return OK;
    }
    if (mbox != NULL && maildir != NULL)
        return READER_FAIL(r, box->line, "mbox: found beside maildir, expected one of them");
    if (box == NULL)
        return domain->system_users ? reader_keep(r->cfg, BYTES("~/Maildir"), &domain->maildir)
                                    : maildir_preset(r, &domain->maildir);
    if (!mailbox_is_valid(box->text, domain->system_users))
        return reader_wrong(r, box, mbox != NULL ? "mbox" : "maildir",
            "a path that begins with / (or with ~/, of system_users), where %d is the domain, %u the local part and %% "
            "a "
            "percent sign");
    return reader_keep(r->cfg, box->text, mbox != NULL ? &domain->mbox : &domain->maildir);
}

/* domain "*" is no domain: it goes to the end of the list, and out of its count. */
static void hosted_set_apart(struct config *cfg)
{
    for (size_t i = 0; i < cfg->domain_count && cfg->hosted == NULL; i++) {
        struct config_domain *last = &cfg->domains[cfg->domain_count - 1], found = cfg->domains[i];

        if (!bytes_equal(found.name, BYTES("*")))
            continue;
        cfg->domains[i] = *last;
        *last = found;
        cfg->hosted = last;
        cfg->domain_count--;
    }
}

RESULT config_domains_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_DOMAIN);
    void *items;

    r->cfg->domain_count = count > 0 ? count : 1;
    TRY(reader_list(r->cfg, r->cfg->domain_count, sizeof *r->cfg->domains, &items));
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
    hosted_set_apart(r->cfg);
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

    if (at == BYTES_NOT_FOUND || !is_ok(reader_name(r, bytes_after(cell->text, (size_t)at + 1), &domain, &why)) ||
        !is_ok(buf_put(&sender, bytes_head(cell->text, (size_t)at + 1))) || !is_ok(buf_put(&sender, domain)))
        return reader_wrong(r, cell, "senders", "an address (alice@example.org) or a domain (@example.org)");
    return reader_keep(r->cfg, buf_bytes(&sender), sender_out);
}

RESULT config_logins_read(struct reader *r)
{
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_LOGIN);
    void *items;

    TRY(reader_list(r->cfg, count, sizeof *r->cfg->logins, &items));
    r->cfg->logins = items;
    for (; r->cfg->login_count < count; r->cfg->login_count++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LOGIN, r->cfg->login_count);
        struct config_login *login = &r->cfg->logins[r->cfg->login_count];
        struct config_tree_values values = config_tree_values(&block, "senders");

        TRY(reader_keep(r->cfg, block.title, &login->name));
        TRY(reader_block(r, &block, login));
        for (size_t i = 0; i < values.count; i++)
            TRY(sender_read(r, config_tree_cell(&values, i), &login->senders.items[i]));
    }
    return OK;
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
        if (d->users.items[i].data[0] == '/' || config_is_lookup(d->users.items[i]))
            return true;
    return config_domain_has_aliases(d) || d->system_users;
}

const struct config_domain *config_domain_of(const struct config *cfg, struct bytes domain)
{
    const struct config_domain *own = config_domain_find(cfg, domain);

    return own != NULL ? own : cfg->hosted;
}

bool config_has_asked_ways(const struct config *cfg)
{
    return cfg->hosted != NULL || cfg->route_lookups.count > 0;
}
