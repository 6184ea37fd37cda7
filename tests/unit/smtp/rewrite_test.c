/* Headers before and after rewriting, by hand. Lines are written with \n and run with CRLF; each case runs whole, octet by octet,
 * and cut at every point. The map turns OLD addresses of senders into sender@new, of recipients into rcpt@new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/rewrite.h"

static bool map(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out)
{
    (void)ctx;
    if (!bytes_equal(address, BYTES("u@old")) && !bytes_equal(address, BYTES("\"u v\"@old")) &&
        !bytes_equal(address, BYTES("u@[127.0.0.1]")) && !bytes_equal(address, BYTES("bare@o.test")))
        return false;
    assert_true(is_ok(buf_put_str(out, side == REWRITE_SENDER ? "sender@new" : "rcpt@new")));
    return true;
}

static const struct rewrite_config CFG = {.map = map, .origin = BYTES_INIT("o.test")};

struct rewrite_case {
    const char *in, *out; /* out NULL: as it came */
};

static const struct rewrite_case CASES[] = {
    {"", NULL},
    {"\n", NULL},
    {"\nFrom: u@old\n", NULL},
    {"text\nFrom: u@old\n", NULL},
    {" fold\nFrom: u@old\n", NULL},
    {": x\nFrom: u@old\n", NULL},
    {"From u@old\nTo: u@old\n", NULL},
    {"Subject: u@old\nX-From: u@old\nFromm: u@old\nFro: u@old\n\n", NULL},
    {"From: u@old\n\nFrom: u@old\n", "From: sender@new\n\nFrom: u@old\n"},
    {"From:u@old", "From:sender@new"},
    {"from \t:  u@old  \n\n", "from \t:  sender@new  \n\n"},
    {"From: u@other, U@old\n\n", NULL},
    {"From: u@OLD\n\n", "From: sender@new\n\n"},
    {"Sender: u@old\nReply-To: u@old\nResent-From: u@old\nResent-Sender: u@old\n\n",
        "Sender: sender@new\nReply-To: sender@new\nResent-From: sender@new\nResent-Sender: sender@new\n\n"},
    {"To: u@old\nCc: u@old\nBcc: u@old\nResent-To: u@old\nResent-Cc: u@old\nResent-Bcc: u@old\n\n",
        "To: rcpt@new\nCc: rcpt@new\nBcc: rcpt@new\nResent-To: rcpt@new\nResent-Cc: rcpt@new\nResent-Bcc: "
        "rcpt@new\n\n"},
    /* what stands around it */
    {"To: \"Jim, \\\"J\\\"\" (a (b)) <u@old> (c), =?utf-8?Q?J=C3=BCrg?=\n\t<u@old>,x@y , u@old;u@old\n\n",
        "To: \"Jim, \\\"J\\\"\" (a (b)) <rcpt@new> (c), =?utf-8?Q?J=C3=BCrg?=\n\t<rcpt@new>,x@y , "
        "rcpt@new;rcpt@new\n\n"},
    {"To: u (Jim) @ (home) old (far)\n\n", "To: rcpt@new (far)\n\n"},
    {"To: < (x) u@old (y) >\n\n", "To: < (x) rcpt@new (y) >\n\n"},
    {"To: \"u\"@old, \"u v\"@old, <\"u\\ v\"@old>\n\n", "To: rcpt@new, rcpt@new, <rcpt@new>\n\n"},
    {"To: <@a,@b:u@old>\n\n", "To: <rcpt@new>\n\n"},
    {"To: u@[127.0.0.1]\n\n", "To: rcpt@new\n\n"},
    {"To: u@old <x@y>, x@y <u@old>\n\n", "To: u@old <x@y>, x@y <rcpt@new>\n\n"},
    {"To: friends: u@old,\n x@y,\n u@old;, u@old\n\n", "To: friends: rcpt@new,\n x@y,\n rcpt@new;, rcpt@new\n\n"},
    {"To: undisclosed-recipients:;\n\n", NULL},
    {"To: ,, u@old ,,\n\n", "To: ,, rcpt@new ,,\n\n"},
    {"To: bare, Bare <bare>, other\n\n", "To: rcpt@new, Bare <rcpt@new>, other\n\n"},
    {"To:\n u@old\n \n\n", "To:\n rcpt@new\n \n\n"},
    {"To: u@old\nTo: u@old\n\n", "To: rcpt@new\nTo: rcpt@new\n\n"},
    /* what cannot be read passes from there on */
    {"To: u@old, a b c, u@old\nCc: u@old\n\n", "To: rcpt@new, a b c, u@old\nCc: rcpt@new\n\n"},
    {"To: u@old, \"open, u@old\nCc: u@old\n\n", "To: rcpt@new, \"open, u@old\nCc: rcpt@new\n\n"},
    {"To: u@old <<u@old>>\n\n", NULL},
    /* signed */
    {"From: u@old\nDKIM-Signature: v=1; h=from\n :to\nFrom: u@old\nTo: u@old\n\n",
        "From: sender@new\nDKIM-Signature: v=1; h=from\n :to\nFrom: u@old\nTo: u@old\n\n"},
    {"Received: x\narc-seal : i=1\nFrom: u@old\n\n", NULL},
};

enum { TEXT_MAX = 40000 };

static struct bytes with_crlf(const char *text, uint8_t *room)
{
    size_t size = 0;

    for (; *text != 0; text++) {
        if (*text == '\n')
            room[size++] = '\r';
        room[size++] = (uint8_t)*text;
    }
    return (struct bytes){room, size};
}

/* Fed in pieces of at most `step`, the first one of at most `first`; whatever is behind the header follows. */
static struct bytes run(struct bytes in, size_t first, size_t step, uint8_t *room)
{
    uint8_t octets[REWRITE_OUT_SIZE_MIN];
    struct buf out = BUF(octets), all = {room, 0, TEXT_MAX};
    struct rewrite w;
    struct result r = FAIL(CODE_MORE, "");

    rewrite_init(&w, &CFG);
    for (size_t size = first; in.size > 0 && !is_ok(r); size = step) {
        struct bytes piece = bytes_head(in, size);

        in = bytes_after(in, piece.size);
        do {
            r = rewrite_feed(&w, &piece, &out);
            assert_true(is_ok(buf_put(&all, buf_bytes(&out))));
            buf_reset(&out);
        } while (r.code == CODE_FULL);
        assert_true(is_ok(r) || (r.code == CODE_MORE && piece.size == 0));
        assert_true(is_ok(buf_put(&all, piece)));
    }
    assert_true(is_ok(rewrite_end(&w, &out)));
    assert_true(is_ok(buf_put(&all, buf_bytes(&out))));
    assert_true(is_ok(buf_put(&all, in)));
    return buf_bytes(&all);
}

static void expect(struct bytes got, struct bytes expected, const char *in, size_t first, size_t step)
{
    if (!bytes_equal(got, expected))
        fail_msg("%s\nfirst %zu, step %zu\ngot      %.*s\nexpected %.*s", in, first, step, BYTES_ARG(got),
            BYTES_ARG(expected));
}

static void test_cases(void **state)
{
    static uint8_t in_room[TEXT_MAX], expected_room[TEXT_MAX], got_room[TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        const struct rewrite_case *c = &CASES[i];
        struct bytes in = with_crlf(c->in, in_room);
        struct bytes expected = with_crlf(c->out != NULL ? c->out : c->in, expected_room);

        expect(run(in, SIZE_MAX, SIZE_MAX, got_room), expected, c->in, in.size, in.size);
        for (size_t cut = 1; cut < in.size; cut++)
            expect(run(in, cut, SIZE_MAX, got_room), expected, c->in, cut, in.size);
        expect(run(in, 1, 1, got_room), expected, c->in, 1, 1);
    }
}

/* A list of any length is rewritten; a mailbox that is longer than what is held stays, and those after it do not. */
static void test_bounds(void **state)
{
    static uint8_t in_room[TEXT_MAX], expected_room[TEXT_MAX], got_room[TEXT_MAX];
    struct buf in = BUF(in_room), expected = BUF(expected_room);

    (void)state;
    assert_true(is_ok(buf_put_str(&in, "To: x@y")) && is_ok(buf_put_str(&expected, "To: x@y")));
    for (size_t i = 0; i < 1000; i++)
        assert_true(is_ok(buf_put_str(&in, ",\r\n <u@old>")) && is_ok(buf_put_str(&expected, ",\r\n <rcpt@new>")));
    assert_true(is_ok(buf_put_str(&in, ", u (")) && is_ok(buf_put_str(&expected, ", u (")));
    for (size_t i = 0; i < REWRITE_HELD_SIZE_MAX; i++)
        assert_true(is_ok(buf_put_octet(&in, 'c')) && is_ok(buf_put_octet(&expected, 'c')));
    assert_true(
        is_ok(buf_put_str(&in, ") @old, u@old\r\n\r\n")) && is_ok(buf_put_str(&expected, ") @old, rcpt@new\r\n\r\n")));
    expect(run(buf_bytes(&in), SIZE_MAX, SIZE_MAX, got_room), buf_bytes(&expected), "long", 0, 0);
    expect(run(buf_bytes(&in), 1, 1, got_room), buf_bytes(&expected), "long", 1, 1);
    expect(run(buf_bytes(&in), 7, 4000, got_room), buf_bytes(&expected), "long", 7, 4000);
}

/* Half an address is none. */
static void test_leaving(void **state)
{
    uint8_t octets[REWRITE_OUT_SIZE_MIN];
    struct buf out = BUF(octets);
    struct bytes in = BYTES("To: u@old, u@old");
    struct rewrite w;

    (void)state;
    rewrite_init(&w, &CFG);
    assert_int_equal(rewrite_feed(&w, &in, &out).code, CODE_MORE);
    assert_true(is_ok(rewrite_leave(&w, &out)));
    expect(buf_bytes(&out), BYTES("To: rcpt@new, u@old"), "cut", 0, 0);
    in = BYTES("er\r\n");
    assert_true(is_ok(rewrite_feed(&w, &in, &out)));
    assert_int_equal(in.size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_bounds), cmocka_unit_test(test_leaving)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
