/* Addresses in any octets: what is accepted must be stable: its canonical form parses to itself. */
#include "smtp/address.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct address *a)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf text = BUF(room);
    struct address b;

    if (a->text.size == 0 || a->domain_kind == ADDRESS_DOMAIN_NONE)
        return;
    ASSERT(a->text.size == a->local_part.size + 1 + a->domain.size);
    struct result r = address_parse_mailbox(a->text, ADDRESS_UTF8, &text, &b);
    ASSERT(is_ok(r));
    ASSERT(bytes_equal(a->text, b.text) && a->domain_kind == b.domain_kind);
    ASSERT(bytes_equal(a->local_part, b.local_part) && bytes_equal(a->domain, b.domain));
    text.size = 0;
    r = address_put_unquoted(&text, a->local_part);
    ASSERT(is_ok(r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    uint8_t room[ADDRESS_SIZE_MAX], wide[8192], back[8192];
    struct address a;

    for (unsigned allow = 0; allow < 8; allow++) {
        struct buf text = BUF(room);
        if (is_ok(address_parse_path(in, allow, &text, &a)))
            again(&a);
        text.size = 0;
        if (is_ok(address_parse_mailbox(in, allow, &text, &a)))
            again(&a);
    }
    (void)helo_is_valid(in);
    (void)ipv6_is_valid(in);
    (void)address_literal_kind(in);
    struct buf decoded = BUF(back), encoded = BUF(wide);
    if (is_ok(xtext_decode(in, &decoded)) && is_ok(xtext_encode(buf_bytes(&decoded), &encoded))) {
        uint8_t room2[8192];
        struct buf twice = BUF(room2);
        struct result r = xtext_decode(buf_bytes(&encoded), &twice);
        ASSERT(is_ok(r) && bytes_equal(buf_bytes(&twice), buf_bytes(&decoded)));
    }
    return 0;
}
