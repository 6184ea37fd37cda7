/* Letters that came in ASCII to hosts that take no more: what was sent must be what smtp/convert.h makes of the letter. That it reads
 * the same is for unit/smtp/convert_email to say; here it is held against the letter's own octets. */
#include "tests/sim/lib/ledger_parts.h"
#include "tests/support/convert_kit.h"

enum { CONVERTED_SIZE_MAX = 4 * 1024 * 1024 };

static struct bytes header_part(struct bytes content)
{
    ptrdiff_t end = bytes_find(content, BYTES("\r\n\r\n"));
    return end < 0 ? content : bytes_head(content, (size_t)end);
}

static struct bytes converted(struct bytes content, bool bodies)
{
    static struct convert convert;
    static uint8_t room[CONVERTED_SIZE_MAX];
    struct buf out = BUF(room);

    return convert_run(&convert, content, bodies, content.size, &out) == CONVERT_OK ? buf_bytes(&out) : BYTES_NONE;
}

/* The fields that a text without any of MIME's gets stand last in its header; what is completed comes before them. */
static void put_without_mime(struct heap_buf *out, struct bytes content)
{
    struct bytes header = header_part(content);
    ptrdiff_t at = bytes_find(header, BYTES("\r\nMIME-Version: 1.0\r\n"));

    heap_buf_put(out, bytes_head(content, at < 0 ? header.size : (size_t)at));
    heap_buf_put(out, bytes_after(content, header.size));
}

bool letter_is_content(const struct letter *l, struct bytes content)
{
    struct bytes body = heap_buf_bytes(&l->body);

    return bytes_equal(body, content) ||
           (bytes_has_8bit(body) && !bytes_has_8bit(content) && bytes_equal(converted(body, true), content));
}

void content_check_converted(const struct letter *l, struct bytes content, const char *where)
{
    struct bytes body = heap_buf_bytes(&l->body);
    bool all = bytes_has_8bit(body) && !bytes_has_8bit(content);
    bool header = bytes_has_8bit(header_part(body)) && !bytes_has_8bit(header_part(content));
    struct heap_buf came = {0};
    struct letter wanted = *l;

    if (!all && !header) {
        content_check(l, content, where);
        return;
    }
    /* Only the header was in the way: a body that came as it was sent was not converted. */
    if (bytes_equal(bytes_after(content, header_part(content).size), bytes_after(body, header_part(body).size)))
        all = false;
    wanted.body = (struct heap_buf){0};
    if (l->is_dsn) {
        heap_buf_put(&wanted.body, converted(body, all));
        content_check(&wanted, content, where);
    } else {
        struct heap_buf sent = {0}; /* what Bcc names was gone before anything was converted */
        put_without_bcc(&sent, body);
        put_without_mime(&wanted.body, converted(l->submitted ? heap_buf_bytes(&sent) : body, all));
        heap_buf_free(&sent);
        put_without_mime(&came, content);
        content_check(&wanted, heap_buf_bytes(&came), where);
    }
    heap_buf_free(&wanted.body);
    heap_buf_free(&came);
}
