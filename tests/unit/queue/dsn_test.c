#include "dsn_check.h"
#include "dsn_example.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint8_t room[DSN_SIZE_MAX];

struct written {
    struct bytes text;
    struct dsn_parts parts;
    enum body_type body_type;
    bool utf8;
};

static struct written write_and_check(const struct dsn_example *e)
{
    struct buf out = BUF(room);
    struct written w;
    const char *why;

    assert_true(is_ok(dsn_write(&out, &e->cfg, &e->report, &w.body_type, &w.utf8)));
    w.text = buf_bytes(&out);
    why = dsn_check(w.text, e->report.recipient_count, w.utf8, w.body_type, &w.parts);
    if (why != NULL)
        fail_msg("%s in:\n%.*s", why, BYTES_ARG(w.text));
    return w;
}

static void has(struct bytes text, const char *piece)
{
    if (bytes_find(text, bytes_of(piece)) < 0)
        fail_msg("'%s' is missing in:\n%.*s", piece, BYTES_ARG(text));
}

static void lacks(struct bytes text, const char *piece)
{
    if (bytes_find(text, bytes_of(piece)) >= 0)
        fail_msg("'%s' is in:\n%.*s", piece, BYTES_ARG(text));
}

static void a_failure_says_everything(void **state)
{
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    w = write_and_check(&e);
    assert_false(w.utf8);
    assert_int_equal(w.body_type, BODY_7BIT);
    has(w.parts.header, "From: Mail Delivery System <MAILER-DAEMON@mail.one.example>\r\n");
    has(w.parts.header, "To: <alice@one.example>\r\n");
    has(w.parts.header, "In-Reply-To: <lunch@one.example>\r\n");
    has(w.parts.header, "References: <lunch@one.example>\r\n");
    has(w.parts.part[0].body, "There is no mailbox with this address");
    has(w.parts.part[0].body, "The answer of mx.two.example was:\r\n    550-5.1.1 The email account");
    has(w.parts.part[0].body, "\r\n    550 5.1.1 no such user\r\n");
    has(w.parts.part[0].body, "no mail server of three.example exists");
    has(w.parts.part[1].body, "Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mail.one.example\r\n"
                              "Arrival-Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n");
    has(w.parts.part[1].body,
        "\r\n\r\nOriginal-Recipient: rfc822; Bob@Two.example\r\nFinal-Recipient: rfc822; bob@two.example\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.two.example\r\nDiagnostic-Code: smtp; 550-5.1.1 The");
    has(w.parts.part[1].body,
        "\r\n\r\nFinal-Recipient: rfc822; carol@three.example\r\nAction: failed\r\nStatus: 5.4.4\r\n"
        "Diagnostic-Code: X-Mansio; no mail server of three.example exists\r\n"
        "Last-Attempt-Date: Wed, 18 Nov 2026 11:06:44 +0000");
    has(w.parts.part[2].header, "Content-Type: message/rfc822\r\n");
    assert_true(bytes_equal(w.parts.part[2].body, BYTES(EXAMPLE_CONTENT)));
}

/* RFC 3464 2.3.1: the type is an atom. What is none, or rfc822, is said as an address; nothing at all is not said. */
static void original_recipients_keep_their_type(void **state)
{
    static const char *const cases[][2] = {
        {"rfc822;Bob@Two.example", "Original-Recipient: rfc822; Bob@Two.example\r\n"},
        {"RFC822;bob@two.example", "Original-Recipient: rfc822; bob@two.example\r\n"},
        {"x400;/C=se/S=bob/", "Original-Recipient: x400; /C=se/S=bob/\r\n"},
        {"az-09AZ;bob", "Original-Recipient: az-09AZ; bob\r\n"},
        {"a234567890123456789012345678901234567890;bob",
            "Original-Recipient: a234567890123456789012345678901234567890; bob\r\n"},
        {"a2345678901234567890123456789012345678901;bob", "Original-Recipient: rfc822; bob\r\n"},
        {"a_b;bob", "Original-Recipient: rfc822; bob\r\n"},
        {"a`;bob", "Original-Recipient: rfc822; bob\r\n"},
        {"a{;bob", "Original-Recipient: rfc822; bob\r\n"},
        {"a/;bob", "Original-Recipient: rfc822; bob\r\n"},
        {"a:;bob", "Original-Recipient: rfc822; bob\r\n"},
        {" ;bob", "Original-Recipient: rfc822; bob\r\n"},
        {";bob", "Original-Recipient: rfc822; bob\r\n"},
        {"bob", "Original-Recipient: rfc822; bob\r\n"},
        {"x400;", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dsn_example e;
        struct written w;

        dsn_example_make(&e);
        e.rcpt[0].orcpt = bytes_of(cases[i][0]);
        w = write_and_check(&e);
        if (cases[i][1] == NULL)
            lacks(w.parts.part[1].body, "Original-Recipient");
        else
            has(w.parts.part[1].body, cases[i][1]);
    }
}

static void what_is_returned_follows_ret_and_kind(void **state)
{
    static const struct {
        const char *name;
        enum dsn_kind kind;
        enum dsn_ret ret;
        uint64_t size_max;
        bool is_whole, expected;
    } cases[] = {
        {"failed, nothing said", DSN_FAILED, DSN_RET_NONE, 65536, true, true},
        {"failed, FULL", DSN_FAILED, DSN_RET_FULL, 65536, true, true},
        {"failed, HDRS", DSN_FAILED, DSN_RET_HDRS, 65536, true, false},
        {"failed, too large for the postmaster", DSN_FAILED, DSN_RET_FULL, 10, true, false},
        {"failed, content not whole", DSN_FAILED, DSN_RET_FULL, 65536, false, false},
        {"delayed, FULL", DSN_DELAYED, DSN_RET_FULL, 65536, true, false},
        {"relayed, FULL", DSN_RELAYED, DSN_RET_FULL, 65536, true, false},
        {"expanded, FULL", DSN_EXPANDED, DSN_RET_FULL, 65536, true, false},
        {"delivered, FULL", DSN_DELIVERED, DSN_RET_FULL, 65536, true, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dsn_example e;
        struct written w;

        dsn_example_make(&e);
        e.report.kind = cases[i].kind;
        e.head.ret = cases[i].ret;
        e.cfg.return_size_max = cases[i].size_max;
        e.report.content_is_whole = cases[i].is_whole;
        w = write_and_check(&e);
        has(w.parts.part[1].body, dsn_kind_name(cases[i].kind));
        has(w.parts.part[2].header, cases[i].expected ? "message/rfc822\r\n" : "text/rfc822-headers\r\n");
        has(w.parts.part[2].body, "Message-ID: <lunch@one.example>\r\n");
        if (!cases[i].expected)
            lacks(w.parts.part[2].body, "o'clock");
    }
}

static void a_delay_says_until_when(void **state)
{
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    e.report.kind = DSN_DELAYED;
    e.rcpt[0].status = BYTES("4.2.2");
    e.rcpt[0].will_retry_until = (struct walltime){1795432000000};
    w = write_and_check(&e);
    has(w.parts.part[0].body, "mailbox is full");
    has(w.parts.part[0].body, "until Mon, 23 Nov 2026 11:06:40 +0000");
    has(w.parts.part[1].body, "Action: delayed\r\nStatus: 4.2.2\r\n");
    has(w.parts.part[1].body, "Will-Retry-Until: Mon, 23 Nov 2026 11:06:40 +0000\r\n");
    has(w.parts.part[1].body, "Status: 4.0.0\r\n"); /* a 5.4.4 cannot be delayed */
}

static void advice_differs_by_status(void **state)
{
    static const char *const cases[][2] = {{"5.1.1", "no mailbox with this address"}, {"5.1.2", "does not exist or"},
        {"5.1.10", "accepts no mail at"}, {"5.2.2", "mailbox is full"}, {"5.3.4", "larger than the receiving"},
        {"4.4.1", "did not answer"}, {"4.4.3", "directory of the Internet"}, {"5.4.4", "names no mail server"},
        {"5.4.6", "in a circle"}, {"4.4.7", "time allowed"}, {"5.6.7", "English alphabet"}, {"5.7.1", "by its rules"},
        {"5.7.26", "security or policy"}, {"5.0.0", "did not accept the message"}, {"5.99.1", "did not accept"},
        {"garbage", "did not accept"}, {"5.1.1\r\nX: y", "did not accept"}, {"", "did not accept"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dsn_example e;
        struct written w;

        dsn_example_make(&e);
        e.report.recipient_count = 1;
        e.rcpt[0].status = bytes_of(cases[i][0]);
        w = write_and_check(&e);
        has(w.parts.part[0].body, cases[i][1]);
    }
}

static void values_never_become_lines(void **state)
{
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    e.head.reverse_path = BYTES("\"a\r\nBcc: x\"@one.example");
    e.head.envid = BYTES("e\r\nAction: delivered");
    e.head.message_id = BYTES("<x@y>\r\nBcc: <x@y>");
    e.head.subject = BYTES("s\r\n\r\n--x");
    e.rcpt[0].forward_path = BYTES("\"b\r\n\r\nStatus: 2.0.0\"@two.example");
    e.rcpt[0].orcpt = BYTES("rfc822;x\r\nStatus: 2.0.0");
    e.rcpt[0].reply = BYTES("550 no\r\n\r\nStatus: 2.0.0\r\n.\r\n\x01\x80\xff");
    e.rcpt[0].host = BYTES("mx\r\nStatus: 2.0.0");
    w = write_and_check(&e);
    lacks(w.parts.header, "\r\nBcc");
    lacks(w.parts.header, "In-Reply-To");
    lacks(w.parts.part[1].body, "\r\nStatus: 2");
    has(w.parts.part[1].body, "Final-Recipient: rfc822; \"b????Status: 2.0.0\"@two.example\r\n");
    has(w.parts.part[1].body, "Diagnostic-Code: smtp; 550 no\r\n Status: 2.0.0\r\n .\r\n ??\r\n");
    e.cfg.hostname = BYTES("h>\r\nBcc: x");
    w = write_and_check(&e);
    lacks(w.parts.header, "\r\nBcc");
}

static void utf8_addresses_use_the_global_types(void **state)
{
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    e.rcpt[0].forward_path = BYTES("j\xc3\xbcrgen@two.example");
    e.rcpt[0].orcpt = BYTES("utf-8;j\xc3\xbcrgen@two.example");
    e.rcpt[0].reply = BYTES("550 5.1.1 kein J\xc3\xbcrgen, \xff");
    w = write_and_check(&e);
    assert_true(w.utf8);
    assert_int_equal(w.body_type, BODY_8BITMIME);
    has(w.parts.part[1].body, "Original-Recipient: utf-8; j\xc3\xbcrgen@two.example\r\n");
    has(w.parts.part[1].body, "Final-Recipient: utf-8; j\xc3\xbcrgen@two.example\r\n");
    has(w.parts.part[1].body, "Final-Recipient: rfc822; carol@three.example\r\n");
    has(w.parts.part[1].body, "kein J\xc3\xbcrgen, ?\r\n");
    has(w.parts.part[2].header, "Content-Type: message/global\r\n");
    e.head.ret = DSN_RET_HDRS;
    w = write_and_check(&e);
    has(w.parts.part[2].header, "Content-Type: message/global-headers\r\n");

    /* ASCII here, UTF-8 only in what the sender once wrote: 7-bit with the address spelt out. */
    dsn_example_make(&e);
    e.rcpt[0].orcpt = BYTES("utf-8;j\xc3\xbcrgen\xf0\x9f\x93\xae@two.example");
    e.rcpt[0].reply = BYTES("550 5.1.1 kein J\xc3\xbcrgen = nichts");
    w = write_and_check(&e);
    assert_false(w.utf8);
    assert_int_equal(w.body_type, BODY_7BIT);
    has(w.parts.part[1].body, "Original-Recipient: utf-8; j\\x{FC}rgen\\x{1F4EE}@two.example\r\n");
    has(w.parts.part[0].header, "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    has(w.parts.part[0].body, "kein J=C3=BCrgen =3D nichts");
}

static void originals_that_cannot_go_out_as_they_stand(void **state)
{
    static uint8_t long_line[4000];
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    e.report.content = BYTES("Subject: a\r\nX: bare\nBcc: \rz\r\n\r\nbody\r\n");
    w = write_and_check(&e);
    has(w.parts.part[2].header, "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    has(w.parts.part[2].body, "Subject: a\r\nX: bare=0ABcc: =0Dz\r\n");
    lacks(w.parts.part[2].body, "body");

    e.report.content = BYTES("Subject: a\r\n\r\nbare\nlf\r\n"); /* only the body is bad: its header is clean */
    w = write_and_check(&e);
    has(w.parts.part[2].header, "text/rfc822-headers\r\n");
    assert_true(bytes_equal(w.parts.part[2].body, BYTES("Subject: a\r\n")));

    e.report.content = BYTES("Subject: gr\xc3\xbc\xc3\x9f \r\nX: =41\r\n\r\nbody\r\n");
    w = write_and_check(&e);
    has(w.parts.part[2].body, "Subject: gr=C3=BC=C3=9F=20\r\nX: =3D41\r\n");

    e.report.content = BYTES("Subject: a\r\n\r\n8-bit b\xf6"
                             "dy");
    w = write_and_check(&e);
    assert_int_equal(w.body_type, BODY_8BITMIME);
    has(w.parts.header, "Content-Transfer-Encoding: 8bit\r\n");
    assert_true(bytes_equal(w.parts.part[2].body, e.report.content));
    e.head.body_type = BODY_BINARYMIME;
    w = write_and_check(&e);
    assert_int_equal(w.body_type, BODY_7BIT);

    memset(long_line, 'x', sizeof long_line);
    memcpy(long_line, "S: ", 3);
    e.head.body_type = BODY_7BIT;
    e.report.content = (struct bytes){long_line, sizeof long_line};
    w = write_and_check(&e);
    has(w.parts.part[2].header, "quoted-printable");
    e.report.content_is_whole = false; /* a line without an end is none */
    w = write_and_check(&e);
    assert_int_equal(w.parts.part[2].body.size, 0);

    e.report.content = BYTES("S: a\r\nT: cu");
    w = write_and_check(&e);
    assert_true(bytes_equal(w.parts.part[2].body, BYTES("S: a\r\n")));
    e.report.content = BYTES_NONE;
    w = write_and_check(&e);
    assert_int_equal(w.parts.part[2].body.size, 0);
}

/* An original that is itself a notification of ours, or one made to hold the next boundary. */
static void the_boundary_is_not_in_the_original(void **state)
{
    struct dsn_example e;
    struct written w;
    static uint8_t content[30000];
    struct buf mine = BUF(content);

    (void)state;
    dsn_example_make(&e);
    w = write_and_check(&e);
    assert_true(is_ok(buf_put(&mine, w.text)));
    e.report.content = buf_bytes(&mine);
    for (int i = 0; i < 5; i++) {
        w = write_and_check(&e);
        assert_true(bytes_equal(w.parts.part[2].body, e.report.content));
    }
}

static void room_is_used_in_the_order_of_worth(void **state)
{
    static struct dsn_recipient many[100];
    static uint8_t reply[REPLY_KEPT_SIZE_MAX], local[ADDRESS_SIZE_MAX], content[65536];
    struct dsn_example e;
    struct written w;

    (void)state;
    dsn_example_make(&e);
    for (size_t i = 0; i < sizeof reply; i++)
        reply[i] = i % 7 == 6 ? ' ' : 'r';
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)("Subject: one line\r\n"[i % 19]);
    memset(local, 'l', sizeof local);
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = e.rcpt[0];
        many[i].reply = (struct bytes){reply, sizeof reply};
    }
    e.report.recipients = many;
    e.report.content = (struct bytes){content, sizeof content};
    for (e.report.recipient_count = 1; e.report.recipient_count <= COUNT_OF(many);
         e.report.recipient_count += e.report.recipient_count < 20 ? 1 : 8) {
        w = write_and_check(&e);
        has(w.parts.part[1].body, "Diagnostic-Code: smtp; rrrrrr");
        assert_true(w.parts.part[2].body.size >= 4096);
        if (e.report.recipient_count <= 10) /* the header goes before a reply is cut */
            lacks(w.text, "[...]");
    }
    e.report.recipient_count = 100; /* the longest legal addresses */
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i].forward_path = (struct bytes){local, sizeof local};
        many[i].orcpt = (struct bytes){local, sizeof local};
    }
    w = write_and_check(&e);
    has(w.parts.part[0].body, "and 90 more recipients");

    for (size_t size = 0; size < 3000; size += 7) { /* too little room is an answer, and puts nothing */
        struct buf small;
        enum body_type type;
        bool utf8;
        struct dsn_parts parts;
        struct result r;

        dsn_example_make(&e);
        buf_init(&small, room, size);
        r = dsn_write(&small, &e.cfg, &e.report, &type, &utf8);
        if (is_ok(r)) {
            assert_null(dsn_check(buf_bytes(&small), 2, utf8, type, &parts));
            continue;
        }
        assert_int_equal(r.code, CODE_FULL);
        assert_int_equal(small.size, 0);
    }
}

/* A notification that could never be written would keep its message in the queue for ever. */
static void the_worst_job_finds_room(void **state)
{
    static const char *const fillers[] = {"l", "\xc3\xbc", "\xf0\x9f\x93\xae", "\xff", "\"", " ", "\n"};
    static struct dsn_recipient many[JOB_RCPT_COUNT_MAX];
    static uint8_t value[COUNT_OF(fillers)][REPLY_KEPT_SIZE_MAX], ascii[REPLY_KEPT_SIZE_MAX],
        id[DISPLAY_FIELD_SIZE_MAX];

    (void)state;
    memset(ascii, 'a', sizeof ascii);
    memset(id, 'i', sizeof id);
    id[0] = '<';
    id[5] = '@';
    id[sizeof id - 1] = '>';
    for (size_t f = 0; f < COUNT_OF(fillers); f++)
        for (size_t i = 0; i < sizeof value[f]; i++)
            value[f][i] = (uint8_t)fillers[f][i % strlen(fillers[f])];
    for (size_t path = 0; path < COUNT_OF(fillers); path++)
        for (size_t other = 0; other < COUNT_OF(fillers); other++) {
            struct dsn_example e;

            dsn_example_make(&e);
            e.cfg.hostname = (struct bytes){ascii, DOMAIN_SIZE_MAX};
            e.head.reverse_path = (struct bytes){value[path], ADDRESS_SIZE_MAX};
            e.head.envid = (struct bytes){value[other], ENVID_SIZE_MAX};
            e.head.message_id = (struct bytes){id, sizeof id};
            e.head.subject = (struct bytes){value[other], DISPLAY_FIELD_SIZE_MAX};
            for (size_t i = 0; i < COUNT_OF(many); i++)
                many[i] = (struct dsn_recipient){
                    .forward_path = {value[path], ADDRESS_SIZE_MAX},
                    .orcpt = {value[other], ORCPT_SIZE_MAX},
                    .status = BYTES("4.7.100"),
                    .reply = {value[other], REPLY_KEPT_SIZE_MAX},
                    .reply_is_smtp = true,
                    .host = {value[other], DOMAIN_SIZE_MAX + 64},
                    .last_attempt = {1795000003000},
                    .will_retry_until = {1795432000000},
                    .attempts = UINT32_MAX,
                };
            e.report.recipients = many;
            e.report.recipient_count = COUNT_OF(many);
            e.report.kind = (path + other) % 2 == 0 ? DSN_FAILED : DSN_DELAYED;
            write_and_check(&e);
        }
}

static void notify_and_the_null_path_decide(void **state)
{
    static const struct {
        uint8_t notify;
        bool failed, delayed, success;
    } cases[] = {
        {0, true, true, false},
        {DSN_NOTIFY_NEVER, false, false, false},
        {DSN_NOTIFY_SUCCESS, false, false, true},
        {DSN_NOTIFY_FAILURE, true, false, false},
        {DSN_NOTIFY_DELAY, false, true, false},
        {DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY, true, true, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct envelope_head head = {.reverse_path = BYTES("a@one.example")};
        struct recipient rcpt = {.notify = cases[i].notify};

        assert_int_equal(dsn_wanted(DSN_FAILED, &head, &rcpt), cases[i].failed);
        assert_int_equal(dsn_wanted(DSN_DELAYED, &head, &rcpt), cases[i].delayed);
        assert_int_equal(dsn_wanted(DSN_RELAYED, &head, &rcpt), cases[i].success);
        assert_int_equal(dsn_wanted(DSN_EXPANDED, &head, &rcpt), cases[i].success);
        assert_int_equal(dsn_wanted(DSN_DELIVERED, &head, &rcpt), cases[i].success);
        rcpt.warned = true;
        assert_false(dsn_wanted(DSN_DELAYED, &head, &rcpt));
        assert_int_equal(dsn_wanted(DSN_FAILED, &head, &rcpt), cases[i].failed);
        head.reverse_path = BYTES_NONE;
        for (enum dsn_kind kind = 0; kind < DSN_KIND_COUNT; kind++)
            assert_false(dsn_wanted(kind, &head, &rcpt));
    }
}

static void utf8_is_read_strictly(void **state)
{
    static const char *const good[] = {
        "", "a", "\xc2\xa0", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xe2\x82/", "\xff", "\xc2\x85",
        "\xe2\x80\xa8"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(dsn_utf8_is(bytes_of(good[i])));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(dsn_utf8_is(bytes_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_says_everything),
        cmocka_unit_test(original_recipients_keep_their_type),
        cmocka_unit_test(what_is_returned_follows_ret_and_kind),
        cmocka_unit_test(a_delay_says_until_when),
        cmocka_unit_test(advice_differs_by_status),
        cmocka_unit_test(values_never_become_lines),
        cmocka_unit_test(utf8_addresses_use_the_global_types),
        cmocka_unit_test(originals_that_cannot_go_out_as_they_stand),
        cmocka_unit_test(the_boundary_is_not_in_the_original),
        cmocka_unit_test(room_is_used_in_the_order_of_worth),
        cmocka_unit_test(the_worst_job_finds_room),
        cmocka_unit_test(notify_and_the_null_path_decide),
        cmocka_unit_test(utf8_is_read_strictly),
    };
    return cmocka_run_group_tests_name("queue/dsn", tests, NULL, NULL);
}
