/* Questions stand in the order in which they were asked, which is that of their deadlines: one timer serves all. */
#include "daemon/inbound/repute.h"

enum { GRACE_MS = 1000 }; /* lookup keeps the time; this is for a lookup that hangs */

struct repute {
    struct loop *loop;
    int64_t time_ms;
    repute_answered *answered;
    struct channel *channel; /* NULL: there is no lookup */
    struct repute_question *first, **end;
    struct loop_timer timer;
    uint64_t last;
};

static void take_off(struct repute_question *question)
{
    struct repute *r = question->repute;

    if (question->next != NULL)
        question->next->link = question->link;
    else
        r->end = question->link;
    *question->link = question->next;
    question->next = NULL;
    question->link = NULL;
    if (r->first == NULL)
        loop_timer_stop(r->loop, &r->timer);
    else
        loop_timer_set(r->loop, &r->timer, r->first->deadline);
}

static void first_is_unknown(struct repute *r)
{
    struct repute_question *question = r->first;

    take_off(question);
    r->answered(question->owner, BYTES_NONE, false, 0);
}

static void on_late(void *ctx)
{
    struct repute *r = ctx;

    while (r->first != NULL && instant_reached(r->first->deadline, loop_now(r->loop)))
        first_is_unknown(r);
}

struct repute *repute_new(struct loop *loop, int64_t time_ms, repute_answered *answered)
{
    struct repute *r = mem_take_zero(sizeof *r);

    if (r == NULL)
        return NULL;
    r->loop = loop;
    r->time_ms = time_ms;
    r->answered = answered;
    r->end = &r->first;
    r->timer = (struct loop_timer){.fn = on_late, .ctx = r};
    return r;
}

void repute_free(struct repute **repute)
{
    if (*repute == NULL)
        return;
    loop_timer_stop((*repute)->loop, &(*repute)->timer);
    mem_free(*repute);
    *repute = NULL;
}

void repute_channel(struct repute *r, struct channel *channel)
{
    r->channel = channel;
    while (r->first != NULL)
        first_is_unknown(r);
}

void repute_heard(struct repute *r, const struct msg_client_answer *answer)
{
    for (struct repute_question *q = r->first; q != NULL; q = q->next) {
        if (q->number != answer->session)
            continue;
        take_off(q);
        r->answered(q->owner, answer->name, answer->nameless, answer->listed);
        return;
    }
}

void repute_ask(struct repute *r, struct repute_question *question, const uint8_t address[16], bool lists)
{
    struct msg m = {
        .kind = MSG_client_ask, .client_ask = {.session = ++r->last, .address = {address, 16}, .lists = lists}};

    ASSERT(question->link == NULL);
    if (r->channel == NULL) {
        r->answered(question->owner, BYTES_NONE, false, 0);
        return;
    }
    channel_send(r->channel, &m);
    question->repute = r;
    question->number = r->last;
    question->deadline = instant_after(loop_now(r->loop), r->time_ms + GRACE_MS);
    question->link = r->end;
    question->next = NULL;
    *r->end = question;
    r->end = &question->next;
    if (r->first == question)
        loop_timer_set(r->loop, &r->timer, question->deadline);
}

void repute_leave(struct repute_question *question)
{
    if (question->link != NULL)
        take_off(question);
}
