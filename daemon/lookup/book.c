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

static const struct alias_entry *list_entry(const struct book *b, const struct config_text_list *files,
    enum alias_form form, struct bytes key, bool *broken_out)
{
    for (size_t i = 0; i < files->count; i++) {
        const struct book_page *page = book_find(b, files->items[i], form, false);
        const struct alias_entry *entry;

        if (page == NULL || page->broken) {
            *broken_out = true;
            continue;
        }
        entry = alias_table_find(&page->table, key);
        if (entry != NULL)
            return entry;
    }
    return NULL;
}

const struct alias_entry *book_entry(
    const struct book *b, const struct config_domain *d, struct bytes key, bool *virtual_out, bool *broken_out)
{
    const struct alias_entry *entry = list_entry(b, &d->virtual, ALIAS_FORM_VIRTUAL, key, broken_out);

    *virtual_out = entry != NULL;
    return entry != NULL ? entry : list_entry(b, &d->aliases, ALIAS_FORM_ALIASES, key, broken_out);
}

/* user@domain, then user: each in all tables. */
static const struct alias_entry *name_entry(
    const struct book *b, const struct config_domain *d, struct bytes name, bool *virtual_out, bool *broken_out)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf whole = BUF(octets);
    const struct alias_entry *entry = NULL;

    if (is_ok(buf_put(&whole, name)) && is_ok(buf_put_octet(&whole, '@')) && is_ok(buf_put(&whole, d->name)))
        entry = book_entry(b, d, buf_bytes(&whole), virtual_out, broken_out);
    return entry != NULL || name.size == 0 ? entry : book_entry(b, d, name, virtual_out, broken_out);
}

/* Whether the domain lists its users and this is one of them; BOOK_UNKNOWN when it lists them and it is not. */
static enum book_answer user_ask(const struct book *b, const struct config_domain *d, struct bytes name)
{
    bool broken = false;

    if (d->users.count == 0)
        return d->system_users && b->system_user != NULL ? b->system_user(name) : BOOK_FINAL;
    for (size_t i = 0; i < d->users.count; i++) {
        struct bytes item = d->users.items[i];
        const struct book_page *page;

        if (item.data[0] != '/') {
            if (bytes_equal_nocase(item, name))
                return BOOK_FINAL;
            continue;
        }
        page = book_find(b, item, ALIAS_FORM_LIST, true);
        if (page == NULL || page->broken)
            broken = true;
        else if (alias_table_find(&page->table, name) != NULL)
            return BOOK_FINAL;
    }
    return broken ? BOOK_BROKEN : BOOK_UNKNOWN;
}

enum book_answer book_ask(const struct book *b, const struct config_domain *d, struct bytes local_part,
    const struct alias_entry **entry_out, bool *virtual_out)
{
    uint8_t octets[LOCAL_PART_SIZE_MAX];
    struct buf plain = BUF(octets);
    const struct alias_entry *unused;
    bool broken = false, unused_form;

    if (entry_out == NULL)
        entry_out = &unused;
    if (virtual_out == NULL)
        virtual_out = &unused_form;
    if (!is_ok(address_put_unquoted(&plain, local_part)))
        return BOOK_UNKNOWN;
    struct bytes whole = buf_bytes(&plain), user = config_domain_user(d, whole);
    *entry_out = name_entry(b, d, whole, virtual_out, &broken);
    if (*entry_out == NULL && user.size != whole.size)
        *entry_out = name_entry(b, d, user, virtual_out, &broken);
    if (*entry_out != NULL)
        return BOOK_ALIAS;
    enum book_answer listed = user_ask(b, d, user);
    if (listed == BOOK_UNKNOWN && user.size != whole.size)
        listed = user_ask(b, d, whole);
    if (listed == BOOK_FINAL && (d->users.count > 0 || d->system_users))
        return broken ? BOOK_BROKEN : BOOK_FINAL;
    *entry_out = name_entry(b, d, BYTES_NONE, virtual_out, &broken); /* @domain: after those who have a mailbox */
    if (*entry_out != NULL && listed != BOOK_BROKEN)
        return BOOK_ALIAS;
    if (broken || listed == BOOK_BROKEN)
        return BOOK_BROKEN;
    if (book_is_role_mailbox(user)) /* RFC 5321 4.5.1, RFC 2142 */
        return BOOK_FINAL;
    return d->target.kind == ROUTE_ERROR ? BOOK_UNKNOWN : listed;
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
