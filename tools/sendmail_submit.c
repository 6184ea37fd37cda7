/* The dialogue with the daemon over run_dir/inject: SMTP, so that one door serves everybody, with the caller known by the
 * socket. Commands of a transaction leave together (RFC 2920); recipients over the daemon's limit go in further transactions.
 *
 * (S1) Nothing is said twice: a recipient whose transaction got its 250 is DONE and never offered again.
 * (S2) A dialogue that breaks leaves the recipients that are not DONE to the caller, who drops the message for later.
 * (S3) A status other than 0 means that nobody gets the message, so a caller may try again without making second copies. Where
 *      some can get it, those who are refused are offered once more with XREFUSED: the daemon then takes them too, and tells the
 *      sender by mail. */
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "smtp/client_reply.h"
#include "smtp/dot.h"
#include "smtp/xtext.h"
#include "tools/sendmail.h"

enum {
    RCPT_BATCH = 100,          /* their replies fit into a socket's buffer, so neither side waits for the other */
    COMMANDS_SIZE_MAX = 16384, /* gathered for one write */
    REPLY_WAIT_MS = 60000,     /* on this machine; longer means that something is stuck */
    BUSY_TRIES = 20,
    BUSY_WAIT_MS = 100,
    DOT_WAIT_MS = 600000, /* RFC 5321 4.5.3.2.6: giving up early makes duplicates */
};

struct dialogue {
    struct sendmail *s;
    int fd;
    struct client_reply reply;
    uint8_t in[4096];
    size_t in_at, in_size;
    struct buf out;
    uint8_t out_room[COMMANDS_SIZE_MAX];
    int wait_ms;
};

int sendmail_connect(const struct config *cfg)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct buf path;
    int fd, sys;

    buf_init(&path, to.sun_path, sizeof to.sun_path - 1);
    if (!is_ok(buf_put(&path, cfg->run_dir)) || !is_ok(buf_put_str(&path, "/inject"))) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    sys = errno;
    close(fd);
    errno = sys;
    return -1;
}

/* --- one octet stream --- */

static RESULT dialogue_write(struct dialogue *d, struct bytes out)
{
    while (out.size > 0) {
        ssize_t n = send(d->fd, out.data, out.size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_SYS(errno, "the daemon hung up");
        out = bytes_after(out, (size_t)n);
    }
    return OK;
}

static RESULT dialogue_flush(struct dialogue *d)
{
    struct bytes out = buf_bytes(&d->out);

    buf_reset(&d->out);
    return dialogue_write(d, out);
}

static RESULT dialogue_fill(struct dialogue *d)
{
    for (;;) {
        struct pollfd p = {.fd = d->fd, .events = POLLIN};
        int ready = poll(&p, 1, d->wait_ms);
        ssize_t n;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return FAIL(CODE_TIMEOUT, "the daemon does not answer");
        n = recv(d->fd, d->in, sizeof d->in, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_SYS(errno, "the connection to the daemon broke");
        if (n == 0)
            return FAIL(CODE_GONE, "the daemon hung up");
        d->in_at = 0;
        d->in_size = (size_t)n;
        return OK;
    }
}

/* The next whole reply; good until the next call. */
static RESULT reply_read(struct dialogue *d, struct peer_reply *reply_out)
{
    struct client_reply_line line = {.last = false};

    client_reply_reset(&d->reply);
    for (;;) {
        size_t eaten;
        struct result r;

        if (d->in_at == d->in_size)
            TRY(dialogue_fill(d));
        r = client_reply_feed(&d->reply, (struct bytes){d->in + d->in_at, d->in_size - d->in_at}, &eaten, &line);
        d->in_at += eaten;
        if (r.code == CODE_MORE)
            continue;
        TRY(r);
        if (!line.last)
            continue;
        *reply_out = client_reply_view(&d->reply);
        /* 421 ends the session whatever was asked */
        return reply_out->code == 421 ? FAIL(CODE_GONE, "the daemon is not taking mail at present") : OK;
    }
}

/* --- commands --- */

static RESULT mail_put(struct dialogue *d)
{
    const struct sendmail *s = d->s;
    bool utf8 = bytes_has_8bit(s->envelope.reverse_path);

    for (size_t i = 0; i < s->envelope.recipient_count; i++)
        utf8 = utf8 || bytes_has_8bit(s->envelope.recipients[i].forward_path);
    TRY(buf_put_str(&d->out, "MAIL FROM:<"));
    TRY(buf_put(&d->out, s->envelope.reverse_path));
    TRY(buf_put_str(&d->out, ">"));
    if (s->message.size > 0) {
        TRY(buf_put_str(&d->out, " SIZE="));
        TRY(buf_put_u64(&d->out, s->message.size));
    }
    if (s->message.has_8bit || (s->options.body_given && s->options.body == BODY_8BITMIME))
        TRY(buf_put_str(&d->out, " BODY=8BITMIME"));
    if (utf8)
        TRY(buf_put_str(&d->out, " SMTPUTF8"));
    if (s->options.ret != DSN_RET_NONE)
        TRY(buf_put_str(&d->out, s->options.ret == DSN_RET_FULL ? " RET=FULL" : " RET=HDRS"));
    if (s->options.envid != NULL) {
        TRY(buf_put_str(&d->out, " ENVID="));
        TRY(xtext_encode(bytes_of(s->options.envid), &d->out));
    }
    if (verp_is_on(s->options.verp)) {
        TRY(buf_put_str(&d->out, " XVERP="));
        TRY(buf_put_octet(&d->out, s->options.verp.before));
        TRY(buf_put_octet(&d->out, s->options.verp.at));
    }
    return buf_put_str(&d->out, "\r\n");
}

static RESULT notify_put(struct buf *out, uint8_t notify)
{
    static const struct {
        uint8_t bit;
        const char *word;
    } words[] = {{DSN_NOTIFY_NEVER, "NEVER"}, {DSN_NOTIFY_SUCCESS, "SUCCESS"}, {DSN_NOTIFY_FAILURE, "FAILURE"},
        {DSN_NOTIFY_DELAY, "DELAY"}};
    bool first = true;

    if (notify == 0)
        return OK;
    TRY(buf_put_str(out, " NOTIFY="));
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!(notify & words[i].bit))
            continue;
        if (!first)
            TRY(buf_put_octet(out, ','));
        TRY(buf_put_str(out, words[i].word));
        first = false;
    }
    return OK;
}

static RESULT rcpt_put(struct dialogue *d, const struct sendmail_recipient *rcpt)
{
    TRY(buf_put_str(&d->out, "RCPT TO:<"));
    TRY(buf_put(&d->out, rcpt->forward_path));
    TRY(buf_put_str(&d->out, ">"));
    TRY(notify_put(&d->out, d->s->options.notify));
    return buf_put_str(&d->out, rcpt->state == SENDMAIL_RCPT_REFUSED ? " XREFUSED\r\n" : "\r\n");
}

static RESULT content_write(struct dialogue *d)
{
    struct bytes content = {d->s->message.data, d->s->message.size}, piece;
    struct smtp_dot dot;

    smtp_dot_init(&dot);
    while (smtp_dot_next(&dot, &content, &piece)) {
        if (piece.size <= buf_left(&d->out)) {
            TRY(buf_put(&d->out, piece));
            continue;
        }
        TRY(dialogue_flush(d));
        TRY(dialogue_write(d, piece));
    }
    if (buf_left(&d->out) < smtp_dot_end(&dot).size)
        TRY(dialogue_flush(d));
    TRY(buf_put(&d->out, smtp_dot_end(&dot)));
    return dialogue_flush(d);
}

/* --- one transaction --- */

static int refusal_status(const struct peer_reply *reply)
{
    if (reply->code < 500)
        return EX_TEMPFAIL;
    if (reply->status.subject == 1 && reply->status.detail == 1)
        return EX_NOUSER;
    return reply->status.subject == 6 || (reply->status.subject == 1 && reply->status.detail >= 3) ? EX_DATAERR
                                                                                                   : EX_NOPERM;
}

static void refusal_say(const struct peer_reply *reply, struct bytes who)
{
    sendmail_say("%.*s%s%.*s", BYTES_ARG(who), who.size > 0 ? ": " : "", BYTES_ARG(reply->text));
}

/* The recipients of one transaction: accepted ones are noted in `accepted`. */
struct transaction {
    uint32_t *accepted; /* numbers of recipients */
    size_t accepted_count;
    size_t deferred_count; /* 4xx: for another transaction, or for later */
    bool mail_answered;
    int status; /* the worst permanent refusal */
};

static RESULT rcpt_reply(struct dialogue *d, struct transaction *t, size_t i)
{
    struct sendmail_recipient *rcpt = &d->s->envelope.recipients[i];
    struct peer_reply reply;

    TRY(reply_read(d, &reply));
    if (reply.code < 300) {
        t->accepted[t->accepted_count++] = (uint32_t)i;
    } else if (reply.code < 500) {
        t->deferred_count++;
    } else {
        rcpt->state = rcpt->state == SENDMAIL_RCPT_OPEN ? SENDMAIL_RCPT_REFUSED : SENDMAIL_RCPT_LOST;
        t->status = refusal_status(&reply);
        TRY(arena_copy(&d->s->arena, reply.text, &rcpt->refusal));
    }
    return OK;
}

static RESULT mail_reply(struct dialogue *d, struct transaction *t)
{
    struct peer_reply reply;

    TRY(reply_read(d, &reply));
    t->mail_answered = true;
    if (reply.code < 300)
        return OK;
    t->status = refusal_status(&reply);
    if (reply.code >= 500)
        refusal_say(&reply, BYTES("sender"));
    return FAIL(CODE_REFUSED, "MAIL was refused");
}

/* RCPT for all in this state, many at a time; the first of them leave with MAIL. CODE_REFUSED: MAIL was refused, and t->status
 * says how. */
static RESULT recipients_give(struct dialogue *d, struct transaction *t, enum sendmail_rcpt_state state)
{
    const struct sendmail_envelope *e = &d->s->envelope;
    uint32_t batch[RCPT_BATCH];

    for (size_t at = 0; at < e->recipient_count;) {
        size_t count = 0;

        for (; at < e->recipient_count && count < RCPT_BATCH; at++) {
            if (e->recipients[at].state != state)
                continue;
            if (buf_left(&d->out) < ADDRESS_SIZE_MAX + 64)
                TRY(dialogue_flush(d));
            TRY(rcpt_put(d, &e->recipients[at]));
            batch[count++] = (uint32_t)at;
        }
        TRY(dialogue_flush(d));
        if (!t->mail_answered)
            TRY(mail_reply(d, t));
        for (size_t i = 0; i < count; i++)
            TRY(rcpt_reply(d, t, batch[i]));
    }
    return OK;
}

/* (S3) */
static RESULT envelope_give(struct dialogue *d, struct transaction *t, bool tell)
{
    t->accepted_count = t->deferred_count = 0;
    t->mail_answered = false;
    TRY(mail_put(d));
    TRY(recipients_give(d, t, SENDMAIL_RCPT_OPEN));
    return tell || t->accepted_count > 0 ? recipients_give(d, t, SENDMAIL_RCPT_REFUSED) : OK;
}

static RESULT content_give(struct dialogue *d, struct transaction *t)
{
    struct peer_reply reply;

    TRY(buf_put_str(&d->out, "DATA\r\n"));
    TRY(dialogue_flush(d));
    TRY(reply_read(d, &reply));
    if (reply.code == 354) {
        TRY(content_write(d));
        d->wait_ms = DOT_WAIT_MS;
        TRY(reply_read(d, &reply));
        d->wait_ms = REPLY_WAIT_MS;
    }
    if (reply.code >= 300) {
        t->status = refusal_status(&reply);
        if (reply.code >= 500)
            refusal_say(&reply, BYTES("the message"));
        return FAIL(CODE_REFUSED, "the content was refused");
    }
    if (d->s->options.verbose)
        sendmail_say("%.*s", BYTES_ARG(reply.text));
    return OK;
}

static RESULT greet(struct dialogue *d)
{
    struct peer_reply reply;

    TRY(reply_read(d, &reply));
    if (reply.code != 220)
        return FAIL(CODE_GONE, "the daemon is not taking mail at present");
    TRY(buf_put_str(&d->out, "EHLO "));
    TRY(buf_put(&d->out, d->s->cfg->hostname));
    TRY(buf_put_str(&d->out, "\r\n"));
    TRY(dialogue_flush(d));
    TRY(reply_read(d, &reply));
    return reply.code == 250 ? OK : FAIL(CODE_GONE, "the daemon refused EHLO");
}

/* What was refused and will not be told otherwise. */
static void refusals_say(const struct sendmail *s, bool all)
{
    for (size_t i = 0; i < s->envelope.recipient_count; i++) {
        const struct sendmail_recipient *rcpt = &s->envelope.recipients[i];

        if (rcpt->refusal.size > 0 && (all || rcpt->state != SENDMAIL_RCPT_DONE))
            refusal_say(&(struct peer_reply){.text = rcpt->refusal}, rcpt->forward_path);
    }
}

static RESULT deliver(struct dialogue *d, bool tell_all, int *status_out)
{
    struct sendmail_envelope *e = &d->s->envelope;
    struct transaction t = {.status = EX_OK};
    size_t done_count = 0, lost_count = 0;
    struct result r;
    void *memory;

    TRY(arena_take(&d->s->arena, e->recipient_count * sizeof *t.accepted, &memory));
    t.accepted = memory;
    do {
        r = envelope_give(d, &t, tell_all || done_count > 0);
        if (is_ok(r) && t.accepted_count > 0)
            r = content_give(d, &t);
        if (r.code == CODE_REFUSED) {
            *status_out = t.status;
            return OK;
        }
        TRY(r);
        for (size_t i = 0; i < t.accepted_count; i++)
            e->recipients[t.accepted[i]].state = SENDMAIL_RCPT_DONE;
        done_count += t.accepted_count;
    } while (t.deferred_count > 0 && t.accepted_count > 0);
    for (size_t i = 0; i < e->recipient_count; i++)
        lost_count += e->recipients[i].state == SENDMAIL_RCPT_LOST;
    *status_out = t.deferred_count > 0 ? EX_TEMPFAIL : done_count > 0 && lost_count == 0 ? EX_OK : t.status;
    refusals_say(d->s, d->s->options.verbose);
    r = dialogue_write(d, BYTES("QUIT\r\n"));
    return is_ok(r) ? r : OK; /* the daemon has the message: nobody waits for the goodbye */
}

static RESULT dialogue_try(struct dialogue *d, struct sendmail *s)
{
    memset(d, 0, offsetof(struct dialogue, out_room));
    d->s = s;
    d->wait_ms = REPLY_WAIT_MS;
    buf_init(&d->out, d->out_room, sizeof d->out_room);
    d->fd = sendmail_connect(s->cfg);
    if (d->fd < 0)
        return FAIL_SYS(errno, "the daemon does not answer");
    return greet(d);
}

/* Connects and greets. A daemon that is there and too busy (421) is asked again for a while. */
static RESULT dialogue_open(struct dialogue *d, struct sendmail *s)
{
    struct result r = dialogue_try(d, s);

    for (int tries = 1; r.code == CODE_GONE && tries < BUSY_TRIES; tries++) {
        close(d->fd);
        poll(NULL, 0, BUSY_WAIT_MS);
        r = dialogue_try(d, s);
    }
    return r;
}

static int failed(const struct sendmail *s, struct result r)
{
    if (s->options.verbose)
        sendmail_say("%s%s%s", r.why, r.sys > 0 ? ": " : "", r.sys > 0 ? strerror(r.sys) : "");
    return EX_TEMPFAIL;
}

int sendmail_submit(struct sendmail *s, bool tell_all)
{
    static struct dialogue d;
    int status = EX_TEMPFAIL;
    struct result r = dialogue_open(&d, s);

    if (is_ok(r))
        r = deliver(&d, tell_all, &status);
    if (d.fd >= 0)
        close(d.fd);
    return is_ok(r) ? status : failed(s, r);
}

int sendmail_verify(struct sendmail *s)
{
    static struct dialogue d;
    struct sendmail_envelope *e = &s->envelope;
    struct transaction t = {.status = EX_OK};
    struct result r = dialogue_open(&d, s);
    void *memory;

    if (is_ok(r))
        r = arena_take(&s->arena, e->recipient_count * sizeof *t.accepted, &memory);
    if (is_ok(r)) {
        t.accepted = memory;
        r = mail_put(&d);
    }
    if (is_ok(r)) {
        r = recipients_give(&d, &t, SENDMAIL_RCPT_OPEN);
        refusals_say(s, true);
    }
    for (size_t i = 0; is_ok(r) && i < t.accepted_count; i++)
        printf("%.*s... deliverable\n", BYTES_ARG(e->recipients[t.accepted[i]].forward_path));
    if (is_ok(r))
        r = dialogue_write(&d, BYTES("RSET\r\nQUIT\r\n"));
    if (d.fd >= 0)
        close(d.fd);
    if (is_ok(r) || r.code == CODE_REFUSED)
        return t.deferred_count > 0 ? EX_TEMPFAIL : t.status;
    sendmail_say("%s%s%s", r.why, r.sys > 0 ? ": " : "", r.sys > 0 ? strerror(r.sys) : "");
    return EX_TEMPFAIL;
}
