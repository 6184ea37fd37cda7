#include "daemon/lookup/job.h"

#include "daemon/edge/clock.h"
#include "smtp/address.h"
#include "smtp/idna.h"
#include "smtp/srs.h"

struct lookup_job {
    struct lookup_job *next;
    struct job_id id;
    struct arena arena;
    bool damaged, null_sender;
    struct walltime arrival;
    bool running; /* its waiter has begun */
    struct card_waiter waiter;
    struct bytes content;
    uint32_t count;
    struct {
        uint32_t n;
        bool done;
        struct bytes path;
    } rcpts[JOB_RCPT_COUNT_MAX];
};

static struct lookup_job *job_find(struct lookup_desk *desk, struct job_id id)
{
    struct lookup_job *job = desk->jobs;

    while (job != NULL && job->id.value != id.value)
        job = job->next;
    return job;
}

static void job_end(struct lookup_desk *desk, struct lookup_job *job, enum lane_verdict verdict)
{
    struct lookup_job **at = &desk->jobs;

    if (desk->queued != NULL)
        channel_send(desk->queued, &(struct msg){.kind = MSG_job_end, .job_end = {.job = job->id, .verdict = verdict}});
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    desk->job_count--;
    if (job->running && desk->cards != NULL)
        cards_leave(desk->cards, &job->waiter);
    arena_fini(&job->arena);
    mem_free(job);
}

RESULT lookup_path_put(struct buf *out, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    if (at == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "the address has no domain");
    TRY(buf_put(out, bytes_head(path, (size_t)at + 1)));
    struct bytes domain = bytes_after(path, (size_t)at + 1);
    return bytes_has_8bit(domain) ? idna_to_ascii(domain, out) : buf_put(out, domain);
}

static enum book_answer recipient_ask(
    const struct lookup_desk *desk, struct bytes path, const struct config_domain **domain_out)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes name = bytes_after(path, (size_t)at + 1);
    enum book_answer answer = book_domain(desk->book, desk->cfg, name, domain_out);

    return answer != BOOK_FINAL || *domain_out == NULL
               ? answer
               : book_ask(desk->book, *domain_out, name, bytes_head(path, (size_t)at), NULL, NULL);
}

/* Whom an address of SRS stands for; CODE_GONE: it is none of ours. */
static RESULT srs_path(const struct lookup_desk *desk, struct bytes path, struct walltime now, struct buf *out)
{
    if (desk->srs == NULL || !config_is_srs_address(desk->cfg, path))
        return FAIL(CODE_GONE, "not an address of SRS");
    struct result r = srs_reverse(desk->srs, now, bytes_head(path, (size_t)bytes_rindex(path, '@')), out);
    return r.code == CODE_FULL || r.code == CODE_SYNTAX ? FAIL(CODE_REFUSED, "not an address of SRS") : r;
}

bool lookup_known(const struct lookup_desk *desk, struct bytes path, enum rcpt_known *known_out)
{
    static const enum rcpt_known words[] = {[BOOK_ALIAS] = RCPT_ALIAS,
        [BOOK_FINAL] = RCPT_FINAL,
        [BOOK_UNKNOWN] = RCPT_UNKNOWN,
        [BOOK_BROKEN] = RCPT_LATER,
        [BOOK_WAIT] = RCPT_LATER};
    uint8_t octets[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf ascii = BUF(octets);
    const struct config_domain *domain;

    *known_out = RCPT_UNKNOWN;
    if (!is_ok(lookup_path_put(&ascii, path)))
        return true;
    uint8_t sender_octets[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(sender_octets);
    struct result r = srs_path(desk, buf_bytes(&ascii), clock_walltime(), &sender);
    if (r.code != CODE_GONE) {
        *known_out = is_ok(r) ? RCPT_ALIAS : r.code == CODE_TIMEOUT ? RCPT_STALE : RCPT_FORGED;
        return true;
    }
    enum book_answer answer = recipient_ask(desk, buf_bytes(&ascii), &domain);
    *known_out = words[answer];
    if (answer == BOOK_WAIT || answer == BOOK_BROKEN)
        return answer != BOOK_WAIT;
    if (domain == NULL) { /* without domain "*" inbound has another configuration than we: one of us is about to go */
        *known_out = desk->cfg->hosted != NULL ? RCPT_ELSEWHERE : RCPT_LATER;
        return true;
    }
    /* postmaster@ of a domain without mailboxes is somebody else, and mail of domain "*" has its way from here: expansion says. */
    bool mailboxes = domain->target.kind != ROUTE_ERROR && domain->target.kind != ROUTE_DISCARD;
    if (*known_out == RCPT_FINAL && (!mailboxes || domain == desk->cfg->hosted))
        *known_out = RCPT_ALIAS;
    return true;
}

/* --- answers --- */

static void say_result(const struct lookup_desk *desk, const struct lookup_job *job, uint32_t n,
    enum job_outcome outcome, const char *status, const char *reply)
{
    struct msg m = {.kind = MSG_job_result,
        .job_result = {
            .job = job->id, .n = n, .outcome = outcome, .status = bytes_of(status), .reply = bytes_of(reply)}};

    if (desk->queued != NULL)
        channel_send(desk->queued, &m);
}

static void say_leaf(const struct lookup_desk *desk, const struct lookup_job *job, uint32_t n, const struct leaf *leaf)
{
    static const enum child_kind kinds[] = {[LEAF_ADDRESS] = CHILD_ADDRESS,
        [LEAF_UNKNOWN] = CHILD_UNKNOWN,
        [LEAF_COMMAND] = CHILD_COMMAND,
        [LEAF_FILE] = CHILD_FILE};
    struct msg m = {.kind = MSG_job_child,
        .job_child = {.job = job->id,
            .n = n,
            .kind = kinds[leaf->kind],
            .text = leaf->text,
            .address = leaf->address,
            .via = leaf->via,
            .owner = job->null_sender ? BYTES_NONE : leaf->owner}};

    if (desk->queued != NULL)
        channel_send(desk->queued, &m);
}

/* False when it has to wait. */
static bool rcpt_expand(const struct lookup_desk *desk, struct lookup_job *job, uint32_t n, struct bytes path)
{
    uint8_t octets[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf ascii = BUF(octets);
    struct expansion x;
    struct arena arena;

    if (!is_ok(lookup_path_put(&ascii, path)) || ascii.size > ADDRESS_SIZE_MAX) {
        say_result(desk, job, n, JOB_FAILED, "5.1.3", "the address cannot be read");
        return true;
    }
    uint8_t sender_octets[ADDRESS_SIZE_MAX];
    struct buf sender = BUF(sender_octets);
    /* It was judged when it came in; how long it has waited here is no fault of the sender's. */
    struct result r = srs_path(desk, buf_bytes(&ascii), job->arrival, &sender);
    if (r.code != CODE_GONE && !is_ok(r)) {
        say_result(desk, job, n, JOB_FAILED, r.code == CODE_TIMEOUT ? "5.1.1" : "5.7.1", r.why);
        return true;
    }
    arena_init(&arena, LOOKUP_JOB_SIZE_MAX);
    expand(desk->book, desk->cfg, &arena, is_ok(r) ? buf_bytes(&sender) : buf_bytes(&ascii), &x);
    switch (x.verdict) {
    case EXPAND_LEAVES:
        /* A mailbox by itself is no forwarding: whoever sends a delivered message here again means it. */
        if ((x.leaf_count > 1 || x.leaves->kind != LEAF_ADDRESS || !bytes_equal_nocase(x.leaves->text, path)) &&
            lookup_was_delivered_to(job->content, path)) {
            say_result(desk, job, n, JOB_FAILED, "5.4.6",
                "the message has been delivered to this address before: a mail loop");
            break;
        }
        for (const struct leaf *leaf = x.leaves; leaf != NULL; leaf = leaf->next)
            say_leaf(desk, job, n, leaf);
        say_result(desk, job, n, JOB_EXPANDED, "2.0.0", "expanded");
        break;
    case EXPAND_UNKNOWN:
        say_result(desk, job, n, JOB_FAILED, "5.1.1", x.why);
        break;
    case EXPAND_LOOP:
    case EXPAND_TOO_MANY:
        say_result(desk, job, n, JOB_FAILED, "5.4.6", x.why);
        break;
    case EXPAND_LATER:
        say_result(desk, job, n, JOB_DEFERRED, "4.3.0", x.why);
        break;
    case EXPAND_WAIT:
        break;
    }
    arena_fini(&arena);
    return x.verdict != EXPAND_WAIT;
}

/* --- what queued says --- */

void lookup_job_begin(struct lookup_desk *desk, const struct msg_job_begin *m)
{
    struct lookup_job *job = mem_take_zero(sizeof *job);

    if (job == NULL) {
        channel_send(
            desk->queued, &(struct msg){.kind = MSG_job_end, .job_end = {.job = m->job, .verdict = LANE_WORKER_LOST}});
        return;
    }
    job->id = m->job;
    job->null_sender = m->head.reverse_path.size == 0;
    job->arrival = m->head.arrival;
    arena_init(&job->arena, 1048576);
    job->next = desk->jobs;
    desk->jobs = job;
    desk->job_count++;
}

void lookup_job_rcpt(struct lookup_desk *desk, const struct msg_job_rcpt *m)
{
    struct lookup_job *job = job_find(desk, m->job);

    if (job == NULL || job->count == JOB_RCPT_COUNT_MAX)
        return;
    job->rcpts[job->count].n = m->rcpt.n;
    if (is_ok(arena_copy(&job->arena, m->rcpt.forward_path, &job->rcpts[job->count].path)))
        job->count++;
    else
        job->damaged = true;
}

void lookup_job_body(struct lookup_desk *desk, const struct msg_job_body *m)
{
    struct lookup_job *job = job_find(desk, m->job);

    if (job != NULL && m->offset == 0 && job->content.size == 0)
        job->damaged = job->damaged || !is_ok(arena_copy(&job->arena, m->body, &job->content));
}

static void job_go_on(struct lookup_desk *desk, struct lookup_job *job)
{
    bool waits = false;

    for (uint32_t i = 0; i < job->count && !job->damaged; i++) {
        if (!job->rcpts[i].done)
            job->rcpts[i].done = rcpt_expand(desk, job, job->rcpts[i].n, job->rcpts[i].path);
        waits = waits || !job->rcpts[i].done;
    }
    if (waits)
        cards_wait(desk->cards, &job->waiter);
    else
        job_end(desk, job, job->damaged ? LANE_WORKER_LOST : LANE_OK);
}

void lookup_job_run(struct lookup_desk *desk, struct job_id id)
{
    struct lookup_job *job = job_find(desk, id);

    if (job == NULL || job->running)
        return;
    job->running = true;
    if (desk->cards != NULL)
        cards_begin(desk->cards, &job->waiter, job, desk->cards->now);
    job_go_on(desk, job);
}

bool lookup_job_is(const struct lookup_desk *desk, const void *owner)
{
    const struct lookup_job *job = desk->jobs;

    while (job != NULL && job != owner)
        job = job->next;
    return job != NULL;
}

void lookup_job_resume(struct lookup_desk *desk, void *owner)
{
    struct lookup_job *job = owner;

    job_go_on(desk, job);
}

void lookup_job_cancel(struct lookup_desk *desk, struct job_id id)
{
    struct lookup_job *job = job_find(desk, id);

    if (job != NULL)
        job_end(desk, job, LANE_OK);
}

void lookup_jobs_drop(struct lookup_desk *desk)
{
    while (desk->jobs != NULL)
        job_end(desk, desk->jobs, LANE_WORKER_LOST);
}
