/* wards: whom the server keeps an eye on: address blocks that are shut out, logins that strangers guess at, and logins that sent more than they may.
 *
 * For: the engine and the control socket. Not for: counting failed logins (auth/guard.h) or refusing at the door
 * (inbound/bans.h). Kept over restarts as memos of the store (store.h): a ban made by hand before the call returns, the others
 * within SAVE_MS. Every inbound process is told of each change, and of all when it comes.
 * A login over its quota is taken for stolen: until it is cleared what it sends is held, what it has in the queue is held a
 * portion a turn, and the postmaster gets one message a day.
 * Bounds: WARDS_BAN_MAX bans (the one that ends first goes), WARDS_LOGIN_MAX logins (the one that is fullest again goes, a
 * held one never). Lifetime: the engine's. */
#ifndef MANSIO_QUEUED_WARDS_H
#define MANSIO_QUEUED_WARDS_H

#include "daemon/ipc/codec.h"

struct engine;
struct engine_peer;
struct wards;

enum { WARDS_BAN_MAX = 4096, WARDS_LOGIN_MAX = 4096, WARD_TEXT_SIZE_MAX = 64 };

/* One line of a listing; the text is good until the next change. */
struct ward_view {
    struct bytes who;
    bool login;   /* a login; else a block */
    bool held;    /* its mail is held; else it is banned */
    bool by_hand; /* of a ban */
    struct walltime until;
    uint32_t count;
};

struct wards *wards_new(void);
void wards_free(struct wards **wards);
/* Reads what was kept. */
RESULT wards_start(struct engine *e, struct walltime now);
/* In force now. */
void wards_count(struct engine *e, struct walltime now, uint64_t *bans_out, uint64_t *held_out);
void wards_peer_added(struct engine *e, struct engine_peer *peer);
RESULT wards_receive(struct engine *e, const struct msg_ban_report *report, struct walltime now);
/* A message of a login with so many recipients; true when it is to be held. */
bool wards_login_is_held(struct engine *e, struct bytes login, uint32_t recipients, struct walltime now);
/* Saves, alerts and holds backlogs, a portion; outside any transaction. */
void wards_turn(struct engine *e, struct walltime now);
struct walltime wards_deadline(const struct engine *e);

/* --- the postmaster's hand --- */
/* An address or its block, for a time; 0: until it is cleared. CODE_SYNTAX when it is no address. */
RESULT engine_ban(struct engine *e, struct bytes who, int64_t for_ms, struct walltime now);
/* A block, a banned or a held login; *count_out is 0 when there is none. */
RESULT engine_unban(struct engine *e, struct bytes who, struct walltime now, uint32_t *count_out);
/* *cursor starts at 0; false at the end. */
bool engine_ban_next(struct engine *e, size_t *cursor, struct walltime now, struct ward_view *view_out);

#endif
