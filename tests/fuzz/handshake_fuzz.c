/* What may be signed: whatever is let through has one of the two forms, by its size and its first octets. */
#include "daemon/base/base.h"
#include "daemon/keys/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct bytes content = {data + 2, size - 2};
    if (!handshake_may_sign(content, (uint32_t)(data[0] << 8 | data[1])))
        return 0;
    ASSERT(content.size >= 100 && content.size <= HANDSHAKE_CONTENT_SIZE_MAX);
    ASSERT(memcmp(content.data + 64, "TLS 1.3, server", 15) == 0 || content.data[64] == 3);
    return 0;
}
