/* Marks of recipients that are held although their time lies ahead: (id, n), nothing else.
 *
 * A hold of a hundred thousand recipients by domain touches rows all over the queue; to write each of them anew would write a page
 * for each. A mark is 12 octets beside its neighbours, so the same hold writes a few megabytes, and mail goes on meanwhile.
 *
 * (H1) A marked recipient's own row says `waiting`, and whoever reads it through store_read.c is told `parked`. Its place in the
 *      schedule is the same in both states.
 * (H2) Whatever else changes the recipient writes the row with its true state and takes the mark away, in one transaction.
 * (H3) A mark has no seal: that it is there says all, and damage to it holds mail, which somebody will ask for, and never sends it. */
#include "queue/store_inside.h"

static bool has_marks(struct store *s)
{
    MDB_stat st;

    return s->is_current && mdb_stat(store_txn(s), s->dbi[DB_HELD], &st) == 0 && st.ms_entries > 0;
}

RESULT store_held_view(struct store *s, struct message_id id, struct recipient *rcpt)
{
    MDB_cursor *cursor;
    struct row_key key;

    if (rcpt->state != RECIPIENT_WAITING || !has_marks(s))
        return OK;
    row_key_id_n(&key, id, rcpt->n);
    TRY(store_cursor(s, DB_HELD, &cursor));
    MDB_val k = store_val(row_key_bytes(&key)), v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET);
    if (rc == 0)
        rcpt->state = RECIPIENT_PARKED;
    return rc == 0 || rc == MDB_NOTFOUND ? OK : store_fail(rc, "cannot read the marks of held recipients");
}

RESULT store_held_forget(struct store *s, struct message_id id, uint32_t n)
{
    struct row_key key;

    row_key_id_n(&key, id, n);
    return has_marks(s) ? store_row_forget(s, DB_HELD, &key) : OK;
}

RESULT store_recipient_park(struct store *s, struct message_id id, const struct recipient *rcpt)
{
    struct row_key key;

    ASSERT(s->write != NULL && rcpt->state == RECIPIENT_WAITING);
    row_key_id_n(&key, id, rcpt->n);
    MDB_val k = store_val(row_key_bytes(&key)), v = {0, NULL};
    int rc = mdb_put(s->write, s->dbi[DB_HELD], &k, &v, 0);
    if (rc != 0)
        return store_fail(rc, "cannot mark a held recipient");
    s->parked++;
    return OK;
}
