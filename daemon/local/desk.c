#include "daemon/local/desk.h"

#include "daemon/edge/clock.h"
#include "daemon/local/way.h"
#include "smtp/address.h"
#include "smtp/idna.h"

enum { DESK_ARENA_SIZE_MAX = 4 * 1024 * 1024 };

struct desk_rcpt {
    struct recipient rcpt;
    struct part *part;
    bool answered;
};

/* What of a job is one owner's. */
struct part {
    struct part *next;
    struct desk_job *job;
    struct job_id id; /* for its hand */
    struct bytes owner;
    struct hand *hand; /* NULL: waits for one */
    struct loop_timer timer;
    bool wants, ended;
    uint64_t offset; /* of the body octets that it wants */
};

struct desk_job {
    struct desk *desk;
    struct desk_job *next;
    struct job_id id;
    struct arena arena;
    struct envelope_head head;
    struct bytes lane, first;
    struct way way;
    bool damaged, running;
    struct part *parts;
    uint32_t count, parts_left;
    struct desk_rcpt *rcpts[JOB_RCPT_COUNT_MAX]; /* in the arena: most jobs have one */
};

static void queued_say(struct desk *desk, const struct msg *m)
{
    if (desk->queued != NULL)
        channel_send(desk->queued, m);
}

static struct desk_job *job_find(struct desk *desk, struct job_id id)
{
    struct desk_job *job = desk->jobs;

    while (job != NULL && job->id.value != id.value)
        job = job->next;
    return job;
}

static struct part *part_find(struct desk *desk, struct hand *hand, struct job_id id)
{
    for (struct desk_job *job = desk->jobs; job != NULL; job = job->next)
        for (struct part *p = job->parts; p != NULL; p = p->next)
            if (p->id.value == id.value && p->hand == hand)
                return p;
    return NULL;
}

/* Its hand is not given anything any more for it. */
static void part_leave(struct part *p)
{
    struct hand *hand = p->hand;

    p->hand = NULL;
    p->ended = true;
    loop_timer_stop(p->job->desk->loop, &p->timer);
    if (hand != NULL && !hand->dead)
        hand_done(hand);
}

static void job_end(struct desk_job *job, enum lane_verdict verdict)
{
    struct desk *desk = job->desk;
    struct desk_job **at = &desk->jobs;

    queued_say(desk, &(struct msg){.kind = MSG_job_end, .job_end = {.job = job->id, .verdict = verdict}});
    for (struct part *p = job->parts; p != NULL; p = p->next) {
        if (p->hand != NULL && !p->hand->dead)
            channel_send(p->hand->channel, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = p->id}});
        part_leave(p);
    }
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    desk->job_count--;
    arena_fini(&job->arena);
    mem_free(job);
    desk->job_ended(desk->ctx);
}

/* --- what becomes of recipients without a hand --- */

static void rcpt_say(
    struct desk_job *job, struct desk_rcpt *at, enum job_outcome outcome, const char *status, const char *reply)
{
    at->answered = true;
    queued_say(job->desk, &(struct msg){.kind = MSG_job_result,
                              .job_result = {.job = job->id,
                                  .n = at->rcpt.n,
                                  .outcome = outcome,
                                  .status = bytes_of(status),
                                  .reply = bytes_of(reply)}});
}

static void part_end(struct part *p)
{
    struct desk_job *job = p->job;

    part_leave(p);
    if (--job->parts_left == 0)
        job_end(job, LANE_OK);
}

static void part_fail(struct part *p, enum job_outcome outcome, const char *status, const char *why)
{
    struct desk_job *job = p->job;

    for (uint32_t i = 0; i < job->count; i++)
        if (job->rcpts[i]->part == p && !job->rcpts[i]->answered)
            rcpt_say(job, job->rcpts[i], outcome, status, why);
    part_end(p);
}

static void on_late(void *ctx)
{
    struct part *p = ctx;
    struct hand *hand = p->hand;

    p->job->desk->hands.doubt = clock_walltime();
    part_fail(p, JOB_DEFERRED, "4.2.0", "the mailbox did not answer in time");
    if (hand != NULL)
        hand_kill(hand);
}

/* --- dealing out --- */

static int64_t part_time(const struct desk_job *job)
{
    return job->way.kind == WAY_COMMAND ? job->desk->cfg->command_time + PART_COMMAND_GRACE_MS
           : job->way.kind == WAY_FILE  ? PART_FILE_MS
                                        : PART_MAILBOX_MS;
}

static void part_begin(struct part *p, struct hand *hand)
{
    struct desk_job *job = p->job;
    struct channel *to = hand->channel;
    uint32_t count = 0;

    p->hand = hand;
    hand->work++;
    channel_send(
        to, &(struct msg){.kind = MSG_job_begin, .job_begin = {.job = p->id, .lane = job->lane, .head = job->head}});
    for (uint32_t i = 0; i < job->count; i++) {
        if (job->rcpts[i]->part != p)
            continue;
        channel_send(to, &(struct msg){.kind = MSG_job_rcpt, .job_rcpt = {.job = p->id, .rcpt = job->rcpts[i]->rcpt}});
        count++;
    }
    if (job->first.size > 0)
        channel_send(to, &(struct msg){.kind = MSG_job_body, .job_body = {.job = p->id, .body = job->first}});
    channel_send(to, &(struct msg){.kind = MSG_job_run, .job_run = {.job = p->id}});
    /* Commands run one after the other. */
    loop_timer_set(job->desk->loop, &p->timer,
        instant_after(loop_now(job->desk->loop), part_time(job) * (job->way.kind == WAY_MAILBOX ? 1 : count)));
}

/* True when the part is gone, perhaps with its job. */
static bool part_deal(struct desk *desk, struct part *p)
{
    struct hand *hand;
    struct result r = hands_get(&desk->hands, p->owner, p->job->way.kind != WAY_MAILBOX, &hand);

    if (r.code == CODE_FULL)
        return false; /* it waits */
    if (is_ok(r)) {
        part_begin(p, hand);
        return false;
    }
    /* RFC 5321 4.5.1: mail for these is taken in any case, so it is not refused now. */
    bool is_role = bytes_equal(p->owner, BYTES("postmaster")) || bytes_equal(p->owner, BYTES("abuse"));
    if (r.code == CODE_GONE && is_role)
        part_fail(p, JOB_DEFERRED, "4.3.5", "this role is no user of the host and needs an alias");
    else if (r.code == CODE_GONE)
        part_fail(p, JOB_FAILED, "5.1.1", r.why);
    else
        part_fail(p, JOB_DEFERRED, "4.3.5", r.why);
    return true;
}

/* Parts that wait, those of the oldest job first. */
static void on_deal(void *ctx)
{
    struct desk *desk = ctx;

again:
    for (struct desk_job *job = desk->jobs; job != NULL; job = job->next)
        for (struct part *p = job->parts; job->running && p != NULL; p = p->next)
            if (p->hand == NULL && !p->ended && part_deal(desk, p))
                goto again;
}

/* The name of the user of the host who owns the recipient's mailbox; empty: the server's own. */
static RESULT owner_name(const struct desk_job *job, const struct recipient *rcpt, struct buf *out)
{
    uint8_t ascii_octets[DOMAIN_SIZE_MAX], local_octets[LOCAL_PART_SIZE_MAX];
    struct buf ascii = BUF(ascii_octets), local_part = BUF(local_octets);
    ptrdiff_t at = bytes_rindex(rcpt->forward_path, '@');
    const struct config_domain *domain;

    if (job->way.as.size > 0)
        return buf_put(out, job->way.as);
    if (job->way.kind != WAY_MAILBOX)
        return buf_put(out, job->desk->cfg->command_user);
    if (at == BYTES_NOT_FOUND || !is_ok(idna_to_ascii(bytes_after(rcpt->forward_path, (size_t)at + 1), &ascii)))
        return OK; /* the hand will say so */
    domain = config_domain_find(job->desk->cfg, buf_bytes(&ascii));
    if (domain == NULL || !domain->system_users)
        return OK;
    TRY(address_put_unquoted(&local_part, bytes_head(rcpt->forward_path, (size_t)at)));
    struct bytes user = config_domain_user(domain, buf_bytes(&local_part));
    for (size_t i = 0; i < user.size; i++)
        TRY(buf_put_octet(out, octet_lower(user.data[i])));
    return OK;
}

static RESULT part_of(struct desk_job *job, struct bytes owner, struct part **part_out)
{
    void *memory;

    for (struct part *p = job->parts; p != NULL; p = p->next)
        if (bytes_equal(p->owner, owner)) {
            *part_out = p;
            return OK;
        }
    TRY(arena_take(&job->arena, sizeof(struct part), &memory));
    *part_out = memory;
    **part_out = (struct part){.next = job->parts, .job = job, .id = {++job->desk->last_part}};
    (*part_out)->timer = (struct loop_timer){.fn = on_late, .ctx = *part_out};
    TRY(arena_copy(&job->arena, owner, &(*part_out)->owner));
    job->parts = *part_out;
    job->parts_left++;
    return OK;
}

/* Commands of aliases run as command_user, where we can; an ordinary user is everybody. */
static bool owner_is_us(const struct desk_job *job, struct bytes owner)
{
    return job->way.as.size == 0 && job->way.kind != WAY_MAILBOX && job->desk->command_user_is_other &&
           bytes_equal(owner, job->desk->cfg->command_user);
}

static void job_run(struct desk_job *job)
{
    struct desk *desk = job->desk;

    job->running = true;
    for (uint32_t i = 0; i < job->count && !job->damaged; i++) {
        uint8_t octets[LOCAL_PART_SIZE_MAX + OWNER_NAME_SIZE_MAX];
        struct buf name = BUF(octets);
        struct result r = owner_name(job, &job->rcpts[i]->rcpt, &name);

        if (is_ok(r) && owner_is_us(job, buf_bytes(&name)))
            buf_reset(&name);
        if (is_ok(r))
            r = part_of(job, buf_bytes(&name), &job->rcpts[i]->part);
        job->damaged = !is_ok(r);
    }
    if (job->damaged || job->count == 0)
        job_end(job, LANE_WORKER_LOST);
    else
        loop_hook_add(desk->loop, &desk->deal, LOOP_WORK);
}

/* --- what hands say --- */

static struct desk_rcpt *rcpt_find(struct part *p, uint32_t n)
{
    for (uint32_t i = 0; i < p->job->count; i++)
        if (p->job->rcpts[i]->part == p && p->job->rcpts[i]->rcpt.n == n && !p->job->rcpts[i]->answered)
            return p->job->rcpts[i];
    return NULL;
}

static void on_want(struct part *p, const struct msg_job_want *m)
{
    struct msg want = {.kind = MSG_job_want, .job_want = {.job = p->job->id, .offset = m->offset, .size = m->size}};

    p->wants = true;
    p->offset = m->offset;
    queued_say(p->job->desk, &want);
}

static void on_message(void *ctx, struct hand *hand, const struct msg *m)
{
    struct desk *desk = ctx;
    struct msg copy = *m;
    struct desk_rcpt *at;
    struct part *p;

    switch (m->kind) {
    case MSG_job_want:
        if ((p = part_find(desk, hand, m->job_want.job)) != NULL)
            on_want(p, &m->job_want);
        break;
    case MSG_job_child:
        p = part_find(desk, hand, m->job_child.job);
        if (p == NULL || rcpt_find(p, m->job_child.n) == NULL || hand->name[0] == 0)
            break;
        copy.job_child.job = p->job->id;
        copy.job_child.as = bytes_of(hand->name); /* nobody speaks for another */
        copy.job_child.owner = BYTES_NONE;
        queued_say(desk, &copy);
        break;
    case MSG_job_result:
        p = part_find(desk, hand, m->job_result.job);
        at = p == NULL ? NULL : rcpt_find(p, m->job_result.n);
        if (at == NULL)
            break;
        at->answered = true;
        copy.job_result.job = p->job->id;
        queued_say(desk, &copy);
        break;
    case MSG_job_end:
        if ((p = part_find(desk, hand, m->job_end.job)) != NULL)
            part_fail(p, JOB_AGAIN, "4.3.0", "the process writing the mailbox had no memory");
        break;
    default:
        break;
    }
}

static void on_gone(void *ctx, struct hand *hand)
{
    struct desk *desk = ctx;

    desk->hands.doubt = clock_walltime();
again:
    for (struct desk_job *job = desk->jobs; job != NULL; job = job->next)
        for (struct part *p = job->parts; p != NULL; p = p->next)
            if (p->hand == hand) {
                part_fail(p, JOB_DEFERRED, "4.3.0", "the process writing the mailbox has ended");
                goto again;
            }
}

static void on_freed(void *ctx)
{
    struct desk *desk = ctx;

    loop_hook_add(desk->loop, &desk->deal, LOOP_WORK);
}

static void on_lost(void *ctx)
{
    struct desk *desk = ctx;

    desk->lost(desk->ctx);
}

/* --- what queued says --- */

static void job_begin(struct desk *desk, const struct msg_job_begin *m)
{
    struct desk_job *job = mem_take_zero(sizeof *job);
    struct desk_job **end = &desk->jobs;

    if (job == NULL) {
        queued_say(desk, &(struct msg){.kind = MSG_job_end, .job_end = {.job = m->job, .verdict = LANE_WORKER_LOST}});
        return;
    }
    job->desk = desk;
    job->id = m->job;
    arena_init(&job->arena, DESK_ARENA_SIZE_MAX);
    job->damaged = !is_ok(envelope_head_copy(&job->arena, &m->head, &job->head)) ||
                   !is_ok(arena_copy(&job->arena, m->lane, &job->lane));
    job->way = way_of(job->lane);
    while (*end != NULL)
        end = &(*end)->next;
    *end = job;
    desk->job_count++;
}

static void job_rcpt(struct desk *desk, const struct msg_job_rcpt *m)
{
    struct desk_job *job = job_find(desk, m->job);

    if (job == NULL || job->running || job->count == JOB_RCPT_COUNT_MAX)
        return;
    void *memory = NULL;
    struct result r = arena_take(&job->arena, sizeof(struct desk_rcpt), &memory);
    struct desk_rcpt *at = memory;
    if (is_ok(r))
        r = recipient_copy(&job->arena, &m->rcpt, &at->rcpt);
    if (is_ok(r))
        job->rcpts[job->count++] = at;
    job->damaged |= !is_ok(r);
}

static void job_body(struct desk *desk, const struct msg_job_body *m)
{
    struct desk_job *job = job_find(desk, m->job);

    if (job == NULL)
        return;
    if (!job->running) {
        job->damaged |= m->offset != 0 || !is_ok(arena_copy(&job->arena, m->body, &job->first));
        return;
    }
    for (struct part *p = job->parts; p != NULL; p = p->next) {
        if (!p->wants || p->offset != m->offset || p->hand == NULL)
            continue;
        p->wants = false;
        channel_send(p->hand->channel,
            &(struct msg){.kind = MSG_job_body, .job_body = {.job = p->id, .offset = m->offset, .body = m->body}});
    }
}

void desk_receive(struct desk *desk, const struct msg *m)
{
    struct desk_job *job;

    switch (m->kind) {
    case MSG_job_begin:
        job_begin(desk, &m->job_begin);
        break;
    case MSG_job_rcpt:
        job_rcpt(desk, &m->job_rcpt);
        break;
    case MSG_job_body:
        job_body(desk, &m->job_body);
        break;
    case MSG_job_run:
        job = job_find(desk, m->job_run.job);
        if (job != NULL && !job->running)
            job_run(job);
        break;
    case MSG_job_cancel:
        job = job_find(desk, m->job_cancel.job);
        if (job != NULL)
            job_end(job, LANE_OK);
        break;
    default:
        break; /* the codec lets nothing else through */
    }
}

void desk_queued(struct desk *desk, struct channel *queued)
{
    desk->queued = NULL;
    while (desk->jobs != NULL)
        job_end(desk->jobs, LANE_WORKER_LOST);
    desk->hands.doubt = clock_walltime();
    hands_fini(&desk->hands); /* the next ones know that what they are given may have been delivered */
    desk->queued = queued;
}

RESULT desk_init(struct desk *desk)
{
    struct owner found;

    desk->command_user_is_other = owner_find(desk->cfg->command_user, &found).code == CODE_REFUSED;
    desk->deal = (struct loop_hook){.fn = on_deal, .ctx = desk};
    desk->hands = (struct hands){.loop = desk->loop,
        .cfg = desk->cfg,
        .ctx = desk,
        .on_message = on_message,
        .on_gone = on_gone,
        .on_freed = on_freed,
        .on_lost = on_lost,
        .doubt = clock_walltime()};
    return hands_init(&desk->hands);
}

void desk_fini(struct desk *desk)
{
    desk_queued(desk, NULL);
    loop_hook_drop(desk->loop, &desk->deal);
}
