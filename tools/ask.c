#include <stdio.h>
#include <time.h>

#include "tools/ask.h"
#include "tools/render.h"

int64_t tool_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
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

static enum tool_exit end_say(const struct tool *t, const json_t *end)
{
    const char *error = json_string_value(json_object_get(end, "error"));
    enum tool_exit exit;

    if (error == NULL)
        return TOOL_OK;
    exit = exit_of(render_str(end, "code"));
    fflush(stdout);
    fprintf(stderr, "%s: ", t->program);
    render_text(stderr, error);
    fputc('\n', stderr);
    if (exit == TOOL_UNAVAILABLE)
        fprintf(stderr, "%s: start the daemon with: mansiod -c %s\n", t->program, t->config_path);
    return exit;
}

static enum tool_exit answer_take(
    const struct tool *t, struct desk *desk, bool raw, line_handler *handler, void *context, json_t **end_out)
{
    struct bytes line;

    for (uint64_t index = 0;; index++) {
        struct result r = desk_line(desk, &line);
        json_t *object;

        if (!is_ok(r)) {
            fprintf(stderr, "%s: %s\n", t->program, r.why);
            return TOOL_FAILED;
        }
        if (raw && !desk_line_is_last(line)) {
            fwrite(line.data, 1, line.size, stdout);
            fputc('\n', stdout);
            continue;
        }
        if (!raw && t->plain_line != NULL && !desk_line_is_last(line) && t->plain_line(t, line, index))
            continue;
        object = json_loadb((const char *)line.data, line.size, 0, NULL);
        if (desk_line_is_last(line)) {
            *end_out = object;
            return end_say(t, object);
        }
        if (object != NULL && handler != NULL)
            handler(t, context, object, index);
        json_decref(object);
    }
}

static enum tool_exit ask(
    const struct tool *t, json_t *request_take, bool raw, line_handler *handler, void *context, json_t **end_out)
{
    struct desk desk;
    char *text = request_take == NULL ? NULL : json_dumps(request_take, JSON_COMPACT);
    enum tool_exit exit = TOOL_USAGE;
    struct result r;

    *end_out = NULL;
    json_decref(request_take);
    if (text == NULL) {
        fprintf(stderr, "%s: an argument is no UTF-8\n", t->program);
        return exit;
    }
    exit = desk_start(t, &desk);
    if (exit != TOOL_OK) {
        free(text);
        return exit;
    }
    r = desk_ask(&desk, bytes_of(text));
    if (is_ok(r)) {
        exit = answer_take(t, &desk, raw, handler, context, end_out);
    } else {
        fprintf(stderr, "%s: %s\n", t->program, r.why);
        exit = TOOL_UNAVAILABLE;
    }
    desk_close(&desk);
    free(text);
    return exit;
}

enum tool_exit tool_ask(
    const struct tool *t, json_t *request_take, line_handler *handler, void *context, json_t **end_out)
{
    return ask(t, request_take, t->json, handler, context, end_out);
}

enum tool_exit tool_ask_quietly(
    const struct tool *t, json_t *request_take, line_handler *handler, void *context, json_t **end_out)
{
    return ask(t, request_take, false, handler, context, end_out);
}
