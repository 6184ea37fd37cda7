/* mime: what Content-Type and Content-Transfer-Encoding say of a part (RFC 2045, RFC 2046), as far as whoever changes its
 * encoding must know.
 *
 * For: convert.h. Not for: showing parts to people.
 *   mime_type_read(field.value, &type);      mime_transfer_read(field.value) */
#ifndef MANSIO_SMTP_MIME_H
#define MANSIO_SMTP_MIME_H

#include "daemon/base/base.h"

enum { MIME_BOUNDARY_SIZE_MAX = 128 }; /* RFC 2046 5.1.1 allows 70; some writers make longer ones */

enum mime_kind {
    MIME_TEXT,      /* text, and what cannot be read (RFC 2045 5.2) */
    MIME_MULTIPART, /* with a boundary that can be used */
    MIME_MESSAGE,   /* message/rfc822 */
    MIME_REPORT,    /* other kinds of message: lines of text */
    MIME_SEALED, /* may not be touched: signed, encrypted, partial, external; a multipart without a usable boundary */
    MIME_OTHER,  /* octets */
};

struct mime_type {
    enum mime_kind kind;
    bool digest; /* its parts are messages where they do not say what they are (RFC 2046 5.1.5) */
    uint8_t boundary_size;
    uint8_t boundary[MIME_BOUNDARY_SIZE_MAX];
};

enum mime_transfer {
    MIME_7BIT, /* also where the field is missing */
    MIME_8BIT,
    MIME_BINARY,
    MIME_ENCODED, /* quoted-printable, base64, and what is not known */
};

void mime_type_read(struct bytes value, struct mime_type *type_out);
enum mime_transfer mime_transfer_read(struct bytes value);

#endif
