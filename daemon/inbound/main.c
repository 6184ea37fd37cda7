/* Start-up as a checklist: users' names while files can be read, the census, the doors; then certificates and the channels to keys and
 * queued, and the ports once ids are in stock, so that the first client is not told to come again. */
#include "daemon/inbound/inbound.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/listener.h"
#include "daemon/inbound/session.h"
#include "daemon/inbound/signer.h"

enum { LISTENERS_MAX = 256, DAYS_WARNED = 14, DAY_MS = 86400000 };

/* A listening socket: waiting for the start, then open. */
struct gate {
    struct inbound_process *ip;
    const struct door *door;
    int fd;
    struct listener *listener;
};

struct inbound_process {
    struct inbound in;
    struct process *process;
    struct signer *signer; /* NULL: there are no certificates */
    struct rewriting rewriting;
    struct door *doors; /* one for each of cfg->listens, and the last for run_dir/inject */
    struct gate gates[LISTENERS_MAX];
    size_t gate_count;
    bool go, open;
};

static struct inbound_process *of_inbound(struct inbound *in)
{
    return (struct inbound_process *)((char *)in - offsetof(struct inbound_process, in));
}

/* --- listeners --- */

static void on_accept(void *owner, struct listener *l, int fd)
{
    struct gate *gate = owner;

    (void)l;
    session_new(&gate->ip->in, gate->door, fd);
}

static void gate_open(struct gate *gate)
{
    struct result r = listener_new(gate->ip->in.loop, gate->fd, on_accept, gate, &gate->listener);

    if (is_ok(r))
        gate->fd = -1;
    else
        process_fail(gate->ip->process, r.why);
}

static void gates_open(struct inbound_process *ip)
{
    if (!ip->go || ip->in.draining || ip->open || !depot_is_stocked(ip->in.depot) ||
        (ip->signer != NULL && ip->in.tls == NULL))
        return;
    ip->open = true;
    for (size_t i = 0; i < ip->gate_count; i++)
        gate_open(&ip->gates[i]);
    process_ready(ip->process);
}

static void gates_close(struct inbound_process *ip)
{
    for (size_t i = 0; i < ip->gate_count; i++) {
        listener_free(&ip->gates[i].listener);
        if (ip->gates[i].fd >= 0)
            close(ip->gates[i].fd);
        ip->gates[i].fd = -1;
    }
}

/* --- what the supervisor says --- */

static void on_listener(void *ctx, uint32_t listen_index, uint32_t address_index, int fd)
{
    struct inbound_process *ip = ctx;
    size_t door = listen_index == LISTENER_INJECT ? ip->in.cfg->listen_count : listen_index;
    struct gate *gate = &ip->gates[ip->gate_count];

    (void)address_index;
    if (door > ip->in.cfg->listen_count || ip->gate_count == LISTENERS_MAX || ip->in.draining) {
        close(fd);
        return;
    }
    *gate = (struct gate){.ip = ip, .door = &ip->doors[door], .fd = fd};
    ip->gate_count++;
    if (ip->open)
        gate_open(gate);
}

/* Queued counts for all of us; it is told again when it comes back. */
static void certificates_tell(struct inbound_process *ip)
{
    struct tls_certificate_fact fact;
    uint32_t count = ip->in.tls == NULL ? 0 : (uint32_t)tls_store_pair_count(ip->in.tls);

    for (uint32_t i = 0; i < count && tls_store_fact(ip->in.tls, i, &fact); i++)
        depot_say(ip->in.depot, &(struct msg){.kind = MSG_certificate_fact,
                                    .certificate_fact = {.index = i,
                                        .count = count,
                                        .name = bytes_of(fact.name),
                                        .rsa = fact.rsa,
                                        .ends = fact.ends > 0 ? (uint64_t)fact.ends : 0}});
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct inbound_process *ip = ctx;

    (void)peer_index;
    if (peer == ROLE_QUEUED) {
        depot_channel(ip->in.depot, fd);
        certificates_tell(ip);
    } else if (peer == ROLE_KEYS && ip->signer != NULL)
        signer_channel(ip->signer, fd);
    else if (peer == ROLE_AUTH && ip->in.clerk != NULL) {
        clerk_channel(ip->in.clerk, fd);
        session_bans_tell(&ip->in);
    } else if (peer == ROLE_LOOKUP && ip->in.inquiry != NULL)
        inquiry_channel(ip->in.inquiry, fd);
    else
        close(fd);
}

/* The keys process has judged them; what is left is to take them. */
static void on_certificates(void *ctx, int fd)
{
    struct inbound_process *ip = ctx;
    struct tls_store *fresh;
    int64_t now = clock_walltime().ms;
    struct result r = tls_store_take(fd, &fresh);

    if (!is_ok(r)) {
        if (ip->in.tls == NULL)
            process_fail(ip->process, r.why);
        else
            LOG(TLS_REFUSED, LOG_STR("why", r.why));
        return;
    }
    tls_store_free(&ip->in.tls);
    ip->in.tls = fresh;
    certificates_tell(ip);
    int64_t days = (tls_store_expires(fresh) * 1000 - now) / DAY_MS;
    LOG(TLS_LOADED, LOG_NUM("certificates", tls_store_pair_count(fresh)), LOG_NUM("days_left", days));
    if (days < DAYS_WARNED)
        LOG(TLS_ENDS, LOG_NUM("days_left", days));
    gates_open(ip);
}

static void on_table(void *ctx, enum config_table table, int fd)
{
    struct inbound_process *ip = ctx;
    struct bytes text = BYTES_NONE;
    struct result r = tls_pack_take(fd, &text);

    if (is_ok(r) && (unsigned)table < REWRITING_MAP_COUNT)
        r = rewriting_take(&ip->rewriting, table, text);
    if (!is_ok(r))
        process_fail(ip->process, r.why);
}

static void on_go(void *ctx)
{
    struct inbound_process *ip = ctx;

    ip->go = true;
    gates_open(ip);
}

static void on_stocked(struct inbound *in)
{
    gates_open(of_inbound(in));
}

static void on_orphaned(struct inbound *in)
{
    if (!in->draining)
        process_orphaned(of_inbound(in)->process);
}

static void on_emptied(struct inbound *in)
{
    process_exit(of_inbound(in)->process, 0);
}

static void on_drain(void *ctx)
{
    struct inbound_process *ip = ctx;
    struct session *next;

    ip->in.draining = true;
    gates_close(ip);
    for (struct session *s = ip->in.first; s != NULL; s = next) {
        next = session_next(s);
        session_stop(s);
    }
    if (ip->in.first == NULL)
        on_emptied(&ip->in);
}

static const struct process_handlers HANDLERS = {
    .on_channel = on_channel, .on_listener = on_listener, .on_table = on_table, .on_go = on_go, .on_drain = on_drain};

/* --- start-up --- */

static RESULT inbound_init(struct inbound_process *ip)
{
    struct inbound *in = &ip->in;
    size_t count = in->cfg->listen_count;

    users_load(&in->users);
    TRY(census_open(census_group((int32_t)getppid()), in->cfg->limits.sessions, &in->census));
    TRY(conn_room_new(in->loop, &in->room));
    in->clerk = clerk_new(in->loop, session_answered);
    in->inquiry = inquiry_new(in->loop, session_rcpt_known);
    in->repute = repute_new(in->loop, in->cfg->checks.time, session_client_known);
    in->bans = mem_take_zero(sizeof *in->bans);
    in->depot = depot_new(in->loop, &SESSION_DEPOT_HANDLERS, in);
    in->counts = in->depot == NULL ? NULL : counts_new(in->loop, in->depot);
    if (in->cfg->tls_certificates.count > 0 && (ip->signer = signer_new(in->loop, on_certificates, ip)) == NULL)
        return FAIL(CODE_FULL, "no way to the keys process");
    ip->doors = mem_take_zero((count + 1) * sizeof *ip->doors);
    if (in->depot == NULL || in->clerk == NULL || in->inquiry == NULL || in->repute == NULL || in->bans == NULL ||
        in->counts == NULL || ip->doors == NULL)
        return FAIL(CODE_FULL, "out of memory");
    clerk_on_banned(in->clerk, session_ban_made, in);
    inquiry_share(in->inquiry, in->repute);
    for (size_t i = 0; i <= count; i++)
        door_fill(&ip->doors[i], in->cfg, i < count ? &in->cfg->listens[i] : NULL);
    return OK;
}

static void inbound_fini(struct inbound_process *ip)
{
    struct inbound *in = &ip->in;

    gates_close(ip);
    if (in->room != NULL) {
        conn_room_close_all(in->room);
        while (conn_room_count(in->room) > 0)
            loop_turn(in->loop, false); /* closing handles close */
    }
    conn_room_free(&in->room);
    loop_timer_stop(in->loop, &in->telling);
    counts_free(&in->counts);
    depot_free(&in->depot);
    clerk_free(&in->clerk);
    mem_free(in->bans);
    inquiry_free(&in->inquiry);
    repute_free(&in->repute);
    census_close(&in->census);
    signer_free(&ip->signer);
    tls_store_free(&in->tls);
    users_fini(&in->users);
    rewriting_fini(&ip->rewriting);
    mem_free(ip->doors);
}

int inbound_main(struct process *p)
{
    struct inbound_process *ip = mem_take_zero(sizeof *ip);
    struct result r;
    int status = 1;

    if (ip == NULL) {
        process_fail(p, "out of memory");
        return process_serve(p, &HANDLERS, NULL);
    }
    ip->process = p;
    ip->in.loop = process_loop(p);
    ip->in.cfg = ip->rewriting.cfg = process_config(p);
    ip->in.rewriting = &ip->rewriting;
    ip->in.stocked = on_stocked;
    ip->in.orphaned = on_orphaned;
    ip->in.emptied = on_emptied;
    r = inbound_init(ip);
    if (!is_ok(r))
        process_fail(p, r.why);
    status = process_serve(p, &HANDLERS, ip);
    inbound_fini(ip);
    mem_free(ip);
    return status;
}
