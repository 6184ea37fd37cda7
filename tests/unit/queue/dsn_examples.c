/* dsn_examples NAME: writes one example notification to standard output, for dsn_email_check.py. Without NAME: the names. */
#include "dsn_example.h"

#include <stdio.h>

static struct dsn_recipient many[100];
static uint8_t long_reply[REPLY_KEPT_SIZE_MAX];

static void failed(struct dsn_example *e)
{
    (void)e;
}

static void delayed(struct dsn_example *e)
{
    e->report.kind = DSN_DELAYED;
    for (size_t i = 0; i < 2; i++) {
        e->rcpt[i].status = BYTES("4.4.1");
        e->rcpt[i].reply_is_smtp = false;
        e->rcpt[i].reply = BYTES("no answer from mx.two.example [192.0.2.1]:25 within 30 seconds");
        e->rcpt[i].will_retry_until = (struct walltime){1795432000000};
    }
}

static void success(struct dsn_example *e, enum dsn_kind kind)
{
    e->report.kind = kind;
    e->rcpt[0].status = BYTES("2.1.5");
    e->rcpt[0].reply = BYTES("250 2.1.5 ok");
    e->report.recipient_count = 1;
}

static void relayed(struct dsn_example *e)
{
    success(e, DSN_RELAYED);
}

static void expanded(struct dsn_example *e)
{
    success(e, DSN_EXPANDED);
}

static void delivered(struct dsn_example *e)
{
    success(e, DSN_DELIVERED);
}

static void utf8(struct dsn_example *e)
{
    e->head.reverse_path = BYTES("\xc3\xa5sa@one.example");
    e->rcpt[0].forward_path = BYTES("j\xc3\xbcrgen@two.example");
    e->rcpt[0].reply = BYTES("550 5.1.1 kein J\xc3\xbcrgen hier");
}

static void foreign_reply(struct dsn_example *e)
{
    e->rcpt[0].reply = BYTES("550 5.1.1 kein J\xc3\xbcrgen hier, a=b");
}

static void eight_bit_body(struct dsn_example *e)
{
    e->report.content = BYTES("Subject: lunch\r\n\r\n8-bit b\xf6"
                              "dy without an end");
}

static void broken_header(struct dsn_example *e)
{
    e->report.content = BYTES("Subject: gr\xfc\xdf\r\nX: bare\nBcc: \rz\r\n\r\nbody\r\n");
}

static void hostile(struct dsn_example *e)
{
    e->head.envid = BYTES("e\r\nAction: delivered");
    e->head.subject = BYTES("s\r\n\r\n--x");
    e->rcpt[0].forward_path = BYTES("\"b\r\n\r\nStatus: 2.0.0\"@two.example");
    e->rcpt[0].reply = BYTES("550 no\r\n\r\nStatus: 2.0.0\r\n.\r\n\x01\x80\xff");
    e->rcpt[0].host = BYTES("mx\r\nStatus: 2.0.0");
}

static void hundred(struct dsn_example *e)
{
    memset(long_reply, 'r', sizeof long_reply);
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = e->rcpt[0];
        many[i].reply = (struct bytes){long_reply, sizeof long_reply};
    }
    e->report.recipients = many;
    e->report.recipient_count = COUNT_OF(many);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*vary)(struct dsn_example *e);
    } examples[] = {{"failed", failed}, {"delayed", delayed}, {"relayed", relayed}, {"expanded", expanded},
        {"delivered", delivered}, {"utf8", utf8}, {"foreign_reply", foreign_reply}, {"eight_bit_body", eight_bit_body},
        {"broken_header", broken_header}, {"hostile", hostile}, {"hundred", hundred}};
    static uint8_t room[DSN_SIZE_MAX];

    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct buf out = BUF(room);
        struct dsn_example e;
        enum body_type body_type;
        bool needs_utf8;

        if (argc < 2) {
            puts(examples[i].name);
            continue;
        }
        if (strcmp(argv[1], examples[i].name) != 0)
            continue;
        dsn_example_make(&e);
        examples[i].vary(&e);
        if (!is_ok(dsn_write(&out, &e.cfg, &e.report, &body_type, &needs_utf8)))
            return 1;
        return fwrite(out.data, 1, out.size, stdout) == out.size ? 0 : 1;
    }
    return argc < 2 ? 0 : 2;
}
