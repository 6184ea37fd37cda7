/* Memos: few and small rows of the engine's own, beside the schema in `meta`. Their keys begin with a prefix of their own. */
#include "queue/store_inside.h"

static const struct row_key prefix = {"memo/", 5};

static bool memo_key(struct row_key *key_out, struct bytes name)
{
    if (name.size > STORE_MEMO_NAME_SIZE_MAX)
        return false;
    *key_out = prefix;
    memcpy(key_out->room + prefix.size, name.data, name.size);
    key_out->size = prefix.size + name.size;
    return true;
}

RESULT store_memo_put(struct store *s, struct bytes name, struct bytes value)
{
    uint8_t room[ROW_HEADER_SIZE + STORE_MEMO_SIZE_MAX];
    struct buf row = row_buf(room, sizeof room);
    struct row_key key;

    if (!memo_key(&key, name))
        return FAIL(CODE_REFUSED, "the name of a memo is too long");
    TRY(buf_put(&row, value));
    return store_row_put(s, DB_META, &key, &row);
}

RESULT store_memo_delete(struct store *s, struct bytes name)
{
    struct row_key key;

    return memo_key(&key, name) ? store_row_forget(s, DB_META, &key) : OK;
}

RESULT store_memo_next(struct store *s, struct bytes after, struct bytes *name_out, struct bytes *value_out)
{
    struct bytes key, sealed;
    MDB_cursor *cursor;
    struct row_key from;

    if (!memo_key(&from, after))
        return FAIL(CODE_REFUSED, "the name of a memo is too long");
    TRY(store_cursor(s, DB_META, &cursor));
    struct result r = store_seek(cursor, MDB_SET_RANGE, &from, &key, &sealed);
    while (is_ok(r) && store_key_is(key, &prefix)) {
        if ((after.size == 0 || !bytes_equal(key, row_key_bytes(&from))) && is_ok(row_open(key, sealed, value_out))) {
            *name_out = bytes_after(key, prefix.size);
            return OK;
        }
        r = store_seek(cursor, MDB_NEXT, NULL, &key, &sealed); /* itself, or a damaged one: fsck tells */
    }
    return is_ok(r) || r.code == CODE_GONE ? FAIL(CODE_GONE, "no further memo") : r;
}
