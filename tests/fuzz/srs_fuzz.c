/* SRS: any address that can be forwarded finds back to itself (an SRS1 to the SRS0 that it guards); any local part is answered, and
 * what is taken for ours can be forwarded again. The first octet chooses. */
#include "smtp/address.h"
#include "smtp/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct walltime NOW = {INT64_C(1795300000000)};
static const struct srs OURS = {.keys = {BYTES_INIT("tops3cr3t"), BYTES_INIT("older")},
    .key_count = 2,
    .domain = BYTES_INIT("ours.test"),
    .max_age_days = 21};

static void forth_and_back(struct bytes text)
{
    uint8_t room[ADDRESS_SIZE_MAX], there_room[ADDRESS_SIZE_MAX], back_room[ADDRESS_SIZE_MAX];
    struct buf canonical = BUF(room), there = BUF(there_room), back = BUF(back_room);
    struct address address;

    if (!is_ok(address_parse_mailbox(text, ADDRESS_UTF8, &canonical, &address)) ||
        !is_ok(srs_forward(&OURS, NOW, address.text, &there)))
        return;
    struct bytes made = buf_bytes(&there);
    ptrdiff_t at = bytes_rindex(made, '@');
    ASSERT(bytes_equal(bytes_after(made, (size_t)at + 1), OURS.domain) && srs_is_form(bytes_head(made, (size_t)at)));
    struct result r = srs_reverse(&OURS, NOW, bytes_head(made, (size_t)at), &back);
    ASSERT(is_ok(r));
    ASSERT(bytes_equal(buf_bytes(&back), address.text) || srs_is_form(address.local_part));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf out = BUF(room);
    struct bytes in = {data, size};

    if (size == 0)
        return 0;
    if (data[0] == 'f')
        forth_and_back(bytes_after(in, 1));
    else if (is_ok(srs_reverse(&OURS, NOW, bytes_after(in, 1), &out)))
        forth_and_back(buf_bytes(&out));
    return 0;
}
