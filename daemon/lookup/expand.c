/* A list of addresses still to be looked at, and a set of everything met so far; both in the caller's arena. Every address goes
 * through the set once, so the work is bounded by the size of the tables, circles or not. */
#include "daemon/lookup/expand.h"

#include "smtp/address.h"

/* Something met: a leaf, or an address that was expanded. */
struct met {
    struct met *next_same_hash, *next_to_do;
    uint8_t kind; /* enum leaf_kind */
    struct bytes text;
    struct bytes owner;
};

struct work {
    const struct book *book;
    const struct config *cfg;
    struct arena *arena;
    struct map seen;
    struct met *to_do, **to_do_end;
    struct leaf **leaves_end;
    struct expansion *x;
    bool waits; /* for a card */
};

static struct bytes domain_of(struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    return at == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(path, (size_t)at + 1);
}

/* Addresses of ours are one mailbox in any case of letters. */
static bool same(const struct work *w, uint8_t kind, struct bytes a, struct bytes b)
{
    if (kind == LEAF_ADDRESS && config_domain_find(w->cfg, domain_of(a)) != NULL)
        return bytes_equal_nocase(a, b);
    return bytes_equal(a, b);
}

static uint64_t hash_of(uint8_t kind, struct bytes text)
{
    uint64_t hash = 0xcbf29ce484222325u ^ kind;

    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ octet_lower(text.data[i])) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

/* Puts it into the set; *met_out is NULL when it was there. `final` tells an address that is a leaf from one that is expanded. */
static RESULT meet(struct work *w, uint8_t kind, struct bytes text, struct bytes owner, struct met **met_out)
{
    uint64_t hash = hash_of(kind, text);
    struct met *first = map_get(&w->seen, hash);
    void *memory = NULL;

    *met_out = NULL;
    for (struct met *m = first; m != NULL; m = m->next_same_hash)
        if (m->kind == kind && same(w, kind, m->text, text))
            return OK;
    TRY(arena_take(w->arena, sizeof **met_out, &memory));
    *met_out = memory;
    **met_out = (struct met){.next_same_hash = first, .kind = kind, .owner = owner};
    TRY(arena_copy(w->arena, text, &(*met_out)->text));
    return map_put(&w->seen, hash, *met_out);
}

enum { MET_EXPANDED = 100 }; /* a kind of its own: an address may be expanded and be its own leaf (\name) */

static RESULT leaf_add(struct work *w, enum leaf_kind kind, struct bytes text, struct bytes address, struct bytes owner)
{
    struct met *met;
    struct leaf *leaf;
    void *memory = NULL;

    TRY(meet(w, (uint8_t)kind, text, owner, &met));
    if (met == NULL)
        return OK;
    if (w->x->leaf_count == EXPAND_LEAF_COUNT_MAX)
        return FAIL(CODE_FULL, "the address stands for too many recipients");
    TRY(arena_take(w->arena, sizeof *leaf, &memory));
    leaf = memory;
    *leaf = (struct leaf){.kind = kind, .text = met->text, .owner = owner};
    TRY(arena_copy(w->arena, address, &leaf->address));
    *w->leaves_end = leaf;
    w->leaves_end = &leaf->next;
    w->x->leaf_count++;
    return OK;
}

static RESULT todo_add(struct work *w, struct bytes path, struct bytes owner)
{
    struct met *met;

    TRY(meet(w, MET_EXPANDED, path, owner, &met));
    if (met == NULL)
        return OK;
    *w->to_do_end = met;
    w->to_do_end = &met->next_to_do;
    return OK;
}

static RESULT join(struct work *w, struct bytes local_part, struct bytes domain, struct bytes *path_out)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf path = BUF(octets);

    if (!is_ok(buf_put(&path, local_part)) || !is_ok(buf_put_octet(&path, '@')) || !is_ok(buf_put(&path, domain)))
        return FAIL(CODE_SYNTAX, "an address in the alias data is too long");
    return arena_copy(w->arena, buf_bytes(&path), path_out);
}

/* What an entry is being read for. */
struct place {
    const struct config_domain *domain;
    struct bytes path, local_part;
    struct bytes owner;
    bool virtual;
    struct bytes domain_name; /* the address's own: `domain` may be for many */
};

static RESULT targets_add(struct work *w, const struct place *p, const struct alias_target *t, bool in_list);

static RESULT include_add(struct work *w, const struct place *p, const struct alias_target *t)
{
    const struct book_page *page = book_find(w->book, t->text, ALIAS_FORM_LIST, false);
    const struct alias_entry *entry;
    struct met *met;

    if (page == NULL || page->broken)
        return FAIL(CODE_IO, "an :include: file cannot be read");
    TRY(meet(w, MET_EXPANDED + 1, t->text, p->owner, &met));
    if (met == NULL)
        return OK;
    entry = alias_table_find(&page->table, BYTES_NONE);
    return entry == NULL ? OK : targets_add(w, p, entry->targets, true);
}

static RESULT address_add(struct work *w, const struct place *p, const struct alias_target *t)
{
    struct bytes path = t->text;

    if (path.data[0] == '@') {
        TRY(join(w, p->local_part, bytes_after(path, 1), &path));
    } else if (domain_of(path).size == 0 || path.data[path.size - 1] == '"') {
        TRY(join(w, path, p->virtual ? w->cfg->origin : p->domain_name, &path));
    }
    if (bytes_equal_nocase(path, p->path))
        return leaf_add(w, LEAF_ADDRESS, path, path, p->owner);
    return todo_add(w, path, p->owner);
}

static RESULT targets_add(struct work *w, const struct place *p, const struct alias_target *t, bool in_list)
{
    struct bytes path;

    for (; t != NULL; t = t->next) {
        switch (t->kind) {
        case ALIAS_ADDRESS:
            TRY(address_add(w, p, t));
            break;
        case ALIAS_USER:
            TRY(join(w, t->text, p->domain_name, &path));
            TRY(leaf_add(w, LEAF_ADDRESS, path, path, p->owner));
            break;
        case ALIAS_COMMAND:
        case ALIAS_FILE:
            TRY(leaf_add(w, t->kind == ALIAS_FILE ? LEAF_FILE : LEAF_COMMAND, t->text, p->path, p->owner));
            break;
        case ALIAS_INCLUDE:
            if (in_list)
                return FAIL(CODE_IO, "an :include: file may not include others");
            TRY(include_add(w, p, t));
            break;
        }
    }
    return OK;
}

/* The reverse-path that owner-NAME gives to what NAME leads to; else the one that led here. */
static RESULT owner_of(struct work *w, const struct place *p, struct bytes inherited, struct bytes *owner_out)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf name = BUF(octets);
    struct book_doubt doubt = {false, false};
    bool unused_virtual;

    *owner_out = inherited;
    if (bytes_starts_nocase(p->local_part, BYTES("owner-")) || !is_ok(buf_put_str(&name, "owner-")) ||
        !is_ok(buf_put(&name, p->local_part)))
        return OK;
    if (book_entry(w->book, p->domain, p->domain_name, buf_bytes(&name), &unused_virtual, &doubt) != NULL)
        return join(w, buf_bytes(&name), p->domain_name, owner_out);
    w->waits = w->waits || doubt.waits;
    return doubt.broken ? FAIL(CODE_IO, "an alias file cannot be read") : OK;
}

/* A leaf whose way a lookup knows. */
static RESULT routed_add(struct work *w, struct bytes path, struct bytes owner, struct bytes via)
{
    struct leaf **at = w->leaves_end;

    TRY(leaf_add(w, LEAF_ADDRESS, path, path, owner));
    return via.size > 0 && *at != NULL ? arena_copy(w->arena, via, &(*at)->via) : OK;
}

static bool route_is_for_elsewhere(struct arena *a, struct bytes via)
{
    struct route_target target;

    return is_ok(route_target_parse(a, via, &target)) && target.kind != ROUTE_LOCAL && target.kind != ROUTE_PIPE;
}

/* An address elsewhere. */
static RESULT elsewhere_add(struct work *w, const struct met *at)
{
    struct bytes via = BYTES_NONE;

    switch (book_route(w->book, w->cfg, at->text, &via)) {
    case BOOK_BROKEN:
        return FAIL(CODE_IO, "a lookup for the route does not answer");
    case BOOK_WAIT:
        w->waits = true;
        return OK;
    default:
        break;
    }
    if (via.size > 0 && !route_is_for_elsewhere(w->arena, via))
        return FAIL(CODE_IO, "a lookup gives a route that cannot be read");
    return routed_add(w, at->text, at->owner, via);
}

/* postmaster@ and abuse@ of a domain without mailboxes go to our own postmaster. */
static RESULT final_add(struct work *w, const struct place *p, struct bytes owner)
{
    enum route_kind kind = p->domain->target.kind;

    if (kind != ROUTE_ERROR && kind != ROUTE_DISCARD)
        return routed_add(w, p->path, owner, p->domain == w->cfg->hosted ? p->domain->deliver : BYTES_NONE);
    struct bytes path;
    TRY(join(w, BYTES("postmaster"), w->cfg->hostname, &path));
    return leaf_add(w, LEAF_ADDRESS, path, path, owner);
}

static RESULT address_expand(struct work *w, const struct met *at, bool first)
{
    struct bytes domain = domain_of(at->text);
    struct place p = {.path = at->text, .domain_name = domain};
    const struct alias_entry *entry = NULL;
    enum book_answer answer = book_domain(w->book, w->cfg, domain, &p.domain);

    p.local_part = bytes_head(at->text, at->text.size - domain.size - 1);
    if (answer == BOOK_FINAL && p.domain == NULL)
        return elsewhere_add(w, at);
    if (answer == BOOK_FINAL)
        answer = book_ask(w->book, p.domain, domain, p.local_part, &entry, &p.virtual);
    switch (answer) {
    case BOOK_BROKEN:
        return FAIL(CODE_IO, "an alias file or a lookup cannot be read");
    case BOOK_WAIT: /* go on: whatever else is wanted may be asked for together with it */
        w->waits = true;
        return OK;
    case BOOK_UNKNOWN:
        if (first)
            return FAIL(CODE_GONE, "there is no such mailbox here");
        return leaf_add(w, LEAF_UNKNOWN, at->text, at->text, at->owner);
    case BOOK_FINAL:
        return final_add(w, &p, at->owner);
    case BOOK_ALIAS:
        break;
    }
    TRY(owner_of(w, &p, at->owner, &p.owner));
    return targets_add(w, &p, entry->targets, false);
}

static RESULT expand_all(struct work *w, struct bytes path)
{
    bool first = true;

    TRY(todo_add(w, path, BYTES_NONE));
    for (const struct met *at = w->to_do; at != NULL; at = at->next_to_do) {
        TRY(address_expand(w, at, first));
        first = false;
    }
    return OK;
}

void expand(const struct book *b, const struct config *cfg, struct arena *a, struct bytes path, struct expansion *x_out)
{
    struct work w = {.book = b, .cfg = cfg, .arena = a, .x = x_out};

    *x_out = (struct expansion){.verdict = EXPAND_LEAVES};
    w.to_do_end = &w.to_do;
    w.leaves_end = &x_out->leaves;
    struct result r = expand_all(&w, path);
    map_fini(&w.seen);
    x_out->why = r.why;
    if (is_ok(r) && w.waits) {
        x_out->verdict = EXPAND_WAIT;
    } else if (r.code == CODE_GONE) {
        x_out->verdict = EXPAND_UNKNOWN;
    } else if (r.code == CODE_FULL && x_out->leaf_count == EXPAND_LEAF_COUNT_MAX) {
        x_out->verdict = EXPAND_TOO_MANY;
        x_out->why = "the address stands for too many recipients";
    } else if (!is_ok(r)) { /* out of memory too: that is no fault of the sender's */
        x_out->verdict = EXPAND_LATER;
    } else if (x_out->leaf_count == 0) {
        x_out->verdict = EXPAND_LOOP;
        x_out->why = "the aliases of this address lead in a circle";
    }
}
