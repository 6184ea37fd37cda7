/* client_peer: what a server offered in its reply to EHLO, and whether a job can go to it at all.
 *
 * For: client.c. Not for: refusals that the peer itself speaks.
 *   client_peer_learn(&peer, BYTES("SIZE 10240000"));
 *   if (!client_peer_takes(&peer, &job, SMTP_EIGHT_BIT_CONVERT, &why, &way, &refusal)) ... every recipient fails with refusal */
#ifndef MANSIO_SMTP_CLIENT_PEER_H
#define MANSIO_SMTP_CLIENT_PEER_H

#include "smtp/client_job.h"
#include "smtp/client_login.h"
#include "smtp/client_reply.h"

/* What becomes of 8-bit content for a peer without 8BITMIME. */
enum smtp_eight_bit {
    SMTP_EIGHT_BIT_CONVERT,
    SMTP_EIGHT_BIT_CONVERT_OR_RAW, /* raw where it may not be changed */
    SMTP_EIGHT_BIT_REFUSE,         /* 5.6.3, and 5.6.7 for a header that needs SMTPUTF8 */
    SMTP_EIGHT_BIT_RAW,
};

/* How a message goes to a peer. */
enum client_way { CLIENT_AS_IS, CLIENT_CONVERT_HEADER, CLIENT_CONVERT_ALL };

struct client_peer {
    uint32_t extensions; /* enum smtp_extension */
    uint64_t size_max;   /* 0: no limit was said */
    uint8_t mechanisms;  /* of AUTH, enum smtp_mechanism */
};

/* One line of the reply, without code: keyword and parameters (RFC 5321 4.1.1.1). Unknown ones are passed over. */
void client_peer_learn(struct client_peer *peer, struct bytes line);

/* False: nobody can have this message by this peer, and refusal_out says why: 5.1.7 control character in the
 * reverse-path, 5.3.4 SIZE, 5.6.3 8BITMIME or BINARYMIME, 5.6.7 SMTPUTF8. `why` lends room for its text. */
bool client_peer_takes(const struct client_peer *peer, const struct smtp_job *job, enum smtp_eight_bit eight_bit,
    struct buf *why, enum client_way *way_out, struct peer_reply *refusal_out);
/* The same for one recipient: 5.1.3 empty or with a control character, 5.6.7 SMTPUTF8. */
bool client_peer_takes_rcpt(
    const struct client_peer *peer, const struct smtp_job_rcpt *rcpt, struct peer_reply *refusal_out);

#endif
