/* proxy: the header by which a load balancer says who the client is (PROXY protocol, versions 1 and 2).
 *
 * For: the first octets of a connection from `proxy_from`. Not for: anybody else: who may send it is the caller's question.
 *   r = proxy_parse(input, &header, &eaten);      CODE_MORE: wait for the rest; CODE_SYNTAX: close
 * Pure; the header is at most PROXY_SIZE_MAX octets. */
#ifndef MANSIO_INBOUND_PROXY_H
#define MANSIO_INBOUND_PROXY_H

#include "daemon/base/base.h"

enum { PROXY_V1_SIZE_MAX = 107, PROXY_SIZE_MAX = 16 + 2048 };

struct proxy_header {
    bool known;          /* false: a health check or a client that the balancer does not name (LOCAL, UNKNOWN) */
    struct bytes text;   /* version 1: the address as it stands, to be parsed by the caller */
    uint8_t address[16]; /* version 2; IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

RESULT proxy_parse(struct bytes in, struct proxy_header *header_out, size_t *eaten_out);

#endif
