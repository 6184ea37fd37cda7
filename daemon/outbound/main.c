/* Start-up as a checklist: the resolver's configuration, who we are (for MX loops), TLS; then the channel to queued and its jobs.
 * The process needs sockets and nothing of the file system once it serves. */
#include "daemon/outbound/outbound.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/edge/clock.h"
#include "daemon/edge/process.h"
#include "daemon/edge/tls_store.h"
#include "daemon/outbound/parts.h"

enum { SELF_ENDPOINTS_MAX = 512 };

/* --- queued --- */

static void on_message(void *ctx, const struct msg *m)
{
    struct outbound *ob = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        delivery_begin(ob, &m->job_begin);
        break;
    case MSG_job_rcpt:
        delivery_rcpt(ob, &m->job_rcpt);
        break;
    case MSG_job_body:
        delivery_body(ob, &m->job_body);
        break;
    case MSG_job_run:
        delivery_run(ob, m->job_run.job);
        break;
    case MSG_job_cancel:
        delivery_cancel(ob, m->job_cancel.job);
        break;
    default:
        break; /* the codec lets nothing else through */
    }
}

/* queued is gone. What is under way would be given to us again by the next one: going on would double it (Q4). */
static void on_closed(void *ctx, enum channel_end why)
{
    struct outbound *ob = ctx;

    (void)why; /* the channel has logged it */
    channel_free(&ob->queued);
    deliveries_drop(ob);
    if (!ob->draining)
        process_orphaned(ob->process);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void dane_tell(struct outbound *ob)
{
    if (ob->queued != NULL && ob->dane_known)
        channel_send(ob->queued, &(struct msg){.kind = MSG_dane_fact, .dane_fact = {.live = ob->dane_live}});
}

static void on_dane_state(void *owner, bool live)
{
    struct outbound *ob = owner;

    ob->dane_known = true;
    ob->dane_live = live;
    dane_tell(ob);
}

static void say_hello(struct outbound *ob, uint32_t slots)
{
    struct msg m = {.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_OUTBOUND, .slots = slots}};

    if (ob->queued != NULL)
        channel_send(ob->queued, &m);
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct outbound *ob = ctx;

    (void)peer_index;
    if (peer != ROLE_QUEUED) {
        close(fd);
        return;
    }
    if (ob->queued != NULL)
        on_closed(ob, CHANNEL_END_PEER);
    ob->queued = channel_new(ob->loop, fd, ROLE_OUTBOUND, ROLE_QUEUED, &CHANNEL_HANDLERS, ob);
    say_hello(ob, ob->draining ? 0 : OUTBOUND_SLOTS);
    dane_tell(ob);
}

/* --- the supervisor --- */

static void on_go(void *ctx)
{
    struct outbound *ob = ctx;

    process_ready(ob->process);
}

void outbound_look_for_end(struct outbound *ob)
{
    if (ob->draining && ob->delivery_count == 0)
        process_exit(ob->process, 0); /* idle connections are closed on the way out */
}

static void on_drain(void *ctx)
{
    struct outbound *ob = ctx;

    ob->draining = true;
    say_hello(ob, 0);
    pool_quit(ob);
    outbound_look_for_end(ob);
}

/* Before on_go. Connections point into it: it stays as it is until the end (a reload brings new processes). */
static void on_credentials(void *ctx, int fd)
{
    struct outbound *ob = ctx;

    if (ob->logins.data != NULL) {
        close(fd);
        return;
    }
    struct result r = tls_pack_take(fd, &ob->logins);
    if (!is_ok(r))
        process_fail(ob->process, "the logins did not come whole");
}

/* Generic maps are the only one. */
static void on_table(void *ctx, enum config_table table, int fd)
{
    struct outbound *ob = ctx;
    struct bytes text = BYTES_NONE;
    struct result r = tls_pack_take(fd, &text);

    if (is_ok(r) && (unsigned)table < REWRITING_MAP_COUNT)
        r = rewriting_take(&ob->rewriting, table, text);
    if (!is_ok(r))
        process_fail(ob->process, r.why);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel,
    .on_go = on_go,
    .on_drain = on_drain,
    .on_credentials = on_credentials,
    .on_table = on_table};

/* --- who we are --- */

static bool endpoint_add(
    struct outbound *ob, struct dns_endpoint *endpoints, const struct dns_address *address, uint16_t port)
{
    if (ob->self.endpoint_count == SELF_ENDPOINTS_MAX)
        return false;
    endpoints[ob->self.endpoint_count++] = (struct dns_endpoint){.address = *address, .port = port};
    return true;
}

static bool address_of(const struct sockaddr *from, struct dns_address *address_out)
{
    *address_out = (struct dns_address){.family = 0};
    if (from != NULL && from->sa_family == AF_INET) {
        address_out->family = 4;
        memcpy(address_out->octets, &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from != NULL && from->sa_family == AF_INET6) {
        address_out->family = 6;
        memcpy(address_out->octets, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    }
    return address_out->family != 0;
}

/* CONTRACT "Ourselves": each address and port we listen on; a wildcard stands for every address of the interfaces. */
static void self_find(struct outbound *ob, struct dns_endpoint *endpoints)
{
    static const uint8_t ANY[16];
    const struct config *cfg = ob->cfg;
    struct ifaddrs *interfaces = NULL;
    struct dns_address address;

    if (getifaddrs(&interfaces) != 0)
        interfaces = NULL;
    for (size_t i = 0; i < cfg->listen_count; i++)
        for (size_t j = 0; j < cfg->listens[i].endpoint_count; j++) {
            const struct config_endpoint *at = &cfg->listens[i].endpoints[j];

            address = (struct dns_address){.family = at->ipv6 ? 6 : 4};
            memcpy(address.octets, at->address, at->ipv6 ? 16 : 4);
            if (memcmp(at->address, ANY, at->ipv6 ? 16 : 4) != 0) {
                (void)endpoint_add(ob, endpoints, &address, at->port);
                continue;
            }
            for (const struct ifaddrs *k = interfaces; k != NULL; k = k->ifa_next)
                if (address_of(k->ifa_addr, &address) && (address.family == 6) == at->ipv6)
                    (void)endpoint_add(ob, endpoints, &address, at->port);
        }
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    ob->self.endpoints = endpoints;
    ob->self.names = &cfg->hostname;
    ob->self.name_count = 1;
}

/* --- start-up --- */

/* While files can be read; only where a route measures by them. */
static RESULT roots_load(struct outbound *ob)
{
    bool wanted = false;

    for (size_t i = 0; i < ob->cfg->routes.count; i++)
        wanted = wanted || ob->cfg->routes.items[i].tls >= ROUTE_TLS_VERIFY;
    if (!wanted)
        return OK;
    TRY(tls_context_client(&ob->tls_roots));
    return tls_context_roots(ob->tls_roots, (const char *)ob->cfg->tls_roots.data);
}

static RESULT outbound_init(struct outbound *ob, struct dns_endpoint *endpoints)
{
    const struct config *cfg = ob->cfg;
    struct resolver_config resolver = {
        .servers = cfg->dns.servers.items,
        .server_count = cfg->dns.servers.count,
        .timeout_ms = cfg->dns.timeout,
        .tries = cfg->dns.tries,
        .trust_ad = cfg->dns.trust_ad,
        .cache = {.entries = RESOLVER_CACHE_ENTRIES_DEFAULT},
    };

    self_find(ob, endpoints);
    ob->courier = (struct courier_config){
        .self = &ob->self,
        .ipv4 = true,
        .ipv6 = true,
        .tls = SMTP_CLIENT_TLS_OPPORTUNISTIC,
        .dial_ms = cfg->timeouts.connect,
        .overlap_ms = COURIER_OVERLAP_DEFAULT_MS,
    };
    ob->rng.state = clock_seed();
    TRY(roots_load(ob));
    TRY(conn_room_new(ob->loop, &ob->room));
    TRY(dane_check_new(ob->loop, cfg, on_dane_state, ob, &ob->dane_check));
    return dns_edge_new(ob->loop, &resolver, delivery_on_answer, ob, &ob->dns);
}

static void outbound_fini(struct outbound *ob)
{
    channel_free(&ob->queued);
    deliveries_drop(ob);
    deliveries_free_spare(ob);
    while (ob->pool != NULL)
        link_close(ob->pool);
    dns_edge_free(&ob->dns);
    dane_check_free(&ob->dane_check);
    resumption_fini(&ob->resumption);
    if (ob->room != NULL) {
        conn_room_close_all(ob->room);
        while (conn_room_count(ob->room) > 0)
            loop_turn(ob->loop, false);
    }
    conn_room_free(&ob->room);
    tls_context_free(&ob->tls);
    tls_context_free(&ob->tls_roots);
    tls_pack_free(&ob->logins);
    rewriting_fini(&ob->rewriting);
}

int outbound_main(struct process *p)
{
    static struct dns_endpoint endpoints[SELF_ENDPOINTS_MAX];
    struct outbound ob = {
        .process = p, .loop = process_loop(p), .cfg = process_config(p), .rewriting.cfg = process_config(p)};
    struct result r = outbound_init(&ob, endpoints);
    int status;

    if (!is_ok(r))
        process_fail(p, r.why);
    status = process_serve(p, &HANDLERS, &ob);
    outbound_fini(&ob);
    return status;
}
