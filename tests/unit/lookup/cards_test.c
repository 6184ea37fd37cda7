/* Cards: what is asked once, how long it counts, what goes, and that who waits gets on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/lookup/book.h"

static struct config_lookup lookup;
static struct config cfg;
static struct cards cards;
static struct instant now;

static int set_up(void **state)
{
    (void)state;
    lookup = (struct config_lookup){.timeout = 5000, .cache = 60000, .cache_missing = 10000, .cache_size = 4};
    cfg = (struct config){.lookups = &lookup, .lookup_count = 1};
    now = (struct instant){1000000};
    assert_true(is_ok(cards_init(&cards, &cfg)));
    cards.now = now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cards_fini(&cards);
    return 0;
}

static void later(int64_t ms)
{
    now = instant_after(now, ms);
    cards.now = now;
}

static enum card_state get(const char *key)
{
    cards.pending = NULL;
    return cards_get(&cards, 0, bytes_of(key))->state;
}

static bool next_is(const char *key)
{
    const struct card *card = cards_next_wanted(&cards, 0);

    return key == NULL ? card == NULL : card != NULL && bytes_equal(card->key, bytes_of(key));
}

static void answer(const char *key, enum card_state state, const char *text)
{
    cards_answer(&cards, 0, bytes_of(key), state, bytes_of(text));
}

static void a_key_is_asked_once_whatever_its_case(void **state)
{
    (void)state;
    assert_int_equal(CARD_WANTED, get("Alice@A.test"));
    assert_int_equal(CARD_WANTED, get("alice@a.test"));
    assert_true(next_is("alice@a.test"));
    assert_true(next_is(NULL));
    assert_int_equal(CARD_ASKED, get("ALICE@a.test"));
    answer("alice@a.test", CARD_FOUND, "bob@b.test, carol@c.test\n@d.test");
    assert_int_equal(CARD_FOUND, get("alice@a.test"));
    const struct alias_entry *entry = card_targets(cards_get(&cards, 0, BYTES("alice@a.test")));
    assert_non_null(entry);
    assert_int_equal(3, entry->target_count);
}

static void answers_last_as_long_as_is_said(void **state)
{
    (void)state;
    get("a");
    get("b");
    get("c");
    answer("a", CARD_FOUND, "x");
    answer("b", CARD_MISSING, "");
    answer("c", CARD_FAILED, "");
    later(CARDS_FAILURE_MS - 1);
    assert_int_equal(CARD_FAILED, get("c"));
    later(1);
    assert_int_equal(CARD_WANTED, get("c"));
    later(10000 - CARDS_FAILURE_MS);
    assert_int_equal(CARD_WANTED, get("b"));
    assert_int_equal(CARD_FOUND, get("a"));
    later(50000);
    assert_int_equal(CARD_WANTED, get("a"));
}

static void what_a_waiter_has_seen_stays(void **state)
{
    struct card_waiter w;

    (void)state;
    lookup.cache = lookup.cache_missing = 0;
    cards_begin(&cards, &w, NULL, now);
    for (int i = 0; i < 20; i++) {
        char key[] = {(char)('a' + i), 0};
        get(key);
        answer(key, i % 2 == 0 ? CARD_FOUND : CARD_MISSING, "x");
        later(1000);
    }
    assert_int_equal(CARD_FOUND, get("a"));
    assert_int_equal(CARD_MISSING, get("b"));
    cards_leave(&cards, &w);
    assert_int_equal(CARD_WANTED, get("a"));
}

static void the_oldest_answers_go_first(void **state)
{
    (void)state;
    for (char key[] = "a"; key[0] <= 'f'; key[0]++) {
        get(key);
        answer(key, CARD_FOUND, "x");
        later(1);
    }
    assert_int_equal(4, cards.shelves[0].count);
    assert_int_equal(CARD_FOUND, get("f"));
    assert_int_equal(CARD_FOUND, get("c"));
    assert_int_equal(CARD_WANTED, get("a"));
}

static void what_is_not_answered_in_time_fails_with_all_that_stands_behind_it(void **state)
{
    struct card_waiter first, second;

    (void)state;
    cards_begin(&cards, &first, &first, now);
    get("a");
    cards_wait(&cards, &first);
    assert_true(next_is("a"));
    later(1000);
    cards_begin(&cards, &second, &second, now);
    get("b");
    cards_wait(&cards, &second);
    later(3999);
    assert_true(instant_reached(cards_tick(&cards, now), instant_after(now, 1)));
    assert_null(cards_next_ready(&cards));
    later(1);
    (void)cards_tick(&cards, now);
    assert_ptr_equal(&first, cards_next_ready(&cards));
    assert_ptr_equal(&second, cards_next_ready(&cards));
    assert_null(cards_next_ready(&cards));
    assert_int_equal(CARD_FAILED, get("a"));
    assert_int_equal(CARD_FAILED, get("b"));
    cards_leave(&cards, &first);
    cards_leave(&cards, &second);
    answer("a", CARD_FOUND, "late"); /* good news for the next */
    assert_int_equal(CARD_FOUND, get("a"));
}

static void a_waiter_may_leave_at_any_time(void **state)
{
    struct card_waiter w[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        cards_begin(&cards, &w[i], &w[i], now);
        get("a");
        cards_wait(&cards, &w[i]);
    }
    cards_leave(&cards, &w[1]);
    answer("a", CARD_MISSING, "");
    cards_leave(&cards, &w[2]);
    assert_ptr_equal(&w[0], cards_next_ready(&cards));
    assert_null(cards_next_ready(&cards));
    cards_leave(&cards, &w[0]);
}

static void a_database_runs_no_commands(void **state)
{
    static const char *const bad[] = {
        "|/bin/sh", "/etc/passwd", ":include:/etc/passwd", "a@b.test, |x", "", "a b@c", "\"open"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        get("a");
        answer("a", CARD_FOUND, bad[i]);
        if (card_targets(cards_get(&cards, 0, BYTES("a"))) != NULL)
            fail_msg("taken: %s", bad[i]);
    }
}

/* A recipient a second, while connections are refused or nothing is answered: each waits, none is refused, and the server is left alone. */
static void a_server_gone_for_an_hour_refuses_nobody(void **state)
{
    struct bytes users[] = {BYTES("lookup:db")};
    struct config_domain domain = {.name = BYTES("a.test"), .users = {users, 1}, .subaddress = BYTES("+")};
    struct book book = {.cfg = &cfg, .cards = &cards};
    unsigned asked = 0, waited = 0;

    (void)state;
    lookup.name = BYTES("db");
    lookup.kind = LOOKUP_POSTGRESQL;
    for (unsigned second = 0; second < 3600; second++, later(1000)) {
        char name[] = {(char)('a' + second % 20), (char)('a' + second % 7), 0};
        enum book_answer said = book_ask(&book, &domain, domain.name, bytes_of(name), NULL, NULL);
        const struct card *card;

        cards_tick(&cards, now);
        assert_true(said == BOOK_WAIT || said == BOOK_BROKEN);
        waited += said == BOOK_WAIT;
        while ((card = cards_next_wanted(&cards, 0)) != NULL) {
            uint8_t octets[ADDRESS_SIZE_MAX];
            struct buf key = BUF(octets);

            assert_true(is_ok(buf_put(&key, card->key)));
            asked++;
            if (second % 120 < 60) /* refused at once; else its time runs out */
                cards_answer(&cards, 0, buf_bytes(&key), CARD_FAILED, BYTES_NONE);
        }
    }
    assert_in_range(asked, 300, 3600);
    assert_true(waited > 0);
    later(10000);
    cards_tick(&cards, now);
    assert_int_equal(BOOK_WAIT, book_ask(&book, &domain, domain.name, BYTES("alice"), NULL, NULL));
    assert_true(next_is("alice@a.test"));
    answer("alice@a.test", CARD_FOUND, "1");
    assert_int_equal(BOOK_FINAL, book_ask(&book, &domain, domain.name, BYTES("alice"), NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_is_asked_once_whatever_its_case, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_last_as_long_as_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_waiter_has_seen_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_answers_go_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_not_answered_in_time_fails_with_all_that_stands_behind_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_waiter_may_leave_at_any_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_gone_for_an_hour_refuses_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_runs_no_commands, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
