#include "tests/sim/lib/login.h"

#include "smtp/base64.h"

enum { ITERATIONS = SCRAM_ITERATIONS_MIN };

static const char salt[] = "salt of all users";

static const char *const passwords[LOGIN_USERS] = {"secret of user0", "p", "with, a comma = and more", "geheim:7"};

static int user_number(struct bytes user)
{
    uint64_t n;

    if (!bytes_starts(user, BYTES("user")) || !is_ok(bytes_to_u64(bytes_after(user, 4), LOGIN_USERS - 1, &n)))
        return -1;
    return (int)n;
}

const char *login_password(struct bytes user)
{
    int n = user_number(user);

    return n < 0 ? NULL : passwords[n];
}

const char *login_sender(struct bytes user)
{
    static const char *const fields[LOGIN_USERS] = {"Sender: user0@mta.home.test\r\n",
        "Sender: user1@mta.home.test\r\n", "Sender: user2@mta.home.test\r\n", "Sender: user3@mta.home.test\r\n"};
    int n = user_number(user);

    return n < 0 ? NULL : fields[n];
}

/* Slow by design, so made once. */
static const uint8_t *salted(int user)
{
    static uint8_t made[LOGIN_USERS][DIGEST_SIZE];
    static bool done[LOGIN_USERS];

    if (!done[user])
        digest_stretch(bytes_of(passwords[user]), bytes_of(salt), ITERATIONS, made[user]);
    done[user] = true;
    return made[user];
}

static void hmac(const uint8_t key[DIGEST_SIZE], const char *text, uint8_t out[DIGEST_SIZE])
{
    digest_hmac((struct bytes){key, DIGEST_SIZE}, bytes_of(text), out);
}

bool login_keys(struct bytes user, struct scram_keys *keys_out)
{
    uint8_t client[DIGEST_SIZE];
    int n = user_number(user);

    if (n < 0)
        return false;
    *keys_out = (struct scram_keys){.iterations = ITERATIONS, .salt_size = sizeof salt - 1};
    memcpy(keys_out->salt, salt, sizeof salt - 1);
    hmac(salted(n), "Client Key", client);
    digest_sha256((struct bytes){client, sizeof client}, keys_out->stored_key);
    hmac(salted(n), "Server Key", keys_out->server_key);
    return true;
}

/* --- the client --- */

static const char *encoded(struct login *l, const char *before, struct bytes text)
{
    uint8_t room[LOGIN_TEXT_MAX - 100];
    struct buf out = BUF(room);
    struct result r = base64_encode(text, &out);

    ASSERT(is_ok(r));
    (void)snprintf(l->text, sizeof l->text, "%s%.*s", before, (int)out.size, (const char *)room);
    return l->text;
}

void login_any(struct login *l, bool may_be_wrong)
{
    *l = (struct login){.mechanism = (enum login_mechanism)world_below(LOGIN_MECHANISMS),
        .wrong = may_be_wrong && world_chance(300),
        .initial = world_chance(700)};
    (void)snprintf(l->user, sizeof l->user, "%s%u", l->wrong && world_chance(300) ? "nobody" : "user",
        (unsigned)world_below(LOGIN_USERS));
    (void)snprintf(l->nonce, sizeof l->nonce, "n%08x", (unsigned)world_below(UINT32_MAX));
    (void)snprintf(l->bare, sizeof l->bare, "n=%s,r=%s", l->user, l->nonce);
}

static const char *gs2(const struct login *l)
{
    return l->mechanism == LOGIN_SCRAM_PLUS ? "p=tls-exporter,," : "n,,";
}

static const char *plain(struct login *l, const char *before)
{
    char text[120];
    const char *password = login_password(bytes_of(l->user));
    int size = snprintf(
        text, sizeof text, "%c%s%c%s%s", 0, l->user, 0, password == NULL ? "x" : password, l->wrong ? "y" : "");

    return encoded(l, before, (struct bytes){(const uint8_t *)text, (size_t)size});
}

static const char *scram_first(struct login *l, const char *before)
{
    char text[120];

    (void)snprintf(text, sizeof text, "%s%s", gs2(l), l->bare);
    return encoded(l, before, bytes_of(text));
}

const char *login_first(struct login *l)
{
    static const char *const names[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"};
    char before[40];

    (void)snprintf(before, sizeof before, "%s%s", names[l->mechanism], l->initial ? " " : "");
    l->step = l->initial;
    if (!l->initial)
        (void)snprintf(l->text, sizeof l->text, "%s", before);
    else if (l->mechanism == LOGIN_PLAIN)
        return plain(l, before);
    else if (l->mechanism == LOGIN_LOGIN)
        return encoded(l, before, bytes_of(l->user));
    else
        return scram_first(l, before);
    return l->text;
}

/* c=, with the binding behind the gs2 header. */
static void binding_put(const struct login *l, struct heap_buf *out)
{
    uint8_t text[100], room[200];
    struct buf b = BUF(text), coded = BUF(room);
    bool plus = l->mechanism == LOGIN_SCRAM_PLUS;
    struct result r = buf_put_str(&b, gs2(l));

    if (is_ok(r) && plus)
        r = buf_put_str(&b, l->wrong ? "what another session has exported" : LOGIN_BINDING);
    if (is_ok(r))
        r = base64_encode(buf_bytes(&b), &coded);
    ASSERT(is_ok(r));
    heap_buf_put_text(out, "c=%.*s", (int)coded.size, (const char *)room);
}

/* RFC 5802 section 3: the proof over all that was said. */
static const char *scram_final(struct login *l, struct bytes first)
{
    struct heap_buf final = {0}, said = {0};
    uint8_t client[DIGEST_SIZE], stored[DIGEST_SIZE], signature[DIGEST_SIZE], room[80];
    struct buf proof = BUF(room);
    ptrdiff_t comma = bytes_index(first, ',');
    int n = user_number(bytes_of(l->user));

    if (!bytes_starts(first, BYTES("r=")) || comma < 0 || bytes_find(first, bytes_of(l->nonce)) != 2)
        world_wrong("SCRAM begins with %.*s", BYTES_ARG(first));
    binding_put(l, &final);
    heap_buf_put_text(&final, ",%.*s", (int)(comma < 0 ? 0 : comma), (const char *)first.data);
    heap_buf_put_text(&said, "%s,%.*s,%.*s", l->bare, BYTES_ARG(first), (int) final.size, (const char *) final.data);
    hmac(salted(n < 0 ? 0 : n), "Client Key", client);
    digest_sha256((struct bytes){client, sizeof client}, stored);
    digest_hmac((struct bytes){stored, sizeof stored}, heap_buf_bytes(&said), signature);
    for (size_t i = 0; i < sizeof client; i++)
        client[i] ^= signature[i];
    if (l->wrong && l->mechanism == LOGIN_SCRAM)
        client[DIGEST_SIZE - 1] ^= 1;
    hmac(salted(n < 0 ? 0 : n), "Server Key", stored);
    digest_hmac((struct bytes){stored, sizeof stored}, heap_buf_bytes(&said), l->proof_of_server);
    struct result r = base64_encode((struct bytes){client, sizeof client}, &proof);
    ASSERT(is_ok(r));
    heap_buf_put_text(&final, ",p=%.*s", (int)proof.size, (const char *)room);
    const char *line = encoded(l, "", heap_buf_bytes(&final));
    heap_buf_free(&final);
    heap_buf_free(&said);
    return line;
}

static const char *scram_end(struct login *l, struct bytes last)
{
    uint8_t room[80];
    struct buf proof = BUF(room);
    struct result r = base64_encode((struct bytes){l->proof_of_server, DIGEST_SIZE}, &proof);

    ASSERT(is_ok(r));
    if (!bytes_starts(last, BYTES("v=")) || !bytes_equal(bytes_after(last, 2), buf_bytes(&proof)))
        world_wrong("SCRAM: the server does not prove itself: %.*s", BYTES_ARG(last));
    if (l->wrong)
        world_wrong("SCRAM: a wrong proof of %s is taken", l->user);
    l->text[0] = 0;
    return l->text;
}

const char *login_next(struct login *l, struct bytes challenge)
{
    uint8_t room[400];
    struct buf decoded = BUF(room);
    const char *password = login_password(bytes_of(l->user));
    char text[100];

    if (challenge.size > 0 && !is_ok(base64_decode(challenge, &decoded)))
        world_wrong("a challenge that is not base64: %.*s", BYTES_ARG(challenge));
    l->step++;
    if (l->mechanism == LOGIN_PLAIN)
        return plain(l, "");
    if (l->mechanism == LOGIN_LOGIN && l->step == 1)
        return encoded(l, "", bytes_of(l->user));
    if (l->mechanism == LOGIN_LOGIN) {
        (void)snprintf(text, sizeof text, "%s%s", password == NULL ? "x" : password, l->wrong ? "y" : "");
        return encoded(l, "", bytes_of(text));
    }
    return l->step == 1   ? scram_first(l, "")
           : l->step == 2 ? scram_final(l, buf_bytes(&decoded))
                          : scram_end(l, buf_bytes(&decoded));
}
