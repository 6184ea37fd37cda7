/* A recipient that stands for others is replaced by them in the transaction that removes it (Q3). What a message reaches is
 * remembered by name with the message, so that a recipient who is reached by several ways, perhaps at different times, gets it
 * once; a crash leaves either the parent or its children and their names.
 *
 * RFC 3461 5.2.7: an alias for one recipient hands NOTIFY and ORCPT on; one for several reports "expanded" where SUCCESS was
 * asked for and hands the rest on; a list with an owner of its own is the end of the way for its sender: "delivered", and its
 * members' fates are the owner's business.
 *
 * What is forwarded to another host for a sender elsewhere is sent by an address of ours, where the configuration has keys for
 * that (child_sender).
 *
 * A ~/.forward is read by local when its user's turn has come, so circles of those show here: each child knows the addresses whose
 * .forward led to it (`via`), and an address that is reached again from itself is a loop, unless its user keeps a copy. */
#include "daemon/queued/engine_parts.h"

RESULT expansion_child_take(struct job *job, struct job_rcpt *at, const struct msg_job_child *m)
{
    struct job_child *child;
    void *memory = NULL;

    TRY(arena_take(&job->arena, sizeof *child, &memory));
    child = memory;
    child->kind = m->kind;
    TRY(arena_copy(&job->arena, m->text, &child->text));
    TRY(arena_copy(&job->arena, m->address, &child->address));
    TRY(arena_copy(&job->arena, bytes_head(m->owner, ADDRESS_SIZE_MAX), &child->owner));
    TRY(arena_copy(&job->arena, m->as, &child->as));
    TRY(arena_copy(&job->arena, m->via, &child->via));
    if (at->children == NULL)
        at->children_end = &at->children;
    *at->children_end = child;
    at->children_end = &child->next;
    at->child_count++;
    return OK;
}

/* Mailboxes of ours are one in any case of letters; elsewhere only the other host knows. */
static RESULT name_put(struct engine *e, struct buf *name, struct bytes path)
{
    struct bytes domain = path_domain(path);
    bool ours = domain.size == 0 || config_domain_find(e->cfg, domain) != NULL;

    for (size_t i = 0; i < path.size; i++)
        TRY(buf_put_octet(name, ours ? octet_lower(path.data[i]) : path.data[i]));
    return OK;
}

RESULT expansion_remember(struct engine *e, struct message_id id, struct bytes path, struct bytes lane, bool *fresh_out)
{
    uint8_t octets[ADDRESS_SIZE_MAX + LANE_NAME_SIZE_MAX + 1];
    struct buf name = BUF(octets);

    /* A command or a file is itself whoever names it. */
    if (bytes_starts(lane, BYTES("pipe:")) || bytes_starts(lane, BYTES("file:")) || bytes_starts(lane, BYTES("as:")))
        TRY(buf_put(&name, lane));
    else
        TRY(name_put(e, &name, path));
    return store_seen_put(e->store, id, buf_bytes(&name), fresh_out);
}

/* What is longer than the name of a lane. */
static RESULT child_refused(struct route_choice *choice)
{
    static const struct route too_long = {.target = {.kind = ROUTE_ERROR,
                                              .status = BYTES_INIT("5.3.5"),
                                              .text = BYTES_INIT("the command or file of the alias is too long")}};

    *choice = (struct route_choice){.kind = ROUTE_CHOICE_ERROR, .route = &too_long};
    return OK;
}

static RESULT child_route(struct engine *e, struct bytes reverse_path, const struct job_child *child,
    const struct recipient *rcpt, struct buf *lane, struct route_choice *choice)
{
    struct bytes sender = rcpt->sender.size > 0 ? rcpt->sender : reverse_path;
    const char *prefix = child->kind == CHILD_FILE ? "file:" : child->kind == CHILD_MAILBOX ? "mailbox" : "pipe:";
    struct bytes text = child->kind == CHILD_MAILBOX ? BYTES_NONE : child->text;

    if (child->kind == CHILD_ADDRESS && child->via.size > 0)
        return engine_route_via(e, rcpt->forward_path, child->via, lane, choice);
    if (child->kind == CHILD_ADDRESS)
        return engine_route(e, sender, rcpt->forward_path, lane, choice);
    if (child->kind == CHILD_FORWARD)
        return engine_route_first(e, sender, rcpt, lane, choice);
    *choice = (struct route_choice){.kind = ROUTE_CHOICE_LANE, .lane = LANE_EXPAND};
    if (child->kind == CHILD_UNKNOWN)
        return OK;
    if (child->kind == CHILD_FILE && bytes_equal(child->text, BYTES("/dev/null"))) {
        choice->kind = ROUTE_CHOICE_DISCARD;
        return OK;
    }
    if (child->as.size > 0 &&
        (!is_ok(buf_put_str(lane, "as:")) || !is_ok(buf_put(lane, child->as)) || !is_ok(buf_put_octet(lane, ':'))))
        return child_refused(choice);
    if (!is_ok(buf_put_str(lane, prefix)))
        return child_refused(choice);
    for (size_t i = 0; i < text.size; i++) { /* in an alias a % is only that */
        if (child->kind == CHILD_COMMAND && text.data[i] == '%' && !is_ok(buf_put_octet(lane, '%')))
            return child_refused(choice);
        if (!is_ok(buf_put_octet(lane, text.data[i])))
            return child_refused(choice);
    }
    choice->lane = buf_bytes(lane);
    return OK;
}

/* What every child of a parent has in common. */
struct brood {
    const struct envelope_head *head;
    const struct recipient *parent;
    const struct job_rcpt *at;
    struct bytes orcpt, content, via;
    uint32_t stored;
    bool owned; /* a child has got an owner of its own */
};

static uint8_t child_notify(const struct brood *b, const struct job_child *child)
{
    uint8_t notify = b->parent->notify;

    if (child->owner.size > 0)
        return 0;
    if (b->at->child_count == 1 || (notify & DSN_NOTIFY_SUCCESS) == 0)
        return notify;
    notify &= (uint8_t)~DSN_NOTIFY_SUCCESS;
    return notify == 0 ? DSN_NOTIFY_NEVER : notify;
}

/* Whose ~/.forward led to the children: those of the parent, and the parent itself if it was his. */
static RESULT via_of(struct engine *e, struct brood *b)
{
    uint8_t octets[RECIPIENT_VIA_SIZE_MAX];
    struct buf via = BUF(octets);

    b->via = b->parent->via;
    if (b->at->children == NULL || b->at->children->as.size == 0)
        return OK;
    if (!is_ok(buf_put(&via, b->parent->via)) || (via.size > 0 && !is_ok(buf_put_octet(&via, '\n'))) ||
        !is_ok(buf_put(&via, b->parent->forward_path)))
        return OK; /* a way so long is cut; it still ends, because each address is gone to once */
    return arena_copy(&e->scratch, buf_bytes(&via), &b->via);
}

static bool is_via(struct bytes via, struct bytes path)
{
    while (via.size > 0) {
        ptrdiff_t lf = bytes_index(via, '\n');
        struct bytes one = lf == BYTES_NOT_FOUND ? via : bytes_head(via, (size_t)lf);

        if (bytes_equal_nocase(one, path))
            return true;
        via = bytes_after(via, one.size + 1);
    }
    return false;
}

/* The message goes to `path` already. From its own .forward that is a circle; nobody would get it but by a copy that its user
 * keeps. */
static RESULT child_again(struct engine *e, const struct brood *b, const struct recipient *rcpt, struct walltime now)
{
    static const struct route circle = {.target = {.kind = ROUTE_ERROR,
                                            .status = BYTES_INIT("5.4.6"),
                                            .text = BYTES_INIT("the .forward files of its users lead in a circle")}};
    uint8_t octets[LANE_NAME_SIZE_MAX];
    struct buf copy = BUF(octets);
    const struct config_domain *domain = config_domain_find(e->cfg, path_domain(rcpt->forward_path));
    struct bytes local_part;
    bool kept = false;

    if (domain == NULL || !is_via(b->via, rcpt->forward_path))
        return OK;
    local_part = bytes_head(rcpt->forward_path, rcpt->forward_path.size - path_domain(rcpt->forward_path).size - 1);
    local_part = config_domain_user(domain, local_part);
    TRY(buf_put_str(&copy, "as:"));
    for (size_t i = 0; i < local_part.size; i++)
        TRY(buf_put_octet(&copy, octet_lower(local_part.data[i])));
    TRY(buf_put_str(&copy, ":mailbox"));
    TRY(store_seen_has(e->store, b->head->id, buf_bytes(&copy), &kept));
    if (kept)
        return OK;
    struct route_choice choice = {.kind = ROUTE_CHOICE_ERROR, .route = &circle};
    return intake_refused(e, b->head, rcpt, &choice, b->content, now);
}

static bool is_ours(const struct engine *e, struct bytes path)
{
    return config_domain_find(e->cfg, path_domain(path)) != NULL;
}

/* What leaves us for another host under a stranger's name gets a sender of ours, to whom bounces come back (smtp/srs.h). */
static RESULT child_sender(
    struct engine *e, const struct brood *b, const struct route_choice *choice, struct recipient *rcpt)
{
    struct bytes sender = rcpt->sender.size > 0 ? rcpt->sender : b->head->reverse_path;
    struct effect effect = {.kind = EFFECT_SENDER_FORWARDED, .id = b->head->id, .n = rcpt->n, .to = rcpt->forward_path};
    bool leaves = bytes_starts(choice->lane, BYTES("mx:")) || bytes_starts(choice->lane, BYTES("relay:"));
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf fresh = BUF(octets);

    if (e->srs == NULL || !leaves || sender.size == 0 || is_ours(e, sender) || is_ours(e, rcpt->forward_path))
        return OK;
    effect.from = sender;
    if (is_ok(srs_forward(e->srs, b->head->arrival, sender, &fresh))) {
        TRY(arena_copy(&e->scratch, buf_bytes(&fresh), &rcpt->sender));
        effect.reply = rcpt->sender;
    } else {
        effect.kind = EFFECT_SENDER_TOO_LONG;
    }
    return effect_add(e, &effect);
}

static RESULT child_apply(
    struct engine *e, struct brood *b, const struct job_child *child, uint32_t *next_n, struct walltime now)
{
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct buf lane = BUF(room);
    struct route_choice choice;
    bool fresh = true;
    struct recipient rcpt = {
        .n = *next_n,
        .forward_path = child->kind == CHILD_ADDRESS || child->kind == CHILD_UNKNOWN || child->kind == CHILD_FORWARD
                            ? child->text
                            : child->address,
        .orcpt = child->owner.size > 0 ? BYTES_NONE : b->orcpt,
        .notify = child_notify(b, child),
        .sender = child->owner.size > 0 ? child->owner : b->parent->sender,
        .next_try = now,
        .parent = b->parent->n + 1,
        .via = b->via,
    };

    b->owned = b->owned || child->owner.size > 0;
    if (rcpt.forward_path.size == 0 || rcpt.forward_path.size > ADDRESS_SIZE_MAX)
        return FAIL(CODE_CORRUPT, "a child without an address"); /* looked at before: dispatch.c */
    TRY(child_route(e, b->head->reverse_path, child, &rcpt, &lane, &choice));
    if (choice.kind != ROUTE_CHOICE_DISCARD && (child->kind != CHILD_FORWARD || !bytes_equal(choice.lane, LANE_EXPAND)))
        TRY(expansion_remember(e, b->head->id, rcpt.forward_path, choice.lane, &fresh));
    if (!fresh)
        return child_again(e, b, &rcpt, now);
    if (choice.kind == ROUTE_CHOICE_DISCARD)
        return effect_add(
            e, &(struct effect){.kind = EFFECT_DISCARDED, .id = b->head->id, .n = rcpt.n, .to = rcpt.forward_path});
    if (choice.kind == ROUTE_CHOICE_ERROR)
        return intake_refused(e, b->head, &rcpt, &choice, b->content, now);
    TRY(child_sender(e, b, &choice, &rcpt));
    rcpt.lane = choice.lane;
    rcpt.state =
        choice.kind == ROUTE_CHOICE_HOLD || recipient_is_held(b->parent->state) ? RECIPIENT_HELD : RECIPIENT_WAITING;
    TRY(store_recipient_put(e->store, b->head->id, &rcpt));
    ++*next_n;
    b->stored++;
    if (rcpt.state == RECIPIENT_HELD)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = choice.lane, .due = now, .number = 1});
}

static RESULT expanded_tell(struct engine *e, const struct brood *b, struct walltime now)
{
    enum dsn_kind kind = b->owned ? DSN_DELIVERED : DSN_EXPANDED;
    struct dsn_recipient told = {.forward_path = b->parent->forward_path,
        .orcpt = b->parent->orcpt,
        .status = BYTES("2.0.0"),
        .reply =
            b->owned ? BYTES("handed to the members of the list") : BYTES("handed to the recipients it stands for"),
        .last_attempt = now,
        .attempts = b->parent->attempts + 1};
    struct message_id dsn;

    if ((!b->owned && b->at->child_count == 1) || !dsn_wanted(kind, b->head, b->parent))
        return OK;
    return outcome_notify(e, kind, b->head, &told, 1, b->content, now, &dsn);
}

RESULT expansion_apply(struct engine *e, const struct envelope_head *head, const struct recipient *parent,
    const struct job_rcpt *at, uint32_t *next_n, struct walltime now)
{
    struct brood b = {.head = head, .parent = parent, .at = at, .orcpt = parent->orcpt};
    uint8_t octets[ORCPT_SIZE_MAX];
    struct buf orcpt = BUF(octets);

    /* RFC 3461 5.2.7.1: whose name the sender knows. */
    if (b.orcpt.size == 0 && is_ok(buf_put_str(&orcpt, "rfc822;")) && is_ok(buf_put(&orcpt, parent->forward_path)))
        b.orcpt = buf_bytes(&orcpt);
    struct bytes content;
    if (is_ok(store_body_get(e->store, head->id, 0, DSN_ORIGINAL_SIZE_MAX, &content)))
        TRY(arena_copy(&e->scratch, content, &b.content)); /* the view dies at the next put */
    TRY(via_of(e, &b));
    for (const struct job_child *child = at->children; child != NULL; child = child->next)
        TRY(child_apply(e, &b, child, next_n, now));
    TRY(expanded_tell(e, &b, now));
    return effect_add(
        e, &(struct effect){
               .kind = EFFECT_EXPANDED, .id = head->id, .n = parent->n, .count = b.stored, .to = parent->forward_path});
}
