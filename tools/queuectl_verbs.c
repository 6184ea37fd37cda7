/* Each verb: one request, its lines printed as they come, one exit code. With --json the lines pass untouched; the last
 * line of the protocol is not printed, so that an empty queue prints nothing. */
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools/desk.h"
#include "tools/queuectl.h"
#include "tools/render.h"

enum { REQUEST_SIZE_MAX = CONTROL_REQUEST_SIZE_MAX };

/* What is done with each line but the last. */
typedef void line_handler(const struct tool *t, const json_t *line, int64_t now, uint64_t index);

static int64_t now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

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

static enum tool_exit exit_of(const char *code)
{
    return strcmp(code, "usage") == 0       ? TOOL_USAGE
           : strcmp(code, "denied") == 0    ? TOOL_NO_RIGHT
           : strcmp(code, "read-only") == 0 ? TOOL_UNAVAILABLE
                                            : TOOL_FAILED;
}

static enum tool_exit desk_start(const struct tool *t, struct desk *desk)
{
    struct result r = desk_open(t->cfg, desk);

    if (is_ok(r))
        return TOOL_OK;
    fprintf(stderr, "%s: %s\n", t->program, desk->why[0] != 0 ? desk->why : r.why);
    if (r.sys == ENOENT)
        fprintf(stderr, "%s: no daemon answers and there is no queue yet; start one with: mansiod -c %s\n", t->program,
            t->config_path);
    desk_close(desk);
    return r.sys == EACCES || r.sys == EPERM ? TOOL_NO_RIGHT : TOOL_UNAVAILABLE;
}

/* Prints the answer's lines through `handler`, or as they are; `end_out` is the last line, to be released. */
static enum tool_exit answer_print(
    const struct tool *t, struct desk *desk, line_handler *handler, uint64_t *count_out, json_t **end_out)
{
    int64_t now = now_seconds();
    struct bytes line;

    *end_out = NULL;
    for (*count_out = 0;; (*count_out)++) {
        struct result r = desk_line(desk, &line);
        json_t *object;

        if (!is_ok(r)) {
            fprintf(stderr, "%s: %s\n", t->program, r.why);
            return TOOL_FAILED;
        }
        if (!desk_line_is_last(line) && t->json) {
            fwrite(line.data, 1, line.size, stdout);
            fputc('\n', stdout);
            continue;
        }
        object = json_loadb((const char *)line.data, line.size, 0, NULL);
        if (desk_line_is_last(line)) {
            const char *error = json_string_value(json_object_get(object, "error"));

            *end_out = object;
            if (error == NULL)
                return TOOL_OK;
            fflush(stdout);
            fprintf(stderr, "%s: ", t->program);
            render_text(stderr, error);
            fputc('\n', stderr);
            return exit_of(render_str(object, "code"));
        }
        if (object != NULL)
            handler(t, object, now, *count_out);
        json_decref(object);
    }
}

/* One request whose lines go through `handler`. */
static enum tool_exit ask_and_print(
    const struct tool *t, struct bytes request, line_handler *handler, uint64_t *count_out, json_t **end_out)
{
    struct desk desk;
    enum tool_exit exit = desk_start(t, &desk);
    struct result r;

    *count_out = 0;
    *end_out = NULL;
    if (exit != TOOL_OK)
        return exit;
    r = desk_ask(&desk, request);
    if (is_ok(r)) {
        exit = answer_print(t, &desk, handler, count_out, end_out);
    } else {
        fprintf(stderr, "%s: %s\n", t->program, r.why);
        exit = TOOL_UNAVAILABLE;
    }
    desk_close(&desk);
    return exit;
}

static void list_line(const struct tool *t, const json_t *line, int64_t now, uint64_t index)
{
    if (!t->traditional) {
        render_message(stdout, line, now);
        return;
    }
    if (index == 0)
        render_mailq_heading(stdout);
    render_mailq(stdout, line, now);
}

enum tool_exit tool_list(const struct tool *t)
{
    uint64_t count;
    json_t *end;
    enum tool_exit exit = ask_and_print(t, BYTES("{\"v\":1,\"verb\":\"list\"}"), list_line, &count, &end);

    if (exit == TOOL_OK && !t->json) {
        if (count == 0)
            printf("Mail queue is empty\n");
        else if (t->traditional)
            printf("-- %" PRId64 " Kbytes in %" PRIu64 " Requests.\n", (render_num(end, "size") + 1023) / 1024, count);
    }
    json_decref(end);
    return tool_finish(t, exit);
}

static void show_line(const struct tool *t, const json_t *line, int64_t now, uint64_t index)
{
    (void)t;
    (void)index;
    render_show(stdout, line, now);
}

enum tool_exit tool_show(const struct tool *t, char *const *ids, size_t count)
{
    enum tool_exit worst = TOOL_OK;

    for (size_t i = 0; i < count; i++) {
        json_t *request = json_pack("{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", "show", "id", ids[i]);
        char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
        uint64_t lines;
        json_t *end = NULL;
        enum tool_exit exit = TOOL_USAGE;

        json_decref(request);
        if (text == NULL)
            fprintf(stderr, "%s: that is no message id\n", t->program);
        else
            exit = ask_and_print(t, bytes_of(text), show_line, &lines, &end);
        if (i + 1 < count && !t->json)
            putchar('\n');
        if (exit != TOOL_OK)
            worst = exit;
        json_decref(end);
        free(text);
    }
    return tool_finish(t, worst);
}

static void stats_line(const struct tool *t, const json_t *line, int64_t now, uint64_t index)
{
    (void)t;
    (void)now;
    (void)index;
    render_stats(stdout, line);
}

enum tool_exit tool_stats(const struct tool *t)
{
    uint64_t count;
    json_t *end;
    enum tool_exit exit = ask_and_print(t, BYTES("{\"v\":1,\"verb\":\"stats\"}"), stats_line, &count, &end);

    json_decref(end);
    return tool_finish(t, exit);
}

static void lane_line(const struct tool *t, const json_t *line, int64_t now, uint64_t index)
{
    (void)t;
    if (index == 0)
        render_lane_heading(stdout);
    render_lane(stdout, line, now);
}

enum tool_exit tool_lanes(const struct tool *t)
{
    uint64_t count;
    json_t *end;
    enum tool_exit exit = ask_and_print(t, BYTES("{\"v\":1,\"verb\":\"lanes\"}"), lane_line, &count, &end);

    if (exit == TOOL_OK && count == 0 && !t->json)
        printf("No lane has work\n");
    json_decref(end);
    return tool_finish(t, exit);
}

/* --- changing verbs --- */

/* "all" is asked about once; without a terminal it wants --yes. */
static bool is_confirmed(const struct tool *t, const char *verb)
{
    char answer[8] = "";

    if (t->yes || strcmp(verb, "retry") == 0)
        return true;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "%s: %s all wants --yes when nobody can be asked\n", t->program, verb);
        return false;
    }
    fprintf(stderr, "%s every message in the queue? [y/N] ", verb);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static void change_say(const struct tool *t, const char *verb, const json_t *end)
{
    int64_t messages = render_num(end, "count"), recipients = render_num(end, "recipients"),
            missing = render_num(end, "missing");
    const char *done = strcmp(verb, "retry") == 0    ? "due now"
                       : strcmp(verb, "delete") == 0 ? "deleted"
                       : strcmp(verb, "hold") == 0   ? "held"
                                                     : "released";

    if (t->json) {
        printf("{\"v\":1,\"verb\":\"%s\",\"messages\":%" PRId64 ",\"recipients\":%" PRId64 ",\"missing\":%" PRId64
               "}\n",
            verb, messages, recipients, missing);
        return;
    }
    if (messages > 0)
        printf("%" PRId64 " message%s, ", messages, messages == 1 ? "" : "s");
    printf("%" PRId64 " recipient%s %s\n", recipients, recipients == 1 ? "" : "s", done);
    if (missing > 0)
        fprintf(stderr, "%s: %" PRId64 " of these ids %s not in the queue; queuectl show ID tells what became of one\n",
            t->program, missing, missing == 1 ? "is" : "are");
}

static json_t *change_request(const struct tool *t, const char *verb, bool all, char *const *ids, size_t count)
{
    json_t *request = json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", verb), *list;

    if (all) {
        json_object_set_new(request, "all", json_true());
    } else if (t->lane != NULL) {
        json_object_set_new(request, "lane", json_string(t->lane));
    } else {
        list = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(list, json_string(ids[i]));
        json_object_set_new(request, "ids", list);
    }
    return request;
}

/* One request of at most CONTROL_IDS_MAX ids; adds to the sums in `total`. */
static enum tool_exit change_ask(
    const struct tool *t, const char *verb, bool all, char *const *ids, size_t count, json_t *total)
{
    static const char *const sums[] = {"count", "recipients", "missing"};
    json_t *request = change_request(t, verb, all, ids, count), *end = NULL;
    char *text = json_dumps(request, JSON_COMPACT);
    enum tool_exit exit = TOOL_FAILED;
    uint64_t lines;

    json_decref(request);
    if (text != NULL)
        exit = ask_and_print(t, bytes_of(text), show_line, &lines, &end);
    for (size_t i = 0; i < COUNT_OF(sums); i++)
        json_object_set_new(total, sums[i], json_integer(render_num(total, sums[i]) + render_num(end, sums[i])));
    json_decref(end);
    free(text);
    return exit;
}

enum tool_exit tool_change(const struct tool *t, const char *verb, char *const *ids, size_t count)
{
    bool all = count == 1 && strcmp(ids[0], "all") == 0;
    enum tool_exit exit = TOOL_OK;
    json_t *total;

    if (count == 0 && t->lane == NULL) {
        fprintf(stderr, "%s: %s wants message ids%s or the word all\n", t->program, verb,
            strcmp(verb, "retry") == 0 ? ", --lane LANE" : "");
        return TOOL_USAGE;
    }
    if (all && !is_confirmed(t, verb))
        return TOOL_FAILED;
    total = json_object();
    for (size_t i = 0; exit == TOOL_OK && (i < count || (i == 0 && t->lane != NULL)); i += CONTROL_IDS_MAX) {
        size_t left = count - i;

        exit = change_ask(t, verb, all, ids + i, left < CONTROL_IDS_MAX ? left : CONTROL_IDS_MAX, total);
    }
    if (exit == TOOL_UNAVAILABLE)
        fprintf(stderr, "%s: start the daemon with: mansiod -c %s\n", t->program, t->config_path);
    if (exit == TOOL_OK) {
        change_say(t, verb, total);
        if (render_num(total, "missing") > 0)
            exit = TOOL_FAILED;
    }
    json_decref(total);
    return tool_finish(t, exit);
}
