/* ask: one request to the desk, its lines through a handler, one exit code. What the verbs of queuectl share.
 *
 * For: tools/queuectl_*.c. With --json lines that are no last line pass untouched to standard output.
 *   exit = tool_ask(t, query_request(&q, "list", 0), list_line, NULL, &end);   takes the request
 *   json_decref(end.object); */
#ifndef MANSIO_TOOLS_ASK_H
#define MANSIO_TOOLS_ASK_H

#include <jansson.h>

#include "tools/desk.h"
#include "tools/queuectl.h"

/* What is done with each line but the last; `index` counts them. */
typedef void line_handler(const struct tool *t, void *context, const json_t *line, uint64_t index);

/* end_out: the last line, to be released, or NULL. Says on stderr what went wrong. */
enum tool_exit tool_ask(
    const struct tool *t, json_t *request_take, line_handler *handler, void *context, json_t **end_out);
/* The same with --json put aside: for what a verb wants to know before it acts. */
enum tool_exit tool_ask_quietly(
    const struct tool *t, json_t *request_take, line_handler *handler, void *context, json_t **end_out);
int64_t tool_now(void);

#endif
