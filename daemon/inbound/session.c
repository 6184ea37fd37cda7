/* Design. The core is pulled in session_run alone; every callback of the connection, the depot and the loop ends there.
 * (S1) While a question is open (smtp_server_waiting) or credit is missing, the connection is paused: back-pressure is the
 *      same mechanism as parsing. Whatever ends the wait calls session_go_on, which resumes it.
 * (S2) `running` guards the pull loop: an answer given inside it is picked up by it, not by a second loop.
 * (S3) The end of the peer's input counts when all of it was fed and no question is open.
 * (S4) A held session pulls nothing and, but before its greeting, reads nothing, until its deadline. */
#include "daemon/inbound/session_parts.h"

enum { COUNTS_TELL_MS = 1000 };

struct bytes session_client(const struct session *s)
{
    if (s->begun && smtp_server_peer(&s->smtp)->address.size > 0)
        return smtp_server_peer(&s->smtp)->address;
    return s->uid_text[0] != 0 ? bytes_of(s->uid_text) : conn_end_text(&s->client);
}

/* --- answers --- */

void session_answer_no(struct session *s, struct reply reply)
{
    struct smtp_answer answer = {.kind = SMTP_ANSWER_NO, .reply = reply};
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);

    ASSERT(is_ok(r) || r.code == CODE_GONE);
}

/* --- notices --- */

static void on_refused(struct session *s, const struct smtp_refused *refused)
{
    struct bytes from = s->tx != NULL ? depot_tx_head(s->tx)->reverse_path : BYTES_NONE;

    if (refused->code >= 500)
        session_error_counted(s);
    switch (refused->step) {
    case SMTP_STEP_RCPT:
        LOG(RCPT_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
            LOG_TEXT("from", from), LOG_TEXT("to", refused->subject), LOG_NUM("code", refused->code),
            LOG_TEXT("why", s->rcpt_why != NULL ? bytes_of(s->rcpt_why) : refused->line));
        s->rcpt_why = NULL;
        break;
    case SMTP_STEP_MAIL:
        LOG(MAIL_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
            LOG_TEXT("from", refused->subject), LOG_NUM("code", refused->code), LOG_TEXT("why", refused->line));
        break;
    case SMTP_STEP_CONTENT:
    case SMTP_STEP_COMMIT:
        LOG(MESSAGE_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
            LOG_TEXT("from", from), LOG_NUM("code", refused->code), LOG_TEXT("why", refused->line));
        break;
    default:
        s->rcpt_why = NULL; /* VRFY's */
        LOG(COMMAND_REFUSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
            LOG_NUM("code", refused->code), LOG_TEXT("command", refused->line));
        break;
    }
}

/* --- the turn --- */

static void session_event(struct session *s, const struct smtp_event *event)
{
    switch (event->kind) {
    case SMTP_EVENT_REPLY:
        conn_write(s->io, event->bytes);
        break;
    case SMTP_EVENT_CHECK_MAIL:
        session_check_mail(s, &event->mail);
        break;
    case SMTP_EVENT_CHECK_RCPT:
        session_check_rcpt(s, &event->rcpt);
        break;
    case SMTP_EVENT_CHECK_VRFY:
        session_check_vrfy(s, &event->rcpt);
        break;
    case SMTP_EVENT_BODY:
        session_body(s, event->bytes);
        break;
    case SMTP_EVENT_COMMIT:
        session_commit(s, &event->commit);
        break;
    case SMTP_EVENT_ABORT:
        session_abort(s);
        break;
    case SMTP_EVENT_START_TLS:
        session_tls_begin(s);
        break;
    case SMTP_EVENT_AUTH:
        session_auth(s, &event->auth);
        break;
    case SMTP_EVENT_XCLIENT:
        session_trust_refresh(s);
        session_client_ask(s);
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
    return !s->over && s->hold == HOLD_NONE && !smtp_server_waiting(&s->smtp) && !conn_congested(s->io) &&
           session_allowance(s) > 0;
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

        while (s->hold == HOLD_NONE && smtp_server_next(&s->smtp, &event)) {
            session_event(s, &event);
            more = true;
        }
        if (eaten == in.size || (fed == 0 && !more) || !session_may_read(s))
            break;
        fed = smtp_server_feed(&s->smtp, now, bytes_head(bytes_after(in, eaten), session_allowance(s)));
        eaten += fed;
        session_limit_commands(s);
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
    conn_set_deadline(s->io, s->hold != HOLD_NONE ? s->held_until : smtp_server_deadline(&s->smtp));
    if (s->hold == HOLD_GREETING) { /* who talks now has not waited for it */
        conn_resume(s->io);
        return;
    }
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

void session_go_on(struct session *s)
{
    if (s->running || s->over || s->shaking || !s->begun)
        return;
    if (s->hold != HOLD_NONE) {
        session_settle(s);
        return;
    }
    (void)session_run(s, BYTES_NONE);
    session_settle(s);
}

/* --- the connection's calls --- */

static size_t on_input(void *owner, struct conn *c, struct bytes in)
{
    struct session *s = owner;
    size_t eaten;

    (void)c;
    if (s->proxied)
        return session_proxy_input(s, in);
    if (!s->begun || s->over || s->shaking)
        return in.size;
    if (s->hold == HOLD_ERROR)
        return 0;
    if (s->hold == HOLD_GREETING) {
        LOG(TALKED_EARLY, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)));
        session_hold_end(s);
        (void)smtp_server_feed(&s->smtp, loop_now(s->in->loop), in); /* before the greeting is pulled: it is refused */
        session_go_on(s);
        return in.size;
    }
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
    if (!session_tls_over(s))
        return;
    if (!s->begun) {
        session_begin(s);
        return;
    }
    smtp_server_tls_started(&s->smtp, loop_now(s->in->loop), tls_version(conn_tls(c)), tls_cipher(conn_tls(c)));
    if (s->certificate_shown) {
        smtp_server_tls_client(&s->smtp, session_fingerprint(s));
        session_trust_refresh(s);
    }
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
    if (s->hold != HOLD_NONE)
        session_hold_end(s);
    else
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

static void counts_tell(void *ctx)
{
    struct inbound *in = ctx;
    struct msg m = {.kind = MSG_session_fact, .session_fact = {.begun = in->begun_count, .refused = in->refused_count}};

    in->tells = false;
    for (const struct session *s = in->first; s != NULL; s = s->next)
        m.session_fact.alive++;
    depot_say(in->depot, &m);
}

void session_counts_changed(struct inbound *in)
{
    if (in->tells || in->draining)
        return;
    in->tells = true;
    in->telling = (struct loop_timer){.fn = counts_tell, .ctx = in};
    loop_timer_set(in->loop, &in->telling, instant_after(loop_now(in->loop), COUNTS_TELL_MS));
}

static void on_closed(void *owner, struct conn *c)
{
    struct session *s = owner;
    struct inbound *in = s->in;

    (void)c;
    LOG(SESSION_CLOSED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
        LOG_TEXT("helo", s->begun ? smtp_server_helo(&s->smtp) : BYTES_NONE), LOG_NUM("messages", s->messages),
        LOG_NUM("recipients", s->rcpts), LOG_STR("why", s->why != NULL ? s->why : "lost"));
    session_mail_leave(s);
    if (in->clerk != NULL)
        clerk_leave(in->clerk, &s->login);
    inquiry_leave(&s->question);
    repute_leave(&s->repute);
    session_hold_end(s);
    session_turn_leave(s);
    if (s->counted)
        census_leave(in->census, s->place);
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    session_counts_changed(in);
    arena_fini(&s->arena);
    mem_free(s->proxy.data);
    mem_free(s);
    if (in->draining && in->first == NULL)
        in->emptied(in);
}

const struct conn_handler SESSION_HANDLER = {
    .input = on_input,
    .input_end = on_input_end,
    .secured = on_secured,
    .drained = on_drained,
    .deadline = on_deadline,
    .lost = on_lost,
    .closed = on_closed,
};

void session_stop(struct session *s)
{
    if (s->shaking || s->proxied) {
        conn_close(s->io);
        return;
    }
    session_hold_end(s);
    smtp_server_stop(&s->smtp);
    session_go_on(s);
}

struct session *session_next(const struct session *s)
{
    return s->next;
}
