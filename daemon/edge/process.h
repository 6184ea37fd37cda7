/* process: the child's side of the house: start-up as a checklist, then what the supervisor says, as calls.
 *
 * For: inbound_main, queued_main, outbound_main, local_main. Not for: the supervisor itself (daemon/supervisor).
 * Lifetime: one per process, made by mansiod.c before the role's main is called, freed after it.
 *
 * When a main is entered the process has its log, its configuration, its rights dropped, and a loop. It then makes what it
 * needs and calls process_serve, which runs the loop until the end:
 *   int queued_main(struct process *p)
 *   {
 *       struct queued q = {.process = p, .loop = process_loop(p), .cfg = process_config(p)};
 *       ...
 *       int status = process_serve(p, &handlers, &q);
 *       ...  free everything  ...
 *       return status;
 *   }
 * The supervisor's order for a new process: its listeners and first channels, then on_go. The process answers with
 * process_ready when it serves (inside on_go or later); the whole server counts as started when all have.
 * Channels and listeners may come at any time later too: a peer that died comes back as a new on_channel. */
#ifndef MANSIO_EDGE_PROCESS_H
#define MANSIO_EDGE_PROCESS_H

#include "daemon/config/config.h"
#include "daemon/edge/loop.h"
#include "daemon/ipc/words.h"

struct process;

/* Listen indexes beside those of cfg->listens. */
enum process_listener {
    LISTENER_METRICS =
        0xfffffffd, /* for queued: run_dir/metrics, a UNIX stream socket; address indexes above 0: by TCP, metrics_http */
    LISTENER_INJECT = 0xfffffffe,  /* run_dir/inject, a UNIX stream socket, for inbound */
    LISTENER_CONTROL = 0xffffffff, /* run_dir/control, a UNIX stream socket, for queued */
};

/* Any but on_go may be NULL. */
struct process_handlers {
    /* A channel to another process; the receiver owns fd (channel_new takes it). `peer_index` is a number that no other
     * living process of that role has: it names the peer in logs. A worker or inbound has one peer, queued, and gets a
     * new channel when queued was restarted. */
    void (*on_channel)(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd);
    /* A bound, listening, non-blocking socket that all processes of this role share; the receiver owns fd. Take few
     * connections per wake-up, so that the others get theirs. */
    void (*on_listener)(void *ctx, uint32_t listen_index, uint32_t address_index, int fd);
    /* Certificates and keys (edge/tls_store.h), for keys: before on_go, and again whenever they have changed. Logins
     * (config/login_file.h), for outbound: before on_go. The receiver owns fd. */
    void (*on_credentials)(void *ctx, int fd);
    /* A table of the configuration (supervisor/tables.h): before on_go; for queued again behind each on_config. The receiver owns fd
     * (tls_pack_take). */
    void (*on_table)(void *ctx, enum config_table table, int fd);
    /* A reload, for queued alone (the others are replaced): the new tree. The old one lives on until this returns. */
    void (*on_config)(void *ctx, const struct config *cfg);
    /* Everything that is known at the start has come. */
    void (*on_go)(void *ctx);
    /* Take nothing new, finish what is there, then process_exit(p, 0). Channels stay. After a reload
     * (!process_is_stopping) sessions may go on as long as they like; when the house stops they have 5 s, so what is
     * idle ends at once. A process that drains after a reload hears it again when the house stops. */
    void (*on_drain)(void *ctx);
    /* Time is up: the loop ends when this returns. */
    void (*on_stop)(void *ctx);
};

/* 0 for an orderly end. */
int process_serve(struct process *p, const struct process_handlers *handlers, void *ctx);
/* The first call also closes the sandbox (sandbox.h): what needs more rights is opened before, threads are started after. */
void process_ready(struct process *p);
/* Files besides those of the configuration that it will read: before process_ready, and good until then. */
void process_reads(struct process *p, const struct config_text_list *paths);
/* For local, which starts with root set aside: gives that away too, once who needs it has been made. */
RESULT process_rights_drop(struct process *p);
/* Cannot serve: the supervisor hears why (a start-up error if it comes before process_ready), and process_serve
 * returns 1 after this turn. May be called before process_serve as well: that then returns at once. */
void process_fail(struct process *p, const char *why);
/* process_serve returns `status` at the end of this turn. */
void process_exit(struct process *p, int status);

/* The channel to queued is gone. When queued died, the supervisor soon brings one to the next; when none comes within
 * PROCESS_ORPHAN_MS, queued lives and has dropped us (out of memory, or a frame it did not like): process_serve returns 1, and
 * who is started in our place gets channels again. */
enum { PROCESS_ORPHAN_MS = 30000 };
void process_orphaned(struct process *p);

/* Whether the drain is for the stop of the whole house and not for a reload. */
bool process_is_stopping(const struct process *p);

struct loop *process_loop(struct process *p);
/* Good until the process ends; for queued until its on_config returns. */
const struct config *process_config(const struct process *p);
enum ipc_role process_role(const struct process *p);
/* "inbound.1" */
const char *process_name(const struct process *p);

/* --- for mansiod.c --- */
enum { PROCESS_SUPERVISOR_FD = 3, PROCESS_LOCK_FD = 4 };

/* The checklist up to the role's main. Prints why and returns NULL when a step fails. */
struct process *process_new(enum ipc_role role);
void process_free(struct process **p);

#endif
