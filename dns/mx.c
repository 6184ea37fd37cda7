/* One walk, group by group (docs/states/mx.md):
 *
 *   ASK_MX -> GROUP -> TRY -> WAIT -> TRY ... -> GROUP (next preference) ... -> DONE
 *
 *   (M1) No address of a preference is tried before the questions about all hosts of that preference are answered:
 *        one of them may turn out to be ourselves, and then none of them may be used (RFC 5321 5.1).
 *   (M2) Each host is asked about once, each address tried once, at most DELIVERY_ADDRESS_TRIES_MAX count: it ends.
 *   (M3) A permanent verdict needs every question answered for good. */
#include "dns/mx.h"

enum mx_state {
    MX_STATE_ASK_MX,  /* the MX question has to go out */
    MX_STATE_WAIT_MX, /* and its answer to come */
    MX_STATE_GROUP,   /* the addresses of the hosts of one preference are asked for */
    MX_STATE_TRY,     /* pick the next address */
    MX_STATE_WAIT,    /* it is being tried */
    MX_STATE_DONE,    /* the verdict stands, not yet handed out */
    MX_STATE_OVER,
};

enum { ASK_IPV6 = 1, ASK_IPV4 = 2 };

STATIC_ASSERT(MX_NAMES_SIZE_MAX <= UINT16_MAX);
STATIC_ASSERT(DNS_MX_COUNT_MAX <= UINT8_MAX);

/* --- verdicts --- */

/* The first temporary failure among the hosts that still count. */
static enum dns_status dns_failure(const struct mx_walk *w)
{
    if (w->mx_failed != DNS_OK)
        return w->mx_failed;
    for (unsigned i = 0; i < w->host_count; i++)
        if (w->hosts[i].dns_failed != DNS_OK)
            return (enum dns_status)w->hosts[i].dns_failed;
    return DNS_OK;
}

static void conclude(struct mx_walk *w, enum mx_verdict_kind kind, const char *status, const char *why)
{
    w->verdict = (struct mx_verdict){.kind = kind, .permanent = status[0] == '5', .status = status, .why = why};
    w->verdict.dns = kind == MX_VERDICT_DNS ? dns_failure(w) : DNS_OK;
    w->state = MX_STATE_DONE;
}

static void conclude_not_found(struct mx_walk *w, bool domain_exists)
{
    if (w->target->direct)
        conclude(w, MX_VERDICT_MISROUTED, "4.4.4", "the configured next host has no address");
    else if (!domain_exists)
        conclude(w, MX_VERDICT_NO_DOMAIN, "5.1.2", "there is no such domain");
    else if (!w->target->ipv4 || !w->target->ipv6)
        conclude(w, MX_VERDICT_NO_ADDRESS, "5.4.4",
            w->target->ipv4 ? "the domain's mail hosts have no IPv4 address, and its route uses no other"
                            : "the domain's mail hosts have no IPv6 address, and its route uses no other");
    else if (w->implicit)
        conclude(w, MX_VERDICT_NO_ADDRESS, "5.4.4", "the domain has neither a mail host nor an address");
    else
        conclude(w, MX_VERDICT_NO_ADDRESS, "5.4.4", "none of the domain's mail hosts exists");
}

static void conclude_ourselves(struct mx_walk *w)
{
    if (w->target->direct)
        conclude(w, MX_VERDICT_MISROUTED, "4.4.6", "the configured next host is this server itself");
    else
        conclude(w, MX_VERDICT_OURSELVES, "5.4.6",
            "mail for the domain comes back to this server, which does not know it as one of its own");
}

static bool all_refused(const struct mx_walk *w)
{
    for (unsigned i = 0; i < w->host_count; i++)
        if (i >= w->group_end || (w->hosts[i].has_address && (!w->hosts[i].refused || w->hosts[i].failed)))
            return false;
    return dns_failure(w) == DNS_OK; /* (M3) */
}

/* No address is left to try (or may be tried). */
static void conclude_untaken(struct mx_walk *w)
{
    bool candidates = false;

    for (unsigned i = 0; i < w->group_end && i < w->host_count; i++)
        candidates = candidates || w->hosts[i].has_address;
    if (candidates && all_refused(w))
        conclude(w, MX_VERDICT_REJECTED, "5.3.2", "every mail host of the domain refuses to talk to this server");
    else if (candidates)
        conclude(w, MX_VERDICT_UNREACHED, "4.4.1", "no mail host of the domain could be used");
    else if (dns_failure(w) != DNS_OK)
        conclude(w, MX_VERDICT_DNS, "4.4.3", "the mail hosts of the domain could not be looked up");
    else if (w->saw_ourselves)
        conclude_ourselves(w);
    else
        conclude_not_found(w, !w->implicit || !w->saw_nxdomain);
}

/* --- who we are --- */

static bool is_our_name(const struct mx_walk *w, struct bytes host)
{
    for (size_t i = 0; i < w->self->name_count && !w->target->direct; i++)
        if (dns_name_equal(w->self->names[i], host))
            return true;
    return false;
}

static bool is_our_address(const struct mx_walk *w, const struct dns_address *address)
{
    for (size_t i = 0; i < w->self->endpoint_count; i++)
        if (w->self->endpoints[i].port == w->target->port && dns_address_equal(&w->self->endpoints[i].address, address))
            return true;
    return false;
}

/* --- hosts --- */

static bool keep_name(struct mx_walk *w, struct bytes name, uint16_t *offset_out, uint8_t *size_out)
{
    if (name.size > UINT8_MAX || name.size > MX_NAMES_SIZE_MAX - w->names_size)
        return false;
    memcpy(w->names + w->names_size, name.data, name.size);
    *offset_out = (uint16_t)w->names_size;
    *size_out = (uint8_t)name.size;
    w->names_size += name.size;
    return true;
}

static struct bytes host_name(const struct mx_walk *w, const struct mx_host *host)
{
    return (struct bytes){w->names + host->name_offset, host->name_size};
}

static bool host_is_known(const struct mx_walk *w, struct bytes name)
{
    for (unsigned i = 0; i < w->host_count; i++)
        if (dns_name_equal(host_name(w, &w->hosts[i]), name))
            return true;
    return false;
}

/* Hosts come the best first. False when there is no more room: the rest is worse. */
static bool host_add(struct mx_walk *w, struct bytes name, uint16_t preference)
{
    struct mx_host *host = &w->hosts[w->host_count];

    if (w->host_count == DNS_MX_COUNT_MAX)
        return false;
    *host = (struct mx_host){
        .preference = preference, .secure = w->mx_secure, .last_family = w->target->ipv4_first ? 6 : 0};
    if (!keep_name(w, name, &host->name_offset, &host->name_size))
        return false;
    host->base_offset = host->name_offset;
    host->base_size = host->name_size;
    host->to_ask = (w->target->ipv6 ? ASK_IPV6 : 0) | (w->target->ipv4 ? ASK_IPV4 : 0);
    w->host_count++;
    return true;
}

static void group_next(struct mx_walk *w)
{
    w->group_begin = w->group_end;
    w->group_is_ours = false;
    w->address_count = 0;
    if (w->group_begin >= w->host_count) {
        conclude_untaken(w);
        return;
    }
    do
        w->group_end++;
    while (w->group_end < w->host_count && w->hosts[w->group_end].preference == w->hosts[w->group_begin].preference);
    for (unsigned i = w->group_end - w->group_begin; i > 1; i--) {
        unsigned a = w->group_begin + i - 1, b = w->group_begin + (unsigned)rng_below(&w->rng, i);
        struct mx_host swap = w->hosts[a];
        w->hosts[a] = w->hosts[b];
        w->hosts[b] = swap;
    }
    w->state = MX_STATE_GROUP;
}

/* The one host is the domain (or the operator's host) itself. */
static void begin_implicit(struct mx_walk *w, struct bytes name)
{
    w->implicit = true;
    if (is_our_name(w, name))
        w->saw_ourselves = true;
    else {
        bool fits = host_add(w, name, 0);
        ASSERT(fits); /* the first name always fits: it is a domain name */
    }
    group_next(w);
}

static void begin_hosts(struct mx_walk *w, const struct dns_answer *answer)
{
    uint32_t ours = UINT32_MAX; /* the best preference that we have ourselves */
    unsigned roots = 0;

    for (unsigned i = answer->count; i-- > 0;) {
        roots += answer->mx[i].host.size == 0;
        if (is_our_name(w, dns_name_bytes(&answer->mx[i].host)))
            ours = answer->mx[i].preference;
    }
    /* "." beside real hosts breaks RFC 7505 3; it is left out then, because the others were meant. */
    if (roots > 0 && roots == answer->count && answer->unusable == 0) {
        conclude(w, MX_VERDICT_NULL, "5.1.10", "the domain does not accept mail");
        return;
    }
    w->saw_ourselves = ours != UINT32_MAX;
    for (unsigned i = 0; i < answer->count && answer->mx[i].preference < ours; i++) {
        struct bytes name = dns_name_bytes(&answer->mx[i].host);
        /* Address literals and other oddities are no hosts; a host named twice keeps its better place. */
        if (!dns_name_is_host(name) || host_is_known(w, name))
            continue;
        if (!host_add(w, name, answer->mx[i].preference))
            break;
    }
    group_next(w);
}

static void answer_mx(struct mx_walk *w, const struct dns_answer *answer)
{
    w->mx_secure = answer->authentic;
    if (answer->status == DNS_OK) {
        begin_hosts(w, answer);
    } else if (answer->status == DNS_NODATA) {
        begin_implicit(w, w->target->domain); /* RFC 5321 5.1: as if it were an MX of preference 0 */
    } else if (dns_status_is_temporary(answer->status)) {
        w->mx_failed = answer->status;
        conclude_untaken(w);
    } else {
        conclude_not_found(w, false);
    }
}

/* --- addresses --- */

static void address_add(struct mx_walk *w, unsigned host, const struct dns_address *address)
{
    w->hosts[host].has_address = true;
    if (w->address_count < MX_ADDRESS_COUNT_MAX)
        w->addresses[w->address_count++] = (struct mx_walk_address){.address = *address, .host = (uint8_t)host};
}

static void keep_base(struct mx_walk *w, struct mx_host *host, const struct dns_answer *answer)
{
    struct bytes base = dns_name_bytes(&answer->canonical);

    host->secure = host->secure && answer->authentic;
    if (!answer->authentic || base.size == 0 || dns_name_equal(base, host_name(w, host)))
        return;
    if (host->base_offset == host->name_offset)
        (void)keep_name(w, base, &host->base_offset, &host->base_size); /* no room: the host's own name serves */
}

static void answer_addresses(struct mx_walk *w, unsigned index, const struct dns_answer *answer)
{
    struct mx_host *host = &w->hosts[index];
    uint8_t order[DNS_ADDRESS_COUNT_MAX] = {0};
    unsigned kept = 0;

    if (dns_status_is_temporary(answer->status) && host->dns_failed == DNS_OK)
        host->dns_failed = (uint8_t)answer->status;
    w->saw_nxdomain = w->saw_nxdomain || answer->status == DNS_NXDOMAIN;
    if (answer->status != DNS_OK)
        return;
    keep_base(w, host, answer);
    /* Cached answers have lost the order that the name server varies to spread the load: vary it here. */
    for (unsigned i = 0; i < answer->count; i++) {
        unsigned at = (unsigned)rng_below(&w->rng, i + 1);
        order[i] = order[at];
        order[at] = (uint8_t)i;
    }
    for (unsigned i = 0; i < answer->count; i++) {
        const struct dns_address *address = &answer->address[order[i]];
        if (!dns_address_is_unicast(address))
            continue;
        if (is_our_address(w, address))
            w->saw_ourselves = w->group_is_ours = true;
        else if (kept < DELIVERY_ADDRESS_TRIES_MAX)
            address_add(w, index, address);
        else
            continue;
        kept++;
    }
}

/* --- the group --- */

static bool next_question(struct mx_walk *w, struct mx_event *event_out)
{
    unsigned ask = 0;

    while (ask < MX_ASK_COUNT_MAX && w->asks[ask].busy)
        ask++;
    if (ask == MX_ASK_COUNT_MAX)
        return false;
    for (unsigned i = w->group_begin; i < w->group_end; i++) {
        struct mx_host *host = &w->hosts[i];
        if (host->to_ask == 0)
            continue;
        bool ipv6 = host->to_ask & ASK_IPV6;
        host->to_ask &= ipv6 ? ~ASK_IPV6 : ~ASK_IPV4;
        w->asks[ask].busy = true;
        w->asks[ask].host = (uint8_t)i;
        w->asks[ask].type = ipv6 ? DNS_TYPE_AAAA : DNS_TYPE_A;
        *event_out =
            (struct mx_event){.kind = MX_EVENT_ASK, .ask = ask, .name = host_name(w, host), .type = w->asks[ask].type};
        return true;
    }
    return false;
}

static bool asks_open(const struct mx_walk *w)
{
    for (unsigned i = 0; i < MX_ASK_COUNT_MAX; i++)
        if (w->asks[i].busy)
            return true;
    return false;
}

/* All of this preference is known (M1). */
static void group_resolved(struct mx_walk *w)
{
    if (w->group_is_ours) {
        w->host_count = w->group_end = w->group_begin;
        group_next(w);
        return;
    }
    w->state = MX_STATE_TRY;
}

static const unsigned NONE = UINT32_MAX;

/* The next address of one host: IPv6 and IPv4 take turns. */
static unsigned pick_of_host(const struct mx_walk *w, unsigned host)
{
    unsigned any = NONE;

    for (unsigned i = 0; i < w->address_count; i++) {
        const struct mx_walk_address *a = &w->addresses[i];
        if (a->used || a->host != host)
            continue;
        uint8_t wanted = w->hosts[host].last_family == 6 ? 4 : 6;
        if (a->address.family == wanted)
            return i;
        if (any == NONE)
            any = i;
    }
    return any;
}

static unsigned pick_of_group(const struct mx_walk *w, unsigned host_tries_max)
{
    for (unsigned host = w->group_begin; host < w->group_end; host++) {
        unsigned index = w->hosts[host].tries < host_tries_max ? pick_of_host(w, host) : NONE;
        if (index != NONE)
            return index;
    }
    return NONE;
}

/* First no host may take more than its share; what is then left of the last preference is used up. */
static unsigned pick(const struct mx_walk *w)
{
    unsigned index = pick_of_group(w, MX_HOST_TRIES_MAX);

    if (index == NONE && w->group_end == w->host_count)
        index = pick_of_group(w, DELIVERY_ADDRESS_TRIES_MAX);
    return index;
}

static bool next_try(struct mx_walk *w, struct mx_event *event_out)
{
    unsigned index = w->tries < DELIVERY_ADDRESS_TRIES_MAX ? pick(w) : NONE;

    if (index == NONE) {
        if (w->tries < DELIVERY_ADDRESS_TRIES_MAX)
            group_next(w);
        else
            conclude_untaken(w);
        return false;
    }
    struct mx_walk_address *a = &w->addresses[index];
    struct mx_host *host = &w->hosts[a->host];
    a->used = true;
    host->last_family = a->address.family;
    w->trying = index;
    w->state = MX_STATE_WAIT;
    *event_out = (struct mx_event){
        .kind = MX_EVENT_TRY,
        .host = host_name(w, host),
        .address = a->address,
        .port = w->target->port,
        .preference = host->preference,
        .fallback_left = w->tries + 1 < DELIVERY_ADDRESS_TRIES_MAX && (pick(w) != NONE || w->group_end < w->host_count),
        .secure = host->secure,
        .tlsa_base = {w->names + host->base_offset, host->base_size},
    };
    return true;
}

/* --- the six verbs --- */

/* An address instead of a name; for an operator's host also without the brackets or the tag. */
static bool target_is_address(const struct mx_target *target, struct dns_address *address_out)
{
    struct bytes text = target->domain;

    if (is_ok(dns_address_parse_literal(text, address_out)))
        return true;
    if (!target->direct)
        return false;
    if (text.size >= 2 && text.data[0] == '[' && text.data[text.size - 1] == ']')
        text = bytes_after(bytes_head(text, text.size - 1), 1);
    return is_ok(dns_address_parse(text, address_out));
}

static void begin_address(struct mx_walk *w, const struct dns_address *address)
{
    bool fits = host_add(w, w->target->domain, 0);

    ASSERT(fits); /* at most "[IPv6:" and a text of at most 45 octets */
    w->implicit = true;
    w->hosts[0].to_ask = 0;
    group_next(w);
    if (!dns_address_is_unicast(address))
        return;
    if (is_our_address(w, address))
        w->saw_ourselves = w->group_is_ours = true;
    else
        address_add(w, 0, address);
}

void mx_walk_init(struct mx_walk *w, const struct mx_target *target, const struct mx_self *self, uint64_t seed)
{
    struct dns_address address;

    ASSERT(target->ipv4 || target->ipv6);
    memset(w, 0, offsetof(struct mx_walk, names));
    w->target = target;
    w->self = self;
    w->rng.state = seed;
    if (target_is_address(target, &address))
        begin_address(w, &address);
    else if (!dns_name_is_host(target->domain))
        conclude_not_found(w, false);
    else if (target->direct)
        begin_implicit(w, target->domain);
}

bool mx_walk_next(struct mx_walk *w, struct mx_event *event_out)
{
    for (;;) {
        switch ((enum mx_state)w->state) {
        case MX_STATE_ASK_MX:
            w->asks[0].busy = true;
            w->state = MX_STATE_WAIT_MX;
            *event_out = (struct mx_event){.kind = MX_EVENT_ASK, .name = w->target->domain, .type = DNS_TYPE_MX};
            return true;
        case MX_STATE_GROUP:
            if (next_question(w, event_out))
                return true;
            if (asks_open(w))
                return false;
            group_resolved(w);
            continue;
        case MX_STATE_TRY:
            if (next_try(w, event_out))
                return true;
            continue;
        case MX_STATE_DONE:
            w->state = MX_STATE_OVER;
            *event_out = (struct mx_event){.kind = MX_EVENT_DONE, .verdict = w->verdict};
            return true;
        case MX_STATE_WAIT_MX:
        case MX_STATE_WAIT:
        case MX_STATE_OVER:
            return false;
        }
    }
}

void mx_walk_answer(struct mx_walk *w, unsigned ask, const struct dns_answer *answer)
{
    ASSERT(ask < MX_ASK_COUNT_MAX && w->asks[ask].busy);
    w->asks[ask].busy = false;
    if (w->state == MX_STATE_WAIT_MX) {
        answer_mx(w, answer);
        return;
    }
    ASSERT(w->state == MX_STATE_GROUP);
    ASSERT(answer->status != DNS_OK || answer->type == w->asks[ask].type);
    answer_addresses(w, w->asks[ask].host, answer);
}

void mx_walk_result(struct mx_walk *w, enum mx_outcome outcome)
{
    struct mx_host *host = &w->hosts[w->addresses[w->trying].host];

    ASSERT(w->state == MX_STATE_WAIT);
    w->state = MX_STATE_TRY;
    if (outcome == MX_TRY_NO_ROUTE)
        return;
    w->tries++;
    host->tries++;
    if (outcome == MX_TRY_GREETED_5XX)
        host->refused = true;
    else
        host->failed = true;
}
