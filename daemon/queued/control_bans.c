/* Bans and held logins: listed, made, lifted. */
#include "daemon/queued/control_parts.h"

static RESULT ward_put(struct buf *out, const struct ward_view *view)
{
    TRY(buf_put_str(out, "{\"v\":1"));
    TRY(json_put_field_text(out, view->login ? "login" : "client", view->who));
    TRY(json_put_field_str(out, "why", view->held ? "quota" : view->by_hand ? "postmaster" : "failed logins"));
    if (!view->held)
        TRY(json_put_field_number(out, "until", control_seconds(view->until)));
    if (!view->held && !view->by_hand)
        TRY(json_put_field_number(out, "count", view->count));
    return buf_put_str(out, "}\n");
}

enum step control_bans_step(struct control *c, struct walltime now, struct buf *out)
{
    size_t cursor = (size_t)c->cursor, before = out->size;
    struct ward_view view;

    if (!c->setup.ports->ban_next(c->setup.ports->context, &cursor, now, &view))
        return STEP_DONE;
    if (!is_ok(ward_put(out, &view))) {
        out->size = before;
        return STEP_FULL;
    }
    c->cursor = cursor;
    c->lines++;
    return STEP_MORE;
}

enum step control_ban_step(struct control *c, struct walltime now)
{
    const struct control_ports *p = c->setup.ports;
    struct bytes who = {c->text, c->text_size};
    uint32_t count = 1;
    struct result r =
        c->verb == CONTROL_BAN ? p->ban(p->context, who, c->window_ms, now) : p->unban(p->context, who, now, &count);

    if (!is_ok(r))
        control_refuse(c, r.code == CODE_SYNTAX ? "usage" : "failed", r.why);
    else if (count == 0)
        control_refuse(c, "gone", "no such ban, and no such held login");
    else
        c->lines = count;
    return STEP_DONE;
}
