#include "daemon/outbound/findings.h"

enum { RECORDS_SHOWN_MAX = 8, LINE_SIZE_MAX = 768 };

void findings_init(struct findings *f, uint8_t room[FINDINGS_SIZE_MAX])
{
    *f = (struct findings){.found = 0};
    buf_init(&f->text, room, FINDINGS_SIZE_MAX);
}

static RESULT printable_put(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        TRY(buf_put_octet(out, text.data[i] <= ' ' || text.data[i] >= 0x7f ? '?' : text.data[i]));
    return OK;
}

static RESULT record_put(struct buf *out, const struct dns_answer *a, unsigned i)
{
    if (a->type != DNS_TYPE_MX)
        return dns_address_put(out, &a->address[i]);
    TRY(buf_put_u64(out, a->mx[i].preference));
    TRY(buf_put_octet(out, ' '));
    return a->mx[i].host.size == 0 ? buf_put_octet(out, '.') : printable_put(out, dns_name_bytes(&a->mx[i].host));
}

static RESULT answer_put(struct buf *out, struct bytes name, const struct dns_answer *a)
{
    TRY(buf_put_str(out, a->type == DNS_TYPE_MX ? "dns MX " : a->type == DNS_TYPE_A ? "dns A " : "dns AAAA "));
    TRY(printable_put(out, name));
    TRY(buf_put_str(out, ": "));
    if (a->status != DNS_OK)
        return buf_put_str(out, dns_status_text(a->status));
    for (unsigned i = 0; i < a->count && i < RECORDS_SHOWN_MAX; i++) {
        TRY(i > 0 ? buf_put_str(out, ", ") : OK);
        TRY(record_put(out, a, i));
    }
    if (a->count > RECORDS_SHOWN_MAX)
        TRY(buf_put_str(out, ", …"));
    return a->authentic ? buf_put_str(out, " (DNSSEC)") : OK;
}

static void line_add(struct findings *f, struct result r, const struct buf *line)
{
    if (is_ok(r) && line->size < buf_left(&f->text)) {
        (void)!is_ok(buf_put(&f->text, buf_bytes(line)));
        (void)!is_ok(buf_put_octet(&f->text, '\n'));
    }
}

void findings_answer(struct findings *f, struct bytes name, const struct dns_answer *answer)
{
    uint8_t room[LINE_SIZE_MAX];
    struct buf line = BUF(room);

    if (answer->status == DNS_OK)
        f->found++;
    else if (dns_status_is_temporary(answer->status))
        f->failed++;
    else
        f->none++;
    if (answer->type == DNS_TYPE_MX || answer->type == DNS_TYPE_A || answer->type == DNS_TYPE_AAAA)
        line_add(f, answer_put(&line, name, answer), &line);
}

static RESULT dial_put(
    struct buf *out, struct bytes host, const struct dns_address *address, uint16_t port, const char *why)
{
    bool literal = host.size > 0 && host.data[0] == '[';

    TRY(buf_put_str(out, "dial "));
    if (!literal)
        TRY(printable_put(out, host));
    if (address->family != 0) {
        TRY(buf_put_str(out, literal ? "[" : " ["));
        TRY(dns_address_put(out, address));
        TRY(buf_put_str(out, "]:"));
        TRY(buf_put_u64(out, port));
    }
    TRY(buf_put_str(out, ": "));
    return buf_put_str(out, why);
}

void findings_dial(
    struct findings *f, struct bytes host, const struct dns_address *address, uint16_t port, const char *why)
{
    uint8_t room[LINE_SIZE_MAX];
    struct buf line = BUF(room);

    line_add(f, dial_put(&line, host, address, port, why), &line);
}
