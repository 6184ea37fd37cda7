#include "daemon/keys/ring.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "daemon/edge/tls_store.h"

enum { PEM_SIZE_MAX = 262144 };

struct ring_key {
    uint8_t id[TLS_KEY_ID_SIZE];
    EVP_PKEY *key;
};

struct ring {
    struct ring_key keys[TLS_PAIRS_MAX];
    size_t count;
    int64_t expires;
    bool chains_hold;
    uint8_t *octets; /* the public pack */
    struct buf pack;
};

static void chain_look(struct ring *ring, X509 *leaf, BIO *rest)
{
    X509 *below = leaf, *above;
    struct tm end;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &end) == 1 && timegm(&end) < ring->expires)
        ring->expires = timegm(&end);
    while ((above = PEM_read_bio_X509(rest, NULL, NULL, NULL)) != NULL) {
        ring->chains_hold = ring->chains_hold && X509_check_issued(above, below) == X509_V_OK &&
                            X509_verify(below, X509_get0_pubkey(above)) == 1;
        if (below != leaf)
            X509_free(below);
        below = above;
    }
    if (below != leaf)
        X509_free(below);
}

static RESULT pair_check(X509 *leaf, EVP_PKEY *key, struct ring_key *out)
{
    if (leaf == NULL)
        return FAIL(CODE_SYNTAX, "the certificate cannot be read");
    if (key == NULL)
        return FAIL(CODE_SYNTAX, "the private key cannot be read");
    if (X509_check_private_key(leaf, key) != 1)
        return FAIL(CODE_SYNTAX, "the private key does not belong to the certificate");
    if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC"))
        return FAIL(CODE_SYNTAX, "keys that are not RSA or ECDSA cannot be used");
    return tls_key_id(X509_get0_pubkey(leaf), out->id) ? OK : FAIL(CODE_FULL, "out of memory");
}

static RESULT pair_take(struct ring *ring, struct bytes certificate, struct bytes pem)
{
    BIO *certificates = BIO_new_mem_buf(certificate.data, (int)certificate.size);
    BIO *secret = BIO_new_mem_buf(pem.data, (int)pem.size);
    X509 *leaf = certificates == NULL ? NULL : PEM_read_bio_X509(certificates, NULL, NULL, NULL);
    /* an empty password: an encrypted key must fail, not ask at the terminal */
    EVP_PKEY *key = secret == NULL ? NULL : PEM_read_bio_PrivateKey(secret, NULL, NULL, (void *)"");
    struct ring_key *place = &ring->keys[ring->count];
    struct result r =
        ring->count == TLS_PAIRS_MAX ? FAIL(CODE_FULL, "too many certificates") : pair_check(leaf, key, place);

    if (is_ok(r)) {
        place->key = key;
        key = NULL;
        ring->count++;
        chain_look(ring, leaf, certificates);
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    BIO_free(secret);
    BIO_free(certificates);
    ERR_clear_error(); /* the end of a PEM file leaves "no start line" */
    return r;
}

/* Pair by pair, and beside it the pack without the keys. */
static RESULT ring_fill(struct ring *ring, struct bytes pack)
{
    struct wire_reader in = wire_reader_over(pack);
    uint32_t ticket_count = wire_get_u32(&in);

    TRY(wire_put_u32(&ring->pack, ticket_count));
    for (uint32_t i = 0; i < ticket_count && is_ok(wire_check(&in)); i++)
        TRY(wire_put_bytes(&ring->pack, wire_get_bytes(&in, TLS_TICKET_KEY_SIZE)));
    uint32_t count = wire_get_u32(&in);
    TRY(wire_put_u32(&ring->pack, count));
    for (uint32_t i = 0; i < count && is_ok(wire_check(&in)); i++) {
        struct bytes certificate = wire_get_bytes(&in, PEM_SIZE_MAX);
        struct bytes key = wire_get_bytes(&in, PEM_SIZE_MAX);
        TRY(wire_check(&in));
        TRY(pair_take(ring, certificate, key));
        TRY(wire_put_bytes(&ring->pack, certificate));
        TRY(wire_put_bytes(&ring->pack, BYTES_NONE));
    }
    TRY(wire_end(&in));
    return ring->count > 0 ? OK : FAIL(CODE_SYNTAX, "there is no certificate");
}

RESULT ring_new(struct bytes pack, struct ring **ring_out)
{
    struct ring *ring = mem_take_zero(sizeof *ring);

    *ring_out = NULL;
    if (ring == NULL || (ring->octets = mem_take(pack.size + 1)) == NULL) {
        mem_free(ring);
        return FAIL(CODE_FULL, "out of memory");
    }
    buf_init(&ring->pack, ring->octets, pack.size + 1);
    ring->expires = INT64_MAX;
    ring->chains_hold = true;
    struct result r = ring_fill(ring, pack);
    if (!is_ok(r))
        ring_free(&ring);
    *ring_out = ring;
    return r;
}

void ring_free(struct ring **ring)
{
    struct ring *q = *ring;

    if (q == NULL)
        return;
    for (size_t i = 0; i < q->count; i++)
        EVP_PKEY_free(q->keys[i].key); /* OpenSSL wipes what is secret in it */
    explicit_bzero(q->octets, q->pack.size);
    mem_free(q->octets);
    mem_free(q);
    *ring = NULL;
}

struct bytes ring_public(const struct ring *ring)
{
    return buf_bytes(&ring->pack);
}

int64_t ring_expires(const struct ring *ring)
{
    return ring->expires;
}

bool ring_chains_hold(const struct ring *ring)
{
    return ring->chains_hold;
}

static EVP_PKEY *key_find(const struct ring *ring, struct bytes id)
{
    for (size_t i = 0; i < ring->count; i++)
        if (bytes_equal(id, (struct bytes){ring->keys[i].id, TLS_KEY_ID_SIZE}))
            return ring->keys[i].key;
    return NULL;
}

bool ring_has(const struct ring *ring, struct bytes key)
{
    return key_find(ring, key) != NULL;
}

/* A scheme of TLS as OpenSSL has it. */
static bool scheme_read(uint32_t scheme, bool *rsa_out, bool *pss_out, const EVP_MD **digest_out)
{
    uint32_t hash = scheme >> 8;

    *pss_out = scheme >= 0x0804 && scheme <= 0x0806;
    if (*pss_out)
        hash = scheme & 0xff;
    *rsa_out = *pss_out || (scheme & 0xff) == 0x01;
    if (!*rsa_out && (scheme & 0xff) != 0x03)
        return false;
    *digest_out = hash == 4 ? EVP_sha256() : hash == 5 ? EVP_sha384() : hash == 6 ? EVP_sha512() : NULL;
    return *digest_out != NULL;
}

bool ring_sign(const struct ring *ring, struct bytes key, uint32_t scheme, struct bytes content,
    uint8_t room[TLS_SIGNATURE_SIZE_MAX], size_t *size_out)
{
    EVP_PKEY *found = key_find(ring, key);
    EVP_PKEY_CTX *parameters = NULL;
    const EVP_MD *digest = NULL;
    bool rsa, pss;

    if (found == NULL || !scheme_read(scheme, &rsa, &pss, &digest) || EVP_PKEY_is_a(found, "RSA") != rsa)
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    *size_out = TLS_SIGNATURE_SIZE_MAX;
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, &parameters, digest, NULL, found) == 1 &&
                (!pss || (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) > 0 &&
                             EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) > 0)) &&
                EVP_DigestSign(ctx, room, size_out, content.data, content.size) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}
