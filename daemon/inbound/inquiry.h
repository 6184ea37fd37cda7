/* inquiry: inbound's end of the channel to lookup: is this recipient known?
 *
 * For: session.c, at RCPT to a domain with alias data or users in files, at
 * MAIL of a login whose senders are in a lookup. Not for: who may relay (policy.h) or wording.
 * The answer comes once: from the loop, or at once with RCPT_LATER when there is no lookup; RCPT_LATER too when it has not
 * come within INQUIRY_MS or lookup went away.
 *   inquiry_ask(inquiry, &s->question, path);   ... answered(owner, known)
 *   inquiry_leave(&s->question);                the session ends
 * Lifetime: a question is embedded in its session, which leaves before its memory goes. */
#ifndef MANSIO_INBOUND_INQUIRY_H
#define MANSIO_INBOUND_INQUIRY_H

#include "daemon/inbound/repute.h"

enum { INQUIRY_MS = 10000 };

struct inquiry;

struct inquiry_question {
    void *owner;
    struct inquiry *inquiry;
    uint64_t session; /* the number of the question */
    struct instant deadline;
    struct inquiry_question *next, **link; /* link NULL: nothing asked */
};

typedef void inquiry_answered(void *owner, enum rcpt_known known);

struct inquiry *inquiry_new(struct loop *loop, inquiry_answered *answered);
void inquiry_free(struct inquiry **inquiry);
/* Takes the descriptor of a new channel to lookup; an older one is dropped, and who waited there is answered RCPT_LATER. */
void inquiry_channel(struct inquiry *q, int fd);
/* The channel serves these questions too. `repute` outlives the channel. */
void inquiry_share(struct inquiry *q, struct repute *repute);
/* The owner of the question is set. One at a time for each session. */
void inquiry_ask(struct inquiry *q, struct inquiry_question *question, struct bytes path);
/* May this login write that reverse-path? */
void inquiry_ask_sender(
    struct inquiry *q, struct inquiry_question *question, struct bytes login, struct bytes reverse_path);
void inquiry_leave(struct inquiry_question *question);

#endif
