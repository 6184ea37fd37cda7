/* client_command: the command lines that a client says, each whole with its CRLF.
 *
 * For: client.c. Not for: deciding which parameters a peer understands beyond looking at `extensions`.
 * CODE_FULL when `out` has no room; CLIENT_COMMAND_SIZE_MAX is room enough for any of them.
 *   TRY(client_command_mail(&out, &job, extensions)); */
#ifndef MANSIO_SMTP_CLIENT_COMMAND_H
#define MANSIO_SMTP_CLIENT_COMMAND_H

#include "smtp/client.h"

/* RCPT with an ORCPT whose every octet is escaped is the longest. */
enum { CLIENT_COMMAND_SIZE_MAX = 64 + ADDRESS_SIZE_MAX + 3 * ORCPT_SIZE_MAX + 64 };
STATIC_ASSERT(CLIENT_COMMAND_SIZE_MAX >= 128 + ADDRESS_SIZE_MAX + 3 * ENVID_SIZE_MAX);

/* "EHLO name", "HELO name", "LHLO name", "STARTTLS", "BDAT n LAST"... a verb and at most one argument. */
RESULT
client_command_plain(struct buf *out, struct bytes verb, struct bytes argument);
/* MAIL FROM with SIZE, BODY, SMTPUTF8, RET and ENVID as far as the extensions have them. size: of the content as it goes, 0: it
 * is not said. utf8: SMTPUTF8 is needed. */
RESULT
client_command_mail(struct buf *out, const struct smtp_job *job, uint64_t size, uint32_t extensions, bool utf8);
/* RCPT TO with NOTIFY and ORCPT. */
RESULT
client_command_rcpt(struct buf *out, const struct smtp_job_rcpt *rcpt, uint32_t extensions);
RESULT
client_command_bdat(struct buf *out, uint64_t size);

#endif
