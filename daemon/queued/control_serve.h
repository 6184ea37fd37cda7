/* control_serve: the control socket on queued's loop: one struct control per connection.
 *
 * For: queued.c. Not for: the conversation (control.h).
 * A piece of an answer is made once a turn (LOOP_WORK), and only while the client takes what it was sent: a slow or stopped
 * client costs one bounded buffer, never a read transaction or a turn of others.
 *   serve = control_serve_new(loop, fd, engine, cfg);          takes fd, a listening UNIX socket
 *   control_serve_on_change(serve, work_wanted, queued);       after a command that changed the queue
 *   control_serve_free(&serve);
 * Lifetime: engine and loop outlive it. Threads: none. */
#ifndef MANSIO_QUEUED_CONTROL_SERVE_H
#define MANSIO_QUEUED_CONTROL_SERVE_H

#include "daemon/config/config.h"
#include "daemon/edge/loop.h"
#include "daemon/queued/engine.h"

struct control_serve;

enum {
    CONTROL_CLIENTS_MAX = 64,
    CONTROL_IDLE_MS = 300000, /* without a request, or without taking its answer */
};

/* NULL (and fd closed) when there is no room for it. */
struct control_serve *control_serve_new(struct loop *loop, int fd, struct engine *engine, const struct config *cfg);
/* NULL is fine. */
void control_serve_configure(struct control_serve *serve, const struct config *cfg);
/* `changed` runs after each command that changed rows, and sees to it that the engine gets its turn; without it the engine
 * is given one at once. */
void control_serve_on_change(struct control_serve *serve, void (*changed)(void *ctx), void *ctx);
/* Ends all conversations. NULL is fine. */
void control_serve_free(struct control_serve **serve);

#endif
