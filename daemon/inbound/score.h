/* score: what is thought of a client: the weights of what it says of itself and of what the DNS says of it, in one number.
 *
 * For: session_mail.c, at MAIL. Not for: asking (repute.h) nor for those who have said who they are. Pure.
 *   int32_t score = score_client(cfg, &facts, &reasons);     reasons: "no_name:1 bl.example:3" */
#ifndef MANSIO_INBOUND_SCORE_H
#define MANSIO_INBOUND_SCORE_H

#include "daemon/config/config.h"

enum { SCORE_REASONS_SIZE_MAX = 512 };

struct score_facts {
    const uint8_t *address; /* 16 octets */
    struct bytes helo;
    bool nameless;   /* it is sure that no name leads back to the address */
    uint32_t listed; /* bit i: checks.lists[i] */
};

/* Reasons that do not fit are left out; they count all the same. */
int32_t score_client(const struct config *cfg, const struct score_facts *facts, struct buf *reasons);

#endif
