/* Questions stand in the order in which they were asked, so the first is the first to be late: one timer serves all.
 * A session's number names its question; a late answer to a session that has asked again meanwhile would be taken for the new
 * one, so each question gets a number of its own. */
#include "daemon/inbound/inquiry.h"

struct inquiry {
    struct loop *loop;
    inquiry_answered *answered;
    struct channel *channel; /* NULL: there is no lookup */
    struct inquiry_question *first, **end;
    struct loop_timer timer;
    struct repute *repute; /* shares the channel; NULL: nobody */
    uint64_t last;
};

static void question_take_off(struct inquiry *q, struct inquiry_question *question)
{
    if (question->next != NULL)
        question->next->link = question->link;
    else
        q->end = question->link;
    *question->link = question->next;
    question->next = NULL;
    question->link = NULL;
}

static void timer_settle(struct inquiry *q)
{
    if (q->first == NULL)
        loop_timer_stop(q->loop, &q->timer);
    else
        loop_timer_set(q->loop, &q->timer, q->first->deadline);
}

static void first_is_later(struct inquiry *q)
{
    struct inquiry_question *question = q->first;

    question_take_off(q, question);
    q->answered(question->owner, RCPT_LATER);
}

static void all_later(struct inquiry *q)
{
    while (q->first != NULL)
        first_is_later(q);
    timer_settle(q);
}

static void on_late(void *ctx)
{
    struct inquiry *q = ctx;

    while (q->first != NULL && instant_reached(q->first->deadline, loop_now(q->loop)))
        first_is_later(q);
    timer_settle(q);
}

static void on_message(void *ctx, const struct msg *m)
{
    struct inquiry *q = ctx;

    if (m->kind == MSG_client_answer && q->repute != NULL)
        repute_heard(q->repute, &m->client_answer);
    if (m->kind != MSG_rcpt_answer)
        return;
    for (struct inquiry_question *at = q->first; at != NULL; at = at->next) {
        if (at->session != m->rcpt_answer.session)
            continue;
        question_take_off(q, at);
        timer_settle(q);
        q->answered(at->owner, m->rcpt_answer.known);
        return;
    }
}

static void channel_drop(struct inquiry *q)
{
    channel_free(&q->channel);
    all_later(q);
    if (q->repute != NULL)
        repute_channel(q->repute, NULL);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct inquiry *q = ctx;

    (void)why; /* the channel has logged it; the supervisor brings a new one */
    channel_drop(q);
}

static const struct channel_handlers HANDLERS = {.on_message = on_message, .on_closed = on_closed};

struct inquiry *inquiry_new(struct loop *loop, inquiry_answered *answered)
{
    struct inquiry *q = mem_take_zero(sizeof *q);

    if (q == NULL)
        return NULL;
    q->loop = loop;
    q->answered = answered;
    q->end = &q->first;
    q->timer = (struct loop_timer){.fn = on_late, .ctx = q};
    return q;
}

void inquiry_free(struct inquiry **inquiry)
{
    if (*inquiry == NULL)
        return;
    loop_timer_stop((*inquiry)->loop, &(*inquiry)->timer);
    channel_free(&(*inquiry)->channel);
    mem_free(*inquiry);
    *inquiry = NULL;
}

void inquiry_channel(struct inquiry *q, int fd)
{
    channel_drop(q);
    q->channel = channel_new(q->loop, fd, ROLE_INBOUND, ROLE_LOOKUP, &HANDLERS, q);
    if (q->repute != NULL)
        repute_channel(q->repute, q->channel);
}

void inquiry_share(struct inquiry *q, struct repute *repute)
{
    q->repute = repute;
}

/* `m` but for its number. */
static void question_put(struct inquiry *q, struct inquiry_question *question, struct msg *m, uint64_t *number)
{
    ASSERT(question->link == NULL);
    if (q->channel == NULL) {
        q->answered(question->owner, RCPT_LATER);
        return;
    }
    *number = ++q->last;
    channel_send(q->channel, m);
    question->inquiry = q;
    question->session = q->last;
    question->deadline = instant_after(loop_now(q->loop), INQUIRY_MS);
    question->link = q->end;
    question->next = NULL;
    *q->end = question;
    q->end = &question->next;
    if (q->first == question)
        timer_settle(q);
}

void inquiry_ask(struct inquiry *q, struct inquiry_question *question, struct bytes path)
{
    struct msg m = {.kind = MSG_rcpt_ask, .rcpt_ask = {.path = path}};

    question_put(q, question, &m, &m.rcpt_ask.session);
}

void inquiry_ask_sender(
    struct inquiry *q, struct inquiry_question *question, struct bytes login, struct bytes reverse_path)
{
    struct msg m = {.kind = MSG_sender_ask, .sender_ask = {.login = login, .path = reverse_path}};

    question_put(q, question, &m, &m.sender_ask.session);
}

void inquiry_leave(struct inquiry_question *question)
{
    struct inquiry *q = question->inquiry;

    if (question->link == NULL)
        return;
    question_take_off(q, question);
    timer_settle(q);
}
