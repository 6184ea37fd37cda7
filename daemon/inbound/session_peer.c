/* session_peer: who the client is: by its address or a front server's word, by password, behind TLS. */
#include "daemon/config/value.h"
#include "daemon/inbound/session_parts.h"

enum { HANDSHAKE_MS = 60000 };

void session_trust_refresh(struct session *s)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    uint8_t address[16];

    memcpy(address, s->client.address, sizeof address);
    bool itself = peer->local || bytes_equal(peer->address, conn_end_text(&s->client));
    if (!itself && !is_ok(conn_address_parse(peer->address, address)))
        memset(address, 0, sizeof address); /* XCLIENT said that it is unknown: nobody's network */
    session_who_set(s, address);
    /* A certificate is the front server's own, not that of whom it names by XCLIENT. */
    s->may_relay = policy_may_relay(s->in->cfg, address, peer->local, smtp_server_authenticated(&s->smtp)) ||
                   (s->certified && itself);
}

/* --- what the DNS says of it --- */

void session_client_ask(struct session *s)
{
    const struct config_checks *checks = &s->in->cfg->checks;
    bool lists = checks->list_count > 0 && s->door->smtp.class == SMTP_CLASS_MX;

    repute_leave(&s->repute);
    s->nameless = false;
    s->listed = 0;
    s->scored = false;
    if (s->exempt || s->in->repute == NULL || (!checks->names && !lists))
        return;
    s->repute.owner = s;
    repute_ask(s->in->repute, &s->repute, s->who, lists);
}

void session_client_known(void *owner, struct bytes name, bool nameless, uint32_t listed)
{
    struct session *s = owner;

    s->nameless = nameless;
    s->listed = listed;
    for (size_t i = 0; i < s->in->cfg->checks.list_count; i++)
        if ((listed >> i & 1) != 0)
            counts_add(s->in->counts, DOOR_LISTED, s->in->cfg->checks.lists[i].zone);
    if (name.size > 0 && name.size <= sizeof s->name_room && smtp_server_peer(&s->smtp)->rdns.size == 0) {
        memcpy(s->name_room, name.data, name.size);
        smtp_server_rdns(&s->smtp, (struct bytes){s->name_room, name.size});
    }
    if (!s->mail_waits)
        return;
    s->mail_waits = false;
    session_check_mail(s, &s->asked_mail);
    session_go_on(s);
}

void session_score(struct session *s)
{
    uint8_t room[SCORE_REASONS_SIZE_MAX];
    struct buf reasons = BUF(room);
    struct score_facts facts = {
        .address = s->who, .helo = smtp_server_helo(&s->smtp), .nameless = s->nameless, .listed = s->listed};
    uint32_t refuse_at = s->in->cfg->checks.refuse_at;
    int32_t score;

    s->score_refuses = false;
    if (s->exempt || smtp_server_authenticated(&s->smtp))
        return;
    score = score_client(s->in->cfg, &facts, &reasons);
    s->score_refuses = refuse_at > 0 && score >= (int64_t)refuse_at;
    if (s->scored && s->score == score)
        return;
    s->scored = true;
    s->score = score;
    counts_add(s->in->counts, DOOR_SCORED, s->score_refuses ? BYTES("refused") : BYTES("passed"));
    LOG(CLIENT_SCORED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
        LOG_TEXT("name", smtp_server_peer(&s->smtp)->rdns), LOG_TEXT("helo", smtp_server_helo(&s->smtp)),
        LOG_NUM("score", score), LOG_TEXT("reasons", buf_bytes(&reasons)),
        LOG_STR("verdict", s->score_refuses ? "refused" : "passed"));
}

/* --- logins --- */

void session_auth(struct session *s, const struct smtp_auth *auth)
{
    uint8_t exporter[TLS_BINDING_SIZE_MAX], endpoint[TLS_BINDING_SIZE_MAX];
    const struct tls *tls = conn_tls(s->io);
    struct msg_auth_ask question = {
        .block = s->block,
        .client = bytes_head(session_client(s), DEPOT_CLIENT_SIZE_MAX),
        .mechanism = auth->mechanism,
        .response = auth->response,
        .has_response = auth->has_response,
        .plus_offered = tls != NULL && !s->door->smtp.auth_without_tls,
    };

    if (s->in->clerk == NULL) {
        session_answered(s, AUTH_BUSY, BYTES_NONE);
        return;
    }
    if (tls != NULL) {
        question.exporter = tls_exporter(tls, exporter);
        question.endpoint = tls_endpoint(tls, endpoint);
    }
    s->login.owner = s;
    s->login.session = s->id.value;
    clerk_ask(s->in->clerk, &s->login, &question);
}

void session_answered(void *owner, enum auth_outcome outcome, struct bytes text)
{
    static const struct reply replies[AUTH_OUTCOME_COUNT] = {
        [AUTH_BAD] = {535, {5, 7, 8}, BYTES_INIT("Authentication failed")},
        [AUTH_MALFORMED] = {501, {5, 5, 2}, BYTES_INIT("That is not how this mechanism goes")},
        [AUTH_BUSY] = {454, {4, 7, 0}, BYTES_INIT("Authentication is not possible at present, try again later")},
        [AUTH_SHUT_OUT] = {454, {4, 7, 0}, BYTES_INIT("Too many failed logins, try again later")},
    };
    static const char *const words[AUTH_OUTCOME_COUNT] = {
        [AUTH_GOOD] = "good",
        [AUTH_BAD] = "bad",
        [AUTH_MALFORMED] = "malformed",
        [AUTH_BUSY] = "busy",
        [AUTH_SHUT_OUT] = "shut_out",
    };
    struct session *s = owner;
    struct smtp_answer answer = {.kind = SMTP_ANSWER_NO, .reply = replies[outcome]};

    if (words[outcome] != NULL)
        counts_add(s->in->counts, DOOR_LOGIN, bytes_of(words[outcome]));
    if (outcome == AUTH_CHALLENGE && text.size <= SERVER_CHALLENGE_SIZE_MAX)
        answer = (struct smtp_answer){.kind = SMTP_ANSWER_CHALLENGE, .challenge = text};
    else if (outcome == AUTH_GOOD && text.size > 0 && text.size <= LOCAL_PART_SIZE_MAX)
        answer = (struct smtp_answer){.kind = SMTP_ANSWER_YES, .login = text};
    else if (outcome == AUTH_GOOD || outcome == AUTH_CHALLENGE)
        answer.reply = replies[AUTH_BUSY]; /* auth does not keep to its bounds */
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);
    if (is_ok(r) && answer.kind == SMTP_ANSWER_YES) {
        LOG(AUTHENTICATED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
            LOG_TEXT("login", text));
        session_trust_refresh(s);
    }
    session_go_on(s);
}

void session_tls_start(struct session *s)
{
    struct tls *tls;

    if (s->in->tls == NULL || !is_ok(tls_accept(tls_store_context(s->in->tls), &tls))) {
        s->why = "tls";
        conn_close(s->io);
        return;
    }
    if (s->door->listen != NULL && s->door->listen->client_certificate != LISTEN_CERTIFICATE_NONE)
        tls_ask_certificate(tls);
    if (s->proxied)
        conn_start_tls_here(s->io, tls);
    else
        conn_start_tls(s->io, tls);
}

void session_tls_begin(struct session *s)
{
    int64_t idle = s->in->cfg->timeouts.server_idle;

    s->shaking = true;
    conn_set_deadline(s->io, instant_after(loop_now(s->in->loop), idle < HANDSHAKE_MS ? idle : HANDSHAKE_MS));
    if (s->proxied || session_limit_handshake(s)) /* behind a balancer the beginning of the stream is here already */
        session_tls_start(s);
    else
        conn_pause(s->io);
}

struct bytes session_fingerprint(const struct session *s)
{
    return s->certificate_shown ? (struct bytes){s->fingerprint, sizeof s->fingerprint} : BYTES_NONE;
}

static bool may_relay_by(const struct config *cfg, const uint8_t fingerprint[TLS_FINGERPRINT_SIZE])
{
    uint8_t known[VALUE_FINGERPRINT_SIZE];

    for (size_t i = 0; i < cfg->relay_certificates.count; i++)
        if (is_ok(value_fingerprint(cfg->relay_certificates.items[i], known)) &&
            memcmp(known, fingerprint, sizeof known) == 0)
            return true;
    return false;
}
STATIC_ASSERT((int)VALUE_FINGERPRINT_SIZE == (int)TLS_FINGERPRINT_SIZE);

bool session_tls_over(struct session *s)
{
    static const char hex[] = "0123456789abcdef";
    const struct config_listen *listen = s->door->listen;
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];

    if (listen == NULL || listen->client_certificate == LISTEN_CERTIFICATE_NONE)
        return true;
    if (!tls_peer_fingerprint(conn_tls(s->io), fingerprint)) {
        if (listen->client_certificate != LISTEN_CERTIFICATE_REQUIRE)
            return true;
        s->why = "certificate";
        conn_close(s->io);
        return false;
    }
    for (size_t i = 0; i < sizeof fingerprint; i++) {
        s->fingerprint[2 * i] = (uint8_t)hex[fingerprint[i] >> 4];
        s->fingerprint[2 * i + 1] = (uint8_t)hex[fingerprint[i] & 15];
    }
    s->certificate_shown = true;
    s->certified = may_relay_by(s->in->cfg, fingerprint);
    LOG(CERTIFICATE_SHOWN, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
        LOG_TEXT("fingerprint", session_fingerprint(s)), LOG_NUM("relays", s->certified));
    return true;
}
