/* Design: `message` gathers the AuthMessage of RFC 5802 section 3 as it comes:
 *     client-first-message-bare , server-first-message , client-final-message-without-proof
 * `binding` is what the client must repeat in "c=": its gs2 header and, with -PLUS, the channel's binding data. */
#include "smtp/scram.h"

#include "smtp/base64.h"

enum { BASE64_DIGEST_SIZE = 44 };

static void client_key_of(struct bytes salted, uint8_t out[DIGEST_SIZE])
{
    digest_hmac(salted, BYTES("Client Key"), out);
}

void scram_keys_make(struct bytes password, struct bytes salt, uint32_t iterations, struct scram_keys *keys_out)
{
    uint8_t salted[DIGEST_SIZE], client_key[DIGEST_SIZE];

    ASSERT(salt.size > 0 && salt.size <= SCRAM_SALT_SIZE_MAX);
    *keys_out = (struct scram_keys){.iterations = iterations, .salt_size = salt.size};
    memcpy(keys_out->salt, salt.data, salt.size);
    digest_stretch(password, salt, iterations, salted);
    client_key_of((struct bytes){salted, sizeof salted}, client_key);
    digest_sha256((struct bytes){client_key, sizeof client_key}, keys_out->stored_key);
    digest_hmac((struct bytes){salted, sizeof salted}, BYTES("Server Key"), keys_out->server_key);
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(client_key, sizeof client_key);
}

void scram_keys_pretend(struct bytes secret, struct bytes user, struct scram_keys *keys_out)
{
    uint8_t mixed[DIGEST_SIZE];

    *keys_out = (struct scram_keys){.iterations = SCRAM_ITERATIONS, .salt_size = SCRAM_SALT_SIZE};
    digest_hmac(secret, user, mixed);
    memcpy(keys_out->salt, mixed, SCRAM_SALT_SIZE);
    /* The hash of nothing that can be sent: finding an octet string for it is finding a preimage. */
    digest_hmac((struct bytes){mixed, sizeof mixed}, BYTES("stored"), keys_out->stored_key);
    digest_hmac((struct bytes){mixed, sizeof mixed}, BYTES("server"), keys_out->server_key);
}

RESULT
scram_keys_put(struct buf *out, const struct scram_keys *keys)
{
    TRY(buf_put_str(out, "SCRAM-SHA-256$"));
    TRY(buf_put_u64(out, keys->iterations));
    TRY(buf_put_octet(out, ':'));
    TRY(base64_encode((struct bytes){keys->salt, keys->salt_size}, out));
    TRY(buf_put_octet(out, '$'));
    TRY(base64_encode((struct bytes){keys->stored_key, DIGEST_SIZE}, out));
    TRY(buf_put_octet(out, ':'));
    return base64_encode((struct bytes){keys->server_key, DIGEST_SIZE}, out);
}

/* What stands before `mark`, which must be there; *rest is what follows it. */
static bool piece(struct bytes *rest, uint8_t mark, struct bytes *piece_out)
{
    ptrdiff_t at = bytes_index(*rest, mark);

    if (at == BYTES_NOT_FOUND)
        return false;
    *piece_out = bytes_head(*rest, (size_t)at);
    *rest = bytes_after(*rest, (size_t)at + 1);
    return true;
}

static bool exactly(struct bytes base64, uint8_t *out, size_t size)
{
    uint8_t room[BASE64_DIGEST_SIZE];
    struct buf decoded = BUF(room);

    if (size > sizeof room || !is_ok(base64_decode(base64, &decoded)) || decoded.size != size)
        return false;
    memcpy(out, room, size);
    return true;
}

RESULT
scram_keys_parse(struct bytes text, struct scram_keys *keys_out)
{
    struct bytes name, iterations, salt, stored;
    struct buf salt_room;
    uint64_t count;

    *keys_out = (struct scram_keys){0};
    if (!piece(&text, '$', &name) || !bytes_equal(name, BYTES("SCRAM-SHA-256")) || !piece(&text, ':', &iterations) ||
        !piece(&text, '$', &salt) || !piece(&text, ':', &stored))
        return FAIL(CODE_SYNTAX, "not SCRAM-SHA-256 keys");
    if (!is_ok(bytes_to_u64(iterations, SCRAM_ITERATIONS_MAX, &count)) || count < SCRAM_ITERATIONS_MIN)
        return FAIL(CODE_SYNTAX, "the count of iterations is out of bounds");
    keys_out->iterations = (uint32_t)count;
    buf_init(&salt_room, keys_out->salt, sizeof keys_out->salt);
    if (!is_ok(base64_decode(salt, &salt_room)) || salt_room.size == 0)
        return FAIL(CODE_SYNTAX, "the salt cannot be read");
    keys_out->salt_size = salt_room.size;
    if (!exactly(stored, keys_out->stored_key, DIGEST_SIZE) || !exactly(text, keys_out->server_key, DIGEST_SIZE))
        return FAIL(CODE_SYNTAX, "a key cannot be read");
    return OK;
}

void scram_server_init(struct scram_server *s, bool plus, bool plus_offered, struct bytes nonce)
{
    ASSERT(nonce.size > 0 && nonce.size <= SCRAM_NONCE_SIZE_MAX);
    s->plus = plus;
    s->offered = plus_offered;
    memcpy(s->own_nonce, nonce.data, nonce.size);
    s->own_nonce_size = nonce.size;
    s->nonce = BUF(s->nonce_room);
    s->message = BUF(s->message_room);
    s->binding = BUF(s->binding_room);
    s->user = BUF(s->user_room);
}

/* RFC 5802 5.1: ',' and '=' travel as =2C and =3D; NUL never. */
static RESULT name_unescape(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.size; i++) {
        uint8_t octet = in.data[i];

        if (octet == '=') {
            struct bytes escape = bytes_head(bytes_after(in, i), 3);

            if (bytes_equal(escape, BYTES("=2C")))
                octet = ',';
            else if (!bytes_equal(escape, BYTES("=3D")))
                return FAIL(CODE_SYNTAX, "a name with a bad escape");
            i += 2;
        } else if (octet == 0) {
            return FAIL(CODE_SYNTAX, "a name with NUL");
        }
        TRY(buf_put_octet(out, octet));
    }
    return OK;
}

/* "n,", "y," or "p=type,": what it means for this mechanism; the binding data goes behind the header later. */
static RESULT gs2_flag_read(
    const struct scram_server *s, struct bytes flag, const struct scram_bindings *bindings, struct bytes *data_out)
{
    *data_out = BYTES_NONE;
    if (bytes_equal(flag, BYTES("n")) || bytes_equal(flag, BYTES("y"))) {
        if (s->plus)
            return FAIL(CODE_SYNTAX, "SCRAM-SHA-256-PLUS without channel binding");
        if (s->offered && flag.data[0] == 'y')
            return FAIL(CODE_REFUSED, "somebody hid the channel binding that we offer");
        return OK;
    }
    if (!s->plus || !bytes_starts(flag, BYTES("p=")))
        return FAIL(CODE_SYNTAX, "a bad channel binding flag");
    flag = bytes_after(flag, 2);
    if (bytes_equal(flag, BYTES("tls-exporter")))
        *data_out = bindings->exporter;
    else if (bytes_equal(flag, BYTES("tls-server-end-point")))
        *data_out = bindings->endpoint;
    return data_out->size > 0 ? OK : FAIL(CODE_REFUSED, "a channel binding that this connection has not");
}

static bool nonce_is_printable(struct bytes nonce)
{
    for (size_t i = 0; i < nonce.size; i++)
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7e || nonce.data[i] == ',')
            return false;
    return nonce.size > 0 && nonce.size <= SCRAM_CLIENT_NONCE_SIZE_MAX;
}

RESULT
scram_server_first(
    struct scram_server *s, struct bytes in, const struct scram_bindings *bindings, struct bytes *user_out)
{
    uint8_t authzid_room[SCRAM_USER_SIZE_MAX];
    struct buf authzid = BUF(authzid_room);
    struct bytes rest = in, flag, identity, name, nonce, data;

    if (!piece(&rest, ',', &flag) || !piece(&rest, ',', &identity))
        return FAIL(CODE_SYNTAX, "a bad SCRAM header");
    TRY(gs2_flag_read(s, flag, bindings, &data));
    TRY(buf_put(&s->binding, bytes_head(in, in.size - rest.size)));
    TRY(buf_put(&s->binding, data));
    TRY(buf_put(&s->message, rest));
    TRY(buf_put_octet(&s->message, ','));
    if (!piece(&rest, ',', &name) || !bytes_starts(name, BYTES("n=")))
        return FAIL(CODE_SYNTAX, "a SCRAM message without name"); /* "m=": an extension that we must refuse */
    TRY(name_unescape(bytes_after(name, 2), &s->user));
    nonce = rest;
    if (bytes_index(rest, ',') != BYTES_NOT_FOUND)
        nonce = bytes_head(rest, (size_t)bytes_index(rest, ','));
    if (!bytes_starts(nonce, BYTES("r=")) || !nonce_is_printable(bytes_after(nonce, 2)) || s->user.size == 0)
        return FAIL(CODE_SYNTAX, "a SCRAM message without nonce or name");
    TRY(buf_put(&s->nonce, bytes_after(nonce, 2)));
    if (identity.size > 0) {
        if (!bytes_starts(identity, BYTES("a=")))
            return FAIL(CODE_SYNTAX, "a bad SCRAM header");
        TRY(name_unescape(bytes_after(identity, 2), &authzid));
        if (!bytes_equal(buf_bytes(&authzid), buf_bytes(&s->user)))
            return FAIL(CODE_REFUSED, "nobody acts for others here");
    }
    *user_out = buf_bytes(&s->user);
    return OK;
}

RESULT
scram_server_challenge(struct scram_server *s, const struct scram_keys *keys, struct buf *out)
{
    size_t before = out->size;

    s->keys = *keys;
    TRY(buf_put(&s->nonce, (struct bytes){s->own_nonce, s->own_nonce_size}));
    TRY(buf_put_str(out, "r="));
    TRY(buf_put(out, buf_bytes(&s->nonce)));
    TRY(buf_put_str(out, ",s="));
    TRY(base64_encode((struct bytes){keys->salt, keys->salt_size}, out));
    TRY(buf_put_str(out, ",i="));
    TRY(buf_put_u64(out, keys->iterations));
    TRY(buf_put(&s->message, bytes_after(buf_bytes(out), before)));
    return buf_put_octet(&s->message, ',');
}

/* ClientKey = proof XOR HMAC(StoredKey, AuthMessage), and H(ClientKey) must be StoredKey. */
static bool proof_is_good(const struct scram_server *s, const uint8_t proof[DIGEST_SIZE])
{
    uint8_t key[DIGEST_SIZE], hash[DIGEST_SIZE];

    digest_hmac((struct bytes){s->keys.stored_key, DIGEST_SIZE}, buf_bytes(&s->message), key);
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        key[i] ^= proof[i];
    digest_sha256((struct bytes){key, sizeof key}, hash);
    explicit_bzero(key, sizeof key);
    return digest_equal(hash, s->keys.stored_key);
}

RESULT
scram_server_final(struct scram_server *s, struct bytes in, struct buf *out)
{
    uint8_t room[SCRAM_MESSAGE_SIZE_MAX + SCRAM_BINDING_SIZE_MAX], proof[DIGEST_SIZE], signature[DIGEST_SIZE];
    struct buf binding = BUF(room);
    struct bytes rest = in, bound, nonce;
    ptrdiff_t last = bytes_rindex(in, ',');

    if (!piece(&rest, ',', &bound) || !piece(&rest, ',', &nonce) || !bytes_starts(bound, BYTES("c=")) ||
        !bytes_starts(nonce, BYTES("r=")) || !bytes_starts(bytes_after(in, (size_t)last + 1), BYTES("p=")) ||
        !exactly(bytes_after(in, (size_t)last + 3), proof, sizeof proof) ||
        base64_decode(bytes_after(bound, 2), &binding).code == CODE_SYNTAX)
        return FAIL(CODE_SYNTAX, "a bad SCRAM proof message");
    TRY(buf_put(&s->message, bytes_head(in, (size_t)last)));
    if (!bytes_equal(buf_bytes(&binding), buf_bytes(&s->binding)))
        return FAIL(CODE_REFUSED, "the channel binding differs");
    if (!bytes_equal(bytes_after(nonce, 2), buf_bytes(&s->nonce)))
        return FAIL(CODE_REFUSED, "the nonce is not ours");
    if (!proof_is_good(s, proof))
        return FAIL(CODE_REFUSED, "the proof is wrong");
    digest_hmac((struct bytes){s->keys.server_key, DIGEST_SIZE}, buf_bytes(&s->message), signature);
    TRY(buf_put_str(out, "v="));
    return base64_encode((struct bytes){signature, sizeof signature}, out);
}
