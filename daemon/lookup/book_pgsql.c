/* PostgreSQL: libpq without its blocking calls, so that connecting and asking both end at the deadline. Values go as parameters of
 * the protocol, never as text of the query. */
#ifdef MANSIO_PQ
#include <libpq-fe.h>

#include "daemon/lookup/backend.h"
#include "daemon/lookup/query.h"

#define FUNCTIONS(F)                                                                                                   \
    F(PQconnectStart)                                                                                                  \
    F(PQconnectPoll)                                                                                                   \
    F(PQstatus)                                                                                                        \
    F(PQsocket)                                                                                                        \
    F(PQfinish)                                                                                                        \
    F(PQsetnonblocking)                                                                                                \
    F(PQsendQueryParams)                                                                                               \
    F(PQflush)                                                                                                         \
    F(PQconsumeInput)                                                                                                  \
    F(PQisBusy)                                                                                                        \
    F(PQgetResult)                                                                                                     \
    F(PQresultStatus)                                                                                                  \
    F(PQntuples) F(PQnfields) F(PQgetisnull) F(PQgetvalue) F(PQgetlength) F(PQclear) F(PQerrorMessage)

BACKEND_LIBRARY(MANSIO_PQ, FUNCTIONS)

static void server_close(void *conn)
{
    if (conn != NULL)
        lib.PQfinish(conn);
}

static RESULT server_failed(struct question *q, PGconn *conn)
{
    const char *said = conn == NULL ? "out of memory" : lib.PQerrorMessage(conn);

    return backend_failed(q, "PostgreSQL", said[0] != 0 ? said : "no answer in time");
}

static RESULT server_connect(void **conn, struct question *q)
{
    PGconn *pg = *conn = lib.PQconnectStart((const char *)q->lookup->from.data);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    if (pg == NULL || lib.PQstatus(pg) == CONNECTION_BAD)
        return server_failed(q, pg);
    while (state != PGRES_POLLING_OK) {
        if (!is_ok(backend_wait(q, lib.PQsocket(pg), state == PGRES_POLLING_WRITING)))
            return backend_failed(q, "PostgreSQL", "no connection in time");
        state = lib.PQconnectPoll(pg);
        if (state == PGRES_POLLING_FAILED)
            return server_failed(q, pg);
    }
    return lib.PQsetnonblocking(pg, 1) == 0 ? OK : server_failed(q, pg);
}

/* Sends what there is to send and waits until a result can be had. */
static RESULT result_wait(PGconn *pg, struct question *q)
{
    int left;

    while ((left = lib.PQflush(pg)) > 0)
        if (!is_ok(backend_wait(q, lib.PQsocket(pg), true)))
            return backend_failed(q, "PostgreSQL", "no answer in time");
    if (left < 0)
        return server_failed(q, pg);
    while (lib.PQisBusy(pg)) {
        if (!is_ok(backend_wait(q, lib.PQsocket(pg), false)))
            return backend_failed(q, "PostgreSQL", "no answer in time");
        if (!lib.PQconsumeInput(pg))
            return server_failed(q, pg);
    }
    return OK;
}

static RESULT rows_take(PGresult *result, struct question *q, bool *found)
{
    if (lib.PQnfields(result) == 0)
        return backend_failed(q, "PostgreSQL", "the query gives no column");
    for (int i = 0; i < lib.PQntuples(result); i++) {
        if (lib.PQgetisnull(result, i, 0)) /* NULL: nothing is said */
            continue;
        *found = true;
        if (!is_ok(backend_row(q,
                (struct bytes){(const uint8_t *)lib.PQgetvalue(result, i, 0), (size_t)lib.PQgetlength(result, i, 0)})))
            return backend_failed(q, "PostgreSQL", "the answer is too long");
    }
    return OK;
}

static RESULT server_query(PGconn *pg, struct question *q, const char *sql, const struct query_values *values)
{
    char room[QUERY_VALUES_MAX][ADDRESS_SIZE_MAX + 1];
    const char *parameters[QUERY_VALUES_MAX];
    struct result r = OK;
    bool found = false;

    for (unsigned i = 0; i < values->count; i++) {
        memcpy(room[i], values->items[i].data, values->items[i].size);
        room[i][values->items[i].size] = 0;
        parameters[i] = room[i];
    }
    if (!lib.PQsendQueryParams(pg, sql, (int)values->count, NULL, parameters, NULL, NULL, 0))
        return server_failed(q, pg);
    for (;;) { /* to the NULL that ends the answer, whatever went wrong on the way */
        TRY(result_wait(pg, q));
        PGresult *result = lib.PQgetResult(pg);
        if (result == NULL)
            break;
        if (lib.PQresultStatus(result) == PGRES_TUPLES_OK) {
            if (is_ok(r))
                r = rows_take(result, q, &found);
        } else {
            r = server_failed(q, pg);
        }
        lib.PQclear(result);
    }
    TRY(r);
    return found ? OK : FAIL(CODE_GONE, "no row");
}

static RESULT server_ask(void **conn, struct question *q)
{
    uint8_t room[QUERY_SIZE_MAX];
    struct buf sql = BUF(room);
    struct query_values values;

    TRY(query_sql(q->lookup->query, q->key, '$', &sql, &values));
    TRY(buf_put_octet(&sql, 0));
    TRY(backend_library(q, &library));
    if (*conn == NULL)
        TRY(server_connect(conn, q));
    return server_query(*conn, q, (const char *)sql.data, &values);
}

const struct backend BACKEND_POSTGRESQL = {server_ask, server_close};
#endif
