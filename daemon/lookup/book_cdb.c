/* A constant database; a new file takes the place of the old one, which is then opened. */
#ifdef MANSIO_CDB
#include <cdb.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/lookup/backend.h"

#define FUNCTIONS(F) F(cdb_init) F(cdb_free) F(cdb_find) F(cdb_get)

BACKEND_LIBRARY(MANSIO_CDB, FUNCTIONS)

struct table {
    struct backend_stamp stamp;
    struct cdb db;
    int fd; /* -1: not open */
};

static void table_shut(struct table *t)
{
    if (t->fd < 0)
        return;
    lib.cdb_free(&t->db);
    close(t->fd);
    t->fd = -1;
}

static void table_close(void *conn)
{
    if (conn == NULL)
        return;
    table_shut(conn);
    free(conn);
}

static RESULT table_open(struct table *t, struct question *q)
{
    table_shut(t);
    int fd = open((const char *)q->lookup->from.data, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return backend_failed(q, "the cdb file cannot be opened", strerrordesc_np(errno));
    if (lib.cdb_init(&t->db, fd) != 0) {
        close(fd);
        return backend_failed(q, "not a cdb file", NULL);
    }
    t->fd = fd;
    return OK;
}

static RESULT table_ask(void **conn, struct question *q)
{
    struct table *t = *conn;
    bool changed;
    int found = 0;

    TRY(backend_library(q, &library));
    if (t == NULL) {
        if ((t = *conn = calloc(1, sizeof *t)) == NULL)
            return FAIL(CODE_FULL, "out of memory");
        t->fd = -1;
    }
    TRY(backend_file_changed(q, &t->stamp, &changed));
    if (changed)
        TRY(table_open(t, q));
    for (size_t nul = 0; nul < 2 && found == 0; nul++) /* some writers count the NUL in */
        found = lib.cdb_find(&t->db, q->key.data, (unsigned)(q->key.size + nul));
    if (found == 0)
        return FAIL(CODE_GONE, "no such key");
    const uint8_t *value = found < 0 ? NULL : lib.cdb_get(&t->db, cdb_datalen(&t->db), cdb_datapos(&t->db));
    if (value == NULL)
        return backend_failed(q, "the cdb file cannot be read", NULL);
    struct bytes row = {value, cdb_datalen(&t->db)};
    if (row.size > 0 && row.data[row.size - 1] == 0)
        row.size--;
    return backend_row(q, row);
}

const struct backend BACKEND_CDB = {table_ask, table_close};
#endif
