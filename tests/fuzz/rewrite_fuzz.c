/* Headers that are rewritten: with a map that knows nobody what comes out is what went in; with one that knows everybody it is
 * the same in whatever pieces the content comes. */
#include "smtp/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool nobody(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out)
{
    (void)ctx;
    (void)side;
    (void)address;
    (void)out;
    return false;
}

static bool everybody(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out)
{
    struct result r = buf_put_str(out, side == REWRITE_SENDER ? "s@new.test" : "r@new.test");

    (void)ctx;
    (void)address;
    ASSERT(is_ok(r));
    return true;
}

static uint8_t *all;
static size_t all_size, all_size_max;

static void keep(struct bytes octets)
{
    if (all_size + octets.size > all_size_max) {
        all_size_max = 2 * (all_size + octets.size);
        all = mem_resize(all, all_size_max);
        ASSERT(all != NULL);
    }
    if (octets.size > 0)
        memcpy(all + all_size, octets.data, octets.size);
    all_size += octets.size;
}

static struct bytes run(struct bytes in, const struct rewrite_config *cfg, size_t step)
{
    static uint8_t room[REWRITE_OUT_SIZE_MIN];
    struct buf out = BUF(room);
    struct rewrite w;
    struct result r = FAIL(CODE_MORE, "");

    all_size = 0;
    rewrite_init(&w, cfg);
    while (in.size > 0 && !is_ok(r)) {
        struct bytes piece = bytes_head(in, step);

        in = bytes_after(in, piece.size);
        do {
            r = rewrite_feed(&w, &piece, &out);
            keep(buf_bytes(&out));
            buf_reset(&out);
        } while (r.code == CODE_FULL);
        ASSERT(is_ok(r) || r.code == CODE_MORE);
        keep(piece);
    }
    r = rewrite_end(&w, &out);
    ASSERT(is_ok(r));
    keep(buf_bytes(&out));
    keep(in);
    return (struct bytes){all, all_size};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rewrite_config NOBODY = {.map = nobody, .origin = BYTES_INIT("o.test")};
    static const struct rewrite_config EVERYBODY = {.map = everybody, .origin = BYTES_INIT("o.test")};
    struct bytes in = {data, size}, first;

    ASSERT(bytes_equal(in, run(in, &NOBODY, SIZE_MAX)));
    ASSERT(bytes_equal(in, run(in, &NOBODY, 1)));
    first = run(in, &EVERYBODY, SIZE_MAX);
    uint64_t hash = bytes_hash(first, 1);
    ASSERT(hash == bytes_hash(run(in, &EVERYBODY, 1), 1));
    ASSERT(hash == bytes_hash(run(in, &EVERYBODY, 5), 1));
    return 0;
}
