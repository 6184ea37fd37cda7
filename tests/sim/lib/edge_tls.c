/* TLS of the simulation: a handshake is a pause and an outcome; octets travel in the clear. */
#include "tests/sim/lib/edge_parts.h"

#include "daemon/edge/tls_store.h"
#include "tests/sim/lib/login.h"

struct tls_context {
    int none;
};
struct tls {
    int none;
};

RESULT tls_context_client(struct tls_context **ctx_out)
{
    *ctx_out = world_take(sizeof **ctx_out);
    return OK;
}

RESULT tls_context_server(struct bytes certificate, struct bytes key, struct tls_context **ctx_out)
{
    (void)certificate;
    (void)key;
    return tls_context_client(ctx_out);
}

void tls_context_free(struct tls_context **ctx)
{
    free(*ctx);
    *ctx = NULL;
}

struct tls_store {
    int none;
};

struct tls_store *edge_tls_store(void)
{
    static struct tls_store every;

    return &every;
}

struct tls_context *tls_store_context(const struct tls_store *store)
{
    static struct tls_context every;

    (void)store;
    return &every;
}

RESULT tls_connect(struct tls_context *ctx, struct bytes name, struct tls **tls_out)
{
    (void)ctx;
    (void)name;
    *tls_out = world_take(sizeof **tls_out);
    return OK;
}

RESULT tls_accept(struct tls_context *ctx, struct tls **tls_out)
{
    return tls_connect(ctx, BYTES_NONE, tls_out);
}

void tls_ask_certificate(struct tls *tls)
{
    (void)tls;
}

bool tls_peer_fingerprint(const struct tls *tls, uint8_t out[TLS_FINGERPRINT_SIZE])
{
    (void)tls;
    (void)out;
    return false;
}

void tls_free(struct tls **tls)
{
    free(*tls);
    *tls = NULL;
}

struct bytes tls_exporter(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    (void)tls;
    (void)room;
    return BYTES(LOGIN_BINDING);
}

struct bytes tls_endpoint(const struct tls *tls, uint8_t room[TLS_BINDING_SIZE_MAX])
{
    (void)tls;
    (void)room;
    return BYTES_NONE;
}

struct bytes tls_version(const struct tls *tls)
{
    (void)tls;
    return BYTES("TLSv1.3");
}

struct bytes tls_cipher(const struct tls *tls)
{
    (void)tls;
    return BYTES("SIMULATED");
}

void tls_keep_sessions(struct tls *tls, tls_session_keeper *keep, void *owner)
{
    (void)tls;
    (void)keep;
    (void)owner;
}

bool tls_resume(struct tls *tls, struct bytes session)
{
    (void)tls;
    (void)session;
    return false;
}
