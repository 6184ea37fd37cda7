/* A key asked of any query and of any table of regular expressions or text: a query has as many place-holders as values, and in a filter
 * nothing of the key opens or ends anything; a table answers, does not know, or fails with its reason, each time alike.
 * Input: the key, a line end, a query, a line end, the table. */
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <stdio.h>

#include "daemon/lookup/backend.h"
#include "daemon/lookup/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_of(struct bytes text, uint8_t octet)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == octet;
    return count;
}

static struct bytes line_take(struct bytes *rest)
{
    ptrdiff_t end = bytes_index(*rest, '\n');
    struct bytes line = bytes_head(*rest, end == BYTES_NOT_FOUND ? rest->size : (size_t)end);

    *rest = bytes_after(*rest, line.size + 1);
    return line;
}

static void queries_make(struct bytes query, struct bytes key)
{
    static uint8_t octets[QUERY_SIZE_MAX];
    struct buf out = BUF(octets);
    struct query_values values;
    static const uint8_t special[] = {'(', ')', '*', 0};

    if (is_ok(query_sql(query, key, '\001', &out, &values))) {
        ASSERT(count_of(buf_bytes(&out), '\001') >= values.count);
        for (unsigned i = 0; i < values.count; i++)
            ASSERT(values.items[i].data >= key.data && values.items[i].size <= key.size);
    }
    buf_reset(&out);
    if (!is_ok(query_ldap(query, key, &out)))
        return;
    for (size_t i = 0; i < sizeof special; i++)
        ASSERT(count_of(buf_bytes(&out), special[i]) <= count_of(query, special[i]));
}

static struct result ask_twice(const struct backend *backend, struct question *q)
{
    void *conn = NULL;
    struct result first = backend->ask(&conn, q);
    size_t said = q->answer->size;

    ASSERT(is_ok(first) || first.code == CODE_GONE || q->why[0] != 0 || first.why != NULL);
    if (is_ok(first) || first.code == CODE_GONE) {
        buf_reset(q->answer);
        struct result again = backend->ask(&conn, q);
        ASSERT(again.code == first.code && q->answer->size == said);
    }
    backend->close(conn);
    return first;
}

static void table_ask(struct bytes table, struct bytes key, enum lookup_kind kind)
{
    static uint8_t answer_octets[65536];
    struct buf answer = BUF(answer_octets);
    const struct backend *backend = backend_of(kind);
    uint8_t copy[ADDRESS_SIZE_MAX + 1];
    char path[40];
    struct timespec now;
    int fd = memfd_create("table", MFD_CLOEXEC);

    if (backend == NULL || fd < 0 || key.size > ADDRESS_SIZE_MAX || key.size == 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (size_t i = 0; i < key.size; i++)
        copy[i] = octet_lower(key.data[i]);
    copy[key.size] = 0;
    ASSERT(write(fd, table.data, table.size) == (ssize_t)table.size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct config_lookup lookup = {.name = BYTES("fuzz"), .kind = kind, .from = bytes_of(path)};
    struct question q = {.lookup = &lookup,
        .hostname = "mx.example",
        .key = {copy, key.size},
        .deadline_ms = (int64_t)now.tv_sec * 1000 + 60000,
        .answer = &answer};
    (void)ask_twice(backend, &q);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = {data, size}, key = line_take(&rest), query = line_take(&rest);

    if (key.size > ADDRESS_SIZE_MAX || size > 65536)
        return 0;
    queries_make(query, key);
    table_ask(rest, key, LOOKUP_PCRE);
    table_ask(rest, key, LOOKUP_TEXT);
    return 0;
}
