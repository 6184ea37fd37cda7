/* The verbs that change the queue: what is meant is counted first, a lot of it is asked about, and the change is told. */
#include <stdio.h>
#include <unistd.h>

#include "tools/ask.h"
#include "tools/query.h"
#include "tools/render.h"

enum { ASK_ABOVE = 100, SAMPLE_MAX = 10 };

struct words {
    const char *verb, *done;
    bool asks;   /* many at once are asked about */
    bool window; /* can be taken back for a while */
};

static const struct words words[] = {
    {"retry", "due now", false, false},
    {"hold", "held", true, false},
    {"release", "released", true, false},
    {"delete", "deleted", true, true},
    {"bounce", "bounced", true, true},
    {"reroute", "moved", true, false},
    {"undo", "taken back", false, false},
};

static const struct words *words_find(const char *verb)
{
    size_t i = 0;

    while (i + 1 < COUNT_OF(words) && strcmp(words[i].verb, verb) != 0)
        i++;
    return &words[i];
}

/* What the query means just now. */
static enum tool_exit measure(const struct tool *t, const struct query *q, int64_t *messages_out, int64_t *rcpts_out)
{
    struct query what = *q;
    enum tool_exit exit = TOOL_OK;
    json_t *end;

    *messages_out = *rcpts_out = 0;
    if (q->kind == QUERY_ALL)
        what.kind = QUERY_NOTHING;
    for (size_t from = 0; exit == TOOL_OK && query_more(&what, from); from += QUERY_IDS_MAX) {
        exit = tool_ask_quietly(t, query_request(&what, "count", from), NULL, NULL, &end);
        *messages_out += render_num(end, "count");
        *rcpts_out += render_num(end, "recipients");
        json_decref(end);
    }
    return exit;
}

static void sample_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)context;
    (void)index;
    render_message(stdout, line, tool_now());
}

static enum tool_exit dry_run(const struct tool *t, const struct words *w, const struct query *q)
{
    struct query what = *q;
    int64_t messages, recipients;
    enum tool_exit exit = measure(t, q, &messages, &recipients);
    json_t *end, *request;

    if (exit != TOOL_OK)
        return exit;
    if (t->json) {
        printf("{\"v\":1,\"verb\":\"%s\",\"dry_run\":true,\"messages\":%" PRId64 ",\"recipients\":%" PRId64 "}\n",
            w->verb, messages, recipients);
        return TOOL_OK;
    }
    printf("would %s: %" PRId64 " recipients of %" PRId64 " messages\n", w->verb, recipients, messages);
    if (q->kind == QUERY_ALL)
        what.kind = QUERY_NOTHING;
    request = query_request(&what, "list", 0);
    json_object_set_new(request, "limit", json_integer(SAMPLE_MAX));
    exit = tool_ask_quietly(t, request, sample_line, NULL, &end);
    json_decref(end);
    if (exit == TOOL_OK && messages > SAMPLE_MAX)
        printf("    … and %" PRId64 " more messages\n", messages - SAMPLE_MAX);
    return exit;
}

/* Many are asked about once; without a terminal they want --yes. */
static bool is_confirmed(const struct tool *t, const struct words *w, const struct query *q, enum tool_exit *exit_out)
{
    int64_t messages, recipients;
    char answer[8] = "";

    *exit_out = TOOL_OK;
    if (t->yes || !w->asks)
        return true;
    *exit_out = measure(t, q, &messages, &recipients);
    if (*exit_out != TOOL_OK)
        return false;
    if (q->kind != QUERY_ALL && recipients <= ASK_ABOVE)
        return true;
    *exit_out = TOOL_FAILED;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "%s: %s of %" PRId64 " recipients wants --yes when nobody can be asked\n", t->program, w->verb,
            recipients);
        return false;
    }
    fprintf(stderr, "%s %" PRId64 " recipients of %" PRId64 " messages? [y/N] ", w->verb, recipients, messages);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static void change_say(const struct tool *t, const struct words *w, const json_t *sum)
{
    int64_t messages = render_num(sum, "count"), recipients = render_num(sum, "recipients"),
            missing = render_num(sum, "missing");

    if (t->json) {
        printf("{\"v\":1,\"verb\":\"%s\",\"messages\":%" PRId64 ",\"recipients\":%" PRId64 ",\"missing\":%" PRId64
               "}\n",
            w->verb, messages, recipients, missing);
        return;
    }
    if (messages > 0)
        printf("%" PRId64 " message%s, ", messages, messages == 1 ? "" : "s");
    printf("%" PRId64 " recipient%s %s", recipients, recipients == 1 ? "" : "s", w->done);
    if (w->window && !t->at_once && recipients > 0)
        printf(" in an hour, until when queuectl undo takes it back");
    putchar('\n');
    if (missing > 0)
        fprintf(stderr, "%s: %" PRId64 " of these ids %s not in the queue; queuectl show ID tells what became of one\n",
            t->program, missing, missing == 1 ? "is" : "are");
}

static json_t *change_request(
    const struct tool *t, const struct words *w, const struct query *q, size_t from, const char *lane)
{
    json_t *request = query_request(q, w->verb, from);

    if (lane != NULL)
        json_object_set_new(request, "lane", json_string(lane));
    if (w->window && t->at_once)
        json_object_set_new(request, "window", json_integer(0));
    if (t->reason != NULL)
        json_object_set_new(request, "reason", json_string(t->reason));
    return request;
}

enum tool_exit tool_change(const struct tool *t, const char *verb, char *const *args, size_t count)
{
    static const char *const sums[] = {"count", "recipients", "missing"};
    const struct words *w = words_find(verb);
    const char *lane = t->lane;
    enum tool_exit exit = TOOL_OK;
    struct query q;
    json_t *sum, *end;

    if (strcmp(verb, "reroute") == 0 && count > 0)
        lane = args[--count];
    if (count == 0 && t->lane == NULL) {
        fprintf(stderr, "%s: %s wants a filter, message ids or the word all%s\n", t->program, verb,
            strcmp(verb, "retry") == 0     ? ", or --lane LANE"
            : strcmp(verb, "reroute") == 0 ? ", and then the lane"
                                           : "");
        return TOOL_USAGE;
    }
    if (!query_read(t, args, count, &q))
        return TOOL_USAGE;
    if (t->dry_run)
        return tool_finish(t, dry_run(t, w, &q));
    if (!is_confirmed(t, w, &q, &exit))
        return exit;
    sum = json_object();
    for (size_t from = 0; exit == TOOL_OK && query_more(&q, from); from += QUERY_IDS_MAX) {
        exit = tool_ask_quietly(t, change_request(t, w, &q, from, lane), NULL, NULL, &end);
        for (size_t i = 0; i < COUNT_OF(sums); i++)
            json_object_set_new(sum, sums[i], json_integer(render_num(sum, sums[i]) + render_num(end, sums[i])));
        json_decref(end);
    }
    if (exit == TOOL_OK) {
        change_say(t, w, sum);
        if (render_num(sum, "missing") > 0)
            exit = TOOL_FAILED;
    }
    json_decref(sum);
    return tool_finish(t, exit);
}
