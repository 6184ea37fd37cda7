/* An LMDB file as postmap(1) and others write it: one nameless database, keys and values perhaps with a NUL behind them. Opened
 * again when the file is another one. */
#include <lmdb.h>

#include "daemon/lookup/backend.h"

struct table {
    struct backend_stamp stamp;
    MDB_env *env;
    MDB_dbi dbi;
};

static void table_close(void *conn)
{
    struct table *t = conn;

    if (t == NULL)
        return;
    if (t->env != NULL)
        mdb_env_close(t->env);
    free(t);
}

static RESULT table_open(struct table *t, struct question *q)
{
    MDB_txn *txn = NULL;
    int sys;

    if (t->env != NULL)
        mdb_env_close(t->env);
    t->env = NULL;
    sys = mdb_env_create(&t->env);
    if (sys == 0)
        sys = mdb_env_open(t->env, (const char *)q->lookup->from.data, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0600);
    if (sys == 0)
        sys = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn);
    if (sys == 0)
        sys = mdb_dbi_open(txn, NULL, 0, &t->dbi);
    if (sys == 0)
        sys = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    return sys == 0 ? OK : backend_failed(q, "the LMDB file cannot be opened", mdb_strerror(sys));
}

static RESULT table_get(struct table *t, struct question *q, MDB_txn *txn)
{
    for (size_t nul = 0; nul < 2; nul++) {
        MDB_val key = {q->key.size + nul, (void *)(uintptr_t)q->key.data}, value;
        int sys = mdb_get(txn, t->dbi, &key, &value);

        if (sys == MDB_NOTFOUND)
            continue;
        if (sys != 0)
            return backend_failed(q, "the LMDB file cannot be read", mdb_strerror(sys));
        struct bytes row = {value.mv_data, value.mv_size};
        if (row.size > 0 && row.data[row.size - 1] == 0)
            row.size--;
        return backend_row(q, row);
    }
    return FAIL(CODE_GONE, "no such key");
}

static RESULT table_ask(void **conn, struct question *q)
{
    struct table *t = *conn;
    MDB_txn *txn;
    bool changed;

    if (t == NULL && (t = *conn = calloc(1, sizeof *t)) == NULL)
        return FAIL(CODE_FULL, "out of memory");
    TRY(backend_file_changed(q, &t->stamp, &changed));
    if (changed)
        TRY(table_open(t, q));
    int sys = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn);
    if (sys != 0)
        return backend_failed(q, "the LMDB file cannot be read", mdb_strerror(sys));
    struct result r = table_get(t, q, txn);
    mdb_txn_abort(txn);
    return r;
}

const struct backend BACKEND_LMDB = {table_ask, table_close};
