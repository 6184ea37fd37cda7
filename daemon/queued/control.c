#include "daemon/queued/control_parts.h"

void control_init(struct control *c, const struct control_setup *setup)
{
    *c = (struct control){.setup = *setup};
}

static void request_forget(struct control *c)
{
    struct control kept = {.setup = c->setup, .dead = c->dead};

    mem_free(c->ids);
    mem_free(c->line);
    *c = kept;
}

void control_fini(struct control *c)
{
    request_forget(c);
}

void control_refuse(struct control *c, const char *code, const char *error)
{
    c->error = error;
    c->error_code = code;
}

bool control_busy(const struct control *c)
{
    return c->verb != CONTROL_NONE || c->error != NULL;
}

bool control_dead(const struct control *c)
{
    return c->dead && !control_busy(c);
}

size_t control_feed(struct control *c, struct bytes in)
{
    ptrdiff_t end = bytes_index(in, '\n');
    size_t size = end < 0 ? in.size : (size_t)end;

    if (control_busy(c) || in.size == 0)
        return 0;
    if (c->dead)
        return in.size;
    if (c->line == NULL)
        c->line = mem_take(CONTROL_REQUEST_SIZE_MAX);
    if (c->line == NULL || size > CONTROL_REQUEST_SIZE_MAX - c->line_size) {
        c->dead = true; /* where the next request begins cannot be told */
        control_refuse(c, "usage", c->line == NULL ? "out of memory" : "the request is too long");
        return in.size;
    }
    memcpy(c->line + c->line_size, in.data, size);
    c->line_size += size;
    if (end < 0)
        return size;
    control_request(c, (struct bytes){c->line, c->line_size});
    mem_free(c->line);
    c->line = NULL;
    c->line_size = 0;
    return size + 1;
}

/* --- changing verbs --- */

static RESULT change_one(struct control *c, struct message_id id, struct walltime now, uint32_t *count_out)
{
    const struct control_ports *p = c->setup.ports;

    switch (c->verb) {
    case CONTROL_RETRY:
        return p->retry_message(p->context, id, now, count_out);
    case CONTROL_DELETE:
        return p->delete (p->context, id, now, count_out);
    default:
        return p->hold(p->context, id, c->verb == CONTROL_HOLD, now, count_out);
    }
}

/* The next message of "all": in id order, and none that came after the request. */
static bool all_next(struct control *c, struct message_id *id_out)
{
    struct envelope_head head;
    bool found;

    if (!is_ok(store_read_begin(c->setup.store)))
        return false;
    found = is_ok(store_message_next(c->setup.store, c->after, &head)) && head.arrival.ms <= c->began.ms;
    if (found) {
        c->after = head.id;
        *id_out = head.id;
    }
    store_read_end(c->setup.store);
    return found;
}

static enum step change_step(struct control *c, struct walltime now)
{
    const struct control_ports *p = c->setup.ports;
    struct message_id id;
    uint32_t count = 0;
    struct result r;

    if (c->verb == CONTROL_RETRY && c->id_count == 0) {
        r = c->all ? p->retry_all(p->context, now, &count)
                   : p->retry_lane(p->context, (struct bytes){c->lane, c->lane_size}, now, &count);
        c->count = count;
        if (!is_ok(r))
            control_refuse(c, r.code == CODE_GONE ? "gone" : "failed", r.why);
        return STEP_DONE;
    }
    if (c->all ? !all_next(c, &id) : c->id_index == c->id_count)
        return STEP_DONE;
    if (!c->all)
        id = c->ids[c->id_index++];
    r = change_one(c, id, now, &count);
    if (r.code == CODE_GONE) {
        c->missing++;
    } else if (!is_ok(r)) {
        control_refuse(c, "failed", r.why);
        return STEP_DONE;
    } else {
        c->lines++;
        c->count += count;
    }
    return STEP_MORE;
}

static const char *verb_name(enum control_verb verb)
{
    static const char *const names[] = {"", "list", "show", "stats", "lanes", "retry", "delete", "hold", "release"};

    return names[verb];
}

/* --- the answer --- */

static RESULT end_put(struct control *c, struct buf *out)
{
    if (c->error != NULL) {
        TRY(buf_put_str(out, c->in_message ? "\n{" : "{")); /* a line that cannot be finished is cut here */
        TRY(json_put_field_str(out, "error", c->error));
        TRY(json_put_field_str(out, "code", c->error_code));
    } else {
        TRY(buf_put_str(out, "{\"end\":true"));
        if (c->verb == CONTROL_LIST)
            TRY(json_put_field_number(out, "size", (int64_t)c->octets));
    }
    if (c->verb >= CONTROL_RETRY) {
        TRY(json_put_field_number(out, "recipients", (int64_t)c->count));
        TRY(json_put_field_number(out, "missing", (int64_t)c->missing));
    }
    TRY(json_put_field_number(out, "count", (int64_t)c->lines));
    return buf_put_str(out, "}\n");
}

/* Up to `steps` pieces; true when the verb is through. */
static bool pull_steps(struct control *c, struct walltime now, struct buf *out, unsigned steps)
{
    for (; steps > 0; steps--) {
        enum step step;

        switch (c->verb) {
        case CONTROL_LIST:
            step = control_list_step(c, now, out);
            break;
        case CONTROL_SHOW:
            step = control_show_step(c, now, out);
            break;
        case CONTROL_STATS:
            step = control_stats_step(c, out);
            break;
        case CONTROL_LANES:
            step = control_lanes_step(c, now, out);
            break;
        default:
            step = change_step(c, now);
        }
        if (step != STEP_MORE)
            return step == STEP_DONE;
    }
    return false;
}

void control_pull(struct control *c, struct walltime now, struct buf *out)
{
    bool changes = c->verb >= CONTROL_RETRY, done = c->error != NULL;
    struct result r = OK;

    ASSERT(out->size == 0 && out->size_max >= CONTROL_ROOM_MIN);
    if (!control_busy(c))
        return;
    if (c->began.ms == 0)
        c->began = now;
    if (!done && !changes)
        r = store_read_begin(c->setup.store);
    if (!is_ok(r)) {
        control_refuse(c, "failed", r.why);
        done = true;
    } else if (!done) {
        done = pull_steps(c, now, out, changes ? CONTROL_CHANGES_MAX : CONTROL_ROWS_MAX);
        if (!changes)
            store_read_end(c->setup.store);
    }
    if (!done || buf_left(out) < 512)
        return; /* a verb that is through says so again at the next pull */
    if (changes && c->setup.ports != NULL && c->setup.ports->changed != NULL && c->count + c->lines > 0)
        c->setup.ports->changed(
            c->setup.ports->context, c->setup.uid, verb_name(c->verb), c->lines > 0 ? c->lines : c->count);
    r = end_put(c, out);
    ASSERT(is_ok(r));
    request_forget(c);
}
