/* Headers before and after completion, by hand. Lines are written with \n and run with CRLF; each case runs whole, octet by
 * octet, and cut at every point. D and I stand for the Date and Message-ID fields that are added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/completion.h"

#define D "Date: Thu, 1 Jan 1970 00:00:00 +0000\n"
#define I "Message-ID: <1@h.test>\n"

static const struct completion_config PLAIN = {
    .add = true,
    .strip_bcc = true,
    .sender = true,
    .origin = BYTES_INIT("o.test"),
    .user = BYTES_INIT("me@o.test"),
    .from = BYTES_INIT("me@o.test"),
    .message_id = BYTES_INIT("1@h.test"),
    .no_destination = BYTES_INIT("Cc: nobody:;"),
};

struct completion_case {
    const char *in, *out;
    enum { WITH_PLAIN, WITHOUT_SENDER, BCC_ONLY, KEEP, UNKNOWN_USER, NAMED, NAMED_UTF8, NAMED_ODD, FROM_OTHER } how;
};

static const struct completion_case CASES[] = {
    {"", "From: me@o.test\n" D I "\n", WITH_PLAIN},
    {"\nbody\n", "From: me@o.test\n" D I "\nbody\n", WITH_PLAIN},
    {"text\nmore\n", "From: me@o.test\n" D I "\ntext\nmore\n", WITH_PLAIN},
    {" text\n", "From: me@o.test\n" D I "\n text\n", WITH_PLAIN},
    {"Subject: x\n\nbody", "Subject: x\nFrom: me@o.test\n" D I "\nbody", WITH_PLAIN},
    {"Subject: x\n", "Subject: x\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Subject: x", "Subject: x\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Subject: x\ntext\n", "Subject: x\nFrom: me@o.test\n" D I "\ntext\n", WITH_PLAIN},
    {"Subject: x\n fold\n\n", "Subject: x\n fold\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"From: me\nDate: d\nMessage-ID: i\n\n", "From: me@o.test\nDate: d\nMessage-ID: i\n\n", WITH_PLAIN},
    {"from: Me <ME@O.TEST>\ndate: d\nmessage-id: i\n\n", "from: Me <ME@O.TEST>\ndate: d\nmessage-id: i\n\n",
        WITH_PLAIN},
    {"From: you@x\nDate: d\nMessage-ID: i\n\n", "From: you@x\nDate: d\nMessage-ID: i\nSender: me@o.test\n\n",
        WITH_PLAIN},
    {"From: you@x\nDate: d\nMessage-ID: i\n\n", "From: you@x\nDate: d\nMessage-ID: i\n\n", WITHOUT_SENDER},
    {"From: you@x\nSender: she\n\n", "From: you@x\nSender: she@o.test\n" D I "\n", WITH_PLAIN},
    {"From: me, you@x\nDate: d\nMessage-ID: i\n\n",
        "From: me@o.test, you@x\nDate: d\nMessage-ID: i\nSender: me@o.test\n\n", WITH_PLAIN},
    {"From: a b c\nDate: d\nMessage-ID: i\n\n", "From: a b c\nDate: d\nMessage-ID: i\nSender: me@o.test\n\n",
        WITH_PLAIN},
    {"From: you@x\n\n", "From: you@x\n" D I "\n", UNKNOWN_USER},
    {"Subject: x\n\n", "Subject: x\nFrom: me@o.test\n" D I "\n", UNKNOWN_USER},
    {"Subject: x\n\n", "Subject: x\nFrom: you@x.test\nSender: me@o.test\n" D I "\n", FROM_OTHER},
    /* names */
    {"\n", "From: A Name <me@o.test>\n" D I "\n", NAMED},
    {"\n", "From: =?UTF-8?B?SsO2cmc=?= <me@o.test>\n" D I "\n", NAMED_UTF8},
    {"\n", "From: \"A. \\\"B\\\" (c)?\" <me@o.test>\n" D I "\n", NAMED_ODD},
    /* bare names */
    {"To: a, B <b>, c@x (d)\n\n", "To: a@o.test, B <b@o.test>, c@x (d)\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Cc: root (Cron)\n\n", "Cc: root@o.test (Cron)\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Reply-To: g: a,\n b;\n\n", "Reply-To: g: a@o.test,\n b@o.test;\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"To: a, b c\n\n", "To: a, b c\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"X-To: a\n\n", "X-To: a\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    /* Bcc */
    {"To: a@b\nBcc: c@d\n\n", "To: a@b\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"BCC : c@d,\n e@f\nTo: a@b\nbcc: g\n\n", "To: a@b\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Bcc: c@d\n\n", "From: me@o.test\n" D I "Cc: nobody:;\n\n", WITH_PLAIN},
    {"Bcc:\nCc: x@y\n\n", "Cc: x@y\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"Bcc: c@d", "From: me@o.test\n" D I "Cc: nobody:;\n\n", WITH_PLAIN},
    {"Bccx: c@d\nX-Bcc: e\n\n", "Bccx: c@d\nX-Bcc: e\nFrom: me@o.test\n" D I "\n", WITH_PLAIN},
    {"From: a\nBcc: c@d\n\nBcc: in the body\n", "From: a\n\nBcc: in the body\n", BCC_ONLY},
    {"From: a\nBcc: c@d\n\n", "From: a\nBcc: c@d\n\n", KEEP},
    {"From: a\n", "From: a\n\n", KEEP},
    /* resent */
    {"Resent-To: a\nTo: b\nFrom: x@y\n\n",
        "Resent-To: a@o.test\nResent-From: me@o.test\nResent-" D "Resent-" I "To: b@o.test\nFrom: x@y\n\n", WITH_PLAIN},
    {"Received: r\nResent-From: f@g\nResent-Date: d\nResent-Message-ID: i\nResent-To: a@b\nResent-Bcc: c@d\nReceived: "
     "s\n\n",
        "Received: r\nResent-From: f@g\nResent-Date: d\nResent-Message-ID: i\nResent-To: a@b\nReceived: s\n\n",
        WITH_PLAIN},
    {"Resent-To: new@x\nResent-From: n@x\nResent-From: o@x\nResent-To: old@x\n\n",
        "Resent-To: new@x\nResent-From: n@x\nResent-" D "Resent-" I "Resent-From: o@x\nResent-To: old@x\n\n",
        WITH_PLAIN},
    {"Resent-Bcc: a@b\n\n", "Resent-From: me@o.test\nResent-" D "Resent-" I "Cc: nobody:;\n\n", WITH_PLAIN},
};

static struct completion_config config_of(int how)
{
    struct completion_config cfg = PLAIN;

    switch (how) {
    case WITHOUT_SENDER:
        cfg.sender = false;
        break;
    case BCC_ONLY:
    case KEEP:
        cfg.add = false;
        cfg.no_destination = BYTES_NONE;
        cfg.strip_bcc = how == BCC_ONLY;
        break;
    case UNKNOWN_USER:
        cfg.user = BYTES_NONE;
        break;
    case NAMED:
        cfg.full_name = BYTES(" A Name ");
        break;
    case NAMED_UTF8:
        cfg.full_name = BYTES("J\xc3\xb6rg");
        break;
    case NAMED_ODD:
        cfg.full_name = BYTES("A. \"B\" (c)\n");
        break;
    case FROM_OTHER:
        cfg.from = BYTES("you@x.test");
        break;
    default:
        break;
    }
    return cfg;
}

static size_t crlf_put(char *out, const char *in)
{
    size_t size = 0;

    for (; *in != 0; in++) {
        if (*in == '\n')
            out[size++] = '\r';
        out[size++] = *in;
    }
    out[size] = 0;
    return size;
}

struct text {
    uint8_t *data;
    size_t size, room;
};

static void text_add(struct text *t, struct bytes piece)
{
    if (t->room - t->size < piece.size + 1) {
        t->room = (t->size + piece.size + 1) * 2;
        t->data = realloc(t->data, t->room);
        assert_non_null(t->data);
    }
    if (piece.size > 0)
        memcpy(t->data + t->size, piece.data, piece.size);
    t->size += piece.size;
    t->data[t->size] = 0;
}

/* `first` octets, then `step` at a time. */
static void run(const struct completion_config *cfg, struct bytes in, size_t first, size_t step, struct text *out)
{
    static struct completion c;
    static uint8_t room[COMPLETION_OUT_SIZE_MIN];
    struct buf piece = BUF(room);
    struct result r = FAIL(CODE_MORE, "");

    out->size = 0;
    text_add(out, BYTES_NONE);
    completion_init(&c, cfg);
    for (size_t size = first; in.size > 0; size = step) {
        struct bytes portion = bytes_head(in, size);

        in = bytes_after(in, portion.size);
        do {
            if (!is_ok(r))
                r = completion_feed(&c, &portion, &piece);
            text_add(out, buf_bytes(&piece));
            buf_reset(&piece);
        } while (r.code == CODE_FULL);
        text_add(out, is_ok(r) ? portion : BYTES_NONE);
    }
    if (!is_ok(r)) {
        r = completion_end(&c, &piece);
        assert_true(is_ok(r));
        text_add(out, buf_bytes(&piece));
    }
}

static void test_cases(void **state)
{
    struct text got = {0};
    size_t failures = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        char in[1024], out[1024];
        struct bytes input = {(uint8_t *)in, crlf_put(in, CASES[i].in)};
        struct completion_config cfg = config_of((int)CASES[i].how);

        crlf_put(out, CASES[i].out);
        for (size_t first = 0; first <= input.size; first++) {
            run(&cfg, input, first == 0 ? 1 : first, first == 0 ? 1 : SIZE_MAX, &got);
            if (strcmp((char *)got.data, out) == 0)
                continue;
            print_error("case %zu, cut at %zu:\n%s---- expected\n%s----\n", i, first, (char *)got.data, out);
            failures++;
            break;
        }
    }
    free(got.data);
    assert_int_equal(failures, 0);
}

/* Fields larger than what is held: passed as they are, but a Bcc goes, and is kept for those who ask. */
static void test_large_fields(void **state)
{
    struct text in = {0}, out = {0};
    uint8_t *kept_room = malloc(1 << 20);
    struct buf kept;

    (void)state;
    buf_init(&kept, kept_room, 1 << 20);
    for (int bcc = 0; bcc < 2; bcc++) {
        struct completion_config cfg = PLAIN;

        in.size = 0;
        text_add(&in, bcc ? BYTES("Bcc: ") : BYTES("To: "));
        for (int i = 0; i < 5000; i++)
            text_add(&in, BYTES("a@b,\r\n "));
        text_add(&in, BYTES("end@x\r\nSubject: s\r\n\r\nbody"));
        cfg.bcc = &kept;
        for (size_t step = 1; step < 100000; step *= 7) {
            buf_reset(&kept);
            run(&cfg, (struct bytes){in.data, in.size}, step, step, &out);
            assert_int_equal(strstr((char *)out.data, "a@b,\r\n a@b") != NULL, !bcc);
            assert_int_equal(strstr((char *)out.data, "end@x\r\nSubject") != NULL, !bcc);
            assert_int_equal(strstr((char *)out.data, "end@x") != NULL, !bcc);
            assert_non_null(strstr((char *)out.data, "\r\n\r\nbody"));
            assert_int_equal(strstr((char *)out.data, "Cc: nobody:;\r\n") != NULL, bcc);
            assert_int_equal(kept.size, bcc ? 1 + 5000 * 7 + 5 + 2 : 0);
        }
    }
    /* a field that ends with the content, at every size around the bound: what is added begins a line of its own */
    for (size_t size = COMPLETION_FIELD_SIZE_MAX - 6; size < COMPLETION_FIELD_SIZE_MAX + 6; size++) {
        in.size = 0;
        text_add(&in, BYTES("X: "));
        while (in.size < size)
            text_add(&in, BYTES("y"));
        run(&PLAIN, (struct bytes){in.data, in.size}, SIZE_MAX, 1, &out);
        assert_non_null(strstr((char *)out.data, "y\r\nFrom: me@o.test\r\n"));
    }
    /* a line without end that is no field */
    in.size = 0;
    for (int i = 0; i < 5000; i++)
        text_add(&in, BYTES("words "));
    run(&PLAIN, (struct bytes){in.data, in.size}, SIZE_MAX, 1, &out);
    assert_true(bytes_starts((struct bytes){out.data, out.size}, BYTES("From: me@o.test\r\n")));
    assert_true(out.size > in.size);
    assert_memory_equal(out.data + out.size - in.size, in.data, in.size);
    free(in.data);
    free(out.data);
    free(kept_room);
}

static void test_kept_bcc(void **state)
{
    static const char in[] = "Bcc: a@b,\r\n c@d\r\nTo: x@y\r\nbcc: e@f\r\nResent-Bcc: g@h\r\n\r\n";
    struct text out = {0};
    uint8_t room[64];
    struct buf kept = BUF(room);
    struct completion_config cfg = PLAIN;

    (void)state;
    cfg.bcc = &kept;
    run(&cfg, bytes_of(in), SIZE_MAX, 1, &out);
    assert_true(bytes_equal(buf_bytes(&kept), BYTES(" a@b,\r\n c@d, e@f")));
    free(out.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_large_fields),
        cmocka_unit_test(test_kept_bcc),
    };

    return cmocka_run_group_tests_name("completion", tests, NULL, NULL);
}
