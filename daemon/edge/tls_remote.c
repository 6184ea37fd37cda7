/* Design: a key object wraps the public half as the default provider has it, and passes every question on to it. The names of the
 * signatures are our own, so that OpenSSL finds ours by the key's word for it (query_operation_name) and no other. */
#include "daemon/edge/tls_remote.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

static struct {
    tls_signer *sign;
    void *owner;
    OSSL_PROVIDER *ours, *rest;
} remote;

struct remote_key {
    EVP_PKEY *public_half;
    uint8_t id[TLS_KEY_ID_SIZE];
};

struct remote_signature {
    const struct remote_key *key; /* OpenSSL holds it while it signs */
    bool rsa, pss;
    unsigned digest_bits;
};

bool tls_key_id(EVP_PKEY *key, uint8_t id_out[TLS_KEY_ID_SIZE])
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    bool good = size > 0 && SHA256(der, (size_t)size, id_out) != NULL;

    OPENSSL_free(der);
    return good;
}

/* --- keys --- */

static void *key_new(void *provider)
{
    (void)provider;
    return mem_take_zero(sizeof(struct remote_key));
}

static void key_free(void *data)
{
    struct remote_key *key = data;

    if (key != NULL)
        EVP_PKEY_free(key->public_half);
    mem_free(key);
}

/* Both halves, as far as OpenSSL is concerned. */
static int key_has(const void *data, int selection)
{
    const struct remote_key *key = data;

    (void)selection;
    return key != NULL && key->public_half != NULL;
}

static int key_match(const void *one, const void *other, int selection)
{
    const struct remote_key *a = one, *b = other;

    (void)selection;
    return a->public_half != NULL && b->public_half != NULL && EVP_PKEY_eq(a->public_half, b->public_half) == 1;
}

static int key_import(struct remote_key *key, const char *kind, const OSSL_PARAM parameters[])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, "provider=default");
    bool good = ctx != NULL && key->public_half == NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &key->public_half, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)parameters) == 1 &&
                tls_key_id(key->public_half, key->id);

    EVP_PKEY_CTX_free(ctx);
    return good;
}

static int rsa_import(void *data, int selection, const OSSL_PARAM parameters[])
{
    (void)selection;
    return key_import(data, "RSA", parameters);
}

static int ec_import(void *data, int selection, const OSSL_PARAM parameters[])
{
    (void)selection;
    return key_import(data, "EC", parameters);
}

static const OSSL_PARAM *rsa_import_types(int selection)
{
    static const OSSL_PARAM TYPES[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};

    (void)selection;
    return TYPES;
}

static const OSSL_PARAM *ec_import_types(int selection)
{
    static const OSSL_PARAM TYPES[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};

    (void)selection;
    return TYPES;
}

static int key_get(void *data, OSSL_PARAM parameters[])
{
    const struct remote_key *key = data;

    return key->public_half != NULL && EVP_PKEY_get_params(key->public_half, parameters) == 1;
}

static const OSSL_PARAM *key_gettable(void *provider)
{
    static const OSSL_PARAM TYPES[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};

    (void)provider;
    return TYPES;
}

static const char *rsa_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "MANSIO-RSA" : NULL;
}

static const char *ec_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "MANSIO-EC" : NULL;
}

/* --- signatures --- */

static void *rsa_signature_new(void *provider, const char *properties)
{
    struct remote_signature *s = mem_take_zero(sizeof *s);

    (void)provider;
    (void)properties;
    if (s != NULL)
        s->rsa = true;
    return s;
}

static void *ec_signature_new(void *provider, const char *properties)
{
    (void)provider;
    (void)properties;
    return mem_take_zero(sizeof(struct remote_signature));
}

static void signature_free(void *data)
{
    mem_free(data);
}

/* TLS asks for RSA-PSS by its padding; its salt is as long as the digest there, always. */
static int signature_set(void *data, const OSSL_PARAM parameters[])
{
    struct remote_signature *s = data;
    const OSSL_PARAM *padding = OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_PAD_MODE);
    int number = 0;

    if (padding == NULL)
        return 1;
    if (padding->data_type == OSSL_PARAM_UTF8_STRING) {
        s->pss = strcmp(padding->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
        return s->pss || strcmp(padding->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0;
    }
    if (OSSL_PARAM_get_int(padding, &number) != 1)
        return 0;
    s->pss = number == RSA_PKCS1_PSS_PADDING;
    return s->pss || number == RSA_PKCS1_PADDING;
}

static const OSSL_PARAM *signature_settable(void *data, void *provider)
{
    static const OSSL_PARAM TYPES[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_END};

    (void)data;
    (void)provider;
    return TYPES;
}

static int signature_begin(void *data, const char *digest, void *key, const OSSL_PARAM parameters[])
{
    static const struct {
        const char *name;
        unsigned bits;
    } DIGESTS[] = {
        {"SHA256", 256}, {"SHA2-256", 256}, {"SHA384", 384}, {"SHA2-384", 384}, {"SHA512", 512}, {"SHA2-512", 512}};
    struct remote_signature *s = data;

    s->key = key;
    s->digest_bits = 0;
    for (size_t i = 0; digest != NULL && i < COUNT_OF(DIGESTS); i++)
        if (strcasecmp(digest, DIGESTS[i].name) == 0)
            s->digest_bits = DIGESTS[i].bits;
    return s->digest_bits != 0 && (parameters == NULL || signature_set(data, parameters));
}

static int signature_update(void *data, const unsigned char *part, size_t size)
{
    (void)data;
    (void)part;
    (void)size;
    return 0; /* TLS gives the whole at once */
}

static int signature_final(void *data, unsigned char *out, size_t *size_out, size_t room)
{
    (void)data;
    (void)out;
    (void)size_out;
    (void)room;
    return 0;
}

static uint16_t scheme_of(const struct remote_signature *s)
{
    unsigned step = s->digest_bits == 256 ? 0 : s->digest_bits == 384 ? 1 : 2;

    if (s->rsa && s->pss)
        return (uint16_t)(0x0804 + step);
    return (uint16_t)(((0x04 + step) << 8) | (s->rsa ? 0x01 : 0x03));
}

static int signature_make(
    void *data, unsigned char *out, size_t *size_out, size_t room, const unsigned char *content, size_t size)
{
    const struct remote_signature *s = data;
    struct tls_signing what = {.scheme = scheme_of(s), .content = {content, size}};
    uint8_t octets[TLS_SIGNATURE_SIZE_MAX];

    if (out == NULL) {
        *size_out = (size_t)EVP_PKEY_get_size(s->key->public_half);
        return 1;
    }
    memcpy(what.key, s->key->id, sizeof what.key);
    if (remote.sign == NULL || !remote.sign(remote.owner, &what, octets, size_out) || *size_out > room)
        return 0;
    memcpy(out, octets, *size_out);
    return 1;
}

/* --- the provider --- */

#define ENTRY(id, fn)                                                                                                  \
    {                                                                                                                  \
        id, (void (*)(void))fn                                                                                         \
    }
#define KEY_ENTRIES(kind)                                                                                              \
    ENTRY(OSSL_FUNC_KEYMGMT_NEW, key_new), ENTRY(OSSL_FUNC_KEYMGMT_FREE, key_free),                                    \
        ENTRY(OSSL_FUNC_KEYMGMT_HAS, key_has), ENTRY(OSSL_FUNC_KEYMGMT_MATCH, key_match),                              \
        ENTRY(OSSL_FUNC_KEYMGMT_IMPORT, kind##_import), ENTRY(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, kind##_import_types),    \
        ENTRY(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get), ENTRY(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable),          \
        ENTRY(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, kind##_operation),                                               \
    {                                                                                                                  \
        0, NULL                                                                                                        \
    }
#define SIGNATURE_ENTRIES(kind)                                                                                        \
    ENTRY(OSSL_FUNC_SIGNATURE_NEWCTX, kind##_signature_new), ENTRY(OSSL_FUNC_SIGNATURE_FREECTX, signature_free),       \
        ENTRY(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signature_begin),                                                  \
        ENTRY(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signature_update),                                               \
        ENTRY(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signature_final),                                                 \
        ENTRY(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signature_make),                                                        \
        ENTRY(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signature_set),                                                      \
        ENTRY(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signature_settable),                                            \
    {                                                                                                                  \
        0, NULL                                                                                                        \
    }

static const OSSL_DISPATCH RSA_KEY[] = {KEY_ENTRIES(rsa)};
static const OSSL_DISPATCH EC_KEY_[] = {KEY_ENTRIES(ec)};
static const OSSL_DISPATCH RSA_SIGNATURE[] = {SIGNATURE_ENTRIES(rsa)};
static const OSSL_DISPATCH EC_SIGNATURE[] = {SIGNATURE_ENTRIES(ec)};

static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *no_cache)
{
    static const char PROPERTIES[] = "provider=mansio";
    static const OSSL_ALGORITHM KEYS[] = {{"RSA:rsaEncryption", PROPERTIES, RSA_KEY, "an RSA key elsewhere"},
        {"EC:id-ecPublicKey", PROPERTIES, EC_KEY_, "an EC key elsewhere"}, {NULL, NULL, NULL, NULL}};
    static const OSSL_ALGORITHM SIGNATURES[] = {{"MANSIO-RSA", PROPERTIES, RSA_SIGNATURE, "asks for it"},
        {"MANSIO-EC", PROPERTIES, EC_SIGNATURE, "asks for it"}, {NULL, NULL, NULL, NULL}};

    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KEYMGMT ? KEYS : operation == OSSL_OP_SIGNATURE ? SIGNATURES : NULL;
}

static int provider_init(
    const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provider_out)
{
    static const OSSL_DISPATCH ENTRIES[] = {ENTRY(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query), {0, NULL}};

    (void)core;
    (void)in;
    *out = ENTRIES;
    *provider_out = &remote;
    return 1;
}

RESULT tls_remote_init(tls_signer *sign, void *owner)
{
    remote.sign = sign;
    remote.owner = owner;
    if (remote.ours != NULL)
        return OK;
    if (EVP_set_default_properties(NULL, "?provider=default") != 1 ||
        (remote.rest = OSSL_PROVIDER_load(NULL, "default")) == NULL ||
        OSSL_PROVIDER_add_builtin(NULL, "mansio", provider_init) != 1 ||
        (remote.ours = OSSL_PROVIDER_load(NULL, "mansio")) == NULL) {
        ERR_clear_error();
        return FAIL(CODE_FULL, "OpenSSL does not take a provider for keys elsewhere");
    }
    return OK;
}

EVP_PKEY *tls_remote_key(EVP_PKEY *public_half)
{
    const char *kind = EVP_PKEY_is_a(public_half, "RSA") ? "RSA" : EVP_PKEY_is_a(public_half, "EC") ? "EC" : NULL;
    OSSL_PARAM *parameters = NULL;
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = kind == NULL ? NULL : EVP_PKEY_CTX_new_from_name(NULL, kind, "provider=mansio");

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_todata(public_half, EVP_PKEY_PUBLIC_KEY, &parameters) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, parameters);
    OSSL_PARAM_free(parameters);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return key;
}
