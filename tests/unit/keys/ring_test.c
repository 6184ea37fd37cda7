/* ring: keys that belong to their certificates, what goes on without them, and whole handshakes whose signatures are made by a ring. */
#include "tests/unit/edge/tls_meeting.h"

#include "daemon/edge/tls_remote.h"
#include "daemon/keys/handshake.h"
#include "daemon/keys/ring.h"

static struct pair ec, rsa, ended;
static struct {
    unsigned asked, strange;
    uint32_t scheme;
    bool silent;
} signer;

static int setup(void **state)
{
    (void)state;
    pair_make(&ec, false, "DNS:mail.example.org", 90);
    pair_make(&rsa, true, "DNS:mail.example.org", 60);
    pair_make(&ended, false, "DNS:ended.example", -1);
    return 0;
}

static bool sign(void *owner, const struct tls_signing *what, uint8_t out[TLS_SIGNATURE_SIZE_MAX], size_t *size_out)
{
    signer.asked++;
    signer.scheme = what->scheme;
    signer.strange += handshake_may_sign(what->content, what->scheme) ? 0 : 1;
    return !signer.silent &&
           ring_sign(owner, (struct bytes){what->key, TLS_KEY_ID_SIZE}, what->scheme, what->content, out, size_out);
}

static struct ring *ring_of(const struct pair *const *pairs, size_t count)
{
    struct ring *ring;

    assert_true(is_ok(ring_new(pack(pairs, count, 1, 0), &ring)));
    return ring;
}

static bool holds(struct bytes in, const char *text)
{
    return bytes_find(in, bytes_of(text)) != BYTES_NOT_FOUND;
}

static void the_public_pack_has_no_key(void **state)
{
    const struct pair *const pairs[] = {&ec, &rsa};
    struct ring *ring = ring_of(pairs, 2);

    (void)state;
    assert_true(holds(ring_public(ring), ec.certificate) && holds(ring_public(ring), rsa.certificate));
    assert_false(holds(ring_public(ring), "PRIVATE"));
    assert_true(ring_expires(ring) > time(NULL) + 59 * 86400 && ring_expires(ring) < time(NULL) + 61 * 86400);
    assert_true(ring_chains_hold(ring));
    ring_free(&ring);
}

/* Both versions of TLS, both kinds of key: the client is content with signatures from elsewhere. */
static void handshakes_are_signed_elsewhere(void **state)
{
    static const struct {
        const char *algorithms;
        int version, kind;
        uint32_t scheme;
    } rows[] = {
        {"ECDSA+SHA256", TLS1_3_VERSION, EVP_PKEY_EC, 0x0403},
        {"ECDSA+SHA256", TLS1_2_VERSION, EVP_PKEY_EC, 0x0403},
        {"ECDSA+SHA384", TLS1_2_VERSION, EVP_PKEY_EC, 0x0503},
        {"RSA-PSS+SHA256", TLS1_3_VERSION, EVP_PKEY_RSA, 0x0804},
        {"RSA-PSS+SHA384", TLS1_2_VERSION, EVP_PKEY_RSA, 0x0805},
        {"RSA+SHA256", TLS1_2_VERSION, EVP_PKEY_RSA, 0x0401},
        {"RSA+SHA512", TLS1_2_VERSION, EVP_PKEY_RSA, 0x0601},
    };
    const struct pair *const pairs[] = {&ec, &rsa};
    struct ring *ring = ring_of(pairs, 2);
    struct tls_store *store;

    (void)state;
    assert_true(is_ok(tls_remote_init(sign, ring)));
    assert_true(is_ok(tls_store_new(ring_public(ring), &store)));
    assert_int_equal(tls_store_pair_count(store), 2);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct meeting m;
        memset(&signer, 0, sizeof signer);
        meet(store, "mail.example.org", rows[i].algorithms, rows[i].version, NULL, &m);
        assert_int_equal(m.key_kind, rows[i].kind);
        assert_int_equal(signer.asked, 1);
        assert_int_equal(signer.strange, 0);
        assert_int_equal(signer.scheme, rows[i].scheme);
        SSL_SESSION_free(m.session);
    }
    tls_store_free(&store);
    assert_true(is_ok(tls_remote_init(NULL, NULL)));
    ring_free(&ring);
}

static void a_resumed_session_needs_no_signature(void **state)
{
    const struct pair *const pairs[] = {&ec};
    struct ring *ring = ring_of(pairs, 1);
    struct tls_store *store;
    struct meeting first, second;

    (void)state;
    assert_true(is_ok(tls_remote_init(sign, ring)));
    assert_true(is_ok(tls_store_new(ring_public(ring), &store)));
    memset(&signer, 0, sizeof signer);
    meet(store, NULL, NULL, TLS1_3_VERSION, NULL, &first);
    meet(store, NULL, NULL, TLS1_3_VERSION, first.session, &second);
    assert_true(second.resumed);
    assert_int_equal(signer.asked, 1);
    SSL_SESSION_free(first.session);
    SSL_SESSION_free(second.session);
    tls_store_free(&store);
    assert_true(is_ok(tls_remote_init(NULL, NULL)));
    ring_free(&ring);
}

static void only_what_the_key_is_for(void **state)
{
    const struct pair *const pairs[] = {&ec};
    struct ring *ring = ring_of(pairs, 1);
    BIO *bio = BIO_new_mem_buf(ec.certificate, -1);
    X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    uint8_t id[TLS_KEY_ID_SIZE], other[TLS_KEY_ID_SIZE] = {0}, out[TLS_SIGNATURE_SIZE_MAX];
    struct bytes mine = {id, sizeof id};
    size_t size;

    (void)state;
    assert_true(tls_key_id(X509_get0_pubkey(leaf), id));
    assert_true(ring_has(ring, mine) && !ring_has(ring, (struct bytes){other, sizeof other}));
    assert_true(ring_sign(ring, mine, 0x0403, BYTES("x"), out, &size));
    assert_false(ring_sign(ring, (struct bytes){other, sizeof other}, 0x0403, BYTES("x"), out, &size));
    assert_false(ring_sign(ring, bytes_head(mine, 31), 0x0403, BYTES("x"), out, &size));
    static const uint32_t wrong[] = {0, 0x0804, 0x0401, 0x0203, 0x0303, 0x0703, 0x0807, 0x10403, 0xffffffff};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(ring_sign(ring, mine, wrong[i], BYTES("x"), out, &size));
    X509_free(leaf);
    BIO_free(bio);
    ring_free(&ring);
}

static void bad_packs(void **state)
{
    struct pair mixed = ec, swapped = rsa, no_key = ec, garbage = ec;
    const struct pair *const packs[][1] = {{&mixed}, {&swapped}, {&no_key}, {&garbage}};
    const struct pair *const good[] = {&ec, &rsa, &ended};
    struct ring *ring;

    (void)state;
    memcpy(mixed.key, ended.key, sizeof mixed.key);
    memcpy(swapped.key, ec.key, sizeof swapped.key);
    no_key.key[0] = 0;
    memcpy(garbage.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n", 33);
    for (size_t i = 0; i < COUNT_OF(packs); i++) {
        assert_int_equal(ring_new(pack(packs[i], 1, 1, 0), &ring).code, CODE_SYNTAX);
        assert_null(ring);
    }
    struct bytes whole = pack(good, 3, 1, 2);
    for (size_t cut = 0; cut < whole.size; cut += cut < 200 ? 1 : 91)
        assert_false(is_ok(ring_new(bytes_head(whole, cut), &ring)));
    assert_true(is_ok(ring_new(whole, &ring)));
    assert_true(ring_expires(ring) < time(NULL));
    ring_free(&ring);
}

/* A second certificate in the file that did not sign the first. */
static void a_chain_that_does_not_hold(void **state)
{
    struct pair *broken = test_calloc(1, sizeof *broken);
    const struct pair *const pairs[] = {broken};
    struct ring *ring;

    (void)state;
    *broken = ec;
    strcat(broken->certificate, ended.certificate);
    ring = ring_of(pairs, 1);
    assert_false(ring_chains_hold(ring));
    ring_free(&ring);
    *broken = ec;
    strcat(broken->certificate, ec.certificate); /* self-signed: its own issuer */
    ring = ring_of(pairs, 1);
    assert_true(ring_chains_hold(ring));
    ring_free(&ring);
    test_free(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_public_pack_has_no_key),
        cmocka_unit_test(handshakes_are_signed_elsewhere),
        cmocka_unit_test(a_resumed_session_needs_no_signature),
        cmocka_unit_test(only_what_the_key_is_for),
        cmocka_unit_test(bad_packs),
        cmocka_unit_test(a_chain_that_does_not_hold),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
