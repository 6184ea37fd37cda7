#include "daemon/local/job.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/local/program.h"
#include "smtp/address.h"
#include "smtp/idna.h"

/* What becomes of one recipient. */
struct target {
    struct recipient rcpt;
    struct mailbox box;
    bool open;
    bool spooled;             /* for a command or a file: it is handed over when it is whole */
    enum job_outcome outcome; /* when not open */
    struct bytes status, reply;
};

enum lane_kind { LANE_MAILBOX, LANE_COMMAND, LANE_FILE };

struct local_job {
    struct local *local;
    struct local_job *next;
    struct job_id id;
    struct arena arena;
    struct envelope_head head;
    enum lane_kind kind;
    struct bytes lane;
    struct program *program; /* of the target before commit_at */
    bool damaged, running;
    struct bytes first;   /* body octets that came before the job runs */
    uint64_t body_offset; /* octets written so far */
    uint32_t count, commit_at;
    struct loop_hook work;
    struct target targets[JOB_RCPT_COUNT_MAX];
};

static struct local_job *job_find(struct local *local, struct job_id id)
{
    struct local_job *job = local->jobs;

    while (job != NULL && job->id.value != id.value)
        job = job->next;
    return job;
}

static void job_end(struct local_job *job, enum lane_verdict verdict)
{
    struct local *local = job->local;
    struct local_job **at = &local->jobs;
    struct msg m = {.kind = MSG_job_end, .job_end = {.job = job->id, .verdict = verdict}};

    for (uint32_t i = 0; i < job->count; i++)
        if (job->targets[i].open)
            mailbox_abandon(&job->targets[i].box);
    if (local->queued != NULL)
        channel_send(local->queued, &m);
    program_stop(&job->program);
    loop_hook_drop(local->loop, &job->work);
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    local->job_count--;
    arena_fini(&job->arena);
    mem_free(job);
    local->job_ended(local);
}

static void target_fail(struct local_job *job, struct target *t, struct result r)
{
    if (t->open)
        mailbox_abandon(&t->box);
    t->open = false;
    t->outcome = JOB_DEFERRED;
    t->status = BYTES("4.2.0");
    t->reply = BYTES("the mailbox cannot be written");
    if (r.code == CODE_SYNTAX && job->kind != LANE_MAILBOX) { /* the operator's line, not the sender's address */
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

/* The Maildir of a recipient, with a NUL. */
static RESULT target_path(const struct local_job *job, const struct target *t, struct buf *path)
{
    uint8_t domain_octets[DOMAIN_SIZE_MAX + 1], local_octets[LOCAL_PART_SIZE_MAX];
    struct buf domain = BUF(domain_octets), local_part = BUF(local_octets);
    ptrdiff_t at = bytes_rindex(t->rcpt.forward_path, '@');
    const struct config_domain *found;

    if (at == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "the address has no domain");
    if (!is_ok(idna_to_ascii(bytes_after(t->rcpt.forward_path, (size_t)at + 1), &domain)))
        return FAIL(CODE_SYNTAX, "the domain is not a valid name");
    found = config_domain_find(job->local->cfg, buf_bytes(&domain));
    if (found == NULL || found->maildir.size == 0)
        return FAIL(CODE_GONE, "the domain has no mailboxes in the configuration any more");
    TRY(address_put_unquoted(&local_part, bytes_head(t->rcpt.forward_path, (size_t)at)));
    TRY(mailbox_path_put(path, found->maildir, config_domain_user(found, buf_bytes(&local_part)), buf_bytes(&domain)));
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

/* As elsewhere, a path that ends with a slash is a Maildir. */
static bool file_is_maildir(const struct local_job *job)
{
    return job->lane.data[job->lane.size - 1] == '/';
}

static RESULT target_open(struct local_job *job, struct target *t)
{
    struct local *local = job->local;
    uint8_t path_octets[MAILBOX_PATH_SIZE_MAX], name_octets[MAILBOX_NAME_SIZE_MAX];
    struct buf path = BUF(path_octets), name = BUF(name_octets);

    if (job->kind == LANE_COMMAND || (job->kind == LANE_FILE && !file_is_maildir(job))) {
        t->box = (struct mailbox){.dir_fd = -1, .fd = -1};
        TRY(program_spool(&t->box.fd));
        t->open = t->spooled = true;
        return target_head(job, t);
    }
    if (job->kind == LANE_FILE) {
        TRY(buf_put(&path, bytes_after(job->lane, 5)));
        TRY(buf_put_octet(&path, 0));
    } else {
        TRY(target_path(job, t, &path));
    }
    TRY(mailbox_name_put(&name, clock_walltime(), (uint32_t)getpid(), ++local->file_count, local->cfg->hostname));
    TRY(mailbox_open(&t->box, (const char *)path.data, buf_bytes(&name)));
    t->open = true;
    return target_head(job, t);
}

/* --- the body --- */

static void body_write(struct local_job *job, struct bytes body)
{
    for (uint32_t i = 0; i < job->count; i++) {
        struct target *t = &job->targets[i];
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
        if (job->targets[i].open)
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

static void target_report(struct local_job *job, const struct target *t)
{
    struct msg m = {.kind = MSG_job_result,
        .job_result = {.job = job->id, .n = t->rcpt.n, .outcome = t->outcome, .status = t->status, .reply = t->reply}};

    if (job->local->queued != NULL)
        channel_send(job->local->queued, &m);
}

static void on_program_ended(void *owner, const struct program_fate *fate)
{
    struct local_job *job = owner;
    struct target *t = &job->targets[job->commit_at - 1];

    job->program = NULL; /* it frees itself */
    mailbox_abandon(&t->box);
    t->open = false;
    t->outcome = fate->outcome;
    t->status = fate->status;
    t->reply = fate->reply;
    target_report(job, t);
    loop_hook_add(job->local->loop, &job->work, LOOP_WORK);
}

/* One mailbox a turn. */
static void on_work(void *ctx)
{
    struct local_job *job = ctx;
    struct target *t;

    if (job->commit_at == job->count) {
        job_end(job, LANE_OK);
        return;
    }
    t = &job->targets[job->commit_at++];
    if (t->open && t->spooled) {
        struct program_order order = {.loop = job->local->loop,
            .cfg = job->local->cfg,
            .lane = job->lane,
            .spool = t->box.fd,
            .head = &job->head,
            .rcpt = &t->rcpt,
            .now = clock_walltime()};
        struct result r = mailbox_flush(&t->box);
        if (is_ok(r))
            r = program_start(&order, on_program_ended, job, &job->program);
        if (is_ok(r))
            return;
        target_fail(job, t, r);
    } else if (t->open) {
        struct result r = mailbox_commit(&t->box);

        if (is_ok(r)) {
            t->open = false;
            t->outcome = JOB_DELIVERED;
            t->status = BYTES("2.0.0");
            t->reply = BYTES("stored in the mailbox");
        } else {
            target_fail(job, t, r);
        }
    }
    target_report(job, t);
    loop_hook_add(job->local->loop, &job->work, LOOP_WORK);
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
    job->kind = bytes_starts(m->lane, BYTES("pipe:"))    ? LANE_COMMAND
                : bytes_starts(m->lane, BYTES("file:/")) ? LANE_FILE
                                                         : LANE_MAILBOX;
    job->damaged = !is_ok(envelope_head_copy(&job->arena, &m->head, &job->head)) ||
                   !is_ok(arena_copy(&job->arena, m->lane, &job->lane));
    job->next = local->jobs;
    local->jobs = job;
    local->job_count++;
}

void local_job_rcpt(struct local *local, const struct msg_job_rcpt *m)
{
    struct local_job *job = job_find(local, m->job);

    if (job == NULL || job->running || job->count == JOB_RCPT_COUNT_MAX)
        return;
    if (is_ok(recipient_copy(&job->arena, &m->rcpt, &job->targets[job->count].rcpt)))
        job->count++;
    else
        job->damaged = true;
}

void local_job_body(struct local *local, const struct msg_job_body *m)
{
    struct local_job *job = job_find(local, m->job);

    if (job == NULL)
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
        struct target *t = &job->targets[i];
        struct result r;

        r = target_open(job, t);
        if (!is_ok(r))
            target_fail(job, t, r);
    }
    body_write(job, job->first);
    job_go_on(job);
}

void local_job_cancel(struct local *local, struct job_id id)
{
    struct local_job *job = job_find(local, id);

    if (job != NULL)
        job_end(job, LANE_OK);
}

void local_jobs_drop(struct local *local)
{
    while (local->jobs != NULL)
        job_end(local->jobs, LANE_WORKER_LOST);
}
