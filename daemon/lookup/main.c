#include "daemon/lookup/lookup.h"

#include <unistd.h>

#include "daemon/edge/tls_store.h"
#include "daemon/lookup/asker.h"
#include "daemon/lookup/doorman.h"
#include "daemon/lookup/files.h"
#include "daemon/lookup/job.h"
#include "smtp/address.h"
#include "smtp/srs.h"

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
    struct cards cards;
    struct asker *asker; /* NULL: the configuration has no lookups */
    struct srs srs;
    struct bytes srs_text; /* its keys */
    bool draining;
};

/* The channel to one inbound process. */
struct counter {
    struct counter *next;
    struct lookup *lookup;
    struct channel *channel;
    struct inquiry *inquiries;
};

/* A question that waits for cards. */
struct inquiry {
    struct card_waiter waiter;
    struct counter *counter; /* NULL: nobody waits any more */
    struct inquiry *next;
    uint64_t session;
    struct bytes login, path; /* login empty: is this recipient known? */
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

static bool sender_answer(const struct lookup *l, struct bytes login, struct bytes path, enum rcpt_known *known_out)
{
    enum book_answer answer = book_sender(&l->book, l->cfg, login, path);

    *known_out = answer == BOOK_FINAL ? RCPT_FINAL : answer == BOOK_UNKNOWN ? RCPT_UNKNOWN : RCPT_LATER;
    return answer != BOOK_WAIT;
}

static bool question_answer(const struct lookup *l, struct bytes login, struct bytes path, enum rcpt_known *known_out)
{
    return login.size > 0 ? sender_answer(l, login, path, known_out) : lookup_known(&l->desk, path, known_out);
}

static void say(const struct counter *c, uint64_t session, enum rcpt_known known)
{
    channel_send(
        c->channel, &(struct msg){.kind = MSG_rcpt_answer, .rcpt_answer = {.session = session, .known = known}});
}

static void inquiry_end(struct inquiry *q)
{
    struct inquiry **at = &q->counter->inquiries;

    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    cards_leave(&q->counter->lookup->cards, &q->waiter);
    mem_free(q);
}

static void inquiry_begin(struct counter *c, uint64_t session, struct bytes login, struct bytes path)
{
    struct inquiry *q = mem_take_zero(sizeof *q + login.size + path.size);
    uint8_t *text = (uint8_t *)(q + 1);

    if (q == NULL) {
        say(c, session, RCPT_LATER);
        return;
    }
    if (login.size > 0)
        memcpy(text, login.data, login.size);
    if (path.size > 0)
        memcpy(text + login.size, path.data, path.size);
    q->counter = c;
    q->session = session;
    q->login = (struct bytes){text, login.size};
    q->path = (struct bytes){text + login.size, path.size};
    q->next = c->inquiries;
    c->inquiries = q;
    cards_begin(&c->lookup->cards, &q->waiter, q, c->lookup->cards.now);
    cards_wait(&c->lookup->cards, &q->waiter);
}

static void question_take(struct counter *c, uint64_t session, struct bytes login, struct bytes path)
{
    enum rcpt_known known;

    look(c->lookup);
    c->lookup->cards.now = loop_now(c->lookup->loop);
    if (question_answer(c->lookup, login, path, &known))
        say(c, session, known);
    else
        inquiry_begin(c, session, login, path);
    if (c->lookup->asker != NULL)
        asker_turn(c->lookup->asker); /* may end this counter's wait, and others' */
}

static void on_question(void *ctx, const struct msg *m)
{
    struct counter *c = ctx;

    if (m->kind == MSG_client_ask && c->lookup->doorman != NULL)
        doorman_ask(c->lookup->doorman, c->channel, &m->client_ask);
    if (m->kind == MSG_rcpt_ask)
        question_take(ctx, m->rcpt_ask.session, BYTES_NONE, m->rcpt_ask.path);
    if (m->kind == MSG_sender_ask)
        question_take(ctx, m->sender_ask.session, m->sender_ask.login, m->sender_ask.path);
}

/* Cards have come: those who waited for them go on. */
static void on_cards(void *ctx)
{
    struct lookup *l = ctx;
    struct card_waiter *w;

    while ((w = cards_next_ready(&l->cards)) != NULL) {
        struct inquiry *q = w->owner;
        enum rcpt_known known;

        if (lookup_job_is(&l->desk, w->owner)) {
            lookup_job_resume(&l->desk, w->owner);
        } else if (question_answer(l, q->login, q->path, &known)) {
            say(q->counter, q->session, known);
            inquiry_end(q);
        } else {
            cards_wait(&l->cards, &q->waiter);
        }
    }
    look_for_end(l);
}

static void counter_free(struct counter *c)
{
    struct counter **at = &c->lookup->counters;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->lookup->doorman != NULL && c->channel != NULL)
        doorman_leave(c->lookup->doorman, c->channel);
    while (c->inquiries != NULL)
        inquiry_end(c->inquiries);
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
        l->cards.now = loop_now(l->loop);
        lookup_job_run(&l->desk, m->job_run.job);
        if (l->asker != NULL)
            asker_turn(l->asker);
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

/* Files that are included are known only when what includes them has been read. */
static void ready_tell(const struct lookup *l)
{
    struct config_text_list paths = {0};
    size_t count = 0;

    for (const struct book_page *page = l->book.pages; page != NULL; page = page->next)
        count++;
    paths.items = mem_take(count * sizeof *paths.items + 1);
    for (const struct book_page *page = l->book.pages; page != NULL && paths.items != NULL; page = page->next)
        paths.items[paths.count++] = page->path;
    process_reads(l->process, &paths);
    process_ready(l->process);
    process_reads(l->process, &(struct config_text_list){0});
    mem_free(paths.items);
}

static void on_table(void *ctx, enum config_table table, int fd)
{
    struct lookup *l = ctx;
    unsigned line;

    (void)table; /* the keys of SRS are the only one */
    tls_pack_free(&l->srs_text);
    struct result r = tls_pack_take(fd, &l->srs_text);
    if (is_ok(r))
        r = srs_keys_read(l->srs_text, &l->srs, &line);
    if (!is_ok(r)) {
        process_fail(l->process, r.why);
        return;
    }
    config_srs_fill(l->cfg, &l->srs);
    l->desk.srs = &l->srs;
}

static void on_go(void *ctx)
{
    struct lookup *l = ctx;

    look(l); /* now, so that a mistake in a file is told at the start */
    ready_tell(l);
    if (l->asker != NULL)
        asker_start(l->asker); /* behind the sandbox, so that it holds the threads too */
}

/* The inbound processes of this generation need us until they are gone. */
static void on_drain(void *ctx)
{
    struct lookup *l = ctx;

    l->draining = true;
    say_hello(l, 0);
    look_for_end(l);
}

static const struct process_handlers HANDLERS = {
    .on_channel = on_channel, .on_table = on_table, .on_go = on_go, .on_drain = on_drain};

int lookup_main(struct process *p)
{
    struct lookup l = {.process = p, .loop = process_loop(p), .cfg = process_config(p)};

    l.desk.book = &l.book;
    l.desk.cfg = l.book.cfg = l.cfg;
    struct result r = files_want(&l.book, l.cfg);
    if (is_ok(r))
        r = doorman_new(l.loop, l.cfg, &l.doorman);
    if (is_ok(r))
        r = cards_init(&l.cards, l.cfg);
    if (is_ok(r) && l.cfg->lookup_count > 0) {
        l.book.cards = l.desk.cards = &l.cards;
        l.asker = asker_new(l.loop, l.cfg, &l.cards, on_cards, &l);
        if (l.asker == NULL)
            r = FAIL(CODE_FULL, "out of memory");
    }
    if (!is_ok(r))
        process_fail(p, r.why);
    int status = process_serve(p, &HANDLERS, &l);
    while (l.counters != NULL)
        counter_free(l.counters);
    doorman_free(&l.doorman);
    channel_free(&l.desk.queued);
    lookup_jobs_drop(&l.desk);
    files_fini(&l.book);
    tls_pack_free(&l.srs_text);
    if (!asker_free(&l.asker))
        _exit(status); /* a server keeps a thread waiting: nothing can be freed under it */
    cards_fini(&l.cards);
    return status;
}
