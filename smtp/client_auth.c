/* One step for each line that we say; a challenge is the server's answer to it. A server that goes on asking after the last
 * step, or says what cannot be read, hears "*" (RFC 4954 section 4) and then refuses. */
#include "smtp/client_auth.h"

#include "smtp/base64.h"
#include "smtp/saslprep.h"

enum auth_step {
    STEP_PLAIN_WAITS, /* AUTH PLAIN has gone out without its response */
    STEP_LOGIN_NAME,  /* AUTH LOGIN: the server asks for the name, then the password */
    STEP_LOGIN_PASSWORD,
    STEP_SCRAM_WAITS, /* AUTH SCRAM-SHA-256 has gone out without its response */
    STEP_SCRAM_FIRST, /* the server's first message comes next */
    STEP_SCRAM_FINAL, /* its last one */
    STEP_LAST,        /* all has been said */
    STEP_CALLED_OFF,
};

enum { RAW_SIZE_MAX = 1024 };
STATIC_ASSERT(CLIENT_LOGIN_LINE_SIZE_MAX >= (RAW_SIZE_MAX + 2) / 3 * 4 - 128);
STATIC_ASSERT(RAW_SIZE_MAX >= CLIENT_AUTH_LOGIN_SIZE_MAX + CLIENT_AUTH_PASSWORD_SIZE_MAX + 2);
STATIC_ASSERT(RAW_SIZE_MAX >= 3 * CLIENT_AUTH_LOGIN_SIZE_MAX + SCRAM_NONCE_SIZE_MAX + 16);

static void line_clear(struct client_auth *a)
{
    explicit_bzero(a->login.line_room, a->login.line.size);
    buf_reset(&a->login.line);
}

static void call_off(struct client_auth *a, const char *why)
{
    line_clear(a);
    struct result r = buf_put_octet(&a->login.line, '*');
    ASSERT(is_ok(r));
    a->login.why = why;
    a->login.note = "*";
    a->step = STEP_CALLED_OFF;
}

/* The next line is this in base64. */
static void say(struct client_auth *a, struct bytes raw, enum auth_step next)
{
    line_clear(a);
    struct result r = base64_encode(raw, &a->login.line);
    ASSERT(is_ok(r));
    a->login.note = "(a secret)";
    a->step = (uint8_t)next;
}

static struct bytes prepared(struct bytes text, uint8_t *octets, size_t size)
{
    struct buf room;

    buf_init(&room, octets, size);
    if (is_ok(saslprep(text, SASLPREP_QUERY, &room)))
        return buf_bytes(&room);
    memcpy(octets, text.data, text.size);
    return (struct bytes){octets, text.size};
}

static RESULT plain_put(const struct client_auth *a, struct buf *out)
{
    TRY(buf_put_octet(out, 0));
    TRY(buf_put(out, a->credentials.login));
    TRY(buf_put_octet(out, 0));
    return buf_put(out, a->credentials.password);
}

/* "AUTH MECHANISM response", or without the response when that makes it too long. */
static void command_make(
    struct client_auth *a, const char *command, struct bytes response, enum auth_step with, enum auth_step without)
{
    struct buf *line = &a->login.line;

    line_clear(a);
    struct result r = buf_put_str(line, command);
    size_t before = line->size;
    if (is_ok(r))
        r = buf_put_octet(line, ' ');
    if (is_ok(r))
        r = base64_encode(response, line);
    ASSERT(is_ok(r));
    bool fits = line->size <= CLIENT_AUTH_COMMAND_SIZE_MAX;
    if (!fits) {
        explicit_bzero(line->data + before, line->size - before);
        line->size = before;
    }
    a->step = (uint8_t)(fits ? with : without);
}

static bool begin(struct client_login *l, uint8_t mechanisms)
{
    struct client_auth *a = (struct client_auth *)l;
    uint8_t room[RAW_SIZE_MAX];
    struct buf raw = BUF(room);
    struct result r = OK;

    a->credentials.login = prepared(a->given->login, a->login_room, sizeof a->login_room);
    a->credentials.password = prepared(a->given->password, a->password_room, sizeof a->password_room);
    if (mechanisms & SMTP_MECHANISM_SCRAM_SHA_256) {
        l->note = "AUTH SCRAM-SHA-256 (a secret)";
        scram_client_init(&a->scram, a->credentials.login, a->credentials.password, a->nonce);
        r = scram_client_first(&a->scram, &raw);
        command_make(a, "AUTH SCRAM-SHA-256", buf_bytes(&raw), STEP_SCRAM_FIRST, STEP_SCRAM_WAITS);
    } else if (mechanisms & SMTP_MECHANISM_PLAIN) {
        l->note = "AUTH PLAIN (a secret)";
        r = plain_put(a, &raw);
        command_make(a, "AUTH PLAIN", buf_bytes(&raw), STEP_LAST, STEP_PLAIN_WAITS);
    } else if (mechanisms & SMTP_MECHANISM_LOGIN) {
        l->note = "AUTH LOGIN";
        line_clear(a);
        r = buf_put_str(&l->line, "AUTH LOGIN");
        a->step = STEP_LOGIN_NAME;
    } else {
        return false;
    }
    ASSERT(is_ok(r));
    explicit_bzero(room, sizeof room);
    return true;
}

static void scram_answer(struct client_auth *a, struct bytes text)
{
    uint8_t in_room[RAW_SIZE_MAX], out_room[RAW_SIZE_MAX];
    struct buf in = BUF(in_room), out = BUF(out_room);
    struct result r = base64_decode(text, &in);

    if (!is_ok(r))
        call_off(a, "the host's SCRAM challenge cannot be read");
    else if (a->step == STEP_SCRAM_FINAL)
        r = scram_client_verify(&a->scram, buf_bytes(&in));
    else
        r = scram_client_final(&a->scram, buf_bytes(&in), &out);
    if (a->step == STEP_CALLED_OFF)
        return;
    if (!is_ok(r))
        call_off(a, r.why);
    else
        say(a, buf_bytes(&out), a->step == STEP_SCRAM_FINAL ? STEP_LAST : STEP_SCRAM_FINAL);
}

static void challenge(struct client_login *l, struct bytes text)
{
    struct client_auth *a = (struct client_auth *)l;
    uint8_t room[RAW_SIZE_MAX];
    struct buf raw = BUF(room);
    struct result r = OK;

    switch ((enum auth_step)a->step) {
    case STEP_PLAIN_WAITS:
        r = plain_put(a, &raw);
        say(a, buf_bytes(&raw), STEP_LAST);
        break;
    case STEP_LOGIN_NAME: /* whatever words it asks with */
        say(a, a->credentials.login, STEP_LOGIN_PASSWORD);
        break;
    case STEP_LOGIN_PASSWORD:
        say(a, a->credentials.password, STEP_LAST);
        break;
    case STEP_SCRAM_WAITS:
        scram_client_init(&a->scram, a->credentials.login, a->credentials.password, a->nonce);
        r = scram_client_first(&a->scram, &raw);
        say(a, buf_bytes(&raw), STEP_SCRAM_FIRST);
        break;
    case STEP_SCRAM_FIRST:
    case STEP_SCRAM_FINAL:
        scram_answer(a, text);
        break;
    case STEP_LAST:
    case STEP_CALLED_OFF:
        call_off(a, "the host asks on when all has been said");
        break;
    }
    ASSERT(is_ok(r));
    explicit_bzero(room, sizeof room);
}

static bool over(struct client_login *l)
{
    struct client_auth *a = (struct client_auth *)l;

    line_clear(a);
    return a->step == STEP_LAST;
}

void client_auth_init(
    struct client_auth *a, const struct client_credentials *credentials, bool without_tls, struct bytes nonce)
{
    ASSERT(nonce.size > 0 && nonce.size <= sizeof a->nonce_room);
    ASSERT(credentials->login.size > 0 && credentials->login.size <= CLIENT_AUTH_LOGIN_SIZE_MAX);
    ASSERT(credentials->password.size <= CLIENT_AUTH_PASSWORD_SIZE_MAX);
    *a = (struct client_auth){
        .login = {.without_tls = without_tls, .begin = begin, .challenge = challenge, .over = over},
        .given = credentials};
    memcpy(a->nonce_room, nonce.data, nonce.size);
    a->nonce = (struct bytes){a->nonce_room, nonce.size};
    a->login.line = BUF(a->login.line_room);
}

void client_auth_wipe(struct client_auth *a)
{
    explicit_bzero(a, sizeof *a);
}
