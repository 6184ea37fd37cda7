/* session_limits: how often a session's client, login, user, sender and recipients' domains may do things, and how long a
 * stranger waits: for the greeting, and for the answer to an error. */
#include "daemon/edge/clock.h"
#include "daemon/inbound/session_parts.h"

/* What is counted; the names are those of the keys in the block `rates`. */
#define LIMITS(X)                                                                                                      \
    X(client_connections)                                                                                              \
    X(handshakes)                                                                                                      \
    X(client_commands)                                                                                                 \
    X(client_recipients)                                                                                               \
    X(client_messages)                                                                                                 \
    X(client_octets)                                                                                                   \
    X(client_errors)                                                                                                   \
    X(login_recipients)                                                                                                \
    X(login_messages)                                                                                                  \
    X(login_octets)                                                                                                    \
    X(uid_recipients)                                                                                                  \
    X(uid_messages)                                                                                                    \
    X(uid_octets)                                                                                                      \
    X(sender_recipients)                                                                                               \
    X(sender_messages)                                                                                                 \
    X(sender_octets)

enum limit {
#define X(name) LIMIT_##name,
    LIMITS(X)
#undef X
        LIMIT_domain_recipients, /* of a domain block */
};

static const struct {
    const char *name;
    size_t offset;
} limits[] = {
#define X(name) {#name, offsetof(struct config_rates, name)},
    LIMITS(X)
#undef X
};

static const struct rate *rate_of(const struct session *s, enum limit limit)
{
    return (const struct rate *)((const uint8_t *)&s->in->cfg->rates + limits[limit].offset);
}

static void log_limited(const struct session *s, const char *what, struct bytes login)
{
    LOG(RATE_LIMITED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)), LOG_TEXT("login", login),
        LOG_STR("what", what));
    counts_add(s->in->counts, DOOR_LIMITED, bytes_of(what));
}

static bool take(struct session *s, enum limit limit, struct bytes subject, uint64_t n)
{
    if (rates_take(
            census_rates(s->in->census), rate_of(s, limit), rates_key(limit, subject), loop_now(s->in->loop).ms, n))
        return true;
    log_limited(s, limits[limit].name, s->begun ? smtp_server_peer(&s->smtp)->login : BYTES_NONE);
    return false;
}

static void spend(struct session *s, enum limit limit, struct bytes subject, uint64_t n)
{
    rates_spend(census_rates(s->in->census), rate_of(s, limit), rates_key(limit, subject), loop_now(s->in->loop).ms, n);
}

static bool spent(struct session *s, enum limit limit, struct bytes subject)
{
    return rates_spent(
        census_rates(s->in->census), rate_of(s, limit), rates_key(limit, subject), loop_now(s->in->loop).ms);
}

static struct bytes block_of(const struct session *s)
{
    return (struct bytes){(const uint8_t *)&s->block, sizeof s->block};
}

void session_who_set(struct session *s, const uint8_t address[16])
{
    const struct config *cfg = s->in->cfg;

    memcpy(s->who, address, sizeof s->who);
    s->block = config_client_block(cfg, address);
    s->exempt = s->client.local || config_network_contains(&cfg->exempt_from, address) ||
                config_network_contains(&cfg->relay_from, address);
}

const char *session_limit_connect(struct session *s, struct reply *reply_out)
{
    const struct ban *ban = s->in->bans == NULL || s->in->bans->count == 0 || s->client.local
                                ? NULL
                                : bans_find(s->in->bans, s->block, clock_walltime());

    if (ban != NULL && ban->by_hand) {
        *reply_out = REPLY(554, 5, 7, 1, "Your network is shut out here; ask the postmaster");
        return "banned";
    }
    if (s->exempt)
        return NULL;
    if (ban != NULL && s->door->listen != NULL && s->door->listen->auth) { /* who cannot log in has no business there */
        *reply_out = REPLY(421, 4, 7, 0, "Too many failed logins from your network, try again later");
        return "banned";
    }
    if (spent(s, LIMIT_client_errors, block_of(s))) {
        *reply_out = REPLY(421, 4, 7, 0, "Too many errors from your network, try again later");
        return "client_errors";
    }
    if (!take(s, LIMIT_client_connections, block_of(s), 1)) {
        *reply_out = REPLY(421, 4, 7, 0, "Too many connections from your network, try again later");
        return "client_connections";
    }
    return NULL;
}

void session_limit_commands(struct session *s)
{
    static const struct reply too_many = {421, {4, 7, 0}, BYTES_INIT("Too many commands from your network, closing")};
    uint32_t count = smtp_server_command_count(&s->smtp);
    uint32_t fresh = count - s->commands_counted;

    s->commands_counted = count;
    if (fresh > 0 && !s->exempt && !take(s, LIMIT_client_commands, block_of(s), fresh))
        smtp_server_expel(&s->smtp, &too_many);
}

/* Who answers for what is sent: by password the login, on this host the user, else the address. */
enum sender_kind { SENDER_CLIENT, SENDER_LOGIN, SENDER_UID, SENDER_EXEMPT };

static enum sender_kind sender_kind_of(const struct session *s, struct bytes *subject_out)
{
    *subject_out = BYTES_NONE;
    if (s->client.local) {
        *subject_out = (struct bytes){(const uint8_t *)&s->uid, sizeof s->uid};
        return SENDER_UID;
    }
    if (smtp_server_authenticated(&s->smtp)) {
        *subject_out = smtp_server_peer(&s->smtp)->login;
        return SENDER_LOGIN;
    }
    *subject_out = block_of(s);
    return s->exempt ? SENDER_EXEMPT : SENDER_CLIENT;
}

static const enum limit SIZES[] = {LIMIT_client_octets, LIMIT_login_octets, LIMIT_uid_octets};

static bool octets_are_spent(struct session *s, enum limit limit, struct bytes subject)
{
    if (!spent(s, limit, subject))
        return false;
    log_limited(s, limits[limit].name, smtp_server_peer(&s->smtp)->login);
    return true;
}

/* Names of domains are one in any case: whoever writes one differently must not get another bucket. */
static struct bytes domain_fold(struct bytes domain, uint8_t room[DOMAIN_SIZE_MAX])
{
    domain = bytes_head(domain, DOMAIN_SIZE_MAX);
    for (size_t i = 0; i < domain.size; i++)
        room[i] = domain.data[i] >= 'A' && domain.data[i] <= 'Z' ? (uint8_t)(domain.data[i] + 32) : domain.data[i];
    return (struct bytes){room, domain.size};
}

/* --- handshakes, while somebody whom we know sends --- */

enum { WORKED_MS = 1000, TURN_MS = 10 };

static bool handshake_may(const struct inbound *in)
{
    int64_t now = loop_now(in->loop).ms, worked = census_worked_at(in->census);

    return worked == 0 || now - worked >= WORKED_MS ||
           rates_take(
               census_rates(in->census), &in->cfg->rates.handshakes, rates_key(LIMIT_handshakes, BYTES_NONE), now, 1);
}

static void on_turn(void *ctx)
{
    struct inbound *in = ctx;

    while (in->turnstile.count > 0 && handshake_may(in)) {
        struct turnstile_place *place = turnstile_next(&in->turnstile);
        session_tls_start((struct session *)((uint8_t *)place - offsetof(struct session, turn)));
    }
    if (in->turnstile.count > 0)
        loop_timer_set(in->loop, &in->turn, instant_after(loop_now(in->loop), TURN_MS));
}

bool session_limit_handshake(struct session *s)
{
    struct inbound *in = s->in;

    if (s->exempt || (in->turnstile.count == 0 && handshake_may(in)))
        return true;
    if (in->turnstile.count == 0) {
        in->turn = (struct loop_timer){.fn = on_turn, .ctx = in};
        loop_timer_set(in->loop, &in->turn, instant_after(loop_now(in->loop), TURN_MS));
    }
    turnstile_enter(&in->turnstile, &s->turn, s->block);
    return false;
}

void session_turn_leave(struct session *s)
{
    if (!s->turn.waits)
        return;
    turnstile_leave(&s->in->turnstile, &s->turn);
    if (s->in->turnstile.count == 0)
        loop_timer_stop(s->in->loop, &s->in->turn);
}

const struct reply *session_limit_mail(struct session *s, struct bytes sender_domain)
{
    static const struct reply messages = {450, {4, 7, 1}, BYTES_INIT("Too many messages from you, try again later")};
    static const struct reply octets = {452, {4, 7, 1}, BYTES_INIT("Too much mail from you, try again later")};
    static const struct reply sender = {
        450, {4, 7, 1}, BYTES_INIT("Too many messages from this domain, try again later")};
    static const enum limit counts[] = {LIMIT_client_messages, LIMIT_login_messages, LIMIT_uid_messages};
    uint8_t room[DOMAIN_SIZE_MAX];
    struct bytes subject, domain = domain_fold(sender_domain, room);
    enum sender_kind kind = sender_kind_of(s, &subject);

    if (kind != SENDER_CLIENT)
        census_worked(s->in->census, loop_now(s->in->loop).ms);
    if (kind == SENDER_EXEMPT)
        return NULL;
    if (octets_are_spent(s, SIZES[kind], subject) ||
        (domain.size > 0 && octets_are_spent(s, LIMIT_sender_octets, domain)))
        return &octets;
    if (!take(s, counts[kind], subject, 1))
        return &messages;
    return domain.size == 0 || take(s, LIMIT_sender_messages, domain, 1) ? NULL : &sender;
}

const struct reply *session_limit_rcpt(
    struct session *s, struct bytes sender_domain, const struct config_domain *domain)
{
    static const struct reply client = {452, {4, 5, 3}, BYTES_INIT("Too many recipients from you, try again later")};
    static const struct reply sender = {
        452, {4, 5, 3}, BYTES_INIT("Too many recipients from this domain, try again later")};
    static const struct reply ours = {450, {4, 2, 1}, BYTES_INIT("Too much mail for this domain, try again later")};
    static const enum limit counts[] = {LIMIT_client_recipients, LIMIT_login_recipients, LIMIT_uid_recipients};
    uint8_t room[DOMAIN_SIZE_MAX];
    struct bytes subject, from = domain_fold(sender_domain, room);
    enum sender_kind kind = sender_kind_of(s, &subject);

    if (kind != SENDER_EXEMPT) {
        if (!take(s, counts[kind], subject, 1))
            return &client;
        if (from.size > 0 && !take(s, LIMIT_sender_recipients, from, 1))
            return &sender;
    }
    if (domain == NULL || domain->recipients.count == 0)
        return NULL;
    if (rates_take(census_rates(s->in->census), &domain->recipients, rates_key(LIMIT_domain_recipients, domain->name),
            loop_now(s->in->loop).ms, 1))
        return NULL;
    log_limited(s, "domain", BYTES_NONE);
    return &ours;
}

void session_limit_octets(struct session *s, struct bytes sender_domain, uint64_t size)
{
    uint8_t room[DOMAIN_SIZE_MAX];
    struct bytes subject, domain = domain_fold(sender_domain, room);
    enum sender_kind kind = sender_kind_of(s, &subject);

    if (kind == SENDER_EXEMPT)
        return;
    spend(s, SIZES[kind], subject, size);
    if (domain.size > 0)
        spend(s, LIMIT_sender_octets, domain, size);
}

/* --- bans --- */

void session_banned(void *context, const struct msg_ban_set *ban)
{
    struct inbound *in = context;
    struct walltime now = clock_walltime(), until = {ban->until > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)ban->until};

    if (in->bans == NULL || ban->block == 0)
        return;
    bans_set(
        in->bans, &(struct ban){.block = ban->block, .until = until, .count = ban->count, .by_hand = ban->by_hand});
    if (in->clerk != NULL && !ban->by_hand)
        clerk_ban(in->clerk, ban->block, until.ms > now.ms ? (uint64_t)(until.ms - now.ms) : 0, ban->count);
}

void session_ban_made(void *context, const struct msg_ban_made *ban)
{
    struct inbound *in = context;
    uint64_t for_ms = ban->for_ms > INT64_MAX / 4 ? INT64_MAX / 4 : ban->for_ms;

    depot_say(in->depot, &(struct msg){.kind = MSG_ban_report,
                             .ban_report = {.block = ban->block,
                                 .until = (uint64_t)clock_walltime().ms + for_ms,
                                 .count = ban->count,
                                 .client = ban->client}});
}

void session_bans_tell(struct inbound *in)
{
    struct walltime now = clock_walltime();

    for (uint32_t i = 0; in->clerk != NULL && in->bans != NULL && i < in->bans->count; i++) {
        const struct ban *ban = &in->bans->items[i];
        if (!ban->by_hand)
            clerk_ban(
                in->clerk, ban->block, ban->until.ms > now.ms ? (uint64_t)(ban->until.ms - now.ms) : 0, ban->count);
    }
}

/* --- waiting --- */

static void hold(struct session *s, enum session_hold why, int64_t ms)
{
    s->hold = why;
    counts_add(s->in->counts, DOOR_WAITED, why == HOLD_GREETING ? BYTES("greeting") : BYTES("tarpit"));
    s->held_until = instant_after(loop_now(s->in->loop), ms);
    conn_set_deadline(s->io, s->held_until);
}

void session_hold_greeting(struct session *s)
{
    int64_t ms = s->in->cfg->checks.greet_delay;

    if (ms > 0 && !s->exempt && s->door->smtp.class == SMTP_CLASS_MX && s->door->tls != LISTEN_TLS_IMPLICIT)
        hold(s, HOLD_GREETING, ms);
}

void session_error_counted(struct session *s)
{
    const struct config_checks *checks = &s->in->cfg->checks;

    if (s->exempt || smtp_server_authenticated(&s->smtp))
        return;
    spend(s, LIMIT_client_errors, block_of(s), 1);
    if (checks->tarpit == 0 || s->hold != HOLD_NONE || s->in->held_count >= checks->tarpit_sessions || s->in->draining)
        return;
    s->in->held_count++;
    hold(s, HOLD_ERROR, checks->tarpit);
}

void session_hold_end(struct session *s)
{
    if (s->hold == HOLD_ERROR)
        s->in->held_count--;
    s->hold = HOLD_NONE;
}
