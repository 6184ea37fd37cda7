/* Lanes and the doors: what works, waits and fails; suspend, resume, limit, pause; where an address would go. */
#include <stdio.h>

#include "queue/route.h"
#include "smtp/idna.h"
#include "tools/ask.h"
#include "tools/render.h"

static void lane_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)context;
    if (index == 0)
        render_lane_heading(stdout);
    render_lane(stdout, line, tool_now());
}

static enum tool_exit lanes_list(const struct tool *t, const char *glob)
{
    json_t *request = json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "lanes"), *end;
    enum tool_exit exit;

    if (glob != NULL)
        json_object_set_new(request, "lane", json_string(glob));
    exit = tool_ask(t, request, lane_line, NULL, &end);
    if (exit == TOOL_OK && render_num(end, "count") == 0 && !t->json)
        puts(glob == NULL ? "No lane has work" : "No such lane has work or a remembered state");
    json_decref(end);
    return exit;
}

/* `done` NULL: there is more to be told. */
static enum tool_exit lane_tell(const struct tool *t, json_t *request, const char *done)
{
    json_t *end;
    enum tool_exit exit = tool_ask_quietly(t, request, NULL, NULL, &end);

    if (exit == TOOL_OK && done != NULL)
        puts(t->json ? "{\"v\":1,\"done\":true}" : done);
    json_decref(end);
    return exit;
}

/* One limit: the member of the request that it is, and its value; 0 or "none" lifts it. */
struct limit {
    const char *member;
    uint64_t value;
};

/* "30/min", "0.5/s", "10/h": as milliseconds between two. */
static bool rate_read(const char *text, uint64_t *pace_out)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"/s", 1000}, {"/min", 60000}, {"/h", 3600000}};
    char *end;
    double rate = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : -1, pace;

    *pace_out = 0;
    if (strcmp(text, "none") == 0 || strcmp(text, "0") == 0)
        return true;
    for (size_t i = 0; rate > 0 && i < COUNT_OF(units); i++) {
        pace = units[i].ms / rate + 0.5;
        if (strcmp(end, units[i].unit) != 0 || pace < 1 || pace > UINT32_MAX)
            continue;
        *pace_out = (uint64_t)pace;
        return true;
    }
    return false;
}

/* "concurrency=5", "5", "rate=30/min". */
static bool limit_read(const char *text, struct limit *limit_out)
{
    struct bytes value = bytes_of(text);

    if (bytes_starts(value, BYTES("rate="))) {
        limit_out->member = "pace";
        return rate_read(text + 5, &limit_out->value);
    }
    if (bytes_starts(value, BYTES("concurrency=")))
        value = bytes_after(value, 12);
    *limit_out = (struct limit){"slots", 0};
    return bytes_equal(value, BYTES("none")) || is_ok(bytes_to_u64(value, 10000, &limit_out->value));
}

static json_t *lane_request(const char *verb, const char *lane)
{
    return json_pack(
        "{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", verb, "lane", strcmp(lane, "all") == 0 ? "*" : lane);
}

enum tool_exit tool_lanes(const struct tool *t, char *const *args, size_t count)
{
    const char *what = count > 0 ? args[0] : NULL;
    struct limit limits[2];
    bool limited = count > 2 && count <= 4 && strcmp(what, "limit") == 0;
    enum tool_exit exit = TOOL_OK;

    for (size_t i = 2; limited && i < count; i++)
        limited = limit_read(args[i], &limits[i - 2]);

    if (count < 2 &&
        (what == NULL || (strcmp(what, "suspend") != 0 && strcmp(what, "resume") != 0 && strcmp(what, "limit") != 0)))
        return tool_finish(t, lanes_list(t, what));
    if (count == 2 && strcmp(what, "suspend") == 0)
        return tool_finish(t, lane_tell(t, lane_request("suspend", args[1]), "suspended: nothing new is sent there"));
    if (count == 2 && strcmp(what, "resume") == 0)
        return tool_finish(t, lane_tell(t, lane_request("resume", args[1]), "resumed"));
    for (size_t i = 2; limited && exit == TOOL_OK && i < count; i++) {
        json_t *request = lane_request("limit", args[1]);

        json_object_set_new(request, limits[i - 2].member, json_integer((json_int_t)limits[i - 2].value));
        exit = lane_tell(t, request, i + 1 < count ? NULL : limits[i - 2].value == 0 ? "no limit any more" : "limited");
    }
    if (limited)
        return tool_finish(t, exit);
    fprintf(stderr,
        "%s: expected lanes [GLOB], lanes suspend LANE, lanes resume LANE or\n"
        "lanes limit LANE [concurrency=N] [rate=N/s|N/min|N/h]\n",
        t->program);
    return TOOL_USAGE;
}

enum tool_exit tool_pause(const struct tool *t, bool pause, const char *what)
{
    const char *verb = pause ? "pause" : "unpause";

    if (strcmp(what, "accepting") == 0)
        return tool_finish(
            t, lane_tell(t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", verb),
                   pause ? "new mail is answered 452 until unpause, over restarts too" : "new mail is taken again"));
    if (strcmp(what, "delivering") == 0)
        return tool_finish(
            t, lane_tell(t, lane_request(pause ? "suspend" : "resume", "*"),
                   pause ? "nothing more is sent out until unpause, over restarts too" : "mail is sent out again"));
    fprintf(stderr, "%s: %s wants accepting or delivering\n", t->program, verb);
    return TOOL_USAGE;
}

/* --- route --- */

static void route_print(const struct tool *t, const char *address, const struct route_choice *choice)
{
    static const char *const kinds[] = {[ROUTE_CHOICE_LANE] = "lane",
        [ROUTE_CHOICE_HOLD] = "hold",
        [ROUTE_CHOICE_DISCARD] = "discard",
        [ROUTE_CHOICE_ERROR] = "error"};
    const struct route *route = choice->route;
    json_t *answer = json_pack("{s:i,s:s,s:s}", "v", 1, "address", address, "decision", kinds[choice->kind]);
    char *text;

    json_object_set_new(answer, "lane", json_stringn((const char *)choice->lane.data, choice->lane.size));
    json_object_set_new(answer, "local", json_boolean(route != NULL && route->is_domain));
    if (route != NULL)
        json_object_set_new(answer, "pattern",
            route->pattern.size == 0 ? json_string("*")
                                     : json_stringn((const char *)route->pattern.data, route->pattern.size));
    if (choice->kind == ROUTE_CHOICE_ERROR && route != NULL)
        json_object_set_new(
            answer, "status", json_stringn((const char *)route->target.status.data, route->target.status.size));
    if (t->json) {
        text = json_dumps(answer, JSON_COMPACT);
        if (text != NULL)
            puts(text);
        free(text);
    } else {
        render_text(stdout, address);
        printf(choice->kind == ROUTE_CHOICE_LANE      ? ": goes to "
               : choice->kind == ROUTE_CHOICE_HOLD    ? ": is kept until released, and then goes to "
               : choice->kind == ROUTE_CHOICE_DISCARD ? ": is thrown away"
                                                      : ": is refused with ");
        render_text(
            stdout, choice->kind == ROUTE_CHOICE_ERROR ? render_str(answer, "status") : render_str(answer, "lane"));
        printf("  (%s \"%s%s\")\n", route != NULL && route->is_domain ? "domain" : "route",
            route != NULL && route->wildcard && route->pattern.size > 0 ? "*" : "", render_str(answer, "pattern"));
    }
    json_decref(answer);
}

/* The address with its domain in lower case and as A-labels; of a bare name, origin's. `whole` is empty when it has no local part. */
static RESULT path_put(const struct tool *t, struct bytes path, struct buf *whole, struct buf *domain)
{
    uint8_t room[DOMAIN_SIZE_MAX + 1];
    struct buf lower = BUF(room);
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes name = at < 0 ? t->cfg->origin : bytes_after(path, (size_t)at + 1);

    for (size_t i = 0; i < name.size; i++)
        TRY(buf_put_octet(&lower, octet_lower(name.data[i])));
    if (bytes_has_8bit(buf_bytes(&lower)))
        TRY(idna_to_ascii(buf_bytes(&lower), domain));
    else
        TRY(buf_put(domain, buf_bytes(&lower)));
    if (at <= 0 && (at == 0 || path.size == 0))
        return OK;
    TRY(buf_put(whole, at < 0 ? path : bytes_head(path, (size_t)at)));
    TRY(buf_put_octet(whole, '@'));
    return buf_put(whole, buf_bytes(domain));
}

enum tool_exit tool_route(const struct tool *t, char *const *args, size_t count)
{
    static const struct bytes from = BYTES_INIT("from=");
    uint8_t domain_room[DOMAIN_SIZE_MAX + 1], lane_room[LANE_NAME_SIZE_MAX], sender_domain_room[DOMAIN_SIZE_MAX + 1];
    uint8_t whole_room[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX], sender_room[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf domain = BUF(domain_room), lane = BUF(lane_room), whole = BUF(whole_room), sender = BUF(sender_room),
               sender_domain = BUF(sender_domain_room);
    struct route_choice choice;
    struct result r = OK;

    if (count > 1 && !bytes_starts(bytes_of(args[1]), from)) {
        fprintf(stderr, "%s: route wants an address, and perhaps from=SENDER\n", t->program);
        return TOOL_USAGE;
    }
    if (count > 1 && args[1][from.size] != 0) /* from= alone is the null reverse-path */
        r = path_put(t, bytes_after(bytes_of(args[1]), from.size), &sender, &sender_domain);
    if (is_ok(r))
        r = path_put(t, bytes_of(args[0]), &whole, &domain);
    if (is_ok(r))
        r = whole.size == 0 ? route_choose(&t->cfg->routes, buf_bytes(&domain), &lane, &choice)
                            : route_choose_for(&t->cfg->routes, buf_bytes(&whole), buf_bytes(&sender), &lane, &choice);
    if (!is_ok(r)) {
        fprintf(stderr, "%s: %s\n", t->program, r.why);
        return TOOL_USAGE;
    }
    route_print(t, args[0], &choice);
    if (t->cfg->route_lookups.count > 0 && (choice.route == NULL || !choice.route->is_domain))
        fprintf(stderr, "%s: unless a lookup of route_lookups knows another route: the daemon asks these first\n",
            t->program);
    return tool_finish(t, TOOL_OK);
}

static void text_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)context;
    (void)index;
    fputs(render_str(line, "text"), stdout); /* the daemon let nothing but plain ASCII into it */
}

enum tool_exit tool_metrics(const struct tool *t)
{
    json_t *end;
    enum tool_exit exit =
        tool_ask_quietly(t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "metrics"), text_line, NULL, &end);

    json_decref(end);
    return tool_finish(t, exit);
}
