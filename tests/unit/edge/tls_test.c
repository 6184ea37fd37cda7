/* tls: two engines talk to each other through memory; every handshake is also fed one octet at a time. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_text_both_ways),
        cmocka_unit_test(names_a_wrong_pair),
        cmocka_unit_test(asks_by_name),
        cmocka_unit_test(lets_a_policy_refuse),
        cmocka_unit_test(survives_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
