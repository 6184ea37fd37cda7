/* Conversion of any content. The first octet says what is converted, the second how the content is cut.
 * Held: however it is cut, the same comes out; no more than the survey promised; where bodies are converted too, octets above 127
 * never, and a second conversion finds nothing to do. */
#include "tests/support/convert_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IN_SIZE_MAX = 65536, OUT_SIZE_MAX = 16 * IN_SIZE_MAX };

static struct convert convert;
static uint8_t whole_room[OUT_SIZE_MAX], parted_room[OUT_SIZE_MAX], again_room[OUT_SIZE_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF(whole_room), parted = BUF(parted_room), again = BUF(again_room);

    if (size < 2 || size > IN_SIZE_MAX)
        return 0;
    struct bytes in = {data + 2, size - 2};
    bool bodies = (data[0] & 1) == 0;
    enum convert_verdict verdict = convert_run(&convert, in, bodies, IN_SIZE_MAX, &whole);
    ASSERT(convert_run(&convert, in, bodies, 1 + (size_t)data[1], &parted) == verdict);
    ASSERT(bytes_equal(buf_bytes(&whole), buf_bytes(&parted)));
    if (verdict != CONVERT_OK || !bodies)
        return 0;
    ASSERT(!bytes_has_8bit(buf_bytes(&whole)));
    if (bytes_index(in, 0) != BYTES_NOT_FOUND) /* no listener takes it; where nobody reads it, it stays */
        return 0;
    ASSERT(convert_run(&convert, buf_bytes(&whole), true, OUT_SIZE_MAX, &again) == CONVERT_OK);
    ASSERT(bytes_equal(buf_bytes(&whole), buf_bytes(&again)));
    return 0;
}
