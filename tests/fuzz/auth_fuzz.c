/* auth: what a client says in a SASL exchange, and what stands in a users file. The first octet chooses; responses are separated
 * by a line of "--". Whatever comes is answered; nobody is let in without a password that was asked for. What a Dovecot says, line by line,
 * is an answer only after a whole greeting. */
#include "daemon/auth/dovecot.h"
#include "daemon/auth/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void file_read(struct bytes in)
{
    static uint8_t room[2 * 65536];
    struct buf out = BUF(room);
    struct bytes text = in, line;
    struct account account, found;
    bool was_there;

    while (account_line(&text, &line)) {
        if (!is_ok(account_parse(line, &account)))
            continue;
        ASSERT(account_name_is_valid(account.name) && account.hash.size < ACCOUNT_HASH_SIZE_MAX);
        ASSERT(is_ok(account_find(in, account.name, &found)) && bytes_equal(found.name, account.name));
        struct scram_keys keys;
        if (!is_ok(scram_keys_parse(account.scram, &keys)))
            continue;
        ASSERT(keys.salt_size > 0 && keys.salt_size <= SCRAM_SALT_SIZE_MAX);
    }
    if (in.size <= 65536 && is_ok(accounts_edit(in, BYTES("x"), BYTES("x:!\n"), &out, &was_there)))
        ASSERT(is_ok(account_find(buf_bytes(&out), BYTES("x"), &found)) && bytes_equal(found.hash, BYTES("!")));
}

static void dovecot_says(struct bytes in)
{
    struct dovecot d = {.ready = false};
    struct dovecot_answer answer;
    struct bytes line;

    while (account_line(&in, &line)) {
        struct result r = dovecot_read(&d, line, &answer);
        ASSERT(!is_ok(r) || (d.version && d.plain && d.ready && answer.number > 0));
        if (is_ok(r))
            ASSERT((unsigned)answer.verdict < PASSWORD_VERDICT_COUNT &&
                   bytes_index(buf_bytes(&answer.name), 0) == BYTES_NOT_FOUND);
        if (r.code == CODE_REFUSED)
            return;
    }
}

static void talk(enum exchange_mechanism mechanism, bool plus_offered, struct bytes in)
{
    static struct exchange x;
    struct scram_bindings bindings = {.exporter = BYTES("exporter"), .endpoint = BYTES("end point")};
    struct scram_keys keys;
    bool asked = false;

    struct result r = exchange_init(&x, bytes_of(exchange_mechanism_name(mechanism)), plus_offered, BYTES("nonce"));
    ASSERT(is_ok(r));
    for (unsigned turn = 0; turn < 8; turn++) {
        ptrdiff_t end = bytes_find(in, BYTES("\n--\n"));
        struct bytes response = end == BYTES_NOT_FOUND ? in : bytes_head(in, (size_t)end);
        enum exchange_step step = exchange_feed(&x, response, in.size > 0, &bindings);

        in = bytes_after(in, response.size + 4);
        if (step == EXCHANGE_KEYS) {
            scram_keys_pretend(BYTES("secret"), buf_bytes(&x.name), &keys);
            step = exchange_keys(&x, &keys);
        }
        ASSERT(x.name.size <= ACCOUNT_NAME_SIZE_MAX && exchange_text(&x).size <= SCRAM_CHALLENGE_SIZE_MAX);
        if (step == EXCHANGE_PASSWORD) {
            asked = true;
            ASSERT(x.name.size > 0 && x.password.size > 0 && x.name.data[x.name.size] == 0);
            ASSERT(bytes_index(buf_bytes(&x.name), 0) == BYTES_NOT_FOUND);
        }
        ASSERT(step != EXCHANGE_GOOD); /* keys that no password fits */
        if (step != EXCHANGE_CHALLENGE)
            break;
    }
    ASSERT(!asked || mechanism == EXCHANGE_PLAIN || mechanism == EXCHANGE_LOGIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes in = {data + 1, size - 1};
    if (data[0] % 8 == 7)
        file_read(in);
    else if (data[0] % 8 == 6)
        dovecot_says(in);
    else
        talk((enum exchange_mechanism)(data[0] % EXCHANGE_MECHANISM_COUNT), (data[0] & 16) != 0, in);
    return 0;
}
