/* Notifications, read as their receivers will read them; and the audit of a store that was opened again. */
#include "tests/sim/lib/ledger_parts.h"

/* --- fields of message/delivery-status --- */

struct report {
    struct bytes final, original, action, status, diagnostic, envid;
    bool any;
};

static bool field(struct bytes line, struct bytes name, struct bytes *value_out)
{
    if (!bytes_starts_nocase(line, name))
        return false;
    *value_out = bytes_trim(bytes_after(line, name.size));
    return true;
}

/* "rfc822; a@b" without the type. */
static struct bytes typed(struct bytes value)
{
    ptrdiff_t at = bytes_index(value, ';');

    return at < 0 ? value : bytes_trim(bytes_after(value, (size_t)at + 1));
}

static struct letter *about_letter(struct bytes body)
{
    ptrdiff_t at = bytes_find(body, BYTES("\r\nX-Sim: "));
    uint64_t number = 0;

    if (at < 0)
        return NULL;
    for (size_t i = (size_t)at + 9; i < body.size && body.data[i] >= '0' && body.data[i] <= '9'; i++)
        number = number * 10 + (body.data[i] - '0');
    if (number < 1 || number > ledger.letter_count)
        return NULL;
    struct letter *l = ledger.letters[number];
    for (uint32_t i = 0; i < l->rcpt_count; i++) { /* the copy of one blind recipient names him */
        char bcc[100];
        (void)snprintf(bcc, sizeof bcc, "\r\nBcc: %s\r\n", l->fates[i].address);
        if (l->fates[i].part != 0 && bytes_find(body, bytes_of(bcc)) >= 0)
            return ledger.letters[l->fates[i].part];
    }
    return l;
}

static enum dsn_kind kind_of(struct bytes action)
{
    static const struct bytes words[] = {[DSN_FAILED] = BYTES_INIT("failed"),
        [DSN_DELAYED] = BYTES_INIT("delayed"),
        [DSN_RELAYED] = BYTES_INIT("relayed"),
        [DSN_EXPANDED] = BYTES_INIT("expanded"),
        [DSN_DELIVERED] = BYTES_INIT("delivered")};

    for (enum dsn_kind kind = 0; kind < DSN_KIND_COUNT; kind++)
        if (bytes_equal_nocase(action, words[kind]))
            return kind;
    return DSN_KIND_COUNT;
}

/* Whom a report is about, of those with its address. */
static struct fate *report_fate(struct letter *about, struct bytes address, enum dsn_kind kind)
{
    struct fate *found = NULL;

    for (uint32_t i = 0; i < about->fate_count; i++) {
        struct fate *f = &about->fates[i];
        if (f->part != 0 || !bytes_equal_nocase(bytes_of(f->address), address))
            continue;
        bool fits = kind == DSN_EXPANDED || kind == DSN_DELIVERED ? f->expands != f->delivered : !f->expanded;
        if (found == NULL || fits)
            found = f;
        if (fits && (f->failed || f->delivered) && f->told[kind] == 0)
            break;
    }
    return found;
}

static void report_check(struct letter *about, const struct letter *dsn, const struct report *r)
{
    enum dsn_kind kind = kind_of(r->action);
    struct fate *f = report_fate(about, typed(r->final), kind);
    int64_t age_ms = world_walltime().ms - about->arrival.ms;

    if (f == NULL || kind == DSN_KIND_COUNT || r->status.size < 5) {
        world_wrong("letter %u: a report about %.*s, %.*s, %.*s", about->number, BYTES_ARG(r->final),
            BYTES_ARG(r->action), BYTES_ARG(r->status));
        return;
    }
    if (strcmp(fate_sender(about, f), dsn->fates[0].address) != 0)
        world_wrong("letter %u of <%s>: what became of %s is told to <%s>", about->number, fate_sender(about, f),
            f->address, dsn->fates[0].address);
    unsigned code = ledger_token_check(r->diagnostic, f, "notification");
    bool expired = bytes_equal(r->status, BYTES("4.4.7"));
    uint8_t class = r->status.data[0];
    if (kind == DSN_FAILED && class != '5' && !expired)
        world_wrong("letter %u, %s: failed with status %.*s", about->number, f->address, BYTES_ARG(r->status));
    if (kind == DSN_FAILED && expired && age_ms < ledger.cfg->retry.give_up_after_ms)
        world_wrong("letter %u, %s: expired after %" PRId64 " s", about->number, f->address, age_ms / 1000);
    if (kind == DSN_FAILED && !expired && code / 100 == 4 && !f->bounced)
        world_wrong("letter %u, %s: failed for a %u", about->number, f->address, code);
    if (kind == DSN_DELAYED && (class != '4' || age_ms < ledger.cfg->retry.warn_after_ms))
        world_wrong("letter %u, %s: delayed with status %.*s after %" PRId64 " s", about->number, f->address,
            BYTES_ARG(r->status), age_ms / 1000);
    if ((kind == DSN_RELAYED || kind == DSN_DELIVERED || kind == DSN_EXPANDED) && class != '2')
        world_wrong("letter %u, %s: success with status %.*s", about->number, f->address, BYTES_ARG(r->status));
    if (f->orcpt[0] != 0 && !bytes_equal(typed(r->original), bytes_of(f->orcpt)))
        world_wrong("letter %u, %s: ORCPT came back as %.*s", about->number, f->address, BYTES_ARG(r->original));
    f->told[kind]++;
    f->told_turn = ledger.turn;
    if (kind == DSN_FAILED && f->told[kind] > 1)
        world_wrong("letter %u, %s: its failure is told twice", about->number, f->address);
}

/* Lines unfolded into `room`; true while there is one. */
static bool line_next(struct bytes *rest, struct heap_buf *room)
{
    room->size = 0;
    if (rest->size == 0)
        return false;
    for (;;) {
        ptrdiff_t end = bytes_index(*rest, '\n');
        size_t size = end < 0 ? rest->size : (size_t)end + 1;
        struct bytes line = bytes_head(*rest, size);
        while (line.size > 0 && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r'))
            line.size--;
        heap_buf_put(room, line);
        *rest = bytes_after(*rest, size);
        if (line.size == 0 || rest->size == 0 || (rest->data[0] != ' ' && rest->data[0] != '\t'))
            return true;
    }
}

static void status_part_read(struct letter *about, const struct letter *dsn, struct bytes body)
{
    struct heap_buf room[6] = {{0}};
    struct report r = {0};
    struct heap_buf line = {0};
    ptrdiff_t at = bytes_find(body, BYTES("Content-Type: message/delivery-status"));
    unsigned groups = 0, reports = 0;
    struct bytes value;

    if (at < 0)
        at = bytes_find(body, BYTES("Content-Type: message/global-delivery-status"));
    struct bytes rest = at < 0 ? BYTES_NONE : bytes_after(body, (size_t)at);
    struct bytes *const to[] = {&r.final, &r.original, &r.action, &r.status, &r.diagnostic, &r.envid};
    static const struct bytes names[] = {BYTES_INIT("Final-Recipient:"), BYTES_INIT("Original-Recipient:"),
        BYTES_INIT("Action:"), BYTES_INIT("Status:"), BYTES_INIT("Diagnostic-Code:"),
        BYTES_INIT("Original-Envelope-Id:")};
    while (line_next(&rest, &line)) {
        struct bytes text = heap_buf_bytes(&line);
        bool end = bytes_starts(text, BYTES("--"));
        if (text.size == 0 || end) {
            if (groups == 1 && about->envid != NULL && !bytes_equal(r.envid, bytes_of(about->envid)))
                world_wrong("letter %u: ENVID came back as %.*s", about->number, BYTES_ARG(r.envid));
            if (r.final.size > 0) {
                report_check(about, dsn, &r);
                reports++;
            }
            r = (struct report){0};
            groups++;
            if (end)
                break;
            continue;
        }
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (field(text, names[i], &value)) {
                room[i].size = 0;
                heap_buf_put(&room[i], value);
                *to[i] = heap_buf_bytes(&room[i]);
            }
    }
    if (reports == 0)
        world_wrong("letter %u: a notification without a report", about->number);
    for (size_t i = 0; i < COUNT_OF(room); i++)
        heap_buf_free(&room[i]);
    heap_buf_free(&line);
}

static void dsn_check(struct letter *about, struct letter *dsn)
{
    struct bytes body = heap_buf_bytes(&dsn->body);
    char mark[40];

    dsn->about = about->number;
    if (about->from[0] == 0 || about->is_dsn)
        world_wrong("letter %u has no sender to be told, and a notification", about->number);
    (void)snprintf(mark, sizeof mark, "BODY-MARK-%u\r\n", about->number);
    if (about->ret == DSN_RET_HDRS && bytes_find(body, bytes_of(mark)) >= 0)
        world_wrong("letter %u asked for RET=HDRS and its body came back", about->number);
    status_part_read(about, dsn, body);
}

/* Inside a read of the store. */
static void dsn_read(struct message_id id)
{
    struct envelope_head head;
    struct recipient rcpt;
    struct bytes piece;
    uint64_t cursor = 0;

    struct result r = store_message_get(ledger.store, id, &head);
    if (is_ok(r))
        r = store_recipient_next(ledger.store, id, &cursor, &rcpt);
    if (!is_ok(r)) {
        world_wrong("a notification was logged and is not in the queue");
        return;
    }
    struct letter *l = ledger_letter_new("", 1);
    l->is_dsn = l->whole = l->committed = true;
    l->commit_turn = ledger.turn;
    l->arrival = head.arrival;
    letter_id_set(l, id);
    (void)snprintf(l->fates[0].address, sizeof l->fates[0].address, "%.*s", BYTES_ARG(rcpt.forward_path));
    l->fates[0].accepted = l->fates[0].has_n = true;
    l->fates[0].n = rcpt.n;
    l->fates[0].expands = bytes_equal(rcpt.lane, BYTES("expand"));
    l->fates[0].notify = DSN_NOTIFY_NEVER;
    if (head.reverse_path.size > 0)
        world_wrong("a notification has a sender");
    for (uint64_t at = 0; is_ok(store_body_get(ledger.store, id, at, 65536, &piece)); at += piece.size)
        heap_buf_put(&l->body, piece);
    l->utf8 = bytes_has_8bit(header_of(heap_buf_bytes(&l->body)));
    if (bytes_has_8bit(heap_buf_bytes(&l->body)))
        world_fault(FAULT_DSN_UTF8);
    struct letter *about = about_letter(heap_buf_bytes(&l->body));
    if (about == NULL)
        world_wrong("a notification about nothing");
    else
        dsn_check(about, l);
    ledger.dsns++;
}

void ledger_dsn_born(struct message_id id)
{
    struct result r = store_read_begin(ledger.store);

    ASSERT(is_ok(r));
    dsn_read(id);
    store_read_end(ledger.store);
}

/* --- the audit --- */

static bool row_is_there(struct letter *l, const struct fate *f)
{
    struct recipient rcpt;
    uint64_t cursor = 0;

    while (is_ok(store_recipient_next(ledger.store, l->id, &cursor, &rcpt)))
        if (fate_has_row(f, &rcpt))
            return true;
    return false;
}

void ledger_deleted_look(void)
{
    for (uint32_t i = 1; i <= ledger.letter_count && ledger.store != NULL; i++) {
        struct letter *l = ledger.letters[i];
        for (uint32_t k = 0; l->orders && !l->over && k < l->fate_count; k++) {
            struct fate *f = &l->fates[k];
            if (f->part != 0 || !f->delete_asked || fate_is_resolved(f) || !f->accepted ||
                !is_ok(store_read_begin(ledger.store)))
                continue;
            f->deleted = !row_is_there(l, f);
            store_read_end(ledger.store);
            if (f->deleted) {
                f->resolved_turn = ledger.turn;
                ledger.deleted++;
            }
        }
    }
}

/* The last turn may have been undone with its commit: what it said is taken back where the rows say so. */
static void letter_undo(struct letter *l, bool there)
{
    if (l->commit_turn == ledger.turn && !there && l->committed) {
        l->committed = false;
        l->over = true;
        for (uint32_t k = 0; k < l->fate_count; k++)
            l->fates[k].accepted = l->fates[k].failed = l->fates[k].discarded = false;
        if (!l->is_dsn || l->about == 0)
            return;
        struct letter *about = ledger.letters[l->about];
        for (uint32_t k = 0; k < about->fate_count; k++)
            if (about->fates[k].told_turn == ledger.turn)
                memset(about->fates[k].told, 0, sizeof about->fates[k].told);
    }
}

static void letter_audit(struct letter *l, bool cut)
{
    struct envelope_head head;
    bool there = l->id.value != 0 && is_ok(store_message_get(ledger.store, l->id, &head));

    if (cut)
        letter_undo(l, there);
    if (there && !l->committed) { /* it became durable, and nobody was told */
        l->committed = true;
        l->over = false;
        l->commit_turn = ledger.turn;
        if (!l->is_dsn && !l->whole)
            world_wrong("letter %u is in the queue, but was never whole", l->number);
        for (uint32_t k = 0; k < l->fate_count; k++)
            l->fates[k].accepted = row_is_there(l, &l->fates[k]);
        letter_rows(l);
    }
    if (!l->committed)
        return;
    if (cut && there)
        letter_unexpand(l);
    for (uint32_t k = 0; k < l->fate_count; k++) {
        struct fate *f = &l->fates[k];
        if (f->part != 0)
            continue;
        bool row = there && row_is_there(l, f);
        if (row && fate_is_resolved(f)) {
            if (!cut || f->resolved_turn != ledger.turn)
                world_wrong("letter %u, %s: resolved, and back in the queue", l->number, f->address);
            f->delivered = f->failed = f->discarded = f->deleted = f->expanded = false;
            l->over = false;
        }
        if (!row && f->accepted && !fate_is_resolved(f))
            world_wrong("letter %u, %s: gone from the queue without a result", l->number, f->address);
    }
}

void ledger_audit(struct store *store, bool cut)
{
    struct envelope_head head = {0};
    uint32_t known = ledger.letter_count;

    ledger.store = store;
    struct result r = store_read_begin(store);
    ASSERT(is_ok(r));
    for (uint32_t i = 1; i <= known; i++)
        letter_audit(ledger.letters[i], cut);
    while (is_ok(store_message_next(store, head.id, &head))) {
        struct message_id id = head.id;
        if (ledger_find(id) != NULL)
            continue;
        if (head.origin == ORIGIN_DSN && cut)
            dsn_read(id);
        else
            world_wrong("the queue holds a message that nobody wrote");
        head.id = id;
    }
    store_read_end(store);
}
