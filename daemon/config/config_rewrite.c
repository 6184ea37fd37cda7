/* The blocks `rewrite` and `srs`. */
#include "daemon/config/reader.h"
#include "smtp/srs.h"

static const char CLASSES[] = "local|submission|relay|strangers"; /* as enum mail_class */

/* A domain, or with ! before it one that stays as it is. */
static RESULT masquerade_check(struct reader *r, const struct config_tree_cell *cell, struct bytes *item)
{
    bool kept = bytes_starts(*item, BYTES("!"));
    uint8_t room[DOMAIN_SIZE_MAX + 2];
    struct buf text = BUF(room);
    struct bytes name;
    const char *why;

    if (!is_ok(reader_name(r, bytes_after(*item, kept), &name, &why)))
        return reader_wrong(r, cell, "masquerade", "a domain such as example.org, or !host.example.org");
    if ((kept && !is_ok(buf_put_octet(&text, '!'))) || !is_ok(buf_put(&text, name)))
        return reader_wrong(r, cell, "masquerade", "a shorter name");
    return reader_keep(r->cfg, buf_bytes(&text), item);
}

RESULT config_rewrite_read(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values classes = config_tree_values(block, "classes");
    struct config_tree_values masquerade = config_tree_values(block, "masquerade");
    struct config *cfg = r->cfg;
    unsigned index;

    cfg->rewrite.classes = classes.set ? 0 : MAIL_LOCAL | MAIL_SUBMISSION;
    for (size_t i = 0; i < classes.count; i++) {
        TRY(reader_word(r, config_tree_cell(&classes, i), "classes", CLASSES, &index));
        cfg->rewrite.classes |= 1u << index;
    }
    for (size_t i = 0; i < masquerade.count; i++)
        TRY(masquerade_check(r, config_tree_cell(&masquerade, i), &cfg->rewrite.masquerade.items[i]));
    return OK;
}

RESULT config_srs_read(struct reader *r)
{
    struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_SRS, 0);
    const struct config_tree_cell *domain = reader_cell(&block, "domain"), *keys = reader_cell(&block, "keys");
    struct config *cfg = r->cfg;

    if (keys == NULL)
        return domain == NULL ? OK
                              : READER_FAIL(r, domain->line, "domain: found without keys, expected both or neither");
    if (cfg->srs.domain.size == 0)
        cfg->srs.domain = cfg->origin;
    if (config_domain_find(cfg, cfg->srs.domain) != NULL)
        return OK;
    return READER_FAIL(r, domain != NULL ? domain->line : keys->line,
        "srs: the domain is \"%s\", expected one that has a domain block: bounces come back to it",
        (const char *)cfg->srs.domain.data);
}

bool config_is_srs_address(const struct config *cfg, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    return cfg->tables[TABLE_SRS_KEYS].size > 0 && at != BYTES_NOT_FOUND &&
           bytes_equal(bytes_after(path, (size_t)at + 1), cfg->srs.domain) && srs_is_form(bytes_head(path, (size_t)at));
}

void config_srs_fill(const struct config *cfg, struct srs *srs_out)
{
    enum { DAY_MS = 86400000 };

    srs_out->domain = cfg->srs.domain;
    srs_out->max_age_days = (uint32_t)(cfg->srs.max_age / DAY_MS);
}
