/* The reply reader: the same octets in two ways of portioning must read the same, and the kept text must be harmless. */
#include "smtp/client_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum code code;
    struct peer_reply reply;
};

static struct outcome feed(struct client_reply *r, struct bytes in, size_t portion)
{
    struct result result = FAIL(CODE_MORE, "nothing fed");

    client_reply_reset(r);
    while (in.size > 0) {
        struct client_reply_line line = {.last = false};
        size_t eaten = 0;
        struct bytes part = bytes_head(in, portion);
        result = client_reply_feed(r, part, &eaten, &line);
        ASSERT(eaten > 0 && eaten <= part.size);
        in = bytes_after(in, eaten);
        if (!is_ok(result) && result.code != CODE_MORE)
            break;
        if (is_ok(result) && line.last)
            return (struct outcome){CODE_OK, client_reply_view(r)};
        result.code = CODE_MORE;
    }
    return (struct outcome){result.code, client_reply_view(r)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client_reply a, b;

    if (size < 1)
        return 0;
    struct bytes in = {data + 1, size - 1};
    struct outcome whole = feed(&a, in, SIZE_MAX);
    struct outcome parts = feed(&b, in, 1 + (size_t)data[0]);
    /* A NUL is seen where it stands, an end of line where it stands: only which of two errors comes first may differ. */
    ASSERT((whole.code == CODE_OK) == (parts.code == CODE_OK));
    if (whole.code == CODE_OK) {
        ASSERT(whole.reply.code == parts.reply.code && bytes_equal(whole.reply.text, parts.reply.text));
        ASSERT(whole.reply.text.size >= 3 && whole.reply.text.size <= REPLY_KEPT_SIZE_MAX);
        for (size_t i = 0; i < whole.reply.text.size; i++)
            ASSERT(whole.reply.text.data[i] >= 0x20 && whole.reply.text.data[i] != 0x7f);
    }
    return 0;
}
