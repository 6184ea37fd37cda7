/* store: the queue on disk, one LMDB environment, opened by queued alone (and by queuectl when queued is down).
 *
 * For: rows and transactions, with the key layout of DESIGN section 3. Not for: deciding anything (engine, scheduler).
 * Knows LMDB, not the loop, no clock. Threads: none.
 *
 * Writing: store_begin ... puts ... store_commit, which returns only when the data is on disk; any failure in between makes
 * the caller call store_abandon, and then nothing of it happened. CODE_FULL with sys MDB_MAP_FULL from a put or the commit
 * means: abandon, store_grow, and do the whole transaction again. CODE_FULL with sys 0: growing does not help, the disk itself is full (or the memory).
 * A commit that failed with the disk (CODE_IO, or CODE_FULL with sys 0) is undone on the disk before anything else is read or written:
 * until that works, store_begin, store_read_begin and store_grow answer CODE_IO, and they try again each time.
 * One transaction at a time: a read must have ended before a write begins and the other way round (asserted).
 * Reading: between store_read_begin and store_read_end, all inside one loop turn (Q5); views borrow the map and die at
 * store_read_end. Inside a write transaction the same getters see its own writes; their views die at the next put.
 * A row whose checksum or form is wrong: getters return CODE_CORRUPT and note it; the next write transaction moves such rows
 * to `quarantine` (store_quarantine_noted); scans skip them. It never stops the daemon.
 *
 *   TRY(store_open(&cfg, &store));
 *   TRY(store_begin(store));
 *   TRY(store_body_put(store, id, 0, bytes));  TRY(store_message_put(store, &head));
 *   TRY(store_recipient_put(store, id, &rcpt));
 *   TRY(store_commit(store)); */
#ifndef MANSIO_QUEUE_STORE_H
#define MANSIO_QUEUE_STORE_H

#include "queue/envelope.h"
#include "queue/scheduler.h"

struct store;

/* 2: with the index of domains; 3: with marks of held recipients. An older queue is taken over by opening it for writing: what it
 * lacks is made while it works. */
enum { STORE_SCHEMA = 3 };

struct store_config {
    const char *path;  /* folder, made if missing (mode 0700) */
    uint64_t size_max; /* the map never grows past it */
    bool read_only;    /* for tools beside a stopped or running daemon */
    uint32_t
        index_tail; /* the youngest recipients, which may stay out of the index of domains; 0: the default, 4,096 */
};

struct store_stats {
    uint64_t messages, recipients, due_rows, lanes, history, quarantine, indexed;
    uint64_t parked;              /* of due_rows: places of recipients that are held */
    uint64_t map_size, used_size; /* octets; used = pages in use */
    uint64_t commits, swept;
};

/* Recipients that wait for their time, or to leave; those that are held. */
static inline uint64_t store_stats_waiting(const struct store_stats *s)
{
    return s->due_rows > s->parked ? s->due_rows - s->parked : 0;
}
static inline uint64_t store_stats_held(const struct store_stats *s)
{
    return s->recipients > store_stats_waiting(s) ? s->recipients - store_stats_waiting(s) : 0;
}

/* CODE_REFUSED when the schema on disk is newer than ours or another process holds the queue; CODE_IO otherwise.
 * Opening for writing sweeps what a crash left unpublished (spilled chunks whose message row never came). */
RESULT store_open(const struct store_config *cfg, struct store **store_out);
void store_close(struct store **store);

RESULT store_begin(struct store *s);
RESULT store_commit(struct store *s);
void store_abandon(struct store *s);
/* Enlarges the map (doubling, to size_max); no transaction may be open. CODE_FULL when the bound is reached. */
RESULT store_grow(struct store *s);
RESULT store_read_begin(struct store *s);
void store_read_end(struct store *s);

/* --- inside a write transaction --- */
/* Sets aside `count` ids that no message ever had, the first being at least `floor` (from the clock); durable with the commit. */
RESULT store_ids_reserve(struct store *s, uint64_t floor, uint32_t count, struct message_id *first_out);
/* Chunk number `chunk` of a body: all but the last have BODY_CHUNK_SIZE_MAX octets. */
RESULT store_body_put(struct store *s, struct message_id id, uint32_t chunk, struct bytes body);
/* Marks an id as spilled but unpublished (before its first early chunk); store_message_put takes the mark away. */
RESULT store_spill_mark(struct store *s, struct message_id id);
/* Removes chunks and mark of a transaction that was given up. */
RESULT store_spill_drop(struct store *s, struct message_id id);
RESULT store_message_put(struct store *s, const struct envelope_head *head);
/* A new recipient: its row and, when WAITING, its lane_due row. */
RESULT store_recipient_put(struct store *s, struct message_id id, const struct recipient *rcpt);
/* Replaces the row and moves its place in the schedule. `before` names the old lane, state and next_try. CODE_GONE when the
 * row is no longer there. */
RESULT store_recipient_update(
    struct store *s, struct message_id id, const struct recipient *before, const struct recipient *after);
/* Holds a waiting recipient in its place in the schedule: it reads as RECIPIENT_PARKED from then on, and only a mark is written
 * (store_held.c). The caller has read the recipient in this transaction. */
RESULT store_recipient_park(struct store *s, struct message_id id, const struct recipient *rcpt);
/* Remembers who gets a message that is expanded: *fresh_out is false when `text` was remembered for it before. These rows go
 * with the message. */
RESULT store_seen_put(struct store *s, struct message_id id, struct bytes text, bool *fresh_out);
RESULT store_seen_has(struct store *s, struct message_id id, struct bytes text, bool *has_out);
/* CODE_GONE when the row is no longer there. */
RESULT store_recipient_delete(struct store *s, struct message_id id, const struct recipient *rcpt);
/* Deletes head and body when no recipient is left; done_out tells. CODE_GONE when there is no such message (any more).
 * When a damaged recipient of it lies in quarantine, head and body go there instead: the mail is not thrown away. */
RESULT store_message_finish(struct store *s, struct message_id id, bool *done_out);
/* Everything of a message, recipients included. CODE_GONE when it is not there. */
RESULT store_message_delete(struct store *s, struct message_id id);
RESULT store_lane_put(struct store *s, struct bytes lane, const struct lane_health *health);
RESULT store_lane_delete(struct store *s, struct bytes lane);
/* Whether the postmaster has closed the door to new mail. */
RESULT store_paused_put(struct store *s, bool paused);
/* One attempt, for `explain` and `trace`: `row` is the engine's own encoding. k counts from 0 per message. */
RESULT store_history_put(struct store *s, struct message_id id, struct walltime at, struct bytes row);
/* A memo of the engine's own: few of them, small (bans, quotas). */
enum { STORE_MEMO_NAME_SIZE_MAX = 300, STORE_MEMO_SIZE_MAX = 128 };
RESULT store_memo_put(struct store *s, struct bytes name, struct bytes value);
RESULT store_memo_delete(struct store *s, struct bytes name);
/* Forgets rows older than `before`, at most `count_max` of them. Each call goes on where the one before it stopped. */
RESULT store_history_expire(struct store *s, struct walltime before, uint32_t count_max, uint32_t *count_out);
/* Whether the last of them came to the end of the history: the next begins anew. */
bool store_history_is_seen(const struct store *s);
/* The damaged rows that reads have met since the last commit, for the log; `id` is zero where the row tells none. False past
 * the last. */
struct store_noted {
    const char *table;
    struct message_id id;
    uint32_t n; /* recipient or chunk */
};
bool store_noted(const struct store *s, size_t index, struct store_noted *noted_out);
/* Moves the damaged rows that reads have met; count_out of them. A damaged head or chunk takes its whole message along, a
 * damaged recipient its place in the schedule; a damaged place is made again from its recipient. Worth an event. */
RESULT store_quarantine_noted(struct store *s, uint32_t *count_out);

/* --- inside a read (or write) transaction --- */
RESULT store_message_get(struct store *s, struct message_id id, struct envelope_head *head_out);
RESULT store_recipient_get(struct store *s, struct message_id id, uint32_t n, struct recipient *rcpt_out);
/* Up to size_max octets of the body from offset on; fewer at a chunk's end; CODE_GONE past the end. */
RESULT store_body_get(struct store *s, struct message_id id, uint64_t offset, size_t size_max, struct bytes *body_out);
/* The next message after `after` in id order ({0}: the first); CODE_GONE at the end. */
RESULT store_message_next(struct store *s, struct message_id after, struct envelope_head *head_out);
/* Recipients of a message in order of n: *cursor starts at 0 and is moved past the one returned; CODE_GONE at the end. */
RESULT store_recipient_next(struct store *s, struct message_id id, uint64_t *cursor, struct recipient *rcpt_out);

/* A place in the order of (id, n). */
struct store_place {
    struct message_id id;
    uint32_t n;
};
/* The first recipient of any message at or behind *place (all zero: the first of all), which is moved behind it; CODE_GONE at
 * the end. Within one read transaction a walk costs a step each and no search. */
RESULT store_recipient_walk(
    struct store *s, struct store_place *place, struct message_id *id_out, struct recipient *rcpt_out);
/* The last message in id order; CODE_GONE when there is none. */
RESULT store_message_last(struct store *s, struct message_id *id_out);

/* A place in the schedule. */
struct store_due {
    struct walltime next_try;
    struct message_id id;
    uint32_t n;
};
/* The first row of the lane at or after `from` (all zero: the first of all); CODE_GONE when the lane has no more. */
RESULT store_due_next(struct store *s, struct bytes lane, const struct store_due *from, struct store_due *due_out);
/* The place right behind a row, for walking on. */
struct store_due store_due_after(const struct store_due *row);
/* The first lane whose name sorts after `after` (empty: the first), with its first row: one seek a lane. CODE_GONE at the
 * end. lane_out borrows the map. */
RESULT store_due_lane_next(struct store *s, struct bytes after, struct bytes *lane_out, struct store_due *first_out);
RESULT store_paused_get(struct store *s, bool *paused_out);
RESULT store_lane_next(struct store *s, struct bytes after, struct bytes *lane_out, struct lane_health *health_out);
/* History of one message: *cursor starts at 0; CODE_GONE at the end. */
RESULT store_history_next(
    struct store *s, struct message_id id, uint64_t *cursor, struct walltime *at_out, struct bytes *row_out);

/* History of all messages in order of (id, k), as store_recipient_walk; CODE_GONE at the end. */
RESULT store_history_walk(struct store *s, struct store_place *place, struct message_id *id_out,
    struct walltime *at_out, struct bytes *row_out);

/* --- the index of domains (store_index.c): which recipients a domain has --- */
/* It runs behind: recipients past the mark are not in it, and are found by store_recipient_walk from there on. */
RESULT store_index_mark(struct store *s, struct store_place *mark_out);
/* The domain's first recipient at or behind *place up to the mark, which is moved behind it; CODE_GONE at the end. Whether it is
 * still there, and of that domain, its row tells. */
RESULT store_domain_walk(
    struct store *s, struct bytes domain, struct store_place *place, struct message_id *id_out, uint32_t *n_out);
struct store_domain_counts {
    uint64_t recipients, messages;
};
/* Counts on from *place, about count_max of them, without reading their rows; ids up to `last`. `after` keeps the message that was
 * counted last. CODE_GONE when that was all that the index has. Not for domains that are clipped. */
RESULT store_domain_count(struct store *s, struct bytes domain, struct store_place *place, struct message_id last,
    uint64_t count_max, struct message_id *after, struct store_domain_counts *counts);
/* Too long for the index to tell it from others. */
bool store_domain_is_clipped(struct bytes domain);
/* Whether so many are not in it that store_index_advance should be called, again and again until this is false. */
bool store_index_wanted(struct store *s);
/* In a write transaction: enters the oldest that are not in it, at most count_max. */
RESULT store_index_advance(struct store *s, uint32_t count_max);
/* In a write transaction: empties it, to be made anew. */
RESULT store_index_reset(struct store *s);

/* The memo whose name sorts behind `after` (empty: the first); CODE_GONE past the last. */
RESULT store_memo_next(struct store *s, struct bytes after, struct bytes *name_out, struct bytes *value_out);

void store_stats_get(struct store *s, struct store_stats *stats_out);
/* Octets that a new message may still take before the map's bound, the tail kept for finishing old mail not counted. */
uint64_t store_room(struct store *s);

/* A consistent copy of the whole environment into an empty folder, on the disk when it returns; `compact`: without free pages.
 * The queue may be written meanwhile by its own process: what was committed before the call is in the copy. For tools: it
 * takes as long as the copying takes. */
RESULT store_copy(struct store *s, const char *folder, bool compact);

/* --- offline check, store_fsck.c --- */
struct store_fsck {
    uint64_t messages, recipients, due_rows, body_rows, history_rows, lanes, seen_rows;
    uint64_t damaged, orphan_due, missing_due, orphan_recipients, orphan_bodies, missing_bodies, unpublished;
    uint64_t orphan_index, missing_index; /* rows of the index that no recipient has, recipients that it lacks */
    uint64_t orphan_held;                 /* marks of recipients that are not there */
    uint64_t orphan_seen,
        missing_seen;        /* names remembered of no message; expanded recipients that are not remembered */
    uint64_t empty_messages; /* heads without any recipient: store_message_finish was forgotten */
};
/* Walks everything, read-only. Each finding goes to `say` (may be NULL) as one line of text without LF. */
RESULT store_fsck(
    struct store *s, struct store_fsck *found_out, void (*say)(void *context, struct bytes line), void *context);
static inline bool store_fsck_clean(const struct store_fsck *f)
{
    return f->damaged + f->orphan_due + f->missing_due + f->orphan_recipients + f->orphan_bodies + f->missing_bodies +
               f->orphan_index + f->missing_index + f->orphan_held + f->orphan_seen + f->missing_seen +
               f->empty_messages ==
           0;
}

#endif
