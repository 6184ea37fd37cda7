#include "daemon/lookup/book.h"

#include "smtp/address.h"

struct book_page *book_find(const struct book *b, struct bytes path, enum alias_form form, bool users)
{
    struct book_page *page = b->pages;

    while (page != NULL && !(page->form == form && page->users == users && bytes_equal(page->path, path)))
        page = page->next;
    return page;
}

bool book_is_role_mailbox(struct bytes local_part)
{
    return bytes_equal_nocase(local_part, BYTES("postmaster")) || bytes_equal_nocase(local_part, BYTES("abuse"));
}

/* --- what lookups say --- */

/* CARD_FOUND with the card; CARD_MISSING; anything else has left its doubt. */
static enum card_state card_ask(
    const struct book *b, size_t lookup, struct bytes key, struct card **card_out, struct book_doubt *doubt)
{
    struct card *card = key.size == 0 || key.size > ADDRESS_SIZE_MAX ? NULL : cards_get(b->cards, lookup, key);
    enum card_state state = card != NULL ? card->state : CARD_FAILED;

    *card_out = card;
    if (state == CARD_FAILED && b->cfg->lookups[lookup].accept_failed)
        return CARD_FOUND;
    if (state == CARD_FAILED)
        doubt->broken = true;
    else if (state < CARD_FOUND)
        doubt->waits = true;
    return state;
}

/* The item of a list, where it names a lookup. */
static bool lookup_of(const struct book *b, struct bytes item, size_t *index_out, struct book_doubt *doubt)
{
    if (!config_is_lookup(item))
        return false;
    if (b->cards != NULL && is_ok(config_lookup_find(b->cfg, item, index_out)))
        return true;
    doubt->broken = true; /* the configuration was checked: this is another one's item */
    return false;
}

/* Queries are asked for whole addresses and @domain, tables for any key that may stand in them. */
static bool asks_for(const struct book *b, size_t lookup, struct bytes key)
{
    return bytes_index(key, '@') != BYTES_NOT_FOUND || config_lookup_is_table(&b->cfg->lookups[lookup]);
}

static const struct alias_entry *lookup_entry(
    const struct book *b, size_t lookup, struct bytes key, struct book_doubt *doubt)
{
    const struct alias_entry *entry;
    struct card *card;

    if (!asks_for(b, lookup, key) || card_ask(b, lookup, key, &card, doubt) != CARD_FOUND || card == NULL ||
        card->state != CARD_FOUND)
        return NULL;
    entry = card_targets(card);
    if (entry == NULL)
        doubt->broken = true; /* nothing that mail may be sent to */
    return entry;
}

static bool lookup_knows(const struct book *b, size_t lookup, struct bytes key, struct book_doubt *doubt)
{
    struct card *card;

    return asks_for(b, lookup, key) && card_ask(b, lookup, key, &card, doubt) == CARD_FOUND;
}

static RESULT path_put(struct buf *path, struct bytes name, struct bytes domain)
{
    TRY(buf_put(path, name));
    TRY(buf_put_octet(path, '@'));
    return buf_put(path, domain);
}

/* --- entries --- */

static const struct alias_entry *list_entry(const struct book *b, const struct config_text_list *files,
    enum alias_form form, struct bytes key, struct book_doubt *doubt)
{
    for (size_t i = 0; i < files->count; i++) {
        const struct alias_entry *entry = NULL;
        const struct book_page *page;
        size_t lookup;

        if (lookup_of(b, files->items[i], &lookup, doubt)) {
            entry = lookup_entry(b, lookup, key, doubt);
        } else if (!config_is_lookup(files->items[i])) {
            page = book_find(b, files->items[i], form, false);
            if (page == NULL || page->broken)
                doubt->broken = true;
            else
                entry = alias_table_find(&page->table, key);
        }
        if (entry != NULL)
            return entry;
    }
    return NULL;
}

const struct alias_entry *book_entry(const struct book *b, const struct config_domain *d, struct bytes domain,
    struct bytes key, bool *virtual_out, struct book_doubt *doubt)
{
    const struct alias_entry *entry = list_entry(b, &d->virtual, ALIAS_FORM_VIRTUAL, key, doubt);

    (void)domain;
    *virtual_out = entry != NULL;
    return entry != NULL ? entry : list_entry(b, &d->aliases, ALIAS_FORM_ALIASES, key, doubt);
}

/* Somebody whom book_ask looks for. */
struct sought {
    const struct book *book;
    const struct config_domain *block;
    struct bytes domain;
    bool *virtual_out;
    struct book_doubt doubt;
};

/* user@domain, then user: each in all tables. */
static const struct alias_entry *name_entry(struct sought *s, struct bytes name)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf whole = BUF(octets);
    const struct alias_entry *entry = NULL;

    if (is_ok(path_put(&whole, name, s->domain)))
        entry = book_entry(s->book, s->block, s->domain, buf_bytes(&whole), s->virtual_out, &s->doubt);
    return entry != NULL || name.size == 0 ? entry
                                           : book_entry(s->book, s->block, s->domain, name, s->virtual_out, &s->doubt);
}

/* Whether one item of the list of users has him. */
static bool item_has(struct sought *s, struct bytes item, struct bytes name)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf whole = BUF(octets);
    const struct book_page *page;
    size_t lookup;

    if (lookup_of(s->book, item, &lookup, &s->doubt))
        return (is_ok(path_put(&whole, name, s->domain)) &&
                   lookup_knows(s->book, lookup, buf_bytes(&whole), &s->doubt)) ||
               lookup_knows(s->book, lookup, name, &s->doubt);
    if (item.data[0] != '/')
        return bytes_equal_nocase(item, name);
    page = book_find(s->book, item, ALIAS_FORM_LIST, true);
    if (page != NULL && !page->broken)
        return alias_table_find(&page->table, name) != NULL;
    s->doubt.broken = true;
    return false;
}

/* Whether he is a user of this host. */
static enum book_answer system_user_ask(struct sought *s, struct bytes name)
{
    const struct book *b = s->book;
    struct book_doubt doubt = {false, false};
    struct card *card;

    if (name.size == 0)
        return BOOK_UNKNOWN;
    enum card_state state = card_ask(b, b->cfg->system_lookup, name, &card, &doubt);
    s->doubt.waits = s->doubt.waits || doubt.waits;
    return state == CARD_FOUND ? BOOK_FINAL : state == CARD_MISSING ? BOOK_UNKNOWN : BOOK_BROKEN;
}

/* Whether the domain lists its users and this is one of them; BOOK_UNKNOWN when it lists them and it is not. */
static enum book_answer user_ask(struct sought *s, struct bytes name)
{
    const struct config_domain *d = s->block;
    bool broken_before = s->doubt.broken;

    if (d->users.count == 0)
        return d->system_users && s->book->cards != NULL ? system_user_ask(s, name) : BOOK_FINAL;
    s->doubt.broken = false;
    for (size_t i = 0; i < d->users.count; i++)
        if (item_has(s, d->users.items[i], name)) {
            s->doubt.broken = broken_before;
            return BOOK_FINAL;
        }
    bool broken = s->doubt.broken;
    s->doubt.broken = broken_before;
    return broken ? BOOK_BROKEN : BOOK_UNKNOWN;
}

static enum book_answer sought_find(struct sought *s, struct bytes whole, const struct alias_entry **entry_out)
{
    const struct config_domain *d = s->block;
    struct bytes user = config_domain_user(d, whole);

    *entry_out = name_entry(s, whole);
    if (*entry_out == NULL && user.size != whole.size)
        *entry_out = name_entry(s, user);
    if (*entry_out != NULL || s->doubt.waits)
        return BOOK_ALIAS;
    enum book_answer listed = user_ask(s, user);
    if (listed == BOOK_UNKNOWN && user.size != whole.size)
        listed = user_ask(s, whole);
    if (listed == BOOK_FINAL && (d->users.count > 0 || d->system_users))
        return s->doubt.broken ? BOOK_BROKEN : BOOK_FINAL;
    *entry_out = name_entry(s, BYTES_NONE); /* @domain: after those who have a mailbox */
    if (*entry_out != NULL && listed != BOOK_BROKEN)
        return BOOK_ALIAS;
    if (s->doubt.broken || listed == BOOK_BROKEN)
        return BOOK_BROKEN;
    if (book_is_role_mailbox(user)) /* RFC 5321 4.5.1, RFC 2142 */
        return BOOK_FINAL;
    return d->target.kind == ROUTE_ERROR ? BOOK_UNKNOWN : listed;
}

enum book_answer book_ask(const struct book *b, const struct config_domain *d, struct bytes domain,
    struct bytes local_part, const struct alias_entry **entry_out, bool *virtual_out)
{
    uint8_t octets[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(octets);
    const struct alias_entry *unused;
    bool unused_form;
    struct sought s = {.book = b, .block = d, .domain = domain, .virtual_out = virtual_out};

    if (entry_out == NULL)
        entry_out = &unused;
    if (virtual_out == NULL)
        s.virtual_out = &unused_form;
    if (!is_ok(address_put_unquoted(&plain, local_part)))
        return BOOK_UNKNOWN;
    enum book_answer answer = sought_find(&s, buf_bytes(&plain), entry_out);
    return s.doubt.waits ? BOOK_WAIT : answer;
}

/* --- domains, routes, senders --- */

enum book_answer book_domain(
    const struct book *b, const struct config *cfg, struct bytes domain, const struct config_domain **domain_out)
{
    struct book_doubt doubt = {false, false};

    *domain_out = config_domain_find(cfg, domain);
    if (*domain_out != NULL || cfg->hosted == NULL)
        return BOOK_FINAL;
    for (size_t i = 0; i < cfg->hosted->names.count; i++) {
        struct bytes item = cfg->hosted->names.items[i];
        const struct book_page *page;
        struct card *card;
        size_t lookup;

        if (lookup_of(b, item, &lookup, &doubt)) {
            if (card_ask(b, lookup, domain, &card, &doubt) != CARD_FOUND)
                continue;
        } else {
            page = book_find(b, item, ALIAS_FORM_LIST, true);
            doubt.broken = doubt.broken || page == NULL || page->broken;
            if (page == NULL || page->broken || alias_table_find(&page->table, domain) == NULL)
                continue;
        }
        *domain_out = cfg->hosted;
        return BOOK_FINAL;
    }
    return doubt.waits ? BOOK_WAIT : doubt.broken ? BOOK_BROKEN : BOOK_FINAL;
}

enum book_answer book_route(const struct book *b, const struct config *cfg, struct bytes path, struct bytes *via_out)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes domain = bytes_after(path, (size_t)(at + 1));
    struct book_doubt doubt = {false, false};

    for (size_t i = 0; i < cfg->route_lookups.count; i++) {
        struct bytes key = path;
        struct card *card;
        size_t lookup;

        if (!lookup_of(b, cfg->route_lookups.items[i], &lookup, &doubt))
            continue;
        bool is_table = config_lookup_is_table(&cfg->lookups[lookup]);
        while (key.size > 0) {
            if (card_ask(b, lookup, key, &card, &doubt) == CARD_FOUND && card != NULL && card->state == CARD_FOUND &&
                !doubt.waits) {
                *via_out = bytes_trim(card->text);
                return BOOK_ALIAS;
            }
            if (doubt.waits || doubt.broken)
                return doubt.waits ? BOOK_WAIT : BOOK_BROKEN; /* what is more specific decides, or nothing does */
            struct bytes parents = key.size == path.size && at >= 0 ? domain : bytes_after(key, 1);
            ptrdiff_t dot = key.size == path.size && at >= 0 ? 0 : bytes_index(parents, '.');
            if (key.size == path.size && at >= 0)
                key = domain;
            else if (is_table && dot != BYTES_NOT_FOUND && key.data[0] != '*')
                key = bytes_after(parents, (size_t)dot);
            else
                key = is_table && key.data[0] != '*' ? BYTES("*") : BYTES_NONE;
        }
    }
    return doubt.broken ? BOOK_BROKEN : BOOK_UNKNOWN;
}

enum book_answer book_sender(const struct book *b, const struct config *cfg, struct bytes login, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct book_doubt doubt = {false, false};

    for (size_t i = 0; i < cfg->auth.sender_lookups.count; i++) {
        const struct alias_entry *entry = NULL;
        struct card *card;
        size_t lookup;

        if (!lookup_of(b, cfg->auth.sender_lookups.items[i], &lookup, &doubt))
            continue;
        if (card_ask(b, lookup, login, &card, &doubt) == CARD_FOUND && card != NULL && card->state == CARD_FOUND)
            entry = card_targets(card);
        for (const struct alias_target *t = entry != NULL ? entry->targets : NULL; t != NULL; t = t->next)
            if (bytes_equal_nocase(t->text, path) ||
                bytes_equal_nocase(t->text, bytes_after(path, (size_t)(at < 0 ? 0 : at))))
                return BOOK_FINAL;
    }
    return doubt.waits ? BOOK_WAIT : doubt.broken ? BOOK_BROKEN : BOOK_UNKNOWN;
}

RESULT book_users_read(struct alias_table *t, struct bytes text)
{
    while (text.size > 0) {
        ptrdiff_t lf = bytes_index(text, '\n');
        struct bytes line = lf == BYTES_NOT_FOUND ? text : bytes_head(text, (size_t)lf);
        size_t size = 0;

        text = bytes_after(text, line.size + 1);
        while (size < line.size && line.data[size] > ' ' && line.data[size] != ':')
            size++;
        if (size == 0 || size > LOCAL_PART_SIZE_MAX || line.data[0] == '#')
            continue;
        TRY(alias_table_add_name(t, bytes_head(line, size)));
    }
    return OK;
}
