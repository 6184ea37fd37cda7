/* downgrade: a header field with octets above 127, for a host that takes none there (RFC 2047, 2231, 5891, after the manner of
 * RFC 6857).
 *
 * For: convert.h. Not for: fields that are ASCII. By what the field holds:
 *   addresses     names and comments become encoded words, domains A-labels; a local part cannot be changed
 *   parameters    (Content-Type, Content-Disposition) RFC 2231
 *   Received      an address in it goes, domains become A-labels, other octets '?'
 *   identifiers and traces that have no place for words: "Downgraded-" before the name, and the text as words
 *   text          words
 *   r = downgrade_field(&cfg, whole, &scratch, &out) */
#ifndef MANSIO_SMTP_DOWNGRADE_H
#define MANSIO_SMTP_DOWNGRADE_H

#include "daemon/base/base.h"

/* A domain with U-labels as A-labels (idna_to_ascii). */
typedef RESULT downgrade_domain_fn(struct bytes domain, struct buf *out);

struct downgrade_config {
    downgrade_domain_fn *domain;
    bool rename; /* what cannot be said is kept under another name; else it is refused */
};

/* `whole` ends with CRLF and is a field. `out` is empty. scratch has room for `whole`. CODE_REFUSED: an address that needs
 * SMTPUTF8. CODE_FULL. */
RESULT
downgrade_field(const struct downgrade_config *cfg, struct bytes whole, struct buf *scratch, struct buf *out);

#endif
