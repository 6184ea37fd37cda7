/* What changes who the peer is: AUTH (RFC 4954), STARTTLS (RFC 3207), XCLIENT (as Postfix documents it). */
#include "smtp/base64.h"
#include "smtp/server_parts.h"

static const struct bytes none = BYTES_INIT("");

static void refuse_auth(struct smtp_server *s, struct reply reply)
{
    server_refuse(s, SMTP_STEP_AUTH, &reply, none);
    if (s->state != SERVER_CLOSED && s->transaction == NULL)
        arena_reset(s->arena);
}

/* The login goes behind what XCLIENT said, in the place of an earlier one. */
static void login_keep(struct smtp_server *s, struct bytes login)
{
    s->peer_text.size = s->login_at;
    struct result r = buf_put(&s->peer_text, bytes_head(login, LOCAL_PART_SIZE_MAX));
    ASSERT(is_ok(r));
    s->peer.login = bytes_after(buf_bytes(&s->peer_text), s->login_at);
}

static bool mechanism_is_offered(struct bytes offered, struct bytes mechanism)
{
    while (offered.size > 0) {
        ptrdiff_t blank = bytes_index(offered, ' ');
        struct bytes word = blank == BYTES_NOT_FOUND ? offered : bytes_head(offered, (size_t)blank);
        if (mechanism.size > 0 && bytes_equal_nocase(word, mechanism))
            return true;
        offered = bytes_after(offered, word.size + 1);
    }
    return false;
}

/* Asks the edge. `text` is base64 or "=" for an empty response; the decoded octets and the mechanism go to the arena. */
static void auth_ask(
    struct smtp_server *s, struct instant now, struct bytes mechanism, struct bytes text, bool has_response)
{
    struct smtp_auth auth = {.has_response = has_response};
    struct buf decoded;
    void *memory;

    if (!is_ok(arena_take(s->arena, text.size + mechanism.size + 1, &memory))) {
        refuse_auth(s, REPLY(454, 4, 7, 0, "out of memory, try again later"));
        return;
    }
    buf_init(&decoded, memory, text.size + mechanism.size + 1);
    if (!bytes_equal(text, BYTES("=")) && !is_ok(base64_decode(text, &decoded))) {
        refuse_auth(s, REPLY(501, 5, 5, 2, "not base64"));
        return;
    }
    auth.response = buf_bytes(&decoded);
    for (size_t i = 0; i < mechanism.size; i++) {
        uint8_t o = mechanism.data[i];
        struct result r = buf_put_octet(&decoded, o >= 'a' && o <= 'z' ? (uint8_t)(o - 32) : o);
        ASSERT(is_ok(r));
    }
    auth.mechanism = bytes_after(buf_bytes(&decoded), auth.response.size);
    server_enter(s, now, SERVER_WAIT_AUTH);
    server_event(s, SMTP_EVENT_AUTH)->auth = auth;
}

void server_auth(struct smtp_server *s, struct instant now, struct bytes argument)
{
    ptrdiff_t blank = bytes_index(argument, ' ');
    struct bytes mechanism = blank == BYTES_NOT_FOUND ? argument : bytes_head(argument, (size_t)blank);
    struct bytes response = bytes_trim(bytes_after(argument, mechanism.size));
    bool offered = (server_extensions(s) & SMTP_EXT_AUTH) != 0;
    bool after_tls = (s->config->extensions & SMTP_EXT_AUTH) != 0 && s->config->auth_mechanisms.size > 0;

    if (!offered && after_tls)
        refuse_auth(s, REPLY(538, 5, 7, 11, "encryption is required for authentication"));
    else if (!offered)
        refuse_auth(s, REPLY(502, 5, 5, 1, "AUTH is not offered"));
    else if (!s->esmtp)
        refuse_auth(s, REPLY(503, 5, 5, 1, "send EHLO first"));
    else if (s->authenticated || s->transaction != NULL)
        refuse_auth(s, s->authenticated ? REPLY(503, 5, 5, 1, "already authenticated")
                                        : REPLY(503, 5, 5, 1, "not within a transaction"));
    else if (mechanism.size == 0)
        refuse_auth(s, REPLY(501, 5, 5, 4, "syntax: AUTH mechanism"));
    else if (!mechanism_is_offered(s->config->auth_mechanisms, mechanism))
        refuse_auth(s, REPLY(504, 5, 5, 4, "mechanism not offered"));
    else
        auth_ask(s, now, mechanism, response, response.size > 0);
}

void server_auth_line(struct smtp_server *s, struct instant now, struct bytes line)
{
    server_enter(s, now, SERVER_READY);
    if (bytes_equal(line, BYTES("*")))
        refuse_auth(s, REPLY(501, 5, 7, 0, "authentication cancelled"));
    else
        auth_ask(s, now, none, line, true);
}

void server_auth_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    uint8_t room[(SERVER_CHALLENGE_SIZE_MAX + 2) / 3 * 4];
    struct buf text = BUF(room);

    server_enter(s, now, answer->kind == SMTP_ANSWER_CHALLENGE ? SERVER_AUTH_LINE : SERVER_READY);
    arena_reset(s->arena);
    switch (answer->kind) {
    case SMTP_ANSWER_CHALLENGE: {
        ASSERT(answer->challenge.size <= SERVER_CHALLENGE_SIZE_MAX);
        struct result r = base64_encode(answer->challenge, &text);
        ASSERT(is_ok(r));
        server_say(s, &(struct reply){.code = 334, .text = buf_bytes(&text)});
        break;
    }
    case SMTP_ANSWER_YES:
        login_keep(s, answer->login);
        s->authenticated = true;
        server_say(s, &REPLY(235, 2, 7, 0, "authenticated"));
        break;
    case SMTP_ANSWER_NO:
        server_refuse(s, SMTP_STEP_AUTH, &answer->reply, none);
        break;
    }
}

/* As after the greeting: nothing that was said before counts. */
static void session_forget(struct smtp_server *s)
{
    server_transaction_end(s);
    s->helo_size = 0;
    s->esmtp = false;
    s->authenticated = false;
}

void server_starttls(struct smtp_server *s, struct instant now, struct bytes argument)
{
    static const struct reply on_already = {503, {5, 5, 1}, BYTES_INIT("TLS is on already")};
    static const struct reply not_offered = {502, {5, 5, 1}, BYTES_INIT("STARTTLS is not offered")};
    static const struct reply has_argument = {501, {5, 5, 4}, BYTES_INIT("STARTTLS takes no argument")};
    static const struct reply within = {503, {5, 5, 1}, BYTES_INIT("not within a transaction")};
    const struct reply *refusal = NULL;

    if (s->peer.tls)
        refusal = &on_already;
    else if (!(server_extensions(s) & SMTP_EXT_STARTTLS))
        refusal = &not_offered;
    else if (argument.size > 0)
        refusal = &has_argument;
    else if (s->transaction != NULL)
        refusal = &within;
    if (refusal != NULL) {
        server_refuse(s, SMTP_STEP_COMMAND, refusal, none);
        return;
    }
    server_say(s, &REPLY(220, 2, 0, 0, "ready for TLS"));
    server_enter(s, now, SERVER_WAIT_TLS);
    server_event(s, SMTP_EVENT_START_TLS);
}

void smtp_server_tls_started(struct smtp_server *s, struct instant now, struct bytes version, struct bytes cipher)
{
    if (s->state == SERVER_CLOSED)
        return;
    ASSERT(s->state == SERVER_WAIT_TLS);
    session_forget(s);
    s->peer.login = none;
    s->peer.tls = true;
    s->peer.tls_version = version;
    s->peer.tls_cipher = cipher;
    server_enter(s, now, SERVER_READY);
}

void smtp_server_tls_client(struct smtp_server *s, struct bytes fingerprint)
{
    s->peer.tls_client = fingerprint;
}

/* What XCLIENT may change, from its attributes; all text goes to peer_text. False when it does not fit. */
static bool xclient_apply(struct smtp_server *s, const struct command_xclient *x)
{
    struct smtp_peer *peer = &s->peer;
    uint8_t room[SERVER_PEER_TEXT_SIZE];
    struct buf text = BUF(room);
    struct bytes name = x->given & XCLIENT_NAME ? x->name : peer->rdns;
    struct bytes address = x->given & XCLIENT_ADDR ? x->address : peer->address;
    struct bytes login = x->given & XCLIENT_LOGIN ? x->login : none;

    if (!is_ok(buf_put(&text, name)) || !is_ok(buf_put(&text, address)) ||
        text.size + LOCAL_PART_SIZE_MAX > sizeof room || !is_ok(buf_put(&text, login)))
        return false;
    memcpy(s->peer_room, room, text.size);
    s->peer_text.size = text.size;
    s->login_at = (uint16_t)(name.size + address.size);
    struct bytes all = buf_bytes(&s->peer_text);
    peer->rdns = bytes_head(all, name.size);
    peer->address = bytes_head(bytes_after(all, name.size), address.size);
    peer->login = bytes_after(all, s->login_at);
    if (x->given & XCLIENT_PORT)
        peer->port = x->port;
    if (x->given & (XCLIENT_NAME | XCLIENT_ADDR))
        peer->trusted = false;
    return true;
}

static bool xclient_read(struct smtp_server *s, struct bytes argument, struct buf *room, struct command_xclient *x,
    struct reply *refusal_out)
{
    if (!(server_extensions(s) & SMTP_EXT_XCLIENT)) {
        *refusal_out = REPLY(550, 5, 7, 1, "XCLIENT is not for you");
        return false;
    }
    if (s->transaction != NULL) {
        *refusal_out = REPLY(503, 5, 5, 1, "not within a transaction");
        return false;
    }
    if (!command_parse_xclient(argument, room, x, refusal_out))
        return false;
    *refusal_out = REPLY(501, 5, 5, 4, "XCLIENT attributes too long");
    return xclient_apply(s, x);
}

void server_xclient(struct smtp_server *s, struct instant now, struct bytes argument)
{
    uint8_t decoded[COMMAND_SIZE_MAX];
    struct buf room = BUF(decoded);
    struct command_xclient x;
    struct reply refusal;

    if (!xclient_read(s, argument, &room, &x, &refusal)) {
        server_refuse(s, SMTP_STEP_COMMAND, &refusal, none);
        return;
    }
    session_forget(s);
    s->authenticated = s->peer.login.size > 0;
    if (x.helo.size > 0) {
        memcpy(s->helo, x.helo.data, x.helo.size);
        s->helo_size = (uint16_t)x.helo.size;
        s->esmtp = !(x.given & XCLIENT_PROTO) || x.esmtp;
    }
    server_enter(s, now, SERVER_READY);
    server_greet(s);
    server_event(s, SMTP_EVENT_XCLIENT);
}
