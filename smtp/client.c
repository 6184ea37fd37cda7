/* Two halves run side by side: the writer (`sending` is what goes out next) and the reader (`state` is which reply is
 * waited for). Without PIPELINING the writer waits until every reply is in (ahead_count == 0); with it the writer runs
 * ahead to DATA, or through an eager BDAT, and the reader matches replies to commands in their order.
 *
 * (C1) A reply with nothing unanswered before it is a 421 or nonsense; the session ends.
 * (C2) A recipient gets exactly one result, or is one of done.undecided_count; `decided` is never taken back.
 * (C3) feed eats nothing while a result, a JOB_DONE or a CLOSE waits, so reply texts need no copy.
 * (C4) The end of the content goes out only when exactly job->body_size octets have gone before it; what is short ends
 *      the connection instead, so no peer ever takes a cut message for a whole one.
 * (C5) `uncertain` is set only when the whole content has gone out and no reply said what became of it. */
#include "smtp/client_inside.h"

/* Who gets the result that waits. */
enum client_result_scope { RESULT_NONE, RESULT_ONE, RESULT_REFUSED_HERE, RESULT_ACCEPTED, RESULT_UNDECIDED };

/* rcpt_states beyond those of client.h: never sent to this peer; its result is due, or told. */
enum { RCPT_REFUSED_HERE = SMTP_CLIENT_RCPT_DECIDED + 1, RCPT_REFUSED_TOLD };

enum { TRANSCRIPT_LINE_SIZE_MAX = 1000 };

static const char *const state_waits[] = {
#define STATE_WAITS(name, what, ms) [CLIENT_##name] = what,
    CLIENT_STATES(STATE_WAITS)};

void client_enter(struct smtp_client *c, enum client_state state)
{
    int64_t ms = 0;

    switch (state) {
#define STATE_MS(name, what, ms_)                                                                                      \
    case CLIENT_##name:                                                                                                \
        ms = ms_;                                                                                                      \
        break;
        CLIENT_STATES(STATE_MS)
    }
    c->state = (uint8_t)state;
    c->deadline = ms == INT64_MAX ? INSTANT_NEVER : instant_after(c->now, ms);
}

/* --- transcript --- */

void client_note(struct smtp_client *c, const char *who, struct bytes line)
{
    line = bytes_head(line, TRANSCRIPT_LINE_SIZE_MAX);
    if (buf_left(&c->transcript) < line.size + 4) {
        /* The newest lines say most: the older half goes, up to a line's end. */
        struct bytes all = buf_bytes(&c->transcript);
        ptrdiff_t end = bytes_index(bytes_after(all, all.size / 2), '\n');
        buf_drop(&c->transcript, end == BYTES_NOT_FOUND ? all.size : all.size / 2 + (size_t)end + 1);
    }
    struct result r = buf_put_str(&c->transcript, who);
    peer_text_put(&c->transcript, line);
    if (is_ok(r))
        r = buf_put_octet(&c->transcript, '\n');
    ASSERT(is_ok(r)); /* half of the room holds the longest line */
}
STATIC_ASSERT(ATTEMPT_TRANSCRIPT_SIZE_MAX / 2 >= TRANSCRIPT_LINE_SIZE_MAX + 4);

struct bytes smtp_client_transcript(const struct smtp_client *c)
{
    return buf_bytes(&c->transcript);
}

/* --- ends --- */

bool client_pipelining(const struct smtp_client *c)
{
    return (c->peer.extensions & SMTP_EXT_PIPELINING) != 0 && !c->cfg->no_pipelining;
}

static bool results_wait(const struct smtp_client *c)
{
    return c->result.scope != RESULT_NONE || c->done_due || c->close_due;
}

static struct peer_reply local_reply(uint8_t class, uint16_t subject, uint16_t detail, struct bytes text)
{
    return (struct peer_reply){.status = {class, subject, detail}, .text = text};
}

/* The peer's reply with a status in any case (RFC 3463: class and 0.0 when nothing better is known). */
static struct peer_reply reply_with_status(struct peer_reply reply)
{
    if (reply.status.class == 0)
        reply.status = (struct enhanced_status){(uint8_t)(reply.code / 100), 0, 0};
    return reply;
}

/* "what: detail while waiting for ...", kept in the session. */
static struct bytes why_put(struct smtp_client *c, const char *what, const char *detail, const char *waiting)
{
    struct buf why = BUF(c->why_room);

    peer_text_put(&why, bytes_of(what));
    if (detail != NULL) {
        peer_text_put(&why, BYTES(": "));
        peer_text_put(&why, bytes_of(detail));
    }
    if (waiting != NULL) {
        peer_text_put(&why, BYTES(" while waiting for "));
        peer_text_put(&why, bytes_of(waiting));
    }
    return buf_bytes(&why);
}

/* The job's last word; its results, if any wait, come before it. */
static void job_over(struct smtp_client *c, enum smtp_client_end end, struct peer_reply reply)
{
    ASSERT(c->job != NULL && !c->done_due);
    c->done_due = true;
    c->end = end;
    c->end_reply = reply;
    c->sending = SENDING_NOTHING;
    c->raw = c->body = c->piece = BYTES_NONE;
    c->body_wanted = false;
    c->convert_due = false;
    c->convert = NULL;
    c->lone_dot = false;
}

/* The connection is of no more use. */
static void session_end(struct smtp_client *c, enum smtp_client_end end, struct peer_reply reply)
{
    if (c->state == CLIENT_CLOSED)
        return;
    if (c->job != NULL && !c->done_due) {
        c->uncertain = c->whole_sent && end != SMTP_CLIENT_END_REFUSED_4XX && end != SMTP_CLIENT_END_SHUT_DOWN;
        c->stale = c->jobs_done > 0 && !c->replied && !c->uncertain &&
                   (end == SMTP_CLIENT_END_LOST || end == SMTP_CLIENT_END_REFUSED_4XX);
        job_over(c, end, reply);
    } else if (c->job == NULL) {
        c->end = end;
        c->end_reply = reply;
    }
    c->sending = SENDING_NOTHING;
    c->tls_due = false;
    c->close_due = true;
    client_enter(c, CLIENT_CLOSED);
}

/* The same for a peer that still listens: it hears QUIT. */
void client_end_politely(struct smtp_client *c, enum smtp_client_end end, struct peer_reply reply)
{
    if (c->job != NULL)
        job_over(c, end, reply);
    c->sending = SENDING_QUIT;
    c->ahead_count = 0;
    client_enter(c, CLIENT_QUIT);
}

void client_garbage(struct smtp_client *c, const char *why)
{
    /* A job that is there is about to say MAIL: words do not depend on whether the caller has pulled it yet. */
    enum client_state waiting = c->state == CLIENT_READY && c->job != NULL ? CLIENT_MAIL : (enum client_state)c->state;
    struct bytes text = why_put(c, "the host does not speak SMTP as it should", why, state_waits[waiting]);
    session_end(c, SMTP_CLIENT_END_GARBAGE, local_reply(4, 5, 0, text));
}

/* A result for recipients follows from this reply. */
static void result_set(struct smtp_client *c, enum client_result_scope scope, size_t at, enum smtp_rcpt_outcome outcome,
    struct peer_reply reply)
{
    ASSERT(c->result.scope == RESULT_NONE);
    c->result.scope = (uint8_t)scope;
    c->result.at = at;
    c->result.outcome = outcome;
    c->result.reply = reply;
}

/* --- jobs --- */

void smtp_client_init(struct smtp_client *c, const struct smtp_client_config *cfg, struct instant now)
{
    memset(c, 0, offsetof(struct smtp_client, reply));
    c->cfg = cfg;
    c->now = now;
    client_reply_reset(&c->reply);
    buf_init(&c->out, c->out_room, sizeof c->out_room);
    buf_init(&c->transcript, c->transcript_room, sizeof c->transcript_room);
    c->tls_up = cfg->tls == SMTP_CLIENT_TLS_IMPLICIT;
    c->ahead_count = 1; /* the greeting answers the connection */
    client_enter(c, CLIENT_GREETING);
}

void client_job_refuse(struct smtp_client *c, enum smtp_rcpt_outcome outcome, struct peer_reply reply)
{
    result_set(c, RESULT_UNDECIDED, 0, outcome, reply);
    job_over(c, SMTP_CLIENT_END_DONE, reply);
    client_enter(c, CLIENT_READY);
}

void client_transaction_begin(struct smtp_client *c)
{
    const struct smtp_job *job = c->job;
    bool chunks =
        (c->peer.extensions & SMTP_EXT_CHUNKING) && client_pipelining(c) && !c->cfg->no_chunking && !c->cfg->lmtp;

    /* BDAT spares the round trip of DATA and the search for dots. In LMTP it would leave open how many replies come. */
    c->bdat = c->convert == NULL && (job->body_type == BODY_BINARYMIME || chunks);
    c->eager = c->bdat && client_pipelining(c) && job->body_size <= SMTP_CLIENT_EAGER_SIZE;
    c->sending = c->open_transaction ? SENDING_RSET : SENDING_MAIL;
    client_enter(c, c->open_transaction ? CLIENT_RSET : CLIENT_MAIL);
}

static void job_begin(struct smtp_client *c)
{
    const struct smtp_job *job = c->job;
    struct buf why = BUF(c->why_room);
    struct peer_reply refusal;
    enum client_way way;
    size_t refused_count = 0;

    c->begun = true;
    if (!client_peer_takes(&c->peer, job, c->cfg->eight_bit, &why, &way, &refusal)) {
        client_job_refuse(c, SMTP_RCPT_FAILED, refusal);
        return;
    }
    for (size_t i = 0; i < job->rcpt_count; i++) {
        if (client_peer_takes_rcpt(&c->peer, &job->rcpts[i], &refusal))
            continue;
        c->rcpt_states[i] = RCPT_REFUSED_HERE;
        refused_count++;
    }
    if (refused_count > 0)
        result_set(c, RESULT_REFUSED_HERE, 0, SMTP_RCPT_FAILED, (struct peer_reply){.code = 0});
    if (refused_count == job->rcpt_count) {
        job_over(c, SMTP_CLIENT_END_DONE, refusal);
        return;
    }
    if (way == CLIENT_AS_IS || job->body_size == 0)
        client_transaction_begin(c);
    else
        client_survey_begin(c, way);
}

static void recipients_open(struct smtp_client *c)
{
    c->undecided_count = c->job->rcpt_count;
    memset(c->rcpt_states, SMTP_CLIENT_RCPT_OPEN, c->job->rcpt_count);
}

void smtp_client_job_start(struct smtp_client *c, struct instant now, const struct smtp_job *job)
{
    ASSERT(c->job == NULL && c->state != CLIENT_QUIT && c->state != CLIENT_CLOSED);
    ASSERT(job->rcpt_count > 0 && job->rcpt_count <= JOB_RCPT_COUNT_MAX);
    c->now = now;
    if (c->jobs_done > 0)
        buf_reset(&c->transcript);
    c->job = job;
    c->bdat = c->eager = c->data_sent = c->whole_sent = c->body_sent = false;
    c->replied = c->begun = c->decided = c->uncertain = c->stale = false;
    c->rcpt_sent = c->rcpt_at = c->accepted_count = 0;
    recipients_open(c);
    smtp_dot_init(&c->dot);
    c->way = CLIENT_AS_IS;
    c->convert_due = false;
    c->convert = NULL;
    c->content_size = job->body_size;
    c->raw = c->body = c->piece = BYTES_NONE;
    c->body_offset = 0;
    c->body_last = job->body_size == 0;
    c->body_wanted = false;
}

bool smtp_client_job_open(const struct smtp_client *c)
{
    return c->job != NULL && !c->begun && !c->done_due && c->state != CLIENT_QUIT && c->state != CLIENT_CLOSED;
}

void smtp_client_job_grow(struct smtp_client *c, const struct smtp_job *job)
{
    ASSERT(smtp_client_job_open(c) && job->rcpt_count >= c->job->rcpt_count && job->rcpt_count <= JOB_RCPT_COUNT_MAX);
    c->job = job;
    recipients_open(c);
}

/* The transaction is over, its results wait or are out: back to READY, or an end for a peer that said 421. */
static void transaction_end(struct smtp_client *c)
{
    job_over(c, SMTP_CLIENT_END_DONE, local_reply(2, 0, 0, BYTES("the host ended the session")));
    if (c->no_reuse) {
        c->close_due = true;
        client_enter(c, CLIENT_CLOSED);
    } else {
        client_enter(c, CLIENT_READY);
    }
}

/* --- reading --- */

static void on_refused_session(struct smtp_client *c, struct peer_reply reply)
{
    bool permanent = reply.code >= 500;
    client_end_politely(c, permanent ? SMTP_CLIENT_END_REFUSED_5XX : SMTP_CLIENT_END_REFUSED_4XX, reply);
}

static void on_greeting(struct smtp_client *c, struct peer_reply reply)
{
    if (reply.code >= 400) {
        on_refused_session(c, reply);
        return;
    }
    c->sending = SENDING_EHLO;
    client_enter(c, CLIENT_EHLO);
}

static void on_ehlo(struct smtp_client *c, struct peer_reply reply)
{
    if (reply.code >= 500 && !c->cfg->lmtp && c->state == CLIENT_EHLO && !c->tls_up &&
        c->cfg->tls != SMTP_CLIENT_TLS_REQUIRED) {
        /* RFC 5321 3.2: an old server does not know EHLO. */
        c->sending = SENDING_HELO;
        client_enter(c, CLIENT_HELO);
        return;
    }
    if (reply.code >= 400) {
        on_refused_session(c, reply);
        return;
    }
    if (!c->tls_up && c->cfg->tls != SMTP_CLIENT_TLS_NONE) {
        if (c->peer.extensions & SMTP_EXT_STARTTLS) {
            c->sending = SENDING_STARTTLS;
            client_enter(c, CLIENT_STARTTLS);
            return;
        }
        if (c->cfg->tls == SMTP_CLIENT_TLS_REQUIRED) {
            client_end_politely(c, SMTP_CLIENT_END_TLS_UNAVAILABLE,
                local_reply(4, 7, 4, BYTES("TLS is required, and the host does not offer STARTTLS")));
            return;
        }
    }
    client_ready(c);
}

static void on_starttls(struct smtp_client *c, struct peer_reply reply)
{
    if (reply.code == 220) {
        c->tls_due = true;
        client_enter(c, CLIENT_TLS);
    } else if (c->cfg->tls == SMTP_CLIENT_TLS_REQUIRED) {
        client_end_politely(c, SMTP_CLIENT_END_TLS_UNAVAILABLE, reply);
    } else {
        client_ready(c);
    }
}

static enum smtp_rcpt_outcome outcome_of(struct peer_reply reply)
{
    return reply.code < 300 ? SMTP_RCPT_DELIVERED : reply.code < 500 ? SMTP_RCPT_DEFERRED : SMTP_RCPT_FAILED;
}

/* All replies to RCPT that have been asked for are in. */
static void rcpts_over(struct smtp_client *c)
{
    if (c->data_sent) {
        if (!c->bdat)
            client_enter(c, CLIENT_DATA);
        else
            client_enter(c, c->sending == SENDING_BODY ? CLIENT_BODY : CLIENT_DOT);
    } else if (c->accepted_count == 0) {
        transaction_end(c);
    } else {
        /* The writer waited for these replies: now DATA, or BDAT and the content. */
        client_enter(c, c->bdat ? CLIENT_BODY : CLIENT_DATA);
    }
}

/* Moves the reader to the next recipient whose reply is to come. */
static void rcpt_next(struct smtp_client *c)
{
    while (c->rcpt_at < c->rcpt_sent && c->rcpt_states[c->rcpt_at] >= RCPT_REFUSED_HERE)
        c->rcpt_at++;
    if (c->rcpt_at == c->rcpt_sent && c->sending != SENDING_RCPT)
        rcpts_over(c);
    else
        client_enter(c, CLIENT_RCPT);
}

static void on_mail(struct smtp_client *c, struct peer_reply reply)
{
    if (reply.code < 300) {
        c->open_transaction = true;
    } else {
        result_set(c, RESULT_UNDECIDED, 0, outcome_of(reply), reply);
        if (!c->data_sent)
            c->sending = SENDING_NOTHING; /* what has gone out is still answered */
    }
    rcpt_next(c);
}

/* RFC 5321 4.5.3.1.10: too many recipients is 452, and 552 from servers of old. */
static bool is_too_many(struct peer_reply reply)
{
    static const char *const words[] = {"too many recipients", "Too many recipients", "Too Many Recipients"};

    if (reply.code == 452)
        return reply.status.subject != 2; /* a full mailbox is its own trouble */
    if (reply.code != 552)
        return false;
    if (reply.status.subject == 5 && reply.status.detail == 3)
        return true;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (bytes_find(reply.text, bytes_of(words[i])) != BYTES_NOT_FOUND)
            return true;
    return false;
}

static void on_rcpt(struct smtp_client *c, struct peer_reply reply)
{
    /* Those that this peer was never sent have no reply: without pipelining they were not yet passed when MAIL was answered. */
    while (c->rcpt_at < c->rcpt_sent && c->rcpt_states[c->rcpt_at] >= RCPT_REFUSED_HERE)
        c->rcpt_at++;
    ASSERT(c->rcpt_at < c->rcpt_sent);
    size_t at = c->rcpt_at++;

    if (c->rcpt_states[at] == SMTP_CLIENT_RCPT_OPEN) {
        if (reply.code < 300) {
            c->rcpt_states[at] = SMTP_CLIENT_RCPT_ACCEPTED;
            c->accepted_count++;
        } else {
            enum smtp_rcpt_outcome outcome = outcome_of(reply);
            if (is_too_many(reply)) {
                outcome = SMTP_RCPT_DEFERRED;
                reply.status.class = 4;
            }
            if ((is_too_many(reply) || reply.code == 421) && c->accepted_count > 0)
                outcome = SMTP_RCPT_AGAIN;
            result_set(c, RESULT_ONE, at, outcome, reply);
        }
    }
    rcpt_next(c);
}

static void on_data(struct smtp_client *c, struct peer_reply reply)
{
    if (reply.code >= 400) {
        if (c->accepted_count > 0)
            result_set(c, RESULT_ACCEPTED, 0, outcome_of(reply), reply);
        transaction_end(c);
    } else if (reply.code < 300) {
        client_garbage(c, "2yz to DATA");
    } else {
        c->sending = SENDING_BODY;
        if (c->accepted_count == 0 && c->cfg->lmtp) {
            c->no_reuse = true; /* RFC 2033 4.2 forbids this 354; no reply would end the content */
            transaction_end(c);
        } else if (c->accepted_count == 0) {
            /* RFC 2920 3.1: the server waits for content that nobody gets; an empty one ends it. */
            c->lone_dot = true;
            c->ahead_count = 1;
            client_enter(c, CLIENT_DOT);
        } else {
            client_enter(c, CLIENT_BODY);
        }
    }
}

/* A reply to the content, or (early) while it is still being sent. */
static void on_content(struct smtp_client *c, struct peer_reply reply)
{
    bool early = c->state == CLIENT_BODY;

    if (early && reply.code < 400) {
        client_garbage(c, "a good reply before the end of the message");
        return;
    }
    c->open_transaction = reply.code >= 400;
    if (early || c->lone_dot)
        c->no_reuse = true; /* what the peer takes the rest of the content for is anybody's guess */
    if (c->accepted_count == 0) {
        transaction_end(c);
        return;
    }
    bool all = !c->cfg->lmtp || early || reply.code == 421;
    if (all) {
        result_set(c, RESULT_ACCEPTED, 0, outcome_of(reply), reply);
        transaction_end(c);
        return;
    }
    /* RFC 2033 4.2: one reply for each accepted recipient, in their order. */
    while (c->rcpt_states[c->rcpt_at] != SMTP_CLIENT_RCPT_ACCEPTED)
        c->rcpt_at++;
    result_set(c, RESULT_ONE, c->rcpt_at++, outcome_of(reply), reply);
    if (c->ahead_count == 0) {
        c->open_transaction = false;
        transaction_end(c);
    } else {
        client_enter(c, CLIENT_DOT);
    }
}

/* 421 at any point: the peer goes away (RFC 5321 3.8). False when the reply still has a meaning of its own. */
static bool on_shut_down(struct smtp_client *c, struct peer_reply reply)
{
    switch (c->state) {
    case CLIENT_RCPT:
        c->no_reuse = true;
        if (c->ahead_count > 0 && (c->accepted_count > 0 || c->rcpt_states[c->rcpt_at] != SMTP_CLIENT_RCPT_OPEN))
            return false; /* the accepted ones may still go; the answer to a command of no importance is none either */
        session_end(c, SMTP_CLIENT_END_SHUT_DOWN, reply);
        return true;
    case CLIENT_DATA:
        session_end(c, SMTP_CLIENT_END_SHUT_DOWN, reply);
        return true;
    case CLIENT_BODY:
    case CLIENT_DOT:
        c->no_reuse = true;
        return false;
    case CLIENT_READY: /* as an answer to the MAIL that was about to go, if there is a job */
        session_end(c, c->job != NULL ? SMTP_CLIENT_END_REFUSED_4XX : SMTP_CLIENT_END_SHUT_DOWN, reply);
        return true;
    case CLIENT_QUIT:
        return false;
    default:
        session_end(c, SMTP_CLIENT_END_REFUSED_4XX, reply);
        return true;
    }
}

/* `text`: of its last line, as it came. */
static void on_reply(struct smtp_client *c, struct peer_reply reply, struct bytes text)
{
    reply = reply_with_status(reply);
    if (reply.code == 421 && on_shut_down(c, reply))
        return;
    if (c->ahead_count == 0 && c->state != CLIENT_BODY) {
        client_garbage(c, "a reply to nothing"); /* (C1) */
        return;
    }
    if (reply.code >= 300 && reply.code < 400 && c->state != CLIENT_DATA && c->state != CLIENT_LOGIN) {
        client_garbage(c, "3yz where it has no meaning");
        return;
    }
    if (c->ahead_count > 0)
        c->ahead_count--;
    c->replied = true;
    switch ((enum client_state)c->state) {
    case CLIENT_GREETING:
        on_greeting(c, reply);
        break;
    case CLIENT_EHLO:
    case CLIENT_HELO:
        on_ehlo(c, reply);
        break;
    case CLIENT_STARTTLS:
        on_starttls(c, reply);
        break;
    case CLIENT_LOGIN:
        client_on_login(c, reply, text);
        break;
    case CLIENT_RSET:
        if (reply.code >= 300) {
            client_garbage(c, "RSET refused");
            break;
        }
        c->open_transaction = false;
        client_enter(c, CLIENT_MAIL);
        break;
    case CLIENT_MAIL:
        on_mail(c, reply);
        break;
    case CLIENT_RCPT:
        on_rcpt(c, reply);
        break;
    case CLIENT_DATA:
        on_data(c, reply);
        break;
    case CLIENT_BODY:
    case CLIENT_DOT:
        on_content(c, reply);
        break;
    case CLIENT_QUIT:
        session_end(c, SMTP_CLIENT_END_DONE, local_reply(2, 0, 0, BYTES("the session was ended with QUIT")));
        break;
    case CLIENT_READY:
    case CLIENT_SURVEY:
    case CLIENT_TLS:
    case CLIENT_CLOSED:
        ASSERT(!"no reply is read in these states");
    }
}

size_t smtp_client_feed(struct smtp_client *c, struct instant now, struct bytes in)
{
    size_t eaten = 0;

    c->now = now;
    while (eaten < in.size && !results_wait(c)) {
        struct client_reply_line line;
        size_t size;

        if (c->state == CLIENT_CLOSED)
            return in.size;
        if (c->state == CLIENT_TLS) {
            struct bytes text = BYTES("plaintext stood behind the reply to STARTTLS");
            session_end(c, SMTP_CLIENT_END_TLS_FAILED, local_reply(4, 7, 0, text));
            return in.size;
        }
        struct result r = client_reply_feed(&c->reply, bytes_after(in, eaten), &size, &line);
        eaten += size;
        if (r.code == CODE_MORE)
            break;
        if (!is_ok(r)) {
            client_garbage(c, r.why);
            break;
        }
        bool challenge = c->state == CLIENT_LOGIN && line.code == 334; /* salts and proofs are nobody's business */
        client_note(c, "S: ", challenge ? BYTES("334 (a challenge)") : line.whole);
        if (c->state == CLIENT_EHLO && line.code == 250 && c->reply.line_count > 1)
            client_peer_learn(&c->peer, line.text);
        if (line.last) {
            struct peer_reply reply = client_reply_view(&c->reply);
            client_reply_reset(&c->reply);
            on_reply(c, reply, line.text);
        }
    }
    return eaten;
}

/* --- events --- */

static bool result_is_for(const struct smtp_client *c, size_t at)
{
    uint8_t state = c->rcpt_states[at];

    switch ((enum client_result_scope)c->result.scope) {
    case RESULT_REFUSED_HERE:
        return state == RCPT_REFUSED_HERE;
    case RESULT_ACCEPTED:
        return state == SMTP_CLIENT_RCPT_ACCEPTED;
    case RESULT_UNDECIDED:
        return state == SMTP_CLIENT_RCPT_OPEN || state == SMTP_CLIENT_RCPT_ACCEPTED;
    case RESULT_ONE:
    case RESULT_NONE:
        break;
    }
    return true;
}

static bool result_next(struct smtp_client *c, struct smtp_client_event *event_out)
{
    size_t at = c->result.at;
    struct peer_reply reply = c->result.reply;
    enum smtp_rcpt_outcome outcome = c->result.outcome;

    while (at < c->job->rcpt_count && !result_is_for(c, at))
        at++;
    if (at == c->job->rcpt_count) {
        c->result.scope = RESULT_NONE;
        return false;
    }
    bool here = c->rcpt_states[at] == RCPT_REFUSED_HERE;
    if (here)
        (void)client_peer_takes_rcpt(&c->peer, &c->job->rcpts[at], &reply);
    if (c->rcpt_states[at] == SMTP_CLIENT_RCPT_ACCEPTED)
        c->accepted_count--;
    ASSERT(c->rcpt_states[at] != SMTP_CLIENT_RCPT_DECIDED && c->undecided_count > 0); /* (C2) */
    c->rcpt_states[at] = here ? RCPT_REFUSED_TOLD : SMTP_CLIENT_RCPT_DECIDED;
    c->undecided_count--;
    c->decided = c->decided || outcome != SMTP_RCPT_AGAIN;
    c->result.at = at + 1;
    if (c->result.scope == RESULT_ONE)
        c->result.scope = RESULT_NONE;
    *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_RCPT_RESULT,
        .rcpt = {.index = at,
            .outcome = outcome,
            .reply = reply,
            .dsn_passed = outcome == SMTP_RCPT_DELIVERED && (c->peer.extensions & SMTP_EXT_DSN) != 0}};
    return true;
}

static void done_next(struct smtp_client *c, struct smtp_client_event *event_out)
{
    bool done = c->end == SMTP_CLIENT_END_DONE;

    ASSERT(!done || c->undecided_count == 0);
    *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_JOB_DONE,
        .done = {.end = c->end,
            .reply = c->end_reply,
            .undecided_count = c->undecided_count,
            .reusable = c->state == CLIENT_READY,
            .uncertain = c->uncertain && c->undecided_count > 0,
            .nothing_sent = !c->body_sent,
            .decided_some = c->decided,
            .stale = c->stale}};
    c->done_due = false;
    c->job = NULL;
    c->jobs_done++;
}

bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *event_out)
{
    /* Not before it is pulled: until the end of the caller's turn a job may grow. */
    if (c->state == CLIENT_READY && c->job != NULL && !c->begun && !c->done_due)
        job_begin(c);
    if (c->result.scope != RESULT_NONE && result_next(c, event_out))
        return true;
    if (c->done_due) {
        done_next(c, event_out);
        return true;
    }
    if (c->tls_due) {
        c->tls_due = false;
        *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_START_TLS};
        return true;
    }
    if (c->close_due) {
        c->close_due = false;
        *event_out =
            (struct smtp_client_event){.kind = SMTP_CLIENT_CLOSE, .close = {.end = c->end, .why = c->end_reply.text}};
        return true;
    }
    if (c->convert_due) {
        c->convert_due = false;
        *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_WANT_CONVERT};
        return true;
    }
    if (c->state == CLIENT_CLOSED)
        return false;
    return client_write_next(c, event_out) || client_want_next(c, event_out);
}

void smtp_client_body(struct smtp_client *c, struct instant now, struct bytes bytes, bool last)
{
    c->now = now;
    if (c->job == NULL || c->done_due || !c->body_wanted)
        return;
    c->body_wanted = false;
    uint64_t left = c->job->body_size - c->body_offset;
    if (bytes.size > left || (bytes.size < left && (last || bytes.size == 0))) {
        smtp_client_answer(c, now, SMTP_CLIENT_BODY_BROKEN, "its size is not what its envelope says"); /* (C4) */
        return;
    }
    if (c->state == CLIENT_SURVEY) {
        c->body_offset += bytes.size;
        client_survey(c, bytes, bytes.size == left);
        return;
    }
    *(c->convert != NULL ? &c->raw : &c->body) = bytes;
    c->body_offset += bytes.size;
    c->body_last = bytes.size == left;
    if (c->state == CLIENT_BODY)
        client_enter(c, CLIENT_BODY);
}

void smtp_client_answer(struct smtp_client *c, struct instant now, enum smtp_client_answer answer, const char *why)
{
    c->now = now;
    switch (answer) {
    case SMTP_CLIENT_TLS_UP:
        if (c->state != CLIENT_TLS)
            break;
        c->tls_up = true;
        c->peer.extensions = 0; /* RFC 3207 4.2: what was said before is forgotten */
        c->sending = SENDING_EHLO;
        client_enter(c, CLIENT_EHLO);
        break;
    case SMTP_CLIENT_TLS_BROKEN:
        session_end(
            c, SMTP_CLIENT_END_TLS_FAILED, local_reply(4, 7, 5, why_put(c, "the TLS handshake failed", why, NULL)));
        break;
    case SMTP_CLIENT_BODY_BROKEN:
        if (c->job != NULL && !c->done_due)
            session_end(c, SMTP_CLIENT_END_BODY_GONE,
                local_reply(4, 3, 0, why_put(c, "the message cannot be read from the queue", why, NULL)));
        break;
    }
}

void smtp_client_lost(struct smtp_client *c, struct instant now, const char *why)
{
    c->now = now;
    struct bytes text = why_put(c, "the connection was lost", why, state_waits[c->state]);
    /* A peer that dislikes the handshake hangs up. */
    bool tls = c->state == CLIENT_TLS;
    session_end(c, tls ? SMTP_CLIENT_END_TLS_FAILED : SMTP_CLIENT_END_LOST, local_reply(4, 4, 2, text));
}

void smtp_client_tick(struct smtp_client *c, struct instant now)
{
    c->now = now;
    if (!instant_reached(c->deadline, now))
        return;
    if ((c->state == CLIENT_BODY || c->state == CLIENT_SURVEY) && c->body_wanted) {
        smtp_client_answer(c, now, SMTP_CLIENT_BODY_BROKEN, "it did not come in time");
        return;
    }
    struct bytes text = why_put(c, "the host did not answer in time", NULL, state_waits[c->state]);
    bool tls = c->state == CLIENT_TLS;
    session_end(c, tls ? SMTP_CLIENT_END_TLS_FAILED : SMTP_CLIENT_END_TIMEOUT, local_reply(4, 4, 2, text));
}

void smtp_client_quit(struct smtp_client *c, struct instant now)
{
    ASSERT(c->job == NULL);
    c->now = now;
    if (c->state == CLIENT_QUIT || c->state == CLIENT_CLOSED)
        return;
    if (c->state != CLIENT_READY) {
        session_end(c, SMTP_CLIENT_END_DONE, local_reply(2, 0, 0, BYTES("the session was not needed any more")));
        return;
    }
    c->sending = SENDING_QUIT;
    client_enter(c, CLIENT_QUIT);
}

struct instant smtp_client_deadline(const struct smtp_client *c)
{
    return c->deadline;
}

bool smtp_client_idle(const struct smtp_client *c)
{
    return c->state == CLIENT_READY && c->job == NULL;
}

uint32_t smtp_client_extensions(const struct smtp_client *c)
{
    return c->peer.extensions;
}
