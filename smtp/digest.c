#include "smtp/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

void digest_sha256(struct bytes in, uint8_t out[DIGEST_SIZE])
{
    int good = EVP_Digest(in.size > 0 ? (const void *)in.data : "", in.size, out, NULL, EVP_sha256(), NULL);

    ASSERT(good == 1);
}

static void hmac(const EVP_MD *with, struct bytes key, struct bytes in, uint8_t *out, unsigned out_size)
{
    unsigned size = 0;

    ASSERT(key.size <= INT_MAX);
    const unsigned char *made = HMAC(with, key.size > 0 ? (const void *)key.data : "", (int)key.size,
        in.size > 0 ? in.data : (const uint8_t *)"", in.size, out, &size);
    ASSERT(made != NULL && size == out_size);
}

void digest_hmac(struct bytes key, struct bytes in, uint8_t out[DIGEST_SIZE])
{
    hmac(EVP_sha256(), key, in, out, DIGEST_SIZE);
}

void digest_hmac_sha1(struct bytes key, struct bytes in, uint8_t out[DIGEST_SHA1_SIZE])
{
    hmac(EVP_sha1(), key, in, out, DIGEST_SHA1_SIZE);
}

void digest_stretch(struct bytes password, struct bytes salt, uint32_t iterations, uint8_t out[DIGEST_SIZE])
{
    ASSERT(password.size <= INT_MAX && salt.size <= INT_MAX && iterations > 0 && iterations <= INT_MAX);
    int good = PKCS5_PBKDF2_HMAC(password.size > 0 ? (const char *)password.data : "", (int)password.size, salt.data,
        (int)salt.size, (int)iterations, EVP_sha256(), DIGEST_SIZE, out);
    ASSERT(good == 1);
}

bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE])
{
    return CRYPTO_memcmp(a, b, DIGEST_SIZE) == 0;
}

void digest_random(uint8_t *out, size_t size)
{
    ASSERT(size <= INT_MAX);
    int good = RAND_bytes(out, (int)size);
    ASSERT(good == 1); /* without it nonces and salts would be worth nothing */
}
