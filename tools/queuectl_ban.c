/* Who is shut out, and whose mail is held for having sent too much: listed, made, cleared. */
#include <stdio.h>

#include "daemon/config/value.h"
#include "tools/ask.h"
#include "tools/render.h"

static void ban_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    const char *login = json_string_value(json_object_get(line, "login"));
    const char *client = json_string_value(json_object_get(line, "client"));
    int64_t until = render_num(line, "until"), left = until - tool_now();

    (void)t;
    (void)context;
    (void)index;
    render_text(stdout, login != NULL ? login : client != NULL ? client : "");
    if (login != NULL && until == 0)
        puts("  login: what it sends is held (quota)");
    else if (until == 0)
        puts("  until it is cleared (postmaster)");
    else
        printf("%s  for %" PRId64 " min more (%s)\n", login != NULL ? "  login, from unknown clients" : "",
            left <= 0 ? 0 : (left + 59) / 60,
            json_is_integer(json_object_get(line, "count")) ? "failed logins" : "postmaster");
}

static enum tool_exit ban_list(const struct tool *t)
{
    json_t *end;
    enum tool_exit exit =
        tool_ask(t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "bans"), ban_line, NULL, &end);

    if (exit == TOOL_OK && render_num(end, "count") == 0 && !t->json)
        puts("Nobody is shut out");
    json_decref(end);
    return exit;
}

static enum tool_exit ban_tell(const struct tool *t, json_t *request, const char *done)
{
    json_t *end;
    enum tool_exit exit = tool_ask_quietly(t, request, NULL, NULL, &end);

    if (exit == TOOL_OK)
        puts(t->json ? "{\"v\":1,\"done\":true}" : done);
    json_decref(end);
    return exit;
}

enum tool_exit tool_ban(const struct tool *t, char *const *args, size_t count)
{
    int64_t for_ms = 0;

    if (count == 1 && strcmp(args[0], "list") == 0)
        return tool_finish(t, ban_list(t));
    if ((count == 2 || (count == 3 && is_ok(value_time(bytes_of(args[2]), &for_ms)))) && strcmp(args[0], "add") == 0)
        return tool_finish(t, ban_tell(t,
                                  json_pack("{s:i,s:s,s:s,s:I}", "v", CONTROL_VERSION, "verb", "ban", "text", args[1],
                                      "window", (json_int_t)(for_ms / 1000)),
                                  "shut out"));
    if (count == 2 && strcmp(args[0], "clear") == 0)
        return tool_finish(t,
            ban_tell(t, json_pack("{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", "unban", "text", args[1]), "cleared"));
    fprintf(stderr, "%s: expected ban list, ban add ADDRESS [TIME] or ban clear ADDRESS|LOGIN\n", t->program);
    return TOOL_USAGE;
}
