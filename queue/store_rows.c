/* Writing messages, recipients, bodies, history.
 *
 * The common message (one recipient, one chunk) costs four tree walks to put (body, head, recipient, schedule) and five to
 * end (recipient, schedule, the look for other recipients, body, head). Ids grow, so new rows are appended where they are
 * the largest: LMDB then fills pages whole instead of splitting them in half. */
#include "queue/store_inside.h"

/* --- rows in general --- */

RESULT store_row_reserve(
    struct store *s, enum store_db db, const struct row_key *key, size_t payload_size, uint8_t **row_out)
{
    MDB_val k = store_val(row_key_bytes(key)), v = {ROW_HEADER_SIZE + payload_size, NULL};

    ASSERT(s->write != NULL);
    int rc = mdb_put(s->write, s->dbi[db], &k, &v, MDB_RESERVE | MDB_APPEND);
    if (rc == MDB_KEYEXIST) { /* not the largest key */
        v = (MDB_val){ROW_HEADER_SIZE + payload_size, NULL};
        rc = mdb_put(s->write, s->dbi[db], &k, &v, MDB_RESERVE);
    }
    if (rc != 0)
        return store_fail(rc, "cannot write a row");
    *row_out = v.mv_data;
    return OK;
}

static void row_seal_reserved(const struct row_key *key, uint8_t *row, size_t payload_size)
{
    row_header_put(row_key_bytes(key), (struct bytes){row + ROW_HEADER_SIZE, payload_size}, row);
}

RESULT store_row_put(struct store *s, enum store_db db, const struct row_key *key, struct buf *value)
{
    uint8_t *row = NULL;

    row_seal(row_key_bytes(key), value);
    TRY(store_row_reserve(s, db, key, value->size - ROW_HEADER_SIZE, &row));
    memcpy(row, value->data, value->size);
    return OK;
}

RESULT store_row_delete(struct store *s, enum store_db db, const struct row_key *key)
{
    MDB_val k = store_val(row_key_bytes(key));

    ASSERT(s->write != NULL);
    int rc = mdb_del(s->write, s->dbi[db], &k, NULL);
    return rc == 0 ? OK : store_fail(rc, "cannot delete a row");
}

RESULT store_row_forget(struct store *s, enum store_db db, const struct row_key *key)
{
    struct result r = store_row_delete(s, db, key);
    return r.code == CODE_GONE ? OK : r;
}

RESULT store_id_rows_delete(struct store *s, enum store_db db, struct message_id id)
{
    MDB_cursor *cursor;
    struct row_key first, prefix;
    struct bytes key, value;

    TRY(store_cursor(s, db, &cursor));
    row_key_id_n(&first, id, 0);
    row_key_id(&prefix, id);
    struct result r = store_seek(cursor, MDB_SET_RANGE, &first, &key, &value);
    while (is_ok(r) && store_key_is(key, &prefix)) {
        int rc = mdb_cursor_del(cursor, 0);
        if (rc != 0)
            return store_fail(rc, "cannot delete a row");
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &value); /* after a delete: the row that followed it */
    }
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

/* --- ids --- */

static const struct row_key last_id_key = {"last_id", 7};

/* The largest id that a sub-database names first in its keys; 0 when it is empty. */
static RESULT largest_id(struct store *s, enum store_db db, uint64_t *id)
{
    MDB_cursor *cursor;
    struct bytes key, value;

    TRY(store_cursor(s, db, &cursor));
    struct result r = store_seek(cursor, MDB_LAST, NULL, &key, &value);
    if (is_ok(r) && key.size >= 8 && wire_load_u64(key.data) > *id)
        *id = wire_load_u64(key.data);
    return r.code == CODE_GONE ? OK : r;
}

static RESULT last_id_get(struct store *s, uint64_t *last_out)
{
    struct bytes payload;
    uint64_t last = 0;
    struct result r = store_row_get(s, DB_META, &last_id_key, &payload);

    if (is_ok(r) && payload.size == 8) {
        *last_out = wire_load_u64(payload.data);
        return OK;
    }
    if (!is_ok(r) && r.code != CODE_GONE && r.code != CODE_CORRUPT)
        return r;
    /* A new queue, or a damaged row: no id that any row still names may come again. */
    static const enum store_db places[] = {DB_MESSAGE, DB_BODY, DB_RECIPIENT, DB_HISTORY, DB_QUARANTINE, DB_SPILL};
    for (size_t i = 0; i < COUNT_OF(places); i++)
        TRY(largest_id(s, places[i], &last));
    *last_out = last;
    return OK;
}

RESULT store_ids_reserve(struct store *s, uint64_t floor, uint32_t count, struct message_id *first_out)
{
    uint8_t room[ROW_HEADER_SIZE + 8];
    struct buf value = row_buf(room, sizeof room);
    uint64_t last;

    ASSERT(count > 0);
    TRY(last_id_get(s, &last));
    if (last > UINT64_MAX - count || floor > UINT64_MAX - count)
        return FAIL(CODE_FULL, "message ids are used up");
    uint64_t first = floor > last ? floor : last + 1;
    if (first == 0)
        first = 1; /* 0 is never a message */
    TRY(wire_put_u64(&value, first + count - 1));
    TRY(store_row_put(s, DB_META, &last_id_key, &value));
    *first_out = (struct message_id){first};
    return OK;
}

/* --- messages --- */

RESULT store_body_put(struct store *s, struct message_id id, uint32_t chunk, struct bytes body)
{
    struct row_key key;
    uint8_t *row = NULL;

    ASSERT(id.value != 0 && body.size > 0 && body.size <= BODY_CHUNK_SIZE_MAX);
    row_key_id_n(&key, id, chunk);
    TRY(store_row_reserve(s, DB_BODY, &key, body.size, &row));
    memcpy(row + ROW_HEADER_SIZE, body.data, body.size);
    row_seal_reserved(&key, row, body.size);
    *store_verified_place(s, id, chunk) = (struct store_verified){0, 0};
    return OK;
}

RESULT store_spill_mark(struct store *s, struct message_id id)
{
    uint8_t room[ROW_HEADER_SIZE];
    struct buf value = row_buf(room, sizeof room);
    struct row_key key;

    ASSERT(id.value != 0);
    row_key_id(&key, id);
    return store_row_put(s, DB_SPILL, &key, &value);
}

RESULT store_spill_drop(struct store *s, struct message_id id)
{
    struct row_key key;
    struct bytes payload;

    row_key_id(&key, id);
    struct result r = store_row_get(s, DB_MESSAGE, &key, &payload);
    if (r.code == CODE_GONE)
        TRY(store_id_rows_delete(
            s, DB_BODY, id)); /* never the body of a published message, whatever the caller thinks */
    else if (r.code != CODE_CORRUPT)
        TRY(r);
    return store_row_forget(s, DB_SPILL, &key);
}

RESULT store_message_put(struct store *s, const struct envelope_head *head)
{
    uint8_t room[ROW_HEADER_SIZE + ENVELOPE_HEAD_SIZE_MAX];
    struct buf value = row_buf(room, sizeof room);
    struct row_key key;

    ASSERT(head->id.value != 0);
    row_key_id(&key, head->id);
    TRY(envelope_head_put(&value, head));
    TRY(store_row_put(s, DB_MESSAGE, &key, &value));
    return store_row_forget(s, DB_SPILL, &key);
}

/* --- recipients and their place in the schedule --- */

static RESULT recipient_row_put(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    uint8_t room[ROW_HEADER_SIZE + RECIPIENT_SIZE_MAX];
    struct buf value = row_buf(room, sizeof room);
    struct row_key key;

    row_key_id_n(&key, id, rcpt->n);
    TRY(recipient_put(&value, rcpt));
    return store_row_put(s, DB_RECIPIENT, &key, &value);
}

/* In the place of the row that is there, sound or damaged: one search, and none where the cursor stands on the page already.
 * CODE_GONE when there is none. */
static RESULT recipient_row_replace(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    uint8_t room[ROW_HEADER_SIZE + RECIPIENT_SIZE_MAX];
    struct buf value = row_buf(room, sizeof room);
    struct row_key key;
    struct bytes found, old;
    MDB_cursor *cursor;

    row_key_id_n(&key, id, rcpt->n);
    TRY(recipient_put(&value, rcpt));
    row_seal(row_key_bytes(&key), &value);
    TRY(store_cursor(s, DB_RECIPIENT, &cursor));
    TRY(store_seek(cursor, MDB_SET_KEY, &key, &found, &old));
    MDB_val k = store_val(row_key_bytes(&key)), v = {value.size, value.data};
    int rc = mdb_cursor_put(cursor, &k, &v, MDB_CURRENT);
    return rc == 0 ? OK : store_fail(rc, "cannot write a row");
}

bool store_due_key(struct row_key *key_out, struct message_id id, const struct recipient *rcpt)
{
    if (rcpt->state == RECIPIENT_HELD)
        return false;
    row_key_due(key_out, recipient_is_leaving(rcpt->state) ? BYTES(RECIPIENT_LEAVING_LANE) : rcpt->lane, rcpt->next_try,
        id, rcpt->n);
    return true;
}

RESULT store_due_put(struct store *s, const struct row_key *key)
{
    uint8_t room[ROW_HEADER_SIZE];
    struct buf value = row_buf(room, sizeof room);

    return store_row_put(s, DB_LANE_DUE, key, &value);
}

static const struct row_key parked_key = {"parked", 6};

RESULT store_parked_open(struct store *s)
{
    struct bytes payload;

    TRY(store_read_begin(s));
    struct result r = store_row_get(s, DB_META, &parked_key, &payload);
    s->parked = is_ok(r) && payload.size == 8 ? (int64_t)wire_load_u64(payload.data) : 0;
    store_read_end(s);
    return is_ok(r) || r.code == CODE_GONE || r.code == CODE_CORRUPT ? OK : r;
}

RESULT store_parked_save(struct store *s)
{
    uint8_t room[ROW_HEADER_SIZE + 8];
    struct buf value = row_buf(room, sizeof room);

    if (s->parked == s->parked_before)
        return OK;
    TRY(wire_put_u64(&value, s->parked > 0 ? (uint64_t)s->parked : 0));
    return store_row_put(s, DB_META, &parked_key, &value);
}

RESULT store_recipient_put(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    struct row_key due;

    ASSERT(id.value != 0);
    TRY(recipient_row_put(s, id, rcpt));
    TRY(store_index_put(s, id, rcpt));
    s->parked += rcpt->state == RECIPIENT_PARKED;
    return store_due_key(&due, id, rcpt) ? store_due_put(s, &due) : OK;
}

RESULT store_recipient_update(
    struct store *s, struct message_id id, const struct recipient *before, const struct recipient *after)
{
    struct row_key due_before, due_after;

    ASSERT(before->n == after->n);
    TRY(recipient_row_replace(s, id, after));
    if (before->state == RECIPIENT_PARKED)
        TRY(store_held_forget(s, id, after->n));
    s->parked += (after->state == RECIPIENT_PARKED) - (before->state == RECIPIENT_PARKED);
    bool was = store_due_key(&due_before, id, before), is = store_due_key(&due_after, id, after);
    if (was && is && bytes_equal(row_key_bytes(&due_before), row_key_bytes(&due_after)))
        return OK;
    if (was)
        TRY(store_row_forget(s, DB_LANE_DUE, &due_before));
    return is ? store_due_put(s, &due_after) : OK;
}

RESULT store_recipient_delete(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    struct row_key key, due;

    row_key_id_n(&key, id, rcpt->n);
    TRY(store_row_delete(s, DB_RECIPIENT, &key));
    TRY(store_index_forget(s, id, rcpt));
    s->parked -= rcpt->state == RECIPIENT_PARKED;
    if (rcpt->state == RECIPIENT_PARKED)
        TRY(store_held_forget(s, id, rcpt->n));
    return store_due_key(&due, id, rcpt) ? store_row_forget(s, DB_LANE_DUE, &due) : OK;
}

/* A row for each that hashes alike, told apart by their text: an address that somebody made to hash like another loses no mail.
 * A damaged row remembers nobody, so that its recipient rather comes twice than never. When it is not there key_out is that of
 * its row. */
static RESULT seen_find(
    struct store *s, struct message_id id, struct bytes text, struct row_key *key_out, bool *has_out)
{
    MDB_cursor *cursor;
    struct bytes found, value, payload;

    *has_out = false;
    TRY(store_cursor(s, DB_SEEN, &cursor));
    for (uint32_t k = 0;; k++) {
        row_key_seen(key_out, id, bytes_hash(text, 0), k);
        struct result r = store_seek(cursor, MDB_SET_RANGE, key_out, &found, &value);
        if (!is_ok(r))
            return r.code == CODE_GONE ? OK : r;
        if (!bytes_equal(found, row_key_bytes(key_out)))
            return OK;
        if (is_ok(row_open(found, value, &payload)) && bytes_equal(payload, text)) {
            *has_out = true;
            return OK;
        }
    }
}

RESULT store_seen_has(struct store *s, struct message_id id, struct bytes text, bool *has_out)
{
    struct row_key key;

    return seen_find(s, id, text, &key, has_out);
}

RESULT store_seen_put(struct store *s, struct message_id id, struct bytes text, bool *fresh_out)
{
    struct row_key key;
    uint8_t *stored;
    bool has;

    *fresh_out = false;
    TRY(seen_find(s, id, text, &key, &has));
    if (has)
        return OK;
    TRY(store_row_reserve(s, DB_SEEN, &key, text.size, &stored));
    memcpy(stored + ROW_HEADER_SIZE, text.data, text.size);
    row_seal_reserved(&key, stored, text.size);
    *fresh_out = true;
    return OK;
}

RESULT store_message_finish(struct store *s, struct message_id id, bool *done_out)
{
    MDB_cursor *cursor;
    struct row_key first, prefix;
    struct bytes key, value;
    bool pinned;
    uint32_t moved = 0;

    row_key_id_n(&first, id, 0);
    row_key_id(&prefix, id);
    TRY(store_cursor(s, DB_RECIPIENT, &cursor));
    struct result r = store_seek(cursor, MDB_SET_RANGE, &first, &key, &value);
    *done_out = false;
    if (is_ok(r) && store_key_is(key, &prefix))
        return OK;
    if (!is_ok(r) && r.code != CODE_GONE)
        return r;
    *done_out = true;
    TRY(store_id_rows_delete(s, DB_SEEN, id));
    TRY(store_quarantine_pins(s, id, &pinned));
    if (pinned) {
        TRY(store_quarantine_id_rows(s, DB_BODY, id, &moved));
        return store_quarantine_id_rows(s, DB_MESSAGE, id, &moved);
    }
    TRY(store_id_rows_delete(s, DB_BODY, id));
    return store_row_delete(s, DB_MESSAGE, &prefix);
}

RESULT store_message_delete(struct store *s, struct message_id id)
{
    struct row_key key;
    struct bytes payload;

    row_key_id(&key, id);
    struct result r = store_row_get(s, DB_MESSAGE, &key, &payload);
    if (r.code != CODE_CORRUPT)
        TRY(r);
    TRY(store_id_unschedule(s, id));
    TRY(store_id_rows_delete(s, DB_RECIPIENT, id));
    TRY(store_id_rows_delete(s, DB_SEEN, id));
    TRY(store_id_rows_delete(s, DB_BODY, id));
    return store_row_forget(s, DB_MESSAGE, &key);
}

/* --- history --- */

/* The number behind the last row of the message. */
static RESULT history_next_k(struct store *s, struct message_id id, uint32_t *k_out)
{
    MDB_cursor *cursor;
    struct row_key behind;
    struct bytes key, value;
    struct message_id found;
    uint32_t k;

    *k_out = 0;
    TRY(store_cursor(s, DB_HISTORY, &cursor));
    row_key_id_n(&behind, id, UINT32_MAX);
    struct result r = store_seek(cursor, MDB_SET_RANGE, &behind, &key, &value);
    if (is_ok(r) && bytes_equal(key, row_key_bytes(&behind)))
        return FAIL(CODE_FULL, "history of a message is full");
    if (!is_ok(r) && r.code != CODE_GONE)
        return r;
    r = store_seek(cursor, is_ok(r) ? MDB_PREV : MDB_LAST, NULL, &key, &value);
    if (is_ok(r) && is_ok(row_key_id_n_get(key, &found, &k)) && message_id_equal(found, id))
        *k_out = k + 1;
    return r.code == CODE_GONE ? OK : r;
}

RESULT store_history_put(struct store *s, struct message_id id, struct walltime at, struct bytes row)
{
    struct row_key key;
    uint8_t *stored = NULL;
    uint32_t k;

    ASSERT(id.value != 0 && row.size <= BODY_CHUNK_SIZE_MAX - 8);
    TRY(history_next_k(s, id, &k));
    row_key_id_n(&key, id, k);
    TRY(store_row_reserve(s, DB_HISTORY, &key, 8 + row.size, &stored));
    wire_store_u64(stored + ROW_HEADER_SIZE, (uint64_t)at.ms);
    if (row.size > 0)
        memcpy(stored + ROW_HEADER_SIZE + 8, row.data, row.size);
    row_seal_reserved(&key, stored, 8 + row.size);
    return OK;
}

/* History stands in order of ids, not of time, and a deferred message has young rows under an old id. So each call looks
 * at a bounded stretch and the next goes on behind it, around and around. */
RESULT store_history_expire(struct store *s, struct walltime before, uint32_t count_max, uint32_t *count_out)
{
    enum { LOOKED_AT_PER_ROW = 16 };
    MDB_cursor *cursor;
    struct bytes key, value, row;
    struct walltime at;

    *count_out = 0;
    if (count_max == 0)
        return OK;
    TRY(store_cursor(s, DB_HISTORY, &cursor));
    struct result r =
        store_seek(cursor, s->history_place.size > 0 ? MDB_SET_RANGE : MDB_FIRST, &s->history_place, &key, &value);
    for (uint64_t looked = 0; is_ok(r); looked++) {
        ASSERT(key.size <= ROW_KEY_SIZE_MAX);
        s->history_place.size = key.size;
        memcpy(s->history_place.room, key.data, key.size);
        if (*count_out == count_max || looked == (uint64_t)count_max * LOOKED_AT_PER_ROW)
            return OK;
        r = row_history_open(key, value, &at, &row);
        if (r.code == CODE_CORRUPT)
            store_note(s, DB_HISTORY, key);
        if (is_ok(r) && at.ms < before.ms) {
            int rc = mdb_cursor_del(cursor, 0);
            if (rc != 0)
                return store_fail(rc, "cannot delete a history row");
            ++*count_out;
        }
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &value);
    }
    s->history_place.size = 0;
    return r.code == CODE_GONE ? OK : r;
}

bool store_history_is_seen(const struct store *s)
{
    return s->history_place.size == 0;
}
