/* Reading messages, recipients, bodies, history, and walking the schedule.
 *
 * Every call seeks by itself: a walk keeps no cursor over calls, so it may be spread over many turns and over writes. */
#include "queue/store_inside.h"

/* What a key leads to, unchecked. */
static RESULT value_get(struct store *s, enum store_db db, const struct row_key *key, struct bytes *value_out)
{
    MDB_val k = store_val(row_key_bytes(key)), v;
    int rc = mdb_get(store_txn(s), s->dbi[db], &k, &v);

    if (rc != 0)
        return store_fail(rc, rc == MDB_NOTFOUND ? "no such row" : "cannot read the queue");
    *value_out = store_bytes(v);
    return OK;
}

/* Passes a row's verdict on, and remembers a bad one. */
static RESULT noted(struct store *s, enum store_db db, struct bytes key, struct result r)
{
    if (r.code == CODE_CORRUPT)
        store_note(s, db, key);
    return r;
}

RESULT store_row_get(struct store *s, enum store_db db, const struct row_key *key, struct bytes *payload_out)
{
    struct bytes value = BYTES_NONE;

    TRY(value_get(s, db, key, &value));
    return noted(s, db, row_key_bytes(key), row_open(row_key_bytes(key), value, payload_out));
}

/* --- messages --- */

RESULT store_message_get(struct store *s, struct message_id id, struct envelope_head *head_out)
{
    struct row_key key;
    struct bytes value = BYTES_NONE;

    row_key_id(&key, id);
    TRY(value_get(s, DB_MESSAGE, &key, &value));
    return noted(s, DB_MESSAGE, row_key_bytes(&key), row_message_open(row_key_bytes(&key), value, head_out));
}

RESULT store_message_next(struct store *s, struct message_id after, struct envelope_head *head_out)
{
    MDB_cursor *cursor;
    struct row_key from;
    struct bytes key, value;

    if (after.value == UINT64_MAX)
        return FAIL(CODE_GONE, "no more messages");
    TRY(store_cursor(s, DB_MESSAGE, &cursor));
    row_key_id(&from, (struct message_id){after.value + 1});
    TRY(store_seek(cursor, MDB_SET_RANGE, &from, &key, &value));
    for (;;) {
        if (is_ok(noted(s, DB_MESSAGE, key, row_message_open(key, value, head_out))))
            return OK;
        TRY(store_seek(cursor, MDB_NEXT, NULL, &key, &value));
    }
}

/* --- recipients --- */

RESULT store_recipient_get(struct store *s, struct message_id id, uint32_t n, struct recipient *rcpt_out)
{
    struct row_key key;
    struct bytes value = BYTES_NONE;

    row_key_id_n(&key, id, n);
    TRY(value_get(s, DB_RECIPIENT, &key, &value));
    TRY(noted(s, DB_RECIPIENT, row_key_bytes(&key), row_recipient_open(row_key_bytes(&key), value, rcpt_out)));
    return store_held_view(s, id, rcpt_out);
}

RESULT store_recipient_next(struct store *s, struct message_id id, uint64_t *cursor, struct recipient *rcpt_out)
{
    MDB_cursor *at;
    struct row_key from, prefix;
    struct bytes key, value;
    struct message_id found;
    uint32_t n;

    if (*cursor > UINT32_MAX)
        return FAIL(CODE_GONE, "no more recipients");
    TRY(store_cursor(s, DB_RECIPIENT, &at));
    row_key_id(&prefix, id);
    row_key_id_n(&from, id, (uint32_t)*cursor);
    TRY(store_seek(at, MDB_SET_RANGE, &from, &key, &value));
    for (;;) {
        if (!store_key_is(key, &prefix))
            return FAIL(CODE_GONE, "no more recipients");
        if (is_ok(row_key_id_n_get(key, &found, &n)))
            *cursor = (uint64_t)n + 1;
        if (is_ok(noted(s, DB_RECIPIENT, key, row_recipient_open(key, value, rcpt_out))))
            return store_held_view(s, id, rcpt_out);
        TRY(store_seek(at, MDB_NEXT, NULL, &key, &value));
    }
}

/* Whether the cursor stands on the row right before the place: then the walk goes on with one step. */
static bool stands_before(struct store *s, MDB_cursor *cursor, const struct store_place *place)
{
    MDB_val key, value;
    struct message_id id;
    uint32_t n;

    return s->write == NULL && place->n > 0 && mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT) == 0 &&
           is_ok(row_key_id_n_get(store_bytes(key), &id, &n)) && message_id_equal(id, place->id) && n == place->n - 1;
}

RESULT store_recipient_walk(
    struct store *s, struct store_place *place, struct message_id *id_out, struct recipient *rcpt_out)
{
    MDB_cursor *at;
    struct row_key from;
    struct bytes key, value;
    uint32_t n;

    TRY(store_cursor(s, DB_RECIPIENT, &at));
    bool step = stands_before(s, at, place);
    if (!step)
        row_key_id_n(&from, place->id, place->n);
    TRY(store_seek(at, step ? MDB_NEXT : MDB_SET_RANGE, step ? NULL : &from, &key, &value));
    for (;;) {
        struct result r = row_key_id_n_get(key, id_out, &n);
        if (is_ok(r)) {
            *place = store_place_behind(*id_out, n);
            r = row_recipient_open(key, value, rcpt_out);
        }
        if (is_ok(noted(s, DB_RECIPIENT, key, r)))
            return store_held_view(s, *id_out, rcpt_out);
        TRY(store_seek(at, MDB_NEXT, NULL, &key, &value));
    }
}

RESULT store_message_last(struct store *s, struct message_id *id_out)
{
    MDB_cursor *cursor;
    struct bytes key, value;

    TRY(store_cursor(s, DB_MESSAGE, &cursor));
    TRY(store_seek(cursor, MDB_LAST, NULL, &key, &value));
    return row_key_id_get(key, id_out);
}

/* --- bodies --- */

/* A chunk is read in many slices over many turns; it never changes, so its sum is computed once while it is remembered. */
static RESULT chunk_get(struct store *s, struct message_id id, uint32_t chunk, struct bytes *payload_out)
{
    struct store_verified *known = store_verified_place(s, id, chunk);
    struct row_key key;
    struct bytes value = BYTES_NONE;

    row_key_id_n(&key, id, chunk);
    if (known->id != id.value || known->chunk != chunk) {
        TRY(store_row_get(s, DB_BODY, &key, payload_out));
        *known = (struct store_verified){id.value, chunk};
        return OK;
    }
    TRY(value_get(s, DB_BODY, &key, &value));
    *payload_out = bytes_after(value, ROW_HEADER_SIZE);
    return OK;
}

RESULT store_body_get(struct store *s, struct message_id id, uint64_t offset, size_t size_max, struct bytes *body_out)
{
    struct bytes chunk;

    if (offset / BODY_CHUNK_SIZE_MAX > UINT32_MAX)
        return FAIL(CODE_GONE, "past the end of the body");
    TRY(chunk_get(s, id, (uint32_t)(offset / BODY_CHUNK_SIZE_MAX), &chunk));
    s->map_seen += chunk.size;
    chunk = bytes_head(bytes_after(chunk, offset % BODY_CHUNK_SIZE_MAX), size_max);
    if (chunk.size == 0)
        return FAIL(CODE_GONE, "past the end of the body");
    *body_out = chunk;
    return OK;
}

/* --- the schedule --- */

/* From the row given, the first that is sound and whose key begins with `prefix` (NULL: any). */
static RESULT due_sound(struct store *s, MDB_cursor *cursor, const struct row_key *prefix, struct bytes key,
    struct bytes value, struct bytes *lane_out, struct store_due *due_out)
{
    for (;;) {
        if (prefix != NULL && !store_key_is(key, prefix))
            return FAIL(CODE_GONE, "the lane has no more rows");
        struct result r = row_due_open(key, value, lane_out, &due_out->next_try, &due_out->id, &due_out->n);
        if (is_ok(noted(s, DB_LANE_DUE, key, r)))
            return OK;
        TRY(store_seek(cursor, MDB_NEXT, NULL, &key, &value));
    }
}

RESULT store_due_next(struct store *s, struct bytes lane, const struct store_due *from, struct store_due *due_out)
{
    MDB_cursor *cursor;
    struct row_key prefix, place;
    struct bytes key, value, found;

    if (!row_lane_valid(lane))
        return FAIL(CODE_GONE, "no lane has such a name");
    TRY(store_cursor(s, DB_LANE_DUE, &cursor));
    row_key_lane_first(&prefix, lane);
    bool whole = from->next_try.ms == 0 && from->id.value == 0 && from->n == 0;
    if (!whole)
        row_key_due(&place, lane, from->next_try, from->id, from->n);
    TRY(store_seek(cursor, MDB_SET_RANGE, whole ? &prefix : &place, &key, &value));
    return due_sound(s, cursor, &prefix, key, value, &found, due_out);
}

struct store_due store_due_after(const struct store_due *row)
{
    struct store_due next = *row;

    if (++next.n == 0 && ++next.id.value == 0)
        next.next_try.ms++;
    return next;
}

RESULT store_due_lane_next(struct store *s, struct bytes after, struct bytes *lane_out, struct store_due *first_out)
{
    MDB_cursor *cursor;
    struct row_key place;
    struct bytes key, value;

    if (after.size > 0 && !row_lane_valid(after))
        return FAIL(CODE_GONE, "no lane has such a name");
    TRY(store_cursor(s, DB_LANE_DUE, &cursor));
    if (after.size > 0)
        row_key_lane_end(&place, after);
    TRY(store_seek(cursor, after.size > 0 ? MDB_SET_RANGE : MDB_FIRST, after.size > 0 ? &place : NULL, &key, &value));
    return due_sound(s, cursor, NULL, key, value, lane_out, first_out);
}

/* --- history --- */

RESULT store_history_next(
    struct store *s, struct message_id id, uint64_t *cursor, struct walltime *at_out, struct bytes *row_out)
{
    MDB_cursor *at;
    struct row_key from, prefix;
    struct bytes key, value;
    struct message_id found;
    uint32_t k;

    if (*cursor > UINT32_MAX)
        return FAIL(CODE_GONE, "no more history");
    TRY(store_cursor(s, DB_HISTORY, &at));
    row_key_id(&prefix, id);
    row_key_id_n(&from, id, (uint32_t)*cursor);
    TRY(store_seek(at, MDB_SET_RANGE, &from, &key, &value));
    for (;;) {
        if (!store_key_is(key, &prefix))
            return FAIL(CODE_GONE, "no more history");
        if (is_ok(row_key_id_n_get(key, &found, &k)))
            *cursor = (uint64_t)k + 1;
        if (is_ok(noted(s, DB_HISTORY, key, row_history_open(key, value, at_out, row_out))))
            return OK;
        TRY(store_seek(at, MDB_NEXT, NULL, &key, &value));
    }
}

RESULT store_history_walk(struct store *s, struct store_place *place, struct message_id *id_out,
    struct walltime *at_out, struct bytes *row_out)
{
    MDB_cursor *at;
    struct row_key from;
    struct bytes key, value;
    uint32_t k;

    TRY(store_cursor(s, DB_HISTORY, &at));
    bool step = stands_before(s, at, place);
    if (!step)
        row_key_id_n(&from, place->id, place->n);
    TRY(store_seek(at, step ? MDB_NEXT : MDB_SET_RANGE, step ? NULL : &from, &key, &value));
    for (;;) {
        struct result r = row_key_id_n_get(key, id_out, &k);
        if (is_ok(r)) {
            *place = store_place_behind(*id_out, k);
            r = row_history_open(key, value, at_out, row_out);
        }
        if (is_ok(noted(s, DB_HISTORY, key, r)))
            return OK;
        TRY(store_seek(at, MDB_NEXT, NULL, &key, &value));
    }
}
