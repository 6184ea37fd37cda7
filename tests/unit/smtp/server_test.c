/* What dialogues do not show: how replies are grouped, where views point, memory, and what happens when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/reply.h"
#include "smtp/server.h"

struct fixture {
    struct smtp_server server;
    struct smtp_server_config config;
    struct smtp_peer peer;
    struct arena arena;
    struct instant now;
    unsigned replies, commits, aborts, closes;
    uint64_t body_size;
    struct bytes last_body;
    char said[20000];
    size_t said_size;
};

static struct fixture *fixture_new(size_t arena_size)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->config = (struct smtp_server_config){.hostname = BYTES_INIT("mx.example"),
        .extensions = 0x7f,
        .size_max = 100000000,
        .rcpt_max = 100000,
        .error_max = 20,
        .received_max = 50,
        .strict_pipelining = true,
        .idle_timeout_ms = 1000};
    f->peer = (struct smtp_peer){.address = BYTES_INIT("192.0.2.1"), .trusted = true};
    arena_init(&f->arena, arena_size);
    smtp_server_init(&f->server, &f->config, &f->peer, &f->arena, f->now);
    return f;
}

static void pull(struct fixture *f)
{
    struct smtp_answer yes = {.kind = SMTP_ANSWER_YES, .id = {9}};
    struct smtp_event event;
    struct result r = OK;

    while (smtp_server_next(&f->server, &event)) {
        switch (event.kind) {
        case SMTP_EVENT_REPLY:
            f->replies++;
            assert_true(f->said_size + event.bytes.size < sizeof f->said);
            memcpy(f->said + f->said_size, event.bytes.data, event.bytes.size);
            f->said_size += event.bytes.size;
            break;
        case SMTP_EVENT_CHECK_MAIL:
        case SMTP_EVENT_CHECK_RCPT:
        case SMTP_EVENT_COMMIT:
            f->commits += event.kind == SMTP_EVENT_COMMIT;
            r = smtp_server_answer(&f->server, f->now, &yes);
            break;
        case SMTP_EVENT_BODY:
            f->body_size += event.bytes.size;
            f->last_body = event.bytes;
            break;
        case SMTP_EVENT_ABORT:
            f->aborts++;
            break;
        case SMTP_EVENT_CLOSE:
            f->closes++;
            break;
        default:
            break;
        }
        assert_true(is_ok(r));
    }
}

static void say(struct fixture *f, struct bytes in)
{
    pull(f);
    while (in.size > 0 && !smtp_server_waiting(&f->server)) {
        in = bytes_after(in, smtp_server_feed(&f->server, f->now, in));
        pull(f);
    }
}

static void fixture_free(struct fixture *f)
{
    arena_fini(&f->arena);
    free(f);
}

/* RFC 2920 3.2: the answers to a group leave in one piece; that is one segment and no waiting for an ACK. */
static void test_group_is_one_reply(void **state)
{
    struct fixture *f = fixture_new(100000);

    (void)state;
    say(f, BYTES("EHLO client.example\r\n"));
    f->replies = 0;
    say(f, BYTES("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nRCPT TO:<c@two.example>\r\nRCPT "
                 "TO:<d@>\r\nDATA\r\n"));
    assert_int_equal(f->replies, 1);
    say(f, BYTES("hello\r\n.\r\nMAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"));
    assert_int_equal(f->replies, 2);
    assert_int_equal(f->commits, 1);
    fixture_free(f);
}

/* The half of a group that has come is answered; nobody waits for the other half. */
static void test_half_group_is_answered(void **state)
{
    struct fixture *f = fixture_new(100000);

    (void)state;
    say(f, BYTES("EHLO client.example\r\n"));
    f->replies = 0;
    say(f, BYTES("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@t"));
    assert_int_equal(f->replies, 1);
    say(f, BYTES("wo.example>\r\n"));
    assert_int_equal(f->replies, 2);
    fixture_free(f);
}

static void test_body_is_a_view(void **state)
{
    struct bytes content = BYTES("Subject: x\r\n\r\nhello\r\n.\r\n");
    struct fixture *f = fixture_new(100000);

    (void)state;
    say(f, BYTES("EHLO client.example\r\nMAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"));
    uint64_t trace = f->body_size;
    say(f, content);
    assert_ptr_equal(f->last_body.data, content.data);
    assert_int_equal(f->last_body.size, content.size - 3);
    assert_int_equal(f->body_size, trace + content.size - 3);
    fixture_free(f);
}

/* Thousands of idle sessions must be cheap, and one in its steady state asks the heap for nothing new. */
static void test_memory(void **state)
{
    struct fixture *f = fixture_new(100000);

    (void)state;
    assert_in_range(sizeof(struct smtp_server), 0, 6144);
    say(f, BYTES("EHLO client.example\r\n"));
    assert_null(f->arena.blocks);
    for (unsigned i = 0; i < 3; i++) {
        say(f, BYTES("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"));
        assert_in_range(f->arena.size, 1, 1024);
        say(f, BYTES("hello\r\n.\r\n"));
        assert_int_equal(f->arena.size, 0);
    }
    fixture_free(f);
}

/* Ten thousand recipients cost no memory here. */
static void test_many_recipients(void **state)
{
    struct fixture *f = fixture_new(4096);

    (void)state;
    f->config.rcpt_max = 1000;
    say(f, BYTES("EHLO client.example\r\nMAIL FROM:<a@one.example>\r\n"));
    for (unsigned i = 0; i < 10000; i++) {
        f->said_size = 0;
        say(f, BYTES("RCPT TO:<b@two.example>\r\n"));
        assert_int_equal(strncmp(f->said, i < 1000 ? "250 2.1.5" : "452 4.5.3", 9), 0);
    }
    assert_int_equal(f->closes, 0);
    fixture_free(f);
}

/* The n-th request for memory fails, for n = 1, 2, 3...: an answer each time, and the session goes on. */
static void test_memory_sweep(void **state)
{
    (void)state;
    for (size_t bound = 0; bound < 4096; bound += 16) {
        struct fixture *f = fixture_new(bound);
        f->config.extensions |= SMTP_EXT_AUTH;
        f->config.auth_mechanisms = BYTES("PLAIN");
        f->config.auth_without_tls = true;
        f->peer.rdns = BYTES("a.long.name.of.a.client.that.makes.the.trace.field.longer.than.it.was.example");
        say(f, BYTES("EHLO client.example\r\n"));
        say(f, BYTES("MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"));
        if (strstr(f->said, "354") != NULL) {
            say(f, BYTES("hello\r\n.\r\n"));
            assert_int_equal(f->commits, 1);
        } else {
            assert_non_null(strstr(f->said, "452 4.3.1"));
        }
        say(f, BYTES("RSET\r\nNOOP\r\n"));
        assert_int_equal(f->closes, 0);
        smtp_server_hangup(&f->server);
        pull(f);
        assert_int_equal(f->closes, 1);
        fixture_free(f);
    }
}

static void test_answers_without_a_question(void **state)
{
    struct smtp_answer yes = {.kind = SMTP_ANSWER_YES, .id = {9}};
    struct fixture *f = fixture_new(4096);

    (void)state;
    pull(f);
    assert_int_equal(smtp_server_answer(&f->server, f->now, &yes).code, CODE_GONE);
    smtp_server_hangup(&f->server);
    assert_int_equal(smtp_server_answer(&f->server, f->now, &yes).code, CODE_GONE);
    smtp_server_hangup(&f->server);
    pull(f);
    assert_int_equal(f->closes, 1);
    assert_int_equal(smtp_server_feed(&f->server, f->now, BYTES("NOOP\r\n")), 0);
    fixture_free(f);
}

static void test_deadlines(void **state)
{
    struct fixture *f = fixture_new(4096);

    (void)state;
    pull(f);
    assert_int_equal(smtp_server_deadline(&f->server).ms, 1000);
    f->now.ms = 999;
    smtp_server_tick(&f->server, f->now);
    pull(f);
    assert_int_equal(f->closes, 0);
    f->now.ms = 1000;
    smtp_server_tick(&f->server, f->now);
    pull(f);
    assert_int_equal(f->closes, 1);
    assert_int_equal(smtp_server_deadline(&f->server).ms, INSTANT_NEVER.ms);
    fixture_free(f);
}

/* All extensions, a name of 255 octets: the answer to EHLO fits. */
static void test_longest_ehlo(void **state)
{
    char name[256], mechanisms[129];
    struct fixture *f = fixture_new(4096);

    (void)state;
    memset(name, 'n', 255);
    memset(mechanisms, 'M', 128);
    name[255] = mechanisms[128] = 0;
    f->config.hostname = bytes_of(name);
    f->config.auth_mechanisms = bytes_of(mechanisms);
    f->config.auth_without_tls = true;
    f->config.extensions = 0x3ff;
    f->config.size_max = UINT64_MAX;
    f->peer.xclient_allowed = true;
    smtp_server_init(&f->server, &f->config, &f->peer, &f->arena, f->now);
    say(f, BYTES("EHLO client.example\r\nEHLO client.example\r\n"));
    assert_non_null(strstr(f->said, "250 SIZE 18446744073709551615\r\n250-"));
    fixture_free(f);
}

static void test_reply_lines(void **state)
{
    static uint8_t text[2000];
    uint8_t room[4000];
    struct buf out = BUF(room);

    (void)state;
    memset(text, 'x', sizeof text);
    struct result r = reply_put(&out, &(struct reply){.code = 550, .status = {5, 7, 1}, .text = {text, sizeof text}});
    assert_true(is_ok(r) && out.size <= reply_size_max(sizeof text));
    size_t line = 0;
    for (size_t i = 0; i < out.size; i++) {
        line++;
        if (room[i] == '\n') {
            assert_in_range(line, 1, REPLY_LINE_SIZE_MAX);
            line = 0;
        }
    }
    for (size_t size = 0; size < 40; size++) {
        out = (struct buf){room, 0, size};
        r = reply_put(&out, &REPLY(250, 2, 0, 0, "ok"));
        assert_int_equal(r.code, size < reply_size_max(2) ? CODE_FULL : CODE_OK);
        assert_true(is_ok(r) || out.size == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_is_one_reply),
        cmocka_unit_test(test_half_group_is_answered),
        cmocka_unit_test(test_body_is_a_view),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_many_recipients),
        cmocka_unit_test(test_memory_sweep),
        cmocka_unit_test(test_answers_without_a_question),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_longest_ehlo),
        cmocka_unit_test(test_reply_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
