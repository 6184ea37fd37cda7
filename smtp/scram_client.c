#include "smtp/scram_client.h"

#include "smtp/base64.h"

enum {
    AUTH_MESSAGE_SIZE_MAX = SCRAM_MESSAGE_SIZE_MAX + 3 * SCRAM_USER_SIZE_MAX + SCRAM_JOINT_NONCE_SIZE_MAX + 64,
    SERVER_FINAL_SIZE_MAX = 44, /* of a signature in base64 */
};

void scram_client_init(struct scram_client *s, struct bytes login, struct bytes password, struct bytes nonce)
{
    ASSERT(login.size <= SCRAM_USER_SIZE_MAX && nonce.size > 0 && nonce.size <= SCRAM_NONCE_SIZE_MAX);
    s->login = login;
    s->password = password;
    s->own_nonce = nonce;
    s->proof_due = false;
    s->bare = BUF(s->bare_room);
}

/* RFC 5802 5.1: ',' and '=' in a name would end it. */
static RESULT name_escape(struct bytes name, struct buf *out)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == ',')
            TRY(buf_put_str(out, "=2C"));
        else if (name.data[i] == '=')
            TRY(buf_put_str(out, "=3D"));
        else
            TRY(buf_put_octet(out, name.data[i]));
    }
    return OK;
}

RESULT
scram_client_first(struct scram_client *s, struct buf *out)
{
    TRY(buf_put_str(&s->bare, "n="));
    TRY(name_escape(s->login, &s->bare));
    TRY(buf_put_str(&s->bare, ",r="));
    size_t at = s->bare.size;
    TRY(buf_put(&s->bare, s->own_nonce));
    s->own_nonce = bytes_after(buf_bytes(&s->bare), at);
    TRY(buf_put_str(out, "n,,"));
    return buf_put(out, buf_bytes(&s->bare));
}

/* "X=value" up to the next comma. */
static bool attribute(struct bytes *rest, const char *name, struct bytes *value_out)
{
    ptrdiff_t comma = bytes_index(*rest, ',');
    struct bytes one = comma == BYTES_NOT_FOUND ? *rest : bytes_head(*rest, (size_t)comma);

    if (!bytes_starts(one, bytes_of(name)))
        return false;
    *value_out = bytes_after(one, 2);
    *rest = bytes_after(*rest, comma == BYTES_NOT_FOUND ? rest->size : (size_t)comma + 1);
    return true;
}

static bool nonce_is_answer(const struct scram_client *s, struct bytes nonce)
{
    if (nonce.size <= s->own_nonce.size || nonce.size > SCRAM_JOINT_NONCE_SIZE_MAX ||
        !bytes_starts(nonce, s->own_nonce))
        return false;
    for (size_t i = 0; i < nonce.size; i++)
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7e)
            return false;
    return true;
}

/* RFC 5802 section 3: the proof, and what the server must answer to it. */
static void sign(struct scram_client *s, struct bytes salt, uint32_t iterations, struct bytes message,
    uint8_t proof_out[DIGEST_SIZE])
{
    uint8_t salted[DIGEST_SIZE], key[DIGEST_SIZE], stored[DIGEST_SIZE];

    digest_stretch(s->password, salt, iterations, salted);
    digest_hmac((struct bytes){salted, sizeof salted}, BYTES("Client Key"), key);
    digest_sha256((struct bytes){key, sizeof key}, stored);
    digest_hmac((struct bytes){stored, sizeof stored}, message, proof_out);
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        proof_out[i] ^= key[i];
    digest_hmac((struct bytes){salted, sizeof salted}, BYTES("Server Key"), key);
    digest_hmac((struct bytes){key, sizeof key}, message, s->server_signature);
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(key, sizeof key);
    explicit_bzero(stored, sizeof stored);
}

RESULT
scram_client_final(struct scram_client *s, struct bytes in, struct buf *out)
{
    uint8_t message_room[AUTH_MESSAGE_SIZE_MAX], salt_room[SCRAM_SERVER_SALT_SIZE_MAX], proof[DIGEST_SIZE];
    struct buf message = BUF(message_room), salt = BUF(salt_room);
    struct bytes rest = in, nonce, salt_text, count_text;
    size_t before = out->size;
    uint64_t iterations;

    /* "m=" in front would be an extension that we must understand and do not. */
    if (!attribute(&rest, "r=", &nonce) || !attribute(&rest, "s=", &salt_text) ||
        !attribute(&rest, "i=", &count_text) || !is_ok(base64_decode(salt_text, &salt)) || salt.size == 0 ||
        !is_ok(bytes_to_u64(count_text, UINT64_MAX, &iterations)))
        return FAIL(CODE_SYNTAX, "the host's SCRAM challenge cannot be read");
    if (!nonce_is_answer(s, nonce))
        return FAIL(CODE_REFUSED, "the host's SCRAM challenge is not an answer to ours");
    if (iterations < SCRAM_ITERATIONS_MIN) /* RFC 7677 section 4: a weak one would give the password away */
        return FAIL(CODE_REFUSED, "the host's SCRAM challenge asks for too few iterations");
    if (iterations > SCRAM_SERVER_ITERATIONS_MAX)
        return FAIL(CODE_REFUSED, "the host's SCRAM challenge asks for too many iterations");
    TRY(buf_put_str(out, "c=biws,r=")); /* "n,," */
    TRY(buf_put(out, nonce));
    TRY(buf_put(&message, buf_bytes(&s->bare)));
    TRY(buf_put_octet(&message, ','));
    TRY(buf_put(&message, in));
    TRY(buf_put_octet(&message, ','));
    TRY(buf_put(&message, bytes_after(buf_bytes(out), before)));
    sign(s, buf_bytes(&salt), (uint32_t)iterations, buf_bytes(&message), proof);
    s->proof_due = true;
    TRY(buf_put_str(out, ",p="));
    return base64_encode((struct bytes){proof, sizeof proof}, out);
}

RESULT
scram_client_verify(struct scram_client *s, struct bytes in)
{
    uint8_t room[SERVER_FINAL_SIZE_MAX];
    struct buf signature = BUF(room);
    struct bytes rest = in, value;

    if (!s->proof_due)
        return FAIL(CODE_REFUSED, "the host's SCRAM proof came too early");
    s->proof_due = false;
    if (!attribute(&rest, "v=", &value) || !is_ok(base64_decode(value, &signature)) || signature.size != DIGEST_SIZE)
        return FAIL(CODE_REFUSED, "the host refused the SCRAM proof"); /* "e=": why is in the reply that follows */
    if (!digest_equal(signature.data, s->server_signature))
        return FAIL(CODE_REFUSED, "the host does not know the password: its SCRAM proof is wrong");
    return OK;
}
