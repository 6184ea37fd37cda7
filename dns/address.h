/* address: IPv4 and IPv6 addresses as octets, their text, and whether mail can be sent to one.
 *
 * For: the DNS rooms and whoever compares their addresses with our own. Not for: sockets (the edge makes a sockaddr of
 * the octets) and ranges (see the configuration).
 *   struct dns_address a;
 *   TRY(dns_address_parse(BYTES("2001:db8::1"), &a));
 *   TRY(dns_address_put(&line, &a)); */
#ifndef MANSIO_DNS_ADDRESS_H
#define MANSIO_DNS_ADDRESS_H

#include "daemon/base/base.h"

enum { DNS_ADDRESS_TEXT_SIZE_MAX = 39 };

struct dns_address {
    uint8_t family;     /* 4 or 6; 0 is no address */
    uint8_t octets[16]; /* network order; of IPv4 the first four, the others 0 */
};

/* One port at one address: what we listen on, where a host is tried. */
struct dns_endpoint {
    struct dns_address address;
    uint16_t port;
};

/* Dotted quad without leading zeros, or RFC 4291 2.2 text without zone and prefix. CODE_SYNTAX otherwise. */
RESULT
dns_address_parse(struct bytes text, struct dns_address *address_out);
/* The domain part of RFC 5321 4.1.3: "[192.0.2.1]" or "[IPv6:2001:db8::1]". CODE_SYNTAX otherwise. */
RESULT
dns_address_parse_literal(struct bytes text, struct dns_address *address_out);
/* Dotted quad, or RFC 5952 form. At most DNS_ADDRESS_TEXT_SIZE_MAX octets. */
RESULT
dns_address_put(struct buf *out, const struct dns_address *address);

/* ::ffff:192.0.2.1 equals 192.0.2.1: both reach the same socket. */
bool dns_address_equal(const struct dns_address *a, const struct dns_address *b);
/* Can it be one host's own address? Unspecified, multicast, 0.0.0.0/8 and class E are not. */
bool dns_address_is_unicast(const struct dns_address *address);

#endif
