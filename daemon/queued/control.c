#include "daemon/queued/control_parts.h"

void control_init(struct control *c, const struct control_setup *setup)
{
    *c = (struct control){.setup = *setup};
}

static void request_forget(struct control *c)
{
    struct control kept = {.setup = c->setup, .dead = c->dead};

    mem_free(c->ids);
    mem_free(c->filter);
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
        control_refuse(
            c, c->line == NULL ? "failed" : "usage", c->line == NULL ? "out of memory" : "the request is too long");
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

static const char *verb_name(enum control_verb verb)
{
    static const char *const names[] = {"",
#define VERB(id, name, changes) name,
        CONTROL_VERBS(VERB)
#undef VERB
    };

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
    if ((c->verb >= CONTROL_RETRY && c->verb <= CONTROL_UNDO) || c->verb == CONTROL_COUNT)
        TRY(json_put_field_number(out, "recipients", (int64_t)c->count));
    if (c->verb >= CONTROL_RETRY && c->verb <= CONTROL_UNDO)
        TRY(json_put_field_number(out, "missing", (int64_t)c->missing));
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
        case CONTROL_COUNT:
            step = control_count_step(c, now);
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
        case CONTROL_CONTENT:
            step = control_content_step(c, out);
            break;
        case CONTROL_METRICS:
            step = control_metrics_step(c, now, out);
            break;
        case CONTROL_BANS:
            step = control_bans_step(c, now, out);
            break;
        case CONTROL_BAN:
        case CONTROL_UNBAN:
            step = control_ban_step(c, now);
            break;
        case CONTROL_TRACE:
            step = control_trace_step(c, now, out);
            break;
        default:
            step = c->verb >= CONTROL_SUSPEND ? control_lane_order_step(c, now) : control_change_step(c, now);
        }
        if (step != STEP_MORE)
            return step == STEP_DONE;
    }
    return false;
}

/* What changes the queue opens its own transactions. */
static bool pull(struct control *c, struct walltime now, struct buf *out)
{
    if (c->verb >= CONTROL_RETRY || c->verb == CONTROL_METRICS)
        return pull_steps(c, now, out, 1);
    struct result r = store_read_begin(c->setup.store);
    if (!is_ok(r)) {
        control_refuse(c, "failed", r.why);
        return true;
    }
    if (!c->began)
        control_find_begin(c);
    c->began = true;
    control_find_turn(c);
    bool done = pull_steps(
        c, now, out, c->verb == CONTROL_COUNT || c->verb == CONTROL_TRACE ? CONTROL_SCAN_MAX : CONTROL_ROWS_MAX);
    store_read_end(c->setup.store);
    return done;
}

void control_pull(struct control *c, struct walltime now, struct buf *out)
{
    const struct control_ports *p = c->setup.ports;

    ASSERT(out->size == 0 && out->size_max >= CONTROL_ROOM_MIN);
    if (!control_busy(c))
        return;
    if (!c->began)
        c->began_at = now;
    if ((c->error == NULL && !pull(c, now, out)) || buf_left(out) < 512)
        return; /* a verb that is through says so again at the next pull */
    if (c->verb >= CONTROL_RETRY && p != NULL && p->changed != NULL && c->count + c->lines > 0)
        p->changed(p->context, c->setup.uid, verb_name(c->verb), c->lines > 0 ? c->lines : c->count);
    struct result r = end_put(c, out);
    ASSERT(is_ok(r));
    request_forget(c);
}
