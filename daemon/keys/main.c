/* Design. The supervisor gives the files' content before on_go and again whenever a file has changed. What proves good becomes the
 * ring in force and goes, without keys, to every inbound process; what does not leaves the old one there.
 * (K1) The ring before the last one stays too: a handshake that began with its certificates can end.
 * (K2) An answer costs a packet of its own; an inbound process that does not read them loses its socket. */
#include "daemon/keys/keys.h"

#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/packets.h"
#include "daemon/edge/tls_store.h"
#include "daemon/keys/handshake.h"
#include "daemon/keys/ring.h"

struct keys {
    struct process *process;
    struct loop *loop;
    struct ring *ring, *before;
    struct client *first;
    uint64_t refused; /* told once for each doubling, so that a broken client does not fill the log */
    bool draining;
};

/* An inbound process. */
struct client {
    struct keys *keys;
    struct client *next;
    struct packets *packets;
};

static void client_free(struct client *c)
{
    struct client **link = &c->keys->first;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    packets_free(&c->packets);
    mem_free(c);
}

static void client_gone(struct client *c)
{
    struct keys *k = c->keys;

    client_free(c);
    if (k->draining && k->first == NULL)
        process_exit(k->process, 0);
}

/* --- certificates for inbound --- */

static void certificates_give(struct client *c)
{
    struct msg m = {.kind = MSG_key_certificates};
    int fd = -1;

    if (c->keys->ring == NULL)
        return;
    struct result r = tls_pack_file(ring_public(c->keys->ring), &fd);
    if (is_ok(r)) {
        r = packets_send(c->packets, &m, fd);
        close(fd);
    }
    if (!is_ok(r) && r.code != CODE_GONE)
        LOG(TLS_REFUSED, LOG_STR("why", r.why));
}

/* The first ones must be good; later ones that are not, or are worse than those in force, change nothing. */
static void on_credentials(void *ctx, int fd)
{
    struct keys *k = ctx;
    struct ring *fresh = NULL;
    struct bytes pack;
    int64_t now = clock_walltime().ms / 1000;
    struct result r = tls_pack_take(fd, &pack);

    if (is_ok(r)) {
        r = ring_new(pack, &fresh);
        tls_pack_free(&pack);
    }
    if (is_ok(r) && k->ring != NULL) {
        if (ring_expires(fresh) < now && ring_expires(k->ring) >= now)
            r = FAIL(CODE_REFUSED, "a certificate has ended already");
        else if (!ring_chains_hold(fresh) && ring_chains_hold(k->ring))
            r = FAIL(
                CODE_REFUSED, "the chain does not hold: each certificate must be signed by the next one of its file");
    }
    if (!is_ok(r)) {
        ring_free(&fresh);
        if (k->ring == NULL)
            process_fail(k->process, r.why);
        else
            LOG(TLS_REFUSED, LOG_STR("why", r.why));
        return;
    }
    if (!ring_chains_hold(fresh))
        LOG(TLS_CHAIN, LOG_STR("why", "a certificate is not signed by the next one of its file"));
    ring_free(&k->before); /* (K1) */
    k->before = k->ring;
    k->ring = fresh;
    for (struct client *c = k->first; c != NULL; c = c->next)
        certificates_give(c);
}

/* --- signatures --- */

static void refused_tell(struct keys *k, const char *why)
{
    k->refused++;
    if ((k->refused & (k->refused - 1)) == 0)
        LOG(SIGNATURE_REFUSED, LOG_STR("why", why), LOG_NUM("count", k->refused));
}

static void on_message(void *ctx, const struct msg *m, int fd)
{
    struct client *c = ctx;
    struct keys *k = c->keys;
    uint8_t room[TLS_SIGNATURE_SIZE_MAX];
    size_t size = 0;

    if (fd >= 0) /* inbound has none to give */
        close(fd);
    if (m->kind != MSG_sign_ask)
        return;
    const struct msg_sign_ask *ask = &m->sign_ask;
    const struct ring *ring = k->ring != NULL && ring_has(k->ring, ask->key) ? k->ring : k->before;
    if (!handshake_may_sign(ask->content, ask->scheme))
        refused_tell(k, "this is not what a server signs in a handshake");
    else if (ring == NULL || !ring_sign(ring, ask->key, ask->scheme, ask->content, room, &size))
        refused_tell(k, "no such key, or none for this kind of signature");
    struct msg answer = {.kind = MSG_sign_answer, .sign_answer = {.number = ask->number, .signature = {room, size}}};
    struct result r = packets_send(c->packets, &answer, -1);
    if (!is_ok(r)) /* (K2) */
        client_gone(c);
}

static void on_closed(void *ctx)
{
    client_gone(ctx);
}

static const struct packet_handlers CLIENT_HANDLERS = {on_message, on_closed};

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct keys *k = ctx;
    struct client *c = peer == ROLE_INBOUND ? mem_take_zero(sizeof *c) : NULL;

    (void)peer_index;
    if (c == NULL) {
        close(fd);
        return;
    }
    c->keys = k;
    c->packets = packets_new(k->loop, fd, ROLE_KEYS, ROLE_INBOUND, &CLIENT_HANDLERS, c);
    if (c->packets == NULL) {
        mem_free(c);
        return;
    }
    c->next = k->first;
    k->first = c;
    certificates_give(c);
}

/* --- what the supervisor says --- */

static void on_go(void *ctx)
{
    struct keys *k = ctx;

    process_ready(k->process);
}

/* The inbound processes of this generation need us until they are gone. */
static void on_drain(void *ctx)
{
    struct keys *k = ctx;

    k->draining = true;
    if (k->first == NULL)
        process_exit(k->process, 0);
}

static const struct process_handlers HANDLERS = {
    .on_channel = on_channel, .on_go = on_go, .on_drain = on_drain, .on_credentials = on_credentials};

int keys_main(struct process *p)
{
    struct keys k = {.process = p, .loop = process_loop(p)};
    int status = process_serve(p, &HANDLERS, &k);

    while (k.first != NULL)
        client_free(k.first);
    ring_free(&k.ring);
    ring_free(&k.before);
    return status;
}
