/* sandbox: what a process may still ask of the kernel once it serves: seccomp and Landlock, by role.
 *
 * For: process.c, between a role's start-up and its readiness; local/nursery.c. Not for: users and groups (rights.h). docs/security.md has the table.
 * Seccomp lets through the calls that the role's work needs; any other fails with EPERM instead of killing: a library that tries
 * a short cut takes its long way, an attacker gets nothing. Landlock takes away all files but those named. The kernel keeps both
 * until the process ends. Threads that are started before are under seccomp, but not under Landlock: start them after.
 *   TRY(sandbox_enter(ROLE_INBOUND, cfg, NULL, &state));       state.landlock 0: this kernel has none
 * Builds with sanitizers do not enter by themselves (SANDBOX_BUILD): the leak checker traces its own process. */
#ifndef MANSIO_SANDBOX_H
#define MANSIO_SANDBOX_H

#include "daemon/config/config.h"
#include "daemon/ipc/words.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_BUILD false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_BUILD false
#else
#define SANDBOX_BUILD true
#endif
#else
#define SANDBOX_BUILD true
#endif

struct sandbox_state {
    int landlock; /* version of the kernel's interface; 0: none */
};

/* All but the supervisor, and pam, whose modules do what they like. */
bool sandbox_has_role(enum ipc_role role);
/* For good. `more`: files that the role will read besides those that the configuration names; NULL: none. CODE_IO when the kernel
 * refuses; then nothing may be served. */
RESULT
sandbox_enter(
    enum ipc_role role, const struct config *cfg, const struct config_text_list *more, struct sandbox_state *state_out);

/* A process of local that acts as a mailbox owner (local/nursery.h), once it has become him. */
struct sandbox_hand {
    const char *home; /* empty: none */
    bool commands;    /* it runs the commands of aliases and .forward files, and appends to files that they name */
    bool is_server;   /* it has the user of the server's own processes */
};
RESULT
sandbox_enter_hand(const struct sandbox_hand *hand, const struct config *cfg);

#endif
