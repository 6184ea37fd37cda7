/* Design. The courier is pulled in delivery_pull alone (`pulling` keeps it from nesting); each callback tells the courier what
 * happened and then pulls. A delivery that has said FINISHED goes to the spare list at once: delivery_pull then returns false
 * and nobody touches it.
 * (V1) Each recipient's result and then one job_end go to queued, whatever happens; without queued nothing does, and the
 *      job is dropped: the next queued gives it again.
 * (V2) The first piece of the body is kept until the end, so that a second host costs nothing; the pieces after it are asked
 *      for one ahead of the one being sent. */
#include "daemon/outbound/parts.h"

#include "daemon/base/log.h"
#include "smtp/idna.h"

enum { SPARE_MAX = 32, RCPTS_AT_FIRST = 4, ASK_BITS_MASK = MX_ASK_COUNT_MAX - 1 };
STATIC_ASSERT((MX_ASK_COUNT_MAX & ASK_BITS_MASK) == 0 && MX_ASK_COUNT_MAX <= 16);

static bool delivery_pull(struct delivery *d);

static struct delivery *delivery_find(struct outbound *ob, struct job_id id)
{
    struct delivery *d = ob->deliveries;

    while (d != NULL && d->id.value != id.value)
        d = d->next;
    return d;
}

static struct instant now_of(const struct delivery *d)
{
    return loop_now(d->ob->loop);
}

/* --- end --- */

static void asks_drop(struct delivery *d)
{
    for (unsigned i = 0; i < MX_ASK_COUNT_MAX; i++)
        if (d->ask_open[i]) {
            dns_edge_cancel(d->ob->dns, d->asks[i]);
            d->ask_open[i] = false;
        }
}

/* Lets go of everything; its links are closed, or released where they may serve others. */
static void delivery_free(struct delivery *d)
{
    struct outbound *ob = d->ob;

    asks_drop(d);
    loop_timer_stop(ob->loop, &d->timer);
    for (unsigned i = 0; i < COURIER_DIAL_COUNT; i++)
        link_release(&d->dials[i]);
    link_release(&d->kept);
    *d->at = d->next;
    if (d->next != NULL)
        d->next->at = d->at;
    ob->delivery_count--;
    arena_reset(&d->arena);
    if (ob->spare_count >= SPARE_MAX) {
        arena_fini(&d->arena);
        mem_free(d->now.data);
        mem_free(d->ahead.data);
        mem_free(d);
    } else {
        d->next = ob->spare;
        ob->spare = d;
        ob->spare_count++;
    }
    if (ob->draining)
        outbound_look_for_end(ob);
}

void deliveries_free_spare(struct outbound *ob)
{
    while (ob->spare != NULL) {
        struct delivery *d = ob->spare;

        ob->spare = d->next;
        arena_fini(&d->arena);
        mem_free(d->now.data);
        mem_free(d->ahead.data);
        mem_free(d);
    }
    ob->spare_count = 0;
}

static void say_end(struct delivery *d, enum lane_verdict verdict, bool uncertain, struct bytes transcript)
{
    struct msg m = {.kind = MSG_job_end,
        .job_end = {d->id, verdict, uncertain, transcript, d->findings.connected, d->findings.found, d->findings.none,
            d->findings.failed}};

    if (d->ob->queued != NULL)
        channel_send(d->ob->queued, &m);
}

/* Without results: queued takes its recipients for deferred, or due again when the worker was to blame. */
static void delivery_drop(struct delivery *d, enum lane_verdict verdict)
{
    link_abandon(&d->session);
    say_end(d, verdict, false, BYTES_NONE);
    delivery_free(d);
}

void deliveries_drop(struct outbound *ob)
{
    while (ob->deliveries != NULL)
        delivery_drop(ob->deliveries, LANE_WORKER_LOST);
}

/* --- the courier's events --- */

static void on_ask(struct delivery *d, const struct courier_event *event)
{
    unsigned number = event->ask.number;
    struct dns_answer answer;

    if (is_ok(dns_edge_ask(
            d->ob->dns, event->ask.name, event->ask.type, (uint64_t)(uintptr_t)d | number, &d->asks[number]))) {
        d->ask_open[number] = true;
        if (!is_ok(arena_copy(&d->arena, event->ask.name, &d->ask_names[number])))
            d->ask_names[number] = BYTES_NONE;
        return;
    }
    dns_answer_fail(&answer, event->ask.type, DNS_BUSY);
    findings_answer(&d->findings, event->ask.name, &answer);
    courier_answer(&d->courier, now_of(d), number, &answer);
}

static const char *words_of(struct result why)
{
    const char *words = why.sys != 0 ? strerrordesc_np(why.sys) : why.why;

    return words != NULL ? words : why.why;
}

static bool is_no_route(struct result why)
{
    return why.sys == ENETUNREACH || why.sys == EAFNOSUPPORT || why.sys == EADDRNOTAVAIL;
}

static void on_dial(struct delivery *d, const struct courier_event *event)
{
    unsigned slot = event->dial.slot;
    struct link *l = joint_find(d, &event->dial.peer);

    if (l == NULL)
        l = pool_take_peer(d, &event->dial.peer);
    if (l == NULL) {
        struct result r = link_dial(d, slot, &event->dial.peer);
        if (!is_ok(r))
            findings_dial(
                &d->findings, event->dial.peer.host, &event->dial.peer.address, event->dial.peer.port, words_of(r));
        if (!is_ok(r))
            courier_dial_failed(&d->courier, now_of(d), slot, is_no_route(r), words_of(r));
        return;
    }
    seat_take(&d->dials[slot], l, d, slot);
    d->dials[slot].dialing = !l->begun;
    if (l->begun)
        courier_dialed(&d->courier, now_of(d), slot);
}

static void on_use_session(struct delivery *d, const struct courier_event *event)
{
    if (!event->session.again) {
        if (d->session_reusable)
            link_release(&d->session);
        else
            seat_leave(&d->session); /* the one before ends by itself */
        seat_move(event->session.slot == COURIER_SLOT_KEPT ? &d->kept : &d->dials[event->session.slot], &d->session);
    }
    ASSERT(d->session.link != NULL);
    d->session_reusable = false;
    d->body_wanted = false;
    link_job_start(&d->session, event->session.job, event->session.peer.tls);
}

static void on_result(struct delivery *d, const struct courier_event *event)
{
    static const enum job_outcome OUTCOMES[] = {
        [SMTP_RCPT_DELIVERED] = JOB_DELIVERED, [SMTP_RCPT_DEFERRED] = JOB_DEFERRED, [SMTP_RCPT_FAILED] = JOB_FAILED};
    uint8_t status_octets[16], address_octets[DNS_ADDRESS_TEXT_SIZE_MAX + 1], tls_octets[128];
    struct buf status = BUF(status_octets), address = BUF(address_octets), tls = BUF(tls_octets);
    const struct link *l = d->session.link;
    const struct tls *secured = l != NULL ? conn_tls(l->io) : NULL;
    struct msg m = {.kind = MSG_job_result};

    ASSERT(event->result.index < d->rcpt_count && event->result.outcome < COUNT_OF(OUTCOMES));
    d->troubled = d->troubled || event->result.outcome != SMTP_RCPT_DELIVERED;
    if (!is_ok(enhanced_status_put(&status, event->result.reply.status)))
        buf_reset(&status);
    if (event->result.address.family != 0 && !is_ok(dns_address_put(&address, &event->result.address)))
        buf_reset(&address);
    if (secured != NULL &&
        (!is_ok(buf_put(&tls, tls_version(secured))) || !is_ok(buf_put_octet(&tls, ' ')) ||
            !is_ok(buf_put(&tls, tls_cipher(secured))) || !is_ok(buf_put_str(&tls, link_tls_proof(l)))))
        buf_reset(&tls);
    m.job_result = (struct msg_job_result){
        .job = d->id,
        .n = d->rcpts[event->result.index].n,
        .outcome = OUTCOMES[event->result.outcome],
        .status = buf_bytes(&status),
        .reply = bytes_head(event->result.reply.text, REPLY_KEPT_SIZE_MAX),
        .host = bytes_head(event->result.host, DOMAIN_SIZE_MAX),
        .address = buf_bytes(&address),
        .tls = buf_bytes(&tls),
        .dsn_passed = event->result.dsn_passed,
    };
    if (d->ob->queued != NULL)
        channel_send(d->ob->queued, &m);
}

static void on_finished(struct delivery *d, const struct courier_event *event)
{
    const struct link *l = d->session.link;
    uint8_t room[ATTEMPT_TRANSCRIPT_SIZE_MAX];
    struct buf transcript = BUF(room);
    struct bytes dialogue = l != NULL ? smtp_client_transcript(&l->client) : event->finished.error;

    if (d->troubled || event->finished.verdict != LANE_OK)
        (void)!is_ok(buf_put(&transcript, buf_bytes(&d->findings.text)));
    (void)!is_ok(buf_put(&transcript, bytes_head(dialogue, buf_left(&transcript))));
    say_end(d, event->finished.verdict, event->finished.uncertain, buf_bytes(&transcript));
    if (d->session_reusable)
        link_release(&d->session);
    else
        seat_leave(&d->session); /* its client ends it */
    delivery_free(d);
}

/* False: the delivery is over and gone. */
static bool delivery_pull(struct delivery *d)
{
    struct courier_event event;

    if (d->pulling)
        return true;
    d->pulling = true;
    while (courier_next(&d->courier, &event)) {
        switch (event.kind) {
        case COURIER_ASK:
            on_ask(d, &event);
            break;
        case COURIER_DROP_ASKS:
            asks_drop(d);
            break;
        case COURIER_DIAL:
            on_dial(d, &event);
            break;
        case COURIER_DROP_DIAL:
            link_release(&d->dials[event.slot]);
            break;
        case COURIER_USE_SESSION:
            on_use_session(d, &event);
            break;
        case COURIER_RESULT:
            on_result(d, &event);
            break;
        case COURIER_FINISHED:
            on_finished(d, &event);
            return false;
        }
    }
    d->pulling = false;
    loop_timer_set(d->ob->loop, &d->timer, courier_deadline(&d->courier));
    return true;
}

static void on_timer(void *ctx)
{
    struct delivery *d = ctx;

    courier_tick(&d->courier, now_of(d));
    (void)delivery_pull(d);
}

void delivery_on_answer(void *owner, uint64_t user, struct resolver_token token, const struct dns_answer *answer)
{
    unsigned number = (unsigned)(user & ASK_BITS_MASK);

    if ((user & LINK_ASK_BIT) != 0) {
        link_on_tlsa((struct link *)(uintptr_t)(user & ~LINK_ASK_BIT), answer);
        return;
    }
    struct delivery *d = (struct delivery *)(uintptr_t)(user & ~(uint64_t)ASK_BITS_MASK);

    (void)owner;
    ASSERT(d->ask_open[number] && d->asks[number].value == token.value);
    d->ask_open[number] = false;
    if (dns_status_is_temporary(answer->status))
        LOG(DNS_FAILED, LOG_TEXT("name", d->lane), LOG_NUM("type", answer->type),
            LOG_STR("why", dns_status_text(answer->status)));
    findings_answer(&d->findings, d->ask_names[number], answer);
    courier_answer(&d->courier, now_of(d), number, answer);
    (void)delivery_pull(d);
}

/* --- what links say --- */

void delivery_dialed(struct seat *s)
{
    struct delivery *d = s->delivery;

    if (d->findings.connected == 0)
        d->findings.connected = (uint32_t)(now_of(d).ms - d->began.ms) + 1;
    findings_dial(&d->findings, s->link->peer.host, &s->link->peer.address, s->link->peer.port, "connected");
    courier_dialed(&d->courier, now_of(d), s->slot);
    (void)delivery_pull(d);
}

void delivery_dial_failed(struct seat *s, struct result why)
{
    struct delivery *d = s->delivery;

    /* the link is gone already; the courier still knows whom it meant */
    const struct courier_dial *meant = &d->courier.dials[s->slot];
    findings_dial(
        &d->findings, (struct bytes){meant->host, meant->host_size}, &meant->address, meant->port, words_of(why));
    courier_dial_failed(&d->courier, now_of(d), s->slot, is_no_route(why), words_of(why));
    (void)delivery_pull(d);
}

void delivery_client_event(struct seat *s, const struct smtp_client_event *event)
{
    struct delivery *d = s->delivery;
    const struct link *l = s->link;

    ASSERT(s == &d->session);
    if (event->kind == SMTP_CLIENT_RCPT_RESULT) {
        courier_rcpt_result(&d->courier, now_of(d), event);
        (void)delivery_pull(d);
        return;
    }
    d->session_reusable = event->done.reusable;
    d->body_wanted = false;
    courier_job_done(&d->courier, now_of(d), event);
    if (delivery_pull(d) && d->session.link == l && !event->done.reusable)
        seat_leave(&d->session);
}

/* --- the body --- */

static void body_ask(struct delivery *d, uint64_t offset)
{
    struct msg m = {.kind = MSG_job_want, .job_want = {.job = d->id, .offset = offset, .size = BODY_FRAME_SIZE_MAX}};

    if (d->body_asked || d->ob->queued == NULL)
        return; /* the answer under way is looked at first */
    d->body_asked = true;
    d->asked_offset = offset;
    channel_send(d->ob->queued, &m);
}

static bool piece_has(const struct body_piece *piece, uint64_t offset)
{
    return piece->size > 0 && offset >= piece->offset && offset < piece->offset + piece->size;
}

static void body_serve(struct delivery *d)
{
    uint64_t offset = d->body_offset, stored = offset - (uint64_t)d->grown; /* in what goes out; in the queue */
    struct bytes piece = BYTES_NONE;

    if (!d->body_wanted || d->session.link == NULL)
        return;
    if (offset < d->first.size) {
        piece = bytes_after(d->first, (size_t)offset);
    } else if (offset < d->head.body_size) {
        if (piece_has(&d->ahead, stored)) {
            struct body_piece before = d->now;

            d->now = d->ahead;
            d->ahead = before;
            d->ahead.size = 0;
        }
        if (!piece_has(&d->now, stored)) {
            body_ask(d, stored);
            return;
        }
        piece = bytes_after((struct bytes){d->now.data, d->now.size}, (size_t)(stored - d->now.offset));
    }
    d->body_wanted = false;
    offset += piece.size;
    stored += piece.size;
    link_body(d->session.link, piece, offset >= d->head.body_size);
    if (offset < d->head.body_size && !piece_has(&d->ahead, stored))
        body_ask(d, stored);
}

void delivery_want_body(struct delivery *d, uint64_t offset)
{
    d->body_wanted = true;
    d->body_offset = offset;
    body_serve(d);
}

void delivery_body(struct outbound *ob, const struct msg_job_body *m)
{
    struct delivery *d = delivery_find(ob, m->job);

    if (d == NULL)
        return; /* it ended meanwhile */
    if (!d->running) {
        if (m->offset == 0 && d->first.size == 0 && !is_ok(arena_copy(&d->arena, m->body, &d->first)))
            d->damaged = true;
        return;
    }
    if (!d->body_asked || m->offset != d->asked_offset)
        return;
    d->body_asked = false;
    if (d->ahead.data == NULL)
        d->ahead.data = mem_take(BODY_FRAME_SIZE_MAX);
    if (d->ahead.data == NULL) {
        delivery_drop(d, LANE_WORKER_LOST);
        return;
    }
    ASSERT(m->body.size <= BODY_FRAME_SIZE_MAX);
    memcpy(d->ahead.data, m->body.data, m->body.size);
    d->ahead.offset = m->offset;
    d->ahead.size = m->body.size;
    body_serve(d);
}

/* --- birth --- */

static struct delivery *delivery_new(struct outbound *ob)
{
    struct delivery *d = ob->spare;

    if (d != NULL) {
        struct arena arena = d->arena;
        struct body_piece now = d->now, ahead = d->ahead;

        ob->spare = d->next;
        ob->spare_count--;
        memset(d, 0, offsetof(struct delivery, courier));
        d->arena = arena;
        d->now = (struct body_piece){.data = now.data};
        d->ahead = (struct body_piece){.data = ahead.data};
    } else {
        d = mem_take(sizeof *d);
        if (d == NULL)
            return NULL;
        memset(d, 0, offsetof(struct delivery, courier));
        arena_init(&d->arena, DELIVERY_ARENA_SIZE_MAX);
    }
    d->ob = ob;
    d->began = loop_now(ob->loop);
    findings_init(&d->findings, d->findings_room);
    d->timer = (struct loop_timer){.fn = on_timer, .ctx = d};
    d->next = ob->deliveries;
    d->at = &ob->deliveries;
    if (d->next != NULL)
        d->next->at = &d->next;
    ob->deliveries = d;
    ob->delivery_count++;
    return d;
}

void delivery_begin(struct outbound *ob, const struct msg_job_begin *m)
{
    struct delivery *d = delivery_new(ob);

    if (d == NULL) {
        struct msg end = {.kind = MSG_job_end, .job_end = {.job = m->job, .verdict = LANE_WORKER_LOST}};

        channel_send(ob->queued, &end);
        return;
    }
    d->id = m->job;
    d->damaged =
        !is_ok(arena_copy(&d->arena, m->lane, &d->lane)) || !is_ok(envelope_head_copy(&d->arena, &m->head, &d->head));
}

void delivery_rcpt(struct outbound *ob, const struct msg_job_rcpt *m)
{
    struct delivery *d = delivery_find(ob, m->job);

    if (d == NULL || d->running || d->rcpt_count == JOB_RCPT_COUNT_MAX)
        return;
    if (d->rcpt_count == d->rcpt_room) {
        uint32_t room = d->rcpt_room == 0 ? RCPTS_AT_FIRST : d->rcpt_room * 5;
        void *grown;

        if (!is_ok(arena_take(&d->arena, room * sizeof *d->rcpts, &grown))) {
            d->damaged = true;
            return;
        }
        if (d->rcpt_count > 0)
            memcpy(grown, d->rcpts, d->rcpt_count * sizeof *d->rcpts);
        d->rcpts = grown;
        d->rcpt_room = room;
    }
    struct recipient rcpt;
    if (!is_ok(recipient_copy(&d->arena, &m->rcpt, &rcpt))) {
        d->damaged = true;
        return;
    }
    /* They come as they are due, and go out in the order that their sender gave them: the postmaster may have moved some. */
    uint32_t at = d->rcpt_count++;
    for (; at > 0 && d->rcpts[at - 1].n > rcpt.n; at--)
        d->rcpts[at] = d->rcpts[at - 1];
    d->rcpts[at] = rcpt;
}

/* local@domain with the domain as A-labels, for hosts without SMTPUTF8; empty where there is nothing to change or to be done. */
static struct bytes ascii_form(struct delivery *d, struct bytes address)
{
    uint8_t octets[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf out = BUF(octets);
    ptrdiff_t at = bytes_rindex(address, '@');
    struct bytes copy;

    if (!bytes_has_8bit(address) || at == BYTES_NOT_FOUND || bytes_has_8bit(bytes_head(address, (size_t)at)))
        return BYTES_NONE;
    if (!is_ok(buf_put(&out, bytes_head(address, (size_t)at + 1))) ||
        !is_ok(idna_to_ascii(bytes_after(address, (size_t)at + 1), &out)) ||
        !is_ok(arena_copy(&d->arena, buf_bytes(&out), &copy)))
        return BYTES_NONE;
    return copy;
}

static const struct bytes *ascii_forms(struct delivery *d)
{
    struct bytes *forms = NULL;
    void *memory;

    for (uint32_t i = 0; i < d->rcpt_count; i++) {
        if (!bytes_has_8bit(d->rcpts[i].forward_path))
            continue;
        if (forms == NULL) {
            if (!is_ok(arena_take(&d->arena, d->rcpt_count * sizeof *forms, &memory)))
                return NULL;
            forms = memory;
        }
        forms[i] = ascii_form(d, d->rcpts[i].forward_path);
    }
    return forms;
}

static uint16_t lane_mx_port(const struct outbound *ob, struct bytes lane)
{
    return bytes_starts(lane, BYTES("mx:")) ? route_mx_port(&ob->cfg->routes, bytes_after(lane, 3)) : 25;
}

static void source_take(struct delivery *d, struct bytes name)
{
    d->source = config_source_find(d->ob->cfg, name);
    if (d->source == NULL)
        return;
    d->cfg.ipv4 = d->cfg.ipv4 && config_source_ipv4(d->source);
    d->cfg.ipv6 = d->cfg.ipv6 && config_source_ipv6(d->source);
    d->cfg.ipv4_first = d->source->families == SOURCE_PREFER_IPV4;
}

/* What the courier and the client core need to know of it: they see encryption, the link sees to names. */
static enum smtp_client_tls client_tls_of(enum route_tls level)
{
    switch (level) {
    case ROUTE_TLS_NONE:
        return SMTP_CLIENT_TLS_NONE;
    case ROUTE_TLS_ENCRYPT:
    case ROUTE_TLS_DANE_ONLY:
    case ROUTE_TLS_VERIFY:
    case ROUTE_TLS_SECURE:
        return SMTP_CLIENT_TLS_REQUIRED;
    default: /* with TLSA records the link itself asks for more */
        return SMTP_CLIENT_TLS_OPPORTUNISTIC;
    }
}

void delivery_run(struct outbound *ob, struct job_id id)
{
    struct delivery *d = delivery_find(ob, id);
    struct bytes source;

    if (d == NULL || d->running)
        return;
    delivery_generic(d);
    if (d->damaged || d->rcpt_count == 0) {
        delivery_drop(d, LANE_WORKER_LOST);
        return;
    }
    struct bytes lane = route_lane_bare(d->lane, &source);
    d->running = true;
    d->job = (struct courier_job){
        .lane = lane,
        .mx_port = lane_mx_port(ob, lane),
        .head = &d->head,
        .rcpts = d->rcpts,
        .rcpt_count = d->rcpt_count,
        .forward_paths_ascii = ascii_forms(d),
        .reverse_path_ascii = ascii_form(d, d->head.reverse_path),
    };
    d->tls = route_lane_tls(&ob->cfg->routes, d->lane);
    d->cfg = ob->courier;
    d->cfg.tls = client_tls_of(d->tls);
    source_take(d, source);
    d->fingerprint = route_lane_fingerprint(&ob->cfg->routes, d->lane);
    d->login = route_lane_login(&ob->cfg->routes, d->lane);
    if (d->login != NULL && !d->login->auth_without_tls) /* without TLS it would not be said */
        d->cfg.tls = SMTP_CLIENT_TLS_REQUIRED;
    courier_init(&d->courier, &d->cfg, &d->job, loop_now(ob->loop), rng_next(&ob->rng));
    struct link *kept = pool_take_lane(ob, d->lane);
    if (kept != NULL) {
        seat_take(&d->kept, kept, d, COURIER_SLOT_KEPT);
        courier_offer_kept(&d->courier, loop_now(ob->loop), &kept->peer);
    }
    (void)delivery_pull(d);
}

void delivery_cancel(struct outbound *ob, struct job_id id)
{
    struct delivery *d = delivery_find(ob, id);

    if (d == NULL)
        return;
    if (d->running && d->session.link != NULL && d->body_wanted)
        link_body_broken(d->session.link, "the message could not be read from our queue");
    else
        delivery_drop(d, LANE_OK);
}
