/* list and show. A line of list is begun with its head, continued with one piece a recipient, and ended; the state between
 * pieces is (after, in_message, first, cursor), so a message of any size takes no more room than one recipient. */
#include "daemon/queued/control_parts.h"

#include "queue/attempt.h"

int64_t control_seconds(struct walltime t)
{
    return t.ms / 1000;
}

static RESULT head_put(struct buf *out, const struct envelope_head *head)
{
    TRY(buf_put_str(out, "{\"v\":1"));
    TRY(json_put_field_id(out, "id", head->id));
    TRY(json_put_field_text(out, "from", head->reverse_path));
    TRY(json_put_field_number(out, "size", (int64_t)head->body_size));
    return json_put_field_number(out, "arrival", control_seconds(head->arrival));
}

static RESULT recipient_put_json(const struct control *c, struct buf *out, const struct envelope_head *head,
    const struct recipient *rcpt, struct walltime now, bool whole)
{
    struct walltime next;
    const char *state = control_state(c, head->id, rcpt, now, &next);

    if (!c->first)
        TRY(buf_put_octet(out, ','));
    TRY(buf_put_octet(out, '{'));
    TRY(json_put_field_text(out, "to", rcpt->forward_path));
    TRY(json_put_field_str(out, "state", state));
    TRY(json_put_field_number(out, "attempts", rcpt->attempts));
    TRY(json_put_field_number(out, "next_try", control_seconds(next)));
    TRY(json_put_field_text(out, "reply", rcpt->last_reply));
    TRY(json_put_field_text(out, "lane", rcpt->lane));
    if (whole) {
        if (recipient_is_leaving(rcpt->state))
            TRY(json_put_field_str(out, "leaving", rcpt->state <= RECIPIENT_DELETED_HELD ? "delete" : "bounce"));
        TRY(json_put_field_number(out, "n", rcpt->n));
        TRY(json_put_field_text(out, "status", rcpt->last_status));
        TRY(json_put_field_text(out, "host", rcpt->last_host));
        TRY(json_put_field_text(out, "orcpt", rcpt->orcpt));
        if (rcpt->sender.size > 0)
            TRY(json_put_field_text(out, "sender", rcpt->sender));
        TRY(json_put_field_number(out, "notify", rcpt->notify));
        TRY(json_put_field_bool(out, "warned", rcpt->warned));
        if (rcpt->parent > 0)
            TRY(json_put_field_number(out, "parent", rcpt->parent - 1));
    }
    return buf_put_octet(out, '}');
}

/* Takes back what a piece wrote before its room ended. */
static enum step step_of(struct buf *out, size_t before, struct result r)
{
    if (is_ok(r))
        return STEP_MORE;
    out->size = before;
    return STEP_FULL;
}

/* The next recipient of the line under way, or its end. The message may have ended between two turns: then its line ends.
 * Where ids are asked for the walk stays within one message by itself. */
static enum step listed_recipient_step(struct control *c, struct walltime now, struct buf *out)
{
    const struct store_place place = c->place;
    const struct message_id last = c->last_id;
    const size_t id_index = c->id_index;
    size_t before = out->size;
    struct found found;
    enum step step;

    if (buf_left(out) < 8)
        return STEP_FULL;
    if (c->id_count == 0)
        c->last_id = c->after;
    enum find find = control_find(c, now, &found);
    if (c->id_count == 0)
        c->last_id = last;
    if (find == FIND_OTHER && c->id_index == id_index && message_id_equal(c->place.id, c->after))
        return STEP_MORE;
    if (find != FIND_ONE) {
        if (c->id_count == 0)
            c->place = (struct store_place){{c->after.value + 1}, 0};
        c->in_message = false;
        c->lines++;
        return step_of(out, before, buf_put_str(out, "]}\n"));
    }
    found.head.id = found.id;
    step = step_of(out, before, recipient_put_json(c, out, &found.head, &found.rcpt, now, false));
    if (step == STEP_MORE)
        c->first = false;
    else
        c->place = place;
    return step;
}

enum step control_list_step(struct control *c, struct walltime now, struct buf *out)
{
    struct found found;
    size_t before = out->size;
    enum step step;

    if (c->in_message)
        return listed_recipient_step(c, now, out);
    if (c->limit > 0 && c->lines == c->limit)
        return STEP_DONE;
    struct store_place place = c->place;
    enum find find = control_find(c, now, &found);
    if (find != FIND_ONE)
        return find == FIND_END ? STEP_DONE : STEP_MORE;
    if (!found.has_head && !is_ok(store_message_get(c->setup.store, found.id, &found.head)))
        return STEP_MORE;
    struct result r = head_put(out, &found.head);
    if (is_ok(r))
        r = buf_put_str(out, ",\"recipients\":[");
    step = step_of(out, before, r);
    if (step != STEP_MORE) {
        c->place = place;
        return step;
    }
    c->place = (struct store_place){found.id, found.rcpt.n}; /* it comes again, as the first of its line */
    c->after = found.id;
    c->in_message = true;
    c->first = true;
    c->octets += found.head.body_size;
    return STEP_MORE;
}

/* The next recipient of the message under way, or the end of its array. */
static enum step recipient_step(struct control *c, struct walltime now, const struct envelope_head *head,
    const char *end, bool whole, struct buf *out)
{
    struct store *s = c->setup.store;
    uint64_t cursor = c->cursor;
    size_t before = out->size;
    struct recipient rcpt;
    struct result r = store_recipient_next(s, head->id, &cursor, &rcpt);
    enum step step;

    if (!is_ok(r)) {
        step = step_of(out, before, buf_put_str(out, end));
        if (step == STEP_MORE) {
            c->in_message = false;
            c->lines++;
        }
        return step;
    }
    step = step_of(out, before, recipient_put_json(c, out, head, &rcpt, now, whole));
    if (step == STEP_MORE) {
        c->cursor = cursor;
        c->first = false;
    }
    return step;
}

/* --- show: head, recipients, history; one line --- */

enum { SHOW_HEAD, SHOW_RECIPIENTS, SHOW_HISTORY, SHOW_END };

static RESULT show_head_put(struct buf *out, const struct envelope_head *head)
{
    static const char *const bodies[BODY_TYPE_COUNT] = {"7BIT", "8BITMIME", "BINARYMIME"};
    static const char *const rets[DSN_RET_COUNT] = {"", "FULL", "HDRS"};
    static const char *const origins[ORIGIN_KIND_COUNT] = {"smtp", "submission", "local", "dsn", "resend"};

    TRY(head_put(out, head));
    TRY(json_put_field_bool(out, "queued", true));
    TRY(json_put_field_bool(out, "held", (head->flags & ENVELOPE_HELD) != 0));
    TRY(json_put_field_str(out, "origin", origins[head->origin]));
    TRY(json_put_field_text(out, "client", head->client));
    TRY(json_put_field_text(out, "helo", head->helo));
    TRY(json_put_field_text(out, "login", head->login));
    TRY(json_put_field_text(out, "message_id", head->message_id));
    TRY(json_put_field_text(out, "subject", head->subject));
    TRY(json_put_field_str(out, "body", bodies[head->body_type]));
    TRY(json_put_field_str(out, "ret", rets[head->ret]));
    TRY(json_put_field_text(out, "envid", head->envid));
    TRY(json_put_field_bool(out, "smtputf8", (head->flags & ENVELOPE_SMTPUTF8) != 0));
    return buf_put_str(out, ",\"recipients\":[");
}

static RESULT attempt_put_json(const struct control *c, struct buf *out, struct walltime at, const struct attempt *a)
{
    if (!c->first)
        TRY(buf_put_octet(out, ','));
    TRY(buf_put_octet(out, '{'));
    TRY(json_put_field_number(out, "at", control_seconds(at)));
    TRY(json_put_field_str(out, "event", attempt_kind_name(a->kind)));
    TRY(json_put_field_number(out, "n", a->n));
    TRY(json_put_field_text(out, "to", a->forward_path));
    TRY(json_put_field_number(out, "attempt", a->count));
    TRY(json_put_field_text(out, "lane", a->lane));
    TRY(json_put_field_text(out, "host", a->host));
    TRY(json_put_field_text(out, "address", a->address));
    TRY(json_put_field_text(out, "tls", a->tls));
    TRY(json_put_field_text(out, "status", a->status));
    TRY(json_put_field_text(out, "reply", a->reply));
    TRY(json_put_field_text(out, "transcript", a->transcript));
    TRY(json_put_field_text(out, "from", a->from));
    TRY(json_put_field_text(out, "message_id", a->message_id));
    if (a->caused.value != 0)
        TRY(json_put_field_id(out, "caused", a->caused));
    return buf_put_octet(out, '}');
}

static enum step show_history_step(struct control *c, struct buf *out)
{
    size_t before = out->size;
    uint64_t cursor = c->cursor;
    struct walltime at;
    struct bytes row;
    struct attempt attempt;
    enum step step;

    if (!is_ok(store_history_next(c->setup.store, c->ids[0], &cursor, &at, &row))) {
        step = step_of(out, before, buf_put_str(out, "]}\n"));
        if (step == STEP_MORE) {
            c->stage = SHOW_END;
            c->lines = 1;
        }
        return step;
    }
    if (is_ok(attempt_get(row, &attempt))) {
        step = step_of(out, before, attempt_put_json(c, out, at, &attempt));
        if (step == STEP_FULL)
            return step;
        c->first = false;
    }
    c->cursor = cursor;
    return STEP_MORE;
}

/* A message that is gone is shown by its history, to the postmaster alone: nothing says any more whose it was. */
static enum step show_gone(struct control *c, struct buf *out)
{
    uint64_t cursor = 0;
    struct walltime at;
    struct bytes row;
    struct result r;

    if (!c->setup.may_all || !is_ok(store_history_next(c->setup.store, c->ids[0], &cursor, &at, &row))) {
        control_refuse(c, "gone", "no such message in the queue, nor in the history that is kept");
        return STEP_DONE;
    }
    r = buf_put_str(out, "{\"v\":1");
    if (is_ok(r))
        r = json_put_field_id(out, "id", c->ids[0]);
    if (is_ok(r))
        r = buf_put_str(out, ",\"queued\":false,\"recipients\":[],\"history\":[");
    c->stage = SHOW_HISTORY;
    return step_of(out, 0, r);
}

enum step control_show_step(struct control *c, struct walltime now, struct buf *out)
{
    struct envelope_head head;
    struct result found;
    enum step step;

    if (c->stage == SHOW_END)
        return STEP_DONE;
    if (c->stage == SHOW_HISTORY)
        return show_history_step(c, out);
    found = store_message_get(c->setup.store, c->ids[0], &head);
    if (c->stage == SHOW_HEAD) {
        c->first = true;
        c->cursor = 0;
        if (!is_ok(found))
            return show_gone(c, out);
        if (!control_may_see(c, &head)) {
            control_refuse(c, "denied", "that message is not yours");
            return STEP_DONE;
        }
        c->stage = SHOW_RECIPIENTS;
        return step_of(out, 0, show_head_put(out, &head));
    }
    if (!is_ok(found))
        head = (struct envelope_head){.id = c->ids[0]};
    c->in_message = true;
    step = recipient_step(c, now, &head, "],\"history\":[", true, out);
    if (step == STEP_MORE && !c->in_message) {
        c->stage = SHOW_HISTORY;
        c->first = true;
        c->cursor = 0;
    }
    return step;
}
