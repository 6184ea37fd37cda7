/* findings: what a delivery attempt learned on its way to a host: DNS answers and addresses dialed, a line each, and their numbers.
 *
 * For: delivery.c, which sets them before the dialogue in the transcript of an attempt that left mail behind; `queuectl explain`
 * reads them there. Not for: decisions. Pure. What has no room is left out, whole lines only.
 *   dns MX example.net: 10 mx1.example.net, 20 mx2.example.net
 *   dns A mx1.example.net: 192.0.2.1
 *   dns AAAA mx1.example.net: no such record
 *   dial mx1.example.net [192.0.2.1]:25: connection refused */
#ifndef MANSIO_OUTBOUND_FINDINGS_H
#define MANSIO_OUTBOUND_FINDINGS_H

#include "dns/message.h"

enum { FINDINGS_SIZE_MAX = 1024 };

struct findings {
    struct buf text;
    uint32_t found, none, failed; /* DNS answers */
    uint32_t connected;           /* milliseconds to the first connection and one more; 0: none yet */
};

void findings_init(struct findings *f, uint8_t room[FINDINGS_SIZE_MAX]);
void findings_answer(struct findings *f, struct bytes name, const struct dns_answer *answer);
/* `why`: what came of it. */
void findings_dial(
    struct findings *f, struct bytes host, const struct dns_address *address, uint16_t port, const char *why);

#endif
