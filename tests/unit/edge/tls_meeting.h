/* tls_meeting: certificates made here, packs of them, and a client of OpenSSL's own that meets a server of ours through memory. For
 * tests/unit/edge/tls_store_test.c and tests/unit/keys/ring_test.c. */
#ifndef MANSIO_TESTS_TLS_MEETING_H
#define MANSIO_TESTS_TLS_MEETING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "daemon/edge/tls_store.h"

struct pair {
    char certificate[4096], key[4096];
};

__attribute__((unused)) static void pem_take(BIO *bio, char *out, size_t room)
{
    int size = BIO_read(bio, out, (int)room - 1);

    assert_true(size > 0);
    out[size] = 0;
    BIO_free(bio);
}

__attribute__((unused)) static void pair_make(struct pair *p, bool rsa, const char *names, long days)
{
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *bio;

    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400 * 10);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400 * days);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(
        X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)names + 4, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *alternative = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_non_null(alternative);
    X509_add_ext(x, alternative, -1);
    X509_EXTENSION_free(alternative);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    pem_take(bio, p->certificate, sizeof p->certificate);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    pem_take(bio, p->key, sizeof p->key);
    X509_free(x);
    EVP_PKEY_free(key);
}

static uint8_t room[65536];

__attribute__((unused)) static struct bytes pack(
    const struct pair *const *pairs, size_t count, uint8_t ticket, uint8_t old_ticket)
{
    struct buf out = BUF(room);
    uint8_t key[TLS_TICKET_KEY_SIZE];
    bool good = is_ok(wire_put_u32(&out, old_ticket != 0 ? 2 : 1));

    memset(key, ticket, sizeof key);
    good = good && is_ok(wire_put_bytes(&out, (struct bytes){key, sizeof key}));
    memset(key, old_ticket, sizeof key);
    good = good && (old_ticket == 0 || is_ok(wire_put_bytes(&out, (struct bytes){key, sizeof key})));
    good = good && is_ok(wire_put_u32(&out, (uint32_t)count));
    for (size_t i = 0; i < count; i++)
        good = good && is_ok(wire_put_bytes(&out, bytes_of(pairs[i]->certificate))) &&
               is_ok(wire_put_bytes(&out, bytes_of(pairs[i]->key)));
    assert_true(good);
    return buf_bytes(&out);
}

__attribute__((unused)) static struct tls_store *store_of(
    const struct pair *const *pairs, size_t count, uint8_t ticket, uint8_t old_ticket)
{
    struct tls_store *store;

    assert_true(is_ok(tls_store_new(pack(pairs, count, ticket, old_ticket), &store)));
    return store;
}

/* A client of OpenSSL's own against a server of ours, through memory. */
struct meeting {
    char name[64];
    int key_kind;
    bool resumed;
    SSL_SESSION *session;
};

__attribute__((unused)) static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct meeting *m = SSL_get_app_data(ssl);

    SSL_SESSION_free(m->session);
    m->session = session;
    return 1;
}

__attribute__((unused)) static void meet(
    struct tls_store *store, const char *sni, const char *algorithms, int version, SSL_SESSION *with, struct meeting *m)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    uint8_t octets[16384];
    struct tls *server;
    size_t size;

    memset(m, 0, sizeof *m);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (algorithms != NULL)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, algorithms), 1);
    SSL *client = SSL_new(ctx);
    SSL_set_app_data(client, m);
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    if (sni != NULL)
        SSL_set_tlsext_host_name(client, sni);
    if (with != NULL) {
        SSL_SESSION *copy = SSL_SESSION_dup(with); /* one that a new ticket replaced cannot be used again */
        SSL_set_session(client, copy);
        SSL_SESSION_free(copy);
    }
    assert_true(is_ok(tls_accept(tls_store_context(store), &server)));
    for (int turn = 0; turn < 6; turn++) {
        (void)SSL_do_handshake(client);
        int n = BIO_read(out, octets, sizeof octets);
        if (n > 0) {
            assert_true(is_ok(tls_input(server, (struct bytes){octets, (size_t)n})));
            struct result r = tls_handshake(server);
            assert_true(is_ok(r) || r.code == CODE_MORE);
            assert_true(is_ok(tls_input_keep(server)));
        }
        while ((size = tls_output(server).size) > 0) {
            assert_int_equal(BIO_write(in, tls_output(server).data, (int)size), (int)size);
            tls_output_drop(server, size);
        }
    }
    assert_true(is_ok(tls_handshake(server)) && SSL_is_init_finished(client));
    (void)SSL_read(client, octets, sizeof octets); /* tickets of TLS 1.3 */
    X509 *got = SSL_get1_peer_certificate(client);
    assert_non_null(got);
    m->key_kind = EVP_PKEY_get_base_id(X509_get0_pubkey(got));
    X509_NAME_get_text_by_NID(X509_get_subject_name(got), NID_commonName, m->name, sizeof m->name);
    m->resumed = SSL_session_reused(client) == 1;
    X509_free(got);
    tls_free(&server);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session counts as broken */
    SSL_free(client);
    SSL_CTX_free(ctx);
}

#endif
