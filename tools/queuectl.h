/* queuectl: the postmaster's command; its verbs, one function each, and what they share.
 *
 * For: tools/queuectl.c, tools/queuectl_*.c and tools/mailq.c. Not for: daemons. */
#ifndef MANSIO_TOOLS_QUEUECTL_H
#define MANSIO_TOOLS_QUEUECTL_H

#include "daemon/config/config.h"

/* What the programs end with; sysexits.h where it has a word for it. */
enum tool_exit {
    TOOL_OK = 0,
    TOOL_FAILED = 1,       /* no such message, refused, or fsck found something */
    TOOL_USAGE = 64,       /* EX_USAGE */
    TOOL_UNAVAILABLE = 69, /* EX_UNAVAILABLE: the daemon is down and the verb needs it, or the queue cannot be opened */
    TOOL_NO_RIGHT = 77,    /* EX_NOPERM */
    TOOL_CONFIG = 78,      /* EX_CONFIG */
};

struct tool {
    const char *program; /* for error messages */
    const char *config_path;
    const struct config *cfg;
    bool json;
    bool yes;     /* do not ask */
    bool dry_run; /* say what would be done */
    bool repair;  /* of fsck */
    bool at_once; /* --now: no time to take it back */
    const char *reason;
    bool traditional; /* mailq's form of list */
    /* Prints a line of an answer without a tree being made of it; false: it goes to its handler. NULL: none does. */
    bool (*plain_line)(const struct tool *t, struct bytes line, uint64_t index);
    const char *lane;
    char *const *to, *const *cc; /* of resend */
    size_t to_count, cc_count;
};

/* The arguments of these are a query (tools/query.h). */
enum tool_exit tool_list(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_count(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_show(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_stats(const struct tool *t);
/* nothing, a glob, or suspend|resume LANE, limit LANE concurrency=N. */
enum tool_exit tool_lanes(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_ban(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_pause(const struct tool *t, bool pause, const char *what);
enum tool_exit tool_metrics(const struct tool *t);
/* An address, and perhaps from=SENDER. */
enum tool_exit tool_route(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_explain(const struct tool *t, char *const *args, size_t count);
/* Ids, Message-IDs and addresses. */
enum tool_exit tool_trace(const struct tool *t, char *const *args, size_t count);
enum tool_exit tool_change(const struct tool *t, const char *verb, char *const *args, size_t count);
/* One queued message to --to and --cc as well, and to nobody else again. */
enum tool_exit tool_resend(const struct tool *t, const char *id);
enum tool_exit tool_fsck(const struct tool *t);
enum tool_exit tool_backup(const struct tool *t, const char *folder);
enum tool_exit tool_restore(const struct tool *t, const char *folder);
enum tool_exit tool_compact(const struct tool *t);
enum tool_exit tool_reload(const struct tool *t);
enum tool_exit tool_stop(const struct tool *t);
enum tool_exit tool_drain(const struct tool *t);
enum tool_exit tool_doctor(const struct tool *t);
enum tool_exit tool_top(const struct tool *t);
enum tool_exit tool_watch(const struct tool *t);
/* "add NAME", "passwd NAME", "delete NAME", "list": the users file of `auth`. */
enum tool_exit tool_user(const struct tool *t, char *const *args, size_t count);

/* Reads the configuration named by -c/-C, MANSIO_CONFIG or the default; says why not on stderr. */
enum tool_exit tool_configure(struct tool *t, const char *option, struct config **cfg_out);
/* Flushes standard output: a full disk or a closed pipe must not end in exit 0. */
enum tool_exit tool_finish(const struct tool *t, enum tool_exit exit);

#endif
