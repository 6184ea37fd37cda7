/* house: our own processes in the world: inbound, queued and outbound, made of the daemon's objects, started, killed and started
 * again as the supervisor would.
 *
 * For: the scenario. Stands where the mains of daemon/inbound, daemon/outbound and daemon/queued stand, and the supervisor.
 *   house_open(&setup);  ...  house_kill_queued();  ...  house_close(); */
#ifndef MANSIO_SIM_HOUSE_H
#define MANSIO_SIM_HOUSE_H

#include "tests/sim/lib/ledger.h"

enum { HOUSE_INBOUND = 2, HOUSE_OUTBOUND = 2 };

/* Our listeners, in the order of the configuration: relay, submission with STARTTLS, submission with TLS at once. */
enum house_door { DOOR_RELAY, DOOR_SUBMISSION, DOOR_SUBMISSIONS, HOUSE_DOORS };

struct house_setup {
    const struct config *cfg;
    const char *path; /* of the queue */
    bool disk;        /* the queue lies on the recording disk */
    uint64_t size_max;
};

/* False when the store does not open. */
bool house_open(const struct house_setup *setup);
/* Stops everything at once; the store must be clean. */
void house_close(void);

/* The client's end of a connection to us; NULL when nobody listens. */
struct net_end *house_connect(enum house_door door, const struct dns_address *from, const struct net_traits *traits);

void house_kill_inbound(unsigned which);
void house_kill_outbound(unsigned which);
void house_kill_queued(void);
void house_kill_local(void);
void house_kill_lookup(void);
void house_kill_auth(void);
/* In the middle of a call of local: it sends nothing any more, and dies at the end of the turn. */
void house_local_dies_here(void);
/* The power is cut after this event, behind all that the disk has seen. */
void house_power_cut_soon(void);
/* An outbound finishes its jobs and gives way to a new one. */
void house_drain_outbound(unsigned which);
/* All processes die. The queue is what the disk shows after a cut behind its event `at`. */
void house_power_cut(size_t at, uint64_t seed);
/* From now on: as soon as the disk has seen `at` events. SIZE_MAX: never. */
void house_cut_at(size_t at, uint64_t seed);

/* The postmaster's hand. */
void house_retry_all(void);
void house_hold(bool held);
/* A request on the control socket: an order about a letter, or about a lane. */
void house_order_any(void);
/* Lanes are neither suspended nor limited any more, and mail is taken. */
void house_lanes_free(void);
bool house_lanes_bound(void);
/* The wall clock jumps; every other clock goes on. */
void house_clock_jump(int64_t by_ms);
/* What is held stays held no longer. */
void house_release_all(void);

/* Was any of our processes down within the last wait_ms (and a while)? */
bool house_was_down(int64_t wait_ms);
/* Gives back what is only kept for the next work: a bounded number of deliveries. */
void house_spares_drop(void);
bool house_is_up(void);
bool house_is_idle(void);
void house_fsck(const char *when);
struct engine *house_engine(void);

#endif
