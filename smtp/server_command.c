/* One function a verb. Order of the checks in each: may it come now, is it well formed, may this peer, what does the edge
 * say. */
#include "smtp/server_parts.h"

static const struct bytes none = BYTES_INIT("");

static void refuse(struct smtp_server *s, struct reply reply)
{
    server_refuse(s, SMTP_STEP_COMMAND, &reply, none);
}

static void put_line(struct buf *out, const char *mark, struct bytes text)
{
    struct result r = buf_put_str(out, mark);
    if (is_ok(r))
        r = buf_put(out, text);
    if (is_ok(r))
        r = buf_put_str(out, "\r\n");
    ASSERT(is_ok(r)); /* EHLO_ROOM in server.c */
}

static void ehlo_say(struct smtp_server *s)
{
    static const struct {
        uint32_t extension;
        struct bytes keyword;
    } plain[] = {
        {SMTP_EXT_PIPELINING, BYTES_INIT("PIPELINING")},
        {SMTP_EXT_8BITMIME, BYTES_INIT("8BITMIME")},
        {SMTP_EXT_SMTPUTF8, BYTES_INIT("SMTPUTF8")},
        {SMTP_EXT_DSN, BYTES_INIT("DSN")},
        {SMTP_EXT_CHUNKING, BYTES_INIT("CHUNKING")},
        {SMTP_EXT_STARTTLS, BYTES_INIT("STARTTLS")},
        {SMTP_EXT_XCLIENT, BYTES_INIT("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")},
        {SMTP_EXT_XVERP, BYTES_INIT("XVERP")},
        {SMTP_EXT_XREFUSED, BYTES_INIT("XREFUSED")},
        {SMTP_EXT_ENHANCEDSTATUSCODES, BYTES_INIT("ENHANCEDSTATUSCODES")},
    };
    uint32_t offered = server_extensions(s);
    uint8_t room[32];
    struct buf number = BUF(room);

    put_line(&s->out, "250-", s->config->hostname);
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        if (offered & plain[i].extension)
            put_line(&s->out, "250-", plain[i].keyword);
    if (offered & SMTP_EXT_AUTH)
        put_line(&s->out, "250-AUTH ", s->config->auth_mechanisms);
    struct result r = buf_put_u64(&number, s->config->size_max);
    ASSERT(is_ok(r));
    if (offered & SMTP_EXT_SIZE)
        put_line(&s->out, "250 SIZE ", buf_bytes(&number));
    else
        put_line(&s->out, "250 ", BYTES("HELP"));
}

static void helo(struct smtp_server *s, bool esmtp, struct bytes name)
{
    if (!helo_is_valid(name)) {
        refuse(s, esmtp ? REPLY(501, 5, 5, 4, "syntax: EHLO host name or address literal")
                        : REPLY(501, 5, 5, 4, "syntax: HELO host name"));
        return;
    }
    server_transaction_end(s); /* RFC 5321 4.1.4 */
    memcpy(s->helo, name.data, name.size);
    s->helo_size = (uint16_t)name.size;
    s->esmtp = esmtp;
    if (esmtp)
        ehlo_say(s);
    else
        server_say(s, &(struct reply){.code = 250, .text = s->config->hostname});
}

/* What MAIL may meet before it is looked at. */
static const struct reply *mail_obstacle(const struct smtp_server *s)
{
    static const struct reply no_helo = {503, {5, 5, 1}, BYTES_INIT("send EHLO or HELO first")};
    static const struct reply nested = {503, {5, 5, 1}, BYTES_INIT("a transaction is open already")};
    static const struct reply no_auth = {530, {5, 7, 0}, BYTES_INIT("authentication required")};

    if (s->helo_size == 0)
        return &no_helo;
    if (s->config->auth_required && !s->authenticated)
        return &no_auth;
    return s->transaction != NULL ? &nested : NULL;
}

static void mail(struct smtp_server *s, struct instant now, struct bytes argument)
{
    const struct reply *obstacle = mail_obstacle(s);
    struct reply refusal;
    struct smtp_mail mail;
    void *memory;

    if (obstacle != NULL) {
        refuse(s, *obstacle);
        return;
    }
    uint32_t extensions = server_extensions(s) | (s->config->extensions & SMTP_EXT_AUTH);
    buf_reset(&s->scratch);
    if (!command_parse_mail(argument, extensions, &s->scratch, &mail, &refusal)) {
        server_refuse(s, SMTP_STEP_MAIL, &refusal, none);
        return;
    }
    s->path_size = (uint16_t)mail.reverse_path.text.size;
    if (s->config->size_max > 0 && mail.size > s->config->size_max) {
        server_refuse(
            s, SMTP_STEP_MAIL, &REPLY(552, 5, 3, 4, "message is larger than we take"), mail.reverse_path.text);
        return;
    }
    if (!is_ok(arena_take(s->arena, sizeof(struct smtp_transaction), &memory))) {
        server_refuse(
            s, SMTP_STEP_MAIL, &REPLY(452, 4, 3, 1, "out of memory, try again later"), mail.reverse_path.text);
        return;
    }
    s->transaction = memory;
    s->transaction->smtputf8 = mail.smtputf8;
    server_enter(s, now, SERVER_WAIT_MAIL);
    server_event(s, SMTP_EVENT_CHECK_MAIL)->mail = mail;
}

static void rcpt(struct smtp_server *s, struct instant now, struct bytes argument)
{
    struct smtp_transaction *t = s->transaction;
    struct reply refusal;
    struct smtp_rcpt rcpt;

    if (t == NULL || t->content) {
        refuse(s, t == NULL ? REPLY(503, 5, 5, 1, "send MAIL first") : REPLY(503, 5, 5, 1, "content has begun"));
        return;
    }
    buf_reset(&s->scratch);
    if (!command_parse_rcpt(argument, server_extensions(s), t->smtputf8, &s->scratch, &rcpt, &refusal)) {
        server_refuse(s, SMTP_STEP_RCPT, &refusal, none);
        return;
    }
    s->path_size = (uint16_t)rcpt.forward_path.text.size;
    if (t->rcpt_count >= s->config->rcpt_max) {
        server_refuse(s, SMTP_STEP_RCPT, &REPLY(452, 4, 5, 3, "too many recipients"), rcpt.forward_path.text);
        return;
    }
    server_enter(s, now, SERVER_WAIT_RCPT);
    server_event(s, SMTP_EVENT_CHECK_RCPT)->rcpt = rcpt;
}

static void no_argument(struct smtp_server *s, struct bytes argument, struct reply done)
{
    if (argument.size > 0)
        refuse(s, REPLY(501, 5, 5, 4, "this command takes no argument"));
    else
        server_say(s, &done);
}

static void rset(struct smtp_server *s, struct bytes argument)
{
    if (argument.size == 0)
        server_transaction_end(s);
    no_argument(s, argument, REPLY(250, 2, 0, 0, "ok"));
}

static const struct reply noncommittal = {252, {2, 1, 5}, BYTES_INIT("not verified here; send mail and see")};

/* The argument may stand in brackets (RFC 5321 3.5.1 lets us choose). */
static void vrfy_ask(struct smtp_server *s, struct instant now, struct bytes argument)
{
    struct smtp_rcpt rcpt = {.notify = 0};
    bool bare = !bytes_starts(argument, BYTES("<"));
    struct result r;

    buf_reset(&s->scratch);
    r = bare ? address_parse_mailbox(argument, 0, &s->scratch, &rcpt.forward_path)
             : address_parse_path(argument, ADDRESS_POSTMASTER, &s->scratch, &rcpt.forward_path);
    if (!is_ok(r)) {
        refuse(s, REPLY(501, 5, 1, 3, "syntax: VRFY local@domain"));
        return;
    }
    s->path_size = (uint16_t)rcpt.forward_path.text.size;
    server_enter(s, now, SERVER_WAIT_VRFY);
    server_event(s, SMTP_EVENT_CHECK_VRFY)->rcpt = rcpt;
}

/* Within a transaction scratch may hold what the edge still looks at: there VRFY says nothing. */
static void vrfy(struct smtp_server *s, struct instant now, struct bytes argument)
{
    if (s->config->vrfy == SMTP_VRFY_REFUSE)
        refuse(s, REPLY(502, 5, 5, 1, "VRFY is not offered"));
    else if (argument.size == 0)
        refuse(s, REPLY(501, 5, 5, 4, "syntax: VRFY address"));
    else if (s->config->vrfy == SMTP_VRFY_NONCOMMITTAL || s->transaction != NULL)
        server_say(s, &noncommittal);
    else
        vrfy_ask(s, now, argument);
}

static void expn(struct smtp_server *s, struct bytes argument)
{
    if (!s->config->expn_noncommittal)
        refuse(s, REPLY(502, 5, 5, 1, "EXPN is not offered"));
    else if (argument.size == 0)
        refuse(s, REPLY(501, 5, 5, 4, "syntax: EXPN list"));
    else
        server_say(s, &noncommittal);
}

/* True when the line was answered here because of what it holds, whatever its verb. */
static bool malformed(struct smtp_server *s, const struct command *command)
{
    bool utf8_may_be =
        command->verb == SMTP_VERB_MAIL || command->verb == SMTP_VERB_RCPT || command->verb == SMTP_VERB_VRFY;

    if (!command->text) {
        refuse(s, REPLY(500, 5, 5, 2, "control character in the command line; lines end in CRLF"));
        return true;
    }
    if (!command->clean && !utf8_may_be) {
        refuse(s, REPLY(500, 5, 5, 2, "octet above 127 in the command line"));
        return true;
    }
    return false;
}

/* RFC 3207 section 4: what may come before TLS where TLS is required. */
static bool needs_tls(const struct smtp_server *s, enum smtp_verb verb)
{
    switch (verb) {
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
    case SMTP_VERB_NOOP:
    case SMTP_VERB_RSET:
    case SMTP_VERB_QUIT:
    case SMTP_VERB_STARTTLS:
    case SMTP_VERB_XCLIENT:
    case SMTP_VERB_BDAT: /* answered after its chunk */
        return false;
    default:
        return s->config->tls_required && !s->peer.tls;
    }
}

static void dispatch(struct smtp_server *s, struct instant now, const struct command *command)
{
    struct bytes argument = command->argument;

    switch (command->verb) {
    case SMTP_VERB_HELO:
    case SMTP_VERB_EHLO:
        helo(s, command->verb == SMTP_VERB_EHLO, argument);
        break;
    case SMTP_VERB_MAIL:
        mail(s, now, argument);
        break;
    case SMTP_VERB_RCPT:
        rcpt(s, now, argument);
        break;
    case SMTP_VERB_DATA:
        if (argument.size > 0)
            refuse(s, REPLY(501, 5, 5, 4, "this command takes no argument"));
        else
            server_data(s, now);
        break;
    case SMTP_VERB_BDAT:
        server_bdat(s, now, argument);
        break;
    case SMTP_VERB_RSET:
        rset(s, argument);
        break;
    case SMTP_VERB_NOOP:
        server_say(s, &REPLY(250, 2, 0, 0, "ok"));
        break;
    case SMTP_VERB_QUIT:
        if (argument.size > 0)
            refuse(s, REPLY(501, 5, 5, 4, "this command takes no argument"));
        else
            server_close(s, SMTP_CLOSE_QUIT, &REPLY(221, 2, 0, 0, "bye"));
        break;
    case SMTP_VERB_VRFY:
        vrfy(s, now, argument);
        break;
    case SMTP_VERB_EXPN:
        expn(s, argument);
        break;
    case SMTP_VERB_HELP:
        server_say(s, &REPLY(214, 2, 0, 0, "RFC 5321 tells all; ask the postmaster for the rest"));
        break;
    case SMTP_VERB_STARTTLS:
        server_starttls(s, now, argument);
        break;
    case SMTP_VERB_AUTH:
        server_auth(s, now, argument);
        break;
    case SMTP_VERB_XCLIENT:
        server_xclient(s, now, argument);
        break;
    case SMTP_VERB_UNKNOWN:
        refuse(s, REPLY(500, 5, 5, 2, "command not recognised"));
        break;
    }
}

void server_command(struct smtp_server *s, struct instant now, struct bytes line)
{
    bool stranger = s->config->class == SMTP_CLASS_MX && !s->proven && !s->peer.trusted && !s->authenticated;
    struct command command;

    command_parse(line, &command);
    server_enter(s, now, SERVER_READY);
    s->command_count++;
    if (stranger && s->command_count > COMMAND_COUNT_MAX_UNPROVEN && command.verb != SMTP_VERB_QUIT) {
        server_close(s, SMTP_CLOSE_ERRORS, &REPLY(421, 4, 7, 0, "too many commands and no mail, closing"));
        return;
    }
    /* The octets of a chunk follow whatever is wrong with the line: only server_bdat may answer it. */
    if (command.verb != SMTP_VERB_BDAT && malformed(s, &command))
        return;
    if (needs_tls(s, command.verb)) {
        refuse(s, REPLY(530, 5, 7, 0, "send STARTTLS first"));
        return;
    }
    dispatch(s, now, &command);
}
