/* engine: the mind of queued. Takes transactions in, makes them durable in group commits, hands jobs to workers, turns
 * their results into rows and notifications. Loop-free: the process (queued.c) and the simulator drive the same code.
 *
 * For: everything between the frames of inbound and workers and the rows of the store. Not for: sockets, timers.
 * Design: frames change memory only; engine_turn, called once at the end of a loop turn, writes everything that came in
 * that turn in one transaction (the group commit), answers what became durable, and then starts jobs. So all that arrives
 * while one sync is on its way to the disk shares the next. Files: engine.c peers and the batch, intake.c transactions,
 * dispatch.c jobs, outcome.c results and notifications.
 * Lifetime: config and store are borrowed and outlive the engine. Threads: none.
 *
 *   engine = engine_new(&(struct engine_setup){.config = cfg, .store = store, .ports = ports, .seed = seed});
 *   TRY(engine_start(engine, now));
 *   peer = engine_peer_add(engine, ROLE_INBOUND, channel);
 *   if (!is_ok(engine_receive(engine, peer, msg, now))) drop the channel, then engine_peer_gone(engine, peer, now);
 *   at the end of the turn: engine_turn(engine, now);  wait until engine_deadline(engine) */
#ifndef MANSIO_QUEUED_ENGINE_H
#define MANSIO_QUEUED_ENGINE_H

#include "daemon/config/config.h"
#include "daemon/ipc/codec.h"
#include "daemon/queued/order.h"
#include "daemon/queued/tally.h"
#include "queue/scheduler.h"
#include "queue/store.h"
#include "smtp/srs.h"

struct engine;
struct engine_peer;

struct engine_ports {
    void *context;
    /* Queues one frame to a channel (never blocks, never calls back into the engine). */
    void (*send)(void *context, void *channel, const struct msg *msg);
    /* Microseconds of a clock that never goes back, to measure with; NULL: nothing is measured. */
    int64_t (*clock_us)(void *context);
};

struct engine_setup {
    const struct config *config;
    struct store *store;
    struct engine_ports ports;
    uint64_t seed;
};

struct engine_stats {
    uint64_t accepted, delivered, deferred, failed, dsns, commits, commit_ops, commit_failures;
    uint32_t transactions, jobs;
    bool open;
    bool paused; /* by the postmaster */
    uint64_t accepted_octets,
        delivered_octets; /* bodies of messages made durable; of jobs that delivered to somebody */
    uint64_t sessions_begun, sessions_refused, dns[TALLY_DNS_COUNT];
    uint32_t sessions_open;
    struct histogram batch_sizes, delivery_delays, stages[TALLY_STAGE_COUNT];
};

/* NULL when the heap has none. */
struct engine *engine_new(const struct engine_setup *setup);
void engine_free(struct engine **e);
/* Reads lanes (not messages) and sets ids aside; CODE_IO/CODE_FULL when the store cannot be written. */
RESULT engine_start(struct engine *e, struct walltime now);
/* A new configuration in place: for what comes from now on. */
void engine_configure(struct engine *e, const struct config *cfg);

/* How forwarded senders are rewritten; NULL: they are not. Borrowed, until the next call. */
void engine_srs(struct engine *e, const struct srs *srs);

/* NULL when the heap has none. `channel` is what ports.send is given. */
struct engine_peer *engine_peer_add(struct engine *e, enum ipc_role role, void *channel);
/* Forgets the peer: its open transactions are dropped (nobody was told 250), its jobs are due again at once. */
void engine_peer_gone(struct engine *e, struct engine_peer *peer, struct walltime now);
/* CODE_CORRUPT or CODE_REFUSED: the peer talks nonsense; drop its channel and call engine_peer_gone. */
RESULT engine_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now);

/* Commits what came, answers it, starts jobs. */
void engine_turn(struct engine *e, struct walltime now);
/* When engine_turn wants to be called although nothing comes. */
struct walltime engine_deadline(const struct engine *e);

/* The octets left on the queue's file system; below limits.min_free new mail is refused (admission). */
void engine_disk_free(struct engine *e, uint64_t free_size);
void engine_stats_get(const struct engine *e, struct engine_stats *stats_out);
/* Results by next hop since the start; good until the next call on e. */
const struct tally_lanes *engine_results(const struct engine *e);
const struct tally_tls *engine_tls(const struct engine *e);
const struct tally_doors *engine_doors(const struct engine *e);
struct scheduler *engine_scheduler(struct engine *e);
struct store *engine_store(struct engine *e);
/* Whether a recipient is being delivered right now. */
bool engine_is_active(const struct engine *e, struct message_id id, uint32_t n);

/* --- the postmaster's hand: each call is one transaction of its own, durable when it returns; count_out tells how many
 * recipients it changed. What is being delivered right now is left to its attempt: hold, retry and reroute then apply to what
 * the attempt leaves; delete lets it finish and keeps nothing of it; bounce waits for its end. --- */
/* `targets` in order of (id, n), at most ORDER_TARGETS_MAX; those that are gone are passed over. */
RESULT engine_order(struct engine *e, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime now, uint32_t *count_out);
/* Makes one portion of the lane's recipients due now; more_out: call again. At the end its back-off is over. */
RESULT engine_retry_lane(struct engine *e, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out);
/* The operator's word about a lane ("*": every one, also those to come); kept over restarts. `slots` of LIMIT: 0 lifts it;
 * of PACE: the milliseconds between two starts, 0 lifts it. */
RESULT engine_lane_order(
    struct engine *e, struct bytes name, enum lane_order order, uint32_t slots, struct walltime now);
/* New mail is answered 452 until it is lifted, over restarts too. */
RESULT engine_pause_accepting(struct engine *e, bool paused, struct walltime now);
/* No lane backs off any more. */
void engine_hurry(struct engine *e, struct walltime now);

#endif
