/* transfer: content in quoted-printable or base64 (RFC 2045 section 6.7, 6.8), octet by octet, in lines of at most 76.
 *
 * For: convert.h. Not for: decoding. No line of it begins with a hyphen, unless it goes as it is: no part's end can arise.
 *   transfer_init(&t, TRANSFER_QP);
 *   transfer_octet(&t, 0xe9, &out);  transfer_line(&t, &out);  transfer_end(&t, &out);
 * Each call puts at most TRANSFER_STEP_SIZE_MAX octets, for which out must have room. */
#ifndef MANSIO_SMTP_TRANSFER_H
#define MANSIO_SMTP_TRANSFER_H

#include "daemon/base/base.h"

enum { TRANSFER_STEP_SIZE_MAX = 16, TRANSFER_LINE_SIZE_MAX = 76 };

enum transfer_kind { TRANSFER_PLAIN, TRANSFER_QP, TRANSFER_BASE64 };

struct transfer {
    enum transfer_kind kind;
    uint8_t column;
    uint8_t blank; /* held until it is known not to end its line; 0: none */
    uint8_t group_size;
    uint8_t group[3];
};

void transfer_init(struct transfer *t, enum transfer_kind kind);
void transfer_octet(struct transfer *t, uint8_t octet, struct buf *out);
/* A line end of the content. */
void transfer_line(struct transfer *t, struct buf *out);
/* What is held. Base64 is left without its last line end. */
void transfer_end(struct transfer *t, struct buf *out);

/* At most so many octets come of content with so many octets and lines, of which `escaped` need =XX. */
uint64_t transfer_size_max(enum transfer_kind kind, uint64_t size, uint64_t lines, uint64_t escaped);
/* Has it to be written =XX in quoted-printable wherever it stands? */
bool transfer_is_escaped(uint8_t octet);

#endif
