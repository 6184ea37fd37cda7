/* What leaves by SMTP is given the addresses that the world knows (config/rewriting.h): the reverse-path, and the header as far as it
 * lies in the portion that came with the job. How many octets go out must be known before the first one does (SIZE, BDAT), so all
 * of it happens here at once, in two passes: one counts, one writes. */
#include "daemon/outbound/parts.h"

static bool header_map(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out)
{
    const struct rewriting *w = ctx;

    (void)side;
    return rewriting_generic(w, address, out);
}

/* Appends to `all`, unless that is NULL, and counts; how many addresses were replaced. `whole`: nothing stands behind `in`. */
static uint32_t header_rewrite(
    const struct rewriting *w, struct bytes in, bool whole, struct buf *all, size_t *size_out)
{
    static uint8_t room[REWRITE_OUT_SIZE_MIN]; /* used up within this call */
    static struct rewrite rewrite;
    const struct rewrite_config cfg = {.map = header_map, .ctx = (void *)(uintptr_t)w, .origin = w->cfg->origin};
    struct buf out = BUF(room);
    struct result r;

    *size_out = 0;
    rewrite_init(&rewrite, &cfg);
    do {
        r = rewrite_feed(&rewrite, &in, &out);
        if (r.code == CODE_MORE)
            r = whole ? rewrite_end(&rewrite, &out) : rewrite_leave(&rewrite, &out);
        *size_out += out.size;
        if (all != NULL) {
            struct result put = buf_put(all, buf_bytes(&out));
            ASSERT(is_ok(put));
        }
        buf_reset(&out);
    } while (r.code == CODE_FULL);
    *size_out += in.size;
    if (all != NULL) {
        struct result put = buf_put(all, in);
        ASSERT(is_ok(put));
    }
    return rewrite.count;
}

static void first_rewrite(struct delivery *d)
{
    const struct rewriting *w = &d->ob->rewriting;
    bool whole = d->first.size == d->head.body_size;
    size_t size, again;
    struct buf fresh;
    void *memory;

    if (header_rewrite(w, d->first, whole, NULL, &size) == 0 || !is_ok(arena_take(&d->arena, size, &memory)))
        return;
    buf_init(&fresh, memory, size);
    (void)header_rewrite(w, d->first, whole, &fresh, &again);
    ASSERT(again == size);
    d->grown = (int64_t)size - (int64_t)d->first.size;
    d->first = buf_bytes(&fresh);
    d->head.body_size = (uint64_t)((int64_t)d->head.body_size + d->grown);
}

void delivery_generic(struct delivery *d)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(room);
    bool wanted = (d->head.flags & ENVELOPE_GENERIC) != 0 || d->head.origin == ORIGIN_DSN;

    d->grown = 0;
    if (!wanted || !rewriting_has_generic(&d->ob->rewriting) || bytes_starts(d->lane, BYTES("lmtp:")))
        return;
    if (d->head.reverse_path.size > 0 && rewriting_generic(&d->ob->rewriting, d->head.reverse_path, &sender) &&
        !is_ok(arena_copy(&d->arena, buf_bytes(&sender), &d->head.reverse_path)))
        d->damaged = true;
    first_rewrite(d);
}
