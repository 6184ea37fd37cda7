/* net: the fake network: connections as two ends, each with delay, window, splitting and a chance to break at any octet.
 *
 * For: both sides of a simulated connection: our processes through edge.c, and the clients and hosts of the simulation.
 *   net_pair(&traits, &near, &far);
 *   net_take(near, &handler, owner);              from then on its handlers may be called, from the world alone
 *   sent = net_write(near, bytes);                what the window takes; handler->room when there is room again
 *   net_close(near, false);                       what was written still arrives, then the other end's `end`
 * After net_close nothing of that end is called any more, and it may not be used. */
#ifndef MANSIO_SIM_NET_H
#define MANSIO_SIM_NET_H

#include "tests/sim/lib/world.h"

struct net_end;

struct net_handler {
    void (*data)(void *owner, struct bytes in);
    void (*end)(void *owner);  /* the other side will send no more */
    void (*lost)(void *owner); /* reset; only net_close may follow */
    void (*room)(void *owner); /* the window is open again */
};

enum { NET_WINDOW = 65536 };

struct net_traits {
    int64_t delay_ms;      /* one way, at least */
    int64_t jitter_ms;     /* at most this much more */
    unsigned split;        /* per mille of arrivals that come in pieces */
    unsigned break_chance; /* per mille of connections that break at a random octet */
};

/* What a TLS handshake between the two comes to: set by the side that plays the server. */
enum net_tls { NET_TLS_WORKS, NET_TLS_FAILS, NET_TLS_HANGS };

void net_pair(const struct net_traits *traits, struct net_end **near_out, struct net_end **far_out);
void net_take(struct net_end *e, const struct net_handler *handler, void *owner);
size_t net_write(struct net_end *e, struct bytes out);
void net_shut(struct net_end *e);
void net_close(struct net_end *e, bool reset);
/* Nothing is handed over while paused; the other side's window fills. */
void net_pause(struct net_end *e, bool paused);
/* Octets written into this end, and how many of them the other end was handed. */
uint64_t net_written(const struct net_end *e);
uint64_t net_arrived(const struct net_end *e);
/* The last octets handed over were never read: a read that failed, or one that nobody made. */
void net_unread(struct net_end *e, size_t size);
void net_tls_set(struct net_end *e, enum net_tls tls);
enum net_tls net_tls_get(const struct net_end *e);
/* It fell silent: neither side will hear of it. */
bool net_is_hole(const struct net_end *e);
size_t net_open_count(void);

#endif
