#include "daemon/base/base.h"

struct bytes bytes_of(const char *string)
{
    return (struct bytes){(const uint8_t *)string, strlen(string)};
}

uint8_t octet_lower(uint8_t octet)
{
    return octet >= 'A' && octet <= 'Z' ? (uint8_t)(octet + ('a' - 'A')) : octet;
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (octet_lower(a.data[i]) != octet_lower(b.data[i]))
            return false;
    return true;
}

bool bytes_starts(struct bytes b, struct bytes prefix)
{
    return b.size >= prefix.size && bytes_equal(bytes_head(b, prefix.size), prefix);
}

bool bytes_starts_nocase(struct bytes b, struct bytes prefix)
{
    return b.size >= prefix.size && bytes_equal_nocase(bytes_head(b, prefix.size), prefix);
}

bool bytes_ends_nocase(struct bytes b, struct bytes suffix)
{
    return b.size >= suffix.size && bytes_equal_nocase(bytes_after(b, b.size - suffix.size), suffix);
}

ptrdiff_t bytes_index(struct bytes b, uint8_t octet)
{
    const uint8_t *hit = b.size == 0 ? NULL : memchr(b.data, octet, b.size);
    return hit == NULL ? BYTES_NOT_FOUND : hit - b.data;
}

ptrdiff_t bytes_rindex(struct bytes b, uint8_t octet)
{
    const uint8_t *hit = b.size == 0 ? NULL : memrchr(b.data, octet, b.size);
    return hit == NULL ? BYTES_NOT_FOUND : hit - b.data;
}

ptrdiff_t bytes_find(struct bytes b, struct bytes needle)
{
    if (needle.size == 0)
        return 0;
    if (b.size < needle.size)
        return BYTES_NOT_FOUND;
    const uint8_t *hit = memmem(b.data, b.size, needle.data, needle.size);
    return hit == NULL ? BYTES_NOT_FOUND : hit - b.data;
}

struct bytes bytes_head(struct bytes b, size_t size)
{
    return (struct bytes){b.data, size < b.size ? size : b.size};
}

struct bytes bytes_after(struct bytes b, size_t from)
{
    if (from >= b.size)
        return (struct bytes){b.size == 0 ? b.data : b.data + b.size, 0};
    return (struct bytes){b.data + from, b.size - from};
}

struct bytes bytes_trim(struct bytes b)
{
    while (b.size > 0 && (b.data[0] == ' ' || b.data[0] == '\t'))
        b = bytes_after(b, 1);
    while (b.size > 0 && (b.data[b.size - 1] == ' ' || b.data[b.size - 1] == '\t'))
        b.size--;
    return b;
}

struct bytes bytes_line_take(struct bytes *rest)
{
    ptrdiff_t lf = bytes_index(*rest, '\n');
    struct bytes line = lf == BYTES_NOT_FOUND ? *rest : bytes_head(*rest, (size_t)lf);

    *rest = bytes_after(*rest, line.size + 1);
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

bool bytes_has_8bit(struct bytes b)
{
    size_t i = 0;

    for (; b.size - i >= 32; i += 32) { /* message bodies come through here: four words a turn */
        uint64_t words[4];
        memcpy(words, b.data + i, sizeof words);
        if (((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080u) != 0)
            return true;
    }
    for (; i < b.size; i++)
        if (b.data[i] > 127)
            return true;
    return false;
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

uint64_t bytes_hash(struct bytes b, uint64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < b.size; i++)
        hash = (hash ^ b.data[i]) * 0x100000001b3u;
    return hash ^ (hash >> 29);
}

RESULT bytes_to_u64(struct bytes b, uint64_t max, uint64_t *value_out)
{
    uint64_t value = 0;

    if (b.size == 0)
        return FAIL(CODE_SYNTAX, "a number is missing");
    for (size_t i = 0; i < b.size; i++) {
        if (b.data[i] < '0' || b.data[i] > '9')
            return FAIL(CODE_SYNTAX, "not a decimal number");
        if (value > (UINT64_MAX - 9) / 10)
            return FAIL(CODE_FULL, "number too large");
        value = value * 10 + (uint64_t)(b.data[i] - '0');
    }
    if (value > max)
        return FAIL(CODE_FULL, "number too large");
    *value_out = value;
    return OK;
}
