/* tls: two engines talk to each other through memory; every handshake is also fed one octet at a time. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "daemon/edge/tls.h"
#include "tests/unit/edge/tls_pair.h"

static struct tls_context *server_context(void)
{
    struct tls_context *ctx = NULL;

    assert_true(is_ok(tls_context_server(bytes_of(TLS_PAIR_CERTIFICATE), bytes_of(TLS_PAIR_KEY), &ctx)));
    return ctx;
}

/* Moves what `from` has to say into `to`, `step` octets at a time, running `to`'s handshake after each. */
static void carry(struct tls *from, struct tls *to, size_t step)
{
    while (tls_output(from).size > 0) {
        struct bytes piece = bytes_head(tls_output(from), step);
        struct result r;

        assert_true(is_ok(tls_input(to, piece)));
        r = tls_handshake(to);
        assert_true(is_ok(r) || r.code == CODE_MORE);
        assert_true(is_ok(tls_input_keep(to)));
        tls_output_drop(from, piece.size);
    }
}

static void shake_hands(struct tls *client, struct tls *server, size_t step)
{
    assert_int_equal(tls_handshake(client).code, CODE_MORE);
    for (int turn = 0; turn < 4; turn++) {
        carry(client, server, step);
        carry(server, client, step);
    }
    assert_true(is_ok(tls_handshake(client)));
    assert_true(is_ok(tls_handshake(server)));
}

static void open_pair(struct tls_context **ctx_out, struct tls **client_out, struct tls **server_out, size_t step)
{
    assert_true(is_ok(tls_context_client(&ctx_out[0])));
    ctx_out[1] = server_context();
    assert_true(is_ok(tls_connect(ctx_out[0], BYTES("mail.example.org"), client_out)));
    assert_true(is_ok(tls_accept(ctx_out[1], server_out)));
    shake_hands(*client_out, *server_out, step);
}

static void close_pair(struct tls_context **ctx, struct tls **client, struct tls **server)
{
    tls_free(client);
    tls_free(server);
    tls_context_free(&ctx[0]);
    tls_context_free(&ctx[1]);
}

static void carries_text_both_ways(void **state)
{
    static const size_t STEPS[] = {1, 7, 100000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(STEPS); i++) {
        struct tls_context *ctx[2];
        struct tls *client, *server;
        uint8_t room[64];
        size_t size;

        open_pair(ctx, &client, &server, STEPS[i]);
        assert_true(bytes_equal(tls_version(server), BYTES("TLSv1.3")));
        assert_true(tls_cipher(client).size > 0);
        assert_true(is_ok(tls_write(client, BYTES("EHLO client"))));
        assert_true(is_ok(tls_input(server, tls_output(client))));
        assert_true(is_ok(tls_read(server, room, sizeof room, &size)));
        assert_memory_equal(room, "EHLO client", size);
        tls_output_drop(client, tls_output(client).size);
        assert_int_equal(tls_read(server, room, sizeof room, &size).code, CODE_MORE);
        tls_shutdown(server);
        assert_true(is_ok(tls_input(client, tls_output(server))));
        assert_int_equal(tls_read(client, room, sizeof room, &size).code, CODE_GONE);
        close_pair(ctx, &client, &server);
    }
}

static void names_a_wrong_pair(void **state)
{
    struct tls_context *ctx = NULL;
    struct result r;

    (void)state;
    r = tls_context_server(bytes_of(TLS_PAIR_CERTIFICATE), bytes_of(TLS_PAIR_OTHER_KEY), &ctx);
    assert_int_equal(r.code, CODE_SYNTAX);
    assert_non_null(strstr(r.why, "belong"));
    assert_int_equal(tls_context_server(BYTES("nonsense"), bytes_of(TLS_PAIR_KEY), &ctx).code, CODE_SYNTAX);
    assert_int_equal(tls_context_server(bytes_of(TLS_PAIR_CERTIFICATE), BYTES("nonsense"), &ctx).code, CODE_SYNTAX);
    assert_int_equal(tls_context_server(BYTES_NONE, BYTES_NONE, &ctx).code, CODE_SYNTAX);
    assert_null(ctx);
}

static struct bytes name_asked;
static uint8_t name_room[TLS_NAME_SIZE_MAX];

static struct tls_context *choose(void *owner, struct bytes name)
{
    memcpy(name_room, name.data, name.size);
    name_asked = (struct bytes){name_room, name.size};
    return owner;
}

static void asks_by_name(void **state)
{
    struct tls_context *ctx[2];
    struct tls *client, *server;

    (void)state;
    assert_true(is_ok(tls_context_client(&ctx[0])));
    ctx[1] = server_context();
    tls_context_chooser(ctx[1], choose, NULL);
    assert_true(is_ok(tls_connect(ctx[0], BYTES("mx.example.net"), &client)));
    assert_true(is_ok(tls_accept(ctx[1], &server)));
    shake_hands(client, server, 1000);
    assert_true(bytes_equal(name_asked, BYTES("mx.example.net")));
    close_pair(ctx, &client, &server);
}

static bool verdict_wanted;
static int verdict_seen;

static bool verify(void *owner, struct tls *tls, int verdict)
{
    (void)owner;
    (void)tls;
    verdict_seen = verdict;
    return verdict_wanted;
}

static void lets_a_policy_refuse(void **state)
{
    struct tls_context *ctx[2];
    struct tls *client, *server;
    struct result r;

    (void)state;
    assert_true(is_ok(tls_context_client(&ctx[0])));
    ctx[1] = server_context();
    tls_context_verifier(ctx[0], verify, NULL);
    verdict_wanted = false;
    assert_true(is_ok(tls_connect(ctx[0], BYTES_NONE, &client)));
    assert_true(is_ok(tls_accept(ctx[1], &server)));
    assert_int_equal(tls_handshake(client).code, CODE_MORE);
    carry(client, server, 100000);
    assert_true(is_ok(tls_input(client, tls_output(server))));
    r = tls_handshake(client);
    assert_int_equal(r.code, CODE_IO);
    assert_int_not_equal(verdict_seen, 0); /* self-signed */
    close_pair(ctx, &client, &server);
}

static void survives_garbage(void **state)
{
    struct tls_context *ctx = server_context();
    struct tls *server;

    (void)state;
    assert_true(is_ok(tls_accept(ctx, &server)));
    assert_true(is_ok(tls_input(server, BYTES("EHLO this.is.not.tls\r\nMAIL FROM:<>\r\n"))));
    assert_int_equal(tls_handshake(server).code, CODE_IO);
    tls_shutdown(server);
    tls_free(&server);
    tls_context_free(&ctx);
}

/* What our client says of a server with the pair of tls_pair.h, after `prepare`. */
static struct result judged(void (*prepare)(struct tls *client))
{
    struct tls_context *ctx[2];
    struct tls *client, *server;
    struct result r = {CODE_MORE, 0, NULL};
    char path[] = "/tmp/mansio-roots-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, TLS_PAIR_CERTIFICATE, sizeof TLS_PAIR_CERTIFICATE - 1), sizeof TLS_PAIR_CERTIFICATE - 1);
    close(fd);
    assert_true(is_ok(tls_context_client(&ctx[0])));
    assert_true(is_ok(tls_context_roots(ctx[0], path)));
    unlink(path);
    assert_int_equal(tls_context_roots(ctx[0], path).code, CODE_IO);
    ctx[1] = server_context();
    assert_true(is_ok(tls_connect(ctx[0], BYTES("mail.example.org"), &client)));
    assert_true(is_ok(tls_accept(ctx[1], &server)));
    prepare(client);
    for (int turn = 0; turn < 4 && r.code == CODE_MORE; turn++) {
        r = tls_handshake(client);
        if (r.code != CODE_MORE)
            break;
        assert_true(is_ok(tls_input(server, tls_output(client))));
        struct result theirs = tls_handshake(server);
        assert_true(is_ok(theirs) || theirs.code == CODE_MORE);
        assert_true(is_ok(tls_input_keep(server)));
        tls_output_drop(client, tls_output(client).size);
        assert_true(is_ok(tls_input(client, tls_output(server))));
        r = tls_handshake(client);
        assert_true(is_ok(tls_input_keep(client)));
        tls_output_drop(server, tls_output(server).size);
    }
    close_pair(ctx, &client, &server);
    return r;
}

static void nothing_asked(struct tls *client)
{
    (void)client;
}
static void right_name(struct tls *client)
{
    assert_true(is_ok(tls_expect_name(client, BYTES("mail.example.org"), false)));
}
static void wrong_name(struct tls *client)
{
    assert_true(is_ok(tls_expect_name(client, BYTES("mail.example.net"), false)));
}
static void domain_of_name(struct tls *client)
{
    assert_true(is_ok(tls_expect_name(client, BYTES("example.org"), true)));
}
static void domain_alone(struct tls *client)
{
    assert_true(is_ok(tls_expect_name(client, BYTES("example.org"), false)));
}
static void another_domain(struct tls *client)
{
    assert_true(is_ok(tls_expect_name(client, BYTES("ample.org"), true)));
}

/* SHA-256 of the whole certificate, as a TLSA record has it. */
static struct bytes digest_of_pair(uint8_t room[EVP_MAX_MD_SIZE])
{
    BIO *bio = BIO_new_mem_buf(TLS_PAIR_CERTIFICATE, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    unsigned size = 0;

    assert_int_equal(X509_digest(certificate, EVP_sha256(), room, &size), 1);
    X509_free(certificate);
    BIO_free(bio);
    return (struct bytes){room, size};
}

static void record(struct tls *client, uint8_t usage, uint8_t matching, bool spoilt, bool usable)
{
    uint8_t room[EVP_MAX_MD_SIZE];
    struct bytes digest = digest_of_pair(room);

    room[5] ^= spoilt;
    assert_int_equal(tls_dane_add(client, usage, 0, matching, digest), usable);
}

static void dane(struct tls *client, const char *base, uint8_t usage, uint8_t matching, bool spoilt, bool usable)
{
    assert_true(is_ok(tls_expect_dane(client, bytes_of(base), BYTES("example.org"))));
    record(client, usage, matching, spoilt, usable);
}

static void dane_ee(struct tls *client)
{
    dane(client, "another.name.example", 3, 1, false, true); /* the key alone counts */
}
static void dane_ee_wrong(struct tls *client)
{
    dane(client, "mail.example.org", 3, 1, true, true);
}
static void dane_ta(struct tls *client)
{
    dane(client, "mail.example.org", 2, 1, false, true); /* an issuer is meant, not the host itself */
}
static void dane_rollover(struct tls *client)
{
    dane(client, "mail.example.org", 3, 1, true, true);
    record(client, 3, 1, false, true);
}
static void dane_unusable(struct tls *client)
{
    dane(client, "mail.example.org", 1, 1, true, false);
    record(client, 3, 9, true, false);
    assert_false(tls_dane_add(client, 3, 0, 1, BYTES("short")));
}

static void judges_the_peer(void **state)
{
    static const struct {
        const char *name;
        void (*prepare)(struct tls *client);
        bool good;
    } rows[] = {
        {"nothing asked", nothing_asked, true},
        {"right name", right_name, true},
        {"wrong name", wrong_name, false},
        {"a name in the domain", domain_of_name, true},
        {"the domain itself", domain_alone, false},
        {"half of the domain", another_domain, false},
        {"DANE-EE", dane_ee, true},
        {"DANE-EE, another key", dane_ee_wrong, false},
        {"DANE-TA, but of the host's own certificate", dane_ta, false},
        {"rollover: one of two", dane_rollover, true},
        {"none that can be used", dane_unusable, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct result r = judged(rows[i].prepare);
        if (is_ok(r) != rows[i].good || (!rows[i].good && r.code != CODE_IO))
            fail_msg("%s: %s", rows[i].name, r.why != NULL ? r.why : "taken");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_text_both_ways),
        cmocka_unit_test(names_a_wrong_pair),
        cmocka_unit_test(asks_by_name),
        cmocka_unit_test(lets_a_policy_refuse),
        cmocka_unit_test(survives_garbage),
        cmocka_unit_test(judges_the_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
