/* clerk: inbound's end of the channel to auth: a session's login, line by line.
 *
 * For: session.c. Not for: judging (auth does) or wording (session.c). Without auth every question is answered AUTH_BUSY.
 *   clerk_ask(clerk, &s->login, &m);        the handler is called once, from the loop or at once when there is no auth
 *   clerk_leave(clerk, &s->login);          the session ends, or begins anew
 * Lifetime: a seat is embedded in its session, which leaves before its memory goes. */
#ifndef MANSIO_INBOUND_CLERK_H
#define MANSIO_INBOUND_CLERK_H

#include "daemon/edge/channel.h"

struct clerk;

struct clerk_seat {
    void *owner;
    uint64_t session;
    struct clerk_seat *next, **link; /* link NULL: nothing asked */
    bool known;                      /* auth may hold an exchange of ours, */
    uint32_t generation;             /* the auth behind this channel, that is */
};

typedef void clerk_answered(void *owner, enum auth_outcome outcome, struct bytes text);

/* auth has shut a block out. */
typedef void clerk_banned(void *context, const struct msg_ban_made *ban);

struct clerk *clerk_new(struct loop *loop, clerk_answered *answered);
void clerk_on_banned(struct clerk *c, clerk_banned *banned, void *context);
/* What auth has to know of a block; nothing where there is no auth. */
void clerk_ban(struct clerk *c, uint64_t block, uint64_t for_ms, uint32_t count);
void clerk_free(struct clerk **clerk);
/* Takes the descriptor of a new channel to auth; an older one is dropped, and who waited there is answered AUTH_BUSY;
 * so is who goes on with an exchange that the older one knew. */
void clerk_channel(struct clerk *c, int fd);
/* owner and session of the seat are set; its session goes into the question. One question at a time. */
void clerk_ask(struct clerk *c, struct clerk_seat *seat, const struct msg_auth_ask *question);
void clerk_leave(struct clerk *c, struct clerk_seat *seat);

#endif
