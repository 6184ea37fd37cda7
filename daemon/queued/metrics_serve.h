/* metrics_serve: the metrics socket on queued's loop: HTTP enough for a scraper, one answer a connection.
 *
 * For: queued.c. Not for: the text (metrics.h). Root, the daemon's own user and the group mansio also see the next hops.
 *   serve = metrics_serve_new(loop, fd, engine);     takes fd, a listening UNIX socket
 *   metrics_serve_http(serve, fd);                   takes fd, a listening TCP socket (metrics_http): its clients see everything
 *   metrics_serve_free(&serve);
 * Lifetime: engine and loop outlive it. Threads: none. */
#ifndef MANSIO_QUEUED_METRICS_SERVE_H
#define MANSIO_QUEUED_METRICS_SERVE_H

#include "daemon/edge/loop.h"
#include "daemon/queued/engine.h"

struct metrics_serve;

enum { METRICS_CLIENTS_MAX = 16, METRICS_IDLE_MS = 10000, METRICS_HTTP_MAX = CONFIG_METRICS_MAX };

/* NULL (and fd closed) when there is no room for it. */
struct metrics_serve *metrics_serve_new(struct loop *loop, int fd, struct engine *engine);
void metrics_serve_http(struct metrics_serve *serve, int fd);
/* No more connections by TCP, until they are given anew; those that are there go on. */
void metrics_serve_http_end(struct metrics_serve *serve);
/* NULL is fine. */
void metrics_serve_free(struct metrics_serve **serve);
/* The text as it stands now. */
RESULT metrics_of_engine(struct engine *engine, struct walltime now, bool with_lanes, struct buf *out);

#endif
