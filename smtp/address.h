/* address: the envelope grammar of RFC 5321 4.1.2 and 4.1.3 (with RFC 6531 3.3): paths, mailboxes, domains, literals.
 *
 * For: MAIL and RCPT arguments, addresses in configuration and on command lines, EHLO names. Not for: header fields
 * (comments, folding and display names are refused here) and not for IDNA (idna.h turns a UTF-8 domain into A-labels).
 * The canonical form has no source route, a quoted local part only where quotes are needed, and an ASCII-lower-case
 * domain. It is written into `room` (at least ADDRESS_SIZE_MAX octets left); the views of `struct address` point into it
 * and live as long as it does.
 *   uint8_t room[ADDRESS_SIZE_MAX];
 *   struct buf text = BUF(room);
 *   struct address a;
 *   TRY(address_parse_path(BYTES("<\"joe\"@Example.ORG>"), ADDRESS_UTF8, &text, &a));
 *   -- a.text is joe@example.org, a.local_part joe, a.domain example.org */
#ifndef MANSIO_SMTP_ADDRESS_H
#define MANSIO_SMTP_ADDRESS_H

#include "daemon/base/base.h"

enum address_domain_kind {
    ADDRESS_DOMAIN_NONE, /* the null path, or postmaster alone */
    ADDRESS_DOMAIN_NAME,
    ADDRESS_DOMAIN_IPV4, /* [192.0.2.1] */
    ADDRESS_DOMAIN_IPV6, /* [ipv6:2001:db8::1] */
};

struct address {
    struct bytes text;       /* the whole, canonical, without <>; empty: the null path */
    struct bytes local_part; /* as it stands in text, quotes included where it needs them */
    struct bytes domain;     /* lower case; a literal keeps its brackets; empty with ADDRESS_DOMAIN_NONE */
    enum address_domain_kind domain_kind;
};

/* What a caller lets pass beyond local@domain. */
enum address_allow {
    ADDRESS_UTF8 = 1 << 0,       /* UTF-8 in local part and domain (RFC 6531) */
    ADDRESS_NULL = 1 << 1,       /* <> : reverse-paths only */
    ADDRESS_POSTMASTER = 1 << 2, /* <postmaster> without a domain (RFC 5321 4.1.1.3): forward-paths only */
};

/* The path at the start of *in, from < to >; on success *in is what follows the >. `allow` is a set of enum address_allow.
 * CODE_SYNTAX: not a path (why says which part); CODE_FULL: a part is over its limit; CODE_REFUSED: it would be a path if
 * ADDRESS_UTF8 were given. */
RESULT
address_take_path(struct bytes *in, unsigned allow, struct buf *room, struct address *address_out);
/* The same where the path must fill the whole view. */
RESULT
address_parse_path(struct bytes in, unsigned allow, struct buf *room, struct address *address_out);
/* A bare local@domain that fills the whole view. */
RESULT
address_parse_mailbox(struct bytes in, unsigned allow, struct buf *room, struct address *address_out);

/* The local part with quotes and backslashes removed: the name of a mailbox. CODE_FULL when out has no room. */
RESULT
address_put_unquoted(struct buf *out, struct bytes local_part);

/* RFC 5321 Domain: letters, digits, hyphens in labels of up to 63, 255 in all; UTF-8 labels when `utf8`. */
bool domain_is_valid(struct bytes domain, bool utf8);
/* RFC 5321 4.1.3 with brackets: [192.0.2.1] or [IPv6:2001:db8::1]; the kind, or ADDRESS_DOMAIN_NONE when it is neither. */
enum address_domain_kind address_literal_kind(struct bytes literal);
/* The address inside a valid literal, as inet_pton wants it: 192.0.2.1 or 2001:db8::1. */
struct bytes address_literal_host(struct bytes literal);
/* True for four decimal numbers (no leading zeros beyond one digit) and for the RFC 5321 forms of IPv6. */
bool ipv4_is_valid(struct bytes text);
bool ipv6_is_valid(struct bytes text);

/* What we let a client call itself: a domain (underscores pass: many hosts have them), an address literal, or a bare
 * address. Nothing in it can break out of a trace field. */
bool helo_is_valid(struct bytes name);

/* RFC 3629: well-formed UTF-8, no surrogates, no overlong forms, nothing over U+10FFFF. */
bool utf8_is_valid(struct bytes text);

#endif
