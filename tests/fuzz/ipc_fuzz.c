/* Frames from a process that strangers took over: two octets choose the way, the rest is the channel's stream. What
 * decodes must encode again to the same octets. */
#include "daemon/ipc/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t room[FRAME_SIZE_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    size_t frame_size = 0;

    if (size < 2)
        return 0;
    enum ipc_role from = (enum ipc_role)(data[0] % ROLE_COUNT), to = (enum ipc_role)(data[1] % ROLE_COUNT);
    in = bytes_after(in, 2);
    while (is_ok(msg_frame_size(in, &frame_size))) {
        struct bytes frame = bytes_head(in, frame_size);
        struct msg m;
        struct buf out = BUF(room);
        if (is_ok(msg_decode(frame, from, to, &m))) {
            struct result r = msg_encode(&out, &m);
            ASSERT(is_ok(r));
            ASSERT(bytes_equal(buf_bytes(&out), frame));
        }
        in = bytes_after(in, frame_size);
    }
    return 0;
}
