/* The index of domains: whatever is put, taken and entered in whatever order, it says what the recipients say. */
#include "daemon/base/rng.h"
#include "tests/support/queue_kit.h"

enum { IDS_MAX = 60, RCPTS_MAX = 6 };

static const char *const domains[] = {"one.test", "TWO.test", "three.test", ""};

/* What the queue should hold: 0: no such recipient, else 1 + its domain. */
static uint8_t model[IDS_MAX + 1][RCPTS_MAX];

static struct recipient rcpt_of(char *room, size_t room_size, uint32_t n, uint8_t domain, int64_t next)
{
    int size = snprintf(room, room_size, domains[domain][0] == 0 ? "u%u" : "u%u@%s", n, domains[domain]);

    return (struct recipient){
        .n = n, .forward_path = {(const uint8_t *)room, (size_t)size}, .lane = BYTES("mx:any"), .next_try = {next}};
}

static void put(struct store *s, uint64_t id, uint32_t n, uint8_t domain)
{
    char room[64];
    struct envelope_head head = kit_head(id, 0, 1);
    struct recipient rcpt = rcpt_of(room, sizeof room, n, domain, 10);

    assert_ok(store_message_put(s, &head));
    assert_ok(store_recipient_put(s, head.id, &rcpt));
    model[id][n] = (uint8_t)(domain + 1);
}

static void take(struct store *s, uint64_t id, uint32_t n)
{
    char room[64];
    struct recipient rcpt = rcpt_of(room, sizeof room, n, (uint8_t)(model[id][n] - 1), 10);
    bool done;

    assert_ok(store_recipient_delete(s, (struct message_id){id}, &rcpt));
    assert_ok(store_message_finish(s, (struct message_id){id}, &done));
    model[id][n] = 0;
}

static void change(struct rng *rng, struct store *s)
{
    uint64_t id = 1 + rng_below(rng, IDS_MAX);
    uint32_t n = (uint32_t)rng_below(rng, RCPTS_MAX);

    if (model[id][n] == 0) {
        put(s, id, n, (uint8_t)rng_below(rng, COUNT_OF(domains)));
    } else if (rng_below(rng, 8) == 0) {
        assert_ok(store_message_delete(s, (struct message_id){id}));
        memset(model[id], 0, sizeof model[id]);
    } else if (rng_below(rng, 3) == 0) {
        char room[64];
        struct recipient before = rcpt_of(room, sizeof room, n, (uint8_t)(model[id][n] - 1), 10), after = before;
        after.attempts = 1;
        assert_ok(store_recipient_update(s, (struct message_id){id}, &before, &after));
    } else {
        take(s, id, n);
    }
}

/* The index up to its mark and the recipients behind it, together, are the model. */
static void compare(struct kit *kit)
{
    struct store_place mark;

    assert_ok(store_read_begin(kit->store));
    assert_ok(store_index_mark(kit->store, &mark));
    for (uint8_t d = 0; d < COUNT_OF(domains); d++) {
        struct store_place place = {{0}, 0}, from = {{0}, 0};
        struct store_domain_counts counts = {0, 0};
        struct message_id id = {0}, after = {0};
        uint64_t recipients = 0, messages = 0;
        struct bytes domain = bytes_of(domains[d]);
        uint32_t n = 0;

        for (uint64_t i = 1; i <= IDS_MAX; i++) {
            bool any = false;
            for (uint32_t k = 0; k < RCPTS_MAX; k++) {
                if (model[i][k] != d + 1 || i > mark.id.value || (i == mark.id.value && k > mark.n))
                    continue;
                assert_ok(store_domain_walk(kit->store, domain, &place, &id, &n));
                assert_true(id.value == i && n == k);
                recipients++;
                any = true;
            }
            messages += any;
        }
        assert_code(store_domain_walk(kit->store, domain, &place, &id, &n), CODE_GONE);
        struct result r;
        while (
            is_ok(r = store_domain_count(kit->store, domain, &from, (struct message_id){IDS_MAX}, 2, &after, &counts)))
            assert_true(counts.recipients <= recipients);
        assert_code(r, CODE_GONE);
        assert_int_equal(counts.recipients, recipients);
        assert_int_equal(counts.messages, messages);
    }
    store_read_end(kit->store);
    kit_assert_clean(kit);
}

static void test_it_follows_whatever_happens(void **state)
{
    struct kit *kit = *state;
    struct rng rng = {.state = 7};
    uint8_t before[sizeof model];

    memset(model, 0, sizeof model);
    for (int round = 0; round < 300; round++) {
        memcpy(before, model, sizeof model);
        assert_ok(store_begin(kit->store));
        for (uint64_t i = rng_below(&rng, 12); i > 0; i--)
            change(&rng, kit->store);
        if (store_index_wanted(kit->store))
            assert_ok(store_index_advance(kit->store, 1 + (uint32_t)rng_below(&rng, 20)));
        if (rng_below(&rng, 6) == 0) {
            store_abandon(kit->store);
            memcpy(model, before, sizeof model);
        } else {
            assert_ok(store_commit(kit->store));
        }
        if (rng_below(&rng, 20) == 0)
            kit_reopen(kit);
        compare(kit);
    }
    assert_true(kit_stats(kit).indexed > 10);
}

static void fill(struct kit *kit, uint64_t count)
{
    memset(model, 0, sizeof model);
    assert_ok(store_begin(kit->store));
    for (uint64_t id = 1; id <= count; id++)
        put(kit->store, id, 0, (uint8_t)(id % 2));
    assert_ok(store_commit(kit->store));
}

static void advance(struct kit *kit)
{
    while (store_index_wanted(kit->store)) {
        assert_ok(store_begin(kit->store));
        assert_ok(store_index_advance(kit->store, 7));
        assert_ok(store_commit(kit->store));
    }
}

static void test_young_mail_costs_nothing(void **state)
{
    struct kit *kit = *state;

    fill(kit, 6); /* twice the tail */
    advance(kit);
    assert_int_equal(kit_stats(kit).indexed, 0);
    fill(kit, 7);
    advance(kit);
    assert_int_equal(kit_stats(kit).indexed, 4); /* all but the tail */
    compare(kit);
}

/* A queue that was written before there was an index: it opens, it is read without one, and a writer makes one. */
static void test_schema_1_is_taken_over(void **state)
{
    struct kit *kit = *state;
    uint8_t room[ROW_HEADER_SIZE + 4];
    struct buf value = row_buf(room, sizeof room);
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max, .index_tail = 3};
    struct store_place place = {{0}, 0};
    struct message_id id;
    uint32_t n;

    fill(kit, 40);
    advance(kit);
    assert_ok(wire_put_u32(&value, 1));
    row_seal(BYTES("schema"), &value);
    struct bytes row = buf_bytes(&value);
    kit_raw_put(kit, "meta", BYTES("schema"), &row);
    kit_raw_put(kit, "meta", BYTES("index_mark"), NULL);
    kit_raw_drop(kit, "domain");
    cfg.read_only = true;
    assert_ok(store_open(&cfg, &kit->store));
    kit_assert_clean(kit);
    assert_ok(store_read_begin(kit->store));
    assert_code(store_domain_walk(kit->store, BYTES("one.test"), &place, &id, &n), CODE_GONE);
    store_read_end(kit->store);
    store_close(&kit->store);
    kit_open(kit);
    assert_true(store_index_wanted(kit->store));
    advance(kit);
    assert_int_equal(kit_stats(kit).indexed, 37);
    compare(kit);
    assert_int_equal(kit_raw_get(kit, "meta", BYTES("schema"), room, sizeof room), sizeof room);
    assert_int_equal(room[ROW_HEADER_SIZE + 3], STORE_SCHEMA);
    kit_open(kit);
}

/* The check finds what is missing and what is too much, and an index made anew is sound. */
static void test_drift_is_found_and_cured(void **state)
{
    struct kit *kit = *state;
    static const uint8_t nobody[12] = {0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5};
    struct bytes row = {nobody, sizeof nobody};
    struct store_fsck f;

    fill(kit, 40);
    advance(kit);
    kit_raw_put(kit, "domain", BYTES("@one.test"), NULL); /* all of them */
    kit_raw_put(kit, "domain", BYTES("@else.test"), &row);
    kit_open(kit);
    f = kit_fsck(kit);
    assert_int_equal(f.orphan_index, 1);
    assert_int_equal(f.missing_index, 18);
    assert_false(store_fsck_clean(&f));
    assert_ok(store_begin(kit->store));
    assert_ok(store_index_reset(kit->store));
    assert_ok(store_commit(kit->store));
    kit_assert_clean(kit);
    assert_true(store_index_wanted(kit->store));
    advance(kit);
    compare(kit);
}

/* What a damaged recipient leaves in the index goes with it, whatever its domain was; a lost mark begins anew. */
static void test_damage(void **state)
{
    struct kit *kit = *state;
    struct recipient rcpt;
    struct row_key key;
    uint32_t moved;

    fill(kit, 20);
    advance(kit);
    row_key_id_n(&key, (struct message_id){5}, 0);
    kit_damage(kit, "recipient", row_key_bytes(&key), ROW_HEADER_SIZE + 9);
    assert_ok(store_read_begin(kit->store));
    assert_code(store_recipient_get(kit->store, (struct message_id){5}, 0, &rcpt), CODE_CORRUPT);
    store_read_end(kit->store);
    assert_ok(store_begin(kit->store));
    assert_ok(store_quarantine_noted(kit->store, &moved));
    assert_ok(store_commit(kit->store));
    assert_int_equal(moved, 1);
    model[5][0] = 0;
    struct store_fsck f = kit_fsck(kit);
    assert_int_equal(f.orphan_index + f.missing_index, 0);
    kit_damage(kit, "meta", BYTES("index_mark"), ROW_HEADER_SIZE + 7);
    assert_int_equal(kit_stats(kit).indexed, 0);
    advance(kit);
    assert_int_equal(kit_stats(kit).indexed, 16);
}

static uint64_t counted(struct store *s, const char *domain)
{
    struct store_domain_counts counts = {0, 0};
    struct store_place place = {{0}, 0};
    struct message_id after = {0};

    while (
        is_ok(store_domain_count(s, bytes_of(domain), &place, (struct message_id){UINT64_MAX}, 500, &after, &counts)))
        ;
    assert_int_equal(counts.messages, counts.recipients);
    return counts.recipients;
}

/* One that fills pages beside one that has a single row: they are kept in different ways. */
static void test_many_and_one(void **state)
{
    struct kit *kit = *state;
    char room[64];
    struct recipient many = rcpt_of(room, sizeof room, 0, 0, 10), one = many;

    one.forward_path = BYTES("x@alone.test");
    assert_ok(store_begin(kit->store));
    for (uint64_t id = 1; id <= 3000; id++)
        assert_ok(store_recipient_put(kit->store, (struct message_id){id}, id == 1000 ? &one : &many));
    assert_ok(store_index_advance(kit->store, 5000));
    assert_ok(store_commit(kit->store));
    assert_ok(store_read_begin(kit->store));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(counted(kit->store, "one.test"), 2996);
        assert_int_equal(counted(kit->store, "alone.test"), 1);
        assert_int_equal(counted(kit->store, "none.test"), 0);
    }
    store_read_end(kit->store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_it_follows_whatever_happens),
        TEST(test_young_mail_costs_nothing),
        TEST(test_schema_1_is_taken_over),
        TEST(test_drift_is_found_and_cured),
        TEST(test_damage),
        TEST(test_many_and_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
