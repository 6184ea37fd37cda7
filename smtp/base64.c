#include "smtp/base64.h"

static int sextet_of(uint8_t o)
{
    if (o >= 'A' && o <= 'Z')
        return o - 'A';
    if (o >= 'a' && o <= 'z')
        return o - 'a' + 26;
    if (o >= '0' && o <= '9')
        return o - '0' + 52;
    return o == '+' ? 62 : o == '/' ? 63 : -1;
}

RESULT
base64_decode(struct bytes in, struct buf *out)
{
    if (in.size % 4 != 0)
        return FAIL(CODE_SYNTAX, "base64 of a wrong length");
    for (size_t i = 0; i < in.size; i += 4) {
        bool last = i + 4 == in.size;
        unsigned pad = !last || in.data[i + 3] != '=' ? 0 : in.data[i + 2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (unsigned k = 0; k < 4; k++) {
            int sextet = k >= 4 - pad ? 0 : sextet_of(in.data[i + k]);
            if (sextet < 0)
                return FAIL(CODE_SYNTAX, "not a base64 character");
            group = group << 6 | (uint32_t)sextet;
        }
        /* Bits that no octet carries must be zero, or two texts would stand for one value. */
        if ((pad == 1 && (group & 0xff) != 0) || (pad == 2 && (group & 0xffff) != 0))
            return FAIL(CODE_SYNTAX, "base64 with stray bits");
        uint8_t octets[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        TRY(buf_put(out, (struct bytes){octets, 3 - pad}));
    }
    return OK;
}

RESULT
base64_encode(struct bytes in, struct buf *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in.size; i += 3) {
        size_t have = in.size - i < 3 ? in.size - i : 3;
        uint32_t group = (uint32_t)in.data[i] << 16 | (have > 1 ? (uint32_t)in.data[i + 1] << 8 : 0) |
                         (have > 2 ? (uint32_t)in.data[i + 2] : 0);
        for (size_t k = 0; k < 4; k++)
            TRY(buf_put_octet(out, k <= have ? (uint8_t)alphabet[group >> (18 - 6 * k) & 63] : (uint8_t)'='));
    }
    return OK;
}
