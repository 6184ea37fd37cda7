#include "daemon/supervisor/tables.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/config/address_map.h"
#include "daemon/supervisor/whole_file.h"
#include "smtp/srs.h"

enum { TABLE_SIZE_MAX = 16777216 };

bool table_is_for(enum config_table table, enum ipc_role role)
{
    switch (table) {
    case TABLE_CANONICAL:
    case TABLE_CANONICAL_SENDERS:
    case TABLE_CANONICAL_RECIPIENTS:
        return role == ROLE_INBOUND;
    case TABLE_GENERIC:
        return role == ROLE_OUTBOUND;
    case TABLE_SRS_KEYS:
        return role == ROLE_QUEUED || role == ROLE_LOOKUP;
    case TABLE_COUNT:
        break;
    }
    return false;
}

static RESULT check(enum config_table table, struct bytes text, unsigned *line_out)
{
    struct address_map map;
    struct srs srs;

    if (table == TABLE_SRS_KEYS)
        return srs_keys_read(text, &srs, line_out);
    TRY(address_map_read(text, &map, line_out));
    address_map_free(&map);
    return OK;
}

static RESULT table_read(const char *file, enum config_table table, int *fd_out, struct config_error *error_out)
{
    uint8_t *octets = mem_take(TABLE_SIZE_MAX);
    unsigned line = 0;
    struct buf text;

    if (octets == NULL)
        return whole_file_refused(error_out, file, "out of memory");
    buf_init(&text, octets, TABLE_SIZE_MAX);
    struct result r = whole_file_take(file, table == TABLE_SRS_KEYS, &text, error_out);
    if (is_ok(r)) {
        r = check(table, buf_bytes(&text), &line);
        if (!is_ok(r))
            snprintf(error_out->text, sizeof error_out->text, "%.500s:%u: %s", file, line, r.why);
    }
    if (is_ok(r) && text.size > 0)
        r = whole_file_seal(file, buf_bytes(&text), fd_out, error_out);
    explicit_bzero(octets, text.size);
    mem_free(octets);
    return r;
}

RESULT tables_read(const struct config *cfg, int fds_out[TABLE_COUNT], struct config_error *error_out)
{
    for (unsigned i = 0; i < TABLE_COUNT; i++)
        fds_out[i] = -1;
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (cfg->tables[i].size == 0)
            continue;
        struct result r = table_read((const char *)cfg->tables[i].data, i, &fds_out[i], error_out);
        if (!is_ok(r)) {
            tables_close(fds_out);
            return r;
        }
    }
    return OK;
}

void tables_close(int fds[TABLE_COUNT])
{
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}
