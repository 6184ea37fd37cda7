#include "daemon/config/rewriting.h"

RESULT rewriting_take(struct rewriting *w, enum config_table table, struct bytes text)
{
    unsigned line;

    ASSERT((int)table < (int)REWRITING_MAP_COUNT);
    address_map_free(&w->maps[table]);
    mem_free((uint8_t *)w->texts[table].data);
    w->texts[table] = text;
    return address_map_read(text, &w->maps[table], &line);
}

void rewriting_fini(struct rewriting *w)
{
    for (size_t i = 0; i < REWRITING_MAP_COUNT; i++) {
        address_map_free(&w->maps[i]);
        mem_free((uint8_t *)w->texts[i].data);
        w->texts[i] = BYTES_NONE;
    }
}

bool rewriting_has_canonical(const struct rewriting *w)
{
    return w->maps[TABLE_CANONICAL].count + w->maps[TABLE_CANONICAL_SENDERS].count +
               w->maps[TABLE_CANONICAL_RECIPIENTS].count + w->cfg->rewrite.masquerade.count >
           0;
}

bool rewriting_has_generic(const struct rewriting *w)
{
    return w->maps[TABLE_GENERIC].count > 0;
}

bool rewriting_is_for(const struct rewriting *w, enum mail_class class)
{
    return (w->cfg->rewrite.classes & class) != 0;
}

/* An address in its parts; `user` and `tag` make up the local part. */
struct parted {
    struct bytes local_part, user, tag, domain;
};

static struct parted part(const struct config *cfg, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes domain = bytes_after(path, (size_t)(at + 1));
    struct bytes local_part = bytes_head(path, at < 0 ? path.size : (size_t)at);
    const struct config_domain *ours = config_domain_find(cfg, domain);
    struct bytes user = local_part;

    if (ours != NULL && local_part.size > 0 && local_part.data[0] != '"')
        user = config_domain_user(ours, local_part);
    return (struct parted){local_part, user, bytes_after(local_part, user.size), domain};
}

static bool find_joined(const struct address_map *map, struct bytes user, struct bytes domain, struct bytes *target_out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf key = BUF(room);

    return is_ok(buf_put(&key, user)) && is_ok(buf_put_octet(&key, '@')) && is_ok(buf_put(&key, domain)) &&
           address_map_find(map, buf_bytes(&key), target_out);
}

/* What the map has for an address; *tag_out: what of the local part it was found without. */
static bool find(const struct config *cfg, const struct address_map *map, const struct parted *p,
    struct bytes *target_out, struct bytes *tag_out)
{
    bool at_home = bytes_equal(p->domain, cfg->origin) || bytes_equal(p->domain, cfg->hostname);

    *tag_out = BYTES_NONE;
    if (find_joined(map, p->local_part, p->domain, target_out) ||
        (at_home && address_map_find(map, p->local_part, target_out)))
        return true;
    *tag_out = p->tag;
    if (p->tag.size > 0 &&
        (find_joined(map, p->user, p->domain, target_out) || (at_home && address_map_find(map, p->user, target_out))))
        return true;
    *tag_out = BYTES_NONE;
    return find_joined(map, BYTES_NONE, p->domain, target_out);
}

/* Into the canonical form; false when it is no address after all, being too long. */
static bool address_take(struct bytes text, struct buf *out)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf canonical = BUF(room);
    struct address address;

    buf_reset(out);
    return is_ok(address_parse_mailbox(text, ADDRESS_UTF8, &canonical, &address)) && is_ok(buf_put(out, address.text));
}

static bool map_apply(const struct config *cfg, const struct address_map *map, struct bytes path, struct buf *out)
{
    struct parted p = part(cfg, path);
    struct bytes target, tag, user, domain;
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf text = BUF(room);

    if (map->count == 0 || !find(cfg, map, &p, &target, &tag))
        return false;
    ptrdiff_t at = bytes_rindex(target, '@');
    user = at == 0 ? p.local_part : at < 0 ? target : bytes_head(target, (size_t)at);
    if (at == 0)
        tag = BYTES_NONE; /* it is there */
    domain = at < 0 ? cfg->origin : bytes_after(target, (size_t)at + 1);
    return is_ok(buf_put(&text, user)) && is_ok(buf_put(&text, tag)) && is_ok(buf_put_octet(&text, '@')) &&
           is_ok(buf_put(&text, domain)) && address_take(buf_bytes(&text), out);
}

static bool is_below(struct bytes domain, struct bytes parent)
{
    return domain.size > parent.size + 1 && bytes_ends_nocase(domain, parent) &&
           domain.data[domain.size - parent.size - 1] == '.';
}

/* The first item that the domain is, or is below, decides. */
static bool masquerade(const struct config *cfg, struct bytes path, struct buf *out)
{
    struct parted p = part(cfg, path);
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf text = BUF(room);

    for (size_t i = 0; i < cfg->rewrite.masquerade_except.count; i++)
        if (bytes_equal_nocase(p.user, cfg->rewrite.masquerade_except.items[i]))
            return false;
    for (size_t i = 0; i < cfg->rewrite.masquerade.count; i++) {
        struct bytes item = cfg->rewrite.masquerade.items[i];
        bool kept = item.data[0] == '!';
        struct bytes parent = bytes_after(item, kept);

        if (!is_below(p.domain, parent) && !bytes_equal_nocase(p.domain, parent))
            continue;
        return !kept && p.domain.size > parent.size && is_ok(buf_put(&text, p.local_part)) &&
               is_ok(buf_put_octet(&text, '@')) && is_ok(buf_put(&text, parent)) && address_take(buf_bytes(&text), out);
    }
    return false;
}

bool rewriting_canonical(
    const struct rewriting *w, enum rewrite_side side, bool envelope, struct bytes path, struct buf *out)
{
    const struct address_map *own =
        &w->maps[side == REWRITE_SENDER ? TABLE_CANONICAL_SENDERS : TABLE_CANONICAL_RECIPIENTS];
    uint8_t room[ADDRESS_SIZE_MAX], next_room[ADDRESS_SIZE_MAX];
    struct buf now = BUF(room), next = BUF(next_room);

    if (!is_ok(buf_put(&now, path)))
        return false;
    for (unsigned step = 0; step < 3; step++) {
        bool changed = step == 0 ? map_apply(w->cfg, own, buf_bytes(&now), &next)
                       : step == 1
                           ? map_apply(w->cfg, &w->maps[TABLE_CANONICAL], buf_bytes(&now), &next)
                           : (side == REWRITE_SENDER || !envelope) && masquerade(w->cfg, buf_bytes(&now), &next);
        struct buf before = now;

        if (!changed)
            continue;
        now = next;
        next = before;
    }
    buf_reset(out);
    return !bytes_equal(buf_bytes(&now), path) && is_ok(buf_put(out, buf_bytes(&now)));
}

bool rewriting_generic(const struct rewriting *w, struct bytes path, struct buf *out)
{
    return map_apply(w->cfg, &w->maps[TABLE_GENERIC], path, out) && !bytes_equal(buf_bytes(out), path);
}
