/* queue_kit: what tests of the store share: a scratch queue, plain messages, and a hand that damages rows behind the
 * store's back (through LMDB itself, while the store is closed).
 *
 *   static struct kit kit;
 *   cmocka_unit_test_setup_teardown(test, kit_setup, kit_teardown)      with kit in *state
 *   kit_message(&kit, 7, BYTES("mx:two.example"), 5000);
 *   kit_damage(&kit, "recipient", row_key_bytes(&key), ROW_HEADER_SIZE); */
#ifndef MANSIO_TESTS_QUEUE_KIT_H
#define MANSIO_TESTS_QUEUE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <lmdb.h>

#include "queue/row.h"
#include "queue/store.h"
#include "tests/support/folder.h"

#define assert_ok(e) assert_int_equal((e).code, CODE_OK)
#define assert_code(e, code_) assert_int_equal((e).code, (code_))

struct kit {
    char folder[FOLDER_SIZE_MAX];
    uint64_t size_max;
    uint32_t index_tail;
    struct store *store;
};

static inline void kit_open(struct kit *kit)
{
    struct store_config cfg = {.path = kit->folder, .size_max = kit->size_max, .index_tail = kit->index_tail};

    assert_ok(store_open(&cfg, &kit->store));
}

static inline void kit_reopen(struct kit *kit)
{
    store_close(&kit->store);
    kit_open(kit);
}

static inline int kit_setup(void **state)
{
    static struct kit kit;

    kit = (struct kit){.size_max = 256 << 20, .index_tail = 3};
    folder_make(kit.folder);
    kit_open(&kit);
    *state = &kit;
    return 0;
}

static inline int kit_teardown(void **state)
{
    struct kit *kit = *state;

    store_close(&kit->store);
    folder_remove(kit->folder);
    return 0;
}

static inline struct envelope_head kit_head(uint64_t id, uint64_t body_size, uint32_t rcpt_count)
{
    return (struct envelope_head){.id = {id},
        .arrival = {1000},
        .reverse_path = BYTES("sender@one.example"),
        .body_size = body_size,
        .rcpt_count = rcpt_count,
        .subject = BYTES("Hello")};
}

static inline struct recipient kit_rcpt(uint32_t n, struct bytes lane, int64_t next_try_ms)
{
    return (struct recipient){
        .n = n, .forward_path = BYTES("rcpt@two.example"), .lane = lane, .next_try = {next_try_ms}};
}

/* A message with `rcpt_count` recipients in one lane, in a transaction of its own. */
static inline void kit_message_to(
    struct kit *kit, uint64_t id, uint32_t rcpt_count, struct bytes lane, int64_t next_try_ms)
{
    struct envelope_head head = kit_head(id, 5, rcpt_count);

    assert_ok(store_begin(kit->store));
    assert_ok(store_body_put(kit->store, head.id, 0, BYTES("Hi!\r\n")));
    assert_ok(store_message_put(kit->store, &head));
    for (uint32_t n = 0; n < rcpt_count; n++) {
        struct recipient rcpt = kit_rcpt(n, lane, next_try_ms);
        assert_ok(store_recipient_put(kit->store, head.id, &rcpt));
    }
    assert_ok(store_commit(kit->store));
}

static inline void kit_message(struct kit *kit, uint64_t id, struct bytes lane, int64_t next_try_ms)
{
    kit_message_to(kit, id, 1, lane, next_try_ms);
}

static inline struct store_fsck kit_fsck(struct kit *kit)
{
    struct store_fsck found;

    assert_ok(store_fsck(kit->store, &found, NULL, NULL));
    return found;
}

static inline void kit_assert_clean(struct kit *kit)
{
    struct store_fsck found = kit_fsck(kit);

    assert_true(store_fsck_clean(&found));
}

static inline struct store_stats kit_stats(struct kit *kit)
{
    struct store_stats stats;

    store_stats_get(kit->store, &stats);
    return stats;
}

/* --- behind the store's back --- */

/* Replaces, makes or (value NULL) deletes a row as it stands; the store is closed around it. */
static inline void kit_raw_put(struct kit *kit, const char *db, struct bytes key, const struct bytes *value)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {key.size, (void *)(uintptr_t)key.data}, v = {0, NULL};

    if (value != NULL)
        v = (MDB_val){value->size, (void *)(uintptr_t)value->data};
    store_close(&kit->store);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, kit->folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, db, 0, &dbi), 0);
    assert_int_equal(value != NULL ? mdb_put(txn, dbi, &k, &v, 0) : mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Takes a whole sub-database away. */
static inline void kit_raw_drop(struct kit *kit, const char *db)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    store_close(&kit->store);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, kit->folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, db, 0, &dbi), 0);
    assert_int_equal(mdb_drop(txn, dbi, 1), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Copies a row's stored value; returns its size, SIZE_MAX when there is none. */
static inline size_t kit_raw_get(struct kit *kit, const char *db, struct bytes key, uint8_t *room, size_t room_size)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {key.size, (void *)(uintptr_t)key.data}, v;
    size_t size = SIZE_MAX;

    store_close(&kit->store);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, kit->folder, MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, db, 0, &dbi), 0);
    if (mdb_get(txn, dbi, &k, &v) == 0) {
        assert_true(v.mv_size <= room_size);
        memcpy(room, v.mv_data, v.mv_size);
        size = v.mv_size;
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return size;
}

/* Flips a bit of a stored value, its header included in `at`, and opens the queue again. */
static inline void kit_damage(struct kit *kit, const char *db, struct bytes key, size_t at)
{
    static uint8_t room[BODY_CHUNK_SIZE_MAX + ROW_HEADER_SIZE];
    size_t size = kit_raw_get(kit, db, key, room, sizeof room);

    assert_true(size != SIZE_MAX && at < size);
    room[at] ^= 4;
    struct bytes value = {room, size};
    kit_raw_put(kit, db, key, &value);
    kit_open(kit);
}

#endif
