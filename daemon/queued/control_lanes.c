#include "daemon/queued/control_parts.h"

enum step control_stats_step(struct control *c, struct buf *out)
{
    struct store_stats stats;

    if (c->lines > 0)
        return STEP_DONE;
    store_stats_get(c->setup.store, &stats);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"messages", stats.messages},
        {"recipients", stats.recipients},
        {"waiting", store_stats_waiting(&stats)},
        {"held", store_stats_held(&stats)},
        {"lanes", stats.lanes},
        {"history", stats.history},
        {"quarantine", stats.quarantine},
        {"map_size", stats.map_size},
        {"used_size", stats.used_size},
        {"commits", stats.commits},
        {"in_flight", c->setup.scheduler != NULL ? scheduler_in_flight(c->setup.scheduler) : 0},
    };
    struct result r = buf_put_str(out, "{\"v\":1");

    for (size_t i = 0; i < COUNT_OF(fields) && is_ok(r); i++)
        r = json_put_field_number(out, fields[i].name, (int64_t)fields[i].value);
    if (is_ok(r))
        r = json_put_field_bool(out, "running", c->setup.ports != NULL);
    if (is_ok(r))
        r = buf_put_str(out, "}\n");
    ASSERT(is_ok(r)); /* it is the first piece, and small */
    c->lines = 1;
    return STEP_DONE;
}

/* Recipients a second, with three decimals. */
static RESULT rate_put(struct buf *out, const char *name, uint64_t thousandths)
{
    TRY(json_put_field_number(out, name, (int64_t)(thousandths / 1000)));
    TRY(buf_put_octet(out, '.'));
    return buf_put_u64_pad(out, thousandths % 1000, 3);
}

/* Of a lane that nothing passed through yet all rates are 0; one past the bound of names has none. */
static RESULT rates_put(const struct control *c, struct buf *out, struct bytes lane, struct walltime now)
{
    static const struct {
        const char *in, *out;
        unsigned minutes;
    } spans[] = {{"in_1m", "out_1m", 1}, {"in_5m", "out_5m", 5}, {"in_15m", "out_15m", 15}};
    static const struct tally_lane none = {.hash = 0};
    const struct control_ports *p = c->setup.ports;
    const struct tally_lanes *results = p == NULL || p->results == NULL ? NULL : p->results(p->context);
    const struct tally_lane *row = results == NULL ? NULL : tally_lane_find(results, lane);

    if (row == NULL && (results == NULL || results->count == TALLY_LANES_MAX))
        return OK;
    row = row == NULL ? &none : row;
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        TRY(rate_put(out, spans[i].in, tally_flow_rate(&row->in, now, spans[i].minutes)));
        TRY(rate_put(out, spans[i].out, tally_flow_rate(&row->out, now, spans[i].minutes)));
    }
    return OK;
}

static RESULT lane_put(const struct control *c, struct buf *out, const struct lane_view *view, struct walltime now)
{
    const struct lane_health *health = &view->health;
    const char *state = health->suspended                                 ? "suspended"
                        : !walltime_reached(health->suspended_until, now) ? "backing-off"
                        : view->in_flight > 0                             ? "active"
                        : walltime_reached(view->first_due, now)          ? "due"
                                                                          : "waiting";

    TRY(buf_put_str(out, "{\"v\":1"));
    TRY(json_put_field_text(out, "lane", view->name));
    TRY(json_put_field_str(out, "state", state));
    TRY(json_put_field_number(out, "in_flight", view->in_flight));
    TRY(json_put_field_number(out, "slots", view->slots));
    TRY(json_put_field_number(out, "slots_limit", health->slots_limit));
    TRY(json_put_field_number(out, "pace_ms", health->pace_ms));
    TRY(json_put_field_number(out, "next", view->first_due.ms == INT64_MAX ? 0 : control_seconds(view->first_due)));
    TRY(json_put_field_number(out, "backoff_until", control_seconds(health->suspended_until)));
    TRY(json_put_field_number(out, "failures", health->failures));
    TRY(rates_put(c, out, view->name, now));
    TRY(json_put_field_text(out, "last_error", health->last_error));
    return buf_put_str(out, "}\n");
}

/* The health that the store keeps of exactly this lane, or none. */
static void stored_health(struct control *c, struct bytes name, struct lane_health *health_out)
{
    struct bytes before = bytes_head(name, name.size > 0 ? name.size - 1 : 0), found;

    *health_out = (struct lane_health){0};
    /* names between `before` and `name` are few; the bound keeps a hostile set of names from costing more */
    for (unsigned i = 0; i < 32; i++) {
        if (!is_ok(store_lane_next(c->setup.store, before, &found, health_out)))
            break;
        if (bytes_equal(found, name))
            return;
        if (bytes_compare(found, name) > 0)
            break;
        before = found;
    }
    *health_out = (struct lane_health){0};
}

/* Of `lanes` with a glob, which stands in c->text. */
static bool is_asked_for(const struct control *c, struct bytes name)
{
    return c->text_size == 0 || filter_glob((struct bytes){c->text, c->text_size}, name);
}

/* Offline: the lanes that have work, in the order of their names. */
static enum step stored_lane_step(struct control *c, struct walltime now, struct buf *out)
{
    struct store_due first;
    struct lane_view view = {0};
    size_t before = out->size;

    if (!is_ok(store_due_lane_next(c->setup.store, (struct bytes){c->lane, c->lane_size}, &view.name, &first)))
        return STEP_DONE;
    view.first_due = first.next_try;
    stored_health(c, view.name, &view.health);
    if (is_asked_for(c, view.name) && !is_ok(lane_put(c, out, &view, now))) {
        out->size = before;
        return STEP_FULL;
    }
    c->lines += is_asked_for(c, view.name);
    c->lane_size = view.name.size <= sizeof c->lane ? view.name.size : sizeof c->lane;
    memcpy(c->lane, view.name.data, c->lane_size);
    return STEP_MORE;
}

enum step control_lanes_step(struct control *c, struct walltime now, struct buf *out)
{
    size_t cursor = (size_t)c->cursor, before = out->size;
    struct lane_view view;

    if (c->setup.scheduler == NULL)
        return stored_lane_step(c, now, out);
    if (!scheduler_lane_view(c->setup.scheduler, &cursor, &view))
        return STEP_DONE;
    if (is_asked_for(c, view.name) && !is_ok(lane_put(c, out, &view, now))) {
        out->size = before;
        return STEP_FULL;
    }
    c->cursor = cursor;
    c->lines += is_asked_for(c, view.name);
    return STEP_MORE;
}

enum step control_lane_order_step(struct control *c, struct walltime now)
{
    static const enum lane_order orders[] = {[CONTROL_SUSPEND] = LANE_ORDER_SUSPEND,
        [CONTROL_RESUME] = LANE_ORDER_RESUME,
        [CONTROL_LIMIT] = LANE_ORDER_LIMIT};
    const struct control_ports *p = c->setup.ports;
    struct result r = OK;

    if (c->verb == CONTROL_PAUSE || c->verb == CONTROL_UNPAUSE)
        r = p->pause_accepting(p->context, c->verb == CONTROL_PAUSE, now);
    else
        r = p->lane_order(p->context, (struct bytes){c->lane, c->lane_size},
            c->verb == CONTROL_LIMIT && c->paced ? LANE_ORDER_PACE : orders[c->verb], c->slots, now);
    if (is_ok(r))
        c->lines = 1;
    else
        control_refuse(c, "failed", r.why);
    return STEP_DONE;
}

/* Newlines and quotes double in JSON: half the room is for the text. */
enum step control_metrics_step(struct control *c, struct walltime now, struct buf *out)
{
    size_t size = CONTROL_ROOM_MIN / 2;
    uint8_t *room = mem_take(size);
    struct buf text;
    struct result r = FAIL(CODE_FULL, "out of memory");

    if (room != NULL) {
        buf_init(&text, room, size);
        r = c->setup.ports->metrics(c->setup.ports->context, now, &text);
        if (is_ok(r))
            r = buf_put_str(out, "{\"v\":1");
        if (is_ok(r))
            r = json_put_field_text(out, "text", buf_bytes(&text));
        if (is_ok(r))
            r = buf_put_str(out, "}\n");
        mem_free(room);
    }
    c->lines = 1;
    if (!is_ok(r)) {
        out->size = 0;
        c->lines = 0;
        control_refuse(c, "failed", r.why);
    }
    return STEP_DONE;
}
