/* letter over a depot played by the test: which transactions there are, who is in them, what they hold, how they end. Content
 * comes whole, octet by octet and in pieces; what comes out is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/inbound/letter.h"

enum { TX_MAX = LETTER_COPIES_MAX + 1, TEXT_MAX = 4096 };

struct depot_tx {
    struct envelope_head head;
    bool open, committed, joined, aborted, left, failed;
    uint64_t committed_size, size;
    size_t rcpt_count;
    char rcpts[256];
    uint8_t room[TEXT_MAX]; /* its beginning */
    struct buf text;
};

/* The played depot. */
static struct depot_tx txs[TX_MAX];
static size_t tx_count;
static size_t txs_left; /* how many may still be opened */
static char order[256]; /* commits, in their order */

struct depot_tx *depot_tx_open(struct depot *d, void *owner, const struct envelope_head *head,
    enum depot_refusal *refusal_out, struct bytes *reply_out)
{
    struct depot_tx *tx = &txs[tx_count];

    (void)d, (void)owner;
    *reply_out = BYTES_NONE;
    *refusal_out = DEPOT_NO_IDS;
    if (txs_left == 0)
        return NULL;
    txs_left--;
    *refusal_out = DEPOT_OPEN;
    memset(tx, 0, sizeof *tx);
    tx->head = *head;
    tx->head.id.value = 1000 + tx_count++;
    tx->open = true;
    buf_init(&tx->text, tx->room, sizeof tx->room);
    return tx;
}

struct message_id depot_tx_id(const struct depot_tx *tx)
{
    return tx->head.id;
}

const struct envelope_head *depot_tx_head(const struct depot_tx *tx)
{
    return &tx->head;
}

void depot_tx_rcpt(struct depot_tx *tx, const struct recipient *rcpt)
{
    size_t used = strlen(tx->rcpts);

    assert_true(tx->open && !tx->committed);
    assert_int_equal(tx->size, 0); /* queued takes no recipient behind content */
    snprintf(tx->rcpts + used, sizeof tx->rcpts - used, "%.*s%s%.*s ", BYTES_ARG(rcpt->forward_path),
        rcpt->sender.size > 0 ? "<" : "", BYTES_ARG(rcpt->sender));
    tx->rcpt_count++;
}

void depot_tx_body(struct depot_tx *tx, struct bytes body)
{
    assert_true(tx->open && !tx->committed);
    tx->size += body.size;
    assert_true(is_ok(buf_put(&tx->text, bytes_head(body, buf_left(&tx->text)))));
}

static void commit(struct depot_tx *tx, const struct envelope_head *display, bool joined)
{
    size_t used = strlen(order);

    assert_true(tx->open && !tx->committed && tx->rcpt_count > 0);
    tx->committed = true;
    tx->joined = joined;
    tx->committed_size = display->body_size;
    tx->head.message_id = display->message_id;
    snprintf(order + used, sizeof order - used, "%d%s", (int)(tx - txs), joined ? "+" : ";");
}

void depot_tx_commit(struct depot_tx *tx, const struct envelope_head *display)
{
    commit(tx, display, false);
}

void depot_tx_commit_joined(struct depot_tx *tx, const struct envelope_head *display)
{
    assert_false(tx->failed);
    commit(tx, display, true);
}

bool depot_tx_has_failed(const struct depot_tx *tx)
{
    return tx->failed;
}

void depot_tx_abort(struct depot_tx **tx)
{
    assert_true((*tx)->open && !(*tx)->committed);
    (*tx)->aborted = true;
    (*tx)->open = false;
    *tx = NULL;
}

void depot_tx_leave(struct depot_tx **tx)
{
    (*tx)->left = true;
    *tx = NULL;
}

size_t depot_tx_allowance(struct depot_tx *tx)
{
    return tx->failed ? SIZE_MAX : (size_t)(tx - txs) == 1 ? 7 : 1000;
}

/* --- */

static struct config *cfg;

static const char TRACE[] = "Received: from c\r\n\tby mx.test with esmtp id ";

static const struct rewriting *rewriting; /* of the letters that begin */

static struct letter *begin(enum bcc_policy bcc, bool submitted, const char *const *rcpts)
{
    const struct letter_setup setup = {
        .cfg = cfg, .bcc = bcc, .submitted = submitted, .login = BYTES("ann"), .rewriting = rewriting};
    const struct envelope_head head = {.arrival = {1800000000000}, .reverse_path = BYTES("ann@here.test")};
    enum depot_refusal refusal;
    struct bytes words;
    struct letter *l;

    tx_count = 0;
    txs_left = TX_MAX;
    order[0] = 0;
    struct depot_tx *tx = depot_tx_open(NULL, NULL, &head, &refusal, &words);
    l = letter_new(&setup, tx);
    assert_non_null(l);
    for (; *rcpts != NULL; rcpts++)
        assert_true(letter_rcpt(l, &(struct recipient){.forward_path = bytes_of(*rcpts)}));
    return l;
}

static void give(struct letter *l, const char *content, size_t portion)
{
    uint8_t room[128];
    struct buf trace = BUF(room);
    struct result r = buf_put_str(&trace, TRACE);

    if (is_ok(r))
        r = message_id_put(&trace, txs[0].head.id);
    if (is_ok(r))
        r = buf_put_str(&trace, "; now\r\n");
    assert_true(is_ok(r));
    letter_body(l, buf_bytes(&trace));
    for (struct bytes rest = bytes_of(content); rest.size > 0; rest = bytes_after(rest, portion))
        letter_body(l, bytes_head(rest, portion));
}

static bool committed(struct letter *l, struct reply *refusal_out)
{
    return letter_commit(l, &(struct envelope_head){.body_size = 1}, refusal_out);
}

static enum tx_outcome outcome_of(struct letter *l, struct message_id *id_out)
{
    struct bytes reply;

    return letter_outcome(l, &reply, id_out);
}

static bool holds(const struct depot_tx *tx, const char *what)
{
    return bytes_find(buf_bytes(&tx->text), bytes_of(what)) != BYTES_NOT_FOUND;
}

static const size_t portions[] = {100000, 1, 2, 3, 7, 50};
static const char message[] =
    "From: ann@here.test\r\nTo: a@x.test\r\nBcc: b@x.test,\r\n C <c@x.test>, stranger@x.test\r\n"
    "Date: then\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n";
static const char *const everybody[] = {"a@x.test", "b@x.test", "c@x.test", "d@x.test", NULL};

static void test_stripped(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(portions); i++) {
        struct letter *l = begin(BCC_STRIP, true, everybody);
        struct message_id id;
        struct reply refusal;

        give(l, message, portions[i]);
        assert_true(committed(l, &refusal));
        assert_string_equal(order, "0;");
        assert_string_equal(txs[0].rcpts, "a@x.test b@x.test c@x.test d@x.test ");
        assert_false(holds(&txs[0], "Bcc"));
        assert_false(holds(&txs[0], "stranger"));
        assert_true(holds(&txs[0], "\r\n\r\nbody\r\n"));
        assert_int_equal(txs[0].committed_size, txs[0].size);
        assert_true(letter_done(l, &txs[0], TX_ACCEPTED, BYTES_NONE));
        assert_int_equal(outcome_of(l, &id), TX_ACCEPTED);
        assert_int_equal(id.value, 1000);
        letter_free(&l);
        assert_null(l);
    }
}

static void test_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(portions); i++) {
        struct letter *l = begin(BCC_SPLIT, true, everybody);
        struct message_id id;
        struct reply refusal;

        give(l, message, portions[i]);
        assert_true(committed(l, &refusal));
        assert_string_equal(order, "0+1+2;"); /* (L2) */
        assert_string_equal(txs[0].rcpts, "a@x.test d@x.test ");
        assert_string_equal(txs[1].rcpts, "b@x.test ");
        assert_string_equal(txs[2].rcpts, "c@x.test ");
        assert_false(holds(&txs[0], "Bcc"));
        assert_true(holds(&txs[1], "Bcc: b@x.test\r\n\r\nbody\r\n"));
        assert_true(holds(&txs[2], "Bcc: c@x.test\r\n\r\nbody\r\n"));
        assert_false(holds(&txs[1], "c@x.test"));
        assert_false(holds(&txs[2], "b@x.test"));
        for (size_t copy = 0; copy < 3; copy++) { /* each with its own id in the trace field */
            uint8_t room[32];
            struct buf own = BUF(room);

            assert_true(is_ok(buf_put_str(&own, " id ")) && is_ok(message_id_put(&own, txs[copy].head.id)));
            assert_true(bytes_find(buf_bytes(&txs[copy].text), buf_bytes(&own)) != BYTES_NOT_FOUND);
            assert_false(holds(&txs[copy], "stranger"));
            assert_int_equal(txs[copy].committed_size, txs[copy].size);
        }
        assert_false(letter_done(l, &txs[1], TX_ACCEPTED, BYTES_NONE));
        assert_false(letter_done(l, &txs[0], TX_ACCEPTED, BYTES_NONE));
        assert_true(letter_done(l, &txs[2], TX_ACCEPTED, BYTES_NONE));
        assert_int_equal(outcome_of(l, &id), TX_ACCEPTED);
        assert_int_equal(id.value, 1000);
        letter_free(&l);
    }
}

/* Addresses in the header become others behind its completion; a blind recipient is still found by the name he has got. */
static void test_rewritten(void **state)
{
    static const char map_text[] = "ann@here.test Ann.A@here.test\nb@x.test bee@y.test\n";
    static const char *const rcpts[] = {"a@x.test", "bee@y.test", NULL};
    static const char relayed[] = "From: ann@here.test\r\nBcc: b@x.test\r\nno field\r\nTo: b@x.test\r\n";
    struct rewriting w = {.cfg = cfg};
    uint8_t *text = mem_take(sizeof map_text);

    (void)state;
    assert_non_null(text);
    memcpy(text, map_text, sizeof map_text - 1);
    assert_true(is_ok(rewriting_take(&w, TABLE_CANONICAL, (struct bytes){text, sizeof map_text - 1})));
    rewriting = &w;
    for (size_t i = 0; i < COUNT_OF(portions); i++) {
        struct reply refusal;
        struct letter *l = begin(BCC_SPLIT, true, rcpts);

        give(l, "Bcc: b@x.test\r\nTo: B <b@x.test>\r\n\r\nFrom: ann@here.test\r\n", portions[i]);
        assert_true(committed(l, &refusal));
        assert_string_equal(txs[0].rcpts, "a@x.test ");
        assert_string_equal(txs[1].rcpts, "bee@y.test ");
        assert_true(holds(&txs[0], "\r\nTo: B <bee@y.test>\r\nFrom: Ann.A@"));
        assert_true(holds(&txs[1], "\r\nBcc: bee@y.test\r\n\r\nFrom: ann@here.test\r\n"));
        assert_false(holds(&txs[0], "b@x.test"));
        assert_int_equal(txs[0].committed_size, txs[0].size);
        assert_false(letter_done(l, &txs[0], TX_ACCEPTED, BYTES_NONE));
        assert_true(letter_done(l, &txs[1], TX_ACCEPTED, BYTES_NONE));
        letter_free(&l);

        l = begin(BCC_KEEP, false, rcpts); /* not completed: not even by an empty line */
        give(l, relayed, portions[i]);
        assert_true(committed(l, &refusal));
        assert_true(holds(&txs[0], "now\r\nFrom: Ann.A@here.test\r\nBcc: bee@y.test\r\nno field\r\nTo: b@x.test\r\n"));
        assert_true(letter_done(l, &txs[0], TX_ACCEPTED, BYTES_NONE));
        letter_free(&l);
    }
    rewriting = NULL;
    rewriting_fini(&w);
}

/* All of them blind: the first transaction is one of theirs. */
static void test_split_all_blind(void **state)
{
    static const char *const blind[] = {"B@X.test", "c@x.test", NULL};
    struct letter *l = begin(BCC_SPLIT, true, blind);
    struct reply refusal;

    (void)state;
    give(l, message, 10);
    assert_true(committed(l, &refusal));
    assert_string_equal(order, "0+1;");
    assert_string_equal(txs[0].rcpts, "B@X.test ");
    assert_true(holds(&txs[0], "Bcc: B@X.test\r\n"));
    letter_leave(&l); /* the client is gone: what is committed goes on */
    assert_true(txs[0].left && txs[1].left && !txs[0].aborted);
}

/* One copy that queued has refused already takes the others with it, before anything is committed. */
static void test_split_fails_as_one(void **state)
{
    (void)state;
    for (size_t failed = 0; failed < 3; failed++) {
        struct letter *l = begin(BCC_SPLIT, true, everybody);
        char expected[8];
        struct reply refusal;
        struct message_id id;

        give(l, message, 1000);
        txs[failed].failed = true;
        assert_true(committed(l, &refusal));
        snprintf(expected, sizeof expected, "%zu;", failed);
        assert_string_equal(order, expected);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(txs[i].aborted, i != failed);
        assert_true(letter_done(l, &txs[failed], TX_NO_SPACE, BYTES("full")));
        assert_int_equal(outcome_of(l, &id), TX_NO_SPACE);
        letter_free(&l);
    }
}

static void test_split_refusals(void **state)
{
    static char many[8192];
    const struct {
        const char *content;
        size_t transactions;
        unsigned code;
    } cases[] = {
        {"Bcc: a b@c.test\r\n\r\nx\r\n", 100, 550},
        {"Bcc: b@x.test, c@x.test\r\n\r\nx\r\n", 2, 451},
        {many, TX_MAX, 552},
    };
    struct buf text = {.data = (uint8_t *)many, .size_max = sizeof many - 1};

    (void)state;
    while (buf_left(&text) > 16)
        assert_true(is_ok(buf_put_str(&text, "X-Field: 12345\r\n")));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct letter *l = begin(BCC_SPLIT, true, everybody);
        struct reply refusal = {0};

        txs_left = cases[i].transactions - 1;
        give(l, cases[i].content, 100);
        for (size_t more = 0; cases[i].content == many && more < LETTER_HEADER_SIZE_MAX; more += text.size)
            letter_body(l, buf_bytes(&text));
        assert_false(committed(l, &refusal));
        assert_int_equal(refusal.code, cases[i].code);
        assert_string_equal(order, "");
        for (size_t t = 0; t < tx_count; t++)
            assert_true(txs[t].aborted);
        letter_free(&l);
    }
}

/* The 101st blind recipient. */
static void test_split_bound(void **state)
{
    static char addresses[LETTER_COPIES_MAX + 1][16], text[4096];
    const char *list[LETTER_COPIES_MAX + 2];
    size_t used = 0;

    (void)state;
    for (size_t count = LETTER_COPIES_MAX; count <= LETTER_COPIES_MAX + 1; count++) {
        struct reply refusal = {0};

        used = (size_t)snprintf(text, sizeof text, "Bcc: ");
        for (size_t i = 0; i < count; i++) {
            snprintf(addresses[i], sizeof addresses[i], "u%zu@x.test", i);
            list[i] = addresses[i];
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", addresses[i], i + 1 < count ? "," : "");
        }
        snprintf(text + used, sizeof text - used, "\r\n\r\nx\r\n");
        list[count] = NULL;
        struct letter *l = begin(BCC_SPLIT, false, list);
        give(l, text, 64);
        assert_int_equal(committed(l, &refusal), count <= LETTER_COPIES_MAX);
        if (count > LETTER_COPIES_MAX)
            assert_int_equal(refusal.code, 452);
        else
            letter_leave(&l);
        letter_free(&l);
    }
}

static void test_completed(void **state)
{
    static const char *const one[] = {"a@x.test", NULL};
    struct letter *l = begin(BCC_STRIP, true, one);
    struct reply refusal;

    (void)state;
    give(l, "To: bob\r\nBcc: x@y.test\r\n\r\nbody\r\n", 5);
    assert_true(committed(l, &refusal));
    assert_true(holds(&txs[0], "To: bob@here.test\r\n"));
    assert_true(holds(&txs[0], "\r\nFrom: ann@here.test\r\n"));
    assert_true(holds(&txs[0], "\r\nMessage-ID: <1800000000000."));
    assert_true(bytes_starts(txs[0].head.message_id, BYTES("<1800000000000.")));
    letter_leave(&l);
    /* relayed: only the policy */
    l = begin(BCC_STRIP, false, one);
    give(l, "To: bob\r\nBcc: x@y.test\r\n\r\nbody\r\n", 5);
    assert_true(committed(l, &refusal));
    assert_true(holds(&txs[0], "now\r\nTo: bob\r\n\r\nbody\r\n"));
    letter_leave(&l);
    /* a header that never ends, and none at all */
    l = begin(BCC_STRIP, true, one);
    give(l, "To: bob\r\nSubject: x\r\n", 5);
    assert_true(committed(l, &refusal));
    assert_true(holds(&txs[0], "Subject: x\r\n"));
    letter_leave(&l);
}

/* The slowest copy decides how much may come. */
static void test_allowance(void **state)
{
    struct letter *l = begin(BCC_SPLIT, true, everybody);

    (void)state;
    assert_int_equal(letter_allowance(l), 1000);
    give(l, message, 1000);
    assert_int_equal(letter_allowance(l), 7);
    letter_free(&l); /* not committed: aborted */
    assert_true(txs[0].aborted && txs[1].aborted && txs[2].aborted);
}

static void test_recipients_keep_what_is_theirs(void **state)
{
    static const char *const none[] = {NULL};

    (void)state;
    for (int split = 0; split < 2; split++) {
        struct letter *l = begin(split ? BCC_SPLIT : BCC_STRIP, true, none);
        char path[] = "b@x.test", sender[] = "l+b=x.test@here.test";
        struct reply refusal;

        assert_true(letter_rcpt(l, &(struct recipient){.forward_path = bytes_of(path), .sender = bytes_of(sender)}));
        memset(path, '?', sizeof path - 1); /* the caller's views end with the call */
        memset(sender, '?', sizeof sender - 1);
        give(l, message, 1000);
        assert_true(committed(l, &refusal));
        assert_string_equal(txs[0].rcpts, "b@x.test<l+b=x.test@here.test ");
        letter_leave(&l);
    }
}

static int setup(void **state)
{
    struct config_error error;

    (void)state;
    return is_ok(config_read_text("test", BYTES("hostname = \"mx.test\"\norigin = \"here.test\"\n"), &cfg, &error))
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    config_free(&cfg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stripped),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_split_all_blind),
        cmocka_unit_test(test_split_fails_as_one),
        cmocka_unit_test(test_split_refusals),
        cmocka_unit_test(test_split_bound),
        cmocka_unit_test(test_completed),
        cmocka_unit_test(test_allowance),
        cmocka_unit_test(test_recipients_keep_what_is_theirs),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
