#include "smtp/transfer.h"

#include "smtp/base64.h"

void transfer_init(struct transfer *t, enum transfer_kind kind)
{
    *t = (struct transfer){.kind = kind};
}

static void put(struct buf *out, struct bytes text)
{
    struct result r = buf_put(out, text);
    ASSERT(is_ok(r));
}

static void put_octet(struct buf *out, uint8_t octet)
{
    struct result r = buf_put_octet(out, octet);
    ASSERT(is_ok(r));
}

bool transfer_is_escaped(uint8_t octet)
{
    return (octet < ' ' && octet != '\t') || octet > '~' || octet == '=';
}

/* One octet of quoted-printable. One column is kept for the soft line break. */
static void qp_put(struct transfer *t, uint8_t octet, bool escape, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t triple[3] = {'=', (uint8_t)hex[octet >> 4], (uint8_t)hex[octet & 15]};

    /* A hyphen may begin a delimiter that the content, cut elsewhere, did not have. */
    if (t->column + (escape ? 3 : 1) > TRANSFER_LINE_SIZE_MAX - 1) {
        put(out, BYTES("=\r\n"));
        t->column = 0;
    }
    escape = escape || (octet == '-' && t->column == 0);
    put(out, escape ? (struct bytes){triple, 3} : (struct bytes){&octet, 1});
    t->column = (uint8_t)(t->column + (escape ? 3 : 1));
}

static void blank_put(struct transfer *t, bool escape, struct buf *out)
{
    if (t->blank != 0)
        qp_put(t, t->blank, escape, out);
    t->blank = 0;
}

static void group_put(struct transfer *t, struct buf *out)
{
    if (t->column == TRANSFER_LINE_SIZE_MAX) {
        put(out, BYTES("\r\n"));
        t->column = 0;
    }
    struct result r = base64_encode((struct bytes){t->group, t->group_size}, out);
    ASSERT(is_ok(r));
    t->column += 4;
    t->group_size = 0;
}

void transfer_octet(struct transfer *t, uint8_t octet, struct buf *out)
{
    switch (t->kind) {
    case TRANSFER_PLAIN:
        put_octet(out, octet);
        break;
    case TRANSFER_QP:
        blank_put(t, false, out);
        if (octet == ' ' || octet == '\t')
            t->blank = octet;
        else
            qp_put(t, octet, transfer_is_escaped(octet), out);
        break;
    case TRANSFER_BASE64:
        t->group[t->group_size++] = octet;
        if (t->group_size == sizeof t->group)
            group_put(t, out);
        break;
    }
}

void transfer_line(struct transfer *t, struct buf *out)
{
    if (t->kind == TRANSFER_BASE64) {
        transfer_octet(t, '\r', out);
        transfer_octet(t, '\n', out);
        return;
    }
    blank_put(t, true, out);
    put(out, BYTES("\r\n"));
    t->column = 0;
}

void transfer_end(struct transfer *t, struct buf *out)
{
    if (t->kind == TRANSFER_BASE64 && t->group_size > 0)
        group_put(t, out);
    blank_put(t, true, out);
}

uint64_t transfer_size_max(enum transfer_kind kind, uint64_t size, uint64_t lines, uint64_t escaped)
{
    switch (kind) {
    case TRANSFER_PLAIN:
        break;
    case TRANSFER_QP: /* each line may end with a blank and begin with a hyphen; each soft break takes 3 and may make one */
        size += 2 * escaped + 4 * (lines + 1);
        return size + 5 * (size / (TRANSFER_LINE_SIZE_MAX - 3) + 1);
    case TRANSFER_BASE64:
        size = (size + 2) / 3 * 4;
        return size + 2 * (size / TRANSFER_LINE_SIZE_MAX + 1);
    }
    return size;
}
