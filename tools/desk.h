/* desk: where queuectl and mailq get their answers: the running daemon, or the queue itself while it is down.
 *
 * For: command-line tools. Not for: daemons (it blocks). One request at a time; the lines are those of
 * daemon/queued/control.h, the last of them included.
 *   TRY(desk_open(cfg, &desk));
 *   TRY(desk_ask(&desk, BYTES("{\"v\":1,\"verb\":\"list\"}")));
 *   while (is_ok(desk_line(&desk, &line))) ...          CODE_GONE behind the last line
 *   desk_close(&desk);
 * Lifetime: a line is good until the next call. Threads: none. */
#ifndef MANSIO_TOOLS_DESK_H
#define MANSIO_TOOLS_DESK_H

#include "daemon/config/config.h"
#include "daemon/queued/control.h"

struct desk {
    int fd;              /* of the control socket; -1: offline */
    struct store *store; /* offline */
    struct control control;
    uint8_t *room; /* grows with the longest line */
    size_t size, size_max, line_end, scanned;
    bool ended; /* the last line was handed out */
    char why[256];
};

/* Connects to the daemon, or opens the queue for reading when none answers. `why` in `desk` says more after a failure. */
RESULT desk_open(const struct config *cfg, struct desk *desk);
void desk_close(struct desk *desk);
bool desk_is_online(const struct desk *desk);
RESULT desk_ask(struct desk *desk, struct bytes request);
/* The next line without its LF. CODE_GONE: there was the last one already. CODE_IO: the daemon hung up in between. */
RESULT desk_line(struct desk *desk, struct bytes *line_out);
/* Whether this line ends the answer: {"end":… or {"error":… */
bool desk_line_is_last(struct bytes line);

/* The queue for reading beside whatever else has it open. Root takes the owner's rights first, so that nothing it touches
 * becomes root's. */
RESULT desk_store_open(const struct config *cfg, struct store **store_out, char *why, size_t why_size);
/* The same for writing: CODE_REFUSED while the daemon runs. */
RESULT desk_store_open_alone(const struct config *cfg, struct store **store_out, char *why, size_t why_size);

#endif
