/* header_scan: what is read of a header block while it passes by: how many Received fields, and Message-ID and Subject for
 * display.
 *
 * For: the server session. Not for: parsing a header to change it or to send it (nothing is kept but two values).
 * Fed with content as it comes, in pieces of any size; looks at the first header block only, and at no more of it than
 * HEADER_SIZE_SCANNED_MAX. It needs a few dozen octets beside the two values.
 *   header_scan_init(&h);
 *   rest = header_scan_feed(&h, content);      -- how much of content is after the header
 *   header_scan_value(&h.subject) */
#ifndef MANSIO_SMTP_HEADER_SCAN_H
#define MANSIO_SMTP_HEADER_SCAN_H

#include "daemon/base/base.h"

struct header_value {
    uint16_t size;
    bool seen; /* the first field of this name counts */
    uint8_t data[DISPLAY_FIELD_SIZE_MAX];
};

struct header_scan {
    size_t size; /* octets looked at */
    uint32_t received_count;
    bool done;     /* the header block is over (or over the bound) */
    bool has_8bit; /* raw 8-bit octets in it */
    uint8_t state;
    uint8_t name_size;
    uint8_t name[12];
    struct header_value *value; /* being read; NULL: a field that does not matter */
    struct header_value message_id, subject;
};

void header_scan_init(struct header_scan *h);
/* Looks at more content; returns how many of its octets belong to the header block (all, until it is over). */
size_t header_scan_feed(struct header_scan *h, struct bytes content);
/* Unfolded, without outer blanks and control characters, at most DISPLAY_FIELD_SIZE_MAX, not cut inside a UTF-8 sequence. */
struct bytes header_scan_value(const struct header_value *value);

#endif
