/* The session's step between EHLO (and STARTTLS) and READY: to log in, where the caller has said as whom. */
#include "smtp/client_login.h"

#include "smtp/client_inside.h"

static void refuse(struct smtp_client *c, uint16_t detail, struct bytes text)
{
    client_end_politely(c, SMTP_CLIENT_END_LOGIN_FAILED, (struct peer_reply){.status = {4, 7, detail}, .text = text});
}

void client_ready(struct smtp_client *c)
{
    struct client_login *l = c->cfg->login;

    if (l == NULL)
        client_enter(c, CLIENT_READY);
    else if (!c->tls_up && !l->without_tls)
        refuse(c, 11, BYTES("our login is not said over a connection without TLS"));
    else if (!l->begin(l, c->peer.mechanisms))
        refuse(c, 0, BYTES("the host offers no way to log in that we know (SCRAM-SHA-256, PLAIN or LOGIN)"));
    else {
        c->sending = SENDING_LOGIN;
        client_enter(c, CLIENT_LOGIN);
    }
}

void client_on_login(struct smtp_client *c, struct peer_reply reply, struct bytes challenge)
{
    struct client_login *l = c->cfg->login;

    /* What has been said lies in `out` until the next write. */
    explicit_bzero(c->out_room, sizeof c->out_room);
    if (reply.code < 400 && reply.code >= 300) {
        if (reply.code != 334 || l->why != NULL) {
            client_garbage(c, l->why != NULL ? "334 to a login that was called off" : "3yz that is no challenge");
            return;
        }
        l->challenge(l, challenge);
        c->sending = SENDING_LOGIN;
        client_enter(c, CLIENT_LOGIN);
        return;
    }
    bool proved = l->over(l);
    if (l->why != NULL) {
        refuse(c, 0, bytes_of(l->why));
    } else if (reply.code >= 400) {
        /* 535 is for the operator to mend, not the sender's fault: the mail waits. */
        reply.status.class = 4;
        client_end_politely(c, SMTP_CLIENT_END_LOGIN_FAILED, reply);
    } else if (!proved) {
        refuse(c, 0, BYTES("the host took our login without a proof that it knows the password"));
    } else {
        client_enter(c, CLIENT_READY);
    }
}
