/* The whole check: every row alone, then each against those it must agree with. message, recipient, body and spill stand in
 * order of ids, so they are walked side by side, each once; the schedule costs one lookup a row. */
#include "queue/store_inside.h"

enum { SAY_SIZE_MAX = 512 };

/* One sub-database on its way through. */
struct walk {
    MDB_cursor *cursor;
    struct bytes key, value;
    bool end;
};

struct fsck {
    struct store *s;
    struct store_fsck found;
    void (*say)(void *context, struct bytes line);
    void *context;
    struct walk message, recipient, body, spill;
};

static void say(struct fsck *f, const char *what, struct bytes key, const char *why)
{
    uint8_t room[SAY_SIZE_MAX];
    struct buf line = BUF(room);
    bool fits = true;

    if (f->say == NULL)
        return;
    fits = fits && is_ok(buf_put_str(&line, what)) && is_ok(buf_put(&line, BYTES(" key=")));
    for (size_t i = 0; fits && i < key.size; i++) {
        static const char digits[] = "0123456789abcdef";
        fits = is_ok(buf_put_octet(&line, (uint8_t)digits[key.data[i] >> 4])) &&
               is_ok(buf_put_octet(&line, (uint8_t)digits[key.data[i] & 15]));
    }
    if (fits && is_ok(buf_put(&line, BYTES(": "))) && is_ok(buf_put_str(&line, why))) {
        f->say(f->context, buf_bytes(&line));
        return;
    }
    f->say(f->context, buf_bytes(&line)); /* a key too long to show whole is shown as far as it goes */
}

static RESULT walk_move(struct walk *w, MDB_cursor_op op)
{
    struct result r = store_seek(w->cursor, op, NULL, &w->key, &w->value);

    w->end = r.code == CODE_GONE;
    return w->end ? OK : r;
}

static RESULT walk_start(struct fsck *f, struct walk *w, enum store_db db)
{
    TRY(store_cursor(f->s, db, &w->cursor));
    return walk_move(w, MDB_FIRST);
}

/* The id in front of the key; the largest of all at the end, so that the smallest of several walks is found by comparing. */
static uint64_t walk_id(const struct walk *w)
{
    if (w->end)
        return UINT64_MAX;
    return w->key.size >= 8 ? wire_load_u64(w->key.data) : 0;
}

static void damaged(struct fsck *f, const char *what, struct bytes key, struct result r)
{
    f->found.damaged++;
    say(f, what, key, r.why);
}

/* --- one message --- */

static RESULT due_check(struct fsck *f, struct message_id id, const struct recipient *rcpt)
{
    struct row_key due;
    struct bytes payload;

    if (!store_due_key(&due, id, rcpt))
        return OK;
    struct result r = store_row_get(f->s, DB_LANE_DUE, &due, &payload);
    if (r.code == CODE_GONE) {
        f->found.missing_due++;
        say(f, "recipient", row_key_bytes(&due), "waits and is not in the schedule");
    }
    return r.code == CODE_GONE || r.code == CODE_CORRUPT ? OK : r; /* damage is counted in the schedule's own walk */
}

/* A recipient that holds together stands where it is looked for. */
static RESULT sound_check(struct fsck *f, struct bytes key, struct message_id id, const struct recipient *rcpt)
{
    bool has;

    TRY(due_check(f, id, rcpt));
    TRY(store_index_has(f->s, id, rcpt, &has));
    if (!has) {
        f->found.missing_index++;
        say(f, "recipient", key, "is not in the index of domains");
    }
    return OK;
}

static RESULT recipients_check(struct fsck *f, uint64_t id, bool has_head, uint64_t *count_out)
{
    struct walk *w = &f->recipient;
    struct recipient rcpt;

    for (*count_out = 0; !w->end && walk_id(w) == id; ++*count_out) {
        f->found.recipients++;
        struct result r = row_recipient_open(w->key, w->value, &rcpt);
        if (!is_ok(r))
            damaged(f, "recipient", w->key, r);
        else
            TRY(sound_check(f, w->key, (struct message_id){id}, &rcpt));
        if (!has_head) {
            f->found.orphan_recipients++;
            say(f, "recipient", w->key, "has no message");
        }
        TRY(walk_move(w, MDB_NEXT));
    }
    return OK;
}

/* Chunks in a row from 0 on, all but the last full. */
static RESULT body_check(struct fsck *f, uint64_t id, uint64_t *size_out, bool *whole_out)
{
    struct walk *w = &f->body;
    struct message_id found;
    struct bytes payload;
    uint32_t chunk;

    *size_out = 0;
    *whole_out = true;
    for (uint64_t expected = 0; !w->end && walk_id(w) == id; expected++) {
        f->found.body_rows++;
        struct result r = row_open(w->key, w->value, &payload);
        if (is_ok(r))
            r = row_key_id_n_get(w->key, &found, &chunk);
        if (is_ok(r) && (payload.size == 0 || payload.size > BODY_CHUNK_SIZE_MAX))
            r = FAIL(CODE_CORRUPT, "part of a body has an impossible size");
        if (is_ok(r)) {
            *whole_out = *whole_out && chunk == expected && *size_out == expected * BODY_CHUNK_SIZE_MAX;
            *size_out += payload.size;
        } else {
            damaged(f, "body", w->key, r);
            *whole_out = false;
        }
        TRY(walk_move(w, MDB_NEXT));
    }
    return OK;
}

static RESULT head_check(
    struct fsck *f, uint64_t id, struct envelope_head *head_out, bool *has_head_out, bool *sound_out)
{
    struct walk *w = &f->message;

    *has_head_out = !w->end && walk_id(w) == id;
    *sound_out = false;
    if (!*has_head_out)
        return OK;
    f->found.messages++;
    struct result r = row_message_open(w->key, w->value, head_out);
    if (is_ok(r))
        *sound_out = true;
    else
        damaged(f, "message", w->key, r);
    return OK;
}

static RESULT id_check(struct fsck *f, uint64_t id)
{
    struct envelope_head head;
    struct row_key key;
    bool has_head, sound, whole, marked = !f->spill.end && walk_id(&f->spill) == id;
    uint64_t rcpt_count, body_size, body_rows = f->found.body_rows;

    row_key_id(&key, (struct message_id){id});
    TRY(head_check(f, id, &head, &has_head, &sound));
    TRY(recipients_check(f, id, has_head, &rcpt_count));
    TRY(body_check(f, id, &body_size, &whole));
    body_rows = f->found.body_rows - body_rows;
    if (has_head && rcpt_count == 0) {
        f->found.empty_messages++;
        say(f, "message", row_key_bytes(&key), "has no recipient left and is still there");
    }
    if (sound && (!whole || body_size != head.body_size)) {
        f->found.missing_bodies++;
        say(f, "message", row_key_bytes(&key), "has not the body that its head tells of");
    }
    if (!has_head && marked)
        f->found.unpublished++;
    if (!has_head && !marked && body_rows > 0) {
        f->found.orphan_bodies++;
        say(f, "body", row_key_bytes(&key), "has no message");
    }
    if (has_head)
        TRY(walk_move(&f->message, MDB_NEXT));
    return marked ? walk_move(&f->spill, MDB_NEXT) : OK;
}

static RESULT messages_check(struct fsck *f)
{
    struct walk *const walks[] = {&f->message, &f->recipient, &f->body, &f->spill};

    TRY(walk_start(f, &f->message, DB_MESSAGE));
    TRY(walk_start(f, &f->recipient, DB_RECIPIENT));
    TRY(walk_start(f, &f->body, DB_BODY));
    TRY(walk_start(f, &f->spill, DB_SPILL));
    for (;;) {
        uint64_t id = UINT64_MAX;
        bool all_ended = true;
        for (size_t i = 0; i < COUNT_OF(walks); i++) {
            id = walk_id(walks[i]) < id ? walk_id(walks[i]) : id;
            all_ended = all_ended && walks[i]->end;
        }
        if (all_ended)
            return OK;
        TRY(id_check(f, id));
    }
}

/* --- the rest --- */

static RESULT schedule_check(struct fsck *f)
{
    struct walk w;
    struct bytes lane;
    struct walltime next_try;
    struct message_id id;
    struct recipient rcpt;
    struct row_key due;
    uint32_t n;

    for (struct result r = walk_start(f, &w, DB_LANE_DUE);; r = walk_move(&w, MDB_NEXT)) {
        TRY(r);
        if (w.end)
            return OK;
        f->found.due_rows++;
        r = row_due_open(w.key, w.value, &lane, &next_try, &id, &n);
        if (!is_ok(r)) {
            damaged(f, "lane_due", w.key, r);
            continue;
        }
        r = store_recipient_get(f->s, id, n, &rcpt);
        if (!is_ok(r) && r.code != CODE_GONE && r.code != CODE_CORRUPT)
            return r;
        if (!is_ok(r) || !store_due_key(&due, id, &rcpt) || !bytes_equal(row_key_bytes(&due), w.key)) {
            f->found.orphan_due++;
            say(f, "lane_due", w.key, "no recipient waits there");
        }
    }
}

static RESULT index_check(struct fsck *f)
{
    struct walk w;

    if (!f->s->has_index)
        return OK;
    for (struct result r = walk_start(f, &w, DB_DOMAIN);; r = walk_move(&w, MDB_NEXT)) {
        TRY(r);
        if (w.end)
            return OK;
        if (!store_index_row_sound(f->s, w.key, w.value)) {
            f->found.orphan_index++;
            say(f, "domain", w.value, "no recipient of the domain is there");
        }
    }
}

static RESULT held_check(struct fsck *f)
{
    struct walk w;
    struct recipient rcpt;
    struct message_id id;
    uint32_t n;

    if (!f->s->is_current)
        return OK;
    for (struct result r = walk_start(f, &w, DB_HELD);; r = walk_move(&w, MDB_NEXT)) {
        TRY(r);
        if (w.end)
            return OK;
        struct row_key at = {.size = w.key.size};
        memcpy(at.room, w.key.data, w.key.size); /* looking for its recipient moves the walk's cursor */
        r = row_key_id_n_get(w.key, &id, &n);
        if (is_ok(r))
            r = store_recipient_get(f->s, id, n, &rcpt);
        if (r.code == CODE_IO)
            return r;
        if (r.code == CODE_CORRUPT && at.size == 12)
            r = OK; /* the recipient itself is reported */
        TRY(store_seek(w.cursor, MDB_SET_RANGE, &at, &w.key, &w.value));
        if (!is_ok(r) || rcpt.state != RECIPIENT_PARKED) {
            f->found.orphan_held++;
            say(f, "held", w.key, "no recipient is held by it");
        }
    }
}

static RESULT sealed_check(struct fsck *f, enum store_db db, const char *what, uint64_t *count)
{
    struct walk w;
    struct bytes payload, row;
    struct walltime at;

    for (struct result r = walk_start(f, &w, db);; r = walk_move(&w, MDB_NEXT)) {
        TRY(r);
        if (w.end)
            return OK;
        ++*count;
        r = db == DB_HISTORY                                     ? row_history_open(w.key, w.value, &at, &row)
            : db == DB_LANE && !store_lane_sound(w.key, w.value) ? FAIL(CODE_CORRUPT, "not the health of a lane")
                                                                 : row_open(w.key, w.value, &payload);
        if (!is_ok(r))
            damaged(f, what, w.key, r);
    }
}

/* --- whom an expanded message goes to --- */

/* The names are those of daemon/queued/expansion.c: a lane where that says all, else the address, in lower case if it is ours. */
static RESULT seen_check_one(struct fsck *f, struct message_id id, const struct recipient *rcpt, struct bytes key)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct bytes names[3] = {rcpt->lane, rcpt->forward_path, {octets, rcpt->forward_path.size}};
    bool has = false;

    for (size_t i = 0; i < rcpt->forward_path.size; i++)
        octets[i] = octet_lower(rcpt->forward_path.data[i]);
    for (size_t i = 0; i < COUNT_OF(names) && !has; i++)
        TRY(store_seen_has(f->s, id, names[i], &has));
    if (has)
        return OK;
    f->found.missing_seen++;
    say(f, "recipient", key, "was expanded and is not remembered: it may get the message twice");
    return OK;
}

static RESULT seen_recipients_check(struct fsck *f, struct message_id id)
{
    MDB_cursor *cursor;
    struct row_key first, prefix;
    struct bytes key, value;
    struct recipient rcpt;

    row_key_id_n(&first, id, 0);
    row_key_id(&prefix, id);
    TRY(store_cursor(f->s, DB_RECIPIENT, &cursor));
    struct result r = store_seek(cursor, MDB_SET_RANGE, &first, &key, &value);
    for (; is_ok(r) && store_key_is(key, &prefix); r = store_seek(cursor, MDB_NEXT, NULL, &key, &value))
        if (is_ok(row_recipient_open(key, value, &rcpt)) && rcpt.parent > 0 && !bytes_equal(rcpt.lane, BYTES("expand")))
            TRY(seen_check_one(f, id, &rcpt, key));
    return is_ok(r) || r.code == CODE_GONE ? OK : r;
}

static RESULT seen_check(struct fsck *f)
{
    struct envelope_head head;
    struct bytes payload;
    struct walk w;
    uint64_t last = 0;
    bool has_head = false;

    for (struct result r = walk_start(f, &w, DB_SEEN);; r = walk_move(&w, MDB_NEXT)) {
        TRY(r);
        if (w.end)
            return OK;
        f->found.seen_rows++;
        r = row_open(w.key, w.value, &payload);
        if (!is_ok(r))
            damaged(f, "seen", w.key, r);
        if (walk_id(&w) != last) {
            last = walk_id(&w);
            r = store_message_get(f->s, (struct message_id){last}, &head);
            has_head = r.code != CODE_GONE;
            if (has_head) { /* which moves the walk's cursor */
                struct row_key at = {.size = w.key.size};
                memcpy(at.room, w.key.data, w.key.size);
                TRY(seen_recipients_check(f, (struct message_id){last}));
                TRY(store_seek(w.cursor, MDB_SET_RANGE, &at, &w.key, &w.value));
            }
        }
        if (!has_head) {
            f->found.orphan_seen++;
            say(f, "seen", w.key, "has no message");
        }
    }
}

static RESULT fsck_walk(struct fsck *f)
{
    uint64_t meta_rows = 0;

    TRY(messages_check(f));
    TRY(schedule_check(f));
    TRY(seen_check(f));
    TRY(index_check(f));
    TRY(held_check(f));
    TRY(sealed_check(f, DB_LANE, "lane", &f->found.lanes));
    TRY(sealed_check(f, DB_HISTORY, "history", &f->found.history_rows));
    return sealed_check(f, DB_META, "meta", &meta_rows);
}

RESULT store_fsck(
    struct store *s, struct store_fsck *found_out, void (*say_to)(void *context, struct bytes line), void *context)
{
    struct fsck f = {.s = s, .say = say_to, .context = context};
    bool opened = s->write == NULL && !s->reading;

    if (opened)
        TRY(store_read_begin(s));
    struct result r = fsck_walk(&f);
    if (opened)
        store_read_end(s);
    *found_out = f.found;
    return r;
}
