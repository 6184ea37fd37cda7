/* Design. The client core is pulled in link_turn alone. Whatever ends a wait outside it (a job, a body piece) asks for a turn
 * in the loop's work with link_wake; inside it the loop picks it up.
 * (L1) A link serves deliveries (dialing or in session), or waits in the pool, or is on its way out: `seats` set, `at`
 *      set, or neither. More than one seat is taken only by deliveries of one message (joint.c).
 * (L2) After `over` the core is not called any more; the connection closes by itself. */
#include "daemon/outbound/parts.h"

#include "daemon/base/log.h"
#include "daemon/config/login_file.h"
#include "smtp/base64.h"
#include "smtp/idna.h"

static struct bytes keep(uint8_t *room, size_t room_size, struct bytes in)
{
    in = bytes_head(in, room_size);
    if (in.size > 0)
        memcpy(room, in.data, in.size);
    return (struct bytes){room, in.size};
}

struct bytes link_host(const struct link *l)
{
    return l->peer.host.size > 0 ? l->peer.host : l->peer.unix_path;
}

/* --- seats --- */

void seat_take(struct seat *s, struct link *l, struct delivery *d, unsigned slot)
{
    struct seat **end = &l->seats;

    ASSERT(s->link == NULL);
    while (*end != NULL)
        end = &(*end)->next;
    *s = (struct seat){.link = l, .delivery = d, .at = end, .slot = slot};
    *end = s;
}

void seat_leave(struct seat *s)
{
    if (s->link == NULL)
        return;
    joint_forget(s);
    *s->at = s->next;
    if (s->next != NULL)
        s->next->at = s->at;
    s->link = NULL;
    s->in_job = s->untold = s->dialing = false;
}

void seat_move(struct seat *from, struct seat *to)
{
    struct link *l = from->link;

    seat_leave(from);
    seat_take(to, l, from->delivery, from->slot);
}

/* --- the pool --- */

static void pool_remove(struct link *l)
{
    *l->at = l->next;
    if (l->next != NULL)
        l->next->at = l->at;
    l->at = NULL;
    l->next = NULL;
    l->ob->pool_count--;
}

void link_close(struct link *l)
{
    if (l->at != NULL)
        pool_remove(l);
    l->over = true;
    conn_close(l->io);
}

static void link_quit(struct link *l)
{
    if (l->at != NULL)
        pool_remove(l);
    if (l->over)
        return;
    if (!smtp_client_idle(&l->client)) {
        link_close(l);
        return;
    }
    smtp_client_quit(&l->client, loop_now(l->ob->loop));
    link_wake(l);
}

static void pool_put(struct link *l)
{
    struct outbound *ob = l->ob;

    l->next = ob->pool;
    l->at = &ob->pool;
    if (l->next != NULL)
        l->next->at = &l->next;
    ob->pool = l;
    ob->pool_count++;
    conn_set_deadline(l->io, instant_after(loop_now(ob->loop), POOL_IDLE_MS));
    if (ob->pool_count > POOL_LINKS_MAX) {
        struct link *oldest = ob->pool;

        while (oldest->next != NULL)
            oldest = oldest->next;
        link_quit(oldest);
    }
}

struct link *pool_take_lane(struct outbound *ob, struct bytes lane)
{
    for (struct link *l = ob->pool; l != NULL; l = l->next)
        if (bytes_equal(l->lane, lane)) {
            pool_remove(l);
            return l;
        }
    return NULL;
}

bool link_peer_same(const struct link *l, const struct courier_peer *peer, const struct delivery *d)
{
    if (l->level != d->tls || l->source != d->source)
        return false;
    if (!bytes_equal(l->fingerprint, d->fingerprint))
        return false;
    /* The host takes our mail for that of whom we logged in as. */
    if (!bytes_equal(l->credentials, d->login != NULL ? d->login->credentials : BYTES_NONE))
        return false;
    /* What was proved there was proved for the domain of its lane. */
    if ((l->level == ROUTE_TLS_SECURE || l->tlsa != NULL) && !bytes_equal(l->lane, d->lane))
        return false;
    if (l->peer.lmtp != peer->lmtp || l->peer.port != peer->port || l->peer.address.family != peer->address.family)
        return false;
    if (peer->address.family == 0)
        return bytes_equal(l->peer.unix_path, peer->unix_path);
    return dns_address_equal(&l->peer.address, &peer->address) && bytes_equal_nocase(l->peer.host, peer->host);
}

struct link *pool_take_peer(struct delivery *d, const struct courier_peer *peer)
{
    for (struct link *l = d->ob->pool; l != NULL; l = l->next)
        if (link_peer_same(l, peer, d) && (peer->tls != SMTP_CLIENT_TLS_REQUIRED || conn_tls(l->io) != NULL)) {
            pool_remove(l);
            return l;
        }
    return NULL;
}

void pool_quit(struct outbound *ob)
{
    while (ob->pool != NULL)
        link_quit(ob->pool);
}

/* --- TLSA records --- */

static bool asks_for_records(const struct link *l)
{
    return l->level == ROUTE_TLS_DANE || l->level == ROUTE_TLS_DANE_ONLY;
}

/* RFC 7672 2.2.3: asked while the connection is made, and known before the dialogue begins. */
static RESULT tlsa_ask(struct link *l)
{
    uint8_t octets[DOMAIN_SIZE_MAX + 16];
    struct buf name = BUF(octets);

    if (!asks_for_records(l) || !l->peer.secure || l->peer.tlsa_base.size == 0 || l->peer.address.family == 0)
        return OK;
    TRY(buf_put_octet(&name, '_'));
    TRY(buf_put_u64(&name, l->peer.port));
    TRY(buf_put_str(&name, "._tcp."));
    TRY(buf_put(&name, l->peer.tlsa_base));
    TRY(dns_edge_ask(l->ob->dns, buf_bytes(&name), DNS_TYPE_TLSA, (uint64_t)(uintptr_t)l | LINK_ASK_BIT, &l->tlsa_ask));
    l->tlsa_open = true;
    return OK;
}

/* All who wait for the dial are told; it is of no use to anybody from here on. */
static void dials_fail(struct link *l, struct result why)
{
    struct seat *s;

    l->over = true;
    while ((s = l->seats) != NULL) {
        seat_leave(s);
        delivery_dial_failed(s, why);
    }
}

static void dial_refuse(struct link *l, const char *why)
{
    LOG(TLS_FAILED, LOG_TEXT("host", link_host(l)), LOG_STR("address", l->address_text), LOG_STR("why", why));
    dials_fail(l, FAIL(CODE_REFUSED, why));
    conn_close(l->io);
}

static struct seat *seat_dialing(struct link *l)
{
    struct seat *s = l->seats;

    while (s != NULL && !s->dialing)
        s = s->next;
    return s;
}

/* Connected, and nothing more to wait for. */
static void dial_done(struct link *l)
{
    struct seat *s;

    if (l->tlsa_failed) {
        dial_refuse(l, "its TLSA records cannot be had");
        return;
    }
    if (l->tlsa == NULL && l->level == ROUTE_TLS_DANE_ONLY) {
        dial_refuse(l, "it has no TLSA records that DNSSEC vouches for");
        return;
    }
    if (l->tlsa != NULL && l->peer.tls == SMTP_CLIENT_TLS_NONE) { /* a second try, after a handshake that failed */
        dial_refuse(l, "its TLSA records ask for TLS");
        return;
    }
    while ((s = seat_dialing(l)) != NULL) {
        s->dialing = false;
        delivery_dialed(s);
    }
}

void link_on_tlsa(struct link *l, const struct dns_answer *answer)
{
    l->tlsa_open = false;
    l->tlsa_failed = dns_status_is_temporary(answer->status);
    if (answer->status == DNS_OK && answer->authentic && answer->count + answer->unusable > 0) {
        l->tlsa = mem_take(sizeof *l->tlsa);
        l->tlsa_failed = l->tlsa == NULL;
        if (l->tlsa != NULL)
            *l->tlsa = *answer;
    }
    if (l->connected)
        dial_done(l);
}

/* --- the turn --- */

static void link_tls_begin(struct link *l)
{
    struct tls *tls;

    l->tls_due = false;
    struct result r = link_tls_make(l, &tls);
    if (!is_ok(r)) {
        smtp_client_answer(&l->client, loop_now(l->ob->loop), SMTP_CLIENT_TLS_BROKEN, r.why);
        link_wake(l);
        return;
    }
    l->shaking = true;
    conn_start_tls(l->io, tls);
    /* The core's own deadline goes on: it bounds the handshake. */
    conn_set_deadline(l->io, smtp_client_deadline(&l->client));
}

static void link_event(struct link *l, const struct smtp_client_event *event)
{
    switch (event->kind) {
    case SMTP_CLIENT_WRITE:
        conn_write(l->io, event->bytes);
        break;
    case SMTP_CLIENT_WANT_BODY:
        ASSERT(l->seats != NULL);
        delivery_want_body(l->seats->delivery, event->want.offset);
        break;
    case SMTP_CLIENT_WANT_CONVERT:
        l->convert = mem_take(sizeof *l->convert);
        smtp_client_convert(&l->client, loop_now(l->ob->loop), l->convert);
        break;
    case SMTP_CLIENT_RCPT_RESULT:
        if (l->joint != NULL) {
            joint_rcpt_result(l, event);
            break;
        }
        ASSERT(l->seats != NULL);
        delivery_client_event(l->seats, event);
        break;
    case SMTP_CLIENT_JOB_DONE:
        mem_free(l->convert);
        l->convert = NULL;
        if (l->second_try && event->done.end == SMTP_CLIENT_END_DONE)
            link_clear_noted(l);
        if (l->joint != NULL) {
            joint_done(l, event);
            break;
        }
        ASSERT(l->seats != NULL);
        l->job = NULL;
        l->seats->in_job = false;
        delivery_client_event(l->seats, event);
        break;
    case SMTP_CLIENT_START_TLS:
        l->tls_due = true; /* when the input is eaten: plaintext behind the 220 must be seen by the core */
        break;
    case SMTP_CLIENT_CLOSE:
        l->over = true;
        if (l->at != NULL)
            pool_remove(l);
        conn_close_after_flush(l->io);
        break;
    }
}

static void link_turn(struct link *l)
{
    struct smtp_client_event event;

    if (l->running || l->over || !l->begun)
        return;
    l->running = true;
    /* A peer that does not read holds back what we would write, not the news that its time is up, nor that the session is over
     * (421 in the middle of the content): a core that is through waits for nothing and has no deadline. */
    while (!l->over && (l->late || !conn_congested(l->io) || smtp_client_deadline(&l->client).ms == INSTANT_NEVER.ms) &&
           smtp_client_next(&l->client, &event))
        link_event(l, &event);
    l->running = false;
    if (!l->over && l->at == NULL)
        conn_set_deadline(l->io, smtp_client_deadline(&l->client));
}

static void on_work(void *ctx)
{
    struct link *l = ctx;

    link_turn(l);
    if (l->tls_due && !l->over)
        link_tls_begin(l);
}

void link_wake(struct link *l)
{
    if (!l->running)
        loop_hook_add(l->ob->loop, &l->work, LOOP_WORK);
}

/* --- the login --- */

static void login_free(struct link *l)
{
    if (l->login != NULL)
        client_auth_wipe(&l->login->auth);
    mem_free(l->login);
    l->login = NULL;
}

static RESULT login_make(struct link *l, const struct route *route)
{
    uint8_t raw[18], room[SCRAM_NONCE_SIZE_MAX];
    struct buf nonce = BUF(room);

    if (route == NULL)
        return OK;
    l->credentials = route->credentials;
    l->login = mem_take(sizeof *l->login);
    if (l->login == NULL)
        return FAIL(CODE_FULL, "out of memory");
    if (!login_file_find(l->ob->logins, route->credentials, &l->login->credentials)) {
        mem_free(l->login);
        l->login = NULL;
        return FAIL(CODE_REFUSED, "the login of its route is not known");
    }
    digest_random(raw, sizeof raw);
    struct result r = base64_encode((struct bytes){raw, sizeof raw}, &nonce);
    ASSERT(is_ok(r));
    client_auth_init(&l->login->auth, &l->login->credentials, route->auth_without_tls, buf_bytes(&nonce));
    return OK;
}

/* --- the connection's calls --- */

static void on_opened(void *owner, struct conn *c)
{
    struct link *l = owner;

    (void)c;
    LOG(CONNECTED, LOG_TEXT("lane", l->lane), LOG_TEXT("host", link_host(l)),
        LOG_TEXT("address", conn_end_text(conn_peer(l->io))));
    l->connected = true;
    if (!l->tlsa_open)
        dial_done(l);
}

static size_t on_input(void *owner, struct conn *c, struct bytes in)
{
    struct link *l = owner;
    size_t eaten = 0, fed = 1;

    (void)c;
    if (!l->begun) /* a greeting that comes while another dial is still preferred */
        return 0;
    while (eaten < in.size && fed > 0 && !l->over) {
        fed = smtp_client_feed(&l->client, loop_now(l->ob->loop), bytes_after(in, eaten));
        eaten += fed;
        link_turn(l);
    }
    if (l->over)
        return in.size;
    if (l->tls_due)
        link_tls_begin(l);
    return eaten;
}

static void on_input_end(void *owner, struct conn *c)
{
    struct link *l = owner;

    if (!l->begun || l->over) {
        if (!l->begun)
            dials_fail(l, FAIL(CODE_GONE, "closed before the greeting"));
        conn_close(c);
        return;
    }
    smtp_client_lost(&l->client, loop_now(l->ob->loop), "the connection was closed by the other side");
    link_turn(l);
    if (!l->over)
        conn_close(c);
}

static void on_secured(void *owner, struct conn *c)
{
    struct link *l = owner;

    (void)c;
    l->shaking = false;
    smtp_client_answer(&l->client, loop_now(l->ob->loop), SMTP_CLIENT_TLS_UP, NULL);
    link_turn(l);
}

static void on_drained(void *owner, struct conn *c)
{
    struct link *l = owner;

    if (!l->begun || l->over)
        return;
    smtp_client_tick(&l->client, loop_now(l->ob->loop));
    link_turn(l);
    conn_resume(c);
}

static void on_deadline(void *owner, struct conn *c)
{
    struct link *l = owner;

    (void)c;
    if (l->at != NULL) {
        link_quit(l);
        return;
    }
    if (!l->begun)
        return;
    l->late = instant_reached(smtp_client_deadline(&l->client), loop_now(l->ob->loop));
    smtp_client_tick(&l->client, loop_now(l->ob->loop));
    link_turn(l);
    l->late = false;
    if (l->shaking && !l->over)
        conn_close(l->io);
}

static void on_lost(void *owner, struct conn *c, struct result why)
{
    struct link *l = owner;
    struct instant now = loop_now(l->ob->loop);
    const char *words = why.sys != 0 ? strerrordesc_np(why.sys) : why.why;

    (void)c;
    if (words == NULL)
        words = why.why;
    if (!l->begun) {
        LOG(CONNECT_FAILED, LOG_TEXT("lane", l->lane), LOG_TEXT("host", link_host(l)),
            LOG_STR("address", l->address_text), LOG_STR("why", words));
        dials_fail(l, why);
        return;
    }
    if (l->over)
        return;
    if (l->shaking) {
        LOG(TLS_FAILED, LOG_TEXT("host", link_host(l)), LOG_STR("address", l->address_text), LOG_STR("why", words));
        l->shaking = false;
        smtp_client_answer(&l->client, now, SMTP_CLIENT_TLS_BROKEN, words);
        link_turn(l);
    }
    if (!l->over) {
        smtp_client_lost(&l->client, now, words);
        link_turn(l);
    }
}

static void on_closed(void *owner, struct conn *c)
{
    struct link *l = owner;

    (void)c;
    if (l->at != NULL)
        pool_remove(l);
    while (l->seats != NULL)
        seat_leave(l->seats);
    if (l->tlsa_open)
        dns_edge_cancel(l->ob->dns, l->tlsa_ask);
    mem_free(l->tlsa);
    mem_free(l->joint);
    mem_free(l->convert);
    login_free(l);
    loop_hook_drop(l->ob->loop, &l->work);
    mem_free(l);
}

static const struct conn_handler LINK_HANDLER = {
    .opened = on_opened,
    .input = on_input,
    .input_end = on_input_end,
    .secured = on_secured,
    .drained = on_drained,
    .deadline = on_deadline,
    .lost = on_lost,
    .closed = on_closed,
};

/* --- birth, jobs, end --- */

/* The address that its source has of the peer's family. A literal may ask for a family that the source does not use. */
static RESULT source_choose(const struct config_source *s, bool ipv6, const uint8_t **address_out)
{
    if (ipv6 ? !config_source_ipv6(s) : !config_source_ipv4(s))
        return FAIL_SYS(EAFNOSUPPORT, "its source does not use this family of addresses");
    if (ipv6 ? s->has_ipv6 : s->has_ipv4)
        *address_out = ipv6 ? s->ipv6 : s->ipv4;
    return OK;
}

RESULT link_dial(struct delivery *d, unsigned slot, const struct courier_peer *peer)
{
    struct outbound *ob = d->ob;
    struct link *l = mem_take(sizeof *l);
    struct conn_dial to = {
        .local = peer->address.family == 0,
        .ipv6 = peer->address.family == 6,
        .port = peer->port,
        .path = peer->unix_path,
        .deadline = instant_after(loop_now(ob->loop), ob->cfg->timeouts.connect),
    };
    struct buf text;

    if (l == NULL)
        return FAIL(CODE_FULL, "out of memory");
    memset(l, 0, offsetof(struct link, client));
    l->ob = ob;
    l->work = (struct loop_hook){.fn = on_work, .ctx = l};
    l->peer = *peer;
    l->peer.host = keep(l->host_room, sizeof l->host_room, peer->host);
    l->peer.tlsa_base = keep(l->base_room, sizeof l->base_room, peer->tlsa_base);
    l->peer.unix_path = keep(l->path_room, sizeof l->path_room, peer->unix_path);
    l->lane = keep(l->lane_room, sizeof l->lane_room, d->lane);
    buf_init(&text, l->address_text, sizeof l->address_text - 1);
    if (peer->address.family != 0 && !is_ok(dns_address_put(&text, &peer->address)))
        buf_reset(&text);
    l->address_text[text.size] = 0;
    memcpy(to.address, peer->address.octets, sizeof to.address);
    l->level = d->tls;
    l->fingerprint = d->fingerprint;
    l->source = d->source;
    struct result r = login_make(l, d->login);
    if (is_ok(r) && d->source != NULL && !to.local)
        r = source_choose(d->source, to.ipv6, &to.source);
    if (is_ok(r))
        r = tlsa_ask(l);
    if (is_ok(r))
        r = conn_dial(ob->room, &to, &LINK_HANDLER, l, &l->io);
    if (!is_ok(r)) {
        LOG(CONNECT_FAILED, LOG_TEXT("lane", d->lane), LOG_TEXT("host", peer->host),
            LOG_STR("address", l->address_text), LOG_STR("why", r.why));
        if (l->tlsa_open)
            dns_edge_cancel(ob->dns, l->tlsa_ask);
        login_free(l);
        mem_free(l);
        return r;
    }
    seat_take(&d->dials[slot], l, d, slot);
    d->dials[slot].dialing = true;
    return OK;
}

static void client_begin(struct link *l, enum smtp_client_tls tls)
{
    const struct config *cfg = l->ob->cfg;

    l->cfg = (struct smtp_client_config){
        .helo = l->source != NULL && l->source->helo.size > 0 ? l->source->helo : cfg->hostname,
        .lmtp = l->peer.lmtp,
        .eight_bit = cfg->send_8bit_raw ? SMTP_EIGHT_BIT_RAW : cfg->eight_bit,
        .domain_ascii = idna_to_ascii,
        .tls = link_tls_wanted(l, tls),
        .login = l->login != NULL ? &l->login->auth.login : NULL,
        .greeting_ms = cfg->timeouts.greeting,
        .ehlo_ms = cfg->timeouts.ehlo,
        .mail_ms = cfg->timeouts.mail,
        .rcpt_ms = cfg->timeouts.rcpt,
        .data_ms = cfg->timeouts.data,
        .block_ms = cfg->timeouts.block,
        .dot_ms = cfg->timeouts.dot,
        .quit_ms = cfg->timeouts.quit,
    };
    smtp_client_init(&l->client, &l->cfg, loop_now(l->ob->loop));
    l->begun = true;
    conn_resume(l->io); /* a greeting that came early */
}

void link_job_start(struct seat *s, const struct smtp_job *job, enum smtp_client_tls tls)
{
    struct link *l = s->link;
    struct delivery *d = s->delivery;

    l->lane = keep(l->lane_room, sizeof l->lane_room, d->lane);
    if (!l->begun)
        client_begin(l, tls);
    if (l->level == ROUTE_TLS_DANE && d->login == NULL) /* with records no clear second try */
        d->cfg.tls = l->tlsa != NULL ? SMTP_CLIENT_TLS_REQUIRED : SMTP_CLIENT_TLS_OPPORTUNISTIC;
    s->in_job = true;
    if (l->joint != NULL) {
        joint_add(s, job);
    } else {
        l->job = job;
        l->jobs++;
        smtp_client_job_start(&l->client, loop_now(l->ob->loop), job);
    }
    link_wake(l);
}

void link_body(struct link *l, struct bytes body, bool last)
{
    smtp_client_body(&l->client, loop_now(l->ob->loop), body, last);
    link_wake(l);
}

void link_body_broken(struct link *l, const char *why)
{
    smtp_client_answer(&l->client, loop_now(l->ob->loop), SMTP_CLIENT_BODY_BROKEN, why);
    link_wake(l);
}

void link_release(struct seat *s)
{
    struct link *l = s->link;

    if (l == NULL)
        return;
    seat_leave(s);
    if (l->seats != NULL)
        return;
    mem_free(l->joint);
    l->joint = NULL;
    if (l->over || !l->begun)
        link_close(l);
    else if (l->ob->draining || l->jobs >= l->ob->cfg->limits.jobs_per_connection || !smtp_client_idle(&l->client))
        link_quit(l);
    else
        pool_put(l);
}

void link_abandon(struct seat *s)
{
    struct link *l = s->link;

    if (l == NULL)
        return;
    seat_leave(s);
    if (l->seats != NULL && !l->over) {
        l->late = true; /* although the peer may not read */
        smtp_client_lost(&l->client, loop_now(l->ob->loop), "a delivery that shared the transaction was called off");
        link_turn(l);
    }
    link_close(l);
}
