/* Two layers: logical lines (comments out, continuations in) are cut from the text in place, then each is read target by
 * target. A logical line is a view of the text: a comment or a line end inside it is a separator or a blank to the reader of
 * targets, which steps over both. */
#include "daemon/lookup/alias.h"

#include "smtp/address.h"

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r';
}

/* The first line of `in`, its LF left out. */
static struct bytes line_head(struct bytes in)
{
    ptrdiff_t lf = bytes_index(in, '\n');

    return lf == BYTES_NOT_FOUND ? in : bytes_head(in, (size_t)lf);
}

static bool line_is_nothing(struct bytes line)
{
    while (line.size > 0 && is_blank(line.data[0]))
        line = bytes_after(line, 1);
    return line.size == 0 || line.data[0] == '#';
}

/* --- targets --- */

/* Steps over blanks, line ends, commas, comments in parentheses and lines of comment. */
static RESULT separators_skip(struct bytes *rest, bool at_line_start)
{
    while (rest->size > 0) {
        uint8_t octet = rest->data[0];

        if (at_line_start && line_is_nothing(line_head(*rest))) {
            *rest = bytes_after(*rest, line_head(*rest).size + 1);
            continue;
        }
        at_line_start = octet == '\n';
        if (octet == '(') {
            ptrdiff_t end = bytes_index(*rest, ')');

            if (end == BYTES_NOT_FOUND)
                return FAIL(CODE_SYNTAX, "a comment in parentheses has no end");
            *rest = bytes_after(*rest, (size_t)end + 1);
        } else if (is_blank(octet) || octet == '\n' || octet == ',') {
            *rest = bytes_after(*rest, 1);
        } else {
            return OK;
        }
    }
    return OK;
}

/* A string in quotes at the start of *rest: what is inside, backslashes resolved. */
static RESULT quoted_take(struct bytes *rest, struct buf *room)
{
    for (size_t i = 1; i < rest->size; i++) {
        uint8_t octet = rest->data[i];

        if (octet == '"') {
            *rest = bytes_after(*rest, i + 1);
            return OK;
        }
        if (octet == '\n')
            break;
        if (octet == '\\' && i + 1 < rest->size && rest->data[i + 1] != '\n')
            octet = rest->data[++i];
        if (!is_ok(buf_put_octet(room, octet)))
            return FAIL(CODE_SYNTAX, "a target is too long");
    }
    return FAIL(CODE_SYNTAX, "a quotation mark has no partner on its line");
}

/* What ends a target: a comma or a line end outside of quotes. The octets are put as they stand. */
static RESULT plain_take(struct bytes *rest, struct buf *room)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < rest->size; i++) {
        uint8_t octet = rest->data[i];

        if (octet == '\n' || (octet == ',' && !quoted))
            break;
        if (octet == '\\' && i + 1 < rest->size && rest->data[i + 1] != '\n') {
            if (!is_ok(buf_put_octet(room, octet)))
                return FAIL(CODE_SYNTAX, "a target is too long");
            octet = rest->data[++i];
        } else if (octet == '"') {
            quoted = !quoted;
        }
        if (!is_ok(buf_put_octet(room, octet)))
            return FAIL(CODE_SYNTAX, "a target is too long");
    }
    *rest = bytes_after(*rest, i);
    return quoted ? FAIL(CODE_SYNTAX, "a quotation mark has no partner on its line") : OK;
}

static bool text_is_clean(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < ' ' || text.data[i] == 127)
            return false;
    return true;
}

/* local@domain, canonical; or a local part alone, which is what stands before an @ that is lent to it. */
static RESULT address_read(struct bytes text, struct buf *room, struct bytes *text_out)
{
    uint8_t octets[ALIAS_TARGET_SIZE_MAX + 8], canonical[ADDRESS_SIZE_MAX];
    struct buf lent = BUF(octets), parsed = BUF(canonical);
    struct address address;

    if (bytes_index(text, '@') == BYTES_NOT_FOUND || text.data[text.size - 1] == '"') {
        TRY(buf_put(&lent, text));
        TRY(buf_put_str(&lent, "@lent"));
        text = buf_bytes(&lent);
    }
    if (!is_ok(address_parse_mailbox(text, ADDRESS_UTF8, &parsed, &address)))
        return FAIL(CODE_SYNTAX, "expected an address, a name, \\name, |command, /file or :include:/file");
    buf_reset(room);
    TRY(buf_put(room, lent.size > 0 ? address.local_part : address.text));
    *text_out = buf_bytes(room);
    return OK;
}

/* "Name <address>": what stands between the brackets. */
static struct bytes brackets_away(struct bytes text)
{
    ptrdiff_t at = bytes_rindex(text, '<');

    if (at == BYTES_NOT_FOUND || text.data[text.size - 1] != '>')
        return text;
    return bytes_trim(bytes_head(bytes_after(text, (size_t)at + 1), text.size - (size_t)at - 2));
}

static struct bytes trailing_comment_away(struct bytes text)
{
    ptrdiff_t at = bytes_rindex(text, '(');

    if (at <= 0 || text.data[text.size - 1] != ')' || !is_blank(text.data[at - 1]))
        return text;
    return bytes_trim(bytes_head(text, (size_t)at));
}

static RESULT target_read(
    struct bytes text, enum alias_form form, struct buf *room, enum alias_kind *kind_out, struct bytes *text_out)
{
    if (!text_is_clean(text))
        return FAIL(CODE_SYNTAX, "control characters have no place in a target");
    *text_out = text;
    if (text.data[0] == '|') {
        *kind_out = ALIAS_COMMAND;
        *text_out = bytes_trim(bytes_after(text, 1));
        return text_out->size > 0 ? OK : FAIL(CODE_SYNTAX, "expected a command behind the |");
    }
    if (text.data[0] == '/') {
        *kind_out = ALIAS_FILE;
        return OK;
    }
    if (bytes_starts_nocase(text, BYTES(":include:"))) {
        *kind_out = ALIAS_INCLUDE;
        *text_out = bytes_trim(bytes_after(text, 9));
        if (text_out->size > 2 && text_out->data[0] == '"' && text_out->data[text_out->size - 1] == '"')
            *text_out = bytes_head(bytes_after(*text_out, 1), text_out->size - 2);
        return text_out->size > 1 && text_out->data[0] == '/'
                   ? OK
                   : FAIL(CODE_SYNTAX, "expected an absolute path behind :include:");
    }
    *kind_out = ALIAS_ADDRESS;
    if (form == ALIAS_FORM_VIRTUAL && text.size > 1 && text.data[0] == '@')
        return domain_is_valid(bytes_after(text, 1), true) ? OK : FAIL(CODE_SYNTAX, "expected a domain behind the @");
    if (text.data[0] == '\\') {
        *kind_out = ALIAS_USER;
        text = bytes_after(text, 1);
        if (text.size == 0 || bytes_index(text, '@') != BYTES_NOT_FOUND)
            return FAIL(CODE_SYNTAX, "expected a local name behind the \\");
    }
    return address_read(text, room, text_out);
}

RESULT alias_target_take(
    struct bytes *rest, enum alias_form form, struct buf *room, enum alias_kind *kind_out, struct bytes *text_out)
{
    struct bytes text;

    TRY(separators_skip(rest, form == ALIAS_FORM_LIST));
    if (rest->size == 0)
        return FAIL(CODE_GONE, "nothing is left");
    buf_reset(room);
    bool command_in_quotes = rest->size > 1 && rest->data[0] == '|' && rest->data[1] == '"';
    if (rest->data[0] == '"' || command_in_quotes) {
        struct bytes before = *rest;

        if (command_in_quotes) {
            TRY(buf_put_octet(room, '|'));
            *rest = bytes_after(*rest, 1);
        }
        TRY(quoted_take(rest, room));
        /* "john doe"@example.org and "John Doe" <jd@example.org> are no quoted targets. */
        struct bytes behind = bytes_trim(bytes_head(*rest, 64));
        if (behind.size > 0 && (behind.data[0] == '@' || behind.data[0] == '<') && !command_in_quotes) {
            *rest = before;
            buf_reset(room);
            TRY(plain_take(rest, room));
        } else {
            struct bytes line = line_head(*rest);
            ptrdiff_t comma = bytes_index(line, ',');
            struct bytes left = bytes_trim(comma == BYTES_NOT_FOUND ? line : bytes_head(line, (size_t)comma));

            if (left.size > 0 && left.data[0] != '\r' && left.data[0] != '(')
                return FAIL(CODE_SYNTAX, "expected a comma behind the quotation mark");
            /* A quoted name without a domain keeps its quotes: the address has them too. */
            if (room->size > 0 && bytes_index(BYTES("|/:\\"), room->data[0]) == BYTES_NOT_FOUND &&
                bytes_index(buf_bytes(room), '@') == BYTES_NOT_FOUND) {
                buf_reset(room);
                TRY(buf_put(room, bytes_head(before, before.size - rest->size)));
            }
        }
    } else {
        TRY(plain_take(rest, room));
    }
    text = bytes_trim(buf_bytes(room));
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    if (text.size > 0 && text.data[0] != '|' && text.data[0] != '/')
        text = brackets_away(trailing_comment_away(text));
    if (text.size == 0)
        return FAIL(CODE_SYNTAX, "expected a target, found nothing");
    return target_read(text, form, room, kind_out, text_out);
}

/* --- tables --- */

void alias_table_init(struct alias_table *t)
{
    *t = (struct alias_table){0};
    arena_init(&t->arena, ALIAS_TABLE_SIZE_MAX);
}

void alias_table_fini(struct alias_table *t)
{
    map_fini(&t->entries);
    arena_fini(&t->arena);
}

static uint64_t key_hash(struct bytes key)
{
    uint64_t hash = bytes_hash(key, 0);

    return hash == 0 ? 1 : hash;
}

static RESULT lower_copy(struct arena *a, struct bytes in, struct bytes *out)
{
    void *memory = NULL;

    *out = BYTES_NONE;
    if (in.size == 0)
        return OK;
    TRY(arena_take(a, in.size, &memory));
    for (size_t i = 0; i < in.size; i++)
        ((uint8_t *)memory)[i] = octet_lower(in.data[i]);
    *out = (struct bytes){memory, in.size};
    return OK;
}

static const struct alias_entry *find_exact(const struct alias_table *t, struct bytes key)
{
    const struct alias_entry *entry = map_get(&t->entries, key_hash(key));

    while (entry != NULL && !bytes_equal(entry->key, key))
        entry = entry->next;
    return entry;
}

const struct alias_entry *alias_table_find(const struct alias_table *t, struct bytes key)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf lower = BUF(octets);

    if (key.size > sizeof octets)
        return NULL;
    for (size_t i = 0; i < key.size; i++)
        octets[i] = octet_lower(key.data[i]);
    lower.size = key.size;
    return find_exact(t, buf_bytes(&lower));
}

/* The targets of one entry; *rest is what follows its key, and ends behind what was read. */
static RESULT targets_read(struct alias_table *t, enum alias_form form, struct bytes *rest, struct alias_entry *entry)
{
    uint8_t octets[ALIAS_TARGET_SIZE_MAX];
    struct buf room = BUF(octets);
    struct alias_target **end = &entry->targets;
    struct result r;

    for (;;) {
        struct alias_target target = {.next = NULL};
        void *memory = NULL;

        r = alias_target_take(rest, form, &room, &target.kind, &target.text);
        if (r.code == CODE_GONE)
            break;
        TRY(r);
        TRY(arena_copy(&t->arena, target.text, &target.text));
        TRY(arena_take(&t->arena, sizeof target, &memory));
        *(struct alias_target *)memory = target;
        *end = memory;
        end = &(*end)->next;
        entry->target_count++;
    }
    if (entry->target_count == 0 && form != ALIAS_FORM_LIST)
        return FAIL(CODE_SYNTAX, "expected at least one target");
    return OK;
}

static RESULT entry_add(
    struct alias_table *t, enum alias_form form, struct bytes key, struct bytes text, uint32_t *line)
{
    struct bytes rest = text;
    struct alias_entry *entry;
    void *memory = NULL;

    TRY(arena_take(&t->arena, sizeof *entry, &memory));
    entry = memory;
    entry->line = *line;
    TRY(lower_copy(&t->arena, key, &entry->key));
    if (find_exact(t, entry->key) != NULL)
        return FAIL(CODE_SYNTAX, "the same name stands there twice");
    struct result r = targets_read(t, form, &rest, entry);
    if (!is_ok(r)) {
        for (size_t i = 0; i < text.size - rest.size; i++)
            *line += text.data[i] == '\n';
        return r;
    }
    entry->next = map_get(&t->entries, key_hash(entry->key));
    t->entry_count++;
    return map_put(&t->entries, key_hash(entry->key), entry);
}

RESULT alias_table_add_name(struct alias_table *t, struct bytes name)
{
    struct alias_entry *entry;
    void *memory = NULL;
    struct bytes key;

    TRY(lower_copy(&t->arena, name, &key));
    if (find_exact(t, key) != NULL)
        return OK;
    TRY(arena_take(&t->arena, sizeof *entry, &memory));
    entry = memory;
    entry->key = key;
    entry->next = map_get(&t->entries, key_hash(key));
    t->entry_count++;
    return map_put(&t->entries, key_hash(key), entry);
}

static bool has_blank(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (is_blank(text.data[i]))
            return true;
    return false;
}

/* The key of a logical line in aliases(5): up to the colon, perhaps in quotes. */
static RESULT aliases_key(struct bytes line, struct buf *room, struct bytes *key_out, struct bytes *rest_out)
{
    ptrdiff_t colon = bytes_index(line_head(line), ':');

    buf_reset(room);
    if (line.data[0] == '"') {
        TRY(quoted_take(&line, room));
        line = bytes_trim(line);
        if (line.size == 0 || line.data[0] != ':')
            return FAIL(CODE_SYNTAX, "expected a colon behind the name");
        *rest_out = bytes_after(line, 1);
    } else {
        if (colon == BYTES_NOT_FOUND)
            return FAIL(CODE_SYNTAX, "expected name: target");
        struct bytes name = bytes_trim(bytes_head(line, (size_t)colon));
        if (has_blank(name))
            return FAIL(CODE_SYNTAX, "a name with blanks must stand in quotes");
        TRY(buf_put(room, bytes_head(name, ALIAS_TARGET_SIZE_MAX)));
        *rest_out = bytes_after(line, (size_t)colon + 1);
    }
    *key_out = buf_bytes(room);
    if (key_out->size == 0 || key_out->size > ADDRESS_SIZE_MAX || !text_is_clean(*key_out))
        return FAIL(CODE_SYNTAX, "expected a name before the colon");
    return OK;
}

static RESULT virtual_key(struct bytes line, struct bytes *key_out, struct bytes *rest_out)
{
    size_t size = 0;

    while (size < line.size && !is_blank(line.data[size]) && line.data[size] != '\n')
        size++;
    *key_out = bytes_head(line, size);
    *rest_out = bytes_after(line, size);
    if (size > ADDRESS_SIZE_MAX || !text_is_clean(*key_out))
        return FAIL(CODE_SYNTAX, "expected user@domain, user or @domain");
    return OK;
}

/* Cuts the first logical line off *rest: a line and those that continue it, with what stands between them. */
static struct bytes logical_take(struct bytes *rest, uint32_t *lines_out)
{
    struct bytes all = *rest;
    size_t size = line_head(all).size, end = size + 1;
    uint32_t lines = 1, seen = 1;

    while (end < all.size) {
        struct bytes line = line_head(bytes_after(all, end));

        seen++;
        end += line.size + 1;
        if (line_is_nothing(line))
            continue;
        if (!is_blank(line.data[0]))
            break;
        size = end - 1 < all.size ? end - 1 : all.size;
        lines = seen;
    }
    *rest = bytes_after(all, size + 1);
    *lines_out = lines;
    return bytes_head(all, size);
}

RESULT alias_table_read(struct alias_table *t, enum alias_form form, struct bytes text, uint32_t *line_out)
{
    uint8_t octets[ALIAS_TARGET_SIZE_MAX];
    struct buf room = BUF(octets);
    uint32_t line = 1, lines;

    *line_out = 0;
    if (bytes_index(text, 0) != BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "NUL has no place in a table");
    if (form == ALIAS_FORM_LIST) {
        *line_out = 1;
        TRY(entry_add(t, form, BYTES_NONE, text, line_out));
        *line_out = 0;
        return OK;
    }
    for (; text.size > 0; line += lines) {
        struct bytes key = BYTES_NONE, rest = BYTES_NONE;

        *line_out = line;
        if (line_is_nothing(line_head(text))) {
            text = bytes_after(text, line_head(text).size + 1);
            lines = 1;
            continue;
        }
        struct bytes logical = logical_take(&text, &lines);
        if (is_blank(logical.data[0]))
            return FAIL(CODE_SYNTAX, "a line that begins with blanks has nothing to continue");
        if (form == ALIAS_FORM_ALIASES)
            TRY(aliases_key(logical, &room, &key, &rest));
        else
            TRY(virtual_key(logical, &key, &rest));
        TRY(entry_add(t, form, key, rest, line_out));
    }
    *line_out = 0;
    return OK;
}

bool lookup_was_delivered_to(struct bytes content, struct bytes path)
{
    static const struct bytes field = BYTES_INIT("Delivered-To:");

    while (content.size > 0) {
        struct bytes line = bytes_line_take(&content);

        if (line.size == 0)
            return false; /* the end of the header block */
        if (bytes_starts_nocase(line, field) && bytes_equal_nocase(bytes_trim(bytes_after(line, field.size)), path))
            return true;
    }
    return false;
}
