/* dsn_reason: what a status code means, in words for people who do not know what a status code is.
 *
 * For: dsn.c, and whoever shows a failure to a user. Not for: the fields of a report, which carry the code itself.
 *   const struct dsn_reason *why = dsn_reason_find(status);   never NULL */
#ifndef MANSIO_QUEUE_DSN_REASON_H
#define MANSIO_QUEUE_DSN_REASON_H

#include "smtp/esmtp.h"

struct dsn_reason {
    uint16_t subject, detail;
    const char *what; /* whole sentences, without line ends */
    const char *advice;
};

/* "5.1.1" and the like; CODE_SYNTAX for anything that is not class.subject.detail (RFC 3463). */
RESULT dsn_status_parse(struct bytes text, struct enhanced_status *status_out);
const struct dsn_reason *dsn_reason_find(struct enhanced_status status);

#endif
