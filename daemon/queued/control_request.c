#include <jansson.h>

#include "daemon/queued/control_parts.h"

static const struct {
    const char *word;
    enum control_verb verb;
    bool changes;
} verbs[] = {
    {"list", CONTROL_LIST, false},
    {"show", CONTROL_SHOW, false},
    {"stats", CONTROL_STATS, false},
    {"lanes", CONTROL_LANES, false},
    {"retry", CONTROL_RETRY, true},
    {"delete", CONTROL_DELETE, true},
    {"hold", CONTROL_HOLD, true},
    {"release", CONTROL_RELEASE, true},
};

static bool id_read(const json_t *value, struct message_id *id_out)
{
    return json_is_string(value) &&
           is_ok(message_id_parse(
               (struct bytes){(const uint8_t *)json_string_value(value), json_string_length(value)}, id_out));
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
        if (!id_read(one != NULL ? one : json_array_get(list, c->id_count), &c->ids[c->id_count])) {
            control_refuse(c, "usage", "that is no message id");
            return false;
        }
    }
    return true;
}

static bool lane_read(struct control *c, const json_t *request)
{
    const json_t *lane = json_object_get(request, "lane");

    if (lane == NULL)
        return true;
    if (!json_is_string(lane) || json_string_length(lane) == 0 || json_string_length(lane) > sizeof c->lane) {
        control_refuse(c, "usage", "that is no lane");
        return false;
    }
    c->lane_size = json_string_length(lane);
    memcpy(c->lane, json_string_value(lane), c->lane_size);
    return true;
}

/* Who may, and on what. */
static void request_check(struct control *c, bool changes)
{
    size_t targets = (c->id_count > 0) + (c->lane_size > 0) + c->all;

    if (!c->setup.may_all && c->verb != CONTROL_LIST && c->verb != CONTROL_SHOW) {
        control_refuse(
            c, "denied", "only root and the daemon's own user may do that; others may list and show their own mail");
    } else if (changes && c->setup.ports == NULL) {
        control_refuse(c, "read-only", "the daemon is not running, so the queue can only be read");
    } else if (c->verb == CONTROL_SHOW && c->id_count != 1) {
        control_refuse(c, "usage", "show wants one id");
    } else if (changes && targets != 1) {
        control_refuse(c, "usage", c->verb == CONTROL_RETRY ? "expected ids, a lane or all" : "expected ids or all");
    } else if (c->lane_size > 0 && c->verb != CONTROL_RETRY) {
        control_refuse(c, "usage", "only retry takes a lane");
    }
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
        if (ids_read(c, request) && lane_read(c, request))
            request_check(c, verbs[v].changes);
    }
    json_decref(request);
}
