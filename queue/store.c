/* Opening, transactions, growth.
 *
 * (F1) A commit that fails leaves no trace. LMDB writes data pages, syncs them, then writes one of two meta pages through a
 *      descriptor with O_DSYNC. When that last write fails nobody knows whether the disk holds the new meta page; LMDB puts
 *      most of the old one back, unsynced, and gives the environment up. Were it used again as it is, the next transaction
 *      would overwrite pages that this meta page names, and a power cut in between would leave a queue that opens on garbage.
 *      So before each commit the old meta page is kept; after a failed one nothing is read or written until the old page is
 *      back on disk and a sync of it has succeeded, and the environment is opened anew (store_heal). Until then every
 *      transaction is refused with CODE_IO.
 * (F2) The meta page's part that changes (octets 32 to 151) lies in one sector of 512, so a torn write cannot mix two states.
 * (F3) A new environment is made under another name and renamed when it is complete: a cut while it is made leaves nothing
 *      that could be opened. (LMDB itself writes its first two meta pages without a sync between them.)
 * (F4) One writer: an flock that the kernel drops with the process, beside LMDB's own lock file, which needs no hand after
 *      kill -9 (robust mutex; the first to open it resets it). */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "queue/store_inside.h"

enum {
    MAP_SIZE_FIRST = 64 << 20,
    RESERVE_SIZE_MAX = 64 << 20,
    RESERVE_SHARE = 8,
    DISK_FULL_SIZE = 8 << 20, /* with less than this left, a failed write is the disk's lack of room */
    COMMITS_PER_READER_CHECK = 256,
    FREE_DBI = 0,
    MAIN_DBI = 1
};

static const char *const db_names[DB_COUNT] = {
#define DB(name, text) text,
    STORE_DBS(DB)
#undef DB
};

static unsigned db_flags(size_t db)
{
    return db == DB_DOMAIN ? MDB_DUPSORT | MDB_DUPFIXED : 0;
}

const char *store_db_name(enum store_db db)
{
    return db_names[db];
}

/* Only a full map carries a number: growing the map helps there and nowhere else. */
RESULT store_fail(int rc, const char *why)
{
    switch (rc) {
    case MDB_NOTFOUND:
        return (struct result){CODE_GONE, rc, why};
    case MDB_MAP_FULL:
        return (struct result){CODE_FULL, rc, why};
    case MDB_TXN_FULL:
        return FAIL(CODE_FULL, "the transaction is too large");
    case ENOSPC:
    case EDQUOT:
        return FAIL(CODE_FULL, "the disk is full");
    case ENOMEM:
        return FAIL(CODE_FULL, "out of memory");
    default:
        return FAIL_SYS(rc, why);
    }
}

static RESULT lmdb(int rc, const char *why)
{
    return rc == MDB_SUCCESS ? OK : store_fail(rc, why);
}

/* "path/name" in room; CODE_FULL when the path is longer than the system takes. */
static RESULT file_name(const char *folder, const char *name, char room[PATH_MAX])
{
    struct buf out;

    buf_init(&out, room, PATH_MAX);
    if (is_ok(buf_put_str(&out, folder)) && is_ok(buf_put_str(&out, "/")) && is_ok(buf_put_str(&out, name)) &&
        is_ok(buf_put_octet(&out, 0)))
        return OK;
    return FAIL_SYS(ENAMETOOLONG, "the queue's folder has too long a name");
}

static RESULT folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return FAIL_SYS(errno, "cannot open the queue's folder");
    int rc = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return rc == 0 ? OK : FAIL_SYS(rc, "cannot sync the queue's folder");
}

/* --- the environment --- */

static size_t map_size_bound(const struct store *s)
{
    uint64_t bound = s->cfg.size_max > SIZE_MAX / 2 ? SIZE_MAX / 2 : s->cfg.size_max;

    bound -= bound % s->page_size;
    return bound < 64 * s->page_size ? 64 * s->page_size : (size_t)bound;
}

/* The first map: small, and a quarter more than what the file already holds. */
static size_t map_size_first(const struct store *s, uint64_t file_size)
{
    uint64_t size = MAP_SIZE_FIRST;

    while (size < file_size + file_size / 4)
        size *= 2;
    return size < map_size_bound(s) ? (size_t)size : map_size_bound(s);
}

static void env_close(struct store *s)
{
    store_map_lost(s);
    for (size_t i = 0; i < DB_COUNT; i++) {
        if (s->read_cursors[i] != NULL)
            mdb_cursor_close(s->read_cursors[i]);
        s->read_cursors[i] = NULL;
        s->read_cursor_fresh[i] = false;
    }
    if (s->read != NULL)
        mdb_txn_abort(s->read);
    s->read = NULL;
    s->reading = false;
    if (s->env != NULL)
        mdb_env_close(s->env);
    s->env = NULL;
}

static RESULT env_make(const char *path, unsigned flags, size_t map_size, MDB_env **env_out)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);

    if (rc != 0)
        return store_fail(rc, "cannot make an LMDB environment");
    rc = mdb_env_set_maxdbs(env, DB_COUNT);
    if (rc == 0)
        rc = mdb_env_set_mapsize(env, map_size);
    if (rc == 0)
        rc = mdb_env_open(env, path, flags | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc == 0) {
        *env_out = env;
        return OK;
    }
    mdb_env_close(env);
    return store_fail(rc, "cannot open the queue's environment");
}

static RESULT schema_put(MDB_txn *txn, MDB_dbi meta)
{
    uint8_t room[ROW_HEADER_SIZE + 4];
    struct buf value = row_buf(room, sizeof room);
    MDB_val key = store_val(BYTES("schema"));

    TRY(wire_put_u32(&value, STORE_SCHEMA));
    row_seal(BYTES("schema"), &value);
    MDB_val val = store_val(buf_bytes(&value));
    return lmdb(mdb_put(txn, meta, &key, &val, 0), "cannot write the schema");
}

static RESULT env_fill(MDB_env *env)
{
    MDB_txn *txn;
    MDB_dbi dbi[DB_COUNT];

    TRY(lmdb(mdb_txn_begin(env, NULL, 0, &txn), "cannot begin the first transaction"));
    for (size_t i = 0; i < DB_COUNT; i++) {
        struct result r =
            lmdb(mdb_dbi_open(txn, db_names[i], MDB_CREATE | db_flags(i), &dbi[i]), "cannot make a sub-database");
        if (!is_ok(r)) {
            mdb_txn_abort(txn);
            return r;
        }
    }
    struct result r = schema_put(txn, dbi[DB_META]);
    if (!is_ok(r)) {
        mdb_txn_abort(txn);
        return r;
    }
    return lmdb(mdb_txn_commit(txn), "cannot commit the first transaction");
}

/* (F3) */
static RESULT queue_create(struct store *s, const char *data_path)
{
    char new_path[PATH_MAX], new_lock[PATH_MAX], old_lock[PATH_MAX];
    MDB_env *env;

    TRY(file_name(s->path, "new.mdb", new_path));
    TRY(file_name(s->path, "new.mdb-lock", new_lock));
    TRY(file_name(s->path, "lock.mdb", old_lock));
    unlink(new_path);
    unlink(new_lock);
    unlink(old_lock); /* of a queue whose data file was taken away: its reader table means nothing to a new one */
    TRY(env_make(new_path, MDB_NOSUBDIR, map_size_first(s, 0), &env));
    struct result r = env_fill(env);
    mdb_env_close(env);
    unlink(new_lock);
    TRY(r);
    if (rename(new_path, data_path) != 0)
        return FAIL_SYS(errno, "cannot put the new queue in its place");
    return folder_sync(s->path);
}

static RESULT dbis_open(struct store *s)
{
    MDB_txn *txn;

    s->has_index = s->is_current = true;
    TRY(lmdb(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "cannot begin the opening transaction"));
    for (size_t i = 0; i < DB_COUNT; i++) {
        int rc = mdb_dbi_open(txn, db_names[i], 0, &s->dbi[i]);
        if (rc == MDB_NOTFOUND && (i == DB_HELD || i == DB_DOMAIN || (i == DB_SEEN && !s->cfg.read_only))) {
            s->is_current = false;
            s->has_index = s->has_index && i == DB_HELD; /* schema 1, or the first builds of it */
            continue;
        }
        if (rc != 0) {
            mdb_txn_abort(txn);
            return rc == MDB_NOTFOUND ? FAIL(CODE_CORRUPT, "the queue lacks a sub-database")
                                      : store_fail(rc, "cannot open a sub-database");
        }
    }
    return lmdb(mdb_txn_commit(txn), "cannot keep the sub-databases open");
}

/* A tool that was killed while it read keeps its snapshot's pages from being used again until its slot is cleared. */
static void readers_check(struct store *s)
{
    int dead;

    mdb_reader_check(s->env, &dead);
}

static RESULT env_open(struct store *s)
{
    char data_path[PATH_MAX];
    struct stat st;

    TRY(file_name(s->path, "data.mdb", data_path));
    /* By a descriptor: after a failed commit this runs under the daemon's sandbox, which knows no stat of a path. */
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL_SYS(errno, "cannot find the queue's file");
    int failed = fstat(fd, &st) != 0 ? errno : 0;
    close(fd);
    if (failed != 0)
        return FAIL_SYS(failed, "cannot find the queue's file");
    s->map_size = map_size_first(s, (uint64_t)st.st_size);
    TRY(env_make(s->path, s->cfg.read_only ? MDB_RDONLY : 0, s->map_size, &s->env));

    MDB_envinfo info;
    MDB_stat stat_main;
    mdb_env_info(s->env, &info);
    mdb_env_stat(s->env, &stat_main);
    s->map_size = info.me_mapsize;
    s->page_size = stat_main.ms_psize;
    readers_check(s);
    struct result r = dbis_open(s);
    if (is_ok(r))
        store_map_find(s);
    else
        env_close(s);
    return r;
}

/* (F1) Puts the meta page of a failed commit back and opens the environment again. */
static RESULT store_heal(struct store *s)
{
    char data_path[PATH_MAX];

    ASSERT(s->write == NULL && !s->reading);
    env_close(s);
    TRY(file_name(s->path, "data.mdb", data_path));
    int fd = open(data_path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return FAIL_SYS(errno, "cannot open the queue's file to undo a failed commit");
    errno = EIO;
    bool undone = pwrite(fd, s->meta_before, STORE_META_SIZE, s->meta_offset) == STORE_META_SIZE && fdatasync(fd) == 0;
    int rc = errno;
    close(fd);
    if (!undone)
        return FAIL_SYS(rc, "cannot undo a failed commit");
    TRY(env_open(s));
    s->suspect = false;
    return OK;
}

/* --- open and close --- */

/* (F4) */
static RESULT queue_lock(struct store *s)
{
    char path[PATH_MAX];

    TRY(file_name(s->path, "writer.lock", path));
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return FAIL_SYS(errno, "cannot open the queue's writer lock");
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return OK;
    return errno == EWOULDBLOCK ? FAIL(CODE_REFUSED, "another process has the queue open for writing")
                                : FAIL_SYS(errno, "cannot lock the queue");
}

static RESULT schema_check(struct store *s)
{
    MDB_val key = store_val(BYTES("schema")), value;
    struct bytes payload;

    TRY(store_read_begin(s));
    int rc = mdb_get(s->read, s->dbi[DB_META], &key, &value);
    struct result r = rc == 0              ? row_open(BYTES("schema"), store_bytes(value), &payload)
                      : rc == MDB_NOTFOUND ? FAIL(CODE_CORRUPT, "the queue has no schema version")
                                           : store_fail(rc, "cannot read the schema version");
    if (is_ok(r)) {
        struct wire_reader in = wire_reader_over(payload);
        uint32_t schema = wire_get_u32(&in);
        r = wire_end(&in);
        if (is_ok(r) && schema > STORE_SCHEMA)
            r = FAIL(CODE_REFUSED, "the queue was written by a newer version of Mansio");
        else if (is_ok(r) && schema == 0)
            r = FAIL(CODE_CORRUPT, "the queue has an impossible schema version");
    }
    store_read_end(s);
    return r;
}

/* From schema 1: an empty index, whose mark says that nothing is in it; from schema 2: no marks of held recipients; and the new
 * version, in one transaction. Then an older Mansio, which would keep neither, refuses the queue. */
static RESULT schema_raise(struct store *s)
{
    static const enum store_db made[] = {DB_SEEN, DB_DOMAIN, DB_HELD};
    MDB_txn *txn;
    struct result r = OK;

    if (s->is_current || s->cfg.read_only)
        return OK;
    TRY(lmdb(mdb_txn_begin(s->env, NULL, 0, &txn), "cannot begin the opening transaction"));
    for (size_t i = 0; i < COUNT_OF(made) && is_ok(r); i++)
        r = lmdb(mdb_dbi_open(txn, db_names[made[i]], MDB_CREATE | db_flags(made[i]), &s->dbi[made[i]]),
            "cannot make a sub-database");
    if (is_ok(r))
        r = schema_put(txn, s->dbi[DB_META]);
    if (!is_ok(r)) {
        mdb_txn_abort(txn);
        return r;
    }
    TRY(lmdb(mdb_txn_commit(txn), "cannot commit a new sub-database"));
    s->has_index = s->is_current = true;
    return OK;
}

/* Pages in use: what the trees hold, so that the free list counts as free without being walked. */
static uint64_t pages_used(struct store *s, MDB_txn *txn)
{
    uint64_t pages = 2; /* the meta pages */
    MDB_stat st;

    for (size_t i = 0; i < DB_COUNT + 2; i++) {
        MDB_dbi dbi = i < DB_COUNT ? s->dbi[i] : i == DB_COUNT ? FREE_DBI : MAIN_DBI;
        if ((i == DB_DOMAIN && !s->has_index) || (i == DB_HELD && !s->is_current))
            continue;
        if (mdb_stat(txn, dbi, &st) == 0)
            pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    return pages;
}

/* What a crash left unpublished: bodies begun under an id whose message row never came. */
static RESULT spills_sweep(struct store *s)
{
    MDB_cursor *cursor;
    struct bytes key = BYTES_NONE, value;
    struct message_id id;

    TRY(store_cursor(s, DB_SPILL, &cursor));
    for (;;) {
        struct result r = store_seek(cursor, MDB_FIRST, NULL, &key, &value);
        if (r.code == CODE_GONE)
            return OK;
        TRY(r);
        if (is_ok(row_key_id_get(key, &id))) {
            TRY(store_spill_drop(s, id));
            s->swept++;
        } else {
            TRY(lmdb(mdb_cursor_del(cursor, 0), "cannot remove a damaged mark"));
        }
    }
}

static RESULT spills_sweep_all(struct store *s)
{
    for (;;) {
        TRY(store_begin(s));
        MDB_stat st;
        struct result r = lmdb(mdb_stat(s->write, s->dbi[DB_SPILL], &st), "cannot look at the unpublished bodies");
        if (is_ok(r) && st.ms_entries == 0) {
            s->used_pages = pages_used(s, s->write);
            store_abandon(s);
            return OK;
        }
        if (is_ok(r))
            r = spills_sweep(s);
        if (is_ok(r))
            return store_commit(s);
        store_abandon(s);
        if (r.code != CODE_FULL || r.sys != MDB_MAP_FULL)
            return r;
        TRY(store_grow(s));
    }
}

static RESULT open_steps(struct store *s)
{
    char data_path[PATH_MAX];
    struct stat st;

    if (!s->cfg.read_only) {
        if (mkdir(s->path, 0700) != 0 && errno != EEXIST)
            return FAIL_SYS(errno, "cannot make the queue's folder");
        TRY(queue_lock(s));
        TRY(file_name(s->path, "data.mdb", data_path));
        if (stat(data_path, &st) != 0) {
            if (errno != ENOENT)
                return FAIL_SYS(errno, "cannot look at the queue's file");
            TRY(queue_create(s, data_path));
        }
    }
    TRY(env_open(s));
    TRY(schema_check(s));
    TRY(schema_raise(s));
    TRY(store_index_open(s));
    TRY(store_parked_open(s));
    return s->cfg.read_only ? OK : spills_sweep_all(s);
}

RESULT store_open(const struct store_config *cfg, struct store **store_out)
{
    struct store *s = mem_take_zero(sizeof *s);
    size_t path_size = strlen(cfg->path) + 1;

    if (s == NULL)
        return FAIL(CODE_FULL, "out of memory");
    s->cfg = *cfg;
    s->lock_fd = s->maps_fd = -1;
    s->page_size = (size_t)sysconf(_SC_PAGESIZE);
    s->path = mem_take(path_size);
    struct result r = FAIL(CODE_FULL, "out of memory");
    if (s->path != NULL) {
        memcpy(s->path, cfg->path, path_size);
        s->cfg.path = s->path;
        r = open_steps(s);
    }
    if (!is_ok(r)) {
        store_close(&s);
        return r;
    }
    *store_out = s;
    return OK;
}

void store_close(struct store **store)
{
    struct store *s = *store;

    if (s == NULL)
        return;
    store_abandon(s);
    env_close(s);
    if (s->maps_fd >= 0)
        close(s->maps_fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s->path);
    mem_free(s);
    *store = NULL;
}

/* --- transactions --- */

static RESULT store_ready(struct store *s)
{
    ASSERT(s->write == NULL && !s->reading);
    return s->suspect || s->env == NULL ? store_heal(s) : OK;
}

RESULT store_begin(struct store *s)
{
    ASSERT(!s->cfg.read_only);
    TRY(store_ready(s));
    s->index_mark_before = s->index_mark;
    s->parked_before = s->parked;
    return lmdb(mdb_txn_begin(s->env, NULL, 0, &s->write), "cannot begin a transaction");
}

static void write_ended(struct store *s)
{
    s->write = NULL;
    memset(s->write_cursors, 0, sizeof s->write_cursors);
}

void store_abandon(struct store *s)
{
    if (s->write == NULL)
        return;
    mdb_txn_abort(s->write);
    write_ended(s);
    s->index_mark = s->index_mark_before;
    s->parked = s->parked_before;
    memset(s->verified, 0, sizeof s->verified); /* a chunk seen in there may be put again with other octets */
}

/* (F1) */
static RESULT meta_keep(struct store *s)
{
    mdb_filehandle_t fd;

    s->meta_offset = (off_t)((mdb_txn_id(s->write) & 1) * s->page_size);
    TRY(lmdb(mdb_env_get_fd(s->env, &fd), "cannot reach the queue's file"));
    if (pread(fd, s->meta_before, STORE_META_SIZE, s->meta_offset) != STORE_META_SIZE)
        return FAIL_SYS(EIO, "cannot read the queue's meta page");
    return OK;
}

/* LMDB says EIO for a write that was cut short, and that is how a disk begins to be full. */
static bool is_disk_full(const struct store *s)
{
    struct statvfs fs;

    return statvfs(s->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_FULL_SIZE;
}

RESULT store_commit(struct store *s)
{
    ASSERT(s->write != NULL);
    struct result r = store_parked_save(s);
    if (is_ok(r))
        r = meta_keep(s);
    if (!is_ok(r)) {
        store_abandon(s);
        return r;
    }
    uint64_t used_pages = pages_used(s, s->write), index_lag = store_index_lag_now(s, s->write);
    int rc = mdb_txn_commit(s->write);
    write_ended(s);
    if (rc == MDB_SUCCESS) {
        s->used_pages = used_pages;
        s->index_lag = index_lag;
        store_map_trim(s);
        if (++s->commits % COMMITS_PER_READER_CHECK == 0)
            readers_check(s);
        return OK;
    }
    memset(s->verified, 0, sizeof s->verified);
    s->index_mark = s->index_mark_before;
    s->parked = s->parked_before;
    s->suspect = rc != MDB_MAP_FULL && rc != MDB_TXN_FULL && rc != MDB_BAD_TXN; /* these come before the first write */
    return store_fail(rc == EIO && is_disk_full(s) ? ENOSPC : rc, "cannot commit to disk");
}

RESULT store_grow(struct store *s)
{
    TRY(store_ready(s));
    readers_check(s);
    size_t bound = map_size_bound(s);
    if (s->map_size >= bound)
        return FAIL(CODE_FULL, "the queue has reached its configured size");
    size_t size = s->map_size < bound / 2 ? s->map_size * 2 : bound;
    store_map_lost(s);
    TRY(lmdb(mdb_env_set_mapsize(s->env, size), "cannot enlarge the queue's map"));
    s->map_size = size;
    store_map_find(s);
    return OK;
}

RESULT store_read_begin(struct store *s)
{
    TRY(store_ready(s));
    for (int tries = 0;; tries++) {
        int rc = s->read == NULL ? mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->read) : mdb_txn_renew(s->read);
        if (rc == MDB_MAP_RESIZED && tries == 0) { /* a tool beside a daemon that has enlarged its map */
            TRY(lmdb(mdb_env_set_mapsize(s->env, 0), "cannot follow the queue's growth"));
            continue;
        }
        if (rc != 0)
            return store_fail(rc, "cannot begin to read");
        s->reading = true;
        return OK;
    }
}

void store_read_end(struct store *s)
{
    if (!s->reading)
        return;
    mdb_txn_reset(s->read);
    s->reading = false;
    memset(s->read_cursor_fresh, 0, sizeof s->read_cursor_fresh);
    store_map_trim(s);
}

RESULT store_cursor(struct store *s, enum store_db db, MDB_cursor **cursor_out)
{
    MDB_cursor **cursor = s->write != NULL ? &s->write_cursors[db] : &s->read_cursors[db];
    int rc = 0;

    if (*cursor == NULL)
        rc = mdb_cursor_open(store_txn(s), s->dbi[db], cursor);
    else if (s->write == NULL && !s->read_cursor_fresh[db])
        rc = mdb_cursor_renew(s->read, *cursor);
    if (rc != 0)
        return store_fail(rc, "cannot open a cursor");
    if (s->write == NULL)
        s->read_cursor_fresh[db] = true;
    *cursor_out = *cursor;
    return OK;
}

RESULT store_seek(
    MDB_cursor *cursor, MDB_cursor_op op, const struct row_key *from, struct bytes *key_out, struct bytes *value_out)
{
    MDB_val key = from == NULL ? (MDB_val){0, NULL} : store_val(row_key_bytes(from)), value;
    int rc = mdb_cursor_get(cursor, &key, &value, op);

    if (rc != 0)
        return store_fail(rc, rc == MDB_NOTFOUND ? "no more rows" : "cannot read the queue");
    *key_out = store_bytes(key);
    *value_out = store_bytes(value);
    return OK;
}

/* --- copies --- */

RESULT store_copy(struct store *s, const char *folder, bool compact)
{
    char data_path[PATH_MAX];

    ASSERT(s->write == NULL && !s->reading);
    TRY(file_name(folder, "data.mdb", data_path));
    TRY(lmdb(mdb_env_copy2(s->env, folder, compact ? MDB_CP_COMPACT : 0), "cannot copy the queue"));
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL_SYS(errno, "cannot open the copy");
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    if (failed != 0)
        return FAIL_SYS(failed, "cannot bring the copy to the disk");
    return folder_sync(folder);
}

/* --- figures --- */

void store_stats_get(struct store *s, struct store_stats *stats_out)
{
    struct store_stats st = {.map_size = s->map_size,
        .commits = s->commits,
        .swept = s->swept,
        .parked = s->parked > 0 ? (uint64_t)s->parked : 0};
    bool opened = s->write == NULL && !s->reading;

    if (!opened || is_ok(store_read_begin(s))) {
        uint64_t *const counts[DB_COUNT] = {[DB_MESSAGE] = &st.messages,
            [DB_RECIPIENT] = &st.recipients,
            [DB_LANE_DUE] = &st.due_rows,
            [DB_LANE] = &st.lanes,
            [DB_HISTORY] = &st.history,
            [DB_QUARANTINE] = &st.quarantine,
            [DB_DOMAIN] = s->has_index ? &st.indexed : NULL};
        MDB_stat one;
        for (size_t i = 0; i < DB_COUNT; i++)
            if (counts[i] != NULL && mdb_stat(store_txn(s), s->dbi[i], &one) == 0)
                *counts[i] = one.ms_entries;
        st.used_size = pages_used(s, store_txn(s)) * s->page_size;
        if (opened)
            store_read_end(s);
    }
    *stats_out = st;
}

/* Enough for the deletes, deferrals and DSNs of what is in the queue: they only need pages to copy on write, but the pages
 * that a transaction frees can be used again only two transactions later. */
uint64_t store_room(struct store *s)
{
    uint64_t bound = map_size_bound(s);
    uint64_t reserve = bound / RESERVE_SHARE < RESERVE_SIZE_MAX ? bound / RESERVE_SHARE : RESERVE_SIZE_MAX;
    uint64_t taken = s->used_pages * s->page_size + reserve;

    return taken < bound ? bound - taken : 0;
}
