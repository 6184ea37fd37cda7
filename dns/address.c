#include "dns/address.h"

static bool v4_parse(struct bytes text, uint8_t octets_out[4])
{
    unsigned part = 0, value = 0, digits = 0;

    for (size_t i = 0; i <= text.size; i++) {
        if (i == text.size || text.data[i] == '.') {
            if (digits == 0 || part == 4)
                return false;
            octets_out[part++] = (uint8_t)value;
            value = digits = 0;
            continue;
        }
        uint8_t c = text.data[i];
        /* "010" is eight to some readers and ten to others: nobody may write it. */
        if (c < '0' || c > '9' || (digits == 1 && value == 0))
            return false;
        value = value * 10 + (unsigned)(c - '0');
        if (++digits > 3 || value > 255)
            return false;
    }
    return part == 4;
}

static int hex_value(uint8_t c)
{
    c = octet_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Groups of a side of "::" (or of the whole address); the last one may be a dotted quad. Returns octets or -1. */
static int v6_groups(struct bytes text, uint8_t *octets_out, int octets_max)
{
    int size = 0;

    if (text.size == 0)
        return 0;
    for (;;) {
        ptrdiff_t colon = bytes_index(text, ':');
        struct bytes group = colon == BYTES_NOT_FOUND ? text : bytes_head(text, (size_t)colon);
        if (colon == BYTES_NOT_FOUND && bytes_index(group, '.') != BYTES_NOT_FOUND) {
            if (size + 4 > octets_max || !v4_parse(group, octets_out + size))
                return -1;
            return size + 4;
        }
        if (group.size == 0 || group.size > 4 || size + 2 > octets_max)
            return -1;
        unsigned value = 0;
        for (size_t i = 0; i < group.size; i++) {
            int digit = hex_value(group.data[i]);
            if (digit < 0)
                return -1;
            value = value << 4 | (unsigned)digit;
        }
        octets_out[size++] = (uint8_t)(value >> 8);
        octets_out[size++] = (uint8_t)value;
        if (colon == BYTES_NOT_FOUND)
            return size;
        text = bytes_after(text, (size_t)colon + 1);
    }
}

static bool v6_parse(struct bytes text, uint8_t octets_out[16])
{
    uint8_t head[16], tail[16];
    ptrdiff_t gap = bytes_find(text, BYTES("::"));

    if (gap == BYTES_NOT_FOUND)
        return v6_groups(text, octets_out, 16) == 16;
    /* "::" stands for at least one group; a dotted quad is the end of an address, so never before the gap. */
    struct bytes before = bytes_head(text, (size_t)gap);
    int head_size = v6_groups(before, head, 14);
    int tail_size = v6_groups(bytes_after(text, (size_t)gap + 2), tail, 14);
    if (head_size < 0 || tail_size < 0 || head_size + tail_size > 14 || bytes_index(before, '.') != BYTES_NOT_FOUND)
        return false;
    memset(octets_out, 0, 16);
    memcpy(octets_out, head, (size_t)head_size);
    memcpy(octets_out + 16 - tail_size, tail, (size_t)tail_size);
    return true;
}

RESULT
dns_address_parse(struct bytes text, struct dns_address *address_out)
{
    struct dns_address a = {0};

    if (bytes_index(text, ':') == BYTES_NOT_FOUND) {
        if (!v4_parse(text, a.octets))
            return FAIL(CODE_SYNTAX, "not an IPv4 address");
        a.family = 4;
    } else {
        if (!v6_parse(text, a.octets))
            return FAIL(CODE_SYNTAX, "not an IPv6 address");
        a.family = 6;
    }
    *address_out = a;
    return OK;
}

RESULT
dns_address_parse_literal(struct bytes text, struct dns_address *address_out)
{
    struct dns_address a;

    if (text.size < 2 || text.data[0] != '[' || text.data[text.size - 1] != ']')
        return FAIL(CODE_SYNTAX, "not an address literal");
    text = bytes_after(bytes_head(text, text.size - 1), 1);
    bool tagged = bytes_starts_nocase(text, BYTES("IPv6:"));
    TRY(dns_address_parse(tagged ? bytes_after(text, 5) : text, &a));
    if (tagged != (a.family == 6))
        return FAIL(CODE_SYNTAX, "an IPv6 literal wants its tag, an IPv4 literal has none");
    *address_out = a;
    return OK;
}

static RESULT put_hex(struct buf *out, unsigned group)
{
    bool begun = false;

    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = group >> shift & 15;
        begun = begun || digit != 0 || shift == 0;
        if (begun)
            TRY(buf_put_octet(out, (uint8_t) "0123456789abcdef"[digit]));
    }
    return OK;
}

static RESULT put_v4(struct buf *out, const uint8_t octets[4])
{
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            TRY(buf_put_octet(out, '.'));
        TRY(buf_put_u64(out, octets[i]));
    }
    return OK;
}

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

RESULT
dns_address_put(struct buf *out, const struct dns_address *address)
{
    const uint8_t *o = address->octets;
    unsigned group[8];
    int gap_at = -1, gap_size = 1; /* RFC 5952 4.2.2: a single zero group is written out */

    if (address->family == 4)
        return put_v4(out, o);
    if (memcmp(o, MAPPED, sizeof MAPPED) == 0) {
        TRY(buf_put(out, BYTES("::ffff:")));
        return put_v4(out, o + 12);
    }
    for (int i = 0; i < 8; i++)
        group[i] = (unsigned)o[2 * i] << 8 | o[2 * i + 1];
    for (int i = 0, run = 0; i < 8; i++) {
        run = group[i] == 0 ? run + 1 : 0;
        if (run > gap_size) {
            gap_size = run;
            gap_at = i - run + 1;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == gap_at) {
            TRY(buf_put(out, BYTES("::")));
            i += gap_size - 1;
            continue;
        }
        if (i > 0 && i != gap_at + gap_size)
            TRY(buf_put_octet(out, ':'));
        TRY(put_hex(out, group[i]));
    }
    return OK;
}

/* The 16 octets under which both forms of an IPv4 address are one. */
static void as_v6(const struct dns_address *a, uint8_t octets_out[16])
{
    if (a->family == 6) {
        memcpy(octets_out, a->octets, 16);
        return;
    }
    memcpy(octets_out, MAPPED, sizeof MAPPED);
    memcpy(octets_out + sizeof MAPPED, a->octets, 4);
}

bool dns_address_equal(const struct dns_address *a, const struct dns_address *b)
{
    uint8_t left[16], right[16];

    if (a->family == 0 || b->family == 0)
        return false;
    as_v6(a, left);
    as_v6(b, right);
    return memcmp(left, right, sizeof left) == 0;
}

bool dns_address_is_unicast(const struct dns_address *address)
{
    uint8_t o[16];

    if (address->family == 0)
        return false;
    as_v6(address, o);
    if (memcmp(o, MAPPED, sizeof MAPPED) == 0)
        return o[12] != 0 && o[12] < 224;
    if (o[0] == 0xff)
        return false;
    for (int i = 0; i < 16; i++)
        if (o[i] != 0)
            return true;
    return false;
}
