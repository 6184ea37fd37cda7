#include "daemon/base/tabbed.h"

enum { ESCAPE = 0x01 };

struct bytes tabbed_take(struct bytes *rest)
{
    ptrdiff_t tab = bytes_index(*rest, '\t');
    struct bytes field = tab == BYTES_NOT_FOUND ? *rest : bytes_head(*rest, (size_t)tab);

    *rest = tab == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(*rest, (size_t)tab + 1);
    return field;
}

RESULT
tabbed_unescape(struct bytes field, struct buf *out)
{
    static const uint8_t letters[] = {'0', '1', 't', 'r', 'l'}, octets[] = {0, ESCAPE, '\t', '\r', '\n'};

    for (size_t i = 0; i < field.size; i++) {
        uint8_t octet = field.data[i];

        if (octet == ESCAPE) {
            ptrdiff_t which = i + 1 < field.size
                                  ? bytes_index((struct bytes){letters, sizeof letters}, field.data[i + 1])
                                  : BYTES_NOT_FOUND;
            if (which == BYTES_NOT_FOUND)
                return FAIL(CODE_SYNTAX, "a field with a bad escape");
            octet = octets[which];
            i++;
        }
        TRY(buf_put_octet(out, octet));
    }
    return OK;
}
