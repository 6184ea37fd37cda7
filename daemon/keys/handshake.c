#include "daemon/keys/handshake.h"

static bool is_verify(struct bytes content)
{
    static const char CONTEXT[] = "TLS 1.3, server CertificateVerify"; /* its NUL is the separator */
    enum { PAD_SIZE = 64, SHA256_SIZE = 32, SHA384_SIZE = 48 };
    const size_t head = PAD_SIZE + sizeof CONTEXT;

    if (content.size != head + SHA256_SIZE && content.size != head + SHA384_SIZE)
        return false;
    for (size_t i = 0; i < PAD_SIZE; i++)
        if (content.data[i] != ' ')
            return false;
    return memcmp(content.data + PAD_SIZE, CONTEXT, sizeof CONTEXT) == 0;
}

/* RFC 8422 5.4: curve type 3 (named), the curve, and its point with its size. */
static bool is_key_exchange(struct bytes content)
{
    static const struct {
        uint16_t curve;
        uint8_t point_size;
    } CURVES[] = {{0x0017, 65}, {0x0018, 97}, {0x0019, 133}, {0x001d, 32}, {0x001e, 56}};
    enum { RANDOMS_SIZE = 64, HEAD_SIZE = 4, NAMED_CURVE = 3 };
    struct bytes rest;

    if (content.size < RANDOMS_SIZE + HEAD_SIZE)
        return false;
    rest = bytes_after(content, RANDOMS_SIZE);
    if (rest.data[0] != NAMED_CURVE)
        return false;
    for (size_t i = 0; i < COUNT_OF(CURVES); i++)
        if ((rest.data[1] << 8 | rest.data[2]) == CURVES[i].curve)
            return rest.data[3] == CURVES[i].point_size && rest.size == (size_t)HEAD_SIZE + CURVES[i].point_size;
    return false;
}

bool handshake_may_sign(struct bytes content, uint32_t scheme)
{
    bool pkcs1 = (scheme & 0xff) == 0x01;

    return is_key_exchange(content) || (!pkcs1 && is_verify(content));
}
