/* convert_filter [header]: converts the messages on standard input, for convert_email_check.py.
 *
 * In: 4 octets of size (high first), the message; and so on. Out, for each: the verdict, 4 octets of size, the new message. With
 * "header" only the header is converted. Each message is converted whole and in portions, which must come to the same. */
#include "tests/support/convert_kit.h"

#include <stdio.h>

enum { MESSAGE_SIZE_MAX = 4 * 1024 * 1024, OUT_SIZE_MAX = 4 * MESSAGE_SIZE_MAX };

static struct convert convert;
static uint8_t message[MESSAGE_SIZE_MAX], whole[OUT_SIZE_MAX], parted[OUT_SIZE_MAX];

static bool message_read(struct bytes *in_out)
{
    uint8_t size[4];

    if (fread(size, 1, 4, stdin) != 4)
        return false;
    in_out->data = message;
    in_out->size = (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
    return in_out->size <= sizeof message && fread(message, 1, in_out->size, stdin) == in_out->size;
}

int main(int argc, char **argv)
{
    static const size_t portions[] = {1, 7, 61, 1000, 65536};
    bool bodies = argc < 2 || strcmp(argv[1], "header") != 0;
    struct bytes in;

    while (message_read(&in)) {
        struct buf out = BUF(whole);
        enum convert_verdict verdict = convert_run(&convert, in, bodies, in.size + 1, &out);
        for (size_t i = 0; i < COUNT_OF(portions); i++) {
            struct buf again = BUF(parted);
            ASSERT(convert_run(&convert, in, bodies, portions[i], &again) == verdict);
            ASSERT(bytes_equal(buf_bytes(&out), buf_bytes(&again)));
        }
        uint8_t head[5] = {(uint8_t)verdict, (uint8_t)(out.size >> 24), (uint8_t)(out.size >> 16),
            (uint8_t)(out.size >> 8), (uint8_t)out.size};
        if (fwrite(head, 1, sizeof head, stdout) != sizeof head || fwrite(whole, 1, out.size, stdout) != out.size)
            return 1;
    }
    return 0;
}
