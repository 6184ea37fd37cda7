/* render: the lines of the control protocol for human eyes.
 *
 * For: queuectl and mailq. Not for: scripts (they take --json).
 * No octet that came from outside reaches a terminal raw: control characters, C1 and the marks that turn text around leave
 * as \x1b or \u{202e}.
 *   render_message(stdout, object, now_seconds); */
#ifndef MANSIO_TOOLS_RENDER_H
#define MANSIO_TOOLS_RENDER_H

#include <jansson.h>
#include <stdio.h>

#include "daemon/base/base.h"

/* UTF-8 as jansson gives it. */
void render_text(FILE *out, const char *text);
/* "2h05m", "3d", "12s"; a negative span counts as 0. */
void render_span(FILE *out, int64_t seconds);
/* "812", "12.3K", "4.0M". */
void render_size(FILE *out, int64_t octets);

/* One line of `list` as mailq prints it, and its heading. */
void render_mailq_heading(FILE *out);
void render_mailq(FILE *out, const json_t *message, int64_t now);
/* One line of `list` as queuectl prints it. */
void render_message(FILE *out, const json_t *message, int64_t now);
void render_show(FILE *out, const json_t *message, int64_t now);
/* The life of a message: one line an event. */
void render_trace(FILE *out, const json_t *message, int64_t now);
void render_date(FILE *out, int64_t seconds);
void render_stats(FILE *out, const json_t *stats);
void render_lane_heading(FILE *out);
void render_lane(FILE *out, const json_t *lane, int64_t now);

/* A member as text ("" when it is none) or number (0). */
const char *render_str(const json_t *object, const char *key);
int64_t render_num(const json_t *object, const char *key);

#endif
