/* The walk (dns/mx.h) says which address is next; the courier dials it and, when it works, runs a session there. A session
 * that fails before the message was decided sends the undecided recipients on to the next address.
 *
 * The walk waits for one address at a time (`current`). To try a second one beside a slow IPv6 address, the walk is told
 * after overlap_ms that the first failed, and that dial goes on as `slow`. Whichever connects first is the session; if the
 * slow one wins, `current` is put back (current_waits) and dialed again should the session fail.
 *
 * (K1) Each recipient gets exactly one RESULT; `decided` is never taken back.
 * (K2) After a session in which the whole content went out without a reply, no other host is tried in this attempt: that
 *      would double the mail at once instead of at worst (Q4).
 * (K3) Every loop ends: addresses are bounded by the walk, hops by COURIER_HOPS_MAX, stale sessions by STALE_MAX, and a
 *      transaction for put-off recipients follows only one that decided something. */
#include "daemon/outbound/courier.h"

enum courier_state {
    COURIER_WALKING, /* asking, dialing */
    COURIER_IN_SESSION,
    COURIER_REPORTING, /* the rest of the recipients, then FINISHED */
    COURIER_OVER,
};

enum courier_lane_kind { LANE_MX, LANE_RELAY, LANE_LMTP, LANE_LMTP_UNIX };

enum {
    SLOT_NONE = 255,
    STALE_MAX = 4,
    RELAY_PORT_DEFAULT = 25,
    LMTP_PORT_DEFAULT = 24,
};

static void todo_add(struct courier *k, enum courier_event_kind kind, unsigned slot)
{
    ASSERT(k->todo_count < COUNT_OF(k->todo));
    k->todo[k->todo_count].kind = (uint8_t)kind;
    k->todo[k->todo_count].slot = (uint8_t)slot;
    k->todo_count++;
}

static void asks_drop(struct courier *k)
{
    if (k->ask_count > 0)
        todo_add(k, COURIER_DROP_ASKS, 0);
    k->ask_count = 0;
}

static struct bytes dial_host(const struct courier_dial *d)
{
    return (struct bytes){d->host, d->host_size};
}

/* --- what goes wrong --- */

/* Remembers why the last address or session failed; `slot` says who (SLOT_NONE: nobody). */
static void failure_set(struct courier *k, unsigned slot, struct peer_reply reply)
{
    buf_reset(&k->failure_text);
    peer_text_put(&k->failure_text, reply.text);
    k->failure = reply;
    k->failure.text = buf_bytes(&k->failure_text);
    buf_reset(&k->failure_host);
    k->failure_address = (struct dns_address){.family = 0};
    if (slot != SLOT_NONE) {
        peer_text_put(&k->failure_host, dial_host(&k->dials[slot]));
        k->failure_address = k->dials[slot].address;
    }
}

/* No more is tried: what is undecided gets the failure that failure_set kept. */
static void give_up(struct courier *k, enum smtp_rcpt_outcome outcome)
{
    k->failure_outcome = outcome;
    /* What is tried again must not look final, whatever class the host gave it. */
    if (outcome == SMTP_RCPT_DEFERRED && k->failure.status.class != 4)
        k->failure.status.class = 4;
    for (unsigned slot = 0; slot < COURIER_DIAL_COUNT; slot++)
        if (k->dials[slot].busy) {
            k->dials[slot].busy = false;
            todo_add(k, COURIER_DROP_DIAL, slot);
        }
    asks_drop(k);
    k->report_at = 0;
    k->state = COURIER_REPORTING;
}

static struct peer_reply own_words(const char *status, struct bytes text)
{
    struct peer_reply reply = {.text = text};
    size_t size;
    bool read = enhanced_status_read(bytes_of(status), (uint16_t)((status[0] - '0') * 100), &reply.status, &size);

    ASSERT(read);
    return reply;
}

/* --- hops --- */

/* "[host]:port", "[host]". Makes it the walk's target. */
static RESULT hop_parse(struct courier *k, struct bytes hop)
{
    struct buf room = BUF(k->target_room);
    uint64_t port = k->lane_kind == LANE_LMTP ? LMTP_PORT_DEFAULT : RELAY_PORT_DEFAULT;
    ptrdiff_t end = bytes_index(hop, ']');
    struct dns_address address;

    if (hop.size == 0 || hop.data[0] != '[' || end <= 1)
        return FAIL(CODE_SYNTAX, "a next hop is not of the form [host]:port");
    struct bytes host = bytes_after(bytes_head(hop, (size_t)end), 1);
    struct bytes rest = bytes_after(hop, (size_t)end + 1);
    if (rest.size > 0) {
        if (rest.data[0] != ':')
            return FAIL(CODE_SYNTAX, "a next hop is not of the form [host]:port");
        TRY(bytes_to_u64(bytes_after(rest, 1), UINT16_MAX, &port));
    }
    if (bytes_starts_nocase(host, BYTES("IPv6:")))
        host = bytes_after(host, 5);
    if (is_ok(dns_address_parse(host, &address))) {
        TRY(buf_put_str(&room, address.family == 6 ? "[IPv6:" : "["));
        TRY(buf_put(&room, host));
        TRY(buf_put_octet(&room, ']'));
    } else {
        TRY(buf_put(&room, host));
    }
    k->target = (struct mx_target){.domain = buf_bytes(&room),
        .port = (uint16_t)port,
        .direct = true,
        .ipv4 = k->cfg->ipv4,
        .ipv6 = k->cfg->ipv6,
        .ipv4_first = k->cfg->ipv4_first};
    return OK;
}

static void walk_begin(struct courier *k)
{
    mx_walk_init(&k->walk, &k->target, k->cfg->self, rng_next(&k->rng));
    k->walk_done = false;
    k->current = k->slow = SLOT_NONE;
    k->current_waits = false;
    k->overlap_at = INSTANT_NEVER;
    k->state = COURIER_WALKING;
}

static void lane_unreadable(struct courier *k, const char *why)
{
    failure_set(k, SLOT_NONE, own_words("4.3.5", bytes_of(why)));
    k->lane_verdict = LANE_CONNECT_FAILED;
    give_up(k, SMTP_RCPT_DEFERRED);
}

/* The next host of a list. False when there is none. */
static bool hop_next(struct courier *k)
{
    struct bytes hop = route_host_pick(k->place, &k->place_tried, &k->rng);

    if (hop.size == 0 && k->hops.size > 0) {
        k->place = route_place_take(&k->hops);
        k->place_tried = 0;
        hop = route_host_pick(k->place, &k->place_tried, &k->rng);
    }
    if (hop.size == 0 || k->hop_count == COURIER_HOPS_MAX)
        return false;
    k->hop_count++;
    struct result r = hop_parse(k, hop);
    if (!is_ok(r)) {
        lane_unreadable(k, r.why);
        return true;
    }
    asks_drop(k);
    walk_begin(k);
    return true;
}

/* Every address of this hop has been tried, or there was none: `verdict` says which. */
static void hop_over(struct courier *k)
{
    const struct mx_verdict *v = &k->verdict;
    uint8_t room[512];
    struct buf why = BUF(room);
    /* What a host that the operator named does wrong is for the operator to mend; the mail waits. */
    bool permanent = v->permanent && k->lane_kind == LANE_MX;

    if (!permanent && hop_next(k))
        return;
    /* What a host or a connection said is better than "unreached", and must be of the verdict's kind. */
    bool told = k->failed && (v->kind == MX_VERDICT_UNREACHED || v->kind == MX_VERDICT_REJECTED);
    if (!told || (permanent && k->failure.status.class != 5)) {
        peer_text_put(&why, bytes_of(v->why));
        if (v->dns != DNS_OK) {
            peer_text_put(&why, BYTES(" ("));
            peer_text_put(&why, bytes_of(dns_status_text(v->dns)));
            peer_text_put(&why, BYTES(")"));
        }
        peer_text_put(&why, BYTES(": "));
        peer_text_put(&why, k->target.domain);
        failure_set(k, SLOT_NONE, own_words(v->status, buf_bytes(&why)));
    }
    if (permanent)
        k->lane_verdict = LANE_OK;
    else if (v->kind == MX_VERDICT_DNS)
        k->lane_verdict = LANE_DNS_FAILED;
    give_up(k, permanent ? SMTP_RCPT_FAILED : SMTP_RCPT_DEFERRED);
}

/* --- dials --- */

static void dial_start(struct courier *k, unsigned slot)
{
    struct courier_dial *d = &k->dials[slot];

    d->busy = true;
    d->deadline = instant_after(k->now, k->cfg->dial_ms);
    todo_add(k, COURIER_DIAL, slot);
    k->state = COURIER_WALKING;
}

static void dial_drop(struct courier *k, unsigned slot)
{
    k->dials[slot].busy = false;
    todo_add(k, COURIER_DROP_DIAL, slot);
}

static unsigned slot_free(const struct courier *k)
{
    unsigned slot = k->slow == 0 ? 1 : 0;
    ASSERT(!k->dials[slot].busy);
    return slot;
}

/* The walk names an address: dial it. */
static void try_begin(struct courier *k, const struct mx_event *event)
{
    unsigned slot = slot_free(k);
    struct courier_dial *d = &k->dials[slot];
    struct buf host = BUF(d->host), base = BUF(d->base);

    peer_text_put(&host, event->host);
    peer_text_put(&base, event->tlsa_base);
    d->host_size = (uint8_t)host.size;
    d->base_size = (uint8_t)base.size;
    d->address = event->address;
    d->port = event->port;
    d->secure = event->secure;
    d->plain = false;
    k->current = (uint8_t)slot;
    k->current_waits = false;
    k->overlap_at =
        event->address.family == 6 && event->fallback_left ? instant_after(k->now, k->cfg->overlap_ms) : INSTANT_NEVER;
    dial_start(k, slot);
}

static void session_begin(struct courier *k, unsigned slot, bool again)
{
    const struct envelope_head *head = k->job->head;
    size_t count = 0;

    for (size_t i = 0; i < k->job->rcpt_count; i++) {
        const struct recipient *rcpt = &k->job->rcpts[i];
        if (k->decided[i])
            continue;
        k->smtp_index[count] = (uint8_t)i;
        k->smtp_rcpts[count++] = (struct smtp_job_rcpt){
            .forward_path = rcpt->forward_path,
            .forward_path_ascii = k->job->forward_paths_ascii == NULL ? BYTES_NONE : k->job->forward_paths_ascii[i],
            .orcpt = rcpt->orcpt,
            .notify = rcpt->notify,
            .n = rcpt->n,
        };
    }
    ASSERT(count > 0);
    k->smtp = (struct smtp_job){
        .reverse_path = head->reverse_path,
        .reverse_path_ascii = k->job->reverse_path_ascii,
        .rcpts = k->smtp_rcpts,
        .rcpt_count = count,
        .body_size = head->body_size,
        .body_type = head->body_type,
        .body_8bit = (head->flags & (ENVELOPE_BODY_8BIT | ENVELOPE_HEADER_8BIT)) != 0,
        /* Raw 8-bit header fields without SMTPUTF8 are old mail that any 8-bit host has always carried. */
        .header_utf8 = (head->flags & ENVELOPE_HEADER_8BIT) != 0 && (head->flags & ENVELOPE_SMTPUTF8) != 0,
        .envid = head->envid,
        .ret = head->ret,
    };
    k->decided_before = k->decided_count;
    k->session = (uint8_t)slot;
    k->overlap_at = INSTANT_NEVER;
    k->state = COURIER_IN_SESSION;
    k->session_again = again;
    todo_add(k, COURIER_USE_SESSION, slot);
}

void courier_dialed(struct courier *k, struct instant now, unsigned slot)
{
    ASSERT(slot < COURIER_DIAL_COUNT && k->dials[slot].busy && k->state == COURIER_WALKING);
    k->now = now;
    k->dials[slot].busy = false;
    if (slot == k->current) {
        if (k->slow != SLOT_NONE && k->dials[k->slow].busy)
            dial_drop(k, k->slow);
        k->slow = SLOT_NONE;
    } else if (k->current != SLOT_NONE && k->dials[k->current].busy) {
        dial_drop(k, k->current);
        k->current_waits = true;
    }
    session_begin(k, slot, false);
}

/* The address of `slot` is done with; go on. `outcome` is for the walk if it waits for this one. */
static void address_over(struct courier *k, unsigned slot, enum mx_outcome outcome)
{
    k->failed = true;
    k->state = COURIER_WALKING;
    if (k->lane_kind == LANE_LMTP_UNIX) {
        give_up(k, SMTP_RCPT_DEFERRED);
    } else if (slot == k->current) {
        k->current = SLOT_NONE;
        k->overlap_at = INSTANT_NEVER;
        mx_walk_result(&k->walk, outcome);
    } else {
        if (slot == k->slow)
            k->slow = SLOT_NONE;
        if (k->current_waits) {
            k->current_waits = false;
            dial_start(k, k->current);
        } else if (k->walk_done && k->slow == SLOT_NONE) {
            hop_over(k);
        }
    }
}

static void dial_failure(struct courier *k, unsigned slot, const char *why)
{
    uint8_t room[256];
    struct buf text = BUF(room);
    const struct courier_dial *d = &k->dials[slot];
    struct result r = buf_put_str(&text, "cannot connect to ");

    if (is_ok(r) && d->address.family != 0) {
        r = dns_address_put(&text, &d->address);
        peer_text_put(&text, BYTES(" port "));
        if (is_ok(r))
            r = buf_put_u64(&text, d->port);
    } else {
        peer_text_put(&text, bytes_head(k->unix_path, 120));
    }
    ASSERT(is_ok(r));
    peer_text_put(&text, BYTES(": "));
    peer_text_put(&text, bytes_of(why == NULL ? "no reason given" : why));
    failure_set(k, slot, own_words("4.4.1", buf_bytes(&text)));
    if (k->lane_verdict != LANE_GREETING_4XX)
        k->lane_verdict = LANE_CONNECT_FAILED;
}

void courier_dial_failed(struct courier *k, struct instant now, unsigned slot, bool no_route, const char *why)
{
    ASSERT(slot < COURIER_DIAL_COUNT && k->dials[slot].busy && k->state == COURIER_WALKING);
    k->now = now;
    k->dials[slot].busy = false;
    dial_failure(k, slot, why);
    address_over(k, slot, no_route ? MX_TRY_NO_ROUTE : MX_TRY_CONNECT_FAILED);
}

void courier_tick(struct courier *k, struct instant now)
{
    k->now = now;
    for (unsigned slot = 0; slot < COURIER_DIAL_COUNT; slot++) {
        if (!k->dials[slot].busy || !instant_reached(k->dials[slot].deadline, now))
            continue;
        dial_drop(k, slot);
        dial_failure(k, slot, "connection timed out");
        address_over(k, slot, MX_TRY_CONNECT_FAILED);
    }
    if (k->state != COURIER_WALKING || !instant_reached(k->overlap_at, now) || k->current == SLOT_NONE)
        return;
    /* A second address is dialed beside the slow one; of two slow ones the older goes. */
    if (k->slow != SLOT_NONE && k->dials[k->slow].busy)
        dial_drop(k, k->slow);
    dial_failure(k, k->current, "no answer yet");
    k->failed = true;
    k->slow = k->current;
    k->current = SLOT_NONE;
    k->overlap_at = INSTANT_NEVER;
    mx_walk_result(&k->walk, MX_TRY_CONNECT_FAILED);
}

struct instant courier_deadline(const struct courier *k)
{
    struct instant deadline = k->state == COURIER_WALKING ? k->overlap_at : INSTANT_NEVER;

    for (unsigned slot = 0; slot < COURIER_DIAL_COUNT; slot++)
        if (k->dials[slot].busy)
            deadline = instant_min(deadline, k->dials[slot].deadline);
    return deadline;
}

/* --- sessions --- */

void courier_rcpt_result(struct courier *k, struct instant now, const struct smtp_client_event *event)
{
    size_t index = k->smtp_index[event->rcpt.index];

    ASSERT(k->state == COURIER_IN_SESSION && event->rcpt.index < k->smtp.rcpt_count && !k->decided[index]);
    ASSERT(!k->result_due);
    k->now = now;
    if (event->rcpt.outcome == SMTP_RCPT_AGAIN) {
        failure_set(k, k->session, event->rcpt.reply);
        return;
    }
    k->decided[index] = true; /* (K1) */
    k->decided_count++;
    k->result_due = true;
    k->result = (struct courier_event){.kind = COURIER_RESULT,
        .result = {.index = index,
            .outcome = event->rcpt.outcome,
            .reply = event->rcpt.reply,
            .host = dial_host(&k->dials[k->session]),
            .address = k->dials[k->session].address,
            .dsn_passed = event->rcpt.dsn_passed}};
}

static bool all_decided(const struct courier *k)
{
    return k->decided_count == k->job->rcpt_count;
}

/* A kept session did not do: now what would have come without it. */
static void kept_over(struct courier *k)
{
    k->state = COURIER_WALKING;
    if (k->lane_kind == LANE_LMTP_UNIX)
        dial_start(k, 0);
}

/* The same address again, with a new connection. */
static void session_redial(struct courier *k)
{
    if (k->session == COURIER_SLOT_KEPT) {
        kept_over(k);
        return;
    }
    if (k->session != k->current)
        k->slow = k->session;
    dial_start(k, k->session);
}

static enum mx_outcome walk_outcome(enum smtp_client_end end)
{
    switch (end) {
    case SMTP_CLIENT_END_REFUSED_4XX:
    case SMTP_CLIENT_END_SHUT_DOWN:
    case SMTP_CLIENT_END_LOGIN_FAILED:
        return MX_TRY_GREETED_4XX;
    case SMTP_CLIENT_END_REFUSED_5XX:
        return MX_TRY_GREETED_5XX;
    case SMTP_CLIENT_END_TLS_UNAVAILABLE:
    case SMTP_CLIENT_END_TLS_FAILED:
        return MX_TRY_FAILED;
    default:
        return MX_TRY_LOST;
    }
}

/* A session ended before all was decided. */
static void session_failed(struct courier *k, const struct smtp_client_event *event)
{
    enum smtp_client_end end = event->done.end;
    struct courier_dial *d = &k->dials[k->session];
    bool refused = end == SMTP_CLIENT_END_REFUSED_4XX || end == SMTP_CLIENT_END_REFUSED_5XX ||
                   end == SMTP_CLIENT_END_SHUT_DOWN || end == SMTP_CLIENT_END_LOGIN_FAILED;

    if (event->done.stale && k->stale_count < STALE_MAX) {
        k->stale_count++;
        session_redial(k);
        return;
    }
    if (end == SMTP_CLIENT_END_TLS_FAILED && k->cfg->tls == SMTP_CLIENT_TLS_OPPORTUNISTIC && !d->plain &&
        k->session != COURIER_SLOT_KEPT) {
        d->plain = true;
        session_redial(k);
        return;
    }
    failure_set(k, k->session, event->done.reply);
    k->failed = true;
    k->uncertain = k->uncertain || event->done.uncertain;
    if (end == SMTP_CLIENT_END_BODY_GONE) {
        k->lane_verdict = LANE_WORKER_LOST;
        k->host_took = false;
        give_up(k, SMTP_RCPT_DEFERRED);
        return;
    }
    k->lane_verdict = refused ? LANE_GREETING_4XX : LANE_CONNECT_FAILED;
    bool part_sent = !event->done.nothing_sent && !refused;
    if (event->done.uncertain || part_sent || end == SMTP_CLIENT_END_GARBAGE) {
        if (event->done.uncertain)
            k->host_took = true;
        give_up(k, SMTP_RCPT_DEFERRED); /* (K2) */
    } else if (k->session == COURIER_SLOT_KEPT) {
        kept_over(k);
    } else {
        address_over(k, k->session, walk_outcome(end));
    }
}

void courier_job_done(struct courier *k, struct instant now, const struct smtp_client_event *event)
{
    ASSERT(k->state == COURIER_IN_SESSION && !k->result_due);
    k->now = now;
    if (k->decided_count > k->decided_before)
        k->host_took = true;
    if (all_decided(k)) {
        give_up(k, SMTP_RCPT_DEFERRED); /* nobody is left to get it */
    } else if (event->done.end != SMTP_CLIENT_END_DONE) {
        session_failed(k, event);
    } else if (k->decided_count == k->decided_before && !event->done.decided_some) {
        /* All were put off, which a session says only behind accepted ones (ours, or those of another courier's job that
         * shared the transaction): give in all the same. (K3) */
        give_up(k, SMTP_RCPT_DEFERRED);
    } else if (event->done.reusable) {
        session_begin(k, k->session, true);
    } else {
        session_redial(k);
    }
}

/* --- the job --- */

void courier_init(struct courier *k, const struct courier_config *cfg, const struct courier_job *job,
    struct instant now, uint64_t seed)
{
    struct bytes lane = job->lane;

    ASSERT(job->rcpt_count > 0 && job->rcpt_count <= JOB_RCPT_COUNT_MAX);
    memset(k, 0, offsetof(struct courier, failure_text));
    k->cfg = cfg;
    k->job = job;
    k->now = now;
    k->rng.state = seed;
    k->current = k->slow = k->session = SLOT_NONE;
    k->overlap_at = INSTANT_NEVER;
    k->lane_verdict = LANE_CONNECT_FAILED;
    buf_init(&k->failure_text, k->failure_text_room, sizeof k->failure_text_room);
    buf_init(&k->failure_host, k->failure_host_room, sizeof k->failure_host_room);
    if (bytes_starts(lane, BYTES("mx:"))) {
        k->lane_kind = LANE_MX;
        k->target = (struct mx_target){.domain = bytes_after(lane, 3),
            .port = job->mx_port,
            .ipv4 = cfg->ipv4,
            .ipv6 = cfg->ipv6,
            .ipv4_first = cfg->ipv4_first};
        walk_begin(k);
    } else if (bytes_starts(lane, BYTES("lmtp:unix:"))) {
        k->lane_kind = LANE_LMTP_UNIX;
        k->unix_path = bytes_after(lane, 10);
        k->current = 0;
        struct buf host = BUF(k->dials[0].host);
        peer_text_put(&host, bytes_head(k->unix_path, sizeof k->dials[0].host));
        k->dials[0].host_size = (uint8_t)host.size;
        dial_start(k, 0);
    } else if (bytes_starts(lane, BYTES("relay:")) || bytes_starts(lane, BYTES("lmtp:"))) {
        k->lane_kind = bytes_starts(lane, BYTES("lmtp:")) ? LANE_LMTP : LANE_RELAY;
        k->hops = bytes_after(lane, (size_t)bytes_index(lane, ':') + 1);
        if (!hop_next(k))
            lane_unreadable(k, "the lane names no next hop");
    } else {
        lane_unreadable(k, "the lane's name is of no kind that is sent from here");
    }
}

void courier_offer_kept(struct courier *k, struct instant now, const struct courier_peer *peer)
{
    struct courier_dial *d = &k->dials[COURIER_SLOT_KEPT];
    struct buf host = BUF(d->host), base = BUF(d->base);

    k->now = now;
    if (k->state != COURIER_WALKING)
        return;
    if (k->lane_kind == LANE_LMTP_UNIX) { /* its dial has not been pulled yet */
        k->todo_count = 0;
        k->dials[0].busy = false;
    }
    peer_text_put(&host, peer->host);
    peer_text_put(&base, peer->tlsa_base);
    d->host_size = (uint8_t)host.size;
    d->base_size = (uint8_t)base.size;
    d->address = peer->address;
    d->port = peer->port;
    d->secure = peer->secure;
    session_begin(k, COURIER_SLOT_KEPT, false);
}

void courier_answer(struct courier *k, struct instant now, unsigned number, const struct dns_answer *answer)
{
    k->now = now;
    if (k->ask_count == 0)
        return;
    k->ask_count--;
    mx_walk_answer(&k->walk, number, answer);
}

/* --- events --- */

static struct courier_peer peer_of(const struct courier *k, unsigned slot)
{
    const struct courier_dial *d = &k->dials[slot];
    bool lmtp = k->lane_kind == LANE_LMTP || k->lane_kind == LANE_LMTP_UNIX;

    return (struct courier_peer){
        .host = dial_host(d),
        .address = d->address,
        .port = d->port,
        .unix_path = k->unix_path,
        .lmtp = lmtp,
        .tls = lmtp || d->plain ? SMTP_CLIENT_TLS_NONE : k->cfg->tls,
        .secure = d->secure,
        .tlsa_base = {d->base, d->base_size},
    };
}

static void todo_take(struct courier *k, struct courier_event *event_out)
{
    unsigned slot = k->todo[0].slot;

    *event_out = (struct courier_event){.kind = k->todo[0].kind};
    switch (event_out->kind) {
    case COURIER_DROP_DIAL:
        event_out->slot = slot;
        break;
    case COURIER_DIAL:
        event_out->dial.slot = slot;
        event_out->dial.peer = peer_of(k, slot);
        break;
    case COURIER_USE_SESSION:
        event_out->session.slot = slot;
        event_out->session.again = k->session_again;
        event_out->session.peer = peer_of(k, slot);
        event_out->session.job = &k->smtp;
        break;
    default:
        break;
    }
    k->todo_count--;
    memmove(k->todo, k->todo + 1, k->todo_count * sizeof k->todo[0]);
}

static void report_next(struct courier *k, struct courier_event *event_out)
{
    while (k->report_at < k->job->rcpt_count && k->decided[k->report_at])
        k->report_at++;
    if (k->report_at < k->job->rcpt_count) {
        k->decided[k->report_at] = true; /* (K1) */
        k->decided_count++;
        *event_out = (struct courier_event){.kind = COURIER_RESULT,
            .result = {.index = k->report_at,
                .outcome = k->failure_outcome,
                .reply = k->failure,
                .host = buf_bytes(&k->failure_host),
                .address = k->failure_address}};
        return;
    }
    k->state = COURIER_OVER;
    if (k->host_took)
        k->lane_verdict = LANE_OK;
    *event_out = (struct courier_event){.kind = COURIER_FINISHED,
        .finished = {.verdict = k->lane_verdict,
            .uncertain = k->uncertain,
            .error = k->lane_verdict == LANE_OK ? BYTES_NONE : k->failure.text}};
}

/* Pulls the walk: true with a question for the resolver, else what it said is in `todo` or in the state. */
static bool walk_pull(struct courier *k, struct courier_event *event_out, bool *idle_out)
{
    struct mx_event event;

    *idle_out = !mx_walk_next(&k->walk, &event);
    if (*idle_out)
        return false;
    switch (event.kind) {
    case MX_EVENT_ASK:
        k->ask_count++;
        *event_out = (struct courier_event){
            .kind = COURIER_ASK, .ask = {.number = event.ask, .name = event.name, .type = event.type}};
        return true;
    case MX_EVENT_TRY:
        try_begin(k, &event);
        break;
    case MX_EVENT_DONE:
        k->walk_done = true;
        k->verdict = event.verdict;
        if (k->slow == SLOT_NONE)
            hop_over(k);
        break;
    }
    return false;
}

bool courier_next(struct courier *k, struct courier_event *event_out)
{
    bool idle = false;

    if (k->result_due) {
        k->result_due = false;
        *event_out = k->result;
        return true;
    }
    while (!idle) {
        if (k->todo_count > 0) {
            todo_take(k, event_out);
            return true;
        }
        if (k->state == COURIER_REPORTING) {
            report_next(k, event_out);
            return true;
        }
        if (k->state != COURIER_WALKING || k->lane_kind == LANE_LMTP_UNIX || k->current != SLOT_NONE || k->walk_done)
            return false;
        if (walk_pull(k, event_out, &idle))
            return true;
    }
    return false;
}
