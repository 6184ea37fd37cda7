/* listeners: the bound sockets, held by the supervisor and shared by all inbound processes.
 *
 * For: supervisor.c. One socket an endpoint: whoever accepts first serves, and a connection that waits in the kernel's
 * queue outlives every process of ours but the supervisor. So neither a crash nor a reload resets it.
 *   TRY(listeners_open(cfg, NULL, &set, &error));
 *   TRY(listeners_open(new_cfg, &set, &new_set, &error));     takes over what both have; the old set keeps its copy
 *   listeners_close(&set); */
#ifndef MANSIO_SUPERVISOR_LISTENERS_H
#define MANSIO_SUPERVISOR_LISTENERS_H

#include "daemon/config/config.h"

enum { LISTENER_COUNT_MAX = 256 };

struct listener {
    struct config_endpoint endpoint; /* its text is not kept */
    uint32_t listen_index, address_index;
    int fd;
};

struct listeners {
    struct listener items[LISTENER_COUNT_MAX];
    size_t count;
};

/* Sockets that `before` or the service manager (LISTEN_FDS) already has are copied, the others bound. CODE_IO with
 * error_out filled ("address: why"). */
RESULT listeners_open(const struct config *cfg, const struct listeners *before, struct listeners *set_out,
    struct config_error *error_out);
void listeners_close(struct listeners *set);

/* A UNIX stream socket at path that every local uid may connect to. One that nobody listens on any more is replaced. */
RESULT listeners_local(const char *path, int *fd_out, struct config_error *error_out);

/* Notes the sockets that a service manager gave us and closes every other descriptor that we were started with. Called
 * once, before anything else is opened. */
void listeners_inherit(void);

#endif
