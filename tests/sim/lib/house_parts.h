/* house_parts: what the files of the house share; nobody else includes it. */
#ifndef MANSIO_SIM_HOUSE_PARTS_H
#define MANSIO_SIM_HOUSE_PARTS_H

#include "daemon/edge/process.h"
#include "daemon/inbound/session.h"
#include "daemon/local/job.h"
#include "daemon/lookup/job.h"
#include "daemon/outbound/parts.h"
#include "daemon/queued/engine.h"
#include "tests/sim/lib/house.h"
#include "tests/support/folder.h"

/* queued's channels: one to each other process that has one to it. */
enum {
    LINK_INBOUND,
    LINK_OUTBOUND = HOUSE_INBOUND,
    LINK_LOCAL = LINK_OUTBOUND + HOUSE_OUTBOUND,
    LINK_LOOKUP,
    LINK_COUNT,
};

struct link_to {
    struct channel *channel; /* queued's end */
    struct engine_peer *peer;
    enum ipc_role role;
    int fds[2]; /* queued's end, the other end */
};

struct inbound_process {
    bool up;
    struct loop *loop;
    struct inbound in;
    struct door doors[HOUSE_DOORS]; /* by enum house_door */
    struct world_timer restart, orphan;
};

struct outbound_process {
    bool up, draining;
    struct loop *loop;
    struct outbound ob;
    struct bytes self_name;
    struct dns_endpoint self_endpoint;
    struct world_timer restart, orphan;
};

struct local_process {
    bool up;
    struct loop *loop;
    struct local local;
    struct world_timer restart, dying, orphan;
};

struct lookup_process {
    bool up;
    struct loop *loop;
    struct book book;
    struct instant look_after;
    struct lookup_desk desk;
    struct channel *inbound[HOUSE_INBOUND];
    int fds[HOUSE_INBOUND][2]; /* inbound's end, ours */
    struct world_timer restart, orphan;
};

struct auth_seat;

struct auth_process {
    bool up;
    struct loop *loop;
    struct auth_seat *seats;
    struct channel *inbound[HOUSE_INBOUND];
    int fds[HOUSE_INBOUND][2]; /* inbound's end, ours */
    struct world_timer restart;
};

struct house {
    const struct config *cfg;
    char path[FOLDER_SIZE_MAX];
    unsigned generation; /* of the path: each power cut makes another */
    bool disk;
    uint64_t size_max;
    struct loop *loop; /* queued's */
    struct store *store;
    struct engine *engine;
    struct link_to links[LINK_COUNT];
    struct inbound_process inbound[HOUSE_INBOUND];
    struct outbound_process outbound[HOUSE_OUTBOUND];
    struct local_process local;
    struct lookup_process lookup;
    struct auth_process auth;
    struct world_timer turn, restart, cut;
    int64_t last_down_ms;
    size_t cut_at;
    uint64_t cut_seed;
    bool in_turn;
};
extern struct house house;

/* Cuts the power when the disk has come so far; true: it did. */
bool house_cut_look(void);
/* queued looks soon what there is to do. */
void house_turn_wanted(void);
/* A channel between queued and one of the others, when both are up; the other end's descriptor, or -1. */
int house_link_open(unsigned number, enum ipc_role role);
void house_inbound_start(struct inbound_process *p);
void house_inbound_link(struct inbound_process *p);
void house_outbound_start(struct outbound_process *p);
void house_outbound_link(struct outbound_process *p);
void house_local_start(struct local_process *p);
void house_local_link(struct local_process *p);
void house_lookup_start(struct lookup_process *p);
void house_lookup_link(struct lookup_process *p);
/* A channel between lookup and an inbound, when both are up. */
void house_lookup_meet(struct inbound_process *p);
/* The postmaster has nothing more to do. */
void house_hand_rest(void);
void house_auth_start(struct auth_process *p);
void house_auth_meet(struct inbound_process *p);

#endif
