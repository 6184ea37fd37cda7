/* Our client session against our server session, octets carried in random portions: what the client sends is what the server
 * stores, and what the server decides is what the client reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/client.h"
#include "smtp/server.h"

enum { PIPE_SIZE = 1 << 20, BODY_SIZE_MAX = 100000, RCPT_COUNT = 20, MESSAGES = 3 };

struct pipe {
    uint8_t data[PIPE_SIZE];
    size_t begin, end; /* of what is on its way */
};

static struct pipe to_server, to_client;
static struct smtp_client client;
static struct smtp_server server;
static struct rng rng;
static struct instant now = {1};
static uint8_t body[BODY_SIZE_MAX + 4], stored[2 * BODY_SIZE_MAX + 4096];
static size_t body_size, stored_size, rcpts_seen;
static enum smtp_rcpt_outcome decided[RCPT_COUNT]; /* by the server */
static bool commit_yes, job_done, server_closed, client_closed;
static unsigned results[RCPT_COUNT];
static struct smtp_job job;

static void put(struct pipe *p, struct bytes in)
{
    if (p->begin == p->end)
        p->begin = p->end = 0;
    assert_true(p->end + in.size <= PIPE_SIZE);
    memcpy(p->data + p->end, in.data, in.size);
    p->end += in.size;
}

static struct reply refusal(uint16_t code, uint8_t class, uint16_t subject)
{
    return (struct reply){.code = code, .status = {class, subject, 0}, .text = BYTES("no")};
}

static void server_turn(void)
{
    struct smtp_event e;

    while (smtp_server_next(&server, &e)) {
        struct smtp_answer answer = {.kind = SMTP_ANSWER_YES, .id = {77}, .received_at = {0}};
        switch (e.kind) {
        case SMTP_EVENT_REPLY:
            put(&to_client, e.bytes);
            break;
        case SMTP_EVENT_CHECK_MAIL:
            stored_size = rcpts_seen = 0;
            assert_true(is_ok(smtp_server_answer(&server, now, &answer)));
            break;
        case SMTP_EVENT_CHECK_RCPT: {
            /* The first is always taken, so that the content is. */
            uint64_t dice = rcpts_seen == 0 ? 0 : rng_below(&rng, 4);
            decided[rcpts_seen] = dice < 2 ? SMTP_RCPT_DELIVERED : dice == 2 ? SMTP_RCPT_DEFERRED : SMTP_RCPT_FAILED;
            rcpts_seen++;
            if (dice >= 2) {
                answer.kind = SMTP_ANSWER_NO;
                answer.reply = dice == 2 ? refusal(450, 4, 2) : refusal(550, 5, 1);
            }
            assert_true(is_ok(smtp_server_answer(&server, now, &answer)));
            break;
        }
        case SMTP_EVENT_BODY:
            assert_true(stored_size + e.bytes.size <= sizeof stored);
            memcpy(stored + stored_size, e.bytes.data, e.bytes.size);
            stored_size += e.bytes.size;
            break;
        case SMTP_EVENT_COMMIT:
            if (!commit_yes) {
                answer.kind = SMTP_ANSWER_NO;
                answer.reply = refusal(452, 4, 3);
            }
            assert_true(is_ok(smtp_server_answer(&server, now, &answer)));
            break;
        case SMTP_EVENT_CLOSE:
            server_closed = true;
            break;
        case SMTP_EVENT_REFUSED:
            break;
        default:
            fail_msg("event %d of the server", e.kind);
        }
    }
}

static void client_turn(void)
{
    struct smtp_client_event e;

    while (smtp_client_next(&client, &e)) {
        switch (e.kind) {
        case SMTP_CLIENT_WRITE:
            put(&to_server, e.bytes);
            break;
        case SMTP_CLIENT_WANT_BODY: {
            size_t size = 1 + (size_t)rng_below(&rng, e.want.size_max);
            smtp_client_body(
                &client, now, (struct bytes){body + e.want.offset, size}, e.want.offset + size == body_size);
            break;
        }
        case SMTP_CLIENT_RCPT_RESULT:
            assert_int_equal(++results[e.rcpt.index], 1);
            if (decided[e.rcpt.index] != SMTP_RCPT_DELIVERED)
                assert_int_equal(e.rcpt.outcome, decided[e.rcpt.index]);
            else
                assert_int_equal(e.rcpt.outcome, commit_yes ? SMTP_RCPT_DELIVERED : SMTP_RCPT_DEFERRED);
            break;
        case SMTP_CLIENT_JOB_DONE:
            assert_int_equal(e.done.end, SMTP_CLIENT_END_DONE);
            assert_true(e.done.reusable);
            job_done = true;
            break;
        case SMTP_CLIENT_CLOSE:
            client_closed = true;
            break;
        case SMTP_CLIENT_WANT_CONVERT:
        case SMTP_CLIENT_START_TLS:
            fail_msg("TLS was not offered");
        }
    }
}

/* The next portion of what is on its way. */
static struct bytes portion(const struct pipe *p)
{
    size_t left = p->end - p->begin;
    return (struct bytes){p->data + p->begin, 1 + (size_t)rng_below(&rng, left < 3000 ? left : 3000)};
}

/* Carries octets both ways until nothing moves. */
static void carry(void)
{
    for (bool moved = true; moved;) {
        moved = false;
        while (to_server.begin < to_server.end && !smtp_server_waiting(&server)) {
            to_server.begin += smtp_server_feed(&server, now, portion(&to_server));
            server_turn();
            moved = true;
        }
        while (to_client.begin < to_client.end) {
            to_client.begin += smtp_client_feed(&client, now, portion(&to_client));
            client_turn();
            moved = true;
        }
    }
}

/* Lines of dots and little else; now and then long, now and then without a last CRLF. */
static void body_make(bool whole_lines)
{
    static const char *const pieces[] = {
        ".", "..", "\r\n", "\r\n", "a", ".\r\n", "\r\n.", "text of a line", "\r\n.\r\n"};
    size_t wanted = rng_below(&rng, 4) == 0 ? BODY_SIZE_MAX - 20 : (size_t)rng_below(&rng, 400);

    body_size = 0;
    struct bytes head = BYTES("Subject: x\r\n\r\n");
    memcpy(body, head.data, head.size);
    for (body_size = head.size; body_size < wanted;) {
        const char *piece = pieces[rng_below(&rng, COUNT_OF(pieces))];
        memcpy(body + body_size, piece, strlen(piece));
        body_size += strlen(piece);
    }
    if (whole_lines) {
        memcpy(body + body_size, "\r\n", 2);
        body_size += 2;
    }
}

static void message_check(void)
{
    /* Our Received field comes first and ends where the message begins. */
    struct bytes all = {stored, stored_size};
    ptrdiff_t begin = bytes_find(all, BYTES("\r\nSubject: x"));
    assert_true(bytes_starts(all, BYTES("Received: ")) && begin > 0);
    struct bytes message = bytes_after(all, (size_t)begin + 2);
    bool cut = body[body_size - 1] != '\n';
    if (!bytes_equal(bytes_head(message, body_size), (struct bytes){body, body_size}) ||
        message.size != body_size + (cut ? 2 : 0))
        fail_msg("the stored message differs: %zu octets sent, %zu stored", body_size, message.size);
}

static void test_dialogues(void **state)
{
    static struct smtp_job_rcpt rcpts[RCPT_COUNT];
    static char paths[RCPT_COUNT][64];

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        rng.state = seed;
        uint32_t extensions = (uint32_t)rng_next(&rng) &
                              (SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCEDSTATUSCODES |
                                  SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN | SMTP_EXT_CHUNKING);
        bool bdat = (extensions & SMTP_EXT_PIPELINING) && (extensions & SMTP_EXT_CHUNKING);
        struct smtp_server_config scfg = {
            .hostname = BYTES("mx.example"), .extensions = extensions, .rcpt_max = 100, .strict_pipelining = true};
        struct smtp_peer peer = {.address = BYTES("192.0.2.1"), .trusted = true};
        struct smtp_client_config ccfg = {.helo = BYTES("client.example"),
            .greeting_ms = 1000,
            .ehlo_ms = 1000,
            .mail_ms = 1000,
            .rcpt_ms = 1000,
            .data_ms = 1000,
            .block_ms = 1000,
            .dot_ms = 1000,
            .quit_ms = 1000};
        struct arena arena;

        arena_init(&arena, 1 << 20);
        to_server.begin = to_server.end = to_client.begin = to_client.end = 0;
        server_closed = client_closed = false;
        smtp_server_init(&server, &scfg, &peer, &arena, now);
        smtp_client_init(&client, &ccfg, now);
        server_turn();
        for (int message = 0; message < MESSAGES; message++) {
            body_make(bdat || rng_below(&rng, 3) > 0);
            commit_yes = rng_below(&rng, 4) > 0;
            job_done = false;
            memset(results, 0, sizeof results);
            size_t count = 1 + (size_t)rng_below(&rng, RCPT_COUNT);
            for (size_t i = 0; i < count; i++) {
                snprintf(paths[i], sizeof paths[i], "r%zu@two.example", i);
                rcpts[i] = (struct smtp_job_rcpt){.forward_path = bytes_of(paths[i]),
                    .notify = DSN_NOTIFY_FAILURE,
                    .orcpt = BYTES("rfc822;a+b@two.example")};
            }
            job = (struct smtp_job){.reverse_path = BYTES("a@one.example"),
                .rcpts = rcpts,
                .rcpt_count = count,
                .body_size = body_size,
                .ret = DSN_RET_HDRS,
                .envid = BYTES("x+y")};
            smtp_client_job_start(&client, now, &job);
            client_turn();
            carry();
            assert_true(job_done);
            for (size_t i = 0; i < count; i++)
                assert_int_equal(results[i], 1);
            message_check();
        }
        smtp_client_quit(&client, now);
        client_turn();
        carry();
        assert_true(server_closed && client_closed);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
