/* Power cuts and failing disks under the real store.
 *
 * A seeded run of transactions (accept, spill, defer, deliver, expand, lanes, history) goes over the recording disk. The
 * digest of the whole published state is taken inside each transaction just before its commit, so the state that a commit
 * promises is known even when it fails. Then for every cut point and several seeds the image is opened by the real store:
 * its check must be clean, and its state must be exactly that of the last commit that had returned, or, when the cut
 * fell inside a commit, of that one. Nothing in between exists.
 *   MANSIO_POWERCUT_SEED=n   another run
 *   MANSIO_POWERCUT_SEEDS=n  more fates for each cut point */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/store.h"
#include "tests/support/disk.h"
#include "tests/support/folder.h"

enum { MESSAGES_MAX = 64, COMMITS_MAX = 4096, BODY_SIZE_MAX = 3 * BODY_CHUNK_SIZE_MAX };

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)

/* --- the digest of all that a queue holds --- */

static uint32_t digest_u64(uint32_t sum, uint64_t value)
{
    uint8_t octets[8];

    wire_store_u64(octets, value);
    return checksum_crc32c(sum, (struct bytes){octets, sizeof octets});
}

static uint32_t digest_rcpt(uint32_t sum, const struct recipient *rcpt)
{
    uint8_t room[RECIPIENT_SIZE_MAX];
    struct buf row = BUF(room);

    assert_ok(recipient_put(&row, rcpt));
    return checksum_crc32c(sum, buf_bytes(&row));
}

static uint32_t digest_message(struct store *s, const struct envelope_head *head)
{
    uint8_t room[ENVELOPE_HEAD_SIZE_MAX];
    struct buf row = BUF(room);
    struct message_id id = head->id;
    struct recipient rcpt;
    struct bytes piece;
    struct walltime at;
    uint64_t cursor = 0;
    uint32_t sum;

    assert_ok(envelope_head_put(&row, head));
    sum = checksum_crc32c(0, buf_bytes(&row));
    while (is_ok(store_recipient_next(s, id, &cursor, &rcpt)))
        sum = digest_rcpt(sum, &rcpt);
    for (uint64_t offset = 0; is_ok(store_body_get(s, id, offset, 100000, &piece)); offset += piece.size)
        sum = checksum_crc32c(sum, piece);
    for (cursor = 0; is_ok(store_history_next(s, id, &cursor, &at, &piece));)
        sum = checksum_crc32c(digest_u64(sum, (uint64_t)at.ms), piece);
    return sum;
}

/* Inside a transaction. */
static uint64_t digest_state(struct store *s)
{
    struct envelope_head head = {0};
    struct store_due due = {0};
    struct bytes lane = BYTES_NONE;
    struct lane_health health;
    uint64_t messages = 0;
    uint32_t sum = 0;

    for (; is_ok(store_message_next(s, head.id, &head)); messages++)
        sum = digest_u64(sum, digest_message(s, &head));
    while (is_ok(store_due_lane_next(s, lane, &lane, &due)))
        for (struct store_due at = {0}; is_ok(store_due_next(s, lane, &at, &due)); at = store_due_after(&due))
            sum = digest_u64(digest_u64(digest_u64(sum, (uint64_t)due.next_try.ms), due.id.value), due.n);
    lane = BYTES_NONE;
    while (is_ok(store_lane_next(s, lane, &lane, &health)))
        sum = digest_u64(checksum_crc32c(sum, lane), health.failures);
    return (uint64_t)sum << 32 | messages;
}

/* --- a seeded run --- */

struct live {
    struct message_id id;
    uint32_t rcpt_count;
};

struct run {
    struct store *store;
    struct rng rng;
    struct live live[MESSAGES_MAX];
    size_t live_count;
    struct message_id spilling; /* begun in an earlier transaction, not yet published */
    int64_t now_ms;
    uint8_t *body;
};

static struct bytes lane_any(struct run *run)
{
    static const char *const lanes[] = {"local", "mx:one.example", "mx:two.example", "relay:[smtp.isp.example]:587"};

    return bytes_of(lanes[rng_below(&run->rng, COUNT_OF(lanes))]);
}

static struct bytes body_any(struct run *run, size_t size)
{
    for (size_t i = 0; i < size; i += 97)
        run->body[i] = (uint8_t)rng_next(&run->rng);
    return (struct bytes){run->body, size};
}

static RESULT publish(struct run *run, struct message_id id, uint64_t body_size, uint32_t rcpt_count)
{
    struct envelope_head head = {.id = id,
        .arrival = {run->now_ms},
        .reverse_path = BYTES("sender@home.example"),
        .body_size = body_size,
        .rcpt_count = rcpt_count};

    TRY(store_message_put(run->store, &head));
    for (uint32_t n = 0; n < rcpt_count; n++) {
        struct recipient rcpt = {.n = n,
            .forward_path = BYTES("someone@else.example"),
            .lane = lane_any(run),
            .next_try = {run->now_ms + (int64_t)rng_below(&run->rng, 1000)},
            .state = rng_below(&run->rng, 8) == 0   ? RECIPIENT_HELD
                     : rng_below(&run->rng, 8) == 0 ? RECIPIENT_PARKED
                                                    : RECIPIENT_WAITING};
        TRY(store_recipient_put(run->store, id, &rcpt));
    }
    run->live[run->live_count++] = (struct live){id, rcpt_count};
    return OK;
}

static RESULT op_accept(struct run *run)
{
    static const size_t sizes[] = {1, 300, 1900, 4096, 9000, 70000, BODY_CHUNK_SIZE_MAX + 5};
    size_t size = sizes[rng_below(&run->rng, rng_below(&run->rng, 4) == 0 ? COUNT_OF(sizes) : 5)];
    struct message_id id;

    if (run->live_count == MESSAGES_MAX)
        return OK;
    TRY(store_ids_reserve(run->store, 0, 1, &id));
    struct bytes body = body_any(run, size);
    for (uint32_t chunk = 0; body.size > 0; chunk++, body = bytes_after(body, BODY_CHUNK_SIZE_MAX))
        TRY(store_body_put(run->store, id, chunk, bytes_head(body, BODY_CHUNK_SIZE_MAX)));
    return publish(run, id, size, 1 + (uint32_t)rng_below(&run->rng, 3));
}

/* A large body in two transactions: its first chunk under a mark, then the rest with the head. */
static RESULT op_spill(struct run *run)
{
    struct message_id id = run->spilling;

    if (id.value == 0) {
        TRY(store_ids_reserve(run->store, 0, 1, &id));
        TRY(store_spill_mark(run->store, id));
        run->spilling = id;
        return store_body_put(run->store, id, 0, body_any(run, BODY_CHUNK_SIZE_MAX));
    }
    run->spilling.value = 0;
    if (run->live_count == MESSAGES_MAX || rng_below(&run->rng, 3) == 0)
        return store_spill_drop(run->store, id);
    TRY(store_body_put(run->store, id, 1, body_any(run, 500)));
    return publish(run, id, BODY_CHUNK_SIZE_MAX + 500, 2);
}

/* One attempt for one recipient: delivered, expanded or deferred, with its history. */
static RESULT op_attempt(struct run *run)
{
    struct recipient rcpt, after;
    uint64_t cursor = 0;
    bool done;

    if (run->live_count == 0)
        return OK;
    struct live *live = &run->live[rng_below(&run->rng, run->live_count)];
    TRY(store_recipient_next(run->store, live->id, &cursor, &rcpt));
    uint8_t copy[RECIPIENT_SIZE_MAX];
    struct buf kept = BUF(copy);
    TRY(recipient_put(&kept, &rcpt)); /* views die at the next put */
    struct wire_reader in = wire_reader_over(buf_bytes(&kept));
    TRY(recipient_get(&in, &rcpt));
    TRY(store_history_put(run->store, live->id, (struct walltime){run->now_ms}, BYTES("one attempt")));
    uint64_t what = rng_below(&run->rng, 5);
    if (what == 4)
        return rcpt.state == RECIPIENT_WAITING ? store_recipient_park(run->store, live->id, &rcpt) : OK;
    if (what == 0) {
        after = rcpt;
        after.attempts++;
        after.next_try.ms += 120000;
        after.lane = lane_any(run);
        after.last_reply = BYTES("451 4.3.0 try again later");
        return store_recipient_update(run->store, live->id, &rcpt, &after);
    }
    TRY(store_recipient_delete(run->store, live->id, &rcpt));
    if (what == 1) {
        after = rcpt;
        after.n = live->rcpt_count++;
        after.parent = rcpt.n + 1;
        return store_recipient_put(run->store, live->id, &after);
    }
    TRY(store_message_finish(run->store, live->id, &done));
    if (done)
        *live = run->live[--run->live_count];
    return OK;
}

static RESULT op_lane(struct run *run)
{
    struct lane_health health = {
        .failures = (uint32_t)rng_below(&run->rng, 9), .last_error = BYTES("connection refused")};
    uint32_t expired;

    if (rng_below(&run->rng, 3) == 0)
        TRY(store_history_expire(run->store, (struct walltime){run->now_ms - 5000}, 10, &expired));
    return rng_below(&run->rng, 3) == 0 ? store_lane_delete(run->store, lane_any(run))
                                        : store_lane_put(run->store, lane_any(run), &health);
}

/* The content of one transaction. */
static RESULT transaction(struct run *run)
{
    uint64_t ops = 1 + rng_below(&run->rng, 6);

    run->now_ms += 1000;
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t pick = rng_below(&run->rng, 10);
        if (store_index_wanted(run->store))
            TRY(store_index_advance(run->store, 4));
        TRY(pick < 4 ? op_accept(run) : pick < 8 ? op_attempt(run) : pick < 9 ? op_spill(run) : op_lane(run));
    }
    return OK;
}

/* --- what each commit promised --- */

struct promise {
    size_t begun, returned; /* event counts; a failed commit never returned */
    uint64_t digest;
    bool failed;
    size_t undone; /* of a failed one: from this event on it must not be there */
};

static struct promise promises[COMMITS_MAX];
static size_t promise_count;
static char live_folder[FOLDER_SIZE_MAX], image_folder[FOLDER_SIZE_MAX + 8], folder[FOLDER_SIZE_MAX];

static struct store *opened(const char *path)
{
    struct store_config cfg = {.path = path, .size_max = 64 << 20, .index_tail = 5};
    struct store *s;

    assert_ok(store_open(&cfg, &s));
    return s;
}

static uint64_t digest_committed(struct store *s)
{
    assert_ok(store_read_begin(s));
    uint64_t digest = digest_state(s);
    store_read_end(s);
    return digest;
}

/* One transaction, as often as it takes: after a failed commit its state must be the old one, and it is done again. */
static void step(struct run *run)
{
    struct run before = *run;

    for (int tries = 0;; tries++) {
        assert_true(tries < 100 && promise_count < COMMITS_MAX);
        *run = before;
        struct result r = store_begin(run->store);
        if (!is_ok(r)) { /* not yet healed */
            assert_true(r.code == CODE_IO || r.code == CODE_FULL);
            continue;
        }
        /* (F1) from here on the failed one is undone for good */
        for (size_t i = promise_count; i > 1 && promises[i - 1].failed && promises[i - 1].undone == SIZE_MAX; i--)
            promises[i - 1].undone = disk_event_count();
        assert_ok(transaction(run));
        struct promise *p = &promises[promise_count++];
        *p = (struct promise){.digest = digest_state(run->store), .begun = disk_event_count()};
        r = store_commit(run->store);
        p->returned = disk_event_count();
        if (is_ok(r))
            return;
        assert_true(r.code == CODE_IO || (r.code == CODE_FULL && r.sys == 0)); /* never taken for a full map */
        p->failed = true;
        p->undone = SIZE_MAX;
        store_abandon(run->store); /* harmless after a failed commit */
    }
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t value;

    return text != NULL && is_ok(bytes_to_u64(bytes_of(text), UINT64_MAX, &value)) ? value : otherwise;
}

static void run_begin(struct run *run, uint64_t seed)
{
    *run = (struct run){.rng = {seed}, .now_ms = 1000000, .body = calloc(1, BODY_SIZE_MAX)};
    assert_non_null(run->body);
    run->store = opened(live_folder);
    disk_watch(live_folder);
    promises[0] = (struct promise){.digest = digest_committed(run->store)};
    promise_count = 1;
}

static void run_end(struct run *run)
{
    disk_fail_nth(0, 0, DISK_FAULT_REFUSED, 0);
    disk_forget();
    store_close(&run->store);
    free(run->body);
    folder_remove(live_folder);
}

static void say_line(void *context, struct bytes line)
{
    (void)context;
    print_error("fsck: %.*s\n", BYTES_ARG(line));
}

/* Whether a state may be seen after a cut there. */
static bool promised(size_t at, uint64_t digest)
{
    size_t last = 0;

    for (size_t i = 1; i < promise_count; i++)
        if (!promises[i].failed && promises[i].returned <= at)
            last = i;
    if (promises[last].digest == digest)
        return true;
    for (size_t i = last + 1; i < promise_count; i++) /* in flight at the cut */
        if (promises[i].begun < at && (!promises[i].failed || at < promises[i].undone) && promises[i].digest == digest)
            return true;
    return false;
}

static void cut(size_t at, uint64_t seed)
{
    struct store_fsck found;

    disk_rebuild(at, seed, image_folder);
    struct store *s = opened(image_folder);
    assert_ok(store_fsck(s, &found, say_line, NULL));
    bool clean = store_fsck_clean(&found) && found.unpublished == 0;
    bool fits = promised(at, digest_committed(s));
    if (!clean || !fits)
        print_error("cut at event %zu of %zu, seed %" PRIu64 ": %s\n", at, disk_event_count(), seed,
            clean ? "the state is none that was promised" : "the check is not clean");
    assert_true(clean && fits);
    if (at % 16 == 0) { /* and the survivor works */
        assert_ok(store_begin(s));
        struct envelope_head head = {.id = {UINT64_MAX - 1}, .body_size = 1, .rcpt_count = 1};
        assert_ok(store_message_put(s, &head));
        assert_ok(store_commit(s));
    }
    store_close(&s);
}

static int group_setup(void **state)
{
    (void)state;
    folder_make(folder);
    assert_true(snprintf(live_folder, sizeof live_folder, "%s/live", folder) < (int)sizeof live_folder);
    assert_true(snprintf(image_folder, sizeof image_folder, "%s/image", folder) < (int)sizeof image_folder);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void test_every_cut_of_a_short_run(void **state)
{
    uint64_t seeds = number_from("MANSIO_POWERCUT_SEEDS", 4);
    struct run run;
    size_t cuts = 0;

    (void)state;
    run_begin(&run, number_from("MANSIO_POWERCUT_SEED", 1));
    for (int i = 0; i < 25; i++)
        step(&run);
    for (size_t at = 0; at <= disk_event_count(); at++)
        for (uint64_t seed = 1; seed <= seeds; seed++, cuts++)
            cut(at, seed);
    assert_int_equal(disk_crossing_count(), 0); /* (F2) of store.c */
    print_message("%zu commits, %zu disk events, %zu cuts\n", promise_count - 1, disk_event_count(), cuts);
    run_end(&run);
}

static void test_some_cuts_of_a_long_run(void **state)
{
    struct run run;

    (void)state;
    run_begin(&run, number_from("MANSIO_POWERCUT_SEED", 2));
    for (int i = 0; i < 300; i++)
        step(&run);
    for (int i = 0; i < 150; i++)
        cut(rng_below(&run.rng, disk_event_count() + 1), rng_next(&run.rng));
    print_message("%zu commits, %zu disk events\n", promise_count - 1, disk_event_count());
    run_end(&run);
}

/* (F3) A cut while the queue is made: the next open makes it again or finds it whole. */
static void test_cuts_while_the_queue_is_made(void **state)
{
    struct store_fsck found;
    char path[FOLDER_SIZE_MAX + 8];

    (void)state;
    folder_make(path);
    disk_watch(path);
    struct store *s = opened(path);
    store_close(&s);
    for (size_t at = 0; at <= disk_event_count(); at++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            disk_rebuild(at, seed, image_folder);
            s = opened(image_folder);
            assert_ok(store_fsck(s, &found, say_line, NULL));
            assert_true(store_fsck_clean(&found) && found.messages == 0);
            store_close(&s);
        }
    print_message("%zu disk events\n", disk_event_count());
    disk_forget();
    folder_remove(path);
}

/* Fails the n-th call of a run, for n = 1, 2, 3 ... until no call is left to fail. */
static void sweep(enum disk_fault fault, int error, uint64_t calls)
{
    struct run run;

    for (uint64_t n = 1;; n++) {
        run_begin(&run, 7);
        disk_fail_nth(n, calls, fault, error);
        for (int i = 0; i < 6; i++) {
            step(&run);
            assert_true(digest_committed(run.store) == promises[promise_count - 1].digest);
        }
        struct store_fsck found;
        assert_ok(store_fsck(run.store, &found, say_line, NULL));
        assert_true(store_fsck_clean(&found));
        bool failed = disk_failed_count() > 0;
        for (size_t at = 0; failed && at <= disk_event_count(); at += 1 + n % 3)
            cut(at, n);
        run_end(&run);
        if (!failed)
            return;
    }
}

static void test_sync_fails(void **state)
{
    (void)state;
    sweep(DISK_FAULT_LOST, EIO, 1);
    sweep(DISK_FAULT_LOST, EIO, 5);
}

static void test_disk_is_full(void **state)
{
    (void)state;
    sweep(DISK_FAULT_REFUSED, ENOSPC, 1);
    sweep(DISK_FAULT_REFUSED, ENOSPC, 4);
}

static void test_writes_are_short(void **state)
{
    (void)state;
    sweep(DISK_FAULT_SHORT, ENOSPC, 1);
}

/* Also after a failure, so that the next test starts afresh. */
static int test_teardown(void **state)
{
    (void)state;
    disk_fail_nth(0, 0, DISK_FAULT_REFUSED, 0);
    disk_forget();
    folder_remove(live_folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cuts_while_the_queue_is_made, test_teardown),
        cmocka_unit_test_teardown(test_every_cut_of_a_short_run, test_teardown),
        cmocka_unit_test_teardown(test_some_cuts_of_a_long_run, test_teardown),
        cmocka_unit_test_teardown(test_sync_fails, test_teardown),
        cmocka_unit_test_teardown(test_disk_is_full, test_teardown),
        cmocka_unit_test_teardown(test_writes_are_short, test_teardown),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
