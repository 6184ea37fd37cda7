/* The walk that list, count and the changing verbs share: over recipients in order of (id, n), one a step, each judged by the
 * filter. A head that alone says no passes its whole message over. */
#include "daemon/queued/control_parts.h"

/* Others than the postmaster see what they handed in themselves: "uid N" is how local injection names its client. */
bool control_may_see(const struct control *c, const struct envelope_head *head)
{
    uint8_t room[16];
    struct buf mine = BUF(room);

    if (c->setup.may_all)
        return true;
    return head->origin == ORIGIN_LOCAL && is_ok(buf_put_str(&mine, "uid ")) &&
           is_ok(buf_put_u64(&mine, c->setup.uid)) && bytes_equal(head->client, buf_bytes(&mine));
}

const char *control_state(const struct control *c, struct message_id id, const struct recipient *rcpt,
    struct walltime now, struct walltime *next_out)
{
    const struct control_setup *s = &c->setup;
    struct lane *lane;

    *next_out = rcpt->next_try;
    if (s->ports != NULL && s->ports->is_active != NULL && s->ports->is_active(s->ports->context, id, rcpt->n))
        return "active";
    if (recipient_is_leaving(rcpt->state))
        return "leaving";
    if (recipient_is_held(rcpt->state))
        return "held";
    lane = s->scheduler == NULL ? NULL : scheduler_lane_find(s->scheduler, rcpt->lane);
    if (lane != NULL && scheduler_lane_backoff_until(lane).ms > next_out->ms)
        *next_out = scheduler_lane_backoff_until(lane);
    return walltime_reached(*next_out, now) ? "due" : "deferred";
}

/* The stretch of ids that can hold what is asked for. What came after the request is not part of it: the walk ends. */
void control_find_begin(struct control *c)
{
    struct message_id last = {0};

    c->first_id = (struct message_id){0};
    c->last_id = (struct message_id){UINT64_MAX};
    if (c->filter != NULL)
        filter_id_range(c->filter, &c->first_id, &c->last_id);
    if (c->id_count > 0)
        c->first_id = c->last_id = c->ids[0];
    else if (!is_ok(store_message_last(c->setup.store, &last)) || last.value < c->last_id.value)
        c->last_id = last;
    c->place = (struct store_place){c->first_id, 0};
    c->domain = BYTES_NONE;
    if (c->filter != NULL && c->id_count == 0)
        (void)filter_domain(c->filter, &c->domain);
}

/* How far the index reaches just now. */
void control_find_turn(struct control *c)
{
    if (c->domain.size > 0 && !is_ok(store_index_mark(c->setup.store, &c->mark)))
        c->mark = (struct store_place){{0}, 0};
}

/* Whether the place lies where the index knows every recipient of the domain. */
static bool is_indexed(const struct control *c)
{
    return c->domain.size > 0 && (c->place.id.value < c->mark.id.value ||
                                     (message_id_equal(c->place.id, c->mark.id) && c->place.n <= c->mark.n));
}

static struct store_place behind(const struct store_place *place)
{
    return place->n == UINT32_MAX ? (struct store_place){{place->id.value + 1}, 0}
                                  : (struct store_place){place->id, place->n + 1};
}

/* The next recipient that can match: by the index up to its mark, by their own order behind it. CODE_CORRUPT: passed over. */
static RESULT walk(struct control *c, struct found *found_out)
{
    uint32_t n;

    if (is_indexed(c)) {
        struct result r = store_domain_walk(c->setup.store, c->domain, &c->place, &found_out->id, &n);
        if (is_ok(r)) {
            if (found_out->id.value > c->last_id.value)
                return OK;
            return is_ok(store_recipient_get(c->setup.store, found_out->id, n, &found_out->rcpt))
                       ? OK
                       : FAIL(CODE_CORRUPT, "the index names a recipient that is not there");
        }
        c->place = behind(&c->mark);
    }
    return store_recipient_walk(c->setup.store, &c->place, &found_out->id, &found_out->rcpt);
}

/* Of ids: on to the next one. */
static bool id_next(struct control *c)
{
    if (c->id_index >= c->id_count)
        return false;
    c->missing += !c->id_found;
    c->id_found = false;
    if (++c->id_index >= c->id_count)
        return false;
    c->first_id = c->last_id = c->ids[c->id_index];
    c->place = (struct store_place){c->first_id, 0};
    return true;
}

enum find control_find(struct control *c, struct walltime now, struct found *found_out)
{
    struct filter_subject subject = {.rcpt = &found_out->rcpt, .now = now};
    const struct filter *f = c->filter;

    found_out->has_head = false;
    struct result r = c->place.id.value > c->last_id.value ? FAIL(CODE_GONE, "behind the last") : walk(c, found_out);
    if (r.code == CODE_CORRUPT)
        return FIND_OTHER;
    if (!is_ok(r) || found_out->id.value > c->last_id.value)
        return id_next(c) ? FIND_OTHER : FIND_END;
    if (!c->setup.may_all || (f != NULL && filter_needs_head(f))) {
        found_out->has_head = is_ok(store_message_get(c->setup.store, found_out->id, &found_out->head));
        struct filter_subject half = {.head = &found_out->head, .now = now};
        if (!found_out->has_head || !control_may_see(c, &found_out->head) ||
            (f != NULL && filter_match(f, &half) == FILTER_NO)) {
            c->place = (struct store_place){{found_out->id.value + 1}, 0};
            return FIND_OTHER;
        }
        subject.head = &found_out->head;
    }
    c->id_found = true;
    if (f == NULL)
        return FIND_ONE;
    if (filter_needs_state(f))
        subject.state = control_state(c, found_out->id, &found_out->rcpt, now, &subject.next);
    return filter_match(f, &subject) == FILTER_YES ? FIND_ONE : FIND_OTHER;
}

/* Whether the index alone tells who is meant: the filter names a domain and nothing else. */
static bool is_index_enough(const struct control *c)
{
    return is_indexed(c) && c->setup.may_all && filter_is_domain(c->filter) && !store_domain_is_clipped(c->domain);
}

/* Of a domain and nothing else: no row is read. One of these is a whole pull. */
static enum step index_count(struct control *c)
{
    struct store_domain_counts counts = {0, 0};
    struct result r =
        store_domain_count(c->setup.store, c->domain, &c->place, c->last_id, CONTROL_COUNT_MAX, &c->after, &counts);

    c->count += counts.recipients;
    c->lines += counts.messages;
    if (is_ok(r))
        return STEP_FULL;
    c->place = behind(&c->mark);
    return STEP_MORE;
}

enum step control_count_step(struct control *c, struct walltime now)
{
    struct found found;

    if (is_index_enough(c))
        return index_count(c);
    switch (control_find(c, now, &found)) {
    case FIND_END:
        return STEP_DONE;
    case FIND_ONE:
        c->lines += !message_id_equal(found.id, c->after);
        c->after = found.id;
        c->count++;
        return STEP_MORE;
    default:
        return STEP_MORE;
    }
}

/* --- changing verbs: a pull gathers what one transaction may change, and orders it --- */

static const enum order_kind kinds[] = {
    [CONTROL_RETRY] = ORDER_RETRY,
    [CONTROL_HOLD] = ORDER_HOLD,
    [CONTROL_RELEASE] = ORDER_RELEASE,
    [CONTROL_DELETE] = ORDER_DELETE,
    [CONTROL_BOUNCE] = ORDER_BOUNCE,
    [CONTROL_REROUTE] = ORDER_REROUTE,
    [CONTROL_UNDO] = ORDER_UNDO,
};

/* Of `retry all`: what is due already needs no change, and its lane no longer waits either (hurry). */
static bool is_wanted(const struct control *c, const struct recipient *rcpt, struct walltime now)
{
    return !(c->verb == CONTROL_RETRY && c->all) ||
           (rcpt->state == RECIPIENT_WAITING && !walltime_reached(rcpt->next_try, now));
}

/* The next target of an order. What can be taken back is told by the index alone where that is enough: the order reads the
 * row anyway, and a row that is not there is passed over. What ends mail looks at each row first, for the index has no seals. */
static enum find target_find(struct control *c, struct walltime now, struct order_target *target_out)
{
    struct found found;

    if ((c->verb == CONTROL_HOLD || c->verb == CONTROL_RELEASE || c->verb == CONTROL_RETRY) && is_index_enough(c)) {
        if (is_ok(store_domain_walk(c->setup.store, c->domain, &c->place, &target_out->id, &target_out->n)))
            return target_out->id.value > c->last_id.value ? FIND_END : FIND_ONE;
        c->place = behind(&c->mark);
    }
    enum find find = control_find(c, now, &found);
    if (find == FIND_ONE)
        *target_out = (struct order_target){found.id, found.rcpt.n};
    return find == FIND_ONE && !is_wanted(c, &found.rcpt, now) ? FIND_OTHER : find;
}

static RESULT targets_gather(
    struct control *c, struct walltime now, struct order_target *targets, size_t *count_out, bool *end_out)
{
    size_t count_max = c->verb == CONTROL_HOLD ? ORDER_TARGETS_MAX : ORDER_TARGETS_WRITTEN;

    *count_out = 0;
    *end_out = false;
    TRY(store_read_begin(c->setup.store));
    if (!c->began)
        control_find_begin(c);
    c->began = true;
    control_find_turn(c);
    for (unsigned looked = 0; looked < CONTROL_SCAN_MAX && *count_out < count_max && !*end_out; looked++) {
        enum find find = target_find(c, now, &targets[*count_out]);

        *end_out = find == FIND_END;
        if (find != FIND_ONE)
            continue;
        c->lines += !message_id_equal(targets[*count_out].id, c->after);
        c->after = targets[(*count_out)++].id;
    }
    store_read_end(c->setup.store);
    return OK;
}

static RESULT order_step(struct control *c, struct walltime now, bool *end_out)
{
    const struct control_ports *p = c->setup.ports;
    struct order_target targets[ORDER_TARGETS_MAX];
    struct order order = {.kind = kinds[c->verb],
        .lane = {c->lane, c->lane_size},
        .until = {c->window_ms > 0 ? walltime_after(c->began_at, c->window_ms).ms : 0},
        .reason = {c->reason, c->reason_size}};
    uint32_t changed = 0;
    size_t count;

    TRY(targets_gather(c, now, targets, &count, end_out));
    if (count > 0)
        TRY(p->order(p->context, &order, targets, count, now, &changed));
    c->count += changed;
    if (*end_out && c->all && c->verb == CONTROL_RETRY)
        p->hurry(p->context, now);
    return OK;
}

enum step control_change_step(struct control *c, struct walltime now)
{
    const struct control_ports *p = c->setup.ports;
    bool more = false, end = false;
    uint32_t count = 0;
    struct result r;

    if (c->verb == CONTROL_RETRY && c->lane_size > 0) {
        r = p->retry_lane(p->context, (struct bytes){c->lane, c->lane_size}, now, &count, &more);
        c->count += is_ok(r) ? count : 0;
        end = !more;
    } else {
        r = order_step(c, now, &end);
    }
    if (!is_ok(r))
        control_refuse(c, r.code == CODE_GONE ? "gone" : "failed", r.why);
    return end || !is_ok(r) ? STEP_DONE : STEP_MORE;
}
