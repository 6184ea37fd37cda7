/* Design. What a link's handshake must prove, by the level of its route, and whether there is one at all.
 * (T1) In the clear after a handshake that failed goes mail of the level `opportunistic` and of `dane` without records; the first alone is
 *      remembered (clear_hosts.h).
 * (T2) session_key holds all that decides what is to be proved: sessions and remembered hosts serve the same demand again, no other. */
#include "daemon/outbound/parts.h"

#include "daemon/base/log.h"
#include "daemon/config/value.h"

static bool measures_by_roots(const struct link *l)
{
    return l->level == ROUTE_TLS_VERIFY || l->level == ROUTE_TLS_SECURE;
}

/* The domain that mail of an MX lane is for; empty for others. */
static struct bytes lane_domain(const struct link *l)
{
    struct bytes source, lane = route_lane_bare(l->lane, &source);

    return bytes_starts(lane, BYTES("mx:")) ? bytes_after(lane, 3) : BYTES_NONE;
}

/* The host's own certificate or its authority's, or the public key of either: what TLSA records say in the same words. */
static RESULT fingerprint_demand(const struct link *l, struct tls *tls)
{
    enum { AUTHORITY = 2, LEAF = 3, WHOLE = 0, PUBLIC_KEY = 1, SHA256 = 1 };
    uint8_t octets[VALUE_FINGERPRINT_SIZE];
    struct bytes fingerprint = {octets, sizeof octets}, rest = l->fingerprint;

    TRY(tls_expect_dane(tls, l->peer.host, BYTES_NONE));
    while (is_ok(value_fingerprint_next(&rest, octets)))
        for (uint8_t usage = AUTHORITY; usage <= LEAF; usage++)
            for (uint8_t selector = WHOLE; selector <= PUBLIC_KEY; selector++)
                if (!tls_dane_add(tls, usage, selector, SHA256, fingerprint))
                    return FAIL(CODE_REFUSED, "the fingerprint of its route cannot be used");
    return OK;
}

/* What the handshake must prove. */
static RESULT tls_demand(struct link *l, struct tls *tls)
{
    struct bytes domain = lane_domain(l);

    if (l->fingerprint.size > 0)
        return fingerprint_demand(l, tls);
    if (measures_by_roots(l)) {
        bool by_domain = l->level == ROUTE_TLS_SECURE && domain.size > 0;
        return tls_expect_name(tls, by_domain ? domain : l->peer.host, by_domain);
    }
    if (l->tlsa == NULL)
        return OK;
    TRY(tls_expect_dane(tls, l->peer.tlsa_base, domain));
    for (unsigned i = 0; i < l->tlsa->count; i++) {
        const struct dns_tlsa *record = &l->tlsa->tlsa[i];
        if (tls_dane_add(tls, record->usage, record->selector, record->matching, dns_tlsa_data(l->tlsa, i)))
            l->dane = true;
    }
    if (!l->dane && l->level == ROUTE_TLS_DANE_ONLY)
        return FAIL(CODE_REFUSED, "none of its TLSA records can be used");
    if (!l->dane) /* RFC 7672 2.2: then TLS, whoever answers */
        LOG(TLS_FAILED, LOG_TEXT("host", link_host(l)), LOG_STR("address", l->address_text),
            LOG_STR("why", "no TLSA record can be used: encrypted, not verified"));
    return OK;
}

/* All that decides what a handshake must prove, and to whom. */
static RESULT session_key(const struct link *l, struct buf *key)
{
    struct bytes domain = l->level == ROUTE_TLS_SECURE ? lane_domain(l) : BYTES_NONE;

    TRY(buf_put_u64(key, (uint64_t)l->level));
    TRY(buf_put_octet(key, ' '));
    TRY(buf_put_u64(key, l->peer.port));
    TRY(buf_put_octet(key, ' '));
    TRY(buf_put_str(key, l->address_text));
    TRY(buf_put_octet(key, ' '));
    TRY(buf_put(key, l->peer.host));
    TRY(buf_put_octet(key, ' '));
    return buf_put(key, domain);
}

static void on_session(void *owner, struct bytes session)
{
    struct link *l = owner;
    uint8_t octets[RESUMPTION_KEY_SIZE_MAX];
    struct buf key = BUF(octets);

    if (is_ok(session_key(l, &key)))
        resumption_put(&l->ob->resumption, buf_bytes(&key), session, loop_now(l->ob->loop));
}

/* What TLSA records prove is proved anew each time. */
static void session_offer(struct link *l, struct tls *tls)
{
    uint8_t octets[RESUMPTION_KEY_SIZE_MAX], kept[RESUMPTION_SESSION_SIZE_MAX];
    struct buf key = BUF(octets), session = BUF(kept);

    if (l->tlsa != NULL || l->fingerprint.size > 0 || l->peer.address.family == 0 || !is_ok(session_key(l, &key)))
        return;
    tls_keep_sessions(tls, on_session, l);
    if (resumption_take(&l->ob->resumption, buf_bytes(&key), loop_now(l->ob->loop), &session))
        (void)tls_resume(tls, buf_bytes(&session)); /* what cannot be read makes a whole handshake */
    explicit_bzero(kept, session.size);
}

RESULT
link_tls_make(struct link *l, struct tls **tls_out)
{
    struct bytes name = l->peer.address.family == 0 ? BYTES_NONE : l->tlsa != NULL ? l->peer.tlsa_base : l->peer.host;
    struct tls_context *ctx = measures_by_roots(l) && l->fingerprint.size == 0 ? l->ob->tls_roots : l->ob->tls;

    *tls_out = NULL;
    if (ctx == NULL) { /* made when a peer first offers TLS: it costs each worker a megabyte */
        TRY(tls_context_client(&l->ob->tls));
        ctx = l->ob->tls;
    }
    TRY(tls_connect(ctx, name, tls_out));
    struct result r = tls_demand(l, *tls_out);
    if (is_ok(r))
        session_offer(l, *tls_out);
    else
        tls_free(tls_out);
    return r;
}

/* --- clear text after a handshake that failed: at the level `opportunistic` alone --- */

enum smtp_client_tls link_tls_wanted(struct link *l, enum smtp_client_tls tls)
{
    uint8_t octets[RESUMPTION_KEY_SIZE_MAX];
    struct buf key = BUF(octets);

    if (l->tlsa != NULL)
        return SMTP_CLIENT_TLS_REQUIRED;
    if (l->level != ROUTE_TLS_OPPORTUNISTIC || l->peer.lmtp)
        return tls;
    l->second_try = tls == SMTP_CLIENT_TLS_NONE;
    if (tls == SMTP_CLIENT_TLS_OPPORTUNISTIC && is_ok(session_key(l, &key)) &&
        clear_hosts_has(&l->ob->clear_hosts, buf_bytes(&key), loop_now(l->ob->loop)))
        return SMTP_CLIENT_TLS_NONE;
    return tls;
}

void link_clear_noted(struct link *l)
{
    uint8_t octets[RESUMPTION_KEY_SIZE_MAX];
    struct buf key = BUF(octets);

    l->second_try = false;
    if (!is_ok(session_key(l, &key)))
        return;
    clear_hosts_put(&l->ob->clear_hosts, buf_bytes(&key), loop_now(l->ob->loop));
    LOG(TLS_SET_ASIDE, LOG_TEXT("host", link_host(l)), LOG_STR("address", l->address_text),
        LOG_NUM("seconds", CLEAR_HOSTS_KEEP_MS / 1000));
}

const char *link_tls_proof(const struct link *l)
{
    return l->fingerprint.size > 0 ? " pinned" : measures_by_roots(l) ? " verified" : l->dane ? " dane" : "";
}
