/* value: what one word of the configuration means: times, sizes, names, networks, endpoints. Pure.
 *
 * For: the configuration and tools that read such words (`queuectl`). Not for: addresses of mail (smtp/address.h).
 * Each answers CODE_SYNTAX with `why` saying what was expected, as the end of a sentence:
 *   struct result r = value_time(BYTES("5m"), &ms);
 *   if (!is_ok(r)) say("found '%s', expected %s", text, r.why); */
#ifndef MANSIO_CONFIG_VALUE_H
#define MANSIO_CONFIG_VALUE_H

#include "daemon/config/config.h"

/* "90s", "1h30m", "250ms", "0": milliseconds. A unit is wanted for everything but 0. */
RESULT value_time(struct bytes in, int64_t *ms_out);
/* "50M", "64K", "1000": octets; K, M, G are powers of 1024. */
RESULT value_size(struct bytes in, uint64_t *octets_out);
RESULT value_bool(struct bytes in, bool *value_out);
/* "0.2" is 20; at most 1, two decimals count, more are rounded. */
RESULT value_percent(struct bytes in, uint32_t *percent_out);
/* "100/1m", "100/1h burst 20", "1G/1d": so many in that time; without a burst all of them at once. "0": no bound. */
RESULT value_rate(struct bytes in, struct rate *rate_out);
/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". Bits set behind the prefix are refused. */
RESULT value_network(struct bytes in, struct config_network *network_out);
enum { VALUE_ENDPOINTS_MAX = 2 };
/* "127.0.0.1:25", "[::1]:25"; "*:25" gives both wildcards. `text` of each is `in` itself. */
RESULT value_endpoints(struct bytes in, struct config_endpoint out[VALUE_ENDPOINTS_MAX], size_t *count_out);
/* An IP address with an optional port (53 by default), for DNS servers: put in the form "192.0.2.1:53" or "[::1]:53". */
RESULT value_dns_server(struct bytes in, struct buf *out);
/* A host or domain name: letters, digits, hyphens in dotted labels (RFC 1123 2.1), put in lower case, an IDN in UTF-8 becomes A-labels. */
RESULT value_name(struct bytes in, struct buf *out);
/* Index in "none|opportunistic|required". */
RESULT value_word(struct bytes in, const char *words, unsigned *index_out);

/* A SHA-256 as 32 pairs of hexadecimal digits, with or without colons between them. CODE_SYNTAX. */
enum { VALUE_FINGERPRINT_SIZE = 32 };
RESULT
value_fingerprint(struct bytes in, uint8_t out[VALUE_FINGERPRINT_SIZE]);
/* The next of several that blanks part; CODE_GONE at the end. */
RESULT
value_fingerprint_next(struct bytes *rest, uint8_t out[VALUE_FINGERPRINT_SIZE]);

#endif
