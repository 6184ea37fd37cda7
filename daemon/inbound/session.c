/* Design. The core is pulled in session_run alone; every callback of the connection, the depot and the loop ends there.
 * (S1) While a question is open (smtp_server_waiting) or credit is missing, the connection is paused: back-pressure is the
 *      same mechanism as parsing. Whatever ends the wait calls session_go_on, which resumes it.
 * (S2) `running` guards the pull loop: an answer given inside it is picked up by it, not by a second loop.
 * (S3) The end of the peer's input counts when all of it was fed and no question is open. */
#include "daemon/inbound/session.h"

#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/loop.h"
#include "daemon/inbound/letter.h"
#include "daemon/inbound/policy.h"
#include "daemon/inbound/proxy.h"
#include "smtp/idna.h"

enum {
    HANDSHAKE_MS = 60000,
    PROXY_MS = 10000,
    TURNED_AWAY_LINGER_MAX = 512, /* connections that are only being told 421, beyond the sessions */
    SESSION_ARENA_SIZE_MAX = 131072,
};

struct session {
    struct inbound *in;
    const struct door *door;
    struct conn *io;
    struct session *next, **link;
    struct depot_tx *tx;
    struct clerk_seat login;
    struct letter *letter; /* between us and the depot for what is submitted; it then owns tx */
    struct inquiry_question question;
    struct smtp_rcpt asked; /* the recipient of the open question; its views live in the core */
    struct bytes asked_path;
    struct session_id id;
    struct conn_end client; /* who it is: the connection's peer, or whom a load balancer names */
    struct buf proxy;       /* the balancer's header while it is not whole */
    uint32_t place;         /* in the census */
    uint32_t messages, rcpts;
    uint32_t uid;
    char uid_text[16];
    bool counted;
    bool proxied; /* the balancer's header is still to come */
    bool begun;   /* the core is there (with implicit TLS: after the handshake) */
    bool running; /* (S2) */
    bool shaking; /* a TLS handshake is under way: the connection is its own master */
    bool ended;   /* (S3) */
    bool over;    /* CLOSE was pulled */
    bool may_relay;
    const char *why;
    const char *rcpt_why; /* of the policy's last refusal, until it is logged */
    struct arena arena;
    struct smtp_server smtp;
};

static void session_go_on(struct session *s);

static struct bytes client_text(const struct session *s)
{
    if (s->begun && smtp_server_peer(&s->smtp)->address.size > 0)
        return smtp_server_peer(&s->smtp)->address;
    return s->uid_text[0] != 0 ? bytes_of(s->uid_text) : conn_end_text(&s->client);
}

/* --- answers --- */

static void answer_no(struct session *s, struct reply reply)
{
    struct smtp_answer answer = {.kind = SMTP_ANSWER_NO, .reply = reply};
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);

    ASSERT(is_ok(r) || r.code == CODE_GONE);
}

static void answer_yes(struct session *s, struct message_id id, struct walltime received_at)
{
    struct smtp_answer answer = {.kind = SMTP_ANSWER_YES, .id = id, .received_at = received_at};
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);

    ASSERT(is_ok(r) || r.code == CODE_GONE);
}

static enum origin_kind session_origin(const struct session *s)
{
    if (s->door->smtp.class == SMTP_CLASS_LOCAL)
        return ORIGIN_LOCAL;
    return s->door->smtp.class == SMTP_CLASS_SUBMISSION ? ORIGIN_SUBMISSION : ORIGIN_SMTP;
}

/* RFC 6409 4.3 (who submits has said who he is, or comes from a network that may), 6.1 (and writes under his own name). */
static bool sender_is_allowed(struct session *s, const struct smtp_mail *mail)
{
    uint8_t octets[DOMAIN_SIZE_MAX + 1];
    struct buf ascii = BUF(octets);
    struct bytes domain = mail->reverse_path.domain;

    if (s->door->listen == NULL || !s->door->listen->auth)
        return true;
    if (!smtp_server_authenticated(&s->smtp)) {
        if (s->may_relay || s->door->smtp.class != SMTP_CLASS_SUBMISSION)
            return true;
        answer_no(s, REPLY(530, 5, 7, 0, "Authentication is required"));
        return false;
    }
    if (is_ok(idna_to_ascii(domain, &ascii)))
        domain = buf_bytes(&ascii);
    if (policy_sender(s->in->cfg, smtp_server_peer(&s->smtp)->login, &mail->reverse_path, domain))
        return true;
    answer_no(s, REPLY(553, 5, 7, 1, "This sender is not yours"));
    return false;
}

/* What is handed in by users gets its header completed; what others relay through us is not touched. */
static bool letter_begin(struct session *s)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    const struct config *cfg = s->in->cfg;
    uint8_t room[16];
    struct buf nameless = BUF(room);
    struct letter_setup setup = {
        .depot = s->in->depot,
        .owner = s,
        .cfg = cfg,
        .bcc = s->door->listen != NULL ? s->door->listen->bcc : cfg->submission.local_bcc,
        .submitted = s->door->smtp.class != SMTP_CLASS_MX,
    };

    if (!setup.submitted && setup.bcc == BCC_KEEP)
        return true;
    if (peer->local || smtp_server_authenticated(&s->smtp))
        setup.login = peer->login;
    if (peer->local && peer->login.size == 0 && is_ok(buf_put_str(&nameless, "uid")) &&
        is_ok(buf_put_u64(&nameless, s->uid)))
        setup.login = buf_bytes(&nameless);
    s->letter = letter_new(&setup, s->tx);
    return s->letter != NULL;
}

static void on_check_mail(struct session *s, const struct smtp_mail *mail)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    enum depot_refusal refusal;
    struct bytes words;
    struct envelope_head head = {
        .arrival = clock_walltime(),
        .reverse_path = mail->reverse_path.text,
        .body_type = mail->body,
        .ret = mail->ret,
        .envid = mail->envid,
        .flags = mail->smtputf8 ? ENVELOPE_SMTPUTF8 : 0,
        .origin = session_origin(s),
        .client = bytes_head(client_text(s), DEPOT_CLIENT_SIZE_MAX),
        .helo = smtp_server_helo(&s->smtp),
        .login = peer->login,
    };

    if (!sender_is_allowed(s, mail))
        return;
    s->tx = depot_tx_open(s->in->depot, s, &head, &refusal, &words);
    switch (refusal) {
    case DEPOT_OPEN:
        if (!letter_begin(s)) {
            depot_tx_abort(&s->tx);
            answer_no(s, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
            break;
        }
        answer_yes(s, depot_tx_id(s->tx), head.arrival);
        break;
    case DEPOT_NOT_ADMITTING:
        answer_no(s, (struct reply){452, {4, 3, 1}, words.size > 0 ? words : BYTES("No room for mail at present")});
        break;
    case DEPOT_NO_QUEUE:
    case DEPOT_NO_IDS:
        answer_no(s, REPLY(451, 4, 3, 0, "The mail queue does not answer at present, try again later"));
        break;
    }
}

static void rcpt_take(struct session *s, const struct smtp_rcpt *rcpt, struct bytes forward_path, bool final)
{
    if (s->letter == NULL) {
        depot_tx_rcpt(s->tx, forward_path, rcpt->orcpt, rcpt->notify, final);
    } else if (!letter_rcpt(s->letter, forward_path, rcpt->orcpt, rcpt->notify, final)) {
        answer_no(s, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
        return;
    }
    answer_yes(s, (struct message_id){0}, (struct walltime){0});
}

static void on_check_rcpt(struct session *s, const struct smtp_rcpt *rcpt)
{
    uint8_t room_octets[POLICY_ROOM_SIZE], ascii_octets[DOMAIN_SIZE_MAX + 1];
    struct buf room = BUF(room_octets), ascii = BUF(ascii_octets);
    struct bytes domain = rcpt->forward_path.domain;
    struct policy_verdict verdict;

    if (bytes_has_8bit(domain)) {
        if (!is_ok(idna_to_ascii(domain, &ascii))) {
            answer_no(s, REPLY(553, 5, 1, 2, "The domain is not a valid internationalized name"));
            return;
        }
        domain = buf_bytes(&ascii);
    }
    policy_rcpt(s->in->cfg, s->may_relay, &rcpt->forward_path, domain, &room, &verdict);
    if (!verdict.accept) {
        s->rcpt_why = verdict.why;
        answer_no(s, verdict.reply);
        return;
    }
    if (!verdict.ask) {
        rcpt_take(s, rcpt, verdict.forward_path, false);
        return;
    }
    s->asked = *rcpt;
    s->asked_path = rcpt->forward_path.text;
    s->question.owner = s;
    if (rcpt->forward_path.domain_kind == ADDRESS_DOMAIN_NONE &&
        !is_ok(arena_copy(&s->arena, verdict.forward_path, &s->asked_path)))
        session_rcpt_known(s, RCPT_LATER);
    else
        inquiry_ask(s->in->inquiry, &s->question, s->asked_path);
}

/* What lookup said of the recipient, or what its silence means. */
void session_rcpt_known(void *owner, enum rcpt_known known)
{
    struct session *s = owner;

    switch (known) {
    case RCPT_FINAL:
    case RCPT_ALIAS:
        rcpt_take(s, &s->asked, s->asked_path, known == RCPT_FINAL);
        break;
    case RCPT_UNKNOWN:
        s->rcpt_why = "user_unknown";
        answer_no(s, REPLY(550, 5, 1, 1, "There is no such mailbox here"));
        break;
    default:
        s->rcpt_why = "lookup";
        answer_no(s, REPLY(451, 4, 3, 0, "The recipient cannot be checked at present, try again later"));
        break;
    }
    session_go_on(s);
}

static void on_commit(struct session *s, const struct smtp_commit *commit)
{
    struct envelope_head display = {
        .body_size = commit->body_size,
        .flags = (commit->header_8bit ? (uint32_t)ENVELOPE_HEADER_8BIT : 0) |
                 (commit->body_8bit ? (uint32_t)ENVELOPE_BODY_8BIT : 0),
        .message_id = commit->header_message_id,
        .subject = commit->header_subject,
    };
    struct reply refusal;

    if (s->letter == NULL) {
        depot_tx_commit(s->tx, &display);
    } else if (!letter_commit(s->letter, &display, &refusal)) {
        s->tx = NULL;
        answer_no(s, refusal);
        letter_free(&s->letter);
    }
}

/* What queued said of a committed transaction (or what its silence means). */
static void on_tx_done(void *owner, const struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply)
{
    const struct envelope_head *head = depot_tx_head(tx);
    struct message_id id = head->id;
    struct session *s = owner;

    if (outcome == TX_ACCEPTED)
        LOG(MESSAGE_ACCEPTED, LOG_NUM("session", s != NULL ? s->id.value : 0), LOG_TEXT("client", head->client),
            LOG_MSG("id", head->id), LOG_TEXT("from", head->reverse_path), LOG_NUM("recipients", head->rcpt_count),
            LOG_NUM("size", head->body_size), LOG_STR("protocol", s != NULL ? smtp_server_protocol(&s->smtp) : "gone"),
            LOG_TEXT("message_id", head->message_id));
    if (s == NULL)
        return; /* the client hung up; that is life */
    s->rcpts += outcome == TX_ACCEPTED ? head->rcpt_count : 0;
    if (s->tx == tx)
        s->tx = NULL;
    if (s->letter != NULL) {
        if (!letter_done(s->letter, tx, outcome, reply))
            return; /* other copies are on their way */
        outcome = letter_outcome(s->letter, &reply, &id);
    }
    switch (outcome) {
    case TX_ACCEPTED:
        s->messages++;
        answer_yes(s, id, head->arrival);
        break;
    case TX_NO_SPACE:
        answer_no(s, (struct reply){452, {4, 3, 1}, reply.size > 0 ? reply : BYTES("No room for mail at present")});
        break;
    case TX_REFUSED:
        answer_no(s, (struct reply){554, {5, 3, 0}, reply.size > 0 ? reply : BYTES("The message was refused")});
        break;
    default:
        answer_no(s, (struct reply){451, {4, 3, 0},
                         reply.size > 0 ? reply : BYTES("The message could not be stored, try again later")});
        break;
    }
    letter_free(&s->letter);
    session_go_on(s);
}

static void on_credit(void *owner)
{
    session_go_on(owner);
}

static void on_stocked(void *context)
{
    struct inbound *in = context;

    if (in->stocked != NULL)
        in->stocked(in);
}

const struct depot_handlers SESSION_DEPOT_HANDLERS = {.done = on_tx_done, .credit = on_credit, .stocked = on_stocked};

/* --- notices --- */

static void on_refused(struct session *s, const struct smtp_refused *refused)
{
    struct bytes from = s->tx != NULL ? depot_tx_head(s->tx)->reverse_path : BYTES_NONE;

    switch (refused->step) {
    case SMTP_STEP_RCPT:
        LOG(RCPT_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)), LOG_TEXT("from", from),
            LOG_TEXT("to", refused->subject), LOG_NUM("code", refused->code),
            LOG_TEXT("why", s->rcpt_why != NULL ? bytes_of(s->rcpt_why) : refused->line));
        s->rcpt_why = NULL;
        break;
    case SMTP_STEP_MAIL:
        LOG(MAIL_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
            LOG_TEXT("from", refused->subject), LOG_NUM("code", refused->code), LOG_TEXT("why", refused->line));
        break;
    case SMTP_STEP_CONTENT:
    case SMTP_STEP_COMMIT:
        LOG(MESSAGE_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
            LOG_TEXT("from", from), LOG_NUM("code", refused->code), LOG_TEXT("why", refused->line));
        break;
    default:
        LOG(COMMAND_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
            LOG_NUM("code", refused->code), LOG_TEXT("command", refused->line));
        break;
    }
}

static void trust_refresh(struct session *s)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    uint8_t address[16];

    memcpy(address, s->client.address, sizeof address);
    if (!peer->local && !bytes_equal(peer->address, conn_end_text(&s->client)) &&
        !is_ok(conn_address_parse(peer->address, address)))
        memset(address, 0, sizeof address); /* XCLIENT said that it is unknown: nobody's network */
    s->may_relay = policy_may_relay(s->in->cfg, address, peer->local, smtp_server_authenticated(&s->smtp));
}

/* --- logins --- */

static void on_auth(struct session *s, const struct smtp_auth *auth)
{
    uint8_t exporter[TLS_BINDING_SIZE_MAX], endpoint[TLS_BINDING_SIZE_MAX];
    const struct tls *tls = conn_tls(s->io);
    struct msg_auth_ask question = {
        .block = policy_client_key(conn_peer(s->io)->address),
        .client = bytes_head(client_text(s), DEPOT_CLIENT_SIZE_MAX),
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
        [AUTH_SHUT_OUT] = {454, {4, 7, 0}, BYTES_INIT("Too many failed logins from your address, try again later")},
    };
    struct session *s = owner;
    struct smtp_answer answer = {.kind = SMTP_ANSWER_NO, .reply = replies[outcome]};

    if (outcome == AUTH_CHALLENGE && text.size <= SERVER_CHALLENGE_SIZE_MAX)
        answer = (struct smtp_answer){.kind = SMTP_ANSWER_CHALLENGE, .challenge = text};
    else if (outcome == AUTH_GOOD && text.size > 0 && text.size <= LOCAL_PART_SIZE_MAX)
        answer = (struct smtp_answer){.kind = SMTP_ANSWER_YES, .login = text};
    else if (outcome == AUTH_GOOD || outcome == AUTH_CHALLENGE)
        answer.reply = replies[AUTH_BUSY]; /* auth does not keep to its bounds */
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);
    if (is_ok(r) && answer.kind == SMTP_ANSWER_YES) {
        LOG(AUTHENTICATED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
            LOG_TEXT("login", text));
        trust_refresh(s);
    }
    session_go_on(s);
}

static void tls_begin(struct session *s)
{
    struct tls *tls;

    if (s->in->tls == NULL || !is_ok(tls_accept(tls_store_context(s->in->tls), &tls))) {
        s->why = "tls";
        conn_close(s->io);
        return;
    }
    s->shaking = true;
    if (s->proxied)
        conn_start_tls_here(s->io, tls);
    else
        conn_start_tls(s->io, tls);
    conn_set_deadline(s->io, instant_after(loop_now(s->in->loop), HANDSHAKE_MS));
}

/* --- the turn --- */

static void session_event(struct session *s, const struct smtp_event *event)
{
    switch (event->kind) {
    case SMTP_EVENT_REPLY:
        conn_write(s->io, event->bytes);
        break;
    case SMTP_EVENT_CHECK_MAIL:
        on_check_mail(s, &event->mail);
        break;
    case SMTP_EVENT_CHECK_RCPT:
        on_check_rcpt(s, &event->rcpt);
        break;
    case SMTP_EVENT_BODY:
        if (s->letter != NULL)
            letter_body(s->letter, event->bytes);
        else
            depot_tx_body(s->tx, event->bytes);
        break;
    case SMTP_EVENT_COMMIT:
        on_commit(s, &event->commit);
        break;
    case SMTP_EVENT_ABORT:
        if (s->letter != NULL) {
            s->tx = NULL;
            letter_free(&s->letter);
        }
        depot_tx_abort(&s->tx);
        break;
    case SMTP_EVENT_START_TLS:
        tls_begin(s);
        break;
    case SMTP_EVENT_AUTH:
        on_auth(s, &event->auth);
        break;
    case SMTP_EVENT_XCLIENT:
        trust_refresh(s);
        break;
    case SMTP_EVENT_REFUSED:
        on_refused(s, &event->refused);
        break;
    case SMTP_EVENT_CLOSE:
        s->over = true;
        if (s->why == NULL)
            s->why = smtp_close_why_name(event->close_why);
        conn_close_after_flush(s->io);
        break;
    }
}

/* How much content may be fed now. */
static size_t session_allowance(struct session *s)
{
    return s->tx == NULL ? SIZE_MAX : s->letter != NULL ? letter_allowance(s->letter) : depot_tx_allowance(s->tx);
}

static bool session_may_read(struct session *s)
{
    return !s->over && !smtp_server_waiting(&s->smtp) && !conn_congested(s->io) && session_allowance(s) > 0;
}

/* Pulls and feeds until the core waits or the input is eaten; returns how much was. */
static size_t session_run(struct session *s, struct bytes in)
{
    struct instant now = loop_now(s->in->loop);
    struct smtp_event event;
    size_t eaten = 0, fed = 1;

    s->running = true;
    for (;;) {
        bool more = false;

        while (smtp_server_next(&s->smtp, &event)) {
            session_event(s, &event);
            more = true;
        }
        if (eaten == in.size || (fed == 0 && !more) || !session_may_read(s))
            break;
        fed = smtp_server_feed(&s->smtp, now, bytes_head(bytes_after(in, eaten), session_allowance(s)));
        eaten += fed;
    }
    s->running = false;
    depot_stage_flush(s->in->depot);
    return eaten;
}

/* After a turn: who waits for whom (S1, S3). */
static void session_settle(struct session *s)
{
    bool reads = session_may_read(s);

    if (s->over || s->shaking)
        return;
    conn_set_deadline(s->io, smtp_server_deadline(&s->smtp));
    if (!reads) {
        if (!s->ended)
            conn_pause(s->io);
        return;
    }
    conn_resume(s->io);
    if (s->ended && !conn_input_left(s->io)) {
        smtp_server_hangup(&s->smtp);
        (void)session_run(s, BYTES_NONE);
    }
}

static void session_go_on(struct session *s)
{
    if (s->running || s->over || s->shaking || !s->begun)
        return;
    (void)session_run(s, BYTES_NONE);
    session_settle(s);
}

/* --- the connection's calls --- */

static void session_begin(struct session *s)
{
    const struct conn_end *end = &s->client;
    const struct tls *tls = conn_tls(s->io);
    struct smtp_peer peer = {
        .address = end->local ? BYTES_NONE : conn_end_text(end),
        .port = end->port,
        .local = end->local,
        .tls = tls != NULL,
    };

    s->may_relay = policy_may_relay(s->in->cfg, end->address, end->local, false);
    peer.trusted = s->may_relay;
    if (end->local) {
        peer.uid = s->uid;
        peer.login = users_name(&s->in->users, s->uid);
    }
    if (s->door->listen != NULL && !end->local)
        peer.xclient_allowed = config_network_contains(&s->door->listen->xclient_from, end->address);
    if (tls != NULL) {
        peer.tls_version = tls_version(tls);
        peer.tls_cipher = tls_cipher(tls);
    }
    s->begun = true;
    smtp_server_init(&s->smtp, &s->door->smtp, &peer, &s->arena, loop_now(s->in->loop));
    session_go_on(s);
}

static void session_open(struct session *s)
{
    LOG(SESSION_OPENED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
        LOG_STR("listener", policy_listen_name(s->door->class)));
    if (s->door->tls == LISTEN_TLS_IMPLICIT)
        tls_begin(s);
    else
        session_begin(s);
}

/* The client that the balancer named takes the place of the connection's peer, in the census too. */
static RESULT proxy_apply(struct session *s, const struct proxy_header *header)
{
    uint8_t address[16];

    memcpy(address, header->address, sizeof address);
    if (!header->known)
        return OK;
    if (header->text.size > 0)
        TRY(conn_address_parse(header->text, address));
    conn_end_set(&s->client, address, header->port);
    census_leave(s->in->census, s->place);
    s->counted = census_enter(s->in->census, policy_client_key(address), &s->place);
    ASSERT(s->counted); /* a place has just been freed */
    if (census_count(s->in->census, policy_client_key(address)) > s->in->cfg->limits.sessions_per_client)
        return FAIL(CODE_REFUSED, "sessions_per_client");
    return OK;
}

/* Octets up to the header's end are eaten; what stands behind it comes again. */
static size_t on_proxy_input(struct session *s, struct bytes in)
{
    size_t before = s->proxy.size, eaten = 0;
    struct bytes piece = bytes_head(in, PROXY_SIZE_MAX - before);
    struct proxy_header header;
    struct result r;
    void *room;

    if (s->proxy.data == NULL) {
        room = mem_take(PROXY_SIZE_MAX);
        if (room == NULL) {
            conn_close(s->io);
            return in.size;
        }
        buf_init(&s->proxy, room, PROXY_SIZE_MAX);
    }
    r = buf_put(&s->proxy, piece);
    if (is_ok(r))
        r = proxy_parse(buf_bytes(&s->proxy), &header, &eaten);
    if (r.code == CODE_MORE)
        return in.size;
    if (is_ok(r))
        r = proxy_apply(s, &header);
    mem_free(s->proxy.data);
    s->proxy = (struct buf){.data = NULL};
    if (!is_ok(r)) {
        LOG(SESSION_REFUSED, LOG_TEXT("client", client_text(s)), LOG_STR("why", r.why));
        s->why = r.why;
        conn_close(s->io);
        return in.size;
    }
    session_open(s);
    s->proxied = false;
    conn_resume(s->io);
    return eaten - before;
}

static size_t on_input(void *owner, struct conn *c, struct bytes in)
{
    struct session *s = owner;
    size_t eaten;

    (void)c;
    if (s->proxied)
        return on_proxy_input(s, in);
    if (!s->begun || s->over || s->shaking)
        return in.size;
    eaten = session_run(s, in);
    if (s->over)
        return in.size;
    session_settle(s);
    return eaten;
}

static void on_input_end(void *owner, struct conn *c)
{
    struct session *s = owner;

    s->ended = true;
    if (s->begun && !s->shaking)
        session_go_on(s);
    else
        conn_close(c);
}

static void on_secured(void *owner, struct conn *c)
{
    struct session *s = owner;

    s->shaking = false;
    if (!s->begun) {
        session_begin(s);
        return;
    }
    smtp_server_tls_started(&s->smtp, loop_now(s->in->loop), tls_version(conn_tls(c)), tls_cipher(conn_tls(c)));
    session_go_on(s);
}

static void on_drained(void *owner, struct conn *c)
{
    (void)c;
    session_go_on(owner);
}

static void on_deadline(void *owner, struct conn *c)
{
    struct session *s = owner;

    if (s->shaking || s->proxied) {
        s->why = s->proxied ? "proxy_timeout" : "handshake_timeout";
        conn_close(c);
        return;
    }
    smtp_server_tick(&s->smtp, loop_now(s->in->loop));
    session_go_on(s);
}

static void on_lost(void *owner, struct conn *c, struct result why)
{
    struct session *s = owner;

    (void)c;
    if (s->shaking)
        LOG(TLS_FAILED, LOG_STR("host", ""), LOG_TEXT("address", conn_end_text(&s->client)), LOG_STR("why", why.why));
    if (s->why == NULL)
        s->why = why.why;
}

static void on_closed(void *owner, struct conn *c)
{
    struct session *s = owner;
    struct inbound *in = s->in;

    (void)c;
    LOG(SESSION_CLOSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", client_text(s)),
        LOG_TEXT("helo", s->begun ? smtp_server_helo(&s->smtp) : BYTES_NONE), LOG_NUM("messages", s->messages),
        LOG_NUM("recipients", s->rcpts), LOG_STR("why", s->why != NULL ? s->why : "lost"));
    if (s->letter != NULL)
        letter_leave(&s->letter);
    else if (s->tx != NULL)
        depot_tx_leave(&s->tx);
    if (in->clerk != NULL)
        clerk_leave(in->clerk, &s->login);
    inquiry_leave(&s->question);
    if (s->counted)
        census_leave(in->census, s->place);
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    arena_fini(&s->arena);
    mem_free(s->proxy.data);
    mem_free(s);
    if (in->draining && in->first == NULL)
        in->emptied(in);
}

static const struct conn_handler SESSION_HANDLER = {
    .input = on_input,
    .input_end = on_input_end,
    .secured = on_secured,
    .drained = on_drained,
    .deadline = on_deadline,
    .lost = on_lost,
    .closed = on_closed,
};

/* --- birth --- */

static size_t away_input(void *owner, struct conn *c, struct bytes in)
{
    (void)owner;
    (void)c;
    return in.size;
}
static void away_lost(void *owner, struct conn *c, struct result why)
{
    (void)owner;
    (void)c;
    (void)why;
}
static void away_closed(void *owner, struct conn *c)
{
    (void)owner;
    (void)c;
}
/* A connection that is only told 421: it has no session. */
static const struct conn_handler AWAY_HANDLER = {.input = away_input, .lost = away_lost, .closed = away_closed};

static void turn_away(struct inbound *in, const struct door *door, int fd, struct reply reply, const char *why)
{
    uint8_t octets[REPLY_LINE_SIZE_MAX];
    struct buf line = BUF(octets);
    struct conn *c;

    if (!is_ok(conn_adopt(in->room, fd, &AWAY_HANDLER, NULL, &c))) {
        close(fd);
        return;
    }
    LOG(SESSION_REFUSED, LOG_TEXT("client", conn_end_text(conn_peer(c))), LOG_STR("why", why));
    /* Under a flood the words are spared; so they are where TLS would have to come first. */
    if (conn_room_count(in->room) > (size_t)in->cfg->limits.sessions + TURNED_AWAY_LINGER_MAX ||
        door->tls == LISTEN_TLS_IMPLICIT || !is_ok(reply_put(&line, &reply))) {
        conn_close(c);
        return;
    }
    conn_write(c, buf_bytes(&line));
    conn_close_after_flush(c);
}

/* NULL: admitted (and counted); else why not. */
static const char *session_admit(struct session *s, const struct conn_end *peer, struct reply *reply_out)
{
    const struct config_limits *limits = &s->in->cfg->limits;
    uint64_t key = policy_client_key(peer->address);

    if (s->in->draining) {
        *reply_out = REPLY(421, 4, 3, 2, "The server is stopping");
        return "stopping";
    }
    if (census_count(s->in->census, 0) >= limits->sessions) {
        *reply_out = REPLY(421, 4, 3, 2, "Too many sessions, try again later");
        return "sessions";
    }
    if (!peer->local && !s->proxied && census_count(s->in->census, key) >= limits->sessions_per_client) {
        *reply_out = REPLY(421, 4, 7, 0, "Too many sessions from your address");
        return "sessions_per_client";
    }
    if (!census_enter(s->in->census, key, &s->place)) {
        *reply_out = REPLY(421, 4, 3, 2, "Too many sessions, try again later");
        return "sessions";
    }
    s->counted = true;
    return NULL;
}

static void local_user_read(struct session *s)
{
    struct buf text;

    if (!is_ok(conn_peer_uid(s->io, &s->uid)))
        s->uid = UINT32_MAX;
    buf_init(&text, s->uid_text, sizeof s->uid_text - 1);
    if (!is_ok(buf_put_str(&text, "uid ")) || !is_ok(buf_put_u64(&text, s->uid)))
        buf_reset(&text);
    s->uid_text[text.size] = 0;
}

void session_new(struct inbound *in, const struct door *door, int fd)
{
    struct session *s = mem_take(sizeof *s);
    struct conn_end peer, here;
    struct reply reply;
    const char *why;

    conn_ends_read(fd, &peer, &here);
    if (s == NULL) {
        turn_away(in, door, fd, REPLY(421, 4, 3, 2, "Out of memory, try again later"), "memory");
        return;
    }
    memset(s, 0, offsetof(struct session, smtp));
    s->in = in;
    s->door = door;
    s->client = peer;
    s->proxied =
        door->listen != NULL && !peer.local && config_network_contains(&door->listen->proxy_from, peer.address);
    why = session_admit(s, &peer, &reply);
    if (why == NULL && !is_ok(conn_adopt(in->room, fd, &SESSION_HANDLER, s, &s->io))) {
        census_leave(in->census, s->place);
        reply = REPLY(421, 4, 3, 2, "Out of memory, try again later");
        why = "memory";
    }
    if (why != NULL) {
        mem_free(s);
        turn_away(in, door, fd, reply, why);
        return;
    }
    s->id.value = ++in->last_session;
    arena_init(&s->arena, SESSION_ARENA_SIZE_MAX);
    s->next = in->first;
    s->link = &in->first;
    if (s->next != NULL)
        s->next->link = &s->next;
    in->first = s;
    if (peer.local)
        local_user_read(s);
    if (!s->proxied) {
        session_open(s);
        return;
    }
    conn_set_deadline(s->io, instant_after(loop_now(in->loop), PROXY_MS));
}

void session_stop(struct session *s)
{
    if (s->shaking || s->proxied) {
        conn_close(s->io);
        return;
    }
    smtp_server_stop(&s->smtp);
    session_go_on(s);
}

struct session *session_next(const struct session *s)
{
    return s->next;
}
