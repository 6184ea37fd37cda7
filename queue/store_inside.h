/* store_inside: what the store's own files share. Not for: anyone else; the store's face is store.h.
 *
 *   store.c             open, close, transactions, growth, figures
 *   store_rows.c        writing messages, recipients, bodies, history
 *   store_read.c        reading them, walking the schedule
 *   store_lane.c        the health of lanes
 *   store_index.c       the index of domains
 *   store_held.c        marks of recipients that are held before their time
 *   store_quarantine.c  damaged rows
 *   store_map.c         how much of the file the process holds in view
 *   store_fsck.c        the whole check */
#ifndef MANSIO_QUEUE_STORE_INSIDE_H
#define MANSIO_QUEUE_STORE_INSIDE_H

#include <lmdb.h>

#include "queue/row.h"
#include "queue/store.h"

/* Values stand on disk (quarantine keys): add at the end. */
#define STORE_DBS(DB)                                                                                                  \
    DB(META, "meta")                                                                                                   \
    DB(MESSAGE, "message")                                                                                             \
    DB(BODY, "body")                                                                                                   \
    DB(RECIPIENT, "recipient")                                                                                         \
    DB(LANE_DUE, "lane_due")                                                                                           \
    DB(LANE, "lane")                                                                                                   \
    DB(HISTORY, "history")                                                                                             \
    DB(QUARANTINE, "quarantine")                                                                                       \
    DB(SPILL, "spill")                                                                                                 \
    DB(SEEN, "seen")                                                                                                   \
    DB(DOMAIN, "domain")                                                                                               \
    DB(HELD, "held")

enum store_db {
#define DB(name, text) DB_##name,
    STORE_DBS(DB)
#undef DB
        DB_COUNT
};

enum {
    STORE_NOTES_MAX = 64,      /* damaged rows remembered until the next write; more are found again by the next read */
    STORE_VERIFIED_COUNT = 64, /* body chunks whose sum was checked a moment ago */
    STORE_META_SIZE = 512,     /* of a meta page: all that LMDB writes of it lies in its first sector */
};

struct store_note {
    enum store_db db;
    struct row_key key;
};

struct store {
    struct store_config cfg;
    char *path;
    int lock_fd;  /* flock held while open for writing; -1 otherwise */
    MDB_env *env; /* NULL only while a failed disk keeps it from being opened again */
    MDB_dbi dbi[DB_COUNT];
    size_t page_size;
    size_t map_size;
    int maps_fd;         /* the process's list of its maps; -1: not open */
    void *map_base;      /* of LMDB's map; NULL: not known (store_map.c) */
    uint64_t map_faults; /* minor faults of the process when the map was last let go */
    uint64_t map_seen;   /* octets of bodies looked at since */

    MDB_txn *write;
    MDB_cursor *write_cursors[DB_COUNT]; /* LMDB frees them with the transaction */
    MDB_txn *read;                       /* kept, reset between uses */
    bool reading;
    MDB_cursor *read_cursors[DB_COUNT];
    bool read_cursor_fresh[DB_COUNT];

    /* (F1) What the meta page that a commit overwrites held before: see store_heal. */
    bool suspect;
    off_t meta_offset;
    uint8_t meta_before[STORE_META_SIZE];

    uint64_t used_pages; /* at the last commit */
    uint64_t commits, swept;

    struct store_note notes[STORE_NOTES_MAX];
    size_t note_count;
    struct store_verified {
        uint64_t id;
        uint32_t chunk;
    } verified[STORE_VERIFIED_COUNT];
    bool has_index;  /* false: a queue of schema 1 that is only read */
    bool is_current; /* false: a queue of an older schema that is only read */
    bool index_behind;
    struct store_place index_mark, index_mark_before; /* (X1); at the transaction's begin */
    uint64_t index_lag;                               /* recipients that are not in it, at the last commit */
    int64_t parked, parked_before;                    /* recipients in that state; at the transaction's begin */
    struct row_key history_place;                     /* where store_history_expire goes on */
};

/* LMDB's or the system's error as ours: CODE_GONE for not found, CODE_FULL for map (sys MDB_MAP_FULL), disk and
 * memory (sys 0), else CODE_IO. */
RESULT store_fail(int rc, const char *why);

/* LMDB has mapped the file (again): where? Before it may move the map, say that it is lost. */
void store_map_find(struct store *s);
void store_map_lost(struct store *s);
/* Lets go of what was looked at when it has become much; between transactions. */
void store_map_trim(struct store *s);

static inline MDB_txn *store_txn(struct store *s)
{
    ASSERT(s->write != NULL || s->reading);
    return s->write != NULL ? s->write : s->read;
}
static inline MDB_val store_val(struct bytes b)
{
    return (MDB_val){b.size, (void *)(uintptr_t)b.data};
}
static inline struct bytes store_bytes(MDB_val v)
{
    return (struct bytes){v.mv_data, v.mv_size};
}
static inline bool store_key_is(struct bytes key, const struct row_key *prefix)
{
    return bytes_starts(key, row_key_bytes(prefix));
}

/* A cursor of the open transaction, good until its end; every call seeks anew, nobody relies on its place. */
RESULT store_cursor(struct store *s, enum store_db db, MDB_cursor **cursor_out);
/* Moves and reads; CODE_GONE at the end. For MDB_SET_RANGE `from` is the place, otherwise it is ignored (may be NULL). */
RESULT store_seek(
    MDB_cursor *cursor, MDB_cursor_op op, const struct row_key *from, struct bytes *key_out, struct bytes *value_out);

/* The payload under a key, its seal checked; damage is noted. */
RESULT store_row_get(struct store *s, enum store_db db, const struct row_key *key, struct bytes *payload_out);
const char *store_db_name(enum store_db db);
/* Remembers a damaged row for store_quarantine_noted. */
void store_note(struct store *s, enum store_db db, struct bytes key);

/* Room for a payload of that size under the key, to be filled and then sealed with row_header_put; good until the next put. */
RESULT store_row_reserve(
    struct store *s, enum store_db db, const struct row_key *key, size_t payload_size, uint8_t **row_out);
/* Stores a buf that row_buf began. */
RESULT store_row_put(struct store *s, enum store_db db, const struct row_key *key, struct buf *value);
/* CODE_GONE when it was not there. */
RESULT store_row_delete(struct store *s, enum store_db db, const struct row_key *key);
/* The same, and not being there is fine. */
RESULT store_row_forget(struct store *s, enum store_db db, const struct row_key *key);
/* Deletes all rows of a message in a sub-database whose keys begin with its id. */
RESULT store_id_rows_delete(struct store *s, enum store_db db, struct message_id id);

/* The recipient's key in the schedule; false when it has none. */
bool store_due_key(struct row_key *key_out, struct message_id id, const struct recipient *rcpt);
RESULT store_due_put(struct store *s, const struct row_key *key);
/* Takes every recipient of a message out of the schedule, also one whose row is damaged. */
RESULT store_id_unschedule(struct store *s, struct message_id id);

static inline struct store_verified *store_verified_place(struct store *s, struct message_id id, uint32_t chunk)
{
    return &s->verified[(id.value * 31 + chunk) % STORE_VERIFIED_COUNT];
}

static inline struct store_place store_place_behind(struct message_id id, uint32_t n)
{
    return n == UINT32_MAX ? (struct store_place){{id.value + 1}, 0} : (struct store_place){id, n + 1};
}

/* The recipient's row in the index, where it has one (X1, X2). */
RESULT store_index_put(struct store *s, struct message_id id, const struct recipient *rcpt);
RESULT store_index_forget(struct store *s, struct message_id id, const struct recipient *rcpt);
/* Takes these recipients out, whatever their domain. */
RESULT store_index_hunt(struct store *s, const struct store_place *prey, size_t count);
/* Once, when the environment is open. */
RESULT store_index_open(struct store *s);
uint64_t store_index_lag_now(struct store *s, MDB_txn *txn);
/* For the check: whether a recipient has the row that it should have; whether a row has its recipient. */
RESULT store_index_has(struct store *s, struct message_id id, const struct recipient *rcpt, bool *has_out);
bool store_index_row_sound(struct store *s, struct bytes key, struct bytes value);

/* The state that a recipient's row and its mark make together (H1). */
RESULT store_held_view(struct store *s, struct message_id id, struct recipient *rcpt);
/* Takes its mark away, where it has one (H2). */
RESULT store_held_forget(struct store *s, struct message_id id, uint32_t n);

/* How many are parked, kept in `meta`: read at open, counted with every change, written with the commit. */
RESULT store_parked_open(struct store *s);
RESULT store_parked_save(struct store *s);

/* Whether a lane's row holds together. */
bool store_lane_sound(struct bytes key, struct bytes value);

/* Moves all rows of a message in `db` to quarantine, and counts them. */
RESULT store_quarantine_id_rows(struct store *s, enum store_db db, struct message_id id, uint32_t *count);
/* True when a damaged recipient of this message was set aside: its head and body must outlive the others (Q1). */
RESULT store_quarantine_pins(struct store *s, struct message_id id, bool *pinned_out);

#endif
