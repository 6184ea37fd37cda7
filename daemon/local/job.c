#include "daemon/local/job.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/work.h"
#include "daemon/local/forward.h"
#include "daemon/local/program.h"
#include "daemon/local/way.h"
#include "daemon/lookup/alias.h"
#include "smtp/address.h"
#include "smtp/idna.h"

/* What becomes of one recipient. */
struct target {
    struct local_job *job;
    struct target *next; /* ready, or in a commit */
    struct recipient rcpt;
    struct mailbox box;
    struct result result; /* of the commit */
    bool open;
    bool spooled;             /* for a command or a file: it is handed over when it is whole */
    struct bytes file;        /* spooled: the file, else the command of the way */
    enum job_outcome outcome; /* when not open */
    struct bytes status, reply;
    struct forward_target *children; /* JOB_EXPANDED */
};

struct local_job {
    struct local *local;
    struct local_job *next;
    struct job_id id;
    struct arena arena;
    struct envelope_head head;
    struct way way;
    struct program *program; /* of the target before start_at */
    bool damaged, running, cancelled;
    struct bytes first;   /* body octets that came before the job runs */
    uint64_t body_offset; /* octets written so far */
    uint32_t count, start_at;
    uint32_t committing; /* targets that are ready or in a commit */
    struct loop_hook work;
    struct target *targets[JOB_RCPT_COUNT_MAX]; /* in the arena: most jobs have one */
};

static struct local_job *job_find(struct local *local, struct job_id id)
{
    struct local_job *job = local->jobs;

    while (job != NULL && job->id.value != id.value)
        job = job->next;
    return job;
}

static void job_free(struct local_job *job)
{
    struct local *local = job->local;
    struct local_job **at = &local->jobs;

    for (uint32_t i = 0; i < job->count; i++)
        if (job->targets[i]->open)
            mailbox_abandon(&job->targets[i]->box);
    program_stop(&job->program);
    loop_hook_drop(local->loop, &job->work);
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    local->job_count--;
    arena_fini(&job->arena);
    mem_free(job);
    if (local->ending && local->job_count == 0)
        loop_stop(local->loop);
}

static void job_end(struct local_job *job, enum lane_verdict verdict)
{
    struct msg m = {.kind = MSG_job_end, .job_end = {.job = job->id, .verdict = verdict}};

    if (job->local->queued != NULL)
        channel_send(job->local->queued, &m);
    job_free(job);
}

static void target_fail(struct local_job *job, struct target *t, struct result r)
{
    if (t->open)
        mailbox_abandon(&t->box);
    t->open = false;
    t->outcome = JOB_DEFERRED;
    t->status = BYTES("4.2.0");
    t->reply = BYTES("the mailbox cannot be written");
    if (r.code == CODE_SYNTAX && job->way.kind != WAY_MAILBOX) { /* the operator's line, not the sender's address */
        t->status = BYTES("4.3.5");
        t->reply = bytes_of(r.why);
    } else if (r.code == CODE_SYNTAX || r.code == CODE_REFUSED) {
        t->outcome = JOB_FAILED;
        t->status = BYTES("5.1.3");
        t->reply = bytes_of(r.why);
    } else if (r.sys == ENOSPC) {
        t->status = BYTES("4.3.1");
        t->reply = BYTES("the disk is full");
    } else if (r.sys == EDQUOT) {
        t->status = BYTES("4.2.2");
        t->reply = BYTES("the mailbox is over its quota");
    }
    LOG(MAILBOX_FAILED, LOG_MSG("id", job->head.id), LOG_TEXT("to", t->rcpt.forward_path),
        LOG_STR("why", r.sys != 0 ? strerrordesc_np(r.sys) : r.why), LOG_STR("step", r.why));
}

/* --- opening --- */

/* The mailbox of a recipient, with a NUL. */
static RESULT target_path(
    const struct local_job *job, const struct target *t, struct buf *path, const struct config_domain **domain_out)
{
    uint8_t domain_octets[DOMAIN_SIZE_MAX + 1], local_octets[LOCAL_PART_SIZE_MAX];
    struct buf domain = BUF(domain_octets), local_part = BUF(local_octets);
    ptrdiff_t at = bytes_rindex(t->rcpt.forward_path, '@');
    const struct config_domain *found;
    struct bytes template;

    if (at == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "the address has no domain");
    if (!is_ok(idna_to_ascii(bytes_after(t->rcpt.forward_path, (size_t)at + 1), &domain)))
        return FAIL(CODE_SYNTAX, "the domain is not a valid name");
    found = config_domain_of(job->local->cfg, buf_bytes(&domain));
    if (found == NULL || found->maildir.size + found->mbox.size == 0)
        return FAIL(CODE_GONE, "the domain has no mailboxes in the configuration any more");
    TRY(address_put_unquoted(&local_part, bytes_head(t->rcpt.forward_path, (size_t)at)));
    *domain_out = found;
    template = found->mbox.size > 0 ? found->mbox : found->maildir;
    if (found->system_users && bytes_starts(template, BYTES("~/"))) {
        TRY(buf_put_str(path, job->local->owner->home));
        template = bytes_after(template, 1);
    }
    TRY(mailbox_path_put(path, template, config_domain_user(found, buf_bytes(&local_part)), buf_bytes(&domain)));
    return buf_put_octet(path, 0);
}

static RESULT field_put(struct buf *head, const char *name, struct bytes value)
{
    TRY(buf_put_str(head, name));
    TRY(buf_put(head, value));
    return buf_put_str(head, "\r\n");
}

/* RFC 5321 4.4: the last system before the mailbox says where the message came from; Delivered-To says whose copy it is, X-Original-To what
 * the sender had written. */
static RESULT target_head(const struct local_job *job, struct target *t)
{
    uint8_t octets[3 * ADDRESS_SIZE_MAX + 96];
    struct buf head = BUF(octets);
    struct bytes original =
        bytes_starts_nocase(t->rcpt.orcpt, BYTES("rfc822;")) ? bytes_after(t->rcpt.orcpt, 7) : BYTES_NONE;

    TRY(buf_put_str(&head, "Return-Path: <"));
    TRY(buf_put(&head, job->head.reverse_path));
    TRY(field_put(&head, ">\r\nDelivered-To: ", t->rcpt.forward_path));
    if (original.size > 0 && !bytes_equal_nocase(original, t->rcpt.forward_path))
        TRY(field_put(&head, "X-Original-To: ", original));
    return mailbox_write(&t->box, buf_bytes(&head));
}

/* What follows the delimiter of a subaddress. */
static struct bytes extension_of(const struct config_domain *domain, struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes local_part = bytes_head(path, (size_t)at), user = config_domain_user(domain, local_part);

    return bytes_after(local_part, user.size + 1);
}

/* True when the user's ~/.forward says what becomes of the message, or cannot be followed. */
static bool target_forwards(struct local_job *job, struct target *t, const struct config_domain *domain)
{
    uint8_t octets[FORWARD_SIZE_MAX];
    struct buf text = BUF(octets);
    struct result r =
        forward_read(job->local->owner, domain->subaddress, extension_of(domain, t->rcpt.forward_path), &text);

    if (r.code == CODE_GONE)
        return false;
    if (is_ok(r))
        r = forward_targets(job->local->owner, t->rcpt.forward_path, buf_bytes(&text), &job->arena, &t->children);
    if (is_ok(r) && t->children == NULL)
        return false;
    t->outcome = JOB_EXPANDED;
    t->status = BYTES("2.0.0");
    t->reply = BYTES("forwarded");
    if (!is_ok(r)) {
        LOG(FORWARD_REFUSED, LOG_MSG("id", job->head.id), LOG_TEXT("to", t->rcpt.forward_path),
            LOG_STR("why", r.sys != 0 ? strerrordesc_np(r.sys) : r.why));
        t->outcome = JOB_DEFERRED;
        t->status = BYTES("4.3.5");
        t->reply = bytes_of(r.why);
    } else if (lookup_was_delivered_to(job->first, t->rcpt.forward_path)) {
        t->outcome = JOB_FAILED;
        t->status = BYTES("5.4.6");
        t->reply = BYTES("the message has been delivered to this address before: a mail loop");
    }
    return true;
}

static RESULT spool_open(struct local_job *job, struct target *t)
{
    t->box = (struct mailbox){.dir_fd = -1, .fd = -1};
    TRY(program_spool(&t->box.fd));
    t->open = t->spooled = true;
    return target_head(job, t);
}

static RESULT maildir_open(struct local_job *job, struct target *t, const char *path)
{
    struct local *local = job->local;
    uint8_t octets[MAILBOX_NAME_SIZE_MAX];
    struct buf name = BUF(octets);

    TRY(mailbox_name_put(&name, job->head.arrival, job->head.id, t->rcpt.n, local->cfg->hostname));
    TRY(mailbox_open(&t->box, path, buf_bytes(&name), job->head.arrival.ms <= local->doubt.ms));
    t->outcome = JOB_DELIVERED;
    t->status = BYTES("2.0.0");
    t->reply = BYTES("stored in the mailbox");
    t->open = !t->box.there;
    return t->open ? target_head(job, t) : OK;
}

static RESULT target_open(struct local_job *job, struct target *t)
{
    uint8_t octets[MAILBOX_PATH_SIZE_MAX];
    struct buf path = BUF(octets);
    const struct config_domain *domain = NULL;

    if (job->way.kind == WAY_COMMAND)
        return spool_open(job, t);
    if (job->way.kind == WAY_FILE) {
        TRY(buf_put(&path, job->way.text));
        TRY(buf_put_octet(&path, 0));
    } else {
        TRY(target_path(job, t, &path, &domain));
        if (domain->system_users && job->way.as.size == 0 && target_forwards(job, t, domain))
            return OK;
    }
    /* As elsewhere, a path that ends with a slash is a Maildir. */
    bool is_file = domain != NULL ? domain->mbox.size > 0 : octets[path.size - 2] != '/';
    if (!is_file)
        return maildir_open(job, t, (const char *)octets);
    TRY(arena_copy(&job->arena, buf_bytes(&path), &t->file));
    return spool_open(job, t);
}

/* --- the body --- */

static void body_write(struct local_job *job, struct bytes body)
{
    for (uint32_t i = 0; i < job->count; i++) {
        struct target *t = job->targets[i];
        struct result r;

        if (!t->open)
            continue;
        r = mailbox_write(&t->box, body);
        if (!is_ok(r))
            target_fail(job, t, r);
    }
    job->body_offset += body.size;
}

static bool job_wants_body(const struct local_job *job)
{
    if (job->body_offset >= job->head.body_size)
        return false;
    for (uint32_t i = 0; i < job->count; i++)
        if (job->targets[i]->open)
            return true;
    return false;
}

static void job_go_on(struct local_job *job)
{
    struct msg m = {
        .kind = MSG_job_want, .job_want = {.job = job->id, .offset = job->body_offset, .size = BODY_FRAME_SIZE_MAX}};

    if (!job_wants_body(job))
        loop_hook_add(job->local->loop, &job->work, LOOP_WORK);
    else if (job->local->queued != NULL)
        channel_send(job->local->queued, &m);
}

/* --- results --- */

static void children_say(const struct local_job *job, const struct target *t)
{
    for (const struct forward_target *c = t->children; c != NULL; c = c->next)
        channel_send(job->local->queued, &(struct msg){.kind = MSG_job_child,
                                             .job_child = {.job = job->id,
                                                 .n = t->rcpt.n,
                                                 .kind = c->kind,
                                                 .text = c->text,
                                                 .address = t->rcpt.forward_path,
                                                 .as = bytes_of(job->local->owner->name)}});
}

static void target_report(struct local_job *job, const struct target *t)
{
    struct msg m = {.kind = MSG_job_result,
        .job_result = {.job = job->id, .n = t->rcpt.n, .outcome = t->outcome, .status = t->status, .reply = t->reply}};

    if (job->local->queued == NULL)
        return;
    if (t->outcome == JOB_EXPANDED)
        children_say(job, t);
    channel_send(job->local->queued, &m);
}

static void on_program_ended(void *owner, const struct program_fate *fate)
{
    struct local_job *job = owner;
    struct target *t = job->targets[job->start_at - 1];

    job->program = NULL; /* it frees itself */
    mailbox_abandon(&t->box);
    t->open = false;
    if (job->cancelled) {
        job->start_at = job->count;
        if (job->committing == 0)
            job_free(job);
        return;
    }
    t->outcome = fate->outcome;
    t->status = fate->status;
    t->reply = fate->reply;
    target_report(job, t);
    loop_hook_add(job->local->loop, &job->work, LOOP_WORK);
}

static RESULT program_begin(struct local_job *job, struct target *t)
{
    struct program_order order = {.loop = job->local->loop,
        .cfg = job->local->cfg,
        .command = job->way.text,
        .file = t->file,
        .owner = job->way.as.size > 0 || t->file.size > 0 ? job->local->owner : NULL,
        .spool = t->box.fd,
        .head = &job->head,
        .rcpt = &t->rcpt,
        .now = clock_walltime()};

    TRY(mailbox_flush(&t->box));
    return program_start(&order, on_program_ended, job, &job->program);
}

/* The whole message is there: mailboxes are committed, commands run, one after the other. */
static void on_work(void *ctx)
{
    struct local_job *job = ctx;

    while (job->start_at < job->count) {
        struct target *t = job->targets[job->start_at++];

        if (t->open && !t->spooled) {
            *job->local->ready_end = t;
            job->local->ready_end = &t->next;
            job->local->ready_count++;
            job->committing++;
            loop_hook_add(job->local->loop, &job->local->commit, LOOP_WORK);
            continue;
        }
        if (t->open) {
            struct result r = program_begin(job, t);
            if (is_ok(r))
                return;
            target_fail(job, t, r);
        }
        target_report(job, t);
    }
    if (job->committing == 0)
        job_end(job, LANE_OK);
}

/* --- commits --- */

struct local_commit {
    struct local *local;
    size_t count;
    struct target *targets[LOCAL_COMMIT_MAX];
    struct mailbox *boxes[LOCAL_COMMIT_MAX];
    struct result results[LOCAL_COMMIT_MAX];
};

/* In a thread; the loop leaves these mailboxes alone meanwhile. */
static void commit_run(void *ctx)
{
    struct local_commit *c = ctx;

    mailbox_commit_all(c->boxes, c->count, c->results);
}

static void target_committed(struct target *t, struct result r)
{
    struct local_job *job = t->job;

    t->open = false;
    if (!is_ok(r))
        target_fail(job, t, r);
    if (!job->cancelled)
        target_report(job, t);
    if (--job->committing > 0 || job->start_at < job->count)
        return;
    if (job->program != NULL)
        return;
    if (job->cancelled)
        job_free(job);
    else
        job_end(job, LANE_OK);
}

static void commit_done(void *ctx)
{
    struct local_commit *c = ctx;
    struct local *local = c->local;

    local->commit_count--;
    for (size_t i = 0; i < c->count; i++)
        target_committed(c->targets[i], c->results[i]);
    mem_free(c);
    if (local->ready != NULL)
        loop_hook_add(local->loop, &local->commit, LOOP_WORK);
}

/* `share` of the mailboxes that wait, to one thread. False: the heap has no room. */
static bool commit_begin(struct local *local, uint32_t share)
{
    struct local_commit *c = mem_take_zero(sizeof *c);

    if (c == NULL)
        return false;
    c->local = local;
    while (local->ready != NULL && c->count < share) {
        struct target *t = local->ready;

        local->ready = t->next;
        local->ready_count--;
        t->next = NULL;
        c->boxes[c->count] = &t->box;
        c->targets[c->count++] = t;
    }
    if (local->ready == NULL)
        local->ready_end = &local->ready;
    local->commit_count++;
    if (work_submit(local->loop, commit_run, commit_done, c))
        return true;
    commit_run(c);
    commit_done(c);
    return true;
}

static void on_commit(void *ctx)
{
    struct local *local = ctx;

    uint32_t commits = local->owner->name[0] != 0 ? LOCAL_COMMITS_OF_USER : LOCAL_COMMITS;

    while (local->ready != NULL && local->commit_count < commits) { /* the end of one asks again */
        uint32_t free_count = commits - local->commit_count;
        uint32_t share = (local->ready_count + free_count - 1) / free_count;

        if (commit_begin(local, share < LOCAL_COMMIT_MAX ? share : LOCAL_COMMIT_MAX))
            continue;
        loop_hook_add(local->loop, &local->commit, LOOP_WORK);
        return;
    }
}

void local_init(struct local *local)
{
    local->ready_end = &local->ready;
    local->commit = (struct loop_hook){.fn = on_commit, .ctx = local};
}

/* --- what queued says --- */

void local_job_begin(struct local *local, const struct msg_job_begin *m)
{
    struct local_job *job = mem_take_zero(sizeof *job);

    if (job == NULL) {
        struct msg end = {.kind = MSG_job_end, .job_end = {.job = m->job, .verdict = LANE_WORKER_LOST}};

        channel_send(local->queued, &end);
        return;
    }
    job->local = local;
    job->id = m->job;
    job->work = (struct loop_hook){.fn = on_work, .ctx = job};
    arena_init(&job->arena, LOCAL_ARENA_SIZE_MAX);
    struct bytes lane = BYTES_NONE;
    job->damaged = !is_ok(envelope_head_copy(&job->arena, &m->head, &job->head)) ||
                   !is_ok(arena_copy(&job->arena, m->lane, &lane));
    job->way = way_of(lane);
    job->next = local->jobs;
    local->jobs = job;
    local->job_count++;
}

void local_job_rcpt(struct local *local, const struct msg_job_rcpt *m)
{
    struct local_job *job = job_find(local, m->job);

    if (job == NULL || job->running || job->count == JOB_RCPT_COUNT_MAX)
        return;
    void *memory = NULL;
    struct result r = arena_take(&job->arena, sizeof(struct target), &memory);
    struct target *t = memory;
    if (is_ok(r)) {
        t->job = job;
        r = recipient_copy(&job->arena, &m->rcpt, &t->rcpt);
    }
    if (is_ok(r))
        job->targets[job->count++] = t;
    job->damaged |= !is_ok(r);
}

void local_job_body(struct local *local, const struct msg_job_body *m)
{
    struct local_job *job = job_find(local, m->job);

    if (job == NULL || job->cancelled)
        return;
    if (!job->running) {
        job->damaged |= m->offset != 0 || !is_ok(arena_copy(&job->arena, m->body, &job->first));
        return;
    }
    if (m->offset != job->body_offset || m->body.size == 0)
        return;
    body_write(job, m->body);
    job_go_on(job);
}

void local_job_run(struct local *local, struct job_id id)
{
    struct local_job *job = job_find(local, id);

    if (job == NULL || job->running)
        return;
    if (job->damaged || job->count == 0) {
        job_end(job, LANE_WORKER_LOST);
        return;
    }
    job->running = true;
    for (uint32_t i = 0; i < job->count; i++) {
        struct target *t = job->targets[i];
        struct result r;

        r = target_open(job, t);
        if (!is_ok(r))
            target_fail(job, t, r);
    }
    body_write(job, job->first);
    job_go_on(job);
}

/* Not told to anybody. What is being committed cannot be called back, and a file that is being appended to would keep half a message;
 * the job goes when that is done. */
static void job_drop(struct local_job *job)
{
    struct local *local = job->local;

    job->cancelled = true;
    if (job->way.kind == WAY_COMMAND || !job->local->patient)
        program_stop(&job->program);
    if (job->program == NULL)
        job->start_at = job->count;
    loop_hook_drop(local->loop, &job->work);
    for (struct target **at = &local->ready; *at != NULL;) {
        if ((*at)->job != job) {
            at = &(*at)->next;
            continue;
        }
        *at = (*at)->next;
        local->ready_count--;
        job->committing--;
    }
    local->ready_end = &local->ready;
    while (*local->ready_end != NULL)
        local->ready_end = &(*local->ready_end)->next;
    if (job->committing == 0 && job->program == NULL)
        job_free(job);
}

void local_job_cancel(struct local *local, struct job_id id)
{
    struct local_job *job = job_find(local, id);

    if (job != NULL && !job->cancelled)
        job_drop(job);
}

void local_jobs_drop(struct local *local)
{
    for (struct local_job *job = local->jobs; job != NULL;) {
        struct local_job *next = job->next;

        if (!job->cancelled)
            job_drop(job);
        job = next;
    }
}
