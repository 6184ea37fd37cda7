/* control_parts: what the files of control share among themselves; nobody else includes it.
 *
 * A step writes one piece of the answer, whole or not at all (`out` as before, state as before). */
#ifndef MANSIO_QUEUED_CONTROL_PARTS_H
#define MANSIO_QUEUED_CONTROL_PARTS_H

#include "daemon/base/json_put.h"
#include "daemon/queued/control.h"

enum step {
    STEP_MORE, /* there is another piece */
    STEP_FULL, /* no room left for it now */
    STEP_DONE, /* the verb's lines are all written */
};

/* Makes the answer an error. Both are literals. */
void control_refuse(struct control *c, const char *code, const char *error);
/* Reads one request line into c->verb and what goes with it, or refuses. (control_request.c) */
void control_request(struct control *c, struct bytes line);

/* --- the walk (control_find.c) --- */
enum find {
    FIND_ONE,   /* a recipient that matches */
    FIND_OTHER, /* something was passed over */
    FIND_END,
};

struct found {
    struct message_id id;
    struct recipient rcpt;
    bool has_head;
    struct envelope_head head;
};

/* All inside a read transaction; control_find_turn first in each. */
void control_find_begin(struct control *c);
void control_find_turn(struct control *c);
enum find control_find(struct control *c, struct walltime now, struct found *found_out);
enum step control_count_step(struct control *c, struct walltime now);
/* Opens its own transactions. */
enum step control_change_step(struct control *c, struct walltime now);
/* due, active, deferred, held or leaving; next_out counts the lane's back-off in. */
const char *control_state(const struct control *c, struct message_id id, const struct recipient *rcpt,
    struct walltime now, struct walltime *next_out);

/* One message's head or one recipient of it. (control_list.c) */
enum step control_list_step(struct control *c, struct walltime now, struct buf *out);
enum step control_show_step(struct control *c, struct walltime now, struct buf *out);
/* Whether this peer may see the message. */
bool control_may_see(const struct control *c, const struct envelope_head *head);
/* (control_lanes.c) */
enum step control_stats_step(struct control *c, struct buf *out);
enum step control_lanes_step(struct control *c, struct walltime now, struct buf *out);
enum step control_metrics_step(struct control *c, struct walltime now, struct buf *out);
enum step control_lane_order_step(struct control *c, struct walltime now);
/* (control_bans.c) */
enum step control_bans_step(struct control *c, struct walltime now, struct buf *out);
enum step control_ban_step(struct control *c, struct walltime now);
/* Ids of messages, queued and finished, that the text names. (control_trace.c) */
enum step control_trace_step(struct control *c, struct walltime now, struct buf *out);
/* (control_content.c) */
enum step control_content_step(struct control *c, struct buf *out);
/* Epoch seconds. */
int64_t control_seconds(struct walltime t);

#endif
