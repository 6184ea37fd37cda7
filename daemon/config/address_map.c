#include "daemon/config/address_map.h"

#include "smtp/address.h"

static int key_compare(struct bytes a, struct bytes b)
{
    for (size_t i = 0; i < a.size && i < b.size; i++) {
        int difference = octet_lower(a.data[i]) - octet_lower(b.data[i]);
        if (difference != 0)
            return difference;
    }
    return a.size == b.size ? 0 : a.size < b.size ? -1 : 1;
}

static int entry_compare(const void *a, const void *b)
{
    const struct address_map_entry *left = a, *right = b;
    int difference = key_compare(left->key, right->key);

    return difference != 0 ? difference : (left->line > right->line) - (left->line < right->line);
}

static size_t word_size(struct bytes text)
{
    size_t size = 0;

    while (size < text.size && text.data[size] != ' ' && text.data[size] != '\t')
        size++;
    return size;
}

/* user@domain, @domain or user. */
static bool is_address(struct bytes text, bool utf8)
{
    uint8_t room[ADDRESS_SIZE_MAX], whole_room[ADDRESS_SIZE_MAX];
    struct buf canonical = BUF(room), whole = BUF(whole_room);
    bool bare = bytes_rindex(text, '@') == BYTES_NOT_FOUND;
    struct address address;

    if ((bytes_starts(text, BYTES("@")) && !is_ok(buf_put_octet(&whole, 'u'))) || !is_ok(buf_put(&whole, text)) ||
        (bare && !is_ok(buf_put_str(&whole, "@d"))))
        return false;
    return is_ok(address_parse_mailbox(buf_bytes(&whole), utf8 ? ADDRESS_UTF8 : 0, &canonical, &address));
}

static RESULT line_read(struct bytes line, struct address_map_entry *entry)
{
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return FAIL(CODE_SYNTAX, "a line that begins with a blank, where a key is due");
    entry->key = bytes_head(line, word_size(line));
    entry->target = bytes_trim(bytes_after(line, entry->key.size));
    if (!is_address(entry->key, true))
        return FAIL(CODE_SYNTAX, "the key is none of user@domain, @domain and user");
    if (word_size(entry->target) != entry->target.size)
        return FAIL(CODE_SYNTAX, "more than a key and an address");
    if (!is_address(entry->target, false))
        return FAIL(CODE_SYNTAX, "behind the key stands none of user@domain, @domain and user");
    return OK;
}

static RESULT lines_read(struct bytes text, struct address_map *map, size_t room, unsigned *line_out)
{
    for (*line_out = 0; text.size > 0;) {
        struct bytes line = bytes_line_take(&text);

        ++*line_out;
        if (bytes_trim(line).size == 0 || line.data[0] == '#')
            continue;
        ASSERT(map->count < room);
        map->entries[map->count] = (struct address_map_entry){.line = *line_out};
        TRY(line_read(line, &map->entries[map->count]));
        map->count++;
    }
    if (map->count > 0)
        qsort(map->entries, map->count, sizeof *map->entries, entry_compare);
    for (size_t i = 1; i < map->count; i++)
        if (key_compare(map->entries[i - 1].key, map->entries[i].key) == 0) {
            *line_out = map->entries[i].line;
            return FAIL(CODE_SYNTAX, "the key stands in a line before it already");
        }
    return OK;
}

RESULT address_map_read(struct bytes text, struct address_map *map_out, unsigned *line_out)
{
    size_t lines = 1;

    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    *line_out = 0;
    *map_out = (struct address_map){.entries = mem_take(lines * sizeof *map_out->entries)};
    if (map_out->entries == NULL)
        return FAIL(CODE_FULL, "out of memory");
    struct result r = lines_read(text, map_out, lines, line_out);
    if (!is_ok(r))
        address_map_free(map_out);
    return r;
}

void address_map_free(struct address_map *map)
{
    mem_free(map->entries);
    *map = (struct address_map){NULL, 0};
}

bool address_map_find(const struct address_map *map, struct bytes key, struct bytes *target_out)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int difference = key_compare(key, map->entries[middle].key);

        if (difference == 0) {
            *target_out = map->entries[middle].target;
            return true;
        }
        if (difference < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}
