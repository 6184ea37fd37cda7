#include "tests/sim/lib/ledger_parts.h"

#include "tests/sim/lib/house.h"
#include "tests/sim/lib/kin.h"

enum { BUCKETS = 4096, WAIT_BOUND_MS = 10 * MINUTE };

struct ledger ledger;

static struct letter *by_number(uint32_t number)
{
    return number >= 1 && number <= ledger.letter_count ? ledger.letters[number] : NULL;
}

/* --- letters --- */

struct letter *ledger_letter_new(const char *from, uint32_t rcpt_count)
{
    struct letter *l = world_take(sizeof *l);

    if (ledger.letter_count + 2 > ledger.letter_room) {
        ledger.letter_room = ledger.letter_room == 0 ? 64 : 2 * ledger.letter_room;
        ledger.letters = realloc(ledger.letters, ledger.letter_room * sizeof(struct letter *));
        ASSERT(ledger.letters != NULL);
        ledger.letters[0] = NULL;
    }
    l->number = ++ledger.letter_count;
    ledger.letters[l->number] = l;
    (void)snprintf(l->from, sizeof l->from, "%s", from);
    l->fates = world_take(rcpt_count * sizeof *l->fates);
    l->fate_count = l->rcpt_count = rcpt_count;
    return l;
}

struct letter *ledger_letter(const char *from, uint32_t rcpt_count)
{
    return ledger_letter_new(from, rcpt_count);
}

void letter_id_set(struct letter *l, struct message_id id)
{
    l->id = id;
}

struct letter *ledger_find(struct message_id id)
{
    for (uint32_t i = ledger.letter_count; i > 0; i--)
        if (message_id_equal(ledger.letters[i]->id, id))
            return ledger.letters[i];
    return NULL;
}

struct fate *letter_fate(struct letter *l, struct bytes address)
{
    struct fate *found = NULL;

    for (uint32_t i = 0; i < l->fate_count; i++)
        if (l->fates[i].part == 0 && bytes_equal_nocase(bytes_of(l->fates[i].address), address) &&
            (found == NULL || found->expands))
            found = &l->fates[i];
    return found;
}

/* A copy for one blind recipient takes his fate over, once it is known who he is. */
static void part_claim(struct letter *part, struct bytes address)
{
    struct letter *l = part->part_of == 0 ? NULL : ledger.letters[part->part_of];
    struct fate *f = l == NULL || part->fate_count > 0 ? NULL : letter_fate(l, address);

    if (f == NULL)
        return;
    if (!f->blind)
        world_wrong("letter %u, %s: a copy of his own although he is not blind", l->number, f->address);
    free(part->fates);
    part->fates = world_take(sizeof *part->fates);
    part->fates[0] = *f;
    part->fate_count = part->rcpt_count = 1;
    f->part = part->number;
}

/* One more of the messages that a letter became. */
static struct letter *part_new(struct letter *l)
{
    struct letter *part = ledger_letter_new(l->from, 0);

    part->part_of = l->number;
    part->split = part->submitted = part->whole = true;
    part->utf8 = l->utf8;
    part->eight_bit = l->eight_bit;
    part->envid = l->envid;
    part->ret = l->ret;
    part->sender = l->sender;
    part->must_fail = l->must_fail;
    heap_buf_put(&part->body, heap_buf_bytes(&l->body));
    world_fault(FAULT_SPLIT_COPY);
    return part;
}

/* Whose copy this is: what names a blind recipient is his own. */
struct letter *part_of_content(struct letter *l, struct bytes address, struct bytes content)
{
    for (uint32_t i = 0; l->split && i < l->rcpt_count && header_names_bcc(content); i++)
        if (l->fates[i].part != 0 && bytes_equal_nocase(bytes_of(l->fates[i].address), address))
            return ledger.letters[l->fates[i].part];
    return l;
}

struct fate *letter_fate_n(struct letter *l, uint32_t n, struct bytes address)
{
    part_claim(l, address);
    for (uint32_t i = 0; i < l->fate_count; i++)
        if (l->fates[i].has_n && l->fates[i].n == n)
            return &l->fates[i];
    for (uint32_t i = 0; i < l->fate_count; i++)
        if (!l->fates[i].has_n && l->fates[i].part == 0 && bytes_equal_nocase(bytes_of(l->fates[i].address), address))
            return &l->fates[i];
    return NULL;
}

bool fate_has_row(const struct fate *f, const struct recipient *rcpt)
{
    return f->has_n ? f->n == rcpt->n : bytes_equal_nocase(bytes_of(f->address), rcpt->forward_path);
}

bool fate_is_resolved(const struct fate *f)
{
    return f->delivered || f->failed || f->discarded || f->deleted || f->expanded;
}

void ledger_told(struct letter *l, enum letter_told told, unsigned code)
{
    for (uint32_t i = l->number + 1; l->split && l->part_of == 0 && i <= ledger.letter_count; i++)
        if (ledger.letters[i]->part_of == l->number)
            ledger_told(ledger.letters[i], told, code);
    l->told = told;
    if (told == TOLD_YES && l->must_fail)
        world_wrong("letter %u may not be taken, but was answered %u", l->number, code);
    if (told == TOLD_YES && !l->whole)
        world_wrong("letter %u was answered %u before its end", l->number, code);
    if (told == TOLD_YES && !l->committed)
        world_wrong("letter %u was answered %u before it was durable", l->number, code);
    for (uint32_t i = 0; told == TOLD_YES && l->absent && i < l->fate_count; i++)
        if (l->fates[i].accepted && l->fates[i].part == 0 &&
            domain_of(bytes_of(l->fates[i].address))->kind != DOMAIN_DISCARDED)
            world_wrong("letter %u was answered %u, and was not in the queue when queued said so", l->number, code);
    ledger.no_space += told == TOLD_LATER && code == 452;
    ledger.accepted += told == TOLD_YES && l->part_of == 0;
}

/* --- what hosts say --- */

struct token {
    unsigned code;
    char address[80];
};
static struct token *tokens;
static uint64_t token_count, token_room;

uint64_t ledger_token(const char *address, unsigned code)
{
    if (token_count + 1 >= token_room) {
        token_room = token_room == 0 ? 256 : 2 * token_room;
        tokens = realloc(tokens, token_room * sizeof *tokens);
        ASSERT(tokens != NULL);
    }
    struct token *t = &tokens[++token_count];
    t->code = code;
    (void)snprintf(t->address, sizeof t->address, "%s", address == NULL ? "" : address);
    return token_count;
}

unsigned ledger_token_check(struct bytes text, const struct fate *f, const char *where)
{
    ptrdiff_t at = bytes_find(text, BYTES("tok="));
    uint64_t number = 0;

    if (at < 0)
        return 0;
    for (size_t i = (size_t)at + 4; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (text.data[i] - '0');
    if (number == 0 || number > token_count) {
        world_wrong("%s: words that no host has said: %.*s", where, BYTES_ARG(text));
        return 0;
    }
    const struct token *t = &tokens[number];
    if (t->address[0] != 0 && strcmp(t->address, f->address) != 0)
        world_wrong("%s: what was said of %s is told of %s", where, t->address, f->address);
    return t->code;
}

static bool is_rerouted(struct bytes address)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        for (uint32_t k = 0; ledger.letters[i]->orders && k < ledger.letters[i]->fate_count; k++)
            if (ledger.letters[i]->fates[k].rerouted &&
                bytes_equal_nocase(bytes_of(ledger.letters[i]->fates[k].address), address))
                return true;
    return false;
}

void ledger_offered(const struct host *host, struct bytes from, struct bytes address)
{
    const struct domain *d = domain_of(address);

    (void)from;
    if (d == NULL || (!domain_has_host(d, host) && !is_rerouted(address)))
        world_wrong("%s is offered %.*s, which is not its mail", host->name, BYTES_ARG(address));
}

/* --- what hosts take --- */

/* "Name: " in the header's own lines; the value up to the line's end. */
static bool header_value(struct bytes content, struct bytes name, struct bytes *value_out)
{
    while (content.size > 0 && content.data[0] != '\r') {
        ptrdiff_t end = bytes_index(content, '\n');
        struct bytes line = bytes_head(content, end < 0 ? content.size : (size_t)end);
        if (bytes_starts(line, name)) {
            *value_out = bytes_trim(bytes_head(bytes_after(line, name.size), line.size - name.size - 1));
            return true;
        }
        content = bytes_after(content, line.size + 1);
    }
    return false;
}

struct bytes header_of(struct bytes content)
{
    ptrdiff_t end = bytes_find(content, BYTES("\r\n\r\n"));

    return end < 0 ? content : bytes_head(content, (size_t)end);
}

struct letter *letter_of_content(struct bytes content)
{
    struct bytes value;
    uint64_t number;

    if (header_value(content, BYTES("X-Sim: "), &value)) {
        struct result r = bytes_to_u64(value, UINT32_MAX, &number);
        return is_ok(r) ? by_number((uint32_t)number) : NULL;
    }
    for (uint32_t i = ledger.letter_count; i > 0; i--)
        if (ledger.letters[i]->is_dsn && letter_is_content(ledger.letters[i], content))
            return ledger.letters[i];
    return NULL;
}

/* Without the one trace field that we put on top. */
static struct bytes without_trace(struct bytes content)
{
    if (!bytes_starts(content, BYTES("Received: from ")))
        return content;
    for (;;) {
        ptrdiff_t end = bytes_index(content, '\n');
        if (end < 0)
            return content;
        content = bytes_after(content, (size_t)end + 1);
        if (content.size == 0 || (content.data[0] != ' ' && content.data[0] != '\t'))
            return content;
    }
}

void content_check(const struct letter *l, struct bytes content, const char *where)
{
    struct bytes body = heap_buf_bytes(&l->body);
    struct bytes plain = l->is_dsn ? content : without_trace(content);

    if (l->submitted) {
        submission_check(l, plain, where);
        blind_check(l, content, where);
    } else if (!bytes_equal(plain, body))
        world_wrong("letter %u came to %s changed: %zu octets for %zu", l->number, where, plain.size, body.size);
    if (!l->is_dsn && plain.size == content.size)
        world_wrong("letter %u came to %s without a trace field", l->number, where);
    if (!l->is_dsn && !l->whole)
        world_wrong("letter %u was never whole, and was sent on", l->number);
    if (l->must_fail || l->told == TOLD_NO)
        world_wrong("letter %u was refused, and was sent on", l->number);
    if (l->told == TOLD_LATER && l->queued_deaths == ledger.queued_deaths)
        world_wrong("letter %u was put off, and was sent on", l->number);
}

/* Why there may be a second copy: Q4. DOUBLE_REASON_COUNT: no reason. */
static enum double_reason copy_reason(const struct fate *f)
{
    struct receipt *r = f->receipt;
    bool arrived = r->open != NULL ? sink_reply_arrived(r->open, r) : r->arrived;

    if (!arrived)
        return DOUBLE_REPLY_LOST;
    if (r->cuts != world.faults[FAULT_POWER_CUT])
        return DOUBLE_POWER_CUT;
    if (r->queued_deaths != ledger.queued_deaths)
        return DOUBLE_QUEUED_DIED;
    if (!r->local && r->outbound_deaths != ledger.outbound_deaths)
        return DOUBLE_OUTBOUND_DIED;
    return r->local && r->local_deaths != ledger.local_deaths ? DOUBLE_LOCAL_DIED : DOUBLE_REASON_COUNT;
}

void copy_add(struct letter *l, struct fate *f, bool dsn_offered, struct receipt *receipt)
{
    if (fate_is_resolved(f) && !f->deleted)
        world_wrong("letter %u, %s: a copy although it was %s", l->number, f->address,
            f->delivered ? "delivered"
            : f->failed  ? "reported"
                         : "discarded");
    if (f->copies > 0) {
        ledger.doubles++;
        f->extra++;
        enum double_reason reason = copy_reason(f);
        if (reason < DOUBLE_REASON_COUNT)
            ledger.doubles_by[reason]++;
        else
            world_wrong("letter %u, %s: a second copy without a reason", l->number, f->address);
    }
    f->copies++;
    f->receipt = receipt;
    f->copy_dsn = dsn_offered;
}

const char *fate_sender(const struct letter *l, const struct fate *f)
{
    return f->sender[0] != 0 ? f->sender : l->from;
}

static struct receipt *receipt_new(void)
{
    struct receipt *receipt = world_take(sizeof *receipt);

    *receipt = (struct receipt){.next = ledger.receipts,
        .outbound_deaths = ledger.outbound_deaths,
        .local_deaths = ledger.local_deaths,
        .queued_deaths = ledger.queued_deaths,
        .cuts = world.faults[FAULT_POWER_CUT]};
    ledger.receipts = receipt;
    return receipt;
}

struct receipt *ledger_take(const struct seen *seen)
{
    struct letter *l = letter_of_content(seen->content);
    struct receipt *receipt = receipt_new(), *own = receipt;
    struct fate *last = NULL;

    if (l == NULL) {
        world_wrong("%s was sent a message that nobody wrote (%zu octets)", seen->host->name, seen->content.size);
        return receipt;
    }
    content_check_converted(l, seen->content, seen->host->name);
    if (bytes_has_8bit(seen->content) && !seen->eight_bit_offered)
        world_wrong("letter %u: 8-bit text to %s, which does not take it", l->number, seen->host->name);
    if (bytes_has_8bit(bytes_after(seen->content, header_of(seen->content).size)) && !seen->eight_bit_said &&
        seen->eight_bit_offered)
        world_wrong("letter %u: 8-bit text came to %s without BODY=8BITMIME", l->number, seen->host->name);
    if (bytes_has_8bit(header_of(seen->content)) && !seen->utf8_said)
        world_wrong("letter %u: its header came to %s without SMTPUTF8", l->number, seen->host->name);
    for (uint32_t i = 0; i < seen->rcpt_count; i++) {
        l = part_of_content(l, bytes_of(seen->rcpts[i].address), seen->content);
        struct fate *f = letter_fate(l, bytes_of(seen->rcpts[i].address));
        if (i > 0 && seen->host->lmtp)
            own = own->mate = receipt_new();
        if (f == NULL) {
            world_wrong("letter %u was sent to %s, whom it does not name", l->number, seen->rcpts[i].address);
            continue;
        }
        if (last != NULL && f <= last)
            world_wrong("letter %u: its recipients came to %s in another order", l->number, seen->host->name);
        last = f;
        if (!bytes_equal(seen->from, bytes_of(fate_sender(l, f))))
            world_wrong(
                "letter %u came from <%.*s> instead of <%s>", l->number, BYTES_ARG(seen->from), fate_sender(l, f));
        split_check(l, f, seen->content, seen->host->name);
        copy_add(l, f, seen->dsn_offered, own);
    }
    world_say("  %s takes letter %u for %u", seen->host->name, l->number, seen->rcpt_count);
    return receipt;
}

/* --- what queued takes and says --- */

/* A letter that came without Message-ID: the last one of that client, "c17.client.test". */
static struct letter *by_client(struct bytes helo)
{
    ptrdiff_t dot = bytes_index(helo, '.');
    uint64_t client;

    if (dot < 2 || !is_ok(bytes_to_u64(bytes_after(bytes_head(helo, (size_t)dot), 1), UINT32_MAX, &client)))
        return NULL;
    for (uint32_t i = ledger.letter_count; i > 0; i--)
        if (ledger.letters[i]->client == client && !ledger.letters[i]->is_dsn && ledger.letters[i]->part_of == 0)
            return ledger.letters[i];
    return NULL;
}

void ledger_commit_asked(const struct envelope_head *head)
{
    struct bytes text = head->message_id;
    uint64_t number;
    ptrdiff_t at = bytes_index(text, '@');

    if (at < 2)
        return;
    struct result r = bytes_to_u64(bytes_after(bytes_head(text, (size_t)at), 1), UINT32_MAX, &number);
    struct letter *l = is_ok(r) ? by_number((uint32_t)number) : by_client(head->helo);
    if (l == NULL) {
        world_wrong("a message of nobody is committed: %.*s", BYTES_ARG(text));
        return;
    }
    if (l->split && l->id.value != 0)
        l = part_new(l);
    struct letter *other = ledger_find(head->id);
    if (other != NULL && other != l)
        world_wrong("letters %u and %u have the same id", other->number, l->number);
    letter_id_set(l, head->id);
    l->arrival = head->arrival;
    l->queued_deaths = ledger.queued_deaths;
}

/* Marks what the store holds of a letter. */
void letter_rows(struct letter *l)
{
    struct recipient rcpt;
    uint64_t cursor = 0;
    struct fate *last = NULL;

    while (is_ok(store_recipient_next(ledger.store, l->id, &cursor, &rcpt))) {
        struct fate *f = letter_fate_n(l, rcpt.n, rcpt.forward_path);
        if (f == NULL || (last != NULL && f <= last)) {
            world_wrong(
                "letter %u: a row that is not its own, or out of order: %.*s", l->number, BYTES_ARG(rcpt.forward_path));
            continue;
        }
        if (rcpt.notify != f->notify)
            world_wrong("letter %u, %s: NOTIFY changed from %u to %u", l->number, f->address, f->notify, rcpt.notify);
        last = f;
        f->accepted = f->has_n = true;
        f->n = rcpt.n;
    }
}

void ledger_committed(struct message_id id, bool accepted)
{
    struct letter *l = ledger_find(id);

    if (l == NULL || !accepted)
        return;
    struct envelope_head head;
    l->committed = true;
    l->commit_turn = ledger.turn;
    struct result r = store_read_begin(ledger.store);
    if (!is_ok(r))
        return;
    l->absent = !is_ok(store_message_get(ledger.store, id, &head));
    letter_rows(l);
    store_read_end(ledger.store);
}

void ledger_job_rcpt(struct job_id job, const void *worker, struct message_id id, const struct recipient *rcpt)
{
    struct letter *l = ledger_find(id);
    struct fate *f = l == NULL ? NULL : letter_fate_n(l, rcpt->n, rcpt->forward_path);
    int64_t wait_ms = world_walltime().ms - rcpt->next_try.ms;

    ledger.attempts++;
    if (f != NULL && wait_ms > 0) /* timers run by the other clock: a jump forward brings nothing sooner */
        wait_ms -= wait_ms < world.jumped_ms - f->jumped_ms ? wait_ms : world.jumped_ms - f->jumped_ms;
    if (f == NULL) {
        world_wrong("a job for somebody unknown: %.*s", BYTES_ARG(rcpt->forward_path));
        return;
    }
    if (f->flying != 0)
        world_wrong("letter %u, %s: in two jobs at once", l->number, f->address);
    if (fate_is_resolved(f) && !f->deleted)
        world_wrong("letter %u, %s: a job although it is resolved", l->number, f->address);
    if (wait_ms < 0)
        world_wrong("letter %u, %s: tried %" PRId64 " ms before its time", l->number, f->address, -wait_ms);
    f->flying = job.value;
    f->flying_by = worker;
    if (!domain_is_steady(domain_of(rcpt->forward_path)))
        return;
    if (wait_ms > ledger.worst_wait_ms && wait_ms <= WAIT_BOUND_MS)
        ledger.worst_wait_ms = wait_ms;
    if (wait_ms > WAIT_BOUND_MS && !house_was_down(wait_ms))
        world_wrong(
            "letter %u, %s: waited %" PRId64 " s although its host is well", l->number, f->address, wait_ms / 1000);
}

void ledger_job_over(struct job_id job)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        for (uint32_t k = 0; k < ledger.letters[i]->fate_count; k++)
            if (ledger.letters[i]->fates[k].flying == job.value)
                ledger.letters[i]->fates[k].flying = 0;
}

void ledger_worker_gone(const void *worker)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        for (uint32_t k = 0; k < ledger.letters[i]->fate_count; k++)
            if (ledger.letters[i]->fates[k].flying_by == worker)
                ledger.letters[i]->fates[k].flying = 0;
}

void ledger_died(bool queued)
{
    if (queued)
        ledger.queued_deaths++;
    else
        ledger.outbound_deaths++;
    if (!queued)
        return;
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        for (uint32_t k = 0; k < ledger.letters[i]->fate_count; k++)
            ledger.letters[i]->fates[k].flying = 0;
}

/* --- what queued logs --- */

struct entry {
    struct message_id id;
    struct bytes to, reply;
    int64_t count, next_s, n, children;
};

static struct entry entry_read(const struct log_field *fields, size_t count)
{
    struct entry e = {0};

    for (size_t i = 0; i < count; i++) {
        const struct log_field *f = &fields[i];
        if (strcmp(f->name, "id") == 0)
            e.id.value = (uint64_t)f->number;
        else if (strcmp(f->name, "n") == 0)
            e.n = f->number;
        else if (strcmp(f->name, "children") == 0)
            e.children = f->number;
        else if (strcmp(f->name, "to") == 0)
            e.to = f->text;
        else if (strcmp(f->name, "reply") == 0)
            e.reply = f->text;
        else if (strcmp(f->name, "attempts") == 0)
            e.count = f->number;
        else if (strcmp(f->name, "next_s") == 0)
            e.next_s = f->number;
    }
    return e;
}

static void on_delivered(struct letter *l, struct fate *f)
{
    struct receipt *r = f->receipt;

    f->delivered = true;
    ledger.delivered++;
    if (f->copies == 0)
        world_wrong("letter %u, %s: delivered, but no host has it", l->number, f->address);
    else if (!(r->open != NULL ? sink_reply_arrived(r->open, r) : r->arrived))
        world_wrong("letter %u, %s: delivered, but its host's word never came", l->number, f->address);
}

static void on_failed(struct letter *l, struct fate *f, const struct entry *e)
{
    static struct kin_leaf leaves[KIN_LEAVES_MAX];
    unsigned code = ledger_token_check(e->reply, f, "failed");
    int64_t age_ms = world_walltime().ms - l->arrival.ms;
    const struct receipt *r = f->receipt;

    f->failed = true;
    ledger.failed++;
    if (!f->bounced && code / 100 == 4 && age_ms < ledger.cfg->retry.give_up_after_ms)
        world_wrong("letter %u, %s: given up after %" PRId64 " s for a %u", l->number, f->address, age_ms / 1000, code);
    if (f->expands && !f->program && kin_expand(bytes_of(f->address), leaves, KIN_LEAVES_MAX) > 0 &&
        age_ms < ledger.cfg->retry.give_up_after_ms && !f->bounced)
        world_wrong("letter %u, %s: failed although it stands for others", l->number, f->address);
    if (f->copies > 0 && !r->local && r->open == NULL && r->arrived && r->outbound_deaths == ledger.outbound_deaths &&
        r->queued_deaths == ledger.queued_deaths)
        world_wrong("letter %u, %s: failed, but its host has it", l->number, f->address);
}

static void on_deferred(struct letter *l, struct fate *f, const struct entry *e)
{
    const struct retry_plan *plan = &ledger.cfg->retry;
    unsigned code = ledger_token_check(e->reply, f, "deferred");
    int64_t step = retry_step_ms(plan, (uint32_t)e->count);
    int64_t lo = step - step * plan->jitter_percent / 100 - 1000;
    int64_t longest = retry_step_ms(plan, RETRY_STEP_COUNT_MAX);
    int64_t hi = longest + longest * plan->jitter_percent / 100;
    int64_t left = l->arrival.ms + plan->give_up_after_ms - world_walltime().ms;

    f->deferrals++;
    f->jumped_ms = world.jumped_ms;
    ledger.deferrals++;
    ledger.exact_steps += e->next_s == step / 1000;
    if (code / 100 == 5 && f->address[0] != 0 && box_ask(bytes_of(f->address)) == BOX_UNKNOWN && code == 550)
        world_wrong("letter %u, %s: put off although it was refused for good", l->number, f->address);
    /* Recipients of one job are tried again together, by the attempts of the first: rerouted ones may have had more. */
    if (e->next_s * 1000 > hi || (!f->rerouted && e->next_s * 1000 < lo && e->next_s * 1000 < left - 1000))
        world_wrong("letter %u, %s: attempt %d is to be followed after %" PRId64 " s (the plan says %" PRId64 ")",
            l->number, f->address, (int)e->count, e->next_s, step / 1000);
    if (left <= 0)
        world_wrong("letter %u, %s: put off after its time was up", l->number, f->address);
}

void ledger_log(enum log_event event, const struct log_field *fields, size_t field_count)
{
    if (event != LOG_EVENT_DELIVERED && event != LOG_EVENT_FAILED && event != LOG_EVENT_DEFERRED &&
        event != LOG_EVENT_DISCARDED && event != LOG_EVENT_EXPANDED && event != LOG_EVENT_DSN_QUEUED &&
        event != LOG_EVENT_QUEUE_COMMIT_FAILED)
        return;
    struct entry e = entry_read(fields, field_count);
    if (event == LOG_EVENT_QUEUE_COMMIT_FAILED) {
        ledger.commit_failures++;
        return;
    }
    if (event == LOG_EVENT_DSN_QUEUED) {
        ledger_dsn_born(e.id);
        return;
    }
    struct letter *l = ledger_find(e.id);
    struct fate *f = l == NULL ? NULL : letter_fate_n(l, (uint32_t)e.n, e.to);
    if (f == NULL && l != NULL && event == LOG_EVENT_DISCARDED && kin_ask(e.to) == KIN_ALIAS)
        return; /* a child that nobody needs to see */
    if (f == NULL) {
        world_wrong("the log names somebody unknown: %.*s", BYTES_ARG(e.to));
        return;
    }
    if (fate_is_resolved(f) && !f->deleted)
        world_wrong("letter %u, %s: resolved twice", l->number, f->address);
    f->resolved_turn = ledger.turn;
    f->accepted = true;
    if (event == LOG_EVENT_EXPANDED) {
        ledger_expanded(l, (uint32_t)e.n, e.to, (uint32_t)e.children);
        return;
    }
    if (event == LOG_EVENT_DELIVERED)
        on_delivered(l, f);
    else if (event == LOG_EVENT_FAILED)
        on_failed(l, f, &e);
    else if (event == LOG_EVENT_DEFERRED)
        on_deferred(l, f, &e);
    else
        f->discarded = true;
}

/* --- life --- */

void ledger_open(const struct config *cfg)
{
    ledger = (struct ledger){.cfg = cfg};
    ledger.letter_room = 64;
    ledger.letters = world_take(ledger.letter_room * sizeof(struct letter *));
    tokens = NULL;
    token_count = token_room = 0;
}

uint32_t ledger_open_letters(void)
{
    uint32_t count = 0;

    for (uint32_t i = 1; i <= ledger.letter_count; i++) {
        struct letter *l = ledger.letters[i];
        bool open = false;
        if (l->over || !l->committed)
            continue;
        for (uint32_t k = 0; k < l->fate_count; k++)
            open = open || (l->fates[k].accepted && l->fates[k].part == 0 && !fate_is_resolved(&l->fates[k]));
        l->over = !open;
        count += open;
    }
    return count;
}

static bool is_refused_for_utf8(const struct letter *l, const struct fate *f)
{
    return l->utf8 && f->failed && !domain_takes_utf8(domain_of(bytes_of(f->address)));
}

static void fate_close(const struct letter *l, const struct fate *f, bool drained)
{
    bool has_sender = l->from[0] != 0 && !l->is_dsn;
    bool wants_failure = has_sender && (f->notify == 0 || (f->notify & DSN_NOTIFY_FAILURE) != 0);
    bool wants_success = has_sender && (f->notify & DSN_NOTIFY_SUCCESS) != 0;
    unsigned success = f->told[DSN_RELAYED] + f->told[DSN_DELIVERED];

    if (drained && l->told == TOLD_YES && f->accepted && !fate_is_resolved(f))
        world_wrong("letter %u, %s: accepted, and lost", l->number, f->address);
    if (f->told[DSN_FAILED] != (f->failed && wants_failure && !f->deleted ? 1 : 0))
        world_wrong("letter %u, %s: %s, told %u times", l->number, f->address, f->failed ? "failed" : "did not fail",
            f->told[DSN_FAILED]);
    if (f->told[DSN_DELAYED] > 1 ||
        (f->told[DSN_DELAYED] > 0 && (!has_sender || (f->notify != 0 && (f->notify & DSN_NOTIFY_DELAY) == 0))))
        world_wrong("letter %u, %s: its delay was told %u times", l->number, f->address, f->told[DSN_DELAYED]);
    if (f->expanded) {
        unsigned lists = wants_success && f->owned_maybe, parts = wants_success && f->children > 1 && !f->owned;
        if (success > lists || f->told[DSN_EXPANDED] > parts || success + f->told[DSN_EXPANDED] < (lists | parts))
            world_wrong("letter %u, %s: its expansion was told %u times, its delivery %u times", l->number, f->address,
                f->told[DSN_EXPANDED], success);
        success = 0;
    }
    if (success != (f->delivered && wants_success && !f->copy_dsn ? 1 : 0))
        world_wrong("letter %u, %s: its delivery was told %u times", l->number, f->address, success);
    if (f->failed && !f->bounced && !f->rerouted && bytes_starts(bytes_of(f->address), BYTES("ok")) &&
        domain_is_steady(domain_of(bytes_of(f->address))) && !is_refused_for_utf8(l, f))
        world_wrong("letter %u, %s: failed although its host is well", l->number, f->address);
    if (is_refused_for_utf8(l, f))
        world_fault(FAULT_UTF8_REFUSED);
    ledger.recipients += f->accepted;
}

void ledger_close(bool drained)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++) {
        struct letter *l = ledger.letters[i];
        for (uint32_t k = 0; k < l->fate_count; k++)
            if (l->fates[k].part == 0)
                fate_close(l, &l->fates[k], drained);
    }
    if (ledger.deferrals >= 40 && ledger.exact_steps * 2 > ledger.deferrals)
        world_wrong(
            "retries come without jitter: %" PRIu64 " of %" PRIu64 " on the dot", ledger.exact_steps, ledger.deferrals);
}

void ledger_free(void)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++) {
        heap_buf_free(&ledger.letters[i]->body);
        free(ledger.letters[i]->fates);
        free(ledger.letters[i]);
    }
    free(ledger.letters);
    ledger.letters = NULL;
    ledger.letter_count = 0;
    while (ledger.receipts != NULL) {
        struct receipt *next = ledger.receipts->next;
        free(ledger.receipts);
        ledger.receipts = next;
    }
    free(tokens);
    tokens = NULL;
}
