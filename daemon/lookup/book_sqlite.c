/* SQLite: one prepared statement, read only. A statement that takes too long is interrupted at the deadline; a locked database is
 * waited for until then. */
#ifdef MANSIO_SQLITE
#include <sqlite3.h>

#include "daemon/lookup/backend.h"
#include "daemon/lookup/query.h"

#define FUNCTIONS(F)                                                                                                   \
    F(sqlite3_open_v2)                                                                                                 \
    F(sqlite3_close)                                                                                                   \
    F(sqlite3_busy_timeout)                                                                                            \
    F(sqlite3_progress_handler)                                                                                        \
    F(sqlite3_prepare_v2)                                                                                              \
    F(sqlite3_bind_text)                                                                                               \
    F(sqlite3_step)                                                                                                    \
    F(sqlite3_reset) F(sqlite3_finalize) F(sqlite3_column_text) F(sqlite3_column_bytes) F(sqlite3_errmsg)

BACKEND_LIBRARY(MANSIO_SQLITE, FUNCTIONS)

enum { STEPS_BETWEEN_LOOKS = 10000 };

struct database {
    sqlite3 *db;
    sqlite3_stmt *statement;
};

static void database_close(void *conn)
{
    struct database *d = conn;

    if (d == NULL)
        return;
    if (d->statement != NULL)
        lib.sqlite3_finalize(d->statement);
    if (d->db != NULL)
        lib.sqlite3_close(d->db);
    free(d);
}

static int on_steps(void *ctx)
{
    return backend_ms_left(ctx) == 0;
}

static RESULT database_open(void **conn, struct question *q, struct bytes sql)
{
    struct database *d = *conn = calloc(1, sizeof *d);

    if (d == NULL)
        return FAIL(CODE_FULL, "out of memory");
    if (lib.sqlite3_open_v2((const char *)q->lookup->from.data, &d->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
            NULL) != SQLITE_OK ||
        lib.sqlite3_prepare_v2(d->db, (const char *)sql.data, (int)sql.size, &d->statement, NULL) != SQLITE_OK)
        return backend_failed(q, "SQLite", d->db != NULL ? lib.sqlite3_errmsg(d->db) : "out of memory");
    return d->statement != NULL ? OK : backend_failed(q, "SQLite", "the query is empty");
}

static RESULT rows_take(struct database *d, struct question *q)
{
    bool found = false;
    int step;

    while ((step = lib.sqlite3_step(d->statement)) == SQLITE_ROW) {
        const uint8_t *text = lib.sqlite3_column_text(d->statement, 0);
        int size = lib.sqlite3_column_bytes(d->statement, 0);

        if (text == NULL) /* NULL: nothing is said */
            continue;
        found = true;
        if (!is_ok(backend_row(q, (struct bytes){text, (size_t)size})))
            return backend_failed(q, "SQLite", "the answer is too long");
    }
    if (step != SQLITE_DONE)
        return backend_failed(q, "SQLite", lib.sqlite3_errmsg(d->db));
    return found ? OK : FAIL(CODE_GONE, "no row");
}

static RESULT database_ask(void **conn, struct question *q)
{
    uint8_t room[QUERY_SIZE_MAX];
    struct buf sql = BUF(room);
    struct query_values values;
    struct database *d;

    TRY(query_sql(q->lookup->query, q->key, '?', &sql, &values));
    TRY(backend_library(q, &library));
    if (*conn == NULL)
        TRY(database_open(conn, q, buf_bytes(&sql)));
    d = *conn;
    lib.sqlite3_busy_timeout(d->db, backend_ms_left(q));
    lib.sqlite3_progress_handler(d->db, STEPS_BETWEEN_LOOKS, on_steps, q);
    for (unsigned i = 0; i < values.count; i++)
        if (lib.sqlite3_bind_text(d->statement, (int)i + 1, (const char *)values.items[i].data,
                (int)values.items[i].size, SQLITE_STATIC) != SQLITE_OK)
            return backend_failed(q, "SQLite", lib.sqlite3_errmsg(d->db));
    struct result r = rows_take(d, q);
    lib.sqlite3_reset(d->statement);
    lib.sqlite3_progress_handler(d->db, 0, NULL, NULL);
    return r;
}

const struct backend BACKEND_SQLITE = {database_ask, database_close};
#endif
