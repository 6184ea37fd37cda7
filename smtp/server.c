/* The session's frame: events out, lines in, deadlines, the end. The verbs are in server_command.c.
 *
 * (S1) Every octet fed is eaten in one state, in order, once. feed stops at each event that is not a reply, so a view of
 *      the input in that event is good until the next feed.
 * (S2) Replies gather in `out` and leave as one event when the input is used up, when an answer is awaited, when there is
 *      no room for the next, or before START_TLS and CLOSE: one segment for a pipelined group (RFC 2920 3.2).
 * (S3) What the edge was told to open it is told to close: CHECK_MAIL answered yes is followed by exactly one of COMMIT
 *      and ABORT.
 * (S4) A line ends at CRLF only. A bare LF is an octet of the line, and such a line is refused whole: it can never be two
 *      commands. */
#include "smtp/server_parts.h"

enum {
    REPLY_ROOM = 400, /* kept free in `out` for the reply to the next command, or to a question */
    LAST_ROOM = 96,   /* of which for the last words of a session behind a long reply of the edge */
    OUR_TEXT_SIZE = 64,
    EHLO_ROOM = 768, /* the longest answer to EHLO: a name of 255 octets and all extensions */
};

STATIC_ASSERT((int)SERVER_OUT_SIZE >= (int)EHLO_ROOM);

struct smtp_event *server_event(struct smtp_server *s, enum smtp_event_kind kind)
{
    ASSERT(s->event_count < SERVER_EVENTS_MAX);
    struct smtp_event *event = &s->events[(s->event_first + s->event_count) % SERVER_EVENTS_MAX];
    *event = (struct smtp_event){.kind = kind};
    s->event_count++;
    return event;
}

static bool waits(uint8_t state)
{
    return state >= SERVER_WAIT_MAIL && state <= SERVER_WAIT_AUTH;
}

static struct instant after_or_never(struct instant now, int64_t ms)
{
    return ms == 0 ? INSTANT_NEVER : instant_after(now, ms);
}

void server_enter(struct smtp_server *s, struct instant now, enum server_state state)
{
    bool content = state == SERVER_DATA || state == SERVER_CHUNK;

    ASSERT(s->state != SERVER_CLOSED);
    s->state = (uint8_t)state;
    s->idle_deadline = after_or_never(now, content ? s->config->data_block_timeout_ms : s->config->idle_timeout_ms);
}

/* Forgets replies that the edge has had. */
static void out_settle(struct smtp_server *s)
{
    if (!s->out_given)
        return;
    buf_reset(&s->out);
    s->out_given = s->out_full = false;
}

void server_say(struct smtp_server *s, const struct reply *reply)
{
    struct reply cut = *reply;

    /* Only texts of the edge can be too long for what is left: REPLY_ROOM is always there for ours. */
    while (cut.text.size > OUR_TEXT_SIZE && reply_size_max(cut.text.size) + LAST_ROOM > buf_left(&s->out))
        cut.text.size--;
    struct result r = reply_put(&s->out, &cut);
    ASSERT(is_ok(r));
}

static void note_refused(
    struct smtp_server *s, enum smtp_step step, const struct reply *reply, size_t out_before, struct bytes subject)
{
    struct smtp_event *event = server_event(s, SMTP_EVENT_REFUSED);
    event->refused = (struct smtp_refused){.step = step,
        .code = reply->code,
        .status = reply->status,
        .line = {s->out.data + out_before, s->out.size - out_before - 2},
        .subject = subject};
}

void server_refuse(struct smtp_server *s, enum smtp_step step, const struct reply *reply, struct bytes subject)
{
    size_t before = s->out.size;

    if (reply->code >= 500)
        s->error_count++;
    if (reply->code >= 500 && s->config->error_max > 0 && s->error_count > s->config->error_max) {
        server_close(s, SMTP_CLOSE_ERRORS, &REPLY(421, 4, 7, 0, "too many errors, closing"));
        return;
    }
    server_say(s, reply);
    note_refused(s, step, reply, before, subject);
}

void server_transaction_end(struct smtp_server *s)
{
    struct smtp_transaction *t = s->transaction;

    if (t == NULL)
        return;
    if (t->opened && !t->refused)
        server_event(s, SMTP_EVENT_ABORT);
    s->transaction = NULL;
    arena_reset(s->arena);
}

void server_close(struct smtp_server *s, enum smtp_close_why why, const struct reply *reply)
{
    size_t before = s->out.size;

    ASSERT(s->state != SERVER_CLOSED);
    if (reply != NULL) {
        server_say(s, reply);
        if (reply->code >= 400)
            note_refused(s, SMTP_STEP_SESSION, reply, before, BYTES_NONE);
    }
    server_transaction_end(s);
    s->close_why = (uint8_t)why;
    s->state = SERVER_CLOSED;
    server_event(s, SMTP_EVENT_CLOSE)->close_why = why;
}

void server_close_early(struct smtp_server *s)
{
    server_close(s, SMTP_CLOSE_PIPELINING, &REPLY(554, 5, 5, 0, "you spoke before it was your turn"));
}

uint32_t server_extensions(const struct smtp_server *s)
{
    uint32_t offered = s->config->extensions;

    if (s->peer.tls)
        offered &= ~(uint32_t)SMTP_EXT_STARTTLS;
    if (s->config->auth_mechanisms.size == 0 || (!s->peer.tls && !s->config->auth_without_tls))
        offered &= ~(uint32_t)SMTP_EXT_AUTH;
    if (!s->peer.xclient_allowed)
        offered &= ~(uint32_t)SMTP_EXT_XCLIENT;
    return offered & ~(uint32_t)SMTP_EXT_BINARYMIME;
}

void server_greet(struct smtp_server *s)
{
    uint8_t room[DOMAIN_SIZE_MAX + 16];
    struct buf text = BUF(room);

    struct result r = buf_put(&text, s->config->hostname);
    ASSERT(is_ok(r));
    r = buf_put_str(&text, " ESMTP ready");
    ASSERT(is_ok(r));
    server_say(s, &(struct reply){.code = 220, .text = buf_bytes(&text)});
}

void smtp_server_init(struct smtp_server *s, const struct smtp_server_config *config, const struct smtp_peer *peer,
    struct arena *arena, struct instant now)
{
    enum { MECHANISMS_SIZE_MAX = 128 };

    ASSERT(config->hostname.size > 0 && config->hostname.size <= DOMAIN_SIZE_MAX);
    ASSERT(config->auth_mechanisms.size <= MECHANISMS_SIZE_MAX);
    /* The rooms at the end stay as they are: thousands of sessions begin in a burst. */
    memset(s, 0, offsetof(struct smtp_server, helo));
    s->config = config;
    s->arena = arena;
    s->peer = *peer;
    s->session_deadline = after_or_never(now, config->session_max_ms);
    s->line = BUF(s->line_room);
    s->out = BUF(s->out_room);
    s->scratch = BUF(s->scratch_room);
    s->peer_text = BUF(s->peer_room);
    server_enter(s, now, SERVER_READY);
    server_greet(s);
}

void smtp_server_turn_away(struct smtp_server *s, const struct reply *reply)
{
    ASSERT(!s->greeted && s->state == SERVER_READY);
    buf_reset(&s->out);
    server_close(s, SMTP_CLOSE_TURNED_AWAY, reply);
}

/* --- lines --- */

static size_t line_size_max(const struct smtp_server *s, struct bytes start)
{
    bool auth = s->state == SERVER_AUTH_LINE || (s->transaction == NULL && bytes_starts_nocase(start, BYTES("AUTH ")));
    return auth ? AUTH_LINE_SIZE_MAX : COMMAND_SIZE_MAX;
}

/* Octets up to and including the first CRLF, or BYTES_NOT_FOUND. */
static ptrdiff_t line_find(struct bytes in)
{
    size_t from = 0;

    for (;;) {
        ptrdiff_t lf = bytes_index(bytes_after(in, from), '\n');
        if (lf == BYTES_NOT_FOUND)
            return BYTES_NOT_FOUND;
        from += (size_t)lf + 1;
        if (from >= 2 && in.data[from - 2] == '\r')
            return (ptrdiff_t)from;
    }
}

/* The rest of a line over its limit: eaten up to its CRLF, then answered. */
static size_t line_skip(struct smtp_server *s, struct instant now, struct bytes in)
{
    ptrdiff_t end = line_find(in);

    if (s->line_cr && in.data[0] == '\n')
        end = 1;
    if (end == BYTES_NOT_FOUND) {
        s->line_cr = in.data[in.size - 1] == '\r';
        return in.size;
    }
    s->line_skip = s->line_cr = false;
    s->input_left = (size_t)end < in.size;
    if (s->state == SERVER_AUTH_LINE)
        arena_reset(s->arena);
    server_enter(s, now, SERVER_READY);
    server_refuse(s, SMTP_STEP_COMMAND, &REPLY(500, 5, 5, 2, "line too long"), BYTES_NONE);
    return (size_t)end;
}

static void line_take(struct smtp_server *s, struct instant now, struct bytes line)
{
    line.size -= 2; /* its CRLF */
    if (s->state == SERVER_AUTH_LINE)
        server_auth_line(s, now, line);
    else
        server_command(s, now, line);
}

/* Room for an AUTH line is taken when one is under way, from the arena, which is empty outside a transaction. */
static bool line_grow(struct smtp_server *s)
{
    void *memory;

    if (s->line.size_max >= AUTH_LINE_SIZE_MAX)
        return true;
    if (!is_ok(arena_take(s->arena, AUTH_LINE_SIZE_MAX, &memory)))
        return false;
    memcpy(memory, s->line.data, s->line.size);
    s->line.data = memory;
    s->line.size_max = AUTH_LINE_SIZE_MAX;
    return true;
}

/* A line whose end has not come yet, or of which an earlier part is in s->line already. */
static size_t line_gather(struct smtp_server *s, struct instant now, struct bytes in)
{
    bool split = s->line.size > 0 && s->line.data[s->line.size - 1] == '\r' && in.data[0] == '\n';
    ptrdiff_t end = split ? 1 : line_find(in);
    size_t take = end == BYTES_NOT_FOUND ? in.size : (size_t)end;

    for (size_t taken = 0; taken < take;) {
        struct bytes piece = bytes_head((struct bytes){in.data + taken, take - taken}, buf_left(&s->line));
        struct result r = buf_put(&s->line, piece);
        ASSERT(is_ok(r));
        taken += piece.size;
        if (taken == take || (line_size_max(s, buf_bytes(&s->line)) > s->line.size && line_grow(s)))
            continue;
        s->line_cr = s->line.data[s->line.size - 1] == '\r';
        s->line_skip = true;
        buf_init(&s->line, s->line_room, sizeof s->line_room);
        return taken;
    }
    if (end == BYTES_NOT_FOUND)
        return take;
    s->input_left = take < in.size;
    struct bytes line = buf_bytes(&s->line);
    /* Handlers take what they keep; the next line may use the room again. */
    buf_init(&s->line, s->line_room, sizeof s->line_room);
    line_take(s, now, line);
    return take;
}

static size_t line_feed(struct smtp_server *s, struct instant now, struct bytes in)
{
    if (s->line_skip)
        return line_skip(s, now, in);
    if (s->line.size > 0)
        return line_gather(s, now, in);
    ptrdiff_t end = line_find(bytes_head(in, line_size_max(s, in)));
    if (end == BYTES_NOT_FOUND)
        return line_gather(s, now, in);
    s->input_left = (size_t)end < in.size;
    line_take(s, now, bytes_head(in, (size_t)end));
    return (size_t)end;
}

/* --- the six verbs --- */

/* Between commands is where we can leave (smtp_server_stop). */
static void stop_check(struct smtp_server *s)
{
    if (s->stopping && (s->state == SERVER_READY || s->state == SERVER_AUTH_LINE))
        server_close(s, SMTP_CLOSE_STOPPING, &REPLY(421, 4, 3, 2, "shutting down, try again later"));
    else if (s->last_words != NULL && (s->state == SERVER_READY || s->state == SERVER_AUTH_LINE))
        server_close(s, SMTP_CLOSE_TURNED_AWAY, s->last_words);
}

/* Whether the next line can be answered (S2). EHLO says more than others. */
static bool out_has_room(const struct smtp_server *s, struct bytes in)
{
    bool ehlo = s->line.size > 0 || (in.size > 0 && octet_lower(in.data[0]) == 'e');
    return s->out.size == 0 || buf_left(&s->out) >= (ehlo ? (size_t)EHLO_ROOM : (size_t)REPLY_ROOM);
}

size_t smtp_server_feed(struct smtp_server *s, struct instant now, struct bytes in)
{
    size_t at = 0;

    out_settle(s);
    if (in.size > 0 && s->config->strict_pipelining && s->state != SERVER_CLOSED) {
        if (!s->greeted) {
            buf_reset(&s->out);
            server_close_early(s);
        } else if (s->state == SERVER_WAIT_COMMIT && !s->esmtp) {
            s->early = true;
        }
    }
    while (at < in.size && s->event_count == 0 && !smtp_server_waiting(s)) {
        struct bytes rest = bytes_after(in, at);
        if (s->state == SERVER_DATA || s->state == SERVER_CHUNK)
            at += server_content_feed(s, now, rest);
        else if (out_has_room(s, rest))
            at += line_feed(s, now, rest);
        else
            break;
    }
    s->input_left = at < in.size;
    s->out_full = s->input_left && s->event_count == 0;
    return at;
}

/* Whether the replies so far must leave now (S2). */
static bool out_is_due(const struct smtp_server *s)
{
    if (s->out.size == 0 || s->out_given)
        return false;
    return !s->input_left || smtp_server_waiting(s) || s->out_full;
}

bool smtp_server_next(struct smtp_server *s, struct smtp_event *event_out)
{
    out_settle(s);
    if (s->event_count == 0)
        stop_check(s);
    struct smtp_event *head = &s->events[s->event_first];
    bool last = s->event_count > 0 && (head->kind == SMTP_EVENT_START_TLS || head->kind == SMTP_EVENT_CLOSE);
    if ((s->event_count == 0 || last) && out_is_due(s)) {
        *event_out = (struct smtp_event){.kind = SMTP_EVENT_REPLY, .bytes = buf_bytes(&s->out)};
        s->out_given = true;
        s->greeted = true;
        return true;
    }
    if (s->event_count == 0)
        return false;
    *event_out = *head;
    s->event_first = (uint8_t)((s->event_first + 1) % SERVER_EVENTS_MAX);
    s->event_count--;
    return true;
}

static void mail_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    struct smtp_transaction *t = s->transaction;

    server_enter(s, now, SERVER_READY);
    if (answer->kind == SMTP_ANSWER_YES) {
        ASSERT(answer->id.value != 0);
        t->opened = true;
        t->id = answer->id;
        t->received_at = answer->received_at;
        server_say(s, &REPLY(250, 2, 1, 0, "ok"));
        return;
    }
    server_transaction_end(s);
    server_refuse(s, SMTP_STEP_MAIL, &answer->reply, (struct bytes){s->scratch.data, s->path_size});
}

static void rcpt_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    struct smtp_transaction *t = s->transaction;
    struct bytes forward_path = {s->scratch.data, s->path_size};

    server_enter(s, now, SERVER_READY);
    if (answer->kind != SMTP_ANSWER_YES) {
        server_refuse(s, SMTP_STEP_RCPT, &answer->reply, forward_path);
        return;
    }
    /* Without memory for it the trace field names no recipient, which it need not. */
    if (t->rcpt_count == 0 && !is_ok(arena_copy(s->arena, forward_path, &t->only_rcpt)))
        t->only_rcpt = BYTES_NONE;
    t->rcpt_count++;
    s->proven = true;
    server_say(s, &REPLY(250, 2, 1, 5, "ok"));
}

static void vrfy_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    server_enter(s, now, SERVER_READY);
    if (answer->kind == SMTP_ANSWER_YES)
        server_say(s, &(struct reply){250, {2, 1, 5}, {s->scratch.data, s->path_size}});
    else
        server_refuse(s, SMTP_STEP_COMMAND, &answer->reply, BYTES_NONE);
}

RESULT
smtp_server_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    if (!waits(s->state) || s->state == SERVER_WAIT_TLS)
        return FAIL(CODE_GONE, "no question is open");
    ASSERT(answer->kind != SMTP_ANSWER_NO || (answer->reply.code >= 400 && answer->reply.code < 600));
    ASSERT(answer->kind != SMTP_ANSWER_CHALLENGE || s->state == SERVER_WAIT_AUTH);
    out_settle(s);
    switch ((enum server_state)s->state) {
    case SERVER_WAIT_MAIL:
        mail_answer(s, now, answer);
        break;
    case SERVER_WAIT_RCPT:
        rcpt_answer(s, now, answer);
        break;
    case SERVER_WAIT_VRFY:
        vrfy_answer(s, now, answer);
        break;
    case SERVER_WAIT_COMMIT:
        server_commit_answer(s, now, answer);
        break;
    default:
        server_auth_answer(s, now, answer);
        break;
    }
    if (s->state != SERVER_CLOSED && answer->kind == SMTP_ANSWER_NO && answer->reply.code == 421)
        server_close(s, SMTP_CLOSE_TURNED_AWAY, NULL);
    if (s->state == SERVER_READY && s->early)
        server_close_early(s);
    return OK;
}

void smtp_server_tick(struct smtp_server *s, struct instant now)
{
    if (!instant_reached(smtp_server_deadline(s), now))
        return;
    out_settle(s);
    if (instant_reached(s->session_deadline, now))
        server_close(s, SMTP_CLOSE_SLOW, &REPLY(421, 4, 4, 2, "session took too long, closing"));
    else
        server_close(s, SMTP_CLOSE_TIMEOUT, &REPLY(421, 4, 4, 2, "timeout, closing"));
}

struct instant smtp_server_deadline(const struct smtp_server *s)
{
    return smtp_server_waiting(s) ? INSTANT_NEVER : instant_min(s->idle_deadline, s->session_deadline);
}

bool smtp_server_waiting(const struct smtp_server *s)
{
    return waits(s->state) || s->state == SERVER_CLOSED;
}

void smtp_server_hangup(struct smtp_server *s)
{
    if (s->state == SERVER_CLOSED)
        return;
    /* A commit under way goes its way: its COMMIT has been given (S3). */
    if (s->state == SERVER_WAIT_COMMIT)
        s->transaction->opened = false;
    server_close(s, SMTP_CLOSE_GONE, NULL);
}

void smtp_server_stop(struct smtp_server *s)
{
    s->stopping = true; /* the next event is the end, or the answer that is still owed */
}

void smtp_server_expel(struct smtp_server *s, const struct reply *reply)
{
    ASSERT(reply->code == 421);
    s->last_words = reply;
}

void smtp_server_rdns(struct smtp_server *s, struct bytes name)
{
    s->peer.rdns = name;
}

const struct smtp_peer *smtp_server_peer(const struct smtp_server *s)
{
    return &s->peer;
}

struct bytes smtp_server_helo(const struct smtp_server *s)
{
    return (struct bytes){s->helo, s->helo_size};
}

uint32_t smtp_server_command_count(const struct smtp_server *s)
{
    return s->command_count;
}

bool smtp_server_authenticated(const struct smtp_server *s)
{
    return s->authenticated;
}

void smtp_server_trust(struct smtp_server *s, bool trusted)
{
    s->peer.trusted = trusted;
}

const char *smtp_step_name(enum smtp_step step)
{
    static const char *const names[SMTP_STEP_COUNT] = {
        "command", "mail", "rcpt", "data", "content", "commit", "auth", "session"};
    ASSERT(step < SMTP_STEP_COUNT);
    return names[step];
}

const char *smtp_close_why_name(enum smtp_close_why why)
{
    static const char *const names[SMTP_CLOSE_WHY_COUNT] = {
        "quit", "gone", "timeout", "slow", "errors", "pipelining", "protocol", "turned_away", "stopping", "no_memory"};
    ASSERT(why < SMTP_CLOSE_WHY_COUNT);
    return names[why];
}
