/* dot: makes message content transparent for DATA (RFC 5321 4.5.2) without copying it.
 *
 * For: the client session, and anything else that writes after DATA. Not for: BDAT, which needs none of it.
 * Content comes in portions of any size. The pieces that come out are views of it, cut so that a line's leading dot is
 * sent twice (the end of one piece and the start of the next overlap by that dot); content without such dots is one piece.
 * Only CRLF begins a line: a bare CR or LF is content, here as everywhere.
 *   struct smtp_dot dot;
 *   smtp_dot_init(&dot);
 *   while (smtp_dot_next(&dot, &content, &piece)) send(piece);
 *   send(smtp_dot_end(&dot)); */
#ifndef MANSIO_SMTP_DOT_H
#define MANSIO_SMTP_DOT_H

#include "daemon/base/base.h"

struct smtp_dot {
    uint8_t before[2]; /* the two octets last sent; CR LF at the start, where a line begins too */
    bool doubled;      /* the dot at the start of the rest has been sent once already */
};

void smtp_dot_init(struct smtp_dot *d);

/* Takes the next piece off `content`; false when it is empty. The piece borrows from the content. */
bool smtp_dot_next(struct smtp_dot *d, struct bytes *content, struct bytes *piece_out);

/* What ends the content: ".CRLF", with a CRLF before it when the content's last line lacks one. Static. */
struct bytes smtp_dot_end(const struct smtp_dot *d);

#endif
