/* What a balancer, or somebody in its place, sends in front of a session: CODE_MORE for every part of a header that is taken
 * in the end, the same header however much follows it, and nothing eaten that is not there. */
#include "daemon/inbound/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {data, size};
    struct proxy_header header, part;
    size_t eaten, part_eaten;
    struct result r = proxy_parse(in, &header, &eaten);

    if (r.code == CODE_MORE)
        ASSERT(size < PROXY_SIZE_MAX);
    if (!is_ok(r)) {
        ASSERT(!header.known);
        return 0;
    }
    ASSERT(eaten > 0 && eaten <= size && eaten <= PROXY_SIZE_MAX);
    for (size_t i = 0; i < eaten; i++)
        ASSERT(proxy_parse(bytes_head(in, i), &part, &part_eaten).code == CODE_MORE);
    ASSERT(is_ok(proxy_parse(bytes_head(in, eaten), &part, &part_eaten)) && part_eaten == eaten);
    ASSERT(part.known == header.known && part.port == header.port && bytes_equal(part.text, header.text));
    ASSERT(memcmp(part.address, header.address, sizeof part.address) == 0);
    return 0;
}
