/* name: domain names as text: what may be asked, what may be a host, when two are the same.
 *
 * For: names that go to or come from the DNS, without a trailing dot; the root has size 0. Not for: U-labels (they are
 * made into A-labels before they come here, see smtp/idna.h) and address literals (see address.h).
 * Two rules, from lax to strict: a *name* is any text that can stand in a question (printable ASCII, labels of 1 to 63,
 * at most 253 octets: "_25._tcp.mx.example.org", "0/25.2.0.192.in-addr.arpa"); a *host* is a name that mail may be sent
 * to: letters, digits, hyphen and (because the world has them) underscore, and not a number in its last label, so that
 * "192.0.2.1" is never mistaken for a host.
 *   struct dns_name name;
 *   TRY(dns_name_set(&name, domain));
 *   if (!dns_name_is_host(dns_name_bytes(&name))) ... */
#ifndef MANSIO_DNS_NAME_H
#define MANSIO_DNS_NAME_H

#include "daemon/base/base.h"

enum {
    DNS_NAME_SIZE_MAX = 253, /* as text without the last dot: 255 octets on the wire, RFC 1035 2.3.4 */
    DNS_LABEL_SIZE_MAX = 63,
};

struct dns_name {
    uint8_t size; /* 0: the root */
    uint8_t text[DNS_NAME_SIZE_MAX];
};

/* A view of the text; good as long as `name` lives and is not set again. */
struct bytes dns_name_bytes(const struct dns_name *name);

/* Keeps `text` (one trailing dot is taken off). CODE_SYNTAX unless dns_name_is_valid, and then *name_out is untouched. */
RESULT
dns_name_set(struct dns_name *name_out, struct bytes text);

/* May this text stand in a question? The root (empty) may. No trailing dot, no octet outside 0x21..0x7e, no backslash
 * and no quote: labels that would need escaping are refused, never guessed at. */
bool dns_name_is_valid(struct bytes text);
/* May mail be sent to a host of this name? At least one label; see the head of this file. */
bool dns_name_is_host(struct bytes text);

/* ASCII letters compare without case (RFC 4343); one trailing dot on either side does not count. */
bool dns_name_equal(struct bytes a, struct bytes b);

#endif
