#include "daemon/base/base.h"

static const char digits32[] = "0123456789abcdefghjkmnpqrstvwxyz";

RESULT message_id_put(struct buf *out, struct message_id id)
{
    uint8_t text[MESSAGE_ID_SIZE_MAX];
    size_t at = sizeof text;
    uint64_t rest = id.value;

    do {
        text[--at] = (uint8_t)digits32[rest & 31];
        rest >>= 5;
    } while (rest > 0);
    return buf_put(out, (struct bytes){text + at, sizeof text - at});
}

RESULT message_id_parse(struct bytes in, struct message_id *id_out)
{
    uint64_t value = 0;

    if (in.size == 0 || in.size > MESSAGE_ID_SIZE_MAX)
        return FAIL(CODE_SYNTAX, "not a message id");
    for (size_t i = 0; i < in.size; i++) {
        const char *digit = in.data[i] == 0 ? NULL : strchr(digits32, octet_lower(in.data[i]));
        if (digit == NULL || value >> 59 != 0)
            return FAIL(CODE_SYNTAX, "not a message id");
        value = value << 5 | (uint64_t)(digit - digits32);
    }
    if (value == 0 || in.data[0] == '0')
        return FAIL(CODE_SYNTAX, "not a message id");
    *id_out = (struct message_id){value};
    return OK;
}
