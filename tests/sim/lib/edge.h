/* edge: stands where daemon/edge stands. Sessions, deliveries, links and depots are the daemon's own objects; the loop, the
 * connections, the channels, the resolver, TLS and the clock that they call are defined here and live in the world.
 *
 * For: house.c, which builds processes on it. The linker takes these definitions before those of the library.
 * Beside the daemon's own headers (loop.h, conn.h, channel.h, dns_edge.h, tls.h, clock.h, census.h) there is what a
 * simulation needs: how a dial ends, what the DNS says, and how a process dies. */
#ifndef MANSIO_SIM_EDGE_H
#define MANSIO_SIM_EDGE_H

#include "daemon/edge/channel.h"
#include "daemon/edge/conn.h"
#include "daemon/edge/dns_edge.h"
#include "tests/sim/lib/net.h"

enum dial_fate { DIAL_CONNECTS, DIAL_REFUSED, DIAL_HANGS, DIAL_NO_ROUTE };

struct tls_store;

struct edge_ports {
    enum dial_fate (*dial_fate)(const struct conn_dial *to, int64_t *after_ms_out);
    /* The host answers: the near end of the connection. */
    struct net_end *(*dial_connect)(const struct conn_dial *to);
    void (*dns)(struct bytes name, enum dns_type type, struct dns_answer *answer_out, int64_t *after_ms_out);
};
extern struct edge_ports edge_ports;

/* The end of every turn: hooks of all loops. */
void edge_turn_end(void);

/* A number that session_new takes for a descriptor: the near end of a connection from `peer`. */
int edge_descriptor(struct net_end *near, const struct dns_address *peer);

/* The process that holds this end of a channel_pair dies. Of the frames that it has sent and that are under way, a random
 * number at the end is lost: it died before it wrote them. What it still sends goes nowhere; channel_free tells the other side. */
void edge_channel_die(int fd);
/* Every connection is gone, and its owner with it (`closed` is called at once). */
void edge_room_kill(struct conn_room *room);
size_t edge_conn_unread(const struct conn *c);
/* Drops what closed channels have left. How many loops, descriptors and channels are still there then. */
size_t edge_fini(void);
/* A certificate for every name. */
struct tls_store *edge_tls_store(void);

#endif
