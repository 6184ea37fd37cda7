/* Header completion: content with strict line ends, whole and octet by octet, gives the same; what comes out is a header that
 * reads to its end, without Bcc where it is stripped, and completing it again adds nothing. */
#include "smtp/completion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IN_MAX = 40000, OUT_MAX = 4 * IN_MAX + 65536 };

static size_t run(const struct completion_config *cfg, struct bytes in, size_t step, uint8_t *out)
{
    static struct completion c;
    static uint8_t room[COMPLETION_OUT_SIZE_MIN];
    struct buf piece = BUF(room), whole = {out, 0, OUT_MAX};
    struct result r = FAIL(CODE_MORE, "");

    completion_init(&c, cfg);
    while (in.size > 0) {
        struct bytes portion = bytes_head(in, step);

        in = bytes_after(in, portion.size);
        do {
            if (!is_ok(r))
                r = completion_feed(&c, &portion, &piece);
            ASSERT(is_ok(buf_put(&whole, buf_bytes(&piece))));
            buf_reset(&piece);
        } while (r.code == CODE_FULL);
        if (is_ok(r))
            ASSERT(is_ok(buf_put(&whole, portion)));
    }
    if (!is_ok(r)) {
        ASSERT(is_ok(completion_end(&c, &piece)));
        ASSERT(is_ok(buf_put(&whole, buf_bytes(&piece))));
    }
    return whole.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t in[2 * IN_MAX], whole[OUT_MAX], pieces[OUT_MAX];
    struct completion_config cfg = {
        .add = true,
        .strip_bcc = true,
        .sender = true,
        .origin = BYTES("o.test"),
        .user = BYTES("me@o.test"),
        .from = BYTES("me@o.test"),
        .message_id = BYTES("1@h.test"),
        .no_destination = BYTES("Cc: nobody:;"),
    };
    struct bytes rest;
    struct header_field field;
    size_t in_size = 0, whole_size;

    if (size > IN_MAX)
        return 0;
    for (size_t i = 0; i < size; i++) { /* what the SMTP server lets through */
        if (data[i] == '\r' || data[i] == 0)
            continue;
        if (data[i] == '\n')
            in[in_size++] = '\r';
        in[in_size++] = data[i];
    }
    whole_size = run(&cfg, (struct bytes){in, in_size}, SIZE_MAX, whole);
    ASSERT(run(&cfg, (struct bytes){in, in_size}, 1, pieces) == whole_size);
    ASSERT(memcmp(whole, pieces, whole_size) == 0);
    rest = (struct bytes){whole, whole_size};
    while (is_ok(header_next(&rest, &field)))
        ASSERT(header_kind_of(field.name) != HEADER_BCC && header_kind_of(field.name) != HEADER_RESENT_BCC);
    ASSERT(bytes_starts(rest, BYTES("\r\n")));
    /* A field near the bound may be read the first time and, grown by its origins, be too long the second. */
    if (in_size < COMPLETION_FIELD_SIZE_MAX / 8)
        ASSERT(run(&cfg, (struct bytes){whole, whole_size}, SIZE_MAX, pieces) == whole_size);
    return 0;
}
