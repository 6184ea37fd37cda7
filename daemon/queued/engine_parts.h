/* engine_parts: what the files of the engine share among themselves; nobody else includes it.
 *
 * Invariants:
 * (E1) A frame changes memory only. Rows change in batch_commit alone, in one transaction for all that is pending.
 * (E2) tx_done ACCEPTED is sent after store_commit returned OK for the transaction that holds the message (Q1).
 * (E3) While a transaction is replayed (map growth, failure) nothing outside the store has happened: everything that must be
 *      said or scheduled is noted as an effect and played after the commit.
 * (E4) A recipient named by a job in `flights` is never put into another job. It leaves `flights` only after the commit that
 *      holds its result (Q2, Q4). */
#ifndef MANSIO_QUEUED_ENGINE_PARTS_H
#define MANSIO_QUEUED_ENGINE_PARTS_H

#include "daemon/base/log.h"
#include "daemon/base/map.h"
#include "daemon/queued/engine.h"
#include "daemon/queued/standby.h"
#include "daemon/queued/wards.h"
#include "queue/attempt.h"
#include "queue/dsn.h"
#include "smtp/idna.h"

enum {
    IDS_BLOCK_COUNT = 65536,        /* ids set aside in one row */
    IDS_GRANT_COUNT_MAX = 1024,     /* in one frame to one inbound */
    BATCH_BODY_SIZE_MAX = 33554432, /* body octets in one transaction; the rest goes into the next */
    COMMIT_RETRY_MS = 1000,
    TX_ARENA_SIZE_MAX = 67108864, /* RCPT_COUNT_MAX recipients */
    JOB_ARENA_SIZE_MAX = 1048576, /* JOB_RCPT_COUNT_MAX results with their replies */
    EXPANSION_ARENA_SIZE_MAX = 268435456,
    SCRATCH_SIZE_MAX = 268435456,    /* the notes of one batch */
    HISTORY_EXPIRE_EVERY_MS = 60000, /* between portions, until all of it was looked at */
    HISTORY_EXPIRE_PAUSE_MS = 100,   /* between portions, when there is much to forget */
    HISTORY_WALK_PARTS = 24,         /* then it rests for this part of history_keep, */
    HISTORY_WALK_REST_MS = 3600000,  /* but no longer */
    HISTORY_EXPIRE_COUNT_MAX = 2000,
    INDEX_PAUSE_MS = 20, /* between portions of the index, when no mail makes commits */
    INDEX_COUNT_MAX = 2000,
    PARKED_COUNT_MAX = 256,
    SAVE_DELAY_MS = 1000, /* lane health alone does not force a sync sooner */
    ROOM_MIN = 4194304,   /* octets of map that new mail must leave */
};

struct engine_peer {
    struct engine_peer *next;
    enum ipc_role role;
    void *channel;
    uint32_t slots; /* workers: as they said hello; 0 before */
    uint32_t in_flight;
    uint32_t sessions_open; /* inbound: as it told last */
    uint64_t sessions_begun, sessions_refused;
    struct tx *group, **group_end; /* inbound: committed, and waiting for the rest of their company */
    enum tx_outcome group_failed;  /* TX_ACCEPTED while nothing went wrong */
};

/* --- transactions (intake.c) --- */
struct tx_rcpt {
    struct tx_rcpt *next;
    struct recipient rcpt;
};

struct tx {
    struct message_id id;
    struct walltime began;
    struct engine_peer *peer; /* NULL once the peer is gone */
    struct arena arena;
    struct envelope_head head; /* from tx_commit on */
    struct tx_rcpt *rcpts, **rcpts_end;
    uint32_t rcpt_count;
    struct buf body;        /* the tail that is not yet in a chunk; heap, grows to BODY_CHUNK_SIZE_MAX */
    uint64_t body_size;     /* all octets so far */
    uint32_t chunk_count;   /* full chunks handed to spilling */
    bool marked;            /* its spill mark is (about to be) in the store */
    enum tx_outcome failed; /* TX_ACCEPTED while nothing went wrong */
    bool committed;         /* in the batch or in its peer's group */
    bool joined;            /* to the next one: both in one commit */
    struct tx *next;        /* in the batch */
};

/* One full chunk on its way to the store before its message is published. */
struct spill {
    struct spill *next;
    struct message_id id;
    uint32_t chunk;
    struct buf body;
};

/* --- jobs (dispatch.c, expansion.c, outcome.c) --- */
struct job_child {
    struct job_child *next;
    enum child_kind kind;
    struct bytes text, address, owner, as;
    struct bytes via; /* its route by a lookup; empty: that of the configuration */
};

struct job_rcpt {
    uint32_t n;
    bool has_result;
    bool dsn_passed;
    bool applied, landed; /* early (outcome.c): in the transaction under way; durable */
    enum job_outcome outcome;
    struct bytes status, reply, host, address, tls;
    struct job_child *children, **children_end; /* JOB_EXPANDED */
    uint32_t child_count;
    bool children_lost; /* for want of memory */
};

struct job {
    struct job_id job;
    struct message_id id;
    struct lane *lane;
    struct engine_peer *worker;
    struct arena arena;
    struct job_rcpt *rcpts;
    uint32_t rcpt_count;
    enum lane_verdict verdict;
    bool uncertain;
    struct walltime began;
    uint64_t body_size;
    bool ended, early; /* the worker has said its last word; it is in the list below */
    struct bytes lane_name, transcript;
    struct bytes sender;         /* the reverse-path of its recipients where it is not the message's own */
    struct job *next_of_message; /* flights */
    struct job *next;            /* in the batch */
    struct job *next_early;
};

/* --- what must happen once a commit is durable --- */
enum effect_kind {
    EFFECT_LANE_DUE,
    EFFECT_DELIVERED,
    EFFECT_DEFERRED,
    EFFECT_FAILED,
    EFFECT_DISCARDED,
    EFFECT_EXPANDED,
    EFFECT_SENDER_FORWARDED,
    EFFECT_SENDER_TOO_LONG,
    EFFECT_MESSAGE_DONE,
    EFFECT_DSN_QUEUED,
    EFFECT_DOUBLE_BOUNCE,
};

struct effect {
    struct effect *next;
    enum effect_kind kind;
    struct message_id id, other;
    uint32_t n, count;
    int64_t number;
    struct walltime due;
    struct bytes to, lane, host, tls, reply, from;
};

/* Lane health to be written. */
struct save {
    struct save *next;
    struct lane_health health;
    struct bytes lane;
    uint8_t room[LANE_NAME_SIZE_MAX + LANE_HEALTH_SIZE_MAX];
};

/* A removal of what an aborted transaction spilled. */
struct drop {
    struct drop *next;
    struct message_id id;
};

struct batch {
    struct tx *publish, **publish_end;
    struct spill *spills, **spills_end;
    struct job *done, **done_end;
    struct job *early; /* jobs of local under way that have delivered to some: what is certain is written at once */
    struct drop *drops;
    struct save *saves, **saves_end;              /* a lane may be named twice: the later word counts */
    bool quarantine;                              /* a read met damaged rows */
    bool more_history;                            /* expired rows may be left */
    struct order_target parked[PARKED_COUNT_MAX]; /* met in the schedule: to be taken out of it */
    uint32_t parked_count;
    bool leaving; /* the window of some deletions or bounces is over */
};

struct id_block {
    uint64_t next, end;
};

/* The rows of one portion of a large change. */
typedef RESULT (*portion_fn)(struct engine *e, void *context, struct walltime now, uint32_t *count_out);

/* A portion that goes into the commit of a batch. */
struct rider {
    portion_fn rows;
    void *context;
    uint32_t *count_out;
};

struct engine {
    const struct config *cfg;
    struct store *store;
    struct engine_ports ports;
    struct scheduler *scheduler;
    struct wards *wards;
    struct standby *standby;
    struct rng rng;
    const struct srs *srs; /* NULL: forwarded senders stay as they are */
    struct engine_peer *peers;
    struct map transactions; /* message id -> tx */
    struct map jobs;         /* job id -> job */
    struct map flights;      /* message id -> first job of that message */
    struct map damaged;      /* message ids whose rows could not be read: left out of jobs until quarantined */
    uint64_t last_job;
    struct id_block ids, ids_spare;
    struct batch batch;
    struct arena scratch;      /* of the batch being applied */
    const struct rider *rider; /* of the batch being applied; NULL: none */
    struct effect *effects, **effects_end;
    uint8_t *dsn_room; /* DSN_SIZE_MAX */
    struct walltime commit_after, save_after, expire_after, index_after;
    bool open, open_known;
    bool has_aliases; /* a domain of the configuration has: only then is a message looked at for expansion */
    bool paused;      /* by the postmaster: as if there were no room */
    bool rescan;      /* the schedule in memory may lack a lane: read them again */
    uint64_t disk_free;
    struct engine_stats stats;
    struct tally_tls tls;
    struct tally_lanes results;
    struct tally_doors doors;
};

/* engine.c */
RESULT engine_take_id(struct engine *e, struct message_id *id_out);
RESULT effect_add(struct engine *e, const struct effect *effect);
RESULT engine_ids_reserve(struct engine *e, struct walltime now, struct id_block *block_out);
/* After the commit that they belong to: logs, counts, schedules. */
void engine_effects_play(struct engine *e);
/* One more of a stage. */
void engine_stage(struct engine *e, enum tally_stage stage, int64_t took_us);
void engine_send(struct engine *e, struct engine_peer *peer, const struct msg *msg);
/* Where a forward-path goes: the part behind the last @, in the lower case that inbound gave it. */
struct bytes path_domain(struct bytes path);
/* The lane of a forward-path of mail from `sender`, in `lane_room`; a route that is an error or cannot be named comes back as ROUTE_CHOICE_ERROR. */
RESULT engine_route(
    struct engine *e, struct bytes sender, struct bytes path, struct buf *lane_room, struct route_choice *choice_out);
/* The same by what a lookup says of it, in the words of `via`. */
RESULT engine_route_via(
    struct engine *e, struct bytes path, struct bytes via, struct buf *lane_room, struct route_choice *choice_out);

/* The same for a recipient that may have alias data: those of a domain that has some go to LANE_EXPAND first. */
RESULT engine_route_first(struct engine *e, struct bytes sender, const struct recipient *rcpt, struct buf *lane_room,
    struct route_choice *choice_out);
#define LANE_EXPAND BYTES("expand")
/* Whether what is delivered to the path may be forwarded by its user: its domain has system_users. */
bool engine_may_forward(const struct engine *e, struct bytes path);

/* intake.c */
RESULT intake_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now);
void intake_peer_gone(struct engine *e, struct engine_peer *peer);
RESULT intake_publish(struct engine *e, struct tx *tx, struct walltime now);
void intake_spilled(struct engine *e, const struct spill *spill);
void intake_answer(struct engine *e, struct tx *tx, enum tx_outcome outcome);
void tx_free(struct tx *tx);
void spill_free(struct spill *spill);

/* dispatch.c */
void dispatch_turn(struct engine *e, struct walltime now);
/* What the scheduler has to say of lanes' health goes into the batch. CODE_FULL: some of it was lost for want of memory. */
RESULT dispatch_saves(struct engine *e, struct walltime now);
RESULT dispatch_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now);
void dispatch_peer_gone(struct engine *e, struct engine_peer *peer, struct walltime now);
void dispatch_landed(
    struct engine *e, struct job *job); /* the commit with its results is durable: out of flights, freed */
void dispatch_slots_changed(struct engine *e);

/* A recipient whose route is an error: it is reported in the transaction that would have stored it. */
RESULT intake_refused(struct engine *e, const struct envelope_head *head, const struct recipient *rcpt,
    const struct route_choice *choice, struct bytes content, struct walltime now);

/* expansion.c */
RESULT expansion_child_take(struct job *job, struct job_rcpt *at, const struct msg_job_child *m);
/* Stores the children of one recipient (Q3); those that the message reaches by another way are left out. *next_n is the
 * first free number of a recipient. */
RESULT expansion_apply(struct engine *e, const struct envelope_head *head, const struct recipient *parent,
    const struct job_rcpt *at, uint32_t *next_n, struct walltime now);
/* Remembers that the message reaches `rcpt` over its lane; *fresh_out is false when it does already. */
RESULT expansion_remember(
    struct engine *e, struct message_id id, struct bytes path, struct bytes lane, bool *fresh_out);

/* batch.c */
void batch_init(struct batch *b);
void batch_fini(struct engine *e);
/* All that waits for a commit, in as many as it takes. */
void batch_commit(struct engine *e, struct walltime now);
/* Commits what waits for it together with the portion: one wait for the disk instead of two. CODE_GONE: no mail waits for a
 * commit, or not with this portion; then nothing has happened, and the mail is tried without it at the next turn. */
RESULT batch_commit_with(struct engine *e, const struct rider *rider, struct walltime now);
/* The rows of the lanes that are to be saved; a portion_fn. */
RESULT batch_saves(struct engine *e, void *context, struct walltime now, uint32_t *count_out);
void batch_saves_forget(struct engine *e);
/* The wall clock may have jumped. */
void batch_waits_settle(struct engine *e, struct walltime now);
struct walltime batch_deadline(const struct engine *e);

/* postmaster.c */
/* Runs one portion as a transaction of its own, with map growth; effects are played after it. */
RESULT portion_commit(struct engine *e, portion_fn rows, void *context, struct walltime now, uint32_t *count_out);
/* Carries out deletions and bounces whose window is over, a portion of them; part of a batch. */
RESULT postmaster_leave(struct engine *e, struct walltime now);
/* Takes parked recipients whose time has come out of the schedule; part of a batch. */
RESULT postmaster_unpark(struct engine *e);

/* outcome.c */
RESULT outcome_apply(struct engine *e, struct job *job, struct walltime now);
/* Queues one notification about recipients of `head`; `content` is the original's beginning. */
RESULT outcome_notify(struct engine *e, enum dsn_kind kind, const struct envelope_head *head,
    const struct dsn_recipient *list, size_t count, struct bytes content, struct walltime now,
    struct message_id *id_out);

#endif
