/* One transaction for several deliveries: those of one message whose lanes lead to the same host (many domains share a
 * provider). They come apart again by recipient: each courier sees its own results and its own end, as if it were alone.
 *
 * A delivery whose walk says "dial this address" first looks for a link to it that another delivery of the message is dialing,
 * or that has not begun its transaction. Who waits for the dial is told with the others; who has the session adds its
 * recipients to the job until the client core begins it, in the turn that finds the session ready. After the job's end those
 * whose recipients were put off form the next one.
 *
 * (J1) All seats of a link are of one message and one reverse-path, and their recipients are JOB_RCPT_COUNT_MAX at most.
 * (J2) A delivery that goes away in the middle takes the link with it (link_abandon): its recipients cannot be called back. */
#include "daemon/outbound/parts.h"

struct joint_part {
    struct seat *seat; /* NULL: gone */
    size_t index;      /* in its own job */
};

struct joint {
    struct smtp_job job; /* rcpt_count 0: the next one has no recipient yet */
    struct smtp_job_rcpt rcpts[JOB_RCPT_COUNT_MAX];
    struct joint_part of[JOB_RCPT_COUNT_MAX];
    bool telling; /* the end of the last job is being told: the next one starts after that */
};

static bool link_is_open(const struct link *l)
{
    return !l->over && (!l->begun || smtp_client_job_open(&l->client));
}

static bool link_has_room(const struct link *l, uint32_t more)
{
    for (const struct seat *s = l->seats; s != NULL; s = s->next)
        more += s->delivery->rcpt_count;
    return more <= JOB_RCPT_COUNT_MAX;
}

/* Recipients keep the order that their sender gave them. */
static void joint_append(struct joint *j, struct seat *s, const struct smtp_job *job)
{
    size_t count = j->job.rcpt_count;

    ASSERT(count + job->rcpt_count <= JOB_RCPT_COUNT_MAX); /* (J1) */
    if (count == 0)
        j->job = *job;
    j->job.rcpts = j->rcpts;
    for (size_t i = 0; i < job->rcpt_count; i++, count++) {
        size_t at = count;
        for (; at > 0 && j->rcpts[at - 1].n > job->rcpts[i].n; at--) {
            j->rcpts[at] = j->rcpts[at - 1];
            j->of[at] = j->of[at - 1];
        }
        j->rcpts[at] = job->rcpts[i];
        j->of[at] = (struct joint_part){.seat = s, .index = i};
    }
    j->job.rcpt_count = count;
}

/* Makes the link ready for more than one seat. */
static bool joint_make(struct link *l)
{
    if (l->joint != NULL)
        return true;
    l->joint = mem_take(sizeof *l->joint);
    if (l->joint == NULL)
        return false;
    l->joint->job.rcpt_count = 0;
    l->joint->telling = false;
    if (l->job != NULL) {
        joint_append(l->joint, l->seats, l->job);
        smtp_client_job_grow(&l->client, &l->joint->job);
        l->job = NULL;
    }
    return true;
}

static bool may_join(
    struct delivery *d, const struct delivery *other, const struct link *l, const struct courier_peer *peer)
{
    return l != NULL && link_is_open(l) && l->peer.tls == peer->tls && l->peer.secure == peer->secure &&
           (l->level != ROUTE_TLS_DANE || !l->peer.secure || bytes_equal(l->lane, d->lane)) &&
           bytes_equal(d->head.reverse_path, other->head.reverse_path) && link_peer_same(l, peer, d) &&
           link_has_room(l, d->rcpt_count);
}

struct link *joint_find(struct delivery *d, const struct courier_peer *peer)
{
    for (struct delivery *other = d->ob->deliveries; other != NULL; other = other->next) {
        if (other == d || !message_id_equal(other->head.id, d->head.id))
            continue;
        struct link *links[COURIER_DIAL_COUNT + 1] = {other->session.link};
        for (unsigned i = 0; i < COURIER_DIAL_COUNT; i++)
            links[i + 1] = other->dials[i].link;
        for (unsigned i = 0; i < COUNT_OF(links); i++)
            if (may_join(d, other, links[i], peer) && joint_make(links[i]))
                return links[i];
    }
    return NULL;
}

static void joint_start(struct link *l)
{
    l->jobs++;
    smtp_client_job_start(&l->client, loop_now(l->ob->loop), &l->joint->job);
}

void joint_add(struct seat *s, const struct smtp_job *job)
{
    struct link *l = s->link;
    struct joint *j = l->joint;
    bool first = j->job.rcpt_count == 0;

    joint_append(j, s, job);
    if (j->telling)
        return;
    if (first)
        joint_start(l);
    else
        smtp_client_job_grow(&l->client, &j->job);
}

void joint_forget(struct seat *s)
{
    struct joint *j = s->link->joint;

    for (size_t i = 0; j != NULL && i < j->job.rcpt_count; i++)
        if (j->of[i].seat == s)
            j->of[i].seat = NULL;
}

void joint_rcpt_result(struct link *l, const struct smtp_client_event *event)
{
    struct smtp_client_event own = *event;
    size_t at = event->rcpt.index;
    struct seat *s = l->joint->of[at].seat;

    own.rcpt.index = l->joint->of[at].index;
    if (s != NULL)
        delivery_client_event(s, &own);
}

static struct seat *seat_untold(struct link *l)
{
    struct seat *s = l->seats;

    while (s != NULL && !s->untold)
        s = s->next;
    return s;
}

void joint_done(struct link *l, const struct smtp_client_event *event)
{
    struct seat *s;

    l->joint->job.rcpt_count = 0;
    l->joint->telling = true;
    for (s = l->seats; s != NULL; s = s->next) {
        s->untold = s->in_job;
        s->in_job = false;
    }
    while ((s = seat_untold(l)) != NULL) {
        s->untold = false;
        delivery_client_event(s, event);
    }
    if (l->joint == NULL) /* the last one has left */
        return;
    l->joint->telling = false;
    if (l->joint->job.rcpt_count > 0)
        joint_start(l);
}
