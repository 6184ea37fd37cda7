/* session_rewrite: the addresses of one transaction's envelope, as the block `rewrite` wants them. Its header is letter.c's. */
#include "daemon/inbound/session_parts.h"

static enum mail_class session_class(const struct session *s)
{
    switch (s->door->smtp.class) {
    case SMTP_CLASS_LOCAL:
        return MAIL_LOCAL;
    case SMTP_CLASS_SUBMISSION:
        return MAIL_SUBMISSION;
    default:
        return s->may_relay ? MAIL_RELAY : MAIL_STRANGERS;
    }
}

const struct rewriting *session_rewriting(const struct session *s)
{
    const struct rewriting *w = s->in->rewriting;

    return w != NULL && rewriting_is_for(w, session_class(s)) && rewriting_has_canonical(w) ? w : NULL;
}

bool session_leaves_generic(const struct session *s)
{
    const struct rewriting *w = s->in->rewriting;

    return w != NULL && rewriting_is_for(w, session_class(s)) && s->in->cfg->tables[TABLE_GENERIC].size > 0;
}

static bool rewrite(
    const struct session *s, enum rewrite_side side, const char *what, struct bytes path, struct buf *out)
{
    const struct rewriting *w = session_rewriting(s);

    if (w == NULL || path.size == 0 || !rewriting_canonical(w, side, true, path, out))
        return false;
    LOG(ADDRESS_REWRITTEN, LOG_NUM("session", s->id.value), LOG_STR("what", what), LOG_TEXT("from", path),
        LOG_TEXT("to", buf_bytes(out)));
    return true;
}

struct bytes session_rewrite_sender(const struct session *s, struct bytes reverse_path, struct buf *room)
{
    return rewrite(s, REWRITE_SENDER, "sender", reverse_path, room) ? buf_bytes(room) : reverse_path;
}

RESULT session_rewrite_rcpt(struct session *s, struct smtp_rcpt *rcpt)
{
    uint8_t octets[ADDRESS_SIZE_MAX], orcpt_octets[ORCPT_SIZE_MAX];
    struct buf fresh = BUF(octets), orcpt = BUF(orcpt_octets), canonical;
    void *memory = NULL;

    if (rcpt->forward_path.domain_kind == ADDRESS_DOMAIN_NONE ||
        !rewrite(s, REWRITE_RECIPIENT, "recipient", rcpt->forward_path.text, &fresh))
        return OK;
    /* RFC 3461 5.2.7.1: the name by which the sender knows him. */
    if (rcpt->orcpt.size == 0 && is_ok(buf_put_str(&orcpt, "rfc822;")) &&
        is_ok(buf_put(&orcpt, rcpt->forward_path.text)))
        TRY(arena_copy(&s->arena, buf_bytes(&orcpt), &rcpt->orcpt));
    TRY(arena_take(&s->arena, fresh.size, &memory));
    buf_init(&canonical, memory, fresh.size);
    return address_parse_mailbox(buf_bytes(&fresh), ADDRESS_UTF8, &canonical, &rcpt->forward_path);
}
