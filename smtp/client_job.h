/* client_job: what a client session is given to send: one message to some recipients, once.
 *
 * For: client.h and those who fill it in (courier, sendmail). Not for: storage (queue/envelope.h).
 * Lifetime: all views are the caller's, borrowed until the session's JOB_DONE. */
#ifndef MANSIO_SMTP_CLIENT_JOB_H
#define MANSIO_SMTP_CLIENT_JOB_H

#include "daemon/base/base.h"
#include "smtp/esmtp.h"

struct smtp_job_rcpt {
    struct bytes forward_path; /* without <> */
    struct bytes
        forward_path_ascii; /* the same with A-labels, for a peer without SMTPUTF8; empty: none, or not needed */
    struct bytes orcpt;     /* "rfc822;decoded-address", empty: none */
    uint8_t notify;         /* enum dsn_notify; 0: none */
    uint32_t n;             /* the caller's number for it; the client does not look at it */
};

struct smtp_job {
    struct bytes reverse_path; /* without <>; empty: null */
    struct bytes reverse_path_ascii;
    const struct smtp_job_rcpt *rcpts;
    size_t rcpt_count; /* 1..JOB_RCPT_COUNT_MAX */
    uint64_t body_size;
    enum body_type body_type; /* as declared when it came */
    bool body_8bit;           /* 8-bit octets are in the content: the peer must offer 8BITMIME */
    bool header_utf8;         /* the header is RFC 6532's: the peer must offer SMTPUTF8 */
    struct bytes envid;       /* decoded, empty: none */
    enum dsn_ret ret;
};

#endif
