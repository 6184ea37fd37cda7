/* Design: OpenSSL sees a BIO of our own kind. Its read side takes octets from the view that the caller feeds (no copy
 * unless a paused reader makes us keep the rest), its write side appends to one growing block that is given back to the
 * heap as soon as it is sent, so an idle session holds no buffers.
 * (T1) in.data is either the caller's buffer (in_kept NULL) or in_kept; never both. */
#include "daemon/edge/tls.h"
#include "daemon/edge/tls_remote.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_context {
    SSL_CTX *ssl;
    tls_name_chooser *choose;
    void *choose_owner;
    tls_verifier *verify;
    void *verify_owner;
};

struct tls {
    SSL *ssl;
    struct bytes in;
    uint8_t *in_kept;
    uint8_t *out;
    size_t out_size, out_sent, out_room;
    tls_verifier *verify;
    void *verify_owner;
    tls_session_keeper *keep;
    void *keep_owner;
    bool checked; /* the chain decides */
    bool broken;
};

enum { OUT_ROOM_MIN = 4096, OUT_SIZE_MAX = 4 * 1024 * 1024 };

/* RFC 7525 4.2, RFC 8997: forward secrecy and AEAD first, CBC kept last for old TLS 1.2 peers. */
static const char CIPHERS_TLS12[] =
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!AESCCM:!AESCCM8:!aNULL:!eNULL:!MD5:!DSS:!PSK:!SRP";

/* No finite fields: their large ones cost a server more than a stranger should be able to ask for. */
static const char GROUPS[] = "X25519:P-256:P-384:P-521:X448";

/* --- the BIO --- */

static int tls_bio_read(BIO *bio, char *room, size_t room_size, size_t *size_out)
{
    struct tls *tls = BIO_get_data(bio);
    size_t take = tls->in.size < room_size ? tls->in.size : room_size;

    BIO_clear_retry_flags(bio);
    if (take == 0) {
        BIO_set_retry_read(bio);
        *size_out = 0;
        return 0;
    }
    memcpy(room, tls->in.data, take);
    tls->in = bytes_after(tls->in, take);
    *size_out = take;
    return 1;
}

static bool out_reserve(struct tls *tls, size_t size)
{
    size_t room = tls->out_room == 0 ? OUT_ROOM_MIN : tls->out_room;
    uint8_t *grown;

    if (tls->out_size + size <= tls->out_room)
        return true;
    if (tls->out_size + size > OUT_SIZE_MAX)
        return false;
    while (room < tls->out_size + size)
        room *= 2;
    grown = mem_resize(tls->out, room);
    if (grown == NULL)
        return false;
    tls->out = grown;
    tls->out_room = room;
    return true;
}

static int tls_bio_write(BIO *bio, const char *data, size_t size, size_t *size_out)
{
    struct tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *size_out = 0;
    if (!out_reserve(tls, size))
        return 0;
    memcpy(tls->out + tls->out_size, data, size);
    tls->out_size += size;
    *size_out = size;
    return 1;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method; /* one per process, for ever */

    if (method != NULL)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mansio");
    if (method == NULL)
        return NULL;
    BIO_meth_set_read_ex(method, tls_bio_read);
    BIO_meth_set_write_ex(method, tls_bio_write);
    BIO_meth_set_ctrl(method, tls_bio_ctrl);
    return method;
}

/* --- contexts --- */

static int on_server_name(SSL *ssl, int *alert, void *argument)
{
    struct tls_context *ctx = argument, *chosen;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    if (name == NULL || ctx->choose == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    chosen = ctx->choose(ctx->choose_owner, bytes_of(name));
    if (chosen != NULL && chosen != ctx)
        (void)SSL_set_SSL_CTX(ssl, chosen->ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int on_verify(X509_STORE_CTX *store, void *argument)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);

    (void)argument;
    if (tls->checked)
        return X509_verify_cert(store) == 1;
    if (tls->verify == NULL)
        return 1; /* nobody asked: an unverified channel beats plain text (RFC 7435) */
    (void)X509_verify_cert(store);
    return tls->verify(tls->verify_owner, tls, X509_STORE_CTX_get_error(store)) ? 1 : 0;
}

static RESULT context_new(const SSL_METHOD *method, struct tls_context **ctx_out)
{
    struct tls_context *ctx = mem_take_zero(sizeof *ctx);

    if (ctx == NULL)
        return FAIL(CODE_FULL, "out of memory");
    ctx->ssl = SSL_CTX_new(method);
    if (ctx->ssl == NULL || bio_method() == NULL) {
        tls_context_free(&ctx);
        return FAIL(CODE_FULL, "no TLS context");
    }
    SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION);
    if (SSL_CTX_set_cipher_list(ctx->ssl, CIPHERS_TLS12) != 1 || SSL_CTX_set1_groups_list(ctx->ssl, GROUPS) != 1) {
        tls_context_free(&ctx);
        return FAIL(CODE_FULL, "no TLS context");
    }
    /* RELEASE_BUFFERS: an idle session gives its 34 KiB of record buffers back. Renegotiation has no use in SMTP. A peer
     * that closes without close_notify is ordinary in mail; the SMTP dialogue itself says what is complete. */
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                      SSL_OP_CIPHER_SERVER_PREFERENCE);
    *ctx_out = ctx;
    return OK;
}

static RESULT chain_load(SSL_CTX *ssl, struct bytes pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool good = certificate != NULL && SSL_CTX_use_certificate(ssl, certificate) == 1;

    X509_free(certificate);
    while (good && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ssl, certificate) != 1) { /* takes it on success */
            X509_free(certificate);
            good = false;
        }
    }
    BIO_free(bio);
    ERR_clear_error(); /* the end of a PEM file leaves "no start line" */
    return good ? OK : FAIL(CODE_SYNTAX, "the certificate cannot be read");
}

/* The pair's private half is in another process. */
static RESULT key_load_remote(SSL_CTX *ssl)
{
    EVP_PKEY *key = tls_remote_key(X509_get0_pubkey(SSL_CTX_get0_certificate(ssl)));
    bool good = key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1;

    EVP_PKEY_free(key);
    ERR_clear_error();
    return good ? OK : FAIL(CODE_SYNTAX, "keys that are not RSA or ECDSA cannot be used");
}

static RESULT key_load(SSL_CTX *ssl, struct bytes pem)
{
    if (pem.size == 0)
        return key_load_remote(ssl);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    /* an empty password: an encrypted key must fail, not ask at the terminal */
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
    bool good = key != NULL;
    bool fits = good && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;

    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    if (!good)
        return FAIL(CODE_SYNTAX, "the private key cannot be read");
    return fits ? OK : FAIL(CODE_SYNTAX, "the private key does not belong to the certificate");
}

RESULT
tls_context_server(struct bytes certificate, struct bytes key, struct tls_context **ctx_out)
{
    static const unsigned char SESSION_CONTEXT[] = "mansio-smtp";
    struct tls_context *ctx;
    struct result r;

    if (certificate.size > INT_MAX || key.size > INT_MAX)
        return FAIL(CODE_FULL, "the certificate or key is too large");
    TRY(context_new(TLS_server_method(), &ctx));
    r = chain_load(ctx->ssl, certificate);
    if (is_ok(r))
        r = key_load(ctx->ssl, key);
    if (!is_ok(r)) {
        tls_context_free(&ctx);
        return r;
    }
    SSL_CTX_set_session_id_context(ctx->ssl, SESSION_CONTEXT, sizeof SESSION_CONTEXT - 1);
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF); /* tickets resume; no table per process */
    SSL_CTX_set_num_tickets(ctx->ssl, 1);
    SSL_CTX_set_tlsext_servername_callback(ctx->ssl, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
    *ctx_out = ctx;
    return OK;
}

RESULT
tls_context_add(struct tls_context *ctx, struct bytes certificate, struct bytes key)
{
    TRY(chain_load(ctx->ssl, certificate));
    return key_load(ctx->ssl, key);
}

static X509 *first_certificate(const struct tls_context *ctx)
{
    (void)SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_FIRST);
    return SSL_CTX_get0_certificate(ctx->ssl);
}

bool tls_context_serves(const struct tls_context *ctx, struct bytes name)
{
    X509 *certificate = first_certificate(ctx);

    return certificate != NULL && name.size > 0 &&
           X509_check_host(
               certificate, (const char *)name.data, name.size, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static bool shares_a_name(const struct tls_context *ctx, X509 *other)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(other, NID_subject_alt_name, NULL, NULL);
    bool shared = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !shared; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            shared = tls_context_serves(ctx,
                (struct bytes){ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName)});
    }
    GENERAL_NAMES_free(names);
    return shared || X509_NAME_cmp(X509_get_subject_name(other), X509_get_subject_name(first_certificate(ctx))) == 0;
}

bool tls_context_goes_with(const struct tls_context *ctx, const struct tls_context *other)
{
    X509 *fresh = first_certificate(other);
    int kind = EVP_PKEY_get_base_id(X509_get0_pubkey(fresh));

    if (!shares_a_name(ctx, fresh))
        return false;
    (void)SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_FIRST);
    do {
        if (EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_CTX_get0_certificate(ctx->ssl))) == kind)
            return false;
    } while (SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_NEXT) == 1);
    return true;
}

static void fact_of(X509 *certificate, struct tls_certificate_fact *fact_out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    struct bytes first = BYTES_NONE;
    struct tm end;

    *fact_out = (struct tls_certificate_fact){.rsa = EVP_PKEY_is_a(X509_get0_pubkey(certificate), "RSA") == 1};
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && first.size == 0; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            first = (struct bytes){ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName)};
    }
    first = bytes_head(first, TLS_NAME_SIZE_MAX);
    if (first.size > 0)
        memcpy(fact_out->name, first.data, first.size);
    else
        (void)X509_NAME_get_text_by_NID(
            X509_get_subject_name(certificate), NID_commonName, fact_out->name, sizeof fact_out->name);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
        fact_out->ends = timegm(&end);
    GENERAL_NAMES_free(names);
}

bool tls_context_fact(const struct tls_context *ctx, size_t index, struct tls_certificate_fact *fact_out)
{
    int found = SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_FIRST);

    for (size_t i = 0; i < index && found == 1; i++)
        found = SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_NEXT);
    if (found != 1)
        return false;
    fact_of(SSL_CTX_get0_certificate(ctx->ssl), fact_out);
    return true;
}

int64_t tls_context_expires(const struct tls_context *ctx)
{
    int64_t first = INT64_MAX;
    struct tm end;

    (void)SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_FIRST);
    do {
        if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx->ssl)), &end) != 1)
            continue;
        int64_t at = timegm(&end);
        first = at < first ? at : first;
    } while (SSL_CTX_set_current_cert(ctx->ssl, SSL_CERT_SET_NEXT) == 1);
    return first;
}

/* They live as long as the SSL_CTX, which sessions keep alive. */
struct tickets {
    size_t count;
    uint8_t keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
};

static void tickets_free(void *parent, void *memory, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    if (memory != NULL)
        explicit_bzero(memory, sizeof(struct tickets));
    mem_free(memory);
}

static int tickets_index(void)
{
    static int index = -1;

    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tickets_free);
    return index;
}

/* A key is a name of 16 octets, 32 of HMAC key and 32 of AES key. */
static int on_ticket(
    SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int make)
{
    enum { NAME_SIZE = 16, MAC_KEY_SIZE = 32 };
    const struct tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index());
    const uint8_t *key = tickets->keys[0];
    size_t used = 0;

    if (make != 0) {
        memcpy(name, key, NAME_SIZE);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    } else {
        while (used < tickets->count && memcmp(name, tickets->keys[used], NAME_SIZE) != 0)
            used++;
        if (used == tickets->count)
            return 0; /* none of ours: a whole handshake */
        key = tickets->keys[used];
    }
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + NAME_SIZE), MAC_KEY_SIZE),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + NAME_SIZE + MAC_KEY_SIZE, iv, make) != 1 ||
        EVP_MAC_CTX_set_params(mac, parameters) != 1)
        return -1;
    return used == 0 ? 1 : 2;
}

RESULT
tls_context_tickets(struct tls_context *ctx, uint8_t keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE], size_t count)
{
    struct tickets *tickets = mem_take_zero(sizeof *tickets);

    ASSERT(count > 0 && count <= TLS_TICKET_KEYS_MAX);
    if (tickets == NULL || SSL_CTX_set_ex_data(ctx->ssl, tickets_index(), tickets) != 1) {
        mem_free(tickets);
        return FAIL(CODE_FULL, "out of memory");
    }
    memcpy(tickets->keys, keys, count * TLS_TICKET_KEY_SIZE);
    tickets->count = count;
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx->ssl, on_ticket);
    return OK;
}

/* 0: OpenSSL keeps what it has. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *tls = SSL_get_app_data(ssl);
    unsigned char *octets = NULL;
    int size = tls->keep == NULL || SSL_SESSION_is_resumable(session) != 1 ? 0 : i2d_SSL_SESSION(session, &octets);

    if (size > 0) {
        tls->keep(tls->keep_owner, (struct bytes){octets, (size_t)size});
        OPENSSL_clear_free(octets, (size_t)size);
    }
    return 0;
}

RESULT
tls_context_client(struct tls_context **ctx_out)
{
    struct tls_context *ctx;

    TRY(context_new(TLS_client_method(), &ctx));
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx->ssl, on_new_session);
    SSL_CTX_set_cert_verify_callback(ctx->ssl, on_verify, NULL);
    *ctx_out = ctx;
    return OK;
}

void tls_context_free(struct tls_context **ctx)
{
    if (*ctx == NULL)
        return;
    if ((*ctx)->ssl != NULL) {
        SSL_CTX_set_tlsext_servername_callback((*ctx)->ssl, NULL); /* sessions may outlive us */
        SSL_CTX_free((*ctx)->ssl);
    }
    mem_free(*ctx);
    *ctx = NULL;
}

void tls_context_chooser(struct tls_context *ctx, tls_name_chooser *choose, void *owner)
{
    ctx->choose = choose;
    ctx->choose_owner = owner;
}

void tls_context_verifier(struct tls_context *ctx, tls_verifier *verify, void *owner)
{
    ctx->verify = verify;
    ctx->verify_owner = owner;
}

/* --- sessions --- */

static RESULT session_new(struct tls_context *ctx, struct tls **tls_out)
{
    struct tls *tls = mem_take_zero(sizeof *tls);
    BIO *bio;

    if (tls == NULL)
        return FAIL(CODE_FULL, "out of memory");
    tls->ssl = SSL_new(ctx->ssl);
    bio = tls->ssl == NULL ? NULL : BIO_new(bio_method());
    if (bio == NULL) {
        tls_free(&tls);
        return FAIL(CODE_FULL, "no TLS session");
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    tls->verify = ctx->verify;
    tls->verify_owner = ctx->verify_owner;
    *tls_out = tls;
    return OK;
}

RESULT
tls_accept(struct tls_context *ctx, struct tls **tls_out)
{
    TRY(session_new(ctx, tls_out));
    SSL_set_accept_state((*tls_out)->ssl);
    return OK;
}

RESULT
tls_connect(struct tls_context *ctx, struct bytes name, struct tls **tls_out)
{
    char host[TLS_NAME_SIZE_MAX + 1];

    TRY(session_new(ctx, tls_out));
    SSL_set_connect_state((*tls_out)->ssl);
    if (name.size > 0 && name.size <= TLS_NAME_SIZE_MAX && memchr(name.data, 0, name.size) == NULL) {
        memcpy(host, name.data, name.size);
        host[name.size] = 0;
        (void)SSL_set_tlsext_host_name((*tls_out)->ssl, host);
    }
    return OK;
}

static int any_certificate(int verdict, X509_STORE_CTX *store)
{
    (void)verdict;
    (void)store;
    return 1;
}

void tls_ask_certificate(struct tls *tls)
{
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, any_certificate);
}

bool tls_peer_fingerprint(const struct tls *tls, uint8_t out[TLS_FINGERPRINT_SIZE])
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    unsigned size = TLS_FINGERPRINT_SIZE;

    return certificate != NULL && X509_digest(certificate, EVP_sha256(), out, &size) == 1;
}

void tls_keep_sessions(struct tls *tls, tls_session_keeper *keep, void *owner)
{
    tls->keep = keep;
    tls->keep_owner = owner;
}

bool tls_resume(struct tls *tls, struct bytes octets)
{
    const unsigned char *at = octets.data;
    SSL_SESSION *session = octets.size > LONG_MAX ? NULL : d2i_SSL_SESSION(NULL, &at, (long)octets.size);
    bool good = session != NULL && SSL_set_session(tls->ssl, session) == 1;

    SSL_SESSION_free(session);
    ERR_clear_error();
    return good;
}

bool tls_is_resumed(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

/* NUL-terminated; CODE_SYNTAX when it holds NUL or is too long for a name. */
static RESULT name_copy(struct bytes name, const char *before, char out[TLS_NAME_SIZE_MAX + 2])
{
    size_t prefix = strlen(before);

    if (name.size == 0 || name.size > TLS_NAME_SIZE_MAX || memchr(name.data, 0, name.size) != NULL)
        return FAIL(CODE_SYNTAX, "no host name to look for in the certificate");
    memcpy(out, before, prefix);
    memcpy(out + prefix, name.data, name.size);
    out[prefix + name.size] = 0;
    return OK;
}

RESULT
tls_context_roots(struct tls_context *ctx, const char *path)
{
    if (SSL_CTX_load_verify_file(ctx->ssl, path) == 1)
        return OK;
    ERR_clear_error();
    return FAIL(CODE_IO, "the file of trusted roots (tls { roots }) cannot be read");
}

RESULT
tls_expect_name(struct tls *tls, struct bytes name, bool below)
{
    char text[TLS_NAME_SIZE_MAX + 2];

    tls->checked = true; /* first: a session that could not be prepared must not be believed */
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    TRY(name_copy(name, "", text));
    if (SSL_set1_host(tls->ssl, text) != 1)
        return FAIL(CODE_FULL, "out of memory");
    if (!below)
        return OK;
    TRY(name_copy(name, ".", text));
    return SSL_add1_host(tls->ssl, text) == 1 ? OK : FAIL(CODE_FULL, "out of memory");
}

RESULT
tls_expect_dane(struct tls *tls, struct bytes base, struct bytes domain)
{
    char text[TLS_NAME_SIZE_MAX + 2];

    TRY(name_copy(base, "", text));
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_CTX_dane_enable(SSL_get_SSL_CTX(tls->ssl)) != 1 || SSL_dane_enable(tls->ssl, text) != 1)
        return FAIL(CODE_FULL, "no DANE");
    SSL_dane_set_flags(tls->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672 3.1.1 */
    if (is_ok(name_copy(domain, "", text)) && SSL_add1_host(tls->ssl, text) != 1)
        return FAIL(CODE_FULL, "out of memory");
    return OK;
}

bool tls_dane_add(struct tls *tls, uint8_t usage, uint8_t selector, uint8_t matching, struct bytes data)
{
    enum { DANE_TA = 2, DANE_EE = 3 };
    bool usable = (usage == DANE_TA || usage == DANE_EE) &&
                  SSL_dane_tlsa_add(tls->ssl, usage, selector, matching, data.data, data.size) > 0;

    ERR_clear_error();
    tls->checked = tls->checked || usable;
    return usable;
}

void tls_free(struct tls **tls)
{
    if (*tls == NULL)
        return;
    SSL_free((*tls)->ssl);
    mem_free((*tls)->in_kept);
    mem_free((*tls)->out);
    mem_free(*tls);
    *tls = NULL;
}

RESULT
tls_input(struct tls *tls, struct bytes in)
{
    uint8_t *joined;

    if (tls->in.size == 0) {
        mem_free(tls->in_kept);
        tls->in_kept = NULL;
        tls->in = in;
        return OK;
    }
    joined = mem_take(tls->in.size + in.size);
    if (joined == NULL)
        return FAIL(CODE_FULL, "out of memory");
    memcpy(joined, tls->in.data, tls->in.size);
    memcpy(joined + tls->in.size, in.data, in.size);
    mem_free(tls->in_kept);
    tls->in_kept = joined;
    tls->in = (struct bytes){joined, tls->in.size + in.size};
    return OK;
}

RESULT
tls_input_keep(struct tls *tls)
{
    uint8_t *kept;

    if (tls->in.size == 0 || tls->in_kept != NULL)
        return OK;
    kept = mem_take(tls->in.size);
    if (kept == NULL)
        return FAIL(CODE_FULL, "out of memory");
    memcpy(kept, tls->in.data, tls->in.size);
    tls->in_kept = kept;
    tls->in.data = kept;
    return OK;
}

/* What OpenSSL says of the last call; its queue holds text that is good for `why` because it is static in the library. */
static RESULT session_result(struct tls *tls, int returned)
{
    const char *reason;

    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_NONE:
        return OK;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return FAIL(CODE_MORE, "TLS waits for the peer");
    case SSL_ERROR_ZERO_RETURN:
        return FAIL(CODE_GONE, "TLS closed by the peer");
    default:
        tls->broken = true;
        if (tls->checked && SSL_get_verify_result(tls->ssl) != X509_V_OK) {
            reason = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
            ERR_clear_error();
            return FAIL(CODE_IO, reason);
        }
        reason = ERR_reason_error_string(ERR_peek_last_error());
        ERR_clear_error();
        return FAIL(CODE_IO, reason != NULL ? reason : "TLS failed");
    }
}

RESULT
tls_handshake(struct tls *tls)
{
    ERR_clear_error();
    return session_result(tls, SSL_do_handshake(tls->ssl));
}

RESULT
tls_read(struct tls *tls, void *room, size_t room_size, size_t *size_out)
{
    *size_out = 0;
    ERR_clear_error();
    return session_result(tls, SSL_read_ex(tls->ssl, room, room_size, size_out));
}

RESULT
tls_write(struct tls *tls, struct bytes in)
{
    size_t written;

    while (in.size > 0) {
        ERR_clear_error();
        TRY(session_result(tls, SSL_write_ex(tls->ssl, in.data, in.size, &written)));
        in = bytes_after(in, written);
    }
    return OK;
}

void tls_shutdown(struct tls *tls)
{
    if (tls->broken || !SSL_is_init_finished(tls->ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

struct bytes tls_output(const struct tls *tls)
{
    return tls->out == NULL ? BYTES_NONE : (struct bytes){tls->out + tls->out_sent, tls->out_size - tls->out_sent};
}

void tls_output_drop(struct tls *tls, size_t size)
{
    ASSERT(size <= tls->out_size - tls->out_sent);
    tls->out_sent += size;
    if (tls->out_sent < tls->out_size)
        return;
    mem_free(tls->out);
    tls->out = NULL;
    tls->out_size = tls->out_sent = tls->out_room = 0;
}

struct bytes tls_version(const struct tls *tls)
{
    return bytes_of(SSL_get_version(tls->ssl));
}

struct bytes tls_cipher(const struct tls *tls)
{
    return bytes_of(SSL_get_cipher_name(tls->ssl));
}

struct bytes tls_exporter(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    static const char LABEL[] = "EXPORTER-Channel-Binding";
    enum { EXPORTER_SIZE = 32 };

    if (SSL_version(tls->ssl) < TLS1_3_VERSION && SSL_get_extms_support(tls->ssl) != 1)
        return BYTES_NONE;
    if (SSL_export_keying_material(tls->ssl, room, EXPORTER_SIZE, LABEL, sizeof LABEL - 1, NULL, 0, 1) != 1) {
        ERR_clear_error();
        return BYTES_NONE;
    }
    return (struct bytes){room, EXPORTER_SIZE};
}

/* The hash of the signature's algorithm, where that is no weaker than SHA-256. */
struct bytes tls_endpoint(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    X509 *certificate = SSL_get_certificate(tls->ssl);
    int hash_nid = NID_undef;
    unsigned size = 0;

    if (certificate == NULL || X509_get_signature_info(certificate, &hash_nid, NULL, NULL, NULL) != 1)
        return BYTES_NONE;
    const EVP_MD *hash = hash_nid == NID_md5 || hash_nid == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash_nid);
    if (hash == NULL || EVP_MD_get_size(hash) > TLS_BINDING_SIZE_MAX ||
        X509_digest(certificate, hash, room, &size) != 1) {
        ERR_clear_error();
        return BYTES_NONE;
    }
    return (struct bytes){room, size};
}
