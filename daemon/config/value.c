#include <arpa/inet.h>

#include "daemon/config/value.h"
#include "smtp/idna.h"

static const char EXPECT_TIME[] = "a time such as 250ms, 30s, 5m, 4h or 5d";
static const char EXPECT_SIZE[] = "a size such as 1000, 64K, 50M or 2G";
static const char EXPECT_NETWORK[] = "an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32";
static const char EXPECT_ENDPOINT[] = "an IP address and port such as *:25, 192.0.2.1:25 or [::1]:25";
static const char EXPECT_NAME[] = "a name of letters, digits, hyphens and dots such as mail.example.org";

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* The digits at *at, moved past. */
static bool number_at(struct bytes in, size_t *at, uint64_t *value_out)
{
    size_t from = *at;

    while (*at < in.size && is_digit(in.data[*at]))
        (*at)++;
    return is_ok(bytes_to_u64(bytes_head(bytes_after(in, from), *at - from), INT64_MAX, value_out));
}

RESULT value_time(struct bytes in, int64_t *ms_out)
{
    static const struct {
        struct bytes unit;
        int64_t ms;
    } units[] = {
        {BYTES_INIT("ms"), 1}, /* before "m" */
        {BYTES_INIT("s"), 1000},
        {BYTES_INIT("m"), 60000},
        {BYTES_INIT("h"), 3600000},
        {BYTES_INIT("d"), 86400000},
    };
    int64_t sum = 0;

    if (bytes_equal(in, BYTES("0"))) {
        *ms_out = 0;
        return OK;
    }
    if (in.size == 0)
        return FAIL(CODE_SYNTAX, EXPECT_TIME);
    for (size_t at = 0; at < in.size;) {
        uint64_t value;
        size_t u = 0;

        if (!number_at(in, &at, &value))
            return FAIL(CODE_SYNTAX, EXPECT_TIME);
        while (u < COUNT_OF(units) && !bytes_starts(bytes_after(in, at), units[u].unit))
            u++;
        if (u == COUNT_OF(units))
            return FAIL(CODE_SYNTAX, EXPECT_TIME);
        at += units[u].unit.size;
        if ((int64_t)value > (INT64_MAX - sum) / units[u].ms)
            return FAIL(CODE_SYNTAX, "a time that is not beyond reason");
        sum += (int64_t)value * units[u].ms;
    }
    *ms_out = sum;
    return OK;
}

RESULT value_size(struct bytes in, uint64_t *octets_out)
{
    uint64_t value;
    size_t at = 0;
    unsigned shift = 0;

    if (!number_at(in, &at, &value))
        return FAIL(CODE_SYNTAX, EXPECT_SIZE);
    if (at < in.size) {
        switch (in.data[at++]) {
        case 'K':
        case 'k':
            shift = 10;
            break;
        case 'M':
        case 'm':
            shift = 20;
            break;
        case 'G':
        case 'g':
            shift = 30;
            break;
        case 'T':
        case 't':
            shift = 40;
            break;
        default:
            return FAIL(CODE_SYNTAX, EXPECT_SIZE);
        }
    }
    if (at != in.size)
        return FAIL(CODE_SYNTAX, EXPECT_SIZE);
    if (value > ((uint64_t)INT64_MAX >> shift))
        return FAIL(CODE_SYNTAX, "a size that is not beyond reason");
    *octets_out = value << shift;
    return OK;
}

RESULT value_rate(struct bytes in, struct rate *rate_out)
{
    static const char expected[] = "a rate such as 100/1m, 500/1h burst 50 or 1G/1d, or 0 for none";
    static const struct bytes word = BYTES_INIT(" burst ");
    ptrdiff_t slash = bytes_index(in, '/'), burst = bytes_find(in, word);
    struct bytes period;

    *rate_out = (struct rate){0};
    if (bytes_equal(in, BYTES("0")))
        return OK;
    if (slash == BYTES_NOT_FOUND || (burst != BYTES_NOT_FOUND && burst < slash))
        return FAIL(CODE_SYNTAX, expected);
    period = bytes_after(burst == BYTES_NOT_FOUND ? in : bytes_head(in, (size_t)burst), (size_t)slash + 1);
    if (!is_ok(value_size(bytes_head(in, (size_t)slash), &rate_out->count)) ||
        !is_ok(value_time(period, &rate_out->per_ms)) || rate_out->count == 0 || rate_out->per_ms == 0)
        return FAIL(CODE_SYNTAX, expected);
    rate_out->burst = rate_out->count;
    if (burst == BYTES_NOT_FOUND)
        return OK;
    if (!is_ok(value_size(bytes_after(in, (size_t)burst + word.size), &rate_out->burst)) || rate_out->burst == 0)
        return FAIL(CODE_SYNTAX, expected);
    return OK;
}

RESULT value_bool(struct bytes in, bool *value_out)
{
    static const struct {
        struct bytes word;
        bool value;
    } words[] = {{BYTES_INIT("true"), true}, {BYTES_INIT("yes"), true}, {BYTES_INIT("on"), true},
        {BYTES_INIT("false"), false}, {BYTES_INIT("no"), false}, {BYTES_INIT("off"), false}};

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (bytes_equal_nocase(in, words[i].word)) {
            *value_out = words[i].value;
            return OK;
        }
    }
    return FAIL(CODE_SYNTAX, "true or false");
}

RESULT value_percent(struct bytes in, uint32_t *percent_out)
{
    static const char expected[] = "a number from 0 to 1 such as 0.2";
    uint64_t whole;
    uint32_t percent;
    size_t at = 0;

    if (!number_at(in, &at, &whole) || whole > 1)
        return FAIL(CODE_SYNTAX, expected);
    percent = (uint32_t)whole * 100;
    if (at < in.size) {
        uint32_t weight = 10;

        if (in.data[at++] != '.' || at == in.size)
            return FAIL(CODE_SYNTAX, expected);
        for (; at < in.size; at++) {
            if (!is_digit(in.data[at]))
                return FAIL(CODE_SYNTAX, expected);
            percent += (uint32_t)(in.data[at] - '0') * weight;
            weight /= 10;
        }
    }
    if (percent > 100)
        return FAIL(CODE_SYNTAX, expected);
    *percent_out = percent;
    return OK;
}

/* A numeric address; IPv4 stands in the first four octets. */
static bool address_of(struct bytes in, uint8_t address_out[16], bool *ipv6_out)
{
    char text[INET6_ADDRSTRLEN];

    if (in.size == 0 || in.size >= sizeof text || memchr(in.data, 0, in.size) != NULL)
        return false;
    memcpy(text, in.data, in.size);
    text[in.size] = 0;
    memset(address_out, 0, 16);
    *ipv6_out = false;
    if (inet_pton(AF_INET, text, address_out) == 1)
        return true;
    *ipv6_out = true;
    return inet_pton(AF_INET6, text, address_out) == 1;
}

RESULT value_network(struct bytes in, struct config_network *network_out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    ptrdiff_t slash = bytes_index(in, '/');
    struct bytes host = slash < 0 ? in : bytes_head(in, (size_t)slash);
    uint64_t bits;
    bool ipv6;
    uint8_t *address = network_out->address;

    if (!address_of(host, address, &ipv6))
        return FAIL(CODE_SYNTAX, EXPECT_NETWORK);
    bits = ipv6 ? 128 : 32;
    if (slash >= 0 && !is_ok(bytes_to_u64(bytes_after(in, (size_t)slash + 1), bits, &bits)))
        return FAIL(CODE_SYNTAX,
            ipv6 ? "a prefix of 0 to 128 bits after the slash" : "a prefix of 0 to 32 bits after the slash");
    if (!ipv6) {
        memmove(address + 12, address, 4);
        memcpy(address, mapped, sizeof mapped);
        bits += 96;
    }
    for (size_t bit = (size_t)bits; bit < 128; bit++)
        if (address[bit / 8] & (0x80 >> (bit % 8)))
            return FAIL(CODE_SYNTAX, "no address bits behind the prefix (192.0.2.0/24, not 192.0.2.1/24)");
    network_out->prefix_bits = (uint8_t)bits;
    return OK;
}

/* Splits "host:port" and "[v6]:port". */
static bool host_port_split(struct bytes in, struct bytes *host_out, struct bytes *port_out, bool *bracketed_out)
{
    ptrdiff_t colon = bytes_rindex(in, ':');

    if (colon < 0)
        return false;
    *host_out = bytes_head(in, (size_t)colon);
    *port_out = bytes_after(in, (size_t)colon + 1);
    *bracketed_out = host_out->size >= 2 && host_out->data[0] == '[' && host_out->data[host_out->size - 1] == ']';
    if (*bracketed_out)
        *host_out = bytes_head(bytes_after(*host_out, 1), host_out->size - 2);
    return true;
}

RESULT value_endpoints(struct bytes in, struct config_endpoint out[VALUE_ENDPOINTS_MAX], size_t *count_out)
{
    struct bytes host, port_text;
    uint64_t port;
    bool bracketed, ipv6;

    if (!host_port_split(in, &host, &port_text, &bracketed))
        return FAIL(CODE_SYNTAX, EXPECT_ENDPOINT);
    if (!is_ok(bytes_to_u64(port_text, 65535, &port)))
        return FAIL(CODE_SYNTAX, "a port of 0 to 65535 behind the last colon");
    memset(out, 0, VALUE_ENDPOINTS_MAX * sizeof *out);
    if (!bracketed && bytes_equal(host, BYTES("*"))) {
        out[0] = (struct config_endpoint){.port = (uint16_t)port, .text = in, .optional = true};
        out[1] = (struct config_endpoint){.ipv6 = true, .port = (uint16_t)port, .text = in, .optional = true};
        *count_out = 2;
        return OK;
    }
    if (!address_of(host, out[0].address, &ipv6) || ipv6 != bracketed)
        return FAIL(CODE_SYNTAX, EXPECT_ENDPOINT);
    out[0].ipv6 = ipv6;
    out[0].port = (uint16_t)port;
    out[0].text = in;
    *count_out = 1;
    return OK;
}

RESULT value_dns_server(struct bytes in, struct buf *out)
{
    static const char expected[] = "a resolver's IP address with an optional port such as 127.0.0.1:53 or [::1]:53";
    struct bytes host = in, port_text;
    uint8_t address[16];
    char text[INET6_ADDRSTRLEN];
    uint64_t port = 53;
    bool ipv6, bracketed;

    if (!address_of(in, address, &ipv6)) {
        if (in.size > 2 && in.data[0] == '[' && in.data[in.size - 1] == ']') {
            host = bytes_head(bytes_after(in, 1), in.size - 2);
            bracketed = true;
        } else if (!host_port_split(in, &host, &port_text, &bracketed) ||
                   !is_ok(bytes_to_u64(port_text, 65535, &port)) || port == 0) {
            return FAIL(CODE_SYNTAX, expected);
        }
        if (!address_of(host, address, &ipv6) || ipv6 != bracketed)
            return FAIL(CODE_SYNTAX, expected);
    }
    if (inet_ntop(ipv6 ? AF_INET6 : AF_INET, address, text, sizeof text) == NULL)
        return FAIL(CODE_SYNTAX, expected);
    if (ipv6)
        TRY(buf_put_octet(out, '['));
    TRY(buf_put_str(out, text));
    TRY(buf_put_str(out, ipv6 ? "]:" : ":"));
    return buf_put_u64(out, port);
}

static RESULT ascii_name(struct bytes in, struct buf *out)
{
    size_t label = 0;
    bool letter = false; /* an all-numeric last label would be an address (RFC 1123 2.1) */

    if (in.size == 0 || in.size > DOMAIN_SIZE_MAX - 2)
        return FAIL(CODE_SYNTAX, EXPECT_NAME);
    for (size_t i = 0; i < in.size; i++) {
        uint8_t c = octet_lower(in.data[i]);

        if (c == '.') {
            if (label == 0 || in.data[i - 1] == '-')
                return FAIL(CODE_SYNTAX, EXPECT_NAME);
            label = 0;
            letter = false;
        } else if ((c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || (c == '-' && label > 0)) {
            letter = letter || !is_digit(c);
            if (++label > 63)
                return FAIL(CODE_SYNTAX, "a name whose labels have at most 63 characters");
        } else {
            return FAIL(CODE_SYNTAX, EXPECT_NAME);
        }
        TRY(buf_put_octet(out, c));
    }
    if (label == 0 || in.data[in.size - 1] == '-' || !letter)
        return FAIL(CODE_SYNTAX, EXPECT_NAME);
    return OK;
}

RESULT value_name(struct bytes in, struct buf *out)
{
    uint8_t room[DOMAIN_SIZE_MAX];
    struct buf ascii = BUF(room);

    if (!bytes_has_8bit(in))
        return ascii_name(in, out);
    if (!is_ok(idna_to_ascii(in, &ascii)))
        return FAIL(CODE_SYNTAX, "a name that IDNA allows, in UTF-8");
    return ascii_name(buf_bytes(&ascii), out);
}

RESULT value_word(struct bytes in, const char *words, unsigned *index_out)
{
    struct bytes rest = bytes_of(words);

    for (unsigned i = 0;; i++) {
        ptrdiff_t bar = bytes_index(rest, '|');

        if (bytes_equal(in, bar < 0 ? rest : bytes_head(rest, (size_t)bar))) {
            *index_out = i;
            return OK;
        }
        if (bar < 0)
            return FAIL(CODE_SYNTAX, "one of the known words");
        rest = bytes_after(rest, (size_t)bar + 1);
    }
}

static int hex_digit(uint8_t octet)
{
    octet = octet_lower(octet);
    if (octet >= '0' && octet <= '9')
        return octet - '0';
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

RESULT
value_fingerprint(struct bytes in, uint8_t out[VALUE_FINGERPRINT_SIZE])
{
    for (size_t i = 0; i < VALUE_FINGERPRINT_SIZE; i++) {
        if (i > 0 && in.size > 0 && in.data[0] == ':')
            in = bytes_after(in, 1);
        int high = in.size < 2 ? -1 : hex_digit(in.data[0]), low = in.size < 2 ? -1 : hex_digit(in.data[1]);
        if (high < 0 || low < 0)
            return FAIL(CODE_SYNTAX, "a SHA-256 in 64 hexadecimal digits");
        out[i] = (uint8_t)(high << 4 | low);
        in = bytes_after(in, 2);
    }
    return in.size == 0 ? OK : FAIL(CODE_SYNTAX, "a SHA-256 in 64 hexadecimal digits");
}

RESULT
value_fingerprint_next(struct bytes *rest, uint8_t out[VALUE_FINGERPRINT_SIZE])
{
    struct bytes in = bytes_trim(*rest);
    ptrdiff_t blank = bytes_index(in, ' ');
    struct bytes one = blank == BYTES_NOT_FOUND ? in : bytes_head(in, (size_t)blank);

    *rest = bytes_after(in, one.size);
    return one.size == 0 ? FAIL(CODE_GONE, "no more") : value_fingerprint(one, out);
}
