/* wards over a real store with a fake clock: bans and held logins are told, kept over restarts, listed and lifted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/queued/engine.h"
#include "daemon/queued/wards.h"
#include "tests/support/folder.h"

enum { TOLD_MAX = 64 };
static const uint64_t BLOCK = UINT64_C(0x0000ffffc0000207); /* 192.0.2.7 */
static const char CONFIG[] = "hostname = mx.test\nrates { login_quota = \"5/1d\" }\n";

static struct {
    char folder[FOLDER_SIZE_MAX];
    struct config *cfg;
    struct store *store;
    struct engine *engine;
    struct walltime now;
    struct msg_ban_set told[TOLD_MAX];
    size_t told_count;
} bench;
static int channels[2];

static void hear(void *context, void *channel, const struct msg *m)
{
    (void)context;
    (void)channel;
    if (m->kind == MSG_ban_set && bench.told_count < TOLD_MAX)
        bench.told[bench.told_count++] = m->ban_set;
}

static void start(void)
{
    assert_true(is_ok(store_open(&(struct store_config){.path = bench.folder, .size_max = 256 << 20}, &bench.store)));
    bench.engine = engine_new(
        &(struct engine_setup){.config = bench.cfg, .store = bench.store, .ports = {.send = hear}, .seed = 7});
    assert_non_null(bench.engine);
    assert_true(is_ok(engine_start(bench.engine, bench.now)));
}

static void restart(void)
{
    engine_free(&bench.engine);
    store_close(&bench.store);
    start();
}

static int setup(void **state)
{
    struct config_error error = {""};

    (void)state;
    memset(&bench, 0, sizeof bench);
    bench.now.ms = 1800000000000;
    folder_make(bench.folder);
    if (!is_ok(config_read_text("test", bytes_of(CONFIG), &bench.cfg, &error)))
        fail_msg("%s", error.text);
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_free(&bench.engine);
    store_close(&bench.store);
    config_free(&bench.cfg);
    folder_remove(bench.folder);
    return 0;
}

/* What is due is done. */
static void pass(int64_t ms)
{
    bench.now.ms += ms;
    wards_turn(bench.engine, bench.now);
}

static void report(uint64_t block, int64_t for_ms, const char *client)
{
    assert_true(is_ok(wards_receive(bench.engine,
        &(struct msg_ban_report){
            .block = block, .until = (uint64_t)(bench.now.ms + for_ms), .count = 2, .client = bytes_of(client)},
        bench.now)));
}

/* "who/kind who/kind": b: a block, banned; p: by the postmaster; l: a login, banned; h: a login, held. */
static const char *listed(void)
{
    static char text[512];
    struct ward_view view;

    text[0] = 0;
    for (size_t cursor = 0; engine_ban_next(bench.engine, &cursor, bench.now, &view);) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%.*s/%c", used > 0 ? " " : "", BYTES_ARG(view.who),
            view.held      ? 'h'
            : view.login   ? 'l'
            : view.by_hand ? 'p'
                           : 'b');
    }
    return text;
}

static uint32_t lift(const char *who)
{
    uint32_t count;

    assert_true(is_ok(engine_unban(bench.engine, bytes_of(who), bench.now, &count)));
    return count;
}

static void guessed_bans_are_told_kept_and_end(void **state)
{
    (void)state;
    struct engine_peer *peer = engine_peer_add(bench.engine, ROLE_INBOUND, &channels[0]);
    assert_non_null(peer);
    report(BLOCK, 600000, "whatever it says");
    assert_string_equal(listed(), "192.0.2.7/b");
    assert_int_equal(bench.told_count, 1);
    assert_int_equal(bench.told[0].block, BLOCK);
    assert_int_equal(bench.told[0].count, 2);
    assert_false(bench.told[0].by_hand);
    pass(2000); /* saved by now */
    restart();
    assert_string_equal(listed(), "192.0.2.7/b");
    bench.told_count = 0;
    assert_non_null(engine_peer_add(bench.engine, ROLE_INBOUND, &channels[1])); /* who comes is told all */
    assert_int_equal(bench.told_count, 1);
    assert_int_equal(bench.told[0].until, 1800000000000 + 600000);
    bench.now.ms += 600000;
    assert_string_equal(listed(), "");
}

static void what_was_not_saved_is_told_by_the_deadline(void **state)
{
    (void)state;
    report(BLOCK, 600000, "");
    struct walltime at = wards_deadline(bench.engine);
    assert_true(at.ms > bench.now.ms && at.ms <= bench.now.ms + 1000);
    pass(at.ms - bench.now.ms);
    restart();
    assert_string_equal(listed(), "192.0.2.7/b");
}

static void the_postmasters_word_stands(void **state)
{
    (void)state;
    assert_true(is_ok(engine_ban(bench.engine, BYTES("192.0.2.7"), 0, bench.now)));
    restart(); /* at once: it was on the disk before the call returned */
    assert_string_equal(listed(), "192.0.2.7/p");
    report(BLOCK, 1000, ""); /* a report cannot make it shorter */
    bench.now.ms += INT64_C(86400000) * 365;
    assert_string_equal(listed(), "192.0.2.7/p");
    assert_int_equal(lift("192.0.2.8"), 0);
    assert_int_equal(lift("192.0.2.7"), 1);
    assert_string_equal(listed(), "");
    restart();
    assert_string_equal(listed(), "");
    assert_int_equal(engine_ban(bench.engine, BYTES("nonsense"), 0, bench.now).code, CODE_SYNTAX);
    assert_int_equal(engine_ban(bench.engine, BYTES("192.0.2.0/24"), 0, bench.now).code, CODE_SYNTAX);
    assert_true(is_ok(engine_ban(bench.engine, BYTES("2001:db8::7"), 1000, bench.now)));
    assert_string_equal(listed(), "2001:db8::/64/p");
}

static void a_guessed_name(void **state)
{
    (void)state;
    report(BAN_LOGIN_BITS | 0x1234, 600000, "alice");
    report(BLOCK, 600000, "");
    assert_string_equal(listed(), "alice/l 192.0.2.7/b");
    pass(2000);
    restart();
    assert_int_equal(lift("alic"), 0);
    assert_int_equal(lift("alice"), 1);
    assert_string_equal(listed(), "192.0.2.7/b");
}

static void reports_that_cannot_be(void **state)
{
    struct msg_ban_report nobody = {.block = 0, .until = 1}, endless = {.block = BLOCK, .until = UINT64_MAX};

    (void)state;
    assert_int_equal(wards_receive(bench.engine, &nobody, bench.now).code, CODE_REFUSED);
    assert_int_equal(wards_receive(bench.engine, &endless, bench.now).code, CODE_REFUSED);
    for (uint64_t i = 1; i <= WARDS_BAN_MAX + 10; i++) /* a full table takes the place of the one that ends first */
        report(UINT64_C(0x20010db800000000) + i, 600000 + (int64_t)i, "");
    uint64_t bans, held;
    wards_count(bench.engine, bench.now, &bans, &held);
    assert_int_equal(bans, WARDS_BAN_MAX);
    assert_int_equal(held, 0);
}

static void a_login_over_its_quota(void **state)
{
    (void)state;
    assert_false(wards_login_is_held(bench.engine, BYTES("alice"), 3, bench.now));
    assert_false(wards_login_is_held(bench.engine, BYTES("alice"), 2, bench.now));
    assert_false(wards_login_is_held(bench.engine, BYTES("bob"), 5, bench.now)); /* each his own */
    assert_false(wards_login_is_held(bench.engine, BYTES(""), 1000, bench.now));
    pass(2000);
    restart(); /* the bucket is kept too */
    assert_true(wards_login_is_held(bench.engine, BYTES("alice"), 1, bench.now));
    assert_string_equal(listed(), "alice/h");
    pass(2000);
    restart();
    assert_string_equal(listed(), "alice/h");
    bench.now.ms += INT64_C(86400000) * 30; /* time alone does not free it */
    assert_true(wards_login_is_held(bench.engine, BYTES("alice"), 1, bench.now));
    assert_int_equal(lift("alice"), 1);
    assert_false(wards_login_is_held(bench.engine, BYTES("alice"), 5, bench.now));
    assert_true(wards_login_is_held(bench.engine, BYTES("alice"), 1, bench.now));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(guessed_bans_are_told_kept_and_end),
        TEST(what_was_not_saved_is_told_by_the_deadline),
        TEST(the_postmasters_word_stands),
        TEST(a_guessed_name),
        TEST(reports_that_cannot_be),
        TEST(a_login_over_its_quota),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
