/* The report is written in one pass into the caller's room. What is too much for the room is left away in steps (`forms`):
 * first the original's body, then long replies, at last the replies altogether; addresses and status codes stay.
 *
 *   multipart/report
 *     text/plain                      for people
 *     message/delivery-status         for programs          (or message/global-delivery-status, RFC 6533)
 *     message/rfc822                  the original, whole   (or message/global)
 *     or text/rfc822-headers          its header            (or message/global-headers) */
#include "queue/dsn.h"
#include "queue/dsn_reason.h"
#include "queue/dsn_text.h"

enum {
    HEADER_LEAST_SIZE = 4096,  /* of the original's header, what should find room */
    LINE_SIZE_MAX = 998,       /* RFC 5322 2.1.1 */
    HUMAN_RECIPIENTS_MAX = 10, /* in the least form; the second part has them all */
    BOUNDARY_TRIES_MAX = 100000,
};

struct dsn_form {
    bool whole; /* the original with its body */
    size_t reply_size_max;
    bool
        least; /* few recipients in the first part, no field that RFC 3464 lets us leave away, what is left for the header */
};

static const struct dsn_form forms[] = {
    {true, REPLY_KEPT_SIZE_MAX, false},
    {false, REPLY_KEPT_SIZE_MAX, false},
    {false, 1000, false},
    {false, 200, false},
    {false, 0, true},
};

struct dsn_state {
    struct dsn_writer w;
    const struct dsn_config *cfg;
    const struct dsn_report *report;
    struct dsn_form form;
    bool utf8;           /* RFC 6533 */
    bool human_qp;       /* the first part holds UTF-8 in a 7-bit report */
    struct bytes header; /* of the original, its last CRLF included */
    bool header_clean;   /* 7-bit (or UTF-8 in a UTF-8 report), CRLF only, no line over 998 */
    bool original_8bit;
    uint8_t boundary_room[64];
    struct bytes boundary;
};

/* What tells the kinds apart. */
static const struct {
    const char *name, *subject, *heading;
    const char *status; /* when the recipient's own is of no use */
    uint8_t status_class;
} kinds[DSN_KIND_COUNT] = {
    [DSN_FAILED] = {"failed", "Your message could not be delivered",
        "Your message could not be delivered to the recipients listed below.\n"
        "No further attempt will be made for them.\n",
        "5.0.0", 5},
    [DSN_DELAYED] = {"delayed", "Your message is delayed",
        "Your message has not yet been delivered to the recipients listed below.\n"
        "You need not do anything and should not send it again: delivery will be\n"
        "tried further, and you will be told if it fails for good.\n",
        "4.0.0", 4},
    [DSN_RELAYED] = {"relayed", "Your message was passed on",
        "Your message was passed on for the recipients listed below, to mail systems\n"
        "that do not confirm delivery. You will not hear more of it unless it fails.\n",
        "2.0.0", 2},
    [DSN_EXPANDED] = {"expanded", "Your message was passed to a list",
        "Your message reached the addresses listed below and was passed on to the\n"
        "members behind them.\n",
        "2.0.0", 2},
    [DSN_DELIVERED] = {"delivered", "Your message was delivered",
        "Your message was delivered to the recipients listed below.\n", "2.0.0", 2},
};

const char *dsn_kind_name(enum dsn_kind kind)
{
    ASSERT(kind < DSN_KIND_COUNT);
    return kinds[kind].name;
}

bool dsn_wanted(enum dsn_kind kind, const struct envelope_head *head, const struct recipient *rcpt)
{
    if (head->reverse_path.size == 0 || (rcpt->notify & DSN_NOTIFY_NEVER) != 0)
        return false;
    switch (kind) {
    case DSN_FAILED:
        return rcpt->notify == 0 || (rcpt->notify & DSN_NOTIFY_FAILURE) != 0;
    case DSN_DELAYED:
        return !rcpt->warned && (rcpt->notify == 0 || (rcpt->notify & DSN_NOTIFY_DELAY) != 0);
    case DSN_RELAYED:
    case DSN_EXPANDED:
    case DSN_DELIVERED:
        return (rcpt->notify & DSN_NOTIFY_SUCCESS) != 0;
    case DSN_KIND_COUNT:
        break;
    }
    ASSERT(kind < DSN_KIND_COUNT);
    return false;
}

/* --- looking at the original --- */

/* The line at the front of `rest`, with its CRLF unless the content ends before. */
static struct bytes line_first(struct bytes rest)
{
    ptrdiff_t end = bytes_find(rest, BYTES("\r\n"));
    return bytes_head(rest, end < 0 ? rest.size : (size_t)end + 2);
}

static struct bytes line_without_end(struct bytes line)
{
    if (line.size >= 2 && line.data[line.size - 2] == '\r' && line.data[line.size - 1] == '\n')
        line.size -= 2;
    return line;
}

/* The header block: whole lines only, unless the message itself ends within one. */
static struct bytes header_of(struct bytes content, bool whole)
{
    size_t size = 0;

    for (struct bytes rest = content; rest.size > 0;) {
        struct bytes line = line_first(rest), text = line_without_end(line);
        if (text.size == 0 || (text.size == line.size && !whole))
            break;
        size += line.size;
        rest = bytes_after(rest, line.size);
    }
    return bytes_head(content, size);
}

/* Whether the lines may go out as they stand. */
static bool lines_are_clean(struct bytes text)
{
    while (text.size > 0) {
        struct bytes line = line_first(text), inner = line_without_end(line);
        if (inner.size > LINE_SIZE_MAX || bytes_index(inner, '\r') >= 0 || bytes_index(inner, '\n') >= 0 ||
            bytes_index(inner, '\0') >= 0)
            return false;
        text = bytes_after(text, line.size);
    }
    return true;
}

static void original_judge(struct dsn_state *s)
{
    const struct dsn_report *report = s->report;
    const struct envelope_head *head = report->original;
    struct bytes content = bytes_head(report->content, DSN_ORIGINAL_SIZE_MAX);
    bool whole = report->content_is_whole && content.size == report->content.size;

    s->header = header_of(content, whole);
    s->header_clean = lines_are_clean(s->header) && (s->utf8 ? dsn_utf8_is(s->header) : !bytes_has_8bit(s->header));
    s->original_8bit = bytes_has_8bit(content);
    /* RFC 3461 4.3: RET speaks of failures only; all other reports return the header. message/rfc822 can be neither folded nor
     * encoded, so a message that could not go out as it stands is not returned whole. */
    s->form.whole = s->form.whole && whole && report->kind == DSN_FAILED && head->ret != DSN_RET_HDRS &&
                    content.size <= s->cfg->return_size_max && head->body_type != BODY_BINARYMIME && s->header_clean &&
                    lines_are_clean(content);
}

/* A boundary that is nowhere in the original. Parts in quoted-printable cannot hold "=_", and all that comes from elsewhere
 * stands behind words of ours. */
static void boundary_choose(struct dsn_state *s)
{
    for (unsigned tries = 0; tries < BOUNDARY_TRIES_MAX; tries++) {
        struct buf b = BUF(s->boundary_room);
        bool fits = is_ok(buf_put_str(&b, "=_report_")) && is_ok(buf_put_u64(&b, s->report->id.value)) &&
                    is_ok(buf_put_octet(&b, '_')) && is_ok(buf_put_u64(&b, tries));
        ASSERT(fits);
        s->boundary = buf_bytes(&b);
        if (bytes_find(s->report->content, s->boundary) < 0)
            return;
    }
    s->w.full = true; /* more than an original of DSN_ORIGINAL_SIZE_MAX can hold */
}

/* --- pieces --- */

/* The recipient's status when it fits the kind, else the kind's own. A message that was given up keeps its 4.x.x. */
static struct enhanced_status status_of(const struct dsn_report *report, const struct dsn_recipient *r)
{
    struct enhanced_status status, fallback = {kinds[report->kind].status_class, 0, 0};

    if (!is_ok(dsn_status_parse(r->status, &status)))
        return fallback;
    if (status.class != fallback.class && !(report->kind == DSN_FAILED && status.class == 4))
        return fallback;
    return status;
}

static void status_put(struct dsn_writer *w, struct enhanced_status status)
{
    dsn_number(w, status.class);
    dsn_say(w, ".");
    dsn_number(w, status.subject);
    dsn_say(w, ".");
    dsn_number(w, status.detail);
}

static void boundary_put(struct dsn_state *s, bool last)
{
    dsn_say(&s->w, "--");
    dsn_value(&s->w, s->boundary, false);
    dsn_say(&s->w, last ? "--\n" : "\n");
}

static void id_put(struct dsn_writer *w, struct message_id id)
{
    uint8_t room[MESSAGE_ID_SIZE_MAX];
    struct buf text = BUF(room);

    if (!is_ok(message_id_put(&text, id)))
        w->full = true;
    dsn_value(w, buf_bytes(&text), false);
}

/* <left@right> in printable ASCII: anything else in a Message-ID field is better not repeated in fields of ours. */
static bool message_id_is_plain(struct bytes id)
{
    if (id.size < 5 || id.data[0] != '<' || id.data[id.size - 1] != '>' || bytes_index(id, '@') < 0)
        return false;
    for (size_t i = 1; i + 1 < id.size; i++)
        if (id.data[i] <= ' ' || id.data[i] > 126 || id.data[i] == '<' || id.data[i] == '>')
            return false;
    return true;
}

static void header_put(struct dsn_state *s, bool body_8bit)
{
    const struct dsn_report *report = s->report;
    const struct envelope_head *head = report->original;
    struct dsn_writer *w = &s->w;

    dsn_say(w, "Date: ");
    dsn_date(w, report->now);
    dsn_say(w, "\nFrom: Mail Delivery System <MAILER-DAEMON@");
    dsn_value(w, s->cfg->hostname, false);
    dsn_say(w, ">\nTo: <");
    dsn_value(w, head->reverse_path, true);
    dsn_say(w, ">\nSubject: ");
    dsn_say(w, kinds[report->kind].subject);
    dsn_say(w, "\nMessage-ID: <");
    id_put(w, report->id);
    dsn_say(w, ".report@");
    dsn_value(w, s->cfg->hostname, false);
    dsn_say(w, ">\n");
    if (message_id_is_plain(head->message_id)) {
        dsn_say(w, "In-Reply-To: ");
        dsn_value(w, head->message_id, false);
        dsn_say(w, "\nReferences: ");
        dsn_value(w, head->message_id, false);
        dsn_say(w, "\n");
    }
    dsn_say(w, "MIME-Version: 1.0\n"
               "Auto-Submitted: auto-replied\n"
               "Content-Type: multipart/report; report-type=delivery-status;\n"
               " boundary=\"");
    dsn_value(w, s->boundary, false);
    dsn_say(w, body_8bit ? "\"\nContent-Transfer-Encoding: 8bit\n\n" : "\"\n\n");
}

/* --- for people --- */

static void human_recipient_put(struct dsn_state *s, const struct dsn_recipient *r)
{
    const struct dsn_report *report = s->report;
    struct dsn_writer *w = &s->w;
    struct enhanced_status status = status_of(report, r);
    const struct dsn_reason *reason = dsn_reason_find(status);
    bool trouble = report->kind == DSN_FAILED || report->kind == DSN_DELAYED;

    dsn_say(w, "\n<");
    dsn_value(w, r->forward_path, true);
    dsn_say(w, ">\n");
    if (trouble) {
        dsn_say(w, "  ");
        dsn_words(w, bytes_of(reason->what), "  ", SIZE_MAX);
        dsn_say(w, "\n");
    }
    if (report->kind == DSN_FAILED) {
        if (status.class == 4 && r->attempts > 0) {
            dsn_say(w, "  It was tried ");
            dsn_number(w, r->attempts);
            dsn_say(w, r->attempts == 1 ? " time.\n" : " times, until the time allowed for it had run out.\n");
        }
        dsn_say(w, "  ");
        dsn_words(w, bytes_of(reason->advice), "  ", SIZE_MAX);
        dsn_say(w, "\n");
    }
    if (report->kind == DSN_DELAYED && r->will_retry_until.ms > 0 && r->will_retry_until.ms != INT64_MAX) {
        dsn_say(w, "  It will be tried until ");
        dsn_date(w, r->will_retry_until);
        dsn_say(w, ".\n");
    }
    if (r->reply.size == 0 || s->form.reply_size_max == 0)
        return;
    if (r->reply_is_smtp) {
        dsn_say(w, "  The answer of ");
        if (r->host.size > 0)
            dsn_value(w, r->host, false);
        else
            dsn_say(w, "the receiving mail server");
        dsn_say(w, " was:\n    ");
    } else {
        dsn_say(w, "  The reason that our mail system noted:\n    ");
    }
    dsn_words(w, r->reply, "    ", s->form.reply_size_max);
    dsn_say(w, "\n");
}

static void human_put(struct dsn_state *s)
{
    const struct dsn_report *report = s->report;
    const struct envelope_head *head = report->original;
    struct dsn_writer *w = &s->w;
    size_t shown = report->recipient_count;

    boundary_put(s, false);
    dsn_say(w, "Content-Type: text/plain; charset=");
    dsn_say(w, s->utf8 || s->human_qp ? "utf-8" : "us-ascii");
    dsn_say(w, s->utf8       ? "\nContent-Transfer-Encoding: 8bit\n"
               : s->human_qp ? "\nContent-Transfer-Encoding: quoted-printable\n"
                             : "\n");
    dsn_say(w, "Content-Description: Notification\n\n");
    w->qp = s->human_qp;
    dsn_say(w, "This is the mail system at ");
    dsn_value(w, s->cfg->hostname, false);
    dsn_say(w, ".\n\n");
    dsn_say(w, kinds[report->kind].heading);
    dsn_say(w, "\n  Your message of: ");
    dsn_date(w, head->arrival);
    /* An encoded subject tells a reader nothing, and raw octets have no known letters. */
    if (head->subject.size > 0 && dsn_utf8_is(head->subject) && bytes_find(head->subject, BYTES("=?")) < 0) {
        dsn_say(w, "\n  Subject:         ");
        dsn_words(w, head->subject, "                   ", DISPLAY_FIELD_SIZE_MAX);
    }
    dsn_say(w, "\n  Our number:      ");
    id_put(w, head->id);
    dsn_say(w, "\n");
    if (s->form.least && shown > HUMAN_RECIPIENTS_MAX)
        shown = HUMAN_RECIPIENTS_MAX;
    for (size_t i = 0; i < shown; i++)
        human_recipient_put(s, &report->recipients[i]);
    if (shown < report->recipient_count) {
        dsn_say(w, "\nand ");
        dsn_number(w, report->recipient_count - shown);
        dsn_say(w, " more recipients, who are listed in the second part of this report.\n");
    }
    dsn_say(w, "\n");
    w->qp = false;
}

/* --- for programs --- */

static void address_put(struct dsn_state *s, const char *field, struct bytes address)
{
    struct dsn_writer *w = &s->w;

    dsn_say(w, field);
    dsn_say(w, bytes_has_8bit(address) ? "utf-8; " : "rfc822; ");
    dsn_value(w, address, !s->form.least); /* \x{…} is four times as long: not where a hundred of them must fit */
    dsn_say(w, "\n");
}

/* RFC 3464 2.3.1: the type is an atom of the sender's choosing; one that is no atom is not repeated. */
static void original_recipient_put(struct dsn_state *s, struct bytes orcpt)
{
    struct dsn_writer *w = &s->w;
    ptrdiff_t semicolon = bytes_index(orcpt, ';');
    struct bytes type = bytes_head(orcpt, semicolon < 0 ? 0 : (size_t)semicolon);
    struct bytes address = semicolon < 0 ? orcpt : bytes_after(orcpt, (size_t)semicolon + 1);
    bool atom = type.size > 0 && type.size <= 40;

    if (address.size == 0)
        return;
    for (size_t i = 0; i < type.size; i++) {
        uint8_t low = octet_lower(type.data[i]);
        atom = atom && ((low >= 'a' && low <= 'z') || (low >= '0' && low <= '9') || low == '-');
    }
    if (!atom || bytes_equal_nocase(type, BYTES("rfc822"))) {
        address_put(s, "Original-Recipient: ", address);
        return;
    }
    dsn_say(w, "Original-Recipient: ");
    dsn_value(w, type, false);
    dsn_say(w, "; ");
    dsn_value(w, address, !s->form.least);
    dsn_say(w, "\n");
}

static void status_recipient_put(struct dsn_state *s, const struct dsn_recipient *r)
{
    const struct dsn_report *report = s->report;
    struct dsn_writer *w = &s->w;

    dsn_say(w, "\n");
    original_recipient_put(s, r->orcpt);
    address_put(s, "Final-Recipient: ", r->forward_path);
    dsn_say(w, "Action: ");
    dsn_say(w, kinds[report->kind].name);
    dsn_say(w, "\nStatus: ");
    status_put(w, status_of(report, r));
    dsn_say(w, "\n");
    if (r->reply_is_smtp && r->host.size > 0 && !s->form.least) {
        dsn_say(w, "Remote-MTA: dns; ");
        dsn_value(w, r->host, false);
        dsn_say(w, "\n");
    }
    if (r->reply.size > 0 && s->form.reply_size_max > 0) {
        dsn_say(w, r->reply_is_smtp ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: X-Mansio; ");
        dsn_words(w, r->reply, " ", s->form.reply_size_max);
        dsn_say(w, "\n");
    }
    if (r->last_attempt.ms > 0 && !s->form.least) {
        dsn_say(w, "Last-Attempt-Date: ");
        dsn_date(w, r->last_attempt);
        dsn_say(w, "\n");
    }
    if (report->kind == DSN_DELAYED && r->will_retry_until.ms > 0 && r->will_retry_until.ms != INT64_MAX) {
        dsn_say(w, "Will-Retry-Until: ");
        dsn_date(w, r->will_retry_until);
        dsn_say(w, "\n");
    }
}

static void status_put_all(struct dsn_state *s)
{
    const struct envelope_head *head = s->report->original;
    struct dsn_writer *w = &s->w;

    boundary_put(s, false);
    dsn_say(w, s->utf8 ? "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n"
                       : "Content-Type: message/delivery-status\n");
    dsn_say(w, "Content-Description: Delivery report\n\n");
    if (head->envid.size > 0) {
        dsn_say(w, "Original-Envelope-Id: ");
        dsn_value(w, head->envid, false);
        dsn_say(w, "\n");
    }
    dsn_say(w, "Reporting-MTA: dns; ");
    dsn_value(w, s->cfg->hostname, false);
    dsn_say(w, "\nArrival-Date: ");
    dsn_date(w, head->arrival);
    dsn_say(w, "\nX-Mansio-ID: ");
    id_put(w, head->id);
    dsn_say(w, "\n");
    for (size_t i = 0; i < s->report->recipient_count; i++)
        status_recipient_put(s, &s->report->recipients[i]);
    dsn_say(w, "\n");
}

/* --- the original --- */

static void original_whole_put(struct dsn_state *s)
{
    struct dsn_writer *w = &s->w;

    boundary_put(s, false);
    dsn_say(w, s->utf8 ? "Content-Type: message/global\n" : "Content-Type: message/rfc822\n");
    if (s->original_8bit)
        dsn_say(w, "Content-Transfer-Encoding: 8bit\n");
    dsn_say(w, "Content-Description: Your message\n\n");
    w->full = w->full || !is_ok(buf_put(w->out, s->report->content));
    dsn_end_line(w);
}

/* As many lines of the header as there is room for, so that the end of the report still fits. */
static void original_header_put(struct dsn_state *s)
{
    enum { END_SIZE = 128 };
    struct dsn_writer *w = &s->w;
    size_t put = 0;

    boundary_put(s, false);
    dsn_say(w, s->utf8 ? "Content-Type: message/global-headers\n" : "Content-Type: text/rfc822-headers\n");
    if (!s->header_clean)
        dsn_say(w, "Content-Transfer-Encoding: quoted-printable\n");
    else if (s->utf8)
        dsn_say(w, "Content-Transfer-Encoding: 8bit\n");
    dsn_say(w, "Content-Description: The header of your message\n\n");
    w->qp = !s->header_clean;
    while (put < s->header.size && !w->full) {
        struct bytes line = line_first(bytes_after(s->header, put));
        struct buf before = *w->out;

        dsn_original_line(w, line_without_end(line));
        if (w->full || buf_left(w->out) < END_SIZE) {
            *w->out = before;
            w->full = !s->form.least && put < HEADER_LEAST_SIZE;
            break;
        }
        put += line.size;
    }
    w->qp = false;
    dsn_say(w, "\n");
}

/* --- the whole --- */

/* A reply in letters beyond ASCII is worth an encoding in the part for people. */
static bool human_needs_qp(const struct dsn_report *report)
{
    if (bytes_has_8bit(report->original->subject) && dsn_utf8_is(report->original->subject))
        return true;
    for (size_t i = 0; i < report->recipient_count; i++)
        if (bytes_has_8bit(report->recipients[i].reply) && dsn_utf8_is(report->recipients[i].reply))
            return true;
    return false;
}

static bool addresses_have_8bit(const struct dsn_report *report)
{
    if (bytes_has_8bit(report->original->reverse_path))
        return true;
    for (size_t i = 0; i < report->recipient_count; i++)
        if (bytes_has_8bit(report->recipients[i].forward_path))
            return true;
    return false;
}

/* One form of the report; false when there is no room for it. */
static bool form_write(struct dsn_state *s, bool *body_8bit_out)
{
    original_judge(s);
    *body_8bit_out = s->utf8 || (s->form.whole && s->original_8bit);
    header_put(s, *body_8bit_out);
    human_put(s);
    status_put_all(s);
    if (s->form.whole)
        original_whole_put(s);
    else
        original_header_put(s);
    boundary_put(s, true);
    return !s->w.full;
}

RESULT dsn_write(struct buf *out, const struct dsn_config *cfg, const struct dsn_report *report,
    enum body_type *body_type_out, bool *utf8_out)
{
    struct dsn_state base = {.cfg = cfg, .report = report, .utf8 = addresses_have_8bit(report)};
    struct buf before = *out;

    ASSERT(report->kind < DSN_KIND_COUNT && report->recipient_count > 0);
    base.human_qp = !base.utf8 && human_needs_qp(report);
    boundary_choose(&base);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct dsn_state s = base;
        bool body_8bit;

        *out = before;
        s.w.out = out;
        s.w.utf8 = s.utf8;
        s.boundary.data = s.boundary_room;
        s.form = forms[i];
        if (!form_write(&s, &body_8bit))
            continue;
        *body_type_out = body_8bit ? BODY_8BITMIME : BODY_7BIT;
        *utf8_out = s.utf8;
        return OK;
    }
    *out = before;
    return FAIL(CODE_FULL, "no room for the notification");
}
