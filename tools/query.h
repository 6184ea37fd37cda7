/* query: which mail a command line means: ids, a filter, all, or nothing said.
 *
 * For: queuectl's verbs. Not for: running it; that is the daemon's (daemon/queued/control.h).
 *   struct query q;
 *   if (!query_read(t, args, count, &q)) return TOOL_USAGE;        it has said what is wrong, and where
 *   for (size_t from = 0; query_more(&q, from); from += QUERY_IDS_MAX) ask(query_request(&q, "hold", from));
 * Lifetime: borrows the arguments. */
#ifndef MANSIO_TOOLS_QUERY_H
#define MANSIO_TOOLS_QUERY_H

#include <jansson.h>

#include "daemon/queued/control.h"
#include "tools/queuectl.h"

enum { QUERY_IDS_MAX = CONTROL_IDS_MAX };

struct query {
    enum { QUERY_NOTHING, QUERY_ALL, QUERY_IDS, QUERY_FILTER } kind;
    char *const *ids;
    size_t id_count;
    char filter[FILTER_SIZE_MAX + 1];
};

bool query_read(const struct tool *t, char *const *args, size_t count, struct query *q_out);
/* Ids go in several requests; anything else in one. */
bool query_more(const struct query *q, size_t from);
/* {"v":1,"verb":…,…}: to be released. */
json_t *query_request(const struct query *q, const char *verb, size_t from);

/* Appends to `ids` those of all messages that are meant, as strings. */
enum tool_exit tool_ids(const struct tool *t, const struct query *q, json_t *ids);

/* Says a filter's error: the words, the text, and a mark below the place. */
void query_error_say(const struct tool *t, struct bytes text, const struct filter_error *error);

#endif
