/* The writing half of the client session: commands in groups, then the content. What it may send when is the reader's to
 * say (`state`, `ahead_count`); how far it has come is `sending`, `rcpt_sent` and the body's position. */
#include "smtp/client_command.h"
#include "smtp/client_inside.h"

STATIC_ASSERT(CLIENT_COMMAND_SIZE_MAX >= CLIENT_LOGIN_LINE_SIZE_MAX + 2);

enum { SMALL_PIECE_SIZE = 512 }; /* up to this content is copied beside the commands, not a write of its own */

/* True when SMTPUTF8 must be said to MAIL (RFC 6531 3.4): for a header or an address of this hop. */
static bool job_is_utf8(const struct smtp_job *job)
{
    bool utf8 = job->header_utf8 || bytes_has_8bit(job->reverse_path);

    for (size_t i = 0; !utf8 && i < job->rcpt_count; i++)
        utf8 = bytes_has_8bit(job->rcpts[i].forward_path);
    return utf8;
}

/* Whether the next command may go out now. */
static bool may_send(const struct smtp_client *c)
{
    switch ((enum client_sending)c->sending) {
    case SENDING_NOTHING:
    case SENDING_BODY:
        return false;
    case SENDING_MAIL:
    case SENDING_RCPT:
        return c->ahead_count == 0 || client_pipelining(c);
    case SENDING_DATA:
        return c->ahead_count == 0 || (client_pipelining(c) && (!c->bdat || c->eager));
    case SENDING_EHLO:
    case SENDING_HELO:
    case SENDING_STARTTLS:
    case SENDING_LOGIN:
    case SENDING_RSET:
    case SENDING_QUIT:
        return c->ahead_count == 0;
    }
    return false;
}

/* The next recipient that is sent at all, from rcpt_sent on. */
static bool rcpt_to_send(struct smtp_client *c)
{
    while (c->rcpt_sent < c->job->rcpt_count && c->rcpt_states[c->rcpt_sent] != SMTP_CLIENT_RCPT_OPEN)
        c->rcpt_sent++;
    return c->rcpt_sent < c->job->rcpt_count;
}

static RESULT command_put(struct smtp_client *c)
{
    struct buf *out = &c->out;

    switch ((enum client_sending)c->sending) {
    case SENDING_EHLO:
        c->peer.extensions = 0;
        c->peer.size_max = 0;
        c->peer.mechanisms = 0;
        c->sending = SENDING_NOTHING;
        return client_command_plain(out, c->cfg->lmtp ? BYTES("LHLO") : BYTES("EHLO"), c->cfg->helo);
    case SENDING_HELO:
        c->sending = SENDING_NOTHING;
        return client_command_plain(out, BYTES("HELO"), c->cfg->helo);
    case SENDING_STARTTLS:
        c->sending = SENDING_NOTHING;
        return client_command_plain(out, BYTES("STARTTLS"), BYTES_NONE);
    case SENDING_LOGIN:
        c->sending = SENDING_NOTHING;
        return client_command_plain(out, buf_bytes(&c->cfg->login->line), BYTES_NONE);
    case SENDING_RSET:
        c->sending = SENDING_MAIL;
        return client_command_plain(out, BYTES("RSET"), BYTES_NONE);
    case SENDING_MAIL:
        c->sending = SENDING_RCPT;
        return client_command_mail(out, c->job, c->content_size, c->peer.extensions, job_is_utf8(c->job));
    case SENDING_RCPT:
        TRY(client_command_rcpt(out, &c->job->rcpts[c->rcpt_sent++], c->peer.extensions));
        if (!rcpt_to_send(c))
            c->sending = SENDING_DATA;
        return OK;
    case SENDING_DATA:
        c->data_sent = true;
        c->sending = c->bdat ? SENDING_BODY : SENDING_NOTHING;
        return c->bdat ? client_command_bdat(out, c->job->body_size)
                       : client_command_plain(out, BYTES("DATA"), BYTES_NONE);
    case SENDING_QUIT:
        c->sending = SENDING_NOTHING;
        return client_command_plain(out, BYTES("QUIT"), BYTES_NONE);
    case SENDING_NOTHING:
    case SENDING_BODY:
        break;
    }
    return OK;
}

static void commands_write(struct smtp_client *c)
{
    while (may_send(c) && buf_left(&c->out) >= CLIENT_COMMAND_SIZE_MAX) {
        size_t before = c->out.size;
        if (c->sending == SENDING_RCPT)
            (void)rcpt_to_send(c);
        bool login = c->sending == SENDING_LOGIN;
        struct result r = command_put(c);
        ASSERT(is_ok(r));
        c->ahead_count++;
        struct bytes line = bytes_after(buf_bytes(&c->out), before);
        client_note(c, "C: ", login ? bytes_of(c->cfg->login->note) : bytes_head(line, line.size - 2));
    }
}

/* The content has gone out whole. */
static void body_over(struct smtp_client *c)
{
    c->sending = SENDING_NOTHING;
    if (!c->lone_dot)
        c->whole_sent = true;
    c->lone_dot = false;
    if (c->state == CLIENT_BODY) {
        client_enter(c, CLIENT_DOT);
        c->ahead_count = c->cfg->lmtp ? (unsigned)c->accepted_count : 1;
        c->rcpt_at = 0;
    }
}

/* More of the content as the peer gets it. */
static void body_refill(struct smtp_client *c)
{
    while (c->body.size == 0 && c->raw.size > 0)
        c->body = convert_feed(c->convert, &c->raw);
    if (c->body.size == 0 && c->body_last)
        c->body = convert_end(c->convert);
}

/* Puts small pieces and the end of the content into `out`; a large piece waits in c->piece for an event of its own. */
static void body_write(struct smtp_client *c)
{
    for (;;) {
        if (c->piece.size == 0 && !c->lone_dot) {
            if (c->bdat) {
                c->piece = c->body;
                c->body = BYTES_NONE;
            } else {
                if (c->convert != NULL)
                    body_refill(c);
                (void)smtp_dot_next(&c->dot, &c->body, &c->piece);
            }
        }
        if (c->piece.size == 0) {
            if (!c->body_last && !c->lone_dot)
                return;
            struct bytes end = c->bdat ? BYTES_NONE : c->lone_dot ? BYTES(".\r\n") : smtp_dot_end(&c->dot);
            if (!is_ok(buf_put(&c->out, end)))
                return;
            client_note(c, "C: ", c->lone_dot ? BYTES(".") : BYTES("(the message)"));
            body_over(c);
            return;
        }
        c->body_sent = true;
        if (c->piece.size > SMALL_PIECE_SIZE || !is_ok(buf_put(&c->out, c->piece)))
            return;
        c->piece = BYTES_NONE;
    }
}

static bool may_send_body(const struct smtp_client *c)
{
    return c->sending == SENDING_BODY && (c->bdat || c->state == CLIENT_BODY || c->lone_dot);
}

bool client_write_next(struct smtp_client *c, struct smtp_client_event *event_out)
{
    struct bytes bytes;
    bool is_body = false;

    buf_reset(&c->out);
    commands_write(c);
    if (may_send_body(c)) {
        body_write(c);
    }
    bytes = buf_bytes(&c->out);
    if (bytes.size == 0 && c->piece.size > 0) {
        bytes = c->piece;
        c->piece = BYTES_NONE;
        is_body = c->convert == NULL;
    }
    if (bytes.size == 0)
        return false;
    if (c->state == CLIENT_BODY)
        client_enter(c, CLIENT_BODY); /* the block time runs anew with each portion */
    *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_WRITE, .bytes = bytes, .is_body = is_body};
    return true;
}

/* The first portion is asked for with the first command, so that it is here when the peer is ready for it. */
bool client_want_next(struct smtp_client *c, struct smtp_client_event *event_out)
{
    bool surveying = c->state == CLIENT_SURVEY;

    if (c->job == NULL || !c->begun || c->body_wanted || c->body_last)
        return false;
    if (c->body.size > 0 || c->raw.size > 0 || c->piece.size > 0)
        return false;
    if (surveying ? c->convert == NULL : c->body_offset > 0 && !may_send_body(c))
        return false;
    uint64_t left = c->job->body_size - c->body_offset;
    c->body_wanted = true;
    *event_out = (struct smtp_client_event){.kind = SMTP_CLIENT_WANT_BODY,
        .want = {c->body_offset, left < SMTP_CLIENT_BODY_SIZE ? (size_t)left : SMTP_CLIENT_BODY_SIZE}};
    return true;
}
