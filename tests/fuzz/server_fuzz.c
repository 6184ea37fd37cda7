/* A whole session in any octets, cut in any way, with an edge that says yes, no and later as the input tells. Held: what was
 * opened is closed once (S3), nothing comes after CLOSE, no wait without a question, bounded events a turn.
 * First octet: configuration; second: how it is cut and answered. */
#include "smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct edge {
    struct smtp_server server;
    struct arena arena;
    struct instant now;
    struct rng rng;
    bool open, closed, tls_wait;
    enum smtp_event_kind question; /* SMTP_EVENT_REPLY: none */
    uint64_t body_size;
};

static void answer(struct edge *e)
{
    static uint8_t text[REPLY_TEXT_SIZE_MAX + 100];
    struct reply no = {550, {5, 7, 1}, {text, rng_below(&e->rng, sizeof text)}};
    uint64_t dice = rng_below(&e->rng, 16);
    struct smtp_answer a = {.kind = dice == 0 ? SMTP_ANSWER_NO : SMTP_ANSWER_YES,
        .reply = no,
        .id = {dice + 1},
        .login = BYTES_INIT("login"),
        .challenge = BYTES_INIT("challenge")};

    if (e->question == SMTP_EVENT_AUTH && dice > 8)
        a.kind = SMTP_ANSWER_CHALLENGE;
    if (e->question == SMTP_EVENT_CHECK_MAIL && a.kind == SMTP_ANSWER_YES) {
        ASSERT(!e->open);
        e->open = true;
        e->body_size = 0;
    }
    e->question = SMTP_EVENT_REPLY;
    struct result r = smtp_server_answer(&e->server, e->now, &a);
    ASSERT(is_ok(r));
}

static void act(struct edge *e, const struct smtp_event *event)
{
    ASSERT(!e->closed);
    switch (event->kind) {
    case SMTP_EVENT_REPLY:
        ASSERT(event->bytes.size > 5 && event->bytes.data[event->bytes.size - 1] == '\n');
        break;
    case SMTP_EVENT_CHECK_MAIL:
    case SMTP_EVENT_CHECK_RCPT:
    case SMTP_EVENT_CHECK_VRFY:
    case SMTP_EVENT_AUTH:
    case SMTP_EVENT_COMMIT:
        ASSERT(e->question == SMTP_EVENT_REPLY);
        if (event->kind == SMTP_EVENT_COMMIT) {
            ASSERT(e->open && event->commit.body_size == e->body_size);
            e->open = false;
        }
        e->question = event->kind;
        if (rng_below(&e->rng, 4) > 0)
            answer(e);
        break;
    case SMTP_EVENT_BODY:
        ASSERT(e->open && event->bytes.size > 0);
        e->body_size += event->bytes.size;
        break;
    case SMTP_EVENT_ABORT:
        ASSERT(e->open);
        e->open = false;
        break;
    case SMTP_EVENT_START_TLS:
        e->tls_wait = true;
        break;
    case SMTP_EVENT_CLOSE:
        ASSERT(!e->open);
        e->closed = true;
        break;
    case SMTP_EVENT_XCLIENT:
    case SMTP_EVENT_REFUSED:
        break;
    }
}

static void pull(struct edge *e)
{
    struct smtp_event event;
    while (smtp_server_next(&e->server, &event))
        act(e, &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_server_config config = {.hostname = BYTES_INIT("mx.example"),
        .extensions = 0x3ff,
        .auth_mechanisms = BYTES_INIT("PLAIN LOGIN"),
        .size_max = 2000,
        .rcpt_max = 5,
        .received_max = 3,
        .idle_timeout_ms = 1000,
        .data_block_timeout_ms = 1000,
        .session_max_ms = 100000};
    struct smtp_peer peer = {.address = BYTES_INIT("192.0.2.1"), .trusted = true, .xclient_allowed = true};
    static struct edge e;

    if (size < 2)
        return 0;
    config.strict_pipelining = data[0] & 1;
    config.bare_newline_convert = data[0] & 2;
    config.auth_without_tls = data[0] & 4;
    config.tls_required = data[0] & 8;
    config.auth_required = data[0] & 16;
    config.error_max = data[0] & 32 ? 3 : 0;
    config.vrfy = data[0] & 64 ? SMTP_VRFY_ANSWER : SMTP_VRFY_NONCOMMITTAL;
    e = (struct edge){.rng = {data[1]}, .question = SMTP_EVENT_REPLY};
    arena_init(&e.arena, 40000);
    smtp_server_init(&e.server, &config, &peer, &e.arena, e.now);
    struct bytes rest = {data + 2, size - 2};
    size_t piece = data[1] % 3 == 0 ? SIZE_MAX : (size_t)1 + data[1];
    pull(&e);
    while (rest.size > 0 && !e.closed) {
        if (e.tls_wait) {
            e.tls_wait = false;
            smtp_server_tls_started(&e.server, e.now, BYTES("TLSv1.3"), BYTES("cipher"));
        } else if (e.question != SMTP_EVENT_REPLY) {
            ASSERT(smtp_server_waiting(&e.server));
            answer(&e);
        } else {
            ASSERT(!smtp_server_waiting(&e.server));
        }
        pull(&e);
        size_t eaten = smtp_server_feed(&e.server, e.now, bytes_head(rest, piece));
        ASSERT(eaten <= rest.size);
        pull(&e);
        rest = bytes_after(rest, eaten);
    }
    smtp_server_hangup(&e.server);
    pull(&e);
    ASSERT(e.closed && !e.open);
    arena_fini(&e.arena);
    return 0;
}
