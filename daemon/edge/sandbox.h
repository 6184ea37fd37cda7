/* sandbox: what a process may still ask of the kernel once it serves: seccomp and Landlock, by role.
 *
 * For: process.c, between a role's start-up and its readiness. Not for: users and groups (rights.h). docs/security.md has the table.
 * Seccomp lets through the calls that the role's work needs; any other fails with EPERM instead of killing: a library that tries
 * a short cut takes its long way, an attacker gets nothing. Landlock takes away all files but those named. The kernel keeps both
 * until the process ends. Threads that are started before are under seccomp, but not under Landlock: start them after.
 *   TRY(sandbox_enter(ROLE_INBOUND, cfg, &state));       state.landlock 0: this kernel has none
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

/* Roles that act as other users (local) have no sandbox. */
bool sandbox_has_role(enum ipc_role role);
/* For good. CODE_IO when the kernel refuses; then nothing may be served. */
RESULT
sandbox_enter(enum ipc_role role, const struct config *cfg, struct sandbox_state *state_out);

#endif
