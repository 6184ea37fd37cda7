/* The client session against a server that says anything at any time. Input: options, portion size, then replies; an
 * octet 0xff among them is an event (time, loss, body failure, TLS) named by the octet behind it.
 * Option bit 32 of the second octet: it logs in, wherever it is.
 * Held: each recipient gets one result or is counted undecided; the session ends or waits; nothing is written outside
 * commands and body. */
#include "smtp/client.h"
#include "smtp/client_auth.h"
#include "smtp/idna.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPT_COUNT = 3 };

struct peer {
    struct smtp_client client;
    struct convert convert;
    unsigned readings; /* of the body that may still begin: a message that is converted is read twice */
    struct smtp_client_config cfg;
    struct client_auth auth;
    struct smtp_job_rcpt rcpts[RCPT_COUNT];
    struct smtp_job job;
    struct instant now;
    unsigned results[RCPT_COUNT];
    unsigned jobs_left;
    bool running, closed;
    uint64_t body_at;
};

static struct peer p;
static const uint8_t body[] = "Subject: x\r\n\r\n.text\r\n..\r\n\r\nend.\r\n";

static void job_start(void)
{
    if (p.jobs_left == 0 || p.running || p.closed)
        return;
    p.jobs_left--;
    p.running = true;
    p.body_at = 0;
    p.readings = 0;
    memset(p.results, 0, sizeof p.results);
    smtp_client_job_start(&p.client, p.now, &p.job);
}

static void turn(void)
{
    struct smtp_client_event e;
    unsigned events = 0;

    while (smtp_client_next(&p.client, &e)) {
        ASSERT(++events < 10000);
        switch (e.kind) {
        case SMTP_CLIENT_WRITE:
            ASSERT(e.bytes.size > 0 && !p.closed);
            break;
        case SMTP_CLIENT_WANT_BODY: {
            bool anew = e.want.offset == 0 && p.readings > 0;
            ASSERT(p.running && (e.want.offset == p.body_at || anew) && e.want.size_max > 0);
            p.readings -= anew;
            p.body_at = e.want.offset;
            uint64_t left = sizeof body - 1 - e.want.offset;
            size_t part = left < 7 ? (size_t)left : 7;
            p.body_at += part;
            smtp_client_body(&p.client, p.now, (struct bytes){body + e.want.offset, part}, part == left);
            break;
        }
        case SMTP_CLIENT_RCPT_RESULT:
            ASSERT(p.running && e.rcpt.index < p.job.rcpt_count);
            ASSERT(++p.results[e.rcpt.index] == 1);
            ASSERT(e.rcpt.reply.status.class == 2 || e.rcpt.reply.status.class == 4 || e.rcpt.reply.status.class == 5);
            break;
        case SMTP_CLIENT_JOB_DONE: {
            size_t undecided = 0;
            for (size_t i = 0; i < p.job.rcpt_count; i++)
                undecided += p.results[i] == 0;
            ASSERT(p.running && undecided == e.done.undecided_count);
            ASSERT(e.done.end != SMTP_CLIENT_END_DONE || undecided == 0);
            ASSERT(!e.done.uncertain || (undecided > 0 && !e.done.nothing_sent));
            p.running = false;
            if (e.done.reusable)
                job_start();
            break;
        }
        case SMTP_CLIENT_WANT_CONVERT:
            p.body_at = 0;
            p.readings = 2;
            smtp_client_convert(&p.client, p.now, p.jobs_left == 1 ? NULL : &p.convert);
            break;
        case SMTP_CLIENT_START_TLS:
            break;
        case SMTP_CLIENT_CLOSE:
            ASSERT(!p.closed && !p.running);
            p.closed = true;
            break;
        }
    }
}

static void special(uint8_t what)
{
    switch (what % 8) {
    case 0:
        p.now.ms += 60000;
        smtp_client_tick(&p.client, p.now);
        break;
    case 1:
        p.now.ms += 700000;
        smtp_client_tick(&p.client, p.now);
        break;
    case 2:
        smtp_client_lost(&p.client, p.now, what & 8 ? "reset" : NULL);
        break;
    case 3:
        smtp_client_answer(&p.client, p.now, SMTP_CLIENT_TLS_UP, NULL);
        break;
    case 4:
        smtp_client_answer(&p.client, p.now, SMTP_CLIENT_BODY_BROKEN, NULL);
        break;
    case 5:
        if (!p.running)
            smtp_client_quit(&p.client, p.now);
        break;
    default:
        if (smtp_client_idle(&p.client))
            job_start();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    memset(&p, 0, sizeof p);
    p.cfg = (struct smtp_client_config){.helo = BYTES("client.example"),
        .lmtp = data[0] & 1,
        .eight_bit = data[0] & 2 ? SMTP_EIGHT_BIT_CONVERT : (enum smtp_eight_bit)(data[0] >> 6),
        .domain_ascii = idna_to_ascii,
        .no_chunking = data[0] & 4,
        .no_pipelining = data[0] & 8,
        .tls = (enum smtp_client_tls)(data[0] >> 4 & 3),
        .greeting_ms = 300000,
        .ehlo_ms = 300000,
        .mail_ms = 300000,
        .rcpt_ms = 300000,
        .data_ms = 120000,
        .block_ms = 180000,
        .dot_ms = 600000,
        .quit_ms = 5000};
    p.rcpts[0] = (struct smtp_job_rcpt){.forward_path = BYTES("b@two.example"), .notify = DSN_NOTIFY_SUCCESS};
    p.rcpts[1] =
        (struct smtp_job_rcpt){.forward_path = data[1] & 1 ? BYTES("\303\251@two.example") : BYTES("c@two.example"),
            .orcpt = BYTES("rfc822;c+d@two.example")};
    p.rcpts[2] = (struct smtp_job_rcpt){.forward_path = BYTES("d@two.example")};
    p.job = (struct smtp_job){.reverse_path = BYTES("a@one.example"),
        .rcpts = p.rcpts,
        .rcpt_count = RCPT_COUNT,
        .body_size = sizeof body - 1,
        .body_8bit = data[1] & 2,
        .header_utf8 = data[1] & 4,
        .body_type = data[1] & 8 ? BODY_8BITMIME : BODY_7BIT,
        .ret = DSN_RET_HDRS,
        .envid = BYTES("x y")};
    p.jobs_left = 3;
    p.now.ms = 1;
    if (data[1] & 32) {
        static const struct client_credentials credentials = {BYTES_INIT("us,er"), BYTES_INIT("pencil")};
        client_auth_init(&p.auth, &credentials, true, BYTES("rOprNGfwEbeRWgbNEkqO"));
        p.cfg.login = &p.auth.login;
    }
    size_t portion = 1 + (size_t)data[2];
    smtp_client_init(&p.client, &p.cfg, p.now);
    if (!(data[1] & 16))
        job_start();
    turn();
    for (size_t at = 3; at < size;) {
        if (data[at] == 0xff && at + 1 < size) {
            special(data[at + 1]);
            turn();
            at += 2;
            continue;
        }
        size_t end = at + 1;
        while (end < size && end - at < portion && data[end] != 0xff)
            end++;
        for (unsigned idle = 0; at < end;) {
            size_t eaten = smtp_client_feed(&p.client, p.now, (struct bytes){data + at, end - at});
            at += eaten;
            idle = eaten == 0 ? idle + 1 : 0;
            ASSERT(idle < 3);
            turn();
        }
    }
    smtp_client_lost(&p.client, p.now, NULL);
    turn();
    ASSERT(!p.running && p.closed);
    return 0;
}
