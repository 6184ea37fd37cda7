/* Address lists: any octets, whole and in pieces, give the same mailboxes or the same error; each mailbox is one that the
 * envelope's own parser takes, and reads back as itself from a list. */
#include "smtp/address_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t run(struct bytes in, size_t step, bool check)
{
    struct address_list list;
    struct address_mailbox mailbox;
    uint64_t hash = 1;
    struct result r = FAIL(CODE_MORE, "");

    address_list_init(&list, BYTES("o.test"));
    while (in.size > 0 && r.code != CODE_SYNTAX) {
        struct bytes piece = bytes_head(in, step);

        in = bytes_after(in, piece.size);
        while (is_ok(r = address_list_feed(&list, &piece, &mailbox)))
            hash = bytes_hash(mailbox.address.text, hash);
        ASSERT(r.code == CODE_SYNTAX || piece.size == 0);
    }
    while (r.code != CODE_SYNTAX && is_ok(r = address_list_end(&list, &mailbox))) {
        hash = bytes_hash(mailbox.address.text, hash);
        if (check) {
            uint8_t room[ADDRESS_SIZE_MAX];
            struct buf text = BUF(room);
            struct address again;

            ASSERT(is_ok(address_parse_mailbox(mailbox.address.text, ADDRESS_UTF8, &text, &again)));
            ASSERT(bytes_equal(again.text, mailbox.address.text));
            ASSERT(mailbox.bare_end <= list.offset);
        }
    }
    ASSERT(r.code == CODE_SYNTAX || r.code == CODE_GONE);
    return r.code == CODE_SYNTAX ? ~address_list_error_offset(&list) : hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    uint64_t whole = run(in, SIZE_MAX, true);

    ASSERT(whole == run(in, 1, false));
    ASSERT(whole == run(in, 3, false));
    return 0;
}
