/* edge_parts: what the files of the edge share; nobody else includes it. */
#ifndef MANSIO_SIM_EDGE_PARTS_H
#define MANSIO_SIM_EDGE_PARTS_H

#include "tests/sim/lib/edge.h"

/* The near end that a number of edge_descriptor stands for; the number is free again. */
struct net_end *edge_descriptor_take(int fd);
size_t edge_loop_count(void);
/* Descriptors that nobody has taken. */
size_t edge_descriptor_count(void);
void edge_end_fill(struct conn_end *end, const struct dns_address *address, uint16_t port);

#endif
