/* sink: a host that takes mail: an SMTP and LMTP server written apart from ours, that judges what it is sent.
 *
 * For: the far end of every delivery. It answers as its host, its mood and its mailboxes say, and reports to the ledger what
 * it took and what it said. Anything that a sound client would not send is wrong (world_wrong): a command before its turn, a
 * parameter that was not offered, a bare CR or LF, 8-bit text without leave.
 *   near = sink_connect(host);           the caller's end of the connection */
#ifndef MANSIO_SIM_SINK_H
#define MANSIO_SIM_SINK_H

#include "tests/sim/lib/places.h"

struct net_end *sink_connect(struct host *host);
size_t sink_count(void);

#endif
