#include "daemon/lookup/lookup.h"

#include <unistd.h>

#include "daemon/lookup/doorman.h"
#include "daemon/lookup/files.h"
#include "daemon/lookup/job.h"
#include "smtp/address.h"

enum { LOOK_EVERY_MS = 1000 };

struct lookup {
    struct process *process;
    struct loop *loop;
    const struct config *cfg;
    struct book book;
    struct instant look_after;
    struct lookup_desk desk;
    struct counter *counters;
    struct doorman *doorman; /* NULL: no memory */
    bool draining;
};

/* The channel to one inbound process. */
struct counter {
    struct counter *next;
    struct lookup *lookup;
    struct channel *channel;
};

static void look(struct lookup *l)
{
    if (!instant_reached(l->look_after, loop_now(l->loop)))
        return;
    l->look_after = instant_after(loop_now(l->loop), LOOK_EVERY_MS);
    files_refresh(&l->book);
}

static void look_for_end(struct lookup *l)
{
    if (l->draining && l->desk.job_count == 0 && l->counters == NULL)
        process_exit(l->process, 0);
}

/* --- inbound: who is known --- */

static void on_question(void *ctx, const struct msg *m)
{
    struct counter *c = ctx;
    struct msg answer = {.kind = MSG_rcpt_answer};

    if (m->kind == MSG_client_ask && c->lookup->doorman != NULL)
        doorman_ask(c->lookup->doorman, c->channel, &m->client_ask);
    if (m->kind != MSG_rcpt_ask)
        return;
    look(c->lookup);
    answer.rcpt_answer.session = m->rcpt_ask.session;
    answer.rcpt_answer.known = lookup_known(&c->lookup->desk, m->rcpt_ask.path);
    channel_send(c->channel, &answer);
}

static void counter_free(struct counter *c)
{
    struct counter **at = &c->lookup->counters;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->lookup->doorman != NULL && c->channel != NULL)
        doorman_leave(c->lookup->doorman, c->channel);
    channel_free(&c->channel);
    mem_free(c);
}

static void on_inbound_closed(void *ctx, enum channel_end why)
{
    struct counter *c = ctx;
    struct lookup *l = c->lookup;

    (void)why; /* the channel has logged it */
    counter_free(c);
    look_for_end(l);
}

static const struct channel_handlers INBOUND_HANDLERS = {.on_message = on_question, .on_closed = on_inbound_closed};

static void inbound_connect(struct lookup *l, int fd)
{
    struct counter *c = mem_take_zero(sizeof *c);

    if (c == NULL) {
        close(fd);
        return;
    }
    c->lookup = l;
    c->next = l->counters;
    l->counters = c;
    c->channel = channel_new(l->loop, fd, ROLE_LOOKUP, ROLE_INBOUND, &INBOUND_HANDLERS, c);
    if (c->channel == NULL)
        counter_free(c);
}

/* --- queued: whom a recipient stands for --- */

static void on_job(void *ctx, const struct msg *m)
{
    struct lookup *l = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        lookup_job_begin(&l->desk, &m->job_begin);
        break;
    case MSG_job_rcpt:
        lookup_job_rcpt(&l->desk, &m->job_rcpt);
        break;
    case MSG_job_body:
        lookup_job_body(&l->desk, &m->job_body);
        break;
    case MSG_job_run:
        look(l);
        lookup_job_run(&l->desk, m->job_run.job);
        look_for_end(l);
        break;
    case MSG_job_cancel:
        lookup_job_cancel(&l->desk, m->job_cancel.job);
        look_for_end(l);
        break;
    default:
        break; /* the codec lets nothing else through */
    }
}

static void on_queued_closed(void *ctx, enum channel_end why)
{
    struct lookup *l = ctx;

    (void)why; /* the channel has logged it */
    channel_free(&l->desk.queued);
    lookup_jobs_drop(&l->desk);
    if (!l->draining)
        process_orphaned(l->process);
    look_for_end(l);
}

static const struct channel_handlers QUEUED_HANDLERS = {.on_message = on_job, .on_closed = on_queued_closed};

static void say_hello(struct lookup *l, uint32_t slots)
{
    struct msg m = {.kind = MSG_worker_hello, .worker_hello = {.kind = ROLE_LOOKUP, .slots = slots}};

    if (l->desk.queued != NULL)
        channel_send(l->desk.queued, &m);
}

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct lookup *l = ctx;

    (void)peer_index;
    if (peer == ROLE_INBOUND) {
        inbound_connect(l, fd);
        return;
    }
    if (peer != ROLE_QUEUED) {
        close(fd);
        return;
    }
    if (l->desk.queued != NULL)
        on_queued_closed(l, CHANNEL_END_PEER);
    l->desk.queued = channel_new(l->loop, fd, ROLE_LOOKUP, ROLE_QUEUED, &QUEUED_HANDLERS, l);
    say_hello(l, l->draining ? 0 : LOOKUP_SLOTS);
}

/* --- what the supervisor says --- */

static void on_go(void *ctx)
{
    struct lookup *l = ctx;

    look(l); /* now, so that a mistake in a file is told at the start */
    process_ready(l->process);
}

/* The inbound processes of this generation need us until they are gone. */
static void on_drain(void *ctx)
{
    struct lookup *l = ctx;

    l->draining = true;
    say_hello(l, 0);
    look_for_end(l);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel, .on_go = on_go, .on_drain = on_drain};

int lookup_main(struct process *p)
{
    struct lookup l = {.process = p, .loop = process_loop(p), .cfg = process_config(p)};

    l.desk.book = &l.book;
    l.book.system_user = files_system_user;
    l.desk.cfg = l.cfg;
    struct result r = files_want(&l.book, l.cfg);
    if (is_ok(r))
        r = doorman_new(l.loop, l.cfg, &l.doorman);
    if (!is_ok(r))
        process_fail(p, r.why);
    int status = process_serve(p, &HANDLERS, &l);
    while (l.counters != NULL)
        counter_free(l.counters);
    doorman_free(&l.doorman);
    channel_free(&l.desk.queued);
    lookup_jobs_drop(&l.desk);
    files_fini(&l.book);
    return status;
}
