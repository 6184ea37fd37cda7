#include "smtp/xtext.h"

static int hex_value(uint8_t o)
{
    if (o >= '0' && o <= '9')
        return o - '0';
    /* The RFC wants upper case; some senders do not know. */
    o = octet_lower(o);
    return o >= 'a' && o <= 'f' ? o - 'a' + 10 : -1;
}

RESULT
xtext_decode(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.size; i++) {
        int octet = in.data[i];
        if (octet <= ' ' || octet == '=' || octet == 127)
            return FAIL(CODE_SYNTAX, "character not allowed in xtext");
        if (octet == '+') {
            if (in.size - i < 3 || hex_value(in.data[i + 1]) < 0 || hex_value(in.data[i + 2]) < 0)
                return FAIL(CODE_SYNTAX, "+ without two hexadecimal digits in xtext");
            octet = hex_value(in.data[i + 1]) * 16 + hex_value(in.data[i + 2]);
            i += 2;
            if (octet < ' ' || octet == 127)
                return FAIL(CODE_SYNTAX, "control character in xtext");
        }
        TRY(buf_put_octet(out, (uint8_t)octet));
    }
    return OK;
}

RESULT
xtext_encode(struct bytes in, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < in.size; i++) {
        uint8_t o = in.data[i];
        if (o > ' ' && o < 127 && o != '+' && o != '=') {
            TRY(buf_put_octet(out, o));
        } else {
            uint8_t escaped[3] = {'+', (uint8_t)digits[o >> 4], (uint8_t)digits[o & 15]};
            TRY(buf_put(out, (struct bytes){escaped, sizeof escaped}));
        }
    }
    return OK;
}
