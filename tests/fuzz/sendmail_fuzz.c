/* A program's message on sendmail -t: whole and octet by octet it reads the same; its lines end with CRLF and hold no NUL; each
 * recipient is an address that the envelope's parser takes; what is handed on has a header without Bcc.
 * First octet: -i; the rest is standard input. */
#include "smtp/address.h"
#include "smtp/header.h"
#include "tests/fuzz/sendmail_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_BOUND = 60000 };

static struct result take(struct sendmail_input *out, bool ignore_dots, struct bytes in, size_t step)
{
    struct sendmail_reader reader = {.ignore_dots = ignore_dots};
    struct result r = OK;

    while (is_ok(r) && in.size > 0 && !reader.ended) {
        r = sendmail_reader_take(&reader, out, bytes_head(in, step), SIZE_BOUND);
        in = bytes_after(in, step);
    }
    return is_ok(r) ? sendmail_reader_end(&reader, out, SIZE_BOUND) : r;
}

static void lines_check(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        ASSERT(text.data[i] != 0);
        ASSERT(text.data[i] != '\r' || (i + 1 < text.size && text.data[i + 1] == '\n'));
        ASSERT(text.data[i] != '\n' || (i > 0 && text.data[i - 1] == '\r'));
    }
    ASSERT(text.size == 0 || text.data[text.size - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sendmail_input pieces = {.data = NULL};
    struct header_field field;
    struct sendmail s;
    struct bytes rest;

    if (size == 0)
        return 0;
    kit_open(&s);
    s.options.from_header = true;
    s.options.ignore_dots = data[0] & 1;
    struct bytes in = {data + 1, size - 1};
    struct result whole = take(&s.input, s.options.ignore_dots, in, SIZE_MAX);
    struct result apart = take(&pieces, s.options.ignore_dots, in, 1);

    ASSERT(is_ok(whole) == is_ok(apart));
    if (is_ok(whole)) {
        ASSERT(bytes_equal(sendmail_input_bytes(&s.input), sendmail_input_bytes(&pieces)));
        ASSERT(s.input.has_8bit == pieces.has_8bit);
        lines_check(sendmail_input_bytes(&s.input));
        if (sendmail_envelope_sender(&s) == EX_OK && sendmail_envelope_make(&s) == EX_OK) {
            ASSERT(s.envelope.recipient_count > 0 && s.envelope.recipient_count <= RCPT_COUNT_MAX);
            for (size_t i = 0; i < s.envelope.recipient_count; i++) {
                static uint8_t room[ADDRESS_SIZE_MAX];
                struct buf text = BUF(room);
                struct address address;
                ASSERT(
                    is_ok(address_parse_mailbox(s.envelope.recipients[i].forward_path, ADDRESS_UTF8, &text, &address)));
            }
            ASSERT(sendmail_message_make(&s) == EX_OK);
            rest = sendmail_input_bytes(&s.message);
            lines_check(rest);
            while (is_ok(header_next(&rest, &field)))
                ASSERT(header_kind_of(field.name) != HEADER_BCC && header_kind_of(field.name) != HEADER_RESENT_BCC);
        }
    }
    sendmail_input_free(&pieces);
    kit_close(&s);
    return 0;
}
