#include <stringprep.h>

#include "daemon/base/base.h"

#include "smtp/address.h"
#include "smtp/saslprep.h"

static bool is_plain(struct bytes in)
{
    for (size_t i = 0; i < in.size; i++)
        if (in.data[i] < 0x20 || in.data[i] >= 0x7f)
            return false;
    return in.size > 0;
}

/* Of valid UTF-8. */
static size_t characters_of(struct bytes in, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < in.size;) {
        uint8_t first = in.data[i++];
        unsigned more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        uint32_t character = more == 0 ? first : first & (0x3fu >> more);

        for (; more > 0; more--)
            character = character << 6 | (in.data[i++] & 0x3f);
        out[count++] = character;
    }
    return count;
}

static RESULT character_put(uint32_t character, struct buf *out)
{
    if (character < 0x80)
        return buf_put_octet(out, (uint8_t)character);
    unsigned more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    TRY(buf_put_octet(out, (uint8_t)(0xff00u >> (more + 1) | character >> 6 * more)));
    while (more-- > 0)
        TRY(buf_put_octet(out, (uint8_t)(0x80 | (character >> 6 * more & 0x3f))));
    return OK;
}

static RESULT characters_put(const uint32_t *characters, size_t count, struct buf *out)
{
    size_t before = out->size;
    struct result r = OK;

    for (size_t i = 0; i < count && is_ok(r); i++)
        r = character_put(characters[i], out);
    if (!is_ok(r))
        out->size = before;
    return r;
}

RESULT
saslprep(struct bytes in, enum saslprep_use use, struct buf *out)
{
    uint32_t characters[2 * SASLPREP_SIZE_MAX];
    struct result r;

    if (is_plain(in))
        return buf_put(out, in);
    if (in.size > SASLPREP_SIZE_MAX)
        return FAIL(CODE_FULL, "too long");
    if (in.size == 0 || !utf8_is_valid(in))
        return FAIL(CODE_SYNTAX, "empty, or no UTF-8");
    size_t count = characters_of(in, characters);
    int code = stringprep_4i(characters, &count, COUNT_OF(characters),
        use == SASLPREP_STORED ? STRINGPREP_NO_UNASSIGNED : 0, stringprep_saslprep);
    if (code == STRINGPREP_OK && count > 0)
        r = characters_put(characters, count, out);
    else if (code == STRINGPREP_TOO_SMALL_BUFFER || code == STRINGPREP_MALLOC_ERROR)
        r = FAIL(CODE_FULL, "too long");
    else
        r = FAIL(CODE_SYNTAX, "empty, or with characters that SASLprep prohibits");
    explicit_bzero(characters, sizeof characters);
    return r;
}
