/* session_mail: one transaction of a session: the core's questions about it, and what depot, letter and lookup say. */
#include "daemon/edge/clock.h"
#include "daemon/inbound/session_parts.h"
#include "smtp/idna.h"

static void answer_yes(struct session *s, struct message_id id, struct walltime received_at)
{
    struct smtp_answer answer = {.kind = SMTP_ANSWER_YES, .id = id, .received_at = received_at};
    struct result r = smtp_server_answer(&s->smtp, loop_now(s->in->loop), &answer);

    ASSERT(is_ok(r) || r.code == CODE_GONE);
}

static enum origin_kind session_origin(const struct session *s)
{
    if (s->door->smtp.class == SMTP_CLASS_LOCAL)
        return ORIGIN_LOCAL;
    return s->door->smtp.class == SMTP_CLASS_SUBMISSION ? ORIGIN_SUBMISSION : ORIGIN_SMTP;
}

/* What a login may write, as reverse-path and as author. */
enum ownership { OWNED, NOT_OWNED, OWNER_IS_ASKED };

/* OWNER_IS_ASKED: session_rcpt_known will be told. */
static enum ownership address_owned(struct session *s, const struct address *address)
{
    uint8_t octets[DOMAIN_SIZE_MAX + 1];
    struct buf ascii = BUF(octets);
    struct bytes domain = address->domain, login = smtp_server_peer(&s->smtp)->login;

    if (is_ok(idna_to_ascii(domain, &ascii)))
        domain = buf_bytes(&ascii);
    if (policy_sender(s->in->cfg, login, address, domain))
        return OWNED;
    if (!policy_sender_is_asked(s->in->cfg, login))
        return NOT_OWNED;
    s->question.owner = s;
    return OWNER_IS_ASKED;
}

static bool is_login(const struct session *s)
{
    return s->door->listen != NULL && s->door->listen->auth && smtp_server_authenticated(&s->smtp);
}

/* RFC 6409 4.3 (who submits has said who he is, or comes from a network that may), 6.1 (and writes under his own name). False: it
 * is answered, or will be when lookup has said (mail_known). */
static bool sender_is_allowed(struct session *s, const struct smtp_mail *mail)
{
    if (s->door->listen == NULL || !s->door->listen->auth)
        return true;
    if (!smtp_server_authenticated(&s->smtp)) {
        if (s->may_relay || s->door->smtp.class != SMTP_CLASS_SUBMISSION)
            return true;
        session_answer_no(s, REPLY(530, 5, 7, 0, "Authentication is required"));
        return false;
    }
    switch (address_owned(s, &mail->reverse_path)) {
    case OWNED:
        return true;
    case NOT_OWNED:
        session_answer_no(s, REPLY(553, 5, 7, 1, "This sender is not yours"));
        return false;
    case OWNER_IS_ASKED:
        break;
    }
    s->asked_mail = *mail;
    s->mail_is_asked = true;
    inquiry_ask_sender(s->in->inquiry, &s->question, smtp_server_peer(&s->smtp)->login, mail->reverse_path.text);
    return false;
}

/* What is handed in by users gets its header completed; what others relay through us is not touched. */
static bool letter_begin(struct session *s)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    const struct config *cfg = s->in->cfg;
    uint8_t room[16];
    struct buf nameless = BUF(room);
    struct letter_setup setup = {
        .depot = s->in->depot,
        .owner = s,
        .cfg = cfg,
        .bcc = s->door->listen != NULL ? s->door->listen->bcc : cfg->submission.local_bcc,
        .submitted = s->door->smtp.class != SMTP_CLASS_MX,
        .authors = cfg->auth.from_owned && is_login(s),
        .rewriting = session_rewriting(s),
    };

    if (!setup.submitted && setup.bcc == BCC_KEEP && !setup.authors && setup.rewriting == NULL)
        return true;
    if (peer->local || smtp_server_authenticated(&s->smtp))
        setup.login = peer->login;
    if (peer->local && peer->login.size == 0 && is_ok(buf_put_str(&nameless, "uid")) &&
        is_ok(buf_put_u64(&nameless, s->uid)))
        setup.login = buf_bytes(&nameless);
    s->letter = letter_new(&setup, s->tx);
    return s->letter != NULL;
}

static void mail_take(struct session *s, const struct smtp_mail *mail)
{
    const struct smtp_peer *peer = smtp_server_peer(&s->smtp);
    enum depot_refusal refusal;
    struct bytes words;
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(room);
    struct envelope_head head = {
        .arrival = clock_walltime(),
        .reverse_path = session_rewrite_sender(s, mail->reverse_path.text, &sender),
        .body_type = mail->body,
        .ret = mail->ret,
        .envid = mail->envid,
        .flags = (mail->smtputf8 ? (uint32_t)ENVELOPE_SMTPUTF8 : 0) |
                 (session_leaves_generic(s) ? (uint32_t)ENVELOPE_GENERIC : 0),
        .origin = session_origin(s),
        .client = bytes_head(session_client(s), DEPOT_CLIENT_SIZE_MAX),
        .helo = smtp_server_helo(&s->smtp),
        .login = peer->login,
    };
    const struct reply *limited;

    session_score(s);
    limited = session_limit_mail(s, mail->reverse_path.domain);
    if (limited != NULL) {
        session_answer_no(s, *limited);
        return;
    }
    s->size_max = 0;
    s->size_declared = mail->size;
    s->verp = mail->verp;
    s->tx = depot_tx_open(s->in->depot, s, &head, &refusal, &words);
    switch (refusal) {
    case DEPOT_OPEN:
        if (!letter_begin(s)) {
            depot_tx_abort(&s->tx);
            session_answer_no(s, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
            break;
        }
        answer_yes(s, depot_tx_id(s->tx), head.arrival);
        break;
    case DEPOT_NOT_ADMITTING:
        session_answer_no(
            s, (struct reply){452, {4, 3, 1}, words.size > 0 ? words : BYTES("No room for mail at present")});
        break;
    case DEPOT_NO_QUEUE:
    case DEPOT_NO_IDS:
        session_answer_no(s, REPLY(451, 4, 3, 0, "The mail queue does not answer at present, try again later"));
        break;
    }
}

void session_check_mail(struct session *s, const struct smtp_mail *mail)
{
    if (s->repute.link != NULL && !smtp_server_authenticated(&s->smtp)) { /* it will be known soon: checks.time */
        s->asked_mail = *mail;
        s->mail_waits = true;
        return;
    }
    if (sender_is_allowed(s, mail))
        mail_take(s, mail);
}

static void mail_known(struct session *s, enum rcpt_known known)
{
    s->mail_is_asked = false;
    if (known == RCPT_FINAL)
        mail_take(s, &s->asked_mail);
    else if (known == RCPT_UNKNOWN)
        session_answer_no(s, REPLY(553, 5, 7, 1, "This sender is not yours"));
    else
        session_answer_no(s, REPLY(451, 4, 3, 0, "The sender cannot be checked at present, try again later"));
}

/* The recipient is taken as it is, or with the reason why it is refused (RECIPIENT_LANE_REFUSED). */
static void rcpt_put(struct session *s, struct recipient *rcpt)
{
    if (s->verifying) {
        answer_yes(s, (struct message_id){0}, (struct walltime){0});
        return;
    }
    if (s->letter == NULL) {
        depot_tx_rcpt(s->tx, rcpt);
    } else if (!letter_rcpt(s->letter, rcpt)) {
        session_answer_no(s, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
        return;
    }
    answer_yes(s, (struct message_id){0}, (struct walltime){0});
}

/* A refusal for good, of which the client wants the sender told by mail, goes into the queue with its reason. */
static void rcpt_refuse(struct session *s, const struct smtp_rcpt *asked, struct reply reply)
{
    uint8_t status_room[16], text_room[REPLY_LINE_SIZE_MAX];
    struct buf status = BUF(status_room), text = BUF(text_room);
    struct result r = enhanced_status_put(&status, reply.status);

    if (is_ok(r))
        r = buf_put(&text, reply.text);
    if (!asked->tell_refusal || reply.code < 500 || reply.status.class == 0 || !is_ok(r)) {
        session_answer_no(s, reply);
        return;
    }
    s->rcpt_why = NULL;
    rcpt_put(s, &(struct recipient){.forward_path = asked->forward_path.text,
                    .orcpt = asked->orcpt,
                    .notify = asked->notify,
                    .lane = BYTES(RECIPIENT_LANE_REFUSED),
                    .last_status = buf_bytes(&status),
                    .last_reply = buf_bytes(&text)});
}

static void rcpt_take(struct session *s, const struct smtp_rcpt *asked, struct bytes forward_path, bool final)
{
    uint8_t room[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(room);
    struct recipient rcpt = {.forward_path = forward_path,
        .orcpt = asked->orcpt,
        .notify = asked->notify,
        .lane = final ? BYTES(RECIPIENT_LANE_FINAL) : BYTES_NONE};
    struct bytes reverse_path = s->verifying ? BYTES_NONE : depot_tx_head(s->tx)->reverse_path;

    if (verp_is_on(s->verp) && reverse_path.size > 0) {
        if (!is_ok(verp_put(&sender, reverse_path, s->verp, forward_path, true))) {
            rcpt_refuse(s, asked, REPLY(553, 5, 1, 7, "The sender's address with this recipient in it is too long"));
            return;
        }
        rcpt.sender = buf_bytes(&sender);
    }
    rcpt_put(s, &rcpt);
}

/* Of the open transaction; empty for the null reverse-path. */
static struct bytes sender_domain(const struct session *s)
{
    struct bytes sender = depot_tx_head(s->tx)->reverse_path;
    ptrdiff_t at = bytes_rindex(sender, '@');

    return at == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(sender, (size_t)at + 1);
}

/* What a known domain of ours and the rates say; true when it was refused. */
static bool rcpt_is_limited(struct session *s, const struct smtp_rcpt *rcpt, const struct policy_verdict *verdict)
{
    uint64_t size_max = verdict->domain == NULL ? 0 : verdict->domain->message_size;
    const struct reply *limited;

    if (verdict->role)
        return false;
    if (s->score_refuses) {
        s->rcpt_why = "score";
        session_answer_no(s, REPLY(550, 5, 7, 1, "Your server is not trusted here; the postmaster can be written to"));
        return true;
    }
    limited = session_limit_rcpt(s, sender_domain(s), verdict->domain);
    if (limited != NULL) {
        s->rcpt_why = "rate";
        session_answer_no(s, *limited);
        return true;
    }
    if (size_max > 0 && s->size_declared > size_max) {
        s->rcpt_why = "size";
        rcpt_refuse(s, rcpt, REPLY(552, 5, 3, 4, "The message is larger than this domain takes"));
        return true;
    }
    if (size_max > 0 && (s->size_max == 0 || size_max < s->size_max))
        s->size_max = size_max;
    return false;
}

/* RCPT and VRFY alike. */
static void recipient_judge(struct session *s, const struct smtp_rcpt *rcpt)
{
    uint8_t room_octets[POLICY_ROOM_SIZE], ascii_octets[DOMAIN_SIZE_MAX + 1];
    struct buf room = BUF(room_octets), ascii = BUF(ascii_octets);
    struct bytes domain = rcpt->forward_path.domain;
    struct policy_verdict verdict;

    if (bytes_has_8bit(domain)) {
        if (!is_ok(idna_to_ascii(domain, &ascii))) {
            rcpt_refuse(s, rcpt, REPLY(553, 5, 1, 2, "The domain is not a valid internationalized name"));
            return;
        }
        domain = buf_bytes(&ascii);
    }
    policy_rcpt(s->in->cfg, s->may_relay, &rcpt->forward_path, domain, &room, &verdict);
    if (!verdict.accept) {
        s->rcpt_why = verdict.why;
        rcpt_refuse(s, rcpt, verdict.reply);
        return;
    }
    if (!s->verifying && rcpt_is_limited(s, rcpt, &verdict))
        return;
    if (s->verifying && verdict.domain == NULL && !verdict.ask) {
        session_answer_no(s, REPLY(550, 5, 7, 1, "Not an address of ours"));
        return;
    }
    if (!verdict.ask) {
        rcpt_take(s, rcpt, verdict.forward_path, false);
        return;
    }
    s->asked = *rcpt;
    s->asked_path = rcpt->forward_path.text;
    s->question.owner = s;
    if (rcpt->forward_path.domain_kind == ADDRESS_DOMAIN_NONE &&
        !is_ok(arena_copy(&s->arena, verdict.forward_path, &s->asked_path)))
        session_rcpt_known(s, RCPT_LATER);
    else
        inquiry_ask(s->in->inquiry, &s->question, s->asked_path);
}

void session_check_rcpt(struct session *s, const struct smtp_rcpt *rcpt)
{
    struct smtp_rcpt wanted = *rcpt;

    s->verifying = false;
    if (is_ok(session_rewrite_rcpt(s, &wanted)))
        recipient_judge(s, &wanted);
    else
        session_answer_no(s, REPLY(452, 4, 3, 1, "Out of memory, try again later"));
}

void session_check_vrfy(struct session *s, const struct smtp_rcpt *rcpt)
{
    s->verifying = true;
    recipient_judge(s, rcpt);
}

/* The domain is none of ours after all. */
static void rcpt_elsewhere(struct session *s)
{
    uint8_t octets[DOMAIN_SIZE_MAX + 1];
    struct buf ascii = BUF(octets);
    struct bytes domain = s->asked.forward_path.domain;
    struct policy_verdict verdict;

    if (is_ok(idna_to_ascii(domain, &ascii)))
        domain = buf_bytes(&ascii);
    if (s->verifying) {
        session_answer_no(s, REPLY(550, 5, 7, 1, "Not an address of ours"));
        return;
    }
    policy_elsewhere(s->in->cfg, s->may_relay, domain, &verdict);
    if (verdict.accept) {
        rcpt_take(s, &s->asked, s->asked_path, false);
        return;
    }
    s->rcpt_why = verdict.why;
    rcpt_refuse(s, &s->asked, verdict.reply);
}

/* Puts what is whole into the queue. */
static void commit_go_on(struct session *s)
{
    const struct smtp_commit *commit = &s->asked_commit;
    struct envelope_head display = {
        .body_size = commit->body_size,
        .flags = (commit->header_8bit ? (uint32_t)ENVELOPE_HEADER_8BIT : 0) |
                 (commit->body_8bit ? (uint32_t)ENVELOPE_BODY_8BIT : 0),
        .message_id = commit->header_message_id,
        .subject = commit->header_subject,
    };
    struct reply refusal;

    if (s->letter == NULL) {
        depot_tx_commit(s->tx, &display);
    } else if (!letter_commit(s->letter, &display, &refusal)) {
        s->tx = NULL;
        session_answer_no(s, refusal);
        letter_free(&s->letter);
    }
}

static void author_refuse(struct session *s, struct reply reply)
{
    session_abort(s);
    session_answer_no(s, reply);
}

/* RFC 6409 6.1, for the address that readers see: each must be the login's. Goes on when lookup has said, where it must be asked. */
static void authors_check(struct session *s)
{
    static const struct reply unreadable = {550, {5, 6, 0}, BYTES_INIT("The From field cannot be read")};
    static const struct reply not_owned = {550, {5, 7, 1}, BYTES_INIT("The From field is not yours to write")};
    struct address author;
    struct result r;

    while (is_ok(r = letter_author(s->letter, s->author_count, &author))) {
        switch (address_owned(s, &author)) {
        case OWNED:
            s->author_count++;
            continue;
        case NOT_OWNED:
            author_refuse(s, not_owned);
            return;
        case OWNER_IS_ASKED:
            s->author_is_asked = true;
            inquiry_ask_sender(s->in->inquiry, &s->question, smtp_server_peer(&s->smtp)->login, author.text);
            return;
        }
    }
    if (r.code == CODE_GONE)
        commit_go_on(s);
    else
        author_refuse(s, unreadable);
}

static void author_known(struct session *s, enum rcpt_known known)
{
    s->author_is_asked = false;
    if (known == RCPT_FINAL) {
        s->author_count++;
        authors_check(s);
    } else if (known == RCPT_UNKNOWN) {
        author_refuse(s, REPLY(550, 5, 7, 1, "The From field is not yours to write"));
    } else {
        author_refuse(s, REPLY(451, 4, 3, 0, "The From field cannot be checked at present, try again later"));
    }
}

void session_commit(struct session *s, const struct smtp_commit *commit)
{
    session_limit_octets(s, sender_domain(s), commit->body_size);
    if (s->size_max > 0 && commit->body_size > s->size_max) {
        session_abort(s);
        session_answer_no(s, REPLY(552, 5, 3, 4, "The message is larger than a domain of its recipients takes"));
        return;
    }
    s->asked_commit = *commit;
    s->author_count = 0;
    if (s->letter != NULL && s->in->cfg->auth.from_owned && is_login(s))
        authors_check(s);
    else
        commit_go_on(s);
}

/* What lookup said of the recipient or sender, or what its silence means. */
void session_rcpt_known(void *owner, enum rcpt_known known)
{
    struct session *s = owner;

    if (s->author_is_asked) {
        author_known(s, known);
        session_go_on(s);
        return;
    }
    if (s->mail_is_asked) {
        mail_known(s, known);
        session_go_on(s);
        return;
    }
    switch (known) {
    case RCPT_ELSEWHERE:
        rcpt_elsewhere(s);
        break;
    case RCPT_FINAL:
    case RCPT_ALIAS:
        rcpt_take(s, &s->asked, s->asked_path, known == RCPT_FINAL);
        break;
    case RCPT_FORGED:
        s->rcpt_why = "srs_forged";
        rcpt_refuse(s, &s->asked, REPLY(550, 5, 7, 1, "This return address was not made here"));
        break;
    case RCPT_STALE:
        s->rcpt_why = "srs_stale";
        rcpt_refuse(s, &s->asked, REPLY(550, 5, 1, 1, "This return address is too old"));
        break;
    case RCPT_UNKNOWN:
        s->rcpt_why = "user_unknown";
        rcpt_refuse(s, &s->asked, REPLY(550, 5, 1, 1, "There is no such mailbox here"));
        break;
    default:
        s->rcpt_why = "lookup";
        session_answer_no(s, REPLY(451, 4, 3, 0, "The recipient cannot be checked at present, try again later"));
        break;
    }
    session_go_on(s);
}

/* What queued said of a committed transaction (or what its silence means). */
static void on_tx_done(void *owner, const struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply)
{
    const struct envelope_head *head = depot_tx_head(tx);
    struct message_id id = head->id;
    struct session *s = owner;

    if (outcome == TX_ACCEPTED)
        LOG(MESSAGE_ACCEPTED, LOG_NUM("session", s != NULL ? s->id.value : 0), LOG_TEXT("client", head->client),
            LOG_MSG("id", head->id), LOG_TEXT("from", head->reverse_path), LOG_NUM("recipients", head->rcpt_count),
            LOG_NUM("size", head->body_size), LOG_STR("protocol", s != NULL ? smtp_server_protocol(&s->smtp) : "gone"),
            LOG_TEXT("message_id", head->message_id));
    if (s == NULL)
        return; /* the client hung up; that is life */
    s->rcpts += outcome == TX_ACCEPTED ? head->rcpt_count : 0;
    if (s->tx == tx)
        s->tx = NULL;
    if (s->letter != NULL) {
        if (!letter_done(s->letter, tx, outcome, reply))
            return; /* other copies are on their way */
        outcome = letter_outcome(s->letter, &reply, &id);
    }
    switch (outcome) {
    case TX_ACCEPTED:
        s->messages++;
        answer_yes(s, id, head->arrival);
        break;
    case TX_NO_SPACE:
        session_answer_no(
            s, (struct reply){452, {4, 3, 1}, reply.size > 0 ? reply : BYTES("No room for mail at present")});
        break;
    case TX_REFUSED:
        session_answer_no(s, (struct reply){554, {5, 3, 0}, reply.size > 0 ? reply : BYTES("The message was refused")});
        break;
    default:
        session_answer_no(s, (struct reply){451, {4, 3, 0},
                                 reply.size > 0 ? reply : BYTES("The message could not be stored, try again later")});
        break;
    }
    letter_free(&s->letter);
    session_go_on(s);
}

static void on_credit(void *owner)
{
    session_go_on(owner);
}

static void on_stocked(void *context)
{
    struct inbound *in = context;

    if (in->stocked != NULL)
        in->stocked(in);
}

static void on_queue_lost(void *context)
{
    struct inbound *in = context;

    if (in->orphaned != NULL)
        in->orphaned(in);
}

const struct depot_handlers SESSION_DEPOT_HANDLERS = {
    .done = on_tx_done, .credit = on_credit, .stocked = on_stocked, .lost = on_queue_lost, .banned = session_banned};

void session_body(struct session *s, struct bytes body)
{
    if (s->letter != NULL)
        letter_body(s->letter, body);
    else
        depot_tx_body(s->tx, body);
}

void session_abort(struct session *s)
{
    if (s->letter != NULL) {
        s->tx = NULL;
        letter_free(&s->letter);
    }
    depot_tx_abort(&s->tx);
}

void session_mail_leave(struct session *s)
{
    if (s->letter != NULL)
        letter_leave(&s->letter);
    else if (s->tx != NULL)
        depot_tx_leave(&s->tx);
}
