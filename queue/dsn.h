/* dsn: writes delivery status notifications, RFC 3464 in RFC 6522 multipart/report. Pure.
 *
 * For: queued, inside the transaction that removes the recipients it tells about (Q2). Not for: deciding whether to write
 * one (dsn_wanted says that from NOTIFY and the reverse-path; the engine asks).
 * The whole report is bounded (DSN_SIZE_MAX), so it is one body row: the original is returned whole only when it fits
 * cfg->return_size_max and RET allows, else its header.
 *   if (dsn_wanted(DSN_FAILED, head, rcpt)) ...
 *   TRY(dsn_write(&out, &cfg, &report));
 * One report tells of all recipients of a message that met the same kind of fate in one transaction. */
#ifndef MANSIO_QUEUE_DSN_H
#define MANSIO_QUEUE_DSN_H

#include "queue/envelope.h"

enum dsn_kind { DSN_FAILED, DSN_DELAYED, DSN_RELAYED, DSN_EXPANDED, DSN_DELIVERED, DSN_KIND_COUNT };

enum { DSN_SIZE_MAX = 131072, DSN_ORIGINAL_SIZE_MAX = 65536 };

struct dsn_recipient {
    struct bytes forward_path;
    struct bytes orcpt;  /* "rfc822;…" or empty */
    struct bytes status; /* "5.1.1" */
    struct bytes reply;  /* the peer's full reply, lines parted by CRLF or LF, or our own reason; may be empty */
    bool reply_is_smtp;  /* a host said it: Diagnostic-Code: smtp; and Remote-MTA */
    struct bytes host;   /* remote MTA's name, may be empty */
    struct walltime last_attempt;
    struct walltime will_retry_until; /* delayed only */
    uint32_t attempts;
};

struct dsn_report {
    enum dsn_kind kind;
    const struct envelope_head *original;
    const struct dsn_recipient *recipients;
    size_t recipient_count;
    struct bytes
        content; /* the original's first octets, at least its header block as far as DSN_ORIGINAL_SIZE_MAX goes */
    bool content_is_whole; /* `content` is the whole message */
    struct message_id id;  /* of the notification, for its Message-ID and boundary */
    struct walltime now;
};

struct dsn_config {
    struct bytes hostname;
    uint64_t return_size_max; /* dsn_return_size_max; at most DSN_ORIGINAL_SIZE_MAX counts */
};

/* Whether this recipient's fate is told (RFC 3461 4.1, 5.2; never to a null reverse-path). */
bool dsn_wanted(enum dsn_kind kind, const struct envelope_head *head, const struct recipient *rcpt);
/* The whole notification, header and body, lines ended by CRLF, none over 998 octets, whatever octets the values hold. Uses
 * RFC 6533 types when the reverse-path or a forward-path is not ASCII; utf8_out then is true and the notification must be
 * sent with SMTPUTF8. 7-bit otherwise, but for an original with 8-bit text that is returned whole (body_type_out). An original
 * is returned whole only in a DSN_FAILED and when its lines may go out as they stand; a header that may not is encoded.
 * When room is short the body goes first, then long replies, then the end of the header. CODE_FULL when `out` (give it
 * DSN_SIZE_MAX) has no room even for the least form, and nothing has been put; never for JOB_RCPT_COUNT_MAX recipients or fewer
 * whose values keep the bounds of limits.h. */
RESULT dsn_write(struct buf *out, const struct dsn_config *cfg, const struct dsn_report *report,
    enum body_type *body_type_out, bool *utf8_out);
const char *dsn_kind_name(enum dsn_kind kind);

#endif
