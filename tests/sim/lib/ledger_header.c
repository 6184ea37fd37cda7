/* The header of what was submitted, compared with what its client sent: RFC 6409 section 8, and the listener's Bcc policy. */
#include "tests/sim/lib/ledger_parts.h"

/* The next field with its folds. False at the empty line, which is taken too. */
static bool field_next(struct bytes *rest, struct bytes *field_out)
{
    size_t size = 0;

    do {
        ptrdiff_t end = bytes_index(bytes_after(*rest, size), '\n');
        size = end < 0 ? rest->size : size + (size_t)end + 1;
    } while (size < rest->size && (rest->data[size] == ' ' || rest->data[size] == '\t'));
    *field_out = bytes_head(*rest, size);
    *rest = bytes_after(*rest, size);
    return size > 2;
}

static bool is_bcc(struct bytes field)
{
    return bytes_starts_nocase(field, BYTES("Bcc:"));
}

static bool has_field(struct bytes content, struct bytes name)
{
    struct bytes field;

    while (field_next(&content, &field))
        if (bytes_starts_nocase(field, name))
            return true;
    return false;
}

bool header_names_bcc(struct bytes content)
{
    return has_field(content, BYTES("Bcc:"));
}

void put_without_bcc(struct heap_buf *out, struct bytes content)
{
    struct bytes field;

    while (field_next(&content, &field))
        if (!is_bcc(field))
            heap_buf_put(out, field);
    heap_buf_put(out, BYTES("\r\n"));
    heap_buf_put(out, content);
}

/* May this field be added to a header that came without it? */
static bool is_addition(const struct letter *l, struct bytes field)
{
    static const struct bytes names[] = {BYTES_INIT("Date: "), BYTES_INIT("Message-ID: <")};
    struct bytes body = heap_buf_bytes(&l->body);

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (bytes_starts(field, names[i]))
            return !has_field(body, names[i]);
    if (is_bcc(field))
        return l->split; /* split_check looks which */
    if (bytes_equal(field, BYTES("Cc: recipient list not shown: ;\r\n")))
        return !has_field(body, BYTES("To:"));
    return l->sender != NULL && bytes_equal(field, bytes_of(l->sender));
}

void submission_check(const struct letter *l, struct bytes content, const char *where)
{
    struct bytes sent = heap_buf_bytes(&l->body), whole = content, field, wanted;
    unsigned added = 0;

    while (field_next(&sent, &wanted)) {
        if (is_bcc(wanted))
            continue;
        if (!field_next(&content, &field) || !bytes_equal(field, wanted)) {
            world_wrong("letter %u came to %s with the field %.*s for %.*s", l->number, where, BYTES_ARG(field),
                BYTES_ARG(wanted));
            return;
        }
    }
    while (field_next(&content, &field)) {
        added++;
        if (!is_addition(l, field))
            world_wrong("letter %u came to %s with a field more: %.*s", l->number, where, BYTES_ARG(field));
    }
    if (!has_field(whole, BYTES("Date: ")) || !has_field(whole, BYTES("Message-ID: <")) ||
        (l->sender != NULL && !has_field(whole, bytes_of(l->sender))) || added > 5)
        world_wrong("letter %u came to %s with %u fields more, but not those that it lacks", l->number, where, added);
    if (!bytes_equal(content, sent))
        world_wrong(
            "letter %u came to %s changed: a body of %zu octets for %zu", l->number, where, content.size, sent.size);
}

static bool is_word(uint8_t octet)
{
    return octet == '-' || (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z');
}

/* As a word of its own: "l1@" stands in "owner-l1@" too. */
static bool names(struct bytes content, struct bytes address)
{
    for (struct bytes rest = content; rest.size > 0;) {
        ptrdiff_t at = bytes_find(rest, address);
        if (at < 0)
            return false;
        if (at == 0 || !is_word(rest.data[at - 1]))
            return true;
        rest = bytes_after(rest, (size_t)at + 1);
    }
    return false;
}

void split_check(const struct letter *l, const struct fate *f, struct bytes content, const char *where)
{
    struct bytes rest = content, field;
    char own[100];
    unsigned count = 0, good = 0;

    (void)snprintf(own, sizeof own, "Bcc: %s\r\n", f->address);
    while (field_next(&rest, &field)) {
        count += is_bcc(field);
        good += bytes_equal(field, bytes_of(own));
    }
    if (l->split && (count != f->blind || good != f->blind))
        world_wrong("letter %u, %s: came to %s with %u fields Bcc, %u of them right", l->number, f->address, where,
            count, good);
    for (uint32_t i = 0; l->split && l->part_of == 0 && i < l->rcpt_count; i++)
        if (l->fates[i].blind && &l->fates[i] != f && names(content, bytes_of(l->fates[i].address)))
            world_wrong("letter %u came to %s and names %s, who is blind", l->number, where, l->fates[i].address);
    const struct letter *whole = l->part_of == 0 ? NULL : ledger.letters[l->part_of];
    for (uint32_t i = 0; whole != NULL && i < whole->rcpt_count; i++)
        if (whole->fates[i].blind && whole->fates[i].part != l->number &&
            names(content, bytes_of(whole->fates[i].address)))
            world_wrong("letter %u came to %s and names %s, who is blind", l->number, where, whole->fates[i].address);
}

void blind_check(const struct letter *l, struct bytes content, const char *where)
{
    unsigned accepted = 0;

    if (l->split)
        return;
    for (uint32_t i = 0; i < l->rcpt_count; i++)
        accepted += l->fates[i].accepted;
    for (uint32_t i = 0; i < l->rcpt_count; i++)
        /* The trace field names the only recipient of a transaction: to himself. */
        if (l->fates[i].blind && accepted > 1 && names(content, bytes_of(l->fates[i].address)))
            world_wrong("letter %u came to %s and names %s, who is blind", l->number, where, l->fates[i].address);
}
