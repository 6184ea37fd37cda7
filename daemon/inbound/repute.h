/* repute: inbound's question to lookup: what does the DNS say of this client's address?
 *
 * For: session.c, while a client is still greeting. Not for: recipients (inquiry.h, whose channel this uses) or judging
 * (score.h). Who asks is answered once: from the loop, or at once with "nothing known" when there is no lookup; the same when
 * lookup goes away or has not answered in checks.time and a second. So a dead DNS refuses nobody.
 *   repute_ask(repute, &s->repute, address, lists);   ... answered(owner, name, nameless, listed)
 *   repute_leave(&s->repute);                         the session ends, or is somebody else now
 * Lifetime: a question is embedded in its session, which leaves before its memory goes. */
#ifndef MANSIO_INBOUND_REPUTE_H
#define MANSIO_INBOUND_REPUTE_H

#include "daemon/edge/channel.h"

struct repute;

struct repute_question {
    void *owner;
    struct repute *repute;
    uint64_t number;
    struct instant deadline;
    struct repute_question *next, **link; /* link NULL: nothing asked */
};

typedef void repute_answered(void *owner, struct bytes name, bool nameless, uint32_t listed);

struct repute *repute_new(struct loop *loop, int64_t time_ms, repute_answered *answered);
void repute_free(struct repute **repute);
/* Borrowed; NULL when it is gone: whoever waits is answered. */
void repute_channel(struct repute *r, struct channel *channel);
void repute_heard(struct repute *r, const struct msg_client_answer *answer);
/* The owner of the question is set. One at a time for each session. */
void repute_ask(struct repute *r, struct repute_question *question, const uint8_t address[16], bool lists);
void repute_leave(struct repute_question *question);

#endif
