/* scram: the vector of RFC 7677 section 3, a client of this file's own for channel binding, and messages that are wrong
 * in one place each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/base64.h"
#include "smtp/scram.h"

static const char FIRST[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char CHALLENGE[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char FINAL[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char PROOF[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
static const struct bytes NONCE = BYTES_INIT("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
static const struct scram_bindings UNBOUND;

static struct scram_server server;
static uint8_t out_room[SCRAM_CHALLENGE_SIZE_MAX];
static struct buf out;

static struct scram_keys pencil(void)
{
    uint8_t room[SCRAM_SALT_SIZE_MAX];
    struct buf salt = BUF(room);
    struct scram_keys keys;

    assert_true(is_ok(base64_decode(BYTES("W22ZaJ0SNY7soEsUEjb6gQ=="), &salt)));
    scram_keys_make(BYTES("pencil"), buf_bytes(&salt), 4096, &keys);
    return keys;
}

static struct result first(const char *text, bool plus, bool offered, const struct scram_bindings *bindings)
{
    struct bytes user;

    scram_server_init(&server, plus, offered, NONCE);
    return scram_server_first(&server, bytes_of(text), bindings, &user);
}

static struct result run(const char *first_text, const char *final_text)
{
    struct scram_keys keys = pencil();
    struct result r = first(first_text, false, false, &UNBOUND);

    out = BUF(out_room);
    if (!is_ok(r))
        return r;
    assert_true(is_ok(scram_server_challenge(&server, &keys, &out)));
    buf_reset(&out);
    return scram_server_final(&server, bytes_of(final_text), &out);
}

static void the_vector_of_rfc_7677(void **state)
{
    struct scram_keys keys = pencil();
    struct bytes user;

    (void)state;
    scram_server_init(&server, false, false, NONCE);
    assert_true(is_ok(scram_server_first(&server, bytes_of(FIRST), &UNBOUND, &user)));
    assert_true(bytes_equal(user, BYTES("user")));
    out = BUF(out_room);
    assert_true(is_ok(scram_server_challenge(&server, &keys, &out)));
    assert_true(bytes_equal(buf_bytes(&out), bytes_of(CHALLENGE)));
    buf_reset(&out);
    assert_true(is_ok(scram_server_final(&server, bytes_of(FINAL), &out)));
    assert_true(bytes_equal(buf_bytes(&out), bytes_of(PROOF)));
}

static void wrong_messages(void **state)
{
    static const struct {
        const char *name, *first, *final;
        enum code code;
    } rows[] = {
        {"wrong proof", FIRST,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVU=",
            CODE_REFUSED},
        {"wrong nonce", FIRST,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k1,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            CODE_REFUSED},
        {"client's nonce alone", FIRST,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", CODE_REFUSED},
        {"another header", FIRST,
            "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            CODE_REFUSED},
        {"short proof", FIRST, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzb", CODE_SYNTAX},
        {"no proof", FIRST, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", CODE_SYNTAX},
        {"binding not base64", FIRST, "c=*,r=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", CODE_SYNTAX},
        {"empty final", FIRST, "", CODE_SYNTAX},
        {"empty first", "", FINAL, CODE_SYNTAX},
        {"no name", "n,,r=abc", FINAL, CODE_SYNTAX},
        {"empty name", "n,,n=,r=abc", FINAL, CODE_SYNTAX},
        {"no nonce", "n,,n=user,", FINAL, CODE_SYNTAX},
        {"empty nonce", "n,,n=user,r=", FINAL, CODE_SYNTAX},
        {"nonce with a blank", "n,,n=user,r=a b", FINAL, CODE_SYNTAX},
        {"bad escape", "n,,n=us=2der,r=abc", FINAL, CODE_SYNTAX},
        {"escape cut", "n,,n=us=2,r=abc", FINAL, CODE_SYNTAX},
        {"mandatory extension", "n,,m=x,n=user,r=abc", FINAL, CODE_SYNTAX},
        {"bound without -PLUS", "p=tls-exporter,,n=user,r=abc", FINAL, CODE_SYNTAX},
        {"flag unknown", "q,,n=user,r=abc", FINAL, CODE_SYNTAX},
        {"for another", "n,a=root,n=user,r=abc", FINAL, CODE_REFUSED},
        {"bad identity", "n,root,n=user,r=abc", FINAL, CODE_SYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum code code = run(rows[i].first, rows[i].final).code;

        if (code != rows[i].code)
            fail_msg("%s: code %d", rows[i].name, code);
    }
    assert_int_equal(run("y,a=user,n=user,r=abc", "c=x,r=y,p=z").code, CODE_SYNTAX); /* a sound first message */
}

static void names_are_unescaped(void **state)
{
    struct bytes user;

    (void)state;
    scram_server_init(&server, false, false, NONCE);
    assert_true(is_ok(scram_server_first(&server, BYTES("n,,n=a=2Cb=3Dc,r=abc"), &UNBOUND, &user)));
    assert_true(bytes_equal(user, BYTES("a,b=c")));
}

/* The client's last message for a binding, computed here. */
static void final_put(struct buf *text, const char *header, struct bytes data, const char *first_bare)
{
    uint8_t salted[DIGEST_SIZE], client[DIGEST_SIZE], stored[DIGEST_SIZE], signature[DIGEST_SIZE];
    uint8_t bound_room[256], message_room[1024];
    struct buf bound = BUF(bound_room), message = BUF(message_room);
    struct scram_keys keys = pencil();
    struct bytes all;

    assert_true(is_ok(buf_put_str(&bound, header)) && is_ok(buf_put(&bound, data)));
    assert_true(is_ok(buf_put_str(text, "c=")) && is_ok(base64_encode(buf_bytes(&bound), text)));
    assert_true(is_ok(buf_put_str(text, ",r=abc")) && is_ok(buf_put(text, NONCE)));
    assert_true(is_ok(buf_put_str(&message, first_bare)) && is_ok(buf_put_str(&message, ",r=abc")) &&
                is_ok(buf_put(&message, NONCE)) &&
                is_ok(buf_put_str(&message, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,")) &&
                is_ok(buf_put(&message, buf_bytes(text))));
    digest_stretch(BYTES("pencil"), (struct bytes){keys.salt, keys.salt_size}, 4096, salted);
    digest_hmac((struct bytes){salted, sizeof salted}, BYTES("Client Key"), client);
    digest_sha256((struct bytes){client, sizeof client}, stored);
    all = buf_bytes(&message);
    digest_hmac((struct bytes){stored, sizeof stored}, all, signature);
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        client[i] ^= signature[i];
    assert_true(is_ok(buf_put_str(text, ",p=")) && is_ok(base64_encode((struct bytes){client, sizeof client}, text)));
}

static struct result bound_run(const char *header, struct bytes client_data, const struct scram_bindings *ours)
{
    uint8_t room[1024];
    struct buf text = BUF(room);
    struct scram_keys keys = pencil();
    char first_text[128];
    struct result r;

    snprintf(first_text, sizeof first_text, "%sn=user,r=abc", header);
    r = first(first_text, true, true, ours);
    if (!is_ok(r))
        return r;
    out = BUF(out_room);
    assert_true(is_ok(scram_server_challenge(&server, &keys, &out)));
    buf_reset(&out);
    final_put(&text, header, client_data, "n=user,r=abc");
    return scram_server_final(&server, buf_bytes(&text), &out);
}

static void channel_binding(void **state)
{
    struct scram_bindings ours = {.exporter = BYTES("exporter of this session"), .endpoint = BYTES("our certificate")};
    struct scram_bindings old = {.endpoint = BYTES("our certificate")};

    (void)state;
    assert_int_equal(bound_run("p=tls-exporter,,", ours.exporter, &ours).code, CODE_OK);
    assert_int_equal(bound_run("p=tls-server-end-point,,", ours.endpoint, &ours).code, CODE_OK);
    assert_int_equal(bound_run("p=tls-exporter,,", BYTES("of another session"), &ours).code, CODE_REFUSED);
    assert_int_equal(bound_run("p=tls-server-end-point,,", ours.exporter, &ours).code, CODE_REFUSED);
    assert_int_equal(bound_run("p=tls-exporter,,", BYTES(""), &old).code, CODE_REFUSED);
    assert_int_equal(bound_run("p=tls-unique,,", BYTES(""), &ours).code, CODE_REFUSED);
    assert_int_equal(bound_run("n,,", BYTES(""), &ours).code, CODE_SYNTAX);
    /* "y": the client can bind and believes that we cannot. We offered it, so somebody cut it out. */
    assert_int_equal(first("y,,n=user,r=abc", false, true, &ours).code, CODE_REFUSED);
    assert_int_equal(first("y,,n=user,r=abc", false, false, &ours).code, CODE_OK);
}

static void keys_travel_as_text(void **state)
{
    uint8_t room[SCRAM_KEYS_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    struct scram_keys keys = pencil(), back;

    (void)state;
    assert_true(is_ok(scram_keys_put(&text, &keys)));
    assert_true(is_ok(scram_keys_parse(buf_bytes(&text), &back)));
    assert_memory_equal(&keys, &back, sizeof keys);
    for (size_t cut = 0; cut < text.size; cut++)
        assert_int_equal(scram_keys_parse(bytes_head(buf_bytes(&text), cut), &back).code, CODE_SYNTAX);
    assert_int_equal(scram_keys_parse(BYTES("SCRAM-SHA-256$1:W22Z$a:b"), &back).code, CODE_SYNTAX);
}

static void strangers_have_steady_keys(void **state)
{
    struct scram_keys a, b, c;

    (void)state;
    scram_keys_pretend(BYTES("secret"), BYTES("nobody"), &a);
    scram_keys_pretend(BYTES("secret"), BYTES("nobody"), &b);
    scram_keys_pretend(BYTES("secret"), BYTES("none"), &c);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(a.salt, c.salt, SCRAM_SALT_SIZE);
    assert_int_equal(a.iterations, SCRAM_ITERATIONS);
}

/* Cut, longer and changed at each octet: an answer, never more (the memory is checked by the sanitizers). */
static void every_cut_and_change(void **state)
{
    char text[sizeof FINAL];

    (void)state;
    for (size_t i = 0; i < sizeof FINAL - 1; i++) {
        memcpy(text, FINAL, sizeof FINAL);
        text[i] = 0;
        assert_int_not_equal(run(FIRST, text).code, CODE_OK);
        text[i] = (char)(FINAL[i] ^ 2);
        assert_int_not_equal(run(FIRST, text).code, CODE_OK);
    }
    for (size_t i = 0; i < sizeof FIRST - 1; i++) {
        memcpy(text, FIRST, sizeof FIRST);
        text[i] = 0;
        assert_int_not_equal(run(text, FINAL).code, CODE_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_rfc_7677),
        cmocka_unit_test(wrong_messages),
        cmocka_unit_test(names_are_unescaped),
        cmocka_unit_test(channel_binding),
        cmocka_unit_test(keys_travel_as_text),
        cmocka_unit_test(strangers_have_steady_keys),
        cmocka_unit_test(every_cut_and_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
