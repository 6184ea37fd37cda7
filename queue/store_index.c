/* The index of domains: domain -> the recipients that it has, for `domain=` in a filter.
 *
 * It runs behind on purpose. Mail that is delivered at once never enters it, so it costs the common message nothing; what
 * stays in the queue is entered later, the oldest first, many rows to a commit, and the youngest few thousand recipients are
 * looked through one by one instead.
 *
 * (X1) The mark is a place in the order of (id, n). A sound recipient row at or before it has exactly one row here; one behind it has
 *      none. Both change in the transaction that changes the recipient or moves the mark, so a crash cannot part them.
 * (X2) A recipient that is stored at or before the mark (ids are given out in advance, so mail is not published in their
 *      order) is entered there and then.
 * (X3) Nobody takes a row here for a recipient without reading it, but for a count; what a damaged recipient left behind is
 *      taken out with it (store_quarantine.c), and the check compares the two.
 *
 * A row is a duplicate under "@" and the domain in lower case: 12 octets, id and n. LMDB packs some 330 of them into a page, so
 * a million are counted in milliseconds. They carry no seal: the recipients are the truth and the index is made again from them. */
#include "queue/store_inside.h"

enum {
    PLACE_SIZE = 12,
    DOMAIN_KEPT_MAX = 256, /* octets that tell domains apart here; a longer one is judged by its recipient */
    TAIL_DEFAULT = 4096,
    TAIL_SLACK = 2, /* it begins at so many times the tail, and goes on until the tail is reached */
};

static const struct row_key mark_key = {"index_mark", 10};

static void domain_key(struct row_key *key_out, struct bytes domain)
{
    domain = bytes_head(domain, DOMAIN_KEPT_MAX);
    key_out->room[0] = '@';
    for (size_t i = 0; i < domain.size; i++)
        key_out->room[1 + i] = octet_lower(domain.data[i]);
    key_out->size = 1 + domain.size;
}

static void path_key(struct row_key *key_out, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    domain_key(key_out, at == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(path, (size_t)at + 1));
}

static void place_put(uint8_t out[PLACE_SIZE], struct message_id id, uint32_t n)
{
    wire_store_u64(out, id.value);
    wire_store_u32(out + 8, n);
}

static bool place_get(MDB_val value, struct store_place *place_out)
{
    const uint8_t *data = value.mv_data;

    if (value.mv_size != PLACE_SIZE)
        return false;
    *place_out = (struct store_place){{wire_load_u64(data)}, wire_load_u32(data + 8)};
    return true;
}

static bool is_indexed(struct store_place mark, struct message_id id, uint32_t n)
{
    return id.value < mark.id.value || (id.value == mark.id.value && n <= mark.n);
}

/* --- the mark --- */

RESULT store_index_mark(struct store *s, struct store_place *mark_out)
{
    struct bytes payload;

    *mark_out = s->index_mark;
    if (s->write != NULL || !s->has_index) /* a writer knows it; another process may have moved it since */
        return OK;
    *mark_out = (struct store_place){{0}, 0};
    struct result r = store_row_get(s, DB_META, &mark_key, &payload);
    if (r.code == CODE_GONE)
        return OK;
    TRY(r);
    return place_get(store_val(payload), mark_out) ? OK : FAIL(CODE_CORRUPT, "the index has no sound mark");
}

static RESULT mark_put(struct store *s, struct store_place mark)
{
    uint8_t room[ROW_HEADER_SIZE + PLACE_SIZE];
    struct buf value = row_buf(room, sizeof room);

    TRY(wire_put_u64(&value, mark.id.value));
    TRY(wire_put_u32(&value, mark.n));
    TRY(store_row_put(s, DB_META, &mark_key, &value));
    s->index_mark = mark;
    return OK;
}

/* A mark that cannot be read says nothing about what is entered: the index begins anew. */
RESULT store_index_open(struct store *s)
{
    struct store_place mark;

    s->index_mark = (struct store_place){{0}, 0};
    TRY(store_read_begin(s));
    struct result r = store_index_mark(s, &mark);
    s->index_lag = store_index_lag_now(s, store_txn(s));
    store_read_end(s);
    if (r.code == CODE_CORRUPT && !s->cfg.read_only) {
        TRY(store_begin(s));
        r = store_index_reset(s);
        if (is_ok(r))
            return store_commit(s);
        store_abandon(s);
        return r;
    }
    s->index_mark = mark;
    return r.code == CODE_CORRUPT ? OK : r;
}

/* --- rows --- */

RESULT store_index_put(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    uint8_t place[PLACE_SIZE];
    struct row_key key;

    if (!is_indexed(s->index_mark, id, rcpt->n))
        return OK;
    path_key(&key, rcpt->forward_path);
    place_put(place, id, rcpt->n);
    MDB_val k = store_val(row_key_bytes(&key)), v = {PLACE_SIZE, place};
    int rc = mdb_put(s->write, s->dbi[DB_DOMAIN], &k, &v, MDB_APPENDDUP);
    if (rc == MDB_KEYEXIST) { /* not the domain's last */
        v = (MDB_val){PLACE_SIZE, place};
        rc = mdb_put(s->write, s->dbi[DB_DOMAIN], &k, &v, 0);
    }
    return rc == 0 ? OK : store_fail(rc, "cannot write into the index");
}

RESULT store_index_forget(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    uint8_t place[PLACE_SIZE];
    struct row_key key;

    if (!is_indexed(s->index_mark, id, rcpt->n))
        return OK;
    path_key(&key, rcpt->forward_path);
    place_put(place, id, rcpt->n);
    MDB_val k = store_val(row_key_bytes(&key)), v = {PLACE_SIZE, place};
    int rc = mdb_del(s->write, s->dbi[DB_DOMAIN], &k, &v);
    return rc == 0 || rc == MDB_NOTFOUND ? OK : store_fail(rc, "cannot delete from the index");
}

/* The first row that is one of the prey, or that no row of ours looks like, goes. */
static RESULT hunt_one(struct store *s, const struct store_place *prey, size_t count, bool *found_out)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    struct store_place place;

    *found_out = false;
    TRY(store_cursor(s, DB_DOMAIN, &cursor));
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        *found_out = !place_get(value, &place);
        for (size_t i = 0; i < count && !*found_out; i++)
            *found_out = message_id_equal(prey[i].id, place.id) && prey[i].n == place.n;
        if (!*found_out)
            continue;
        rc = mdb_cursor_del(cursor, 0);
        return rc == 0 ? OK : store_fail(rc, "cannot delete from the index");
    }
    return rc == MDB_NOTFOUND ? OK : store_fail(rc, "cannot read the index");
}

/* Looks at the whole index, from its beginning for each find: the domain of a damaged recipient is lost, and damage is rare. */
RESULT store_index_hunt(struct store *s, const struct store_place *prey, size_t count)
{
    bool found = s->has_index;

    while (found)
        TRY(hunt_one(s, prey, count, &found));
    return OK;
}

/* --- catching up --- */

uint64_t store_index_lag_now(struct store *s, MDB_txn *txn)
{
    MDB_stat rcpts, indexed;

    if (!s->has_index || mdb_stat(txn, s->dbi[DB_RECIPIENT], &rcpts) != 0 ||
        mdb_stat(txn, s->dbi[DB_DOMAIN], &indexed) != 0)
        return 0;
    return rcpts.ms_entries > indexed.ms_entries ? rcpts.ms_entries - indexed.ms_entries : 0;
}

bool store_index_wanted(struct store *s)
{
    uint64_t tail = s->cfg.index_tail > 0 ? s->cfg.index_tail : TAIL_DEFAULT;

    s->index_behind = s->index_lag > (s->index_behind ? tail : tail * TAIL_SLACK);
    return s->index_behind;
}

RESULT store_index_advance(struct store *s, uint32_t count_max)
{
    uint64_t tail = s->cfg.index_tail > 0 ? s->cfg.index_tail : TAIL_DEFAULT;
    uint64_t lag = store_index_lag_now(s, s->write);
    struct store_place place = s->index_mark, mark = place;
    struct message_id id;
    struct recipient rcpt;

    ASSERT(s->write != NULL);
    if (!s->has_index)
        return OK;
    if (mark.id.value != 0)
        place = store_place_behind(mark.id, mark.n);
    for (uint32_t count = 0; count < count_max && lag > tail; count++, lag--) {
        struct result r = store_recipient_walk(s, &place, &id, &rcpt);
        if (r.code == CODE_GONE) /* the rest of the difference are damaged rows */
            break;
        TRY(r);
        mark = (struct store_place){id, rcpt.n};
        s->index_mark = mark;
        TRY(store_index_put(s, id, &rcpt));
    }
    return mark.id.value != 0 ? mark_put(s, mark) : OK;
}

RESULT store_index_reset(struct store *s)
{
    int rc = s->has_index ? mdb_drop(s->write, s->dbi[DB_DOMAIN], 0) : 0;

    if (rc != 0)
        return store_fail(rc, "cannot empty the index");
    return mark_put(s, (struct store_place){{0}, 0});
}

/* --- reading --- */

/* Puts the cursor on the first row of the domain at or behind `place`. */
static RESULT domain_seek(
    struct store *s, struct bytes domain, const struct store_place *place, MDB_cursor **cursor_out, MDB_val *value_out)
{
    uint8_t from[PLACE_SIZE];
    struct row_key key;

    if (!s->has_index)
        return FAIL(CODE_GONE, "there is no index");
    TRY(store_cursor(s, DB_DOMAIN, cursor_out));
    domain_key(&key, domain);
    place_put(from, place->id, place->n);
    MDB_val k = store_val(row_key_bytes(&key));
    *value_out = (MDB_val){PLACE_SIZE, from};
    int rc = mdb_cursor_get(*cursor_out, &k, value_out, MDB_GET_BOTH_RANGE);
    return rc == 0 ? OK : store_fail(rc, rc == MDB_NOTFOUND ? "the domain has no more rows" : "cannot read the index");
}

/* Whether the cursor stands in the domain, on the row right before the place. */
static bool stands_before(MDB_cursor *cursor, struct bytes domain, const struct store_place *place)
{
    MDB_val key, value;
    struct store_place at;
    struct row_key wanted;

    if (mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT) != 0 || !place_get(value, &at) || place->n == 0 ||
        !message_id_equal(at.id, place->id) || at.n != place->n - 1)
        return false;
    domain_key(&wanted, domain);
    return bytes_equal(store_bytes(key), row_key_bytes(&wanted));
}

RESULT store_domain_walk(
    struct store *s, struct bytes domain, struct store_place *place, struct message_id *id_out, uint32_t *n_out)
{
    MDB_cursor *cursor =
        s->has_index && s->write == NULL && s->read_cursor_fresh[DB_DOMAIN] ? s->read_cursors[DB_DOMAIN] : NULL;
    MDB_val key, value;
    struct store_place found;

    if (cursor != NULL && stands_before(cursor, domain, place)) {
        int rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT_DUP);
        if (rc != 0)
            return store_fail(rc, rc == MDB_NOTFOUND ? "the domain has no more rows" : "cannot read the index");
    } else {
        TRY(domain_seek(s, domain, place, &cursor, &value));
    }
    if (!place_get(value, &found))
        return FAIL(CODE_CORRUPT, "a row of the index has another size");
    *id_out = found.id;
    *n_out = found.n;
    *place = store_place_behind(found.id, found.n);
    return OK;
}

RESULT store_domain_count(struct store *s, struct bytes domain, struct store_place *place, struct message_id last,
    uint64_t count_max, struct message_id *after, struct store_domain_counts *counts)
{
    MDB_cursor *cursor;
    MDB_val key, page;
    uint8_t from[PLACE_SIZE];
    int rc;

    ASSERT(!store_domain_is_clipped(domain));
    place_put(from, place->id, place->n);
    TRY(domain_seek(s, domain, place, &cursor, &page));
    rc = mdb_cursor_get(cursor, &key, &page, MDB_GET_MULTIPLE); /* a lone row leaves `page` as it is */
    for (uint64_t seen = 0; rc == 0; rc = mdb_cursor_get(cursor, &key, &page, MDB_NEXT_MULTIPLE)) {
        const uint8_t *rows = page.mv_data;
        if (seen >= count_max)
            return OK;
        for (size_t at = 0; at + PLACE_SIZE <= page.mv_size; at += PLACE_SIZE, seen++) {
            struct message_id id = {wire_load_u64(rows + at)};
            if (memcmp(rows + at, from, PLACE_SIZE) < 0)
                continue; /* GET_MULTIPLE hands out the whole page */
            if (id.value > last.value)
                return FAIL(CODE_GONE, "the last message was counted");
            *place = store_place_behind(id, wire_load_u32(rows + at + 8));
            counts->recipients++;
            counts->messages += id.value != after->value;
            *after = id;
        }
    }
    return rc == MDB_NOTFOUND ? FAIL(CODE_GONE, "the domain has no more rows")
                              : store_fail(rc, "cannot read the index");
}

bool store_domain_is_clipped(struct bytes domain)
{
    return domain.size >= DOMAIN_KEPT_MAX;
}

/* --- the check --- */

RESULT store_index_has(struct store *s, struct message_id id, const struct recipient *rcpt, bool *has_out)
{
    struct store_place mark;
    MDB_cursor *cursor;
    uint8_t place[PLACE_SIZE];
    struct row_key key;

    *has_out = true;
    TRY(store_index_mark(s, &mark));
    if (!s->has_index || !is_indexed(mark, id, rcpt->n))
        return OK;
    TRY(store_cursor(s, DB_DOMAIN, &cursor));
    path_key(&key, rcpt->forward_path);
    place_put(place, id, rcpt->n);
    MDB_val k = store_val(row_key_bytes(&key)), v = {PLACE_SIZE, place};
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_GET_BOTH);
    *has_out = rc == 0;
    return rc == 0 || rc == MDB_NOTFOUND ? OK : store_fail(rc, "cannot read the index");
}

bool store_index_row_sound(struct store *s, struct bytes key, struct bytes value)
{
    struct store_place place, mark;
    struct recipient rcpt;
    struct row_key wanted;

    if (!place_get(store_val(value), &place) || !is_ok(store_index_mark(s, &mark)) ||
        !is_indexed(mark, place.id, place.n))
        return false;
    struct result r = store_recipient_get(s, place.id, place.n, &rcpt);
    if (r.code == CODE_CORRUPT)
        return true; /* the row itself is reported */
    if (!is_ok(r))
        return false;
    path_key(&wanted, rcpt.forward_path);
    return bytes_equal(key, row_key_bytes(&wanted));
}
