#include "daemon/inbound/proxy.h"

static const uint8_t SIGNATURE_V2[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
enum {
    V2_HEAD_SIZE = 16,
    V2_LOCAL = 0,
    V2_PROXY = 1,
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_TCP4_SIZE = 12,
    V2_TCP6_SIZE = 36
};

/* The next word of a line, words being parted by one space. */
static struct bytes word_take(struct bytes *rest)
{
    ptrdiff_t space = bytes_index(*rest, ' ');
    struct bytes word = space == BYTES_NOT_FOUND ? *rest : bytes_head(*rest, (size_t)space);

    *rest = space == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(*rest, (size_t)space + 1);
    return word;
}

/* PROXY TCP4 source destination source-port destination-port CRLF */
static RESULT parse_v1(struct bytes in, struct proxy_header *header, size_t *eaten_out)
{
    ptrdiff_t end = bytes_find(bytes_head(in, PROXY_V1_SIZE_MAX), BYTES("\r\n"));
    struct bytes rest, family, source_port, destination_port;
    uint64_t port, ignored;

    if (end == BYTES_NOT_FOUND)
        return in.size < PROXY_V1_SIZE_MAX ? FAIL(CODE_MORE, "the PROXY line is not whole")
                                           : FAIL(CODE_SYNTAX, "the PROXY line is too long");
    *eaten_out = (size_t)end + 2;
    rest = bytes_after(bytes_head(in, (size_t)end), 6);
    family = word_take(&rest);
    if (bytes_equal(family, BYTES("UNKNOWN")))
        return OK;
    if (!bytes_equal(family, BYTES("TCP4")) && !bytes_equal(family, BYTES("TCP6")))
        return FAIL(CODE_SYNTAX, "the PROXY line names an unknown family");
    header->text = word_take(&rest);
    (void)word_take(&rest); /* where it was going */
    source_port = word_take(&rest);
    destination_port = word_take(&rest);
    if (rest.size > 0 || !is_ok(bytes_to_u64(source_port, UINT16_MAX, &port)) ||
        !is_ok(bytes_to_u64(destination_port, UINT16_MAX, &ignored)) ||
        (bytes_index(header->text, ':') != BYTES_NOT_FOUND) != bytes_equal(family, BYTES("TCP6")))
        return FAIL(CODE_SYNTAX, "the PROXY line is malformed");
    header->known = true;
    header->port = (uint16_t)port;
    return OK;
}

static RESULT parse_v2(struct bytes in, struct proxy_header *header, size_t *eaten_out)
{
    size_t size;
    const uint8_t *at;

    if (in.size < V2_HEAD_SIZE)
        return FAIL(CODE_MORE, "the PROXY header is not whole");
    if (in.data[12] >> 4 != 2 || (in.data[12] & 15) > V2_PROXY)
        return FAIL(CODE_SYNTAX, "the PROXY header has an unknown version or command");
    size = (size_t)in.data[14] << 8 | in.data[15];
    if (V2_HEAD_SIZE + size > PROXY_SIZE_MAX)
        return FAIL(CODE_SYNTAX, "the PROXY header is too long");
    if (in.size < V2_HEAD_SIZE + size)
        return FAIL(CODE_MORE, "the PROXY header is not whole");
    *eaten_out = V2_HEAD_SIZE + size;
    at = in.data + V2_HEAD_SIZE;
    if ((in.data[12] & 15) == V2_LOCAL)
        return OK;
    if (in.data[13] == V2_TCP4 && size >= V2_TCP4_SIZE) {
        header->address[10] = header->address[11] = 0xff;
        memcpy(header->address + 12, at, 4);
        header->port = (uint16_t)(at[8] << 8 | at[9]);
    } else if (in.data[13] == V2_TCP6 && size >= V2_TCP6_SIZE) {
        memcpy(header->address, at, 16);
        header->port = (uint16_t)(at[32] << 8 | at[33]);
    } else {
        return FAIL(CODE_SYNTAX, "the PROXY header names no TCP client");
    }
    header->known = true;
    return OK;
}

RESULT proxy_parse(struct bytes in, struct proxy_header *header_out, size_t *eaten_out)
{
    struct bytes signature = {SIGNATURE_V2, sizeof SIGNATURE_V2};

    *header_out = (struct proxy_header){.known = false};
    *eaten_out = 0;
    if (bytes_starts(in, BYTES("PROXY ")))
        return parse_v1(in, header_out, eaten_out);
    if (bytes_starts(in, signature))
        return parse_v2(in, header_out, eaten_out);
    if (bytes_starts(BYTES("PROXY "), in) || bytes_starts(signature, in))
        return FAIL(CODE_MORE, "the PROXY header is not whole");
    return FAIL(CODE_SYNTAX, "no PROXY header came");
}
