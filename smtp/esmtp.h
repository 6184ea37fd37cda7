/* esmtp: the words that MAIL and RCPT carry beside an address, shared by the sessions, the queue and the DSN writer.
 *
 * For: values that travel with an envelope. Not for: parsing them (command.h) or storing them (queue/envelope.h).
 * Values stand in frames and on disk: add at the end, never renumber. */
#ifndef MANSIO_SMTP_ESMTP_H
#define MANSIO_SMTP_ESMTP_H

#include "daemon/base/base.h"

/* RFC 6152 (8BITMIME) and RFC 3030 (BINARYMIME): BODY= of MAIL. */
enum body_type { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME, BODY_TYPE_COUNT };

/* RFC 3461 4.3: RET= of MAIL. */
enum dsn_ret { DSN_RET_NONE, DSN_RET_FULL, DSN_RET_HDRS, DSN_RET_COUNT };

/* RFC 3461 4.1: NOTIFY= of RCPT, a set. 0 means that the sender said nothing: failure and delay are reported. */
enum dsn_notify {
    DSN_NOTIFY_NEVER = 1,
    DSN_NOTIFY_SUCCESS = 2,
    DSN_NOTIFY_FAILURE = 4,
    DSN_NOTIFY_DELAY = 8,
    DSN_NOTIFY_ALL = 15,
};

/* An enhanced status code, RFC 3463: class 2, 4 or 5, or 0 for none. */
struct enhanced_status {
    uint8_t class;
    uint16_t subject;
    uint16_t detail;
};

/* What EHLO offers, a set: ours as a server, the peer's as a client. */
enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0,
    SMTP_EXT_SIZE = 1 << 1,
    SMTP_EXT_8BITMIME = 1 << 2,
    SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 3,
    SMTP_EXT_SMTPUTF8 = 1 << 4,
    SMTP_EXT_DSN = 1 << 5,
    SMTP_EXT_CHUNKING = 1 << 6,
    SMTP_EXT_STARTTLS = 1 << 7,
    SMTP_EXT_AUTH = 1 << 8,
    SMTP_EXT_XCLIENT = 1 << 9,
    SMTP_EXT_BINARYMIME = 1 << 10,
    SMTP_EXT_XVERP = 1 << 11,    /* ours, for sendmail: MAIL takes XVERP=xy (verp.h) */
    SMTP_EXT_XREFUSED = 1 << 12, /* ours, for sendmail: RCPT takes XREFUSED (struct smtp_rcpt) */
};

#endif
