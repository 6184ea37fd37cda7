/* trace: which messages an address or a Message-ID belongs to: first those in the queue, then those of the history. */
#include "daemon/queued/control_parts.h"

#include "queue/attempt.h"

enum { TRACE_QUEUE, TRACE_HISTORY };

/* A Message-ID may be given with its angle brackets or without. */
static bool names(const struct control *c, struct bytes value)
{
    struct bytes text = {c->text, c->text_size};

    if (bytes_equal_nocase(value, text))
        return true;
    return value.size == text.size + 2 && value.data[0] == '<' && value.data[value.size - 1] == '>' &&
           bytes_equal_nocase(bytes_head(bytes_after(value, 1), text.size), text);
}

/* The one that its sender named, where that was rewritten or stands for others. */
static struct bytes original_address(const struct recipient *rcpt)
{
    return bytes_starts_nocase(rcpt->orcpt, BYTES("rfc822;")) ? bytes_after(rcpt->orcpt, 7) : BYTES_NONE;
}

static enum step id_say(struct control *c, struct message_id id, struct store_place before, struct buf *out)
{
    size_t size = out->size;
    struct result r;

    if (message_id_equal(id, c->after))
        return STEP_MORE;
    r = buf_put_str(out, "{\"v\":1");
    if (is_ok(r))
        r = json_put_field_id(out, "id", id);
    if (is_ok(r))
        r = buf_put_str(out, "}\n");
    if (!is_ok(r)) {
        out->size = size;
        c->place = before;
        return STEP_FULL;
    }
    c->after = id;
    c->lines++;
    return STEP_MORE;
}

enum step control_trace_step(struct control *c, struct walltime now, struct buf *out)
{
    struct store_place before = c->place;
    struct found found;
    struct attempt attempt;
    struct walltime at;
    struct bytes row;

    if (c->stage == TRACE_QUEUE) {
        enum find find = control_find(c, now, &found);

        if (find == FIND_END) {
            c->stage = TRACE_HISTORY;
            c->after = (struct message_id){0};
            c->place = (struct store_place){{0}, 0};
            return STEP_MORE;
        }
        if (find != FIND_ONE || !is_ok(store_message_get(c->setup.store, found.id, &found.head)) ||
            !(names(c, found.rcpt.forward_path) || names(c, found.head.reverse_path) || names(c, found.rcpt.sender) ||
                names(c, original_address(&found.rcpt)) || names(c, found.head.message_id)))
            return STEP_MORE;
        return id_say(c, found.id, before, out);
    }
    if (!is_ok(store_history_walk(c->setup.store, &c->place, &found.id, &at, &row)))
        return STEP_DONE;
    if (!is_ok(attempt_get(row, &attempt)) ||
        !(names(c, attempt.forward_path) || names(c, attempt.from) || names(c, attempt.message_id)))
        return STEP_MORE;
    return id_say(c, found.id, before, out);
}
