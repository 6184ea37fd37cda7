/* Damaged rows. A read that meets one notes its key and goes on; the next write transaction moves it.
 *
 * What goes with it, so that nothing of the queue stalls and no mail is thrown away:
 *   head or body chunk   the whole message: head, body, recipients; its places in the schedule are deleted
 *   recipient            its row; its place in the schedule is deleted; when the message's other recipients are done, head and
 *                        body follow it into quarantine instead of being deleted (store_quarantine_pins)
 *   place in schedule    the row; it is made again from its recipient when the key still tells which one that is
 *   lane, history, mark  the row
 * A quarantine value is the old value as it was found; its key tells the message, the sub-database and the old key. */
#include "queue/store_inside.h"

enum { HUNT_COUNT_MAX = 64 };

/* Recipients whose lane nobody can tell any more. */
struct hunt {
    struct store_place prey[HUNT_COUNT_MAX];
    size_t count;
};

void store_note(struct store *s, enum store_db db, struct bytes key)
{
    if (s->note_count == STORE_NOTES_MAX || key.size > ROW_KEY_SIZE_MAX)
        return;
    for (size_t i = 0; i < s->note_count; i++)
        if (s->notes[i].db == db && bytes_equal(row_key_bytes(&s->notes[i].key), key))
            return;
    struct store_note *note = &s->notes[s->note_count++];
    note->db = db;
    note->key.size = key.size;
    memcpy(note->key.room, key.data, key.size);
}

/* --- the schedule of damaged recipients --- */

/* One look at every place in the schedule: damage is rare, and an index for it would cost every message. */
static RESULT hunt_run(struct store *s, struct hunt *hunt)
{
    MDB_cursor *cursor;
    struct bytes key, value, lane;
    struct walltime next_try;
    struct message_id id;
    uint32_t n;

    if (hunt->count == 0)
        return OK;
    TRY(store_cursor(s, DB_LANE_DUE, &cursor));
    struct result r = store_seek(cursor, MDB_FIRST, NULL, &key, &value);
    while (is_ok(r)) {
        bool found = false;
        if (is_ok(row_key_due_get(key, &lane, &next_try, &id, &n)))
            for (size_t i = 0; i < hunt->count && !found; i++)
                found = message_id_equal(hunt->prey[i].id, id) && hunt->prey[i].n == n;
        int rc = found ? mdb_cursor_del(cursor, 0) : 0;
        if (rc != 0)
            return store_fail(rc, "cannot take a damaged recipient out of the schedule");
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &value);
    }
    if (!is_ok(r) && r.code != CODE_GONE)
        return r;
    TRY(store_index_hunt(s, hunt->prey, hunt->count));
    hunt->count = 0;
    return OK;
}

static RESULT hunt_add(struct store *s, struct hunt *hunt, struct bytes recipient_key)
{
    struct message_id id;
    uint32_t n;

    if (!is_ok(row_key_id_n_get(recipient_key, &id, &n)))
        return OK; /* no place in the schedule can name it */
    if (hunt->count == HUNT_COUNT_MAX)
        TRY(hunt_run(s, hunt));
    TRY(store_held_forget(s, id, n));
    hunt->prey[hunt->count].id = id;
    hunt->prey[hunt->count++].n = n;
    return OK;
}

static RESULT unschedule_one(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    struct row_key due;

    TRY(store_index_forget(s, id, rcpt));
    s->parked -= rcpt->state == RECIPIENT_PARKED;
    TRY(store_held_forget(s, id, rcpt->n));
    return store_due_key(&due, id, rcpt) ? store_row_forget(s, DB_LANE_DUE, &due) : OK;
}

static RESULT unschedule(struct store *s, struct message_id id, struct hunt *hunt)
{
    MDB_cursor *cursor;
    struct row_key first, prefix;
    struct bytes key, value;
    struct recipient rcpt;

    TRY(store_cursor(s, DB_RECIPIENT, &cursor));
    row_key_id_n(&first, id, 0);
    row_key_id(&prefix, id);
    struct result r = store_seek(cursor, MDB_SET_RANGE, &first, &key, &value);
    while (is_ok(r) && store_key_is(key, &prefix)) {
        if (is_ok(row_recipient_open(key, value, &rcpt))) {
            TRY(store_held_view(s, id, &rcpt));
            TRY(unschedule_one(s, id, &rcpt));
        } else
            TRY(hunt_add(s, hunt, key));
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &value);
    }
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

RESULT store_id_unschedule(struct store *s, struct message_id id)
{
    struct hunt hunt = {.count = 0};

    TRY(unschedule(s, id, &hunt));
    return hunt_run(s, &hunt);
}

/* --- moving rows --- */

static void quarantine_key(struct row_key *key_out, enum store_db db, struct bytes key)
{
    bool of_message = db == DB_MESSAGE || db == DB_BODY || db == DB_RECIPIENT || db == DB_HISTORY || db == DB_SPILL;
    uint64_t id = of_message && key.size >= 8 ? wire_load_u64(key.data) : 0;

    wire_store_u64(key_out->room, id);
    key_out->room[8] = (uint8_t)db;
    key = bytes_head(key, ROW_KEY_SIZE_MAX - 9); /* none of ours is longer; a damaged one may be */
    memcpy(key_out->room + 9, key.data, key.size);
    key_out->size = 9 + key.size;
}

/* Moves the row under the cursor. */
static RESULT move_current(struct store *s, enum store_db db, MDB_cursor *cursor, struct bytes key, struct bytes value)
{
    struct row_key to;
    MDB_val k, v = {value.size, NULL};

    quarantine_key(&to, db, key);
    k = store_val(row_key_bytes(&to));
    int rc = mdb_put(s->write, s->dbi[DB_QUARANTINE], &k, &v, MDB_RESERVE);
    if (rc != 0)
        return store_fail(rc, "cannot move a damaged row");
    if (value.size > 0)
        memcpy(v.mv_data, value.data, value.size);
    rc = mdb_cursor_del(cursor, 0);
    return rc == 0 ? OK : store_fail(rc, "cannot delete a damaged row");
}

RESULT store_quarantine_id_rows(struct store *s, enum store_db db, struct message_id id, uint32_t *count)
{
    MDB_cursor *cursor;
    struct row_key prefix;
    struct bytes key, value;

    TRY(store_cursor(s, db, &cursor));
    row_key_id(&prefix, id);
    struct result r = store_seek(cursor, MDB_SET_RANGE, &prefix, &key, &value);
    while (is_ok(r) && store_key_is(key, &prefix)) {
        TRY(move_current(s, db, cursor, key, value));
        ++*count;
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &value);
    }
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

RESULT store_quarantine_pins(struct store *s, struct message_id id, bool *pinned_out)
{
    MDB_cursor *cursor;
    struct row_key prefix;
    struct bytes key, value;

    *pinned_out = false;
    TRY(store_cursor(s, DB_QUARANTINE, &cursor));
    row_key_id(&prefix, id);
    prefix.room[prefix.size++] = DB_RECIPIENT;
    struct result r = store_seek(cursor, MDB_SET_RANGE, &prefix, &key, &value);
    *pinned_out = is_ok(r) && store_key_is(key, &prefix);
    return r.code == CODE_GONE ? OK : r;
}

/* --- what was noted --- */

static RESULT message_move(struct store *s, struct message_id id, struct hunt *hunt, uint32_t *count)
{
    TRY(unschedule(s, id, hunt));
    TRY(store_id_rows_delete(s, DB_SEEN, id));
    TRY(store_quarantine_id_rows(s, DB_RECIPIENT, id, count));
    TRY(store_quarantine_id_rows(s, DB_BODY, id, count));
    return store_quarantine_id_rows(s, DB_MESSAGE, id, count);
}

static RESULT due_make_again(struct store *s, struct bytes key)
{
    struct bytes lane;
    struct walltime next_try;
    struct message_id id;
    struct recipient rcpt;
    struct row_key due;
    uint32_t n;

    if (!is_ok(row_key_due_get(key, &lane, &next_try, &id, &n)))
        return OK;
    struct result r = store_recipient_get(s, id, n, &rcpt);
    if (r.code == CODE_GONE || r.code == CODE_CORRUPT)
        return OK;
    TRY(r);
    return store_due_key(&due, id, &rcpt) ? store_due_put(s, &due) : OK;
}

/* A row is looked at again before it is moved: it may have been replaced since. */
static bool row_damaged(enum store_db db, struct bytes key, struct bytes value)
{
    struct envelope_head head;
    struct recipient rcpt;
    struct bytes view;
    struct walltime at;
    struct message_id id;
    uint32_t n;

    switch (db) {
    case DB_MESSAGE:
        return !is_ok(row_message_open(key, value, &head));
    case DB_RECIPIENT:
        return !is_ok(row_recipient_open(key, value, &rcpt));
    case DB_LANE_DUE:
        return !is_ok(row_due_open(key, value, &view, &at, &id, &n));
    case DB_HISTORY:
        return !is_ok(row_history_open(key, value, &at, &view));
    case DB_LANE:
        return !store_lane_sound(key, value);
    default:
        return !is_ok(row_open(key, value, &view));
    }
}

static RESULT note_settle(struct store *s, const struct store_note *note, struct hunt *hunt, uint32_t *count)
{
    MDB_cursor *cursor;
    struct bytes key, value;

    TRY(store_cursor(s, note->db, &cursor));
    struct result r = store_seek(cursor, MDB_SET_RANGE, &note->key, &key, &value);
    if (r.code == CODE_GONE)
        return OK;
    TRY(r);
    if (!bytes_equal(key, row_key_bytes(&note->key)) || !row_damaged(note->db, key, value))
        return OK;
    if ((note->db == DB_MESSAGE || note->db == DB_BODY) && key.size >= 8)
        return message_move(s, (struct message_id){wire_load_u64(key.data)}, hunt, count);
    TRY(move_current(s, note->db, cursor, key, value));
    ++*count;
    if (note->db == DB_RECIPIENT)
        return hunt_add(s, hunt, row_key_bytes(&note->key));
    return note->db == DB_LANE_DUE ? due_make_again(s, row_key_bytes(&note->key)) : OK;
}

bool store_noted(const struct store *s, size_t index, struct store_noted *noted_out)
{
    struct walltime next_try;
    struct bytes lane;

    if (index >= s->note_count)
        return false;
    const struct store_note *note = &s->notes[index];
    struct bytes key = row_key_bytes(&note->key);
    *noted_out = (struct store_noted){.table = store_db_name(note->db)};
    struct result r = OK;
    if (note->db == DB_MESSAGE)
        r = row_key_id_get(key, &noted_out->id);
    else if (note->db == DB_RECIPIENT || note->db == DB_BODY)
        r = row_key_id_n_get(key, &noted_out->id, &noted_out->n);
    else if (note->db == DB_LANE_DUE)
        r = row_key_due_get(key, &lane, &next_try, &noted_out->id, &noted_out->n);
    if (!is_ok(r))
        noted_out->id = (struct message_id){0};
    return true;
}

RESULT store_quarantine_noted(struct store *s, uint32_t *count_out)
{
    struct hunt hunt = {.count = 0};

    ASSERT(s->write != NULL);
    *count_out = 0;
    for (size_t i = 0; i < s->note_count; i++)
        TRY(note_settle(s, &s->notes[i], &hunt, count_out));
    TRY(hunt_run(s, &hunt));
    s->note_count = 0;
    return OK;
}
