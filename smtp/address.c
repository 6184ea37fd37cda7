/* One pass from left to right over the input; every part is checked before it is written. Nothing is repaired except what
 * RFC 5321 tells a receiver to drop: source routes (4.1.1.3, appendix C) and quotes that quote nothing (4.1.2). */
#include "smtp/address.h"

static bool octet_is_digit(uint8_t o)
{
    return o >= '0' && o <= '9';
}

static bool octet_is_alnum(uint8_t o)
{
    return octet_is_digit(o) || (o >= 'a' && o <= 'z') || (o >= 'A' && o <= 'Z');
}

/* RFC 5322 atext; octets above 127 are judged by utf8_is_valid and the caller's permission. */
static bool octet_is_atext(uint8_t o)
{
    return octet_is_alnum(o) || o > 127 || (o != 0 && strchr("!#$%&'*+-/=?^_`{|}~", o) != NULL);
}

bool utf8_is_valid(struct bytes text)
{
    size_t i = 0;

    while (i < text.size) {
        uint8_t first = text.data[i++];
        if (first < 0x80)
            continue;
        unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || text.size - i < more)
            return false;
        uint8_t second = text.data[i];
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
            (first == 0xf4 && second > 0x8f))
            return false;
        for (; more > 0; more--)
            if ((text.data[i++] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static bool label_is_valid(struct bytes label, bool utf8)
{
    enum { LABEL_SIZE_MAX = 63 };
    bool wide = bytes_has_8bit(label);

    /* A UTF-8 label is measured as an A-label, which only IDNA can tell. */
    if (label.size == 0 || (!wide && label.size > LABEL_SIZE_MAX) || (wide && !utf8))
        return false;
    if (label.data[0] == '-' || label.data[label.size - 1] == '-')
        return false;
    for (size_t i = 0; i < label.size; i++)
        if (!octet_is_alnum(label.data[i]) && label.data[i] != '-' && label.data[i] < 128)
            return false;
    return true;
}

bool domain_is_valid(struct bytes domain, bool utf8)
{
    if (domain.size == 0 || domain.size > DOMAIN_SIZE_MAX || !utf8_is_valid(domain))
        return false;
    for (;;) {
        ptrdiff_t dot = bytes_index(domain, '.');
        if (dot == BYTES_NOT_FOUND)
            return label_is_valid(domain, utf8);
        if (!label_is_valid(bytes_head(domain, (size_t)dot), utf8))
            return false;
        domain = bytes_after(domain, (size_t)dot + 1);
    }
}

bool ipv4_is_valid(struct bytes text)
{
    for (unsigned part = 0; part < 4; part++) {
        ptrdiff_t dot = bytes_index(text, '.');
        if ((dot == BYTES_NOT_FOUND) != (part == 3))
            return false;
        struct bytes number = part == 3 ? text : bytes_head(text, (size_t)dot);
        uint64_t value = 0;
        if (number.size > 3 || (number.size > 1 && number.data[0] == '0') || !is_ok(bytes_to_u64(number, 255, &value)))
            return false;
        text = bytes_after(text, number.size + 1);
    }
    return true;
}

/* One colon-separated group of IPv6: 1 to 4 hexadecimal digits. */
static bool group_is_valid(struct bytes group)
{
    if (group.size == 0 || group.size > 4)
        return false;
    for (size_t i = 0; i < group.size; i++) {
        uint8_t o = octet_lower(group.data[i]);
        if (!octet_is_digit(o) && (o < 'a' || o > 'f'))
            return false;
    }
    return true;
}

/* Groups (an IPv4 tail counts as two) of a side of "::", or of the whole. -1 when malformed. */
static int groups_count(struct bytes side, bool tail)
{
    int count = 0;

    if (side.size == 0)
        return 0;
    for (;;) {
        ptrdiff_t colon = bytes_index(side, ':');
        struct bytes group = colon == BYTES_NOT_FOUND ? side : bytes_head(side, (size_t)colon);
        if (colon == BYTES_NOT_FOUND && tail && bytes_index(group, '.') != BYTES_NOT_FOUND)
            return ipv4_is_valid(group) ? count + 2 : -1;
        if (!group_is_valid(group) || count == 8)
            return -1;
        count++;
        if (colon == BYTES_NOT_FOUND)
            return count;
        side = bytes_after(side, (size_t)colon + 1);
    }
}

bool ipv6_is_valid(struct bytes text)
{
    ptrdiff_t gap = bytes_find(text, BYTES("::"));

    if (gap == BYTES_NOT_FOUND)
        return groups_count(text, true) == 8;
    int before = groups_count(bytes_head(text, (size_t)gap), false);
    int after = groups_count(bytes_after(text, (size_t)gap + 2), true);
    /* RFC 5321 4.1.3: the "::" stands for at least two groups of zeros. */
    return before >= 0 && after >= 0 && before + after <= 6;
}

struct bytes address_literal_host(struct bytes literal)
{
    ASSERT(literal.size >= 2);
    struct bytes inner = {literal.data + 1, literal.size - 2};
    return bytes_starts_nocase(inner, BYTES("IPv6:")) ? bytes_after(inner, 5) : inner;
}

enum address_domain_kind address_literal_kind(struct bytes literal)
{
    if (literal.size < 2 || literal.data[0] != '[' || literal.data[literal.size - 1] != ']')
        return ADDRESS_DOMAIN_NONE;
    struct bytes host = address_literal_host(literal);
    if (host.size + 2 == literal.size)
        return ipv4_is_valid(host) ? ADDRESS_DOMAIN_IPV4 : ADDRESS_DOMAIN_NONE;
    return ipv6_is_valid(host) ? ADDRESS_DOMAIN_IPV6 : ADDRESS_DOMAIN_NONE;
}

bool helo_is_valid(struct bytes name)
{
    if (name.size == 0 || name.size > HELO_SIZE_MAX)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t o = name.data[i];
        if (!octet_is_alnum(o) && (o == 0 || strchr("-._:[]", o) == NULL))
            return false;
    }
    return true;
}

/* Where a quoted string ends: on success *in is past the closing quote and *inner_out lies between the quotes;
 * *plain_out says that without quotes it would be a dot-string. */
static RESULT quoted_take(struct bytes *in, struct bytes *inner_out, bool *plain_out)
{
    bool plain = true, after_dot = true;
    size_t i = 1;

    for (;; i++) {
        if (i >= in->size)
            return FAIL(CODE_SYNTAX, "quoted local part without its closing quote");
        uint8_t o = in->data[i];
        if (o == '"')
            break;
        if (o == '\\' && (++i >= in->size || in->data[i] > 126))
            return FAIL(CODE_SYNTAX, "backslash with nothing to quote in local part");
        o = in->data[i];
        if (o < 32 || o == 127)
            return FAIL(CODE_SYNTAX, "control character in local part");
        plain = plain && (o == '.' ? !after_dot : octet_is_atext(o));
        after_dot = o == '.';
    }
    *plain_out = plain && !after_dot;
    *inner_out = (struct bytes){in->data + 1, i - 1};
    *in = bytes_after(*in, i + 1);
    return OK;
}

/* The octets that a quoted string stands for, with quotes and the needed backslashes put back unless plain. */
static RESULT quoted_put(struct buf *room, struct bytes inner, bool plain)
{
    if (!plain)
        TRY(buf_put_octet(room, '"'));
    for (size_t i = 0; i < inner.size; i++) {
        if (inner.data[i] == '\\')
            i++;
        if (!plain && (inner.data[i] == '"' || inner.data[i] == '\\'))
            TRY(buf_put_octet(room, '\\'));
        TRY(buf_put_octet(room, inner.data[i]));
    }
    return plain ? OK : buf_put_octet(room, '"');
}

RESULT
address_put_unquoted(struct buf *out, struct bytes local_part)
{
    if (local_part.size < 2 || local_part.data[0] != '"')
        return buf_put(out, local_part);
    return quoted_put(out, (struct bytes){local_part.data + 1, local_part.size - 2}, true);
}

static RESULT dot_string_take(struct bytes *in, struct bytes *local_out)
{
    bool after_dot = true;
    size_t i = 0;

    for (; i < in->size; i++) {
        uint8_t o = in->data[i];
        if (o == '.' && after_dot)
            return FAIL(CODE_SYNTAX, "misplaced dot in local part");
        if (o != '.' && !octet_is_atext(o))
            break;
        after_dot = o == '.';
    }
    if (i == 0)
        return FAIL(CODE_SYNTAX, "local part missing or not allowed there");
    if (after_dot)
        return FAIL(CODE_SYNTAX, "misplaced dot in local part");
    *local_out = bytes_head(*in, i);
    *in = bytes_after(*in, i);
    return OK;
}

static RESULT local_part_take(struct bytes *in, unsigned allow, struct buf *room, struct bytes *local_out)
{
    struct bytes raw;
    bool plain = true;
    bool quoted = in->size > 0 && in->data[0] == '"';
    size_t start = room->size;

    if (quoted)
        TRY(quoted_take(in, &raw, &plain));
    else
        TRY(dot_string_take(in, &raw));
    if (bytes_has_8bit(raw)) {
        if (!utf8_is_valid(raw))
            return FAIL(CODE_SYNTAX, "local part is not valid UTF-8");
        if (!(allow & ADDRESS_UTF8))
            return FAIL(CODE_REFUSED, "address needs SMTPUTF8");
    }
    if (!is_ok(quoted ? quoted_put(room, raw, plain) : buf_put(room, raw)))
        return FAIL(CODE_FULL, "local part too long");
    *local_out = (struct bytes){room->data + start, room->size - start};
    if (local_out->size > LOCAL_PART_SIZE_MAX)
        return FAIL(CODE_FULL, "local part too long");
    return OK;
}

/* How many octets at the start of `in` could belong to a domain or literal. */
static size_t domain_span(struct bytes in)
{
    size_t i = 0;

    if (in.size > 0 && in.data[0] == '[') {
        ptrdiff_t end = bytes_index(in, ']');
        return end == BYTES_NOT_FOUND ? 0 : (size_t)end + 1;
    }
    while (i < in.size && (octet_is_alnum(in.data[i]) || in.data[i] == '-' || in.data[i] == '.' || in.data[i] > 127))
        i++;
    return i;
}

static RESULT domain_check(struct bytes domain, unsigned allow, enum address_domain_kind *kind_out)
{
    if (domain.size > DOMAIN_SIZE_MAX)
        return FAIL(CODE_FULL, "domain too long");
    if (domain.size > 0 && domain.data[0] == '[') {
        *kind_out = address_literal_kind(domain);
        return *kind_out == ADDRESS_DOMAIN_NONE ? FAIL(CODE_SYNTAX, "not a valid address literal") : OK;
    }
    *kind_out = ADDRESS_DOMAIN_NAME;
    if (!domain_is_valid(domain, true))
        return FAIL(CODE_SYNTAX, domain.size == 0 ? "domain missing" : "not a valid domain");
    if (bytes_has_8bit(domain) && !(allow & ADDRESS_UTF8))
        return FAIL(CODE_REFUSED, "address needs SMTPUTF8");
    return OK;
}

static RESULT domain_take(struct bytes *in, unsigned allow, struct buf *room, struct address *a)
{
    struct bytes domain = bytes_head(*in, domain_span(*in));
    size_t start = room->size;

    TRY(domain_check(domain, allow, &a->domain_kind));
    for (size_t i = 0; i < domain.size; i++)
        TRY(buf_put_octet(room, octet_lower(domain.data[i])));
    a->domain = (struct bytes){room->data + start, room->size - start};
    *in = bytes_after(*in, domain.size);
    return OK;
}

/* RFC 5321 appendix C: "@one.example,@two.example:" is read and forgotten. */
static RESULT route_skip(struct bytes *in, unsigned allow)
{
    enum address_domain_kind kind;

    while (in->size > 0 && in->data[0] == '@') {
        *in = bytes_after(*in, 1);
        struct bytes domain = bytes_head(*in, domain_span(*in));
        TRY(domain_check(domain, allow, &kind));
        *in = bytes_after(*in, domain.size);
        if (in->size == 0 || (in->data[0] != ',' && in->data[0] != ':'))
            return FAIL(CODE_SYNTAX, "source route without its colon");
        bool last = in->data[0] == ':';
        *in = bytes_after(*in, 1);
        if (last)
            return OK;
        if (in->size == 0 || in->data[0] != '@')
            return FAIL(CODE_SYNTAX, "malformed source route");
    }
    return OK;
}

static RESULT mailbox_take(struct bytes *in, unsigned allow, struct buf *room, struct address *address_out)
{
    struct address a = {.domain_kind = ADDRESS_DOMAIN_NONE};
    size_t start = room->size;

    TRY(local_part_take(in, allow, room, &a.local_part));
    bool alone = in->size == 0 || in->data[0] != '@';
    if (alone && !((allow & ADDRESS_POSTMASTER) && bytes_equal_nocase(a.local_part, BYTES("postmaster"))))
        return FAIL(CODE_SYNTAX, "address without a domain");
    if (alone) {
        for (size_t i = start; i < room->size; i++)
            room->data[i] = octet_lower(room->data[i]);
    } else {
        TRY(buf_put_octet(room, '@'));
        *in = bytes_after(*in, 1);
        TRY(domain_take(in, allow, room, &a));
    }
    a.text = (struct bytes){room->data + start, room->size - start};
    *address_out = a;
    return OK;
}

RESULT
address_take_path(struct bytes *in, unsigned allow, struct buf *room, struct address *address_out)
{
    struct bytes rest = *in;

    if (rest.size == 0 || rest.data[0] != '<')
        return FAIL(CODE_SYNTAX, "address must be in angle brackets");
    rest = bytes_after(rest, 1);
    if (rest.size > 0 && rest.data[0] == '>') {
        if (!(allow & ADDRESS_NULL))
            return FAIL(CODE_SYNTAX, "address missing between angle brackets");
        *address_out = (struct address){.domain_kind = ADDRESS_DOMAIN_NONE};
        *in = bytes_after(rest, 1);
        return OK;
    }
    TRY(route_skip(&rest, allow));
    TRY(mailbox_take(&rest, allow, room, address_out));
    if (rest.size == 0 || rest.data[0] != '>')
        return FAIL(CODE_SYNTAX, "closing angle bracket expected after the address");
    *in = bytes_after(rest, 1);
    return OK;
}

RESULT
address_parse_path(struct bytes in, unsigned allow, struct buf *room, struct address *address_out)
{
    TRY(address_take_path(&in, allow, room, address_out));
    return in.size == 0 ? OK : FAIL(CODE_SYNTAX, "text after the closing angle bracket");
}

RESULT
address_parse_mailbox(struct bytes in, unsigned allow, struct buf *room, struct address *address_out)
{
    TRY(mailbox_take(&in, allow & ~(unsigned)ADDRESS_NULL, room, address_out));
    return in.size == 0 ? OK : FAIL(CODE_SYNTAX, "text after the domain");
}
