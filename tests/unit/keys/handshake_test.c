/* handshake: what the keys process signs, and what it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/keys/handshake.h"

enum { PSS_SHA256 = 0x0804, ECDSA_SHA256 = 0x0403, PKCS1_SHA256 = 0x0401 };

static uint8_t room[1024];

/* 64 spaces, the words with their NUL, and a hash. */
static struct bytes verify(const char *words, size_t hash_size)
{
    size_t size = strlen(words) + 1;

    memset(room, ' ', 64);
    memcpy(room + 64, words, size);
    memset(room + 64 + size, 7, hash_size);
    return (struct bytes){room, 64 + size + hash_size};
}

static struct bytes exchange(uint8_t type, uint16_t curve, uint8_t point_size, size_t point_is)
{
    memset(room, 9, sizeof room);
    room[64] = type;
    room[65] = (uint8_t)(curve >> 8);
    room[66] = (uint8_t)curve;
    room[67] = point_size;
    return (struct bytes){room, 68 + point_is};
}

static void what_servers_sign(void **state)
{
    static const char WORDS[] = "TLS 1.3, server CertificateVerify";

    (void)state;
    assert_true(handshake_may_sign(verify(WORDS, 32), ECDSA_SHA256));
    assert_true(handshake_may_sign(verify(WORDS, 48), PSS_SHA256));
    assert_true(handshake_may_sign(exchange(3, 0x17, 65, 65), ECDSA_SHA256));
    assert_true(handshake_may_sign(exchange(3, 0x18, 97, 97), PKCS1_SHA256));
    assert_true(handshake_may_sign(exchange(3, 0x19, 133, 133), PSS_SHA256));
    assert_true(handshake_may_sign(exchange(3, 0x1d, 32, 32), PSS_SHA256));
    assert_true(handshake_may_sign(exchange(3, 0x1e, 56, 56), PSS_SHA256));
    assert_in_range(exchange(3, 0x19, 133, 133).size, 1, HANDSHAKE_CONTENT_SIZE_MAX);
}

static void and_nothing_else(void **state)
{
    static const char WORDS[] = "TLS 1.3, server CertificateVerify";

    (void)state;
    assert_false(handshake_may_sign(BYTES_NONE, ECDSA_SHA256));
    assert_false(handshake_may_sign(verify(WORDS, 32), PKCS1_SHA256)); /* never in TLS 1.3 */
    assert_false(handshake_may_sign(verify("TLS 1.3, client CertificateVerify", 32), ECDSA_SHA256));
    assert_false(handshake_may_sign(verify(WORDS, 31), ECDSA_SHA256));
    assert_false(handshake_may_sign(verify(WORDS, 33), ECDSA_SHA256));
    assert_false(handshake_may_sign(verify(WORDS, 64), ECDSA_SHA256));
    for (size_t i = 0; i < 64; i++) {
        struct bytes content = verify(WORDS, 32);
        room[i] = 0x30; /* the first octet of a certificate */
        assert_false(handshake_may_sign(content, ECDSA_SHA256));
    }
    assert_false(handshake_may_sign(exchange(1, 0x17, 65, 65), ECDSA_SHA256)); /* explicit curve */
    assert_false(handshake_may_sign(exchange(3, 0x16, 65, 65), ECDSA_SHA256));
    assert_false(handshake_may_sign(exchange(3, 0x17, 64, 64), ECDSA_SHA256));
    assert_false(handshake_may_sign(exchange(3, 0x17, 65, 64), ECDSA_SHA256));
    assert_false(handshake_may_sign(exchange(3, 0x17, 65, 66), ECDSA_SHA256));
    for (size_t size = 0; size < 133; size++)
        assert_false(handshake_may_sign(bytes_head(exchange(3, 0x17, 65, 65), size), ECDSA_SHA256));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_servers_sign), cmocka_unit_test(and_nothing_else)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
