/* Whole notifications, octet for octet, as they stand in tests/transcripts/report (there with LF line ends): what a sender
 * reads is prose, and prose changes only on purpose. MANSIO_REPORTS_WRITE=1 writes them anew, to be read before they are kept. */
#include "dsn_example.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void failed(struct dsn_example *e)
{
    (void)e;
}

static void given_up(struct dsn_example *e)
{
    e->rcpt[0].status = BYTES("4.2.1");
    e->rcpt[0].reply = BYTES("451 4.2.1 come back tomorrow");
    e->rcpt[0].attempts = 17;
    e->rcpt[1].status = BYTES("4.4.7");
    e->rcpt[1].reply = BYTES("no answer from mx.three.example [192.0.2.3]:25 within 30 seconds");
    e->rcpt[1].attempts = 1;
    e->head.envid = BYTES_NONE;
    e->head.ret = DSN_RET_HDRS;
}

static void delayed(struct dsn_example *e)
{
    given_up(e);
    e->report.kind = DSN_DELAYED;
    e->rcpt[0].host = BYTES_NONE;
    e->rcpt[0].will_retry_until = (struct walltime){1795432000000};
    e->head.message_id = BYTES("not one");
    e->head.subject = BYTES("=?utf-8?q?f=C3=BCr?= you");
}

static void delivered(struct dsn_example *e)
{
    e->report.kind = DSN_DELIVERED;
    e->rcpt[0].status = BYTES("2.1.5");
    e->rcpt[0].reply = BYTES("250 2.1.5 ok");
    e->report.recipient_count = 1;
}

static void in_utf8(struct dsn_example *e)
{
    e->head.reverse_path = BYTES("\xc3\xa5sa@one.example");
    e->head.subject = BYTES("middag f\xc3\xb6r tv\xc3\xa5");
    e->rcpt[0].forward_path = BYTES("j\xc3\xbcrgen@two.example");
    e->rcpt[0].orcpt = BYTES_NONE;
    e->rcpt[0].reply = BYTES("550 5.1.1 kein J\xc3\xbcrgen hier");
    e->report.content = BYTES("Subject: middag f\xc3\xb6r tv\xc3\xa5\r\n\r\nVad s\xc3\xa4gs?\r\n");
}

static void with_an_8bit_original(struct dsn_example *e)
{
    e->head.subject = BYTES("middag f\xc3\xb6r tv\xc3\xa5");
    e->report.recipient_count = 1;
    e->report.content = BYTES("Subject: lunch\r\n\r\nVad s\xc3\xa4gs?\r\n");
}

static void compare(const char *name, struct bytes text)
{
    static char kept[DSN_SIZE_MAX];
    char path[512];
    size_t size = 0;

    assert_true(snprintf(path, sizeof path, TESTS_DIR "/transcripts/report/%s.txt", name) < (int)sizeof path);
    FILE *f = fopen(path, getenv("MANSIO_REPORTS_WRITE") != NULL ? "w+" : "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    if (getenv("MANSIO_REPORTS_WRITE") != NULL) {
        for (size_t i = 0; i < text.size; i++)
            if (text.data[i] != '\r')
                fputc(text.data[i], f);
        rewind(f);
    }
    for (int c; (c = fgetc(f)) != EOF;) {
        if (c == '\n')
            kept[size++] = '\r';
        kept[size++] = (char)c;
        assert_true(size + 2 < sizeof kept);
    }
    fclose(f);
    if (!bytes_equal(text, (struct bytes){(const uint8_t *)kept, size}))
        fail_msg("%s has become:\n%.*s", name, BYTES_ARG(text));
}

static void reports_are_as_they_were(void **state)
{
    static const struct {
        const char *name;
        void (*vary)(struct dsn_example *e);
        enum body_type body_type;
        bool utf8;
    } cases[] = {
        {"failed", failed, BODY_7BIT, false},
        {"given-up", given_up, BODY_7BIT, false},
        {"delayed", delayed, BODY_7BIT, false},
        {"delivered", delivered, BODY_7BIT, false},
        {"in-utf8", in_utf8, BODY_8BITMIME, true},
        {"with-an-8bit-original", with_an_8bit_original, BODY_8BITMIME, false},
    };
    static uint8_t room[DSN_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dsn_example e;
        struct buf out = BUF(room);
        enum body_type body_type;
        bool utf8;

        dsn_example_make(&e);
        cases[i].vary(&e);
        assert_true(is_ok(dsn_write(&out, &e.cfg, &e.report, &body_type, &utf8)));
        compare(cases[i].name, buf_bytes(&out));
        assert_int_equal(body_type, cases[i].body_type);
        assert_int_equal(utf8, cases[i].utf8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reports_are_as_they_were)};

    return cmocka_run_group_tests_name("queue/dsn_reports", tests, NULL, NULL);
}
