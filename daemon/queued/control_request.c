#include <jansson.h>

#include "daemon/queued/control_parts.h"
#include "queue/route.h"

static const struct {
    const char *word;
    enum control_verb verb;
    bool changes;
} verbs[] = {
#define VERB(id, name, changes) {name, CONTROL_##id, changes},
    CONTROL_VERBS(VERB)
#undef VERB
};

static struct bytes text_of(const json_t *value)
{
    return (struct bytes){(const uint8_t *)json_string_value(value), json_string_length(value)};
}

/* "id" or "ids"; false when a refusal was made. */
static bool ids_read(struct control *c, const json_t *request)
{
    const json_t *one = json_object_get(request, "id"), *list = json_object_get(request, "ids");
    size_t count = one != NULL ? 1 : json_array_size(list);

    if (one == NULL && list == NULL)
        return true;
    if (count == 0 || count > CONTROL_IDS_MAX || (one != NULL && list != NULL)) {
        control_refuse(c, "usage", "expected one id, or a list of 1 to 2000 ids");
        return false;
    }
    c->ids = mem_take(count * sizeof *c->ids);
    if (c->ids == NULL) {
        control_refuse(c, "failed", "out of memory");
        return false;
    }
    for (; c->id_count < count; c->id_count++) {
        const json_t *id = one != NULL ? one : json_array_get(list, c->id_count);

        if (!json_is_string(id) || !is_ok(message_id_parse(text_of(id), &c->ids[c->id_count]))) {
            control_refuse(c, "usage", "that is no message id");
            return false;
        }
    }
    return true;
}

/* Into what mail may be moved: as configurations name a next hop, or mx:DOMAIN, or local. Leaves its canonical name. */
static bool lane_canonical(struct control *c, struct bytes lane)
{
    struct route_target target;
    struct arena arena;
    struct buf out;
    bool fits = false;

    buf_init(&out, c->lane, sizeof c->lane);
    if (bytes_equal(lane, BYTES("local")) || (bytes_starts(lane, BYTES("mx:")) && lane.size > 3)) {
        for (size_t i = 0; i < lane.size; i++)
            if (lane.data[i] <= ' ' || lane.data[i] > '~' || !is_ok(buf_put_octet(&out, octet_lower(lane.data[i]))))
                return false;
        c->lane_size = out.size;
        return true;
    }
    arena_init(&arena, 65536);
    if (is_ok(route_target_parse(&arena, lane, &target)) && (target.kind == ROUTE_RELAY || target.kind == ROUTE_LMTP)) {
        fits = is_ok(buf_put_str(&out, target.kind == ROUTE_RELAY ? "relay:" : "lmtp:")) &&
               is_ok(buf_put(&out, target.hop));
        c->lane_size = out.size;
    }
    arena_fini(&arena);
    return fits;
}

static bool lane_read(struct control *c, const json_t *request)
{
    const json_t *lane = json_object_get(request, "lane");

    if (lane == NULL)
        return true;
    if (c->verb == CONTROL_LANES && json_is_string(lane) && json_string_length(lane) <= sizeof c->text) {
        c->text_size = json_string_length(lane);
        memcpy(c->text, json_string_value(lane), c->text_size);
        return true;
    }
    if (!json_is_string(lane) || json_string_length(lane) == 0 || json_string_length(lane) > sizeof c->lane) {
        control_refuse(c, "usage", "that is no lane");
        return false;
    }
    if (c->verb == CONTROL_REROUTE) {
        if (lane_canonical(c, text_of(lane)))
            return true;
        control_refuse(c, "usage", "expected mx:DOMAIN, relay:[HOST]:PORT, lmtp:[HOST]:PORT, lmtp:unix:/PATH or local");
        return false;
    }
    c->lane_size = json_string_length(lane);
    memcpy(c->lane, json_string_value(lane), c->lane_size);
    return true;
}

static bool filter_read(struct control *c, const json_t *request)
{
    const json_t *filter = json_object_get(request, "filter");
    struct filter_error error;

    if (filter == NULL)
        return true;
    c->filter = mem_take(sizeof *c->filter);
    if (c->filter == NULL) {
        control_refuse(c, "failed", "out of memory");
        return false;
    }
    if (!json_is_string(filter) || !is_ok(filter_parse(text_of(filter), c->filter, &error))) {
        control_refuse(c, "usage", json_is_string(filter) ? error.why : "a filter is a string");
        return false;
    }
    return true;
}

/* text, slots. */
static bool words_read(struct control *c, const json_t *request)
{
    const json_t *text = json_object_get(request, "text"), *slots = json_object_get(request, "slots"),
                 *pace = json_object_get(request, "pace");

    if (text != NULL && (json_string_length(text) == 0 || json_string_length(text) > sizeof c->text)) {
        control_refuse(c, "usage", "expected an address, a Message-ID or a login");
        return false;
    }
    if (slots != NULL &&
        (!json_is_integer(slots) || json_integer_value(slots) < 0 || json_integer_value(slots) > 10000)) {
        control_refuse(c, "usage", "a limit is 0 (none) to 10000 connections");
        return false;
    }
    if (pace != NULL && (slots != NULL || !json_is_integer(pace) || json_integer_value(pace) < 0 ||
                            json_integer_value(pace) > UINT32_MAX)) {
        control_refuse(c, "usage", "a pace is a number of milliseconds, 0 for none, beside no slots");
        return false;
    }
    c->paced = pace != NULL;
    c->slots = (uint32_t)json_integer_value(c->paced ? pace : slots);
    if (text != NULL) {
        c->text_size = json_string_length(text);
        memcpy(c->text, json_string_value(text), c->text_size);
    }
    return true;
}

/* limit, window, reason. */
static bool details_read(struct control *c, const json_t *request)
{
    const json_t *limit = json_object_get(request, "limit"), *window = json_object_get(request, "window"),
                 *reason = json_object_get(request, "reason");
    json_int_t seconds = json_integer_value(window);

    c->window_ms = ORDER_UNDO_WINDOW_MS;
    if ((limit != NULL && json_integer_value(limit) <= 0) || (window != NULL && !json_is_integer(window)) ||
        seconds < 0 || seconds > ORDER_UNDO_WINDOW_MAX_MS / 1000) {
        control_refuse(c, "usage", limit != NULL ? "a limit is a number above 0" : "a window is 0 to 604800 seconds");
        return false;
    }
    if (window != NULL)
        c->window_ms = seconds * 1000;
    c->limit = (uint64_t)json_integer_value(limit);
    if (reason == NULL)
        return true;
    struct bytes text = text_of(reason);
    if (text.data == NULL || text.size > sizeof c->reason) {
        control_refuse(c, "usage", "a reason is a text of at most 500 octets");
        return false;
    }
    for (size_t i = 0; i < text.size; i++)
        c->reason[i] = text.data[i] < ' ' || text.data[i] == 0x7f ? ' ' : text.data[i];
    c->reason_size = text.size;
    return true;
}

/* Who may, and on what. */
static void request_check(struct control *c, bool changes)
{
    bool of_lane = c->lane_size > 0 && c->verb != CONTROL_REROUTE;
    bool on_lane = c->verb == CONTROL_SUSPEND || c->verb == CONTROL_RESUME || c->verb == CONTROL_LIMIT;
    size_t targets = (c->id_count > 0) + of_lane + c->all + (c->filter != NULL);
    bool own =
        c->verb == CONTROL_LIST || c->verb == CONTROL_COUNT || c->verb == CONTROL_SHOW || c->verb == CONTROL_CONTENT;

    if (!c->setup.may_all && !own)
        control_refuse(c, "denied",
            "only root, the daemon's own user and the group mansio may do that; others may list and show their own "
            "mail");
    else if ((changes || c->verb == CONTROL_METRICS || c->verb == CONTROL_BANS) && c->setup.ports == NULL)
        control_refuse(c, "read-only", "the daemon is not running, so the queue can only be read");
    else if (c->verb == CONTROL_SHOW && (c->id_count != 1 || targets != 1))
        control_refuse(c, "usage", "show wants one id");
    else if (on_lane ? !of_lane || targets != 1 : of_lane && c->verb != CONTROL_RETRY)
        control_refuse(c, "usage", on_lane ? "expected a lane, or * for every one" : "that verb takes no lane");
    else if ((c->verb == CONTROL_BAN || c->verb == CONTROL_UNBAN) && c->text_size == 0)
        control_refuse(c, "usage", "expected an address or a login");
    else if (c->verb == CONTROL_TRACE && c->text_size == 0)
        control_refuse(c, "usage", "trace wants an address or a Message-ID");
    else if (changes && targets != 1 && c->verb < CONTROL_PAUSE)
        control_refuse(c, "usage", "expected one of: ids, a filter, all");
    else if (targets > 1)
        control_refuse(c, "usage", "expected one of: ids, a filter");
    else if (c->verb == CONTROL_REROUTE && c->lane_size == 0)
        control_refuse(c, "usage", "reroute wants the lane to move to");
}

void control_request(struct control *c, struct bytes line)
{
    json_t *request = json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES, NULL);
    const char *verb = json_string_value(json_object_get(request, "verb"));
    size_t v = 0;

    while (verb != NULL && v < COUNT_OF(verbs) && strcmp(verbs[v].word, verb) != 0)
        v++;
    if (!json_is_object(request) || verb == NULL)
        control_refuse(c, "usage", "expected one JSON object a line, with v and verb");
    else if (json_integer_value(json_object_get(request, "v")) != CONTROL_VERSION)
        control_refuse(c, "usage", "this daemon speaks version 1 of the control protocol");
    else if (v == COUNT_OF(verbs))
        control_refuse(c, "usage", "unknown verb");
    else {
        c->verb = verbs[v].verb;
        c->all = json_is_true(json_object_get(request, "all"));
        if (ids_read(c, request) && lane_read(c, request) && filter_read(c, request) && details_read(c, request) &&
            words_read(c, request))
            request_check(c, verbs[v].changes);
    }
    json_decref(request);
}
