/* The verbs that only look. With --json the lines pass untouched; the last line of the protocol is not printed, so that an
 * empty queue prints nothing. */
#include <stdio.h>

#include "tools/ask.h"
#include "tools/listing.h"
#include "tools/query.h"
#include "tools/render.h"

enum tool_exit tool_configure(struct tool *t, const char *option, struct config **cfg_out)
{
    struct config_error error;

    t->config_path = config_path_choose(option);
    if (!is_ok(config_read_file(t->config_path, cfg_out, &error))) {
        fprintf(stderr, "%s: %s\n", t->program, error.text);
        return TOOL_CONFIG;
    }
    t->cfg = *cfg_out;
    return TOOL_OK;
}

enum tool_exit tool_finish(const struct tool *t, enum tool_exit exit)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fprintf(stderr, "%s: cannot write: %s\n", t->program, strerror(errno));
        return TOOL_FAILED;
    }
    return exit;
}

static void list_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)context;
    if (!t->traditional) {
        render_message(stdout, line, tool_now());
        return;
    }
    if (index == 0)
        render_mailq_heading(stdout);
    render_mailq(stdout, line, tool_now());
}

enum tool_exit tool_list(const struct tool *t, char *const *args, size_t arg_count)
{
    int64_t count = 0, size = 0;
    enum tool_exit exit = TOOL_OK;
    struct tool plain = *t;
    struct query q;
    json_t *end;

    plain.plain_line = t->traditional ? listing_line : NULL;
    if (!query_read(t, args, arg_count, &q))
        return TOOL_USAGE;
    for (size_t from = 0; exit == TOOL_OK && query_more(&q, from); from += QUERY_IDS_MAX) {
        exit = tool_ask(&plain, query_request(&q, "list", from), list_line, NULL, &end);
        count += render_num(end, "count");
        size += render_num(end, "size");
        json_decref(end);
    }
    if (exit == TOOL_OK && !t->json) {
        if (count == 0)
            puts(q.kind == QUERY_NOTHING ? "Mail queue is empty" : "Nothing in the queue is like that");
        else if (t->traditional)
            printf("-- %" PRId64 " Kbytes in %" PRId64 " Requests.\n", (size + 1023) / 1024, count);
    }
    return tool_finish(t, exit);
}

enum tool_exit tool_count(const struct tool *t, char *const *args, size_t arg_count)
{
    int64_t count = 0, recipients = 0;
    enum tool_exit exit = TOOL_OK;
    struct query q;
    json_t *end;

    if (!query_read(t, args, arg_count, &q))
        return TOOL_USAGE;
    for (size_t from = 0; exit == TOOL_OK && query_more(&q, from); from += QUERY_IDS_MAX) {
        exit = tool_ask(t, query_request(&q, "count", from), NULL, NULL, &end);
        count += render_num(end, "count");
        recipients += render_num(end, "recipients");
        json_decref(end);
    }
    if (exit == TOOL_OK)
        printf(t->json ? "{\"v\":1,\"messages\":%" PRId64 ",\"recipients\":%" PRId64 "}\n"
                       : "%" PRId64 " messages, %" PRId64 " recipients\n",
            count, recipients);
    return tool_finish(t, exit);
}

static void show_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)context;
    (void)index;
    render_show(stdout, line, tool_now());
}

static void id_keep(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)index;
    json_array_append(context, json_object_get(line, "id"));
}

/* The ids of all that matches: shown one by one then, since each may go meanwhile. */
enum tool_exit tool_ids(const struct tool *t, const struct query *q, json_t *ids)
{
    json_t *end;
    enum tool_exit exit;

    if (q->kind == QUERY_IDS) {
        for (size_t i = 0; i < q->id_count; i++)
            json_array_append_new(ids, json_string(q->ids[i]));
        return TOOL_OK;
    }
    exit = tool_ask_quietly(t, query_request(q, "list", 0), id_keep, ids, &end);
    json_decref(end);
    return exit;
}

enum tool_exit tool_show(const struct tool *t, char *const *args, size_t arg_count)
{
    enum tool_exit worst;
    json_t *ids, *end;
    struct query q;

    if (!query_read(t, args, arg_count, &q))
        return TOOL_USAGE;
    ids = json_array();
    worst = tool_ids(t, &q, ids);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_t *request =
            json_pack("{s:i,s:s,s:O}", "v", CONTROL_VERSION, "verb", "show", "id", json_array_get(ids, i));
        enum tool_exit exit = tool_ask(t, request, show_line, NULL, &end);

        if (i + 1 < json_array_size(ids) && !t->json)
            putchar('\n');
        if (exit != TOOL_OK)
            worst = exit;
        json_decref(end);
    }
    if (json_array_size(ids) == 0 && worst == TOOL_OK && !t->json)
        puts("Nothing in the queue is like that");
    json_decref(ids);
    return tool_finish(t, worst);
}

static void stats_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)context;
    (void)index;
    render_stats(stdout, line);
}

enum tool_exit tool_stats(const struct tool *t)
{
    struct query q = {.kind = QUERY_NOTHING};
    json_t *end;
    enum tool_exit exit = tool_ask(t, query_request(&q, "stats", 0), stats_line, NULL, &end);

    json_decref(end);
    return tool_finish(t, exit);
}
