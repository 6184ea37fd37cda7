#include "daemon/auth/exchange.h"

#include "smtp/saslprep.h"

static const char *const names[EXCHANGE_MECHANISM_COUNT] = {
    [EXCHANGE_PLAIN] = "PLAIN",
    [EXCHANGE_LOGIN] = "LOGIN",
    [EXCHANGE_SCRAM] = "SCRAM-SHA-256",
    [EXCHANGE_SCRAM_PLUS] = "SCRAM-SHA-256-PLUS",
};

const char *exchange_mechanism_name(enum exchange_mechanism mechanism)
{
    return mechanism < EXCHANGE_MECHANISM_COUNT ? names[mechanism] : "?";
}

RESULT
exchange_init(struct exchange *x, struct bytes mechanism, bool plus_offered, struct bytes nonce)
{
    memset(x, 0, sizeof *x);
    buf_init(&x->name, x->name_room, sizeof x->name_room - 1);
    buf_init(&x->password, x->password_room, sizeof x->password_room - 1);
    x->text = BUF(x->text_room);
    for (unsigned m = 0; m < EXCHANGE_MECHANISM_COUNT; m++) {
        if (!bytes_equal(mechanism, bytes_of(names[m])))
            continue;
        x->mechanism = (enum exchange_mechanism)m;
        if (m == EXCHANGE_SCRAM || m == EXCHANGE_SCRAM_PLUS)
            scram_server_init(&x->scram, m == EXCHANGE_SCRAM_PLUS, plus_offered, nonce);
        return OK;
    }
    return FAIL(CODE_GONE, "no such mechanism");
}

static enum exchange_step malformed(struct exchange *x, const char *why)
{
    x->why = why;
    return EXCHANGE_MALFORMED;
}

static enum exchange_step challenge(struct exchange *x, const char *text)
{
    buf_reset(&x->text);
    struct result r = buf_put_str(&x->text, text);
    ASSERT(is_ok(r));
    return EXCHANGE_CHALLENGE;
}

/* Whole, without NUL, not empty. */
static bool keep(struct buf *out, struct bytes in)
{
    return in.size > 0 && bytes_index(in, 0) == BYTES_NOT_FOUND && is_ok(buf_put(out, in));
}

/* In the form in which it is compared (RFC 4616 section 2, RFC 5802 section 5.1). What cannot be prepared is nobody's: *prohibited_out. */
static bool keep_prepared(struct buf *out, struct bytes in, bool *prohibited_out)
{
    struct result r;

    if (in.size == 0 || bytes_index(in, 0) != BYTES_NOT_FOUND || in.size > out->size_max)
        return false;
    r = saslprep(in, SASLPREP_QUERY, out);
    *prohibited_out = *prohibited_out || !is_ok(r);
    return true;
}

static bool keep_password(struct exchange *x, struct bytes in, bool *prohibited_out)
{
    return x->password_as_it_came ? keep(&x->password, in) : keep_prepared(&x->password, in, prohibited_out);
}

static enum exchange_step prohibited(struct exchange *x)
{
    x->why = "a name or password that SASLprep prohibits";
    return EXCHANGE_BAD;
}

/* RFC 4616: [authzid] NUL authcid NUL passwd. */
static enum exchange_step plain(struct exchange *x, struct bytes response)
{
    ptrdiff_t first = bytes_index(response, 0);
    struct bytes identity, rest, name;
    ptrdiff_t second;
    bool bad = false;

    if (first == BYTES_NOT_FOUND)
        return malformed(x, "PLAIN without NUL");
    identity = bytes_head(response, (size_t)first);
    rest = bytes_after(response, (size_t)first + 1);
    second = bytes_index(rest, 0);
    if (second == BYTES_NOT_FOUND)
        return malformed(x, "PLAIN with one NUL");
    name = bytes_head(rest, (size_t)second);
    if (!keep_prepared(&x->name, name, &bad) || !keep_password(x, bytes_after(rest, (size_t)second + 1), &bad))
        return malformed(x, "a name or password that cannot be");
    if (bad)
        return prohibited(x);
    if (identity.size > 0 && !bytes_equal(identity, name)) {
        x->why = "nobody acts for others here";
        return EXCHANGE_BAD;
    }
    return EXCHANGE_PASSWORD;
}

/* Never standardised; every client sends name and password in this order, some the name at once. */
static enum exchange_step login(struct exchange *x, struct bytes response)
{
    bool first = x->name.size == 0, bad = false;

    if (first && !keep_prepared(&x->name, response, &bad))
        return malformed(x, "a name that cannot be");
    if (first)
        return bad ? prohibited(x) : challenge(x, "Password:");
    if (!keep_password(x, response, &bad))
        return malformed(x, "a password that cannot be");
    return bad ? prohibited(x) : EXCHANGE_PASSWORD;
}

static enum exchange_step scram(struct exchange *x, struct bytes response, const struct scram_bindings *bindings)
{
    struct bytes name = BYTES_NONE;
    bool bad = false;
    struct result r;

    switch (x->turn) {
    case 1:
        r = scram_server_first(&x->scram, response, bindings, &name);
        if (is_ok(r) && keep_prepared(&x->name, name, &bad))
            return bad ? prohibited(x) : EXCHANGE_KEYS;
        break;
    case 2:
        buf_reset(&x->text);
        r = scram_server_final(&x->scram, response, &x->text);
        if (is_ok(r))
            return EXCHANGE_CHALLENGE;
        break;
    default: /* RFC 4954 section 4: our proof went as a challenge, which an empty response answers */
        if (response.size == 0)
            return EXCHANGE_GOOD;
        r = FAIL(CODE_SYNTAX, "an empty response was expected");
    }
    x->why = r.why != NULL ? r.why : "a name that cannot be";
    return r.code == CODE_REFUSED ? EXCHANGE_BAD : EXCHANGE_MALFORMED;
}

enum exchange_step exchange_feed(
    struct exchange *x, struct bytes response, bool has_response, const struct scram_bindings *bindings)
{
    if (!has_response) /* the client waits for us to begin */
        return challenge(x, x->mechanism == EXCHANGE_LOGIN ? "Username:" : "");
    x->turn++;
    switch (x->mechanism) {
    case EXCHANGE_PLAIN:
        return plain(x, response);
    case EXCHANGE_LOGIN:
        return login(x, response);
    default:
        return scram(x, response, bindings);
    }
}

enum exchange_step exchange_keys(struct exchange *x, const struct scram_keys *keys)
{
    buf_reset(&x->text);
    struct result r = scram_server_challenge(&x->scram, keys, &x->text);
    return is_ok(r) ? EXCHANGE_CHALLENGE : malformed(x, "SCRAM message too long");
}

struct bytes exchange_text(const struct exchange *x)
{
    return buf_bytes(&x->text);
}

void exchange_wipe(struct exchange *x)
{
    explicit_bzero(x, sizeof *x);
}
