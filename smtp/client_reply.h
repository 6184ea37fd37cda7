/* client_reply: reads what a server answers, line by line, and keeps a bounded, harmless text of it.
 *
 * For: the client session. Not for: writing replies (reply.h). Octets may come in any portions. A reply is nonsense
 * (CODE_SYNTAX) when a line does not begin with three digits from 200 to 599 and a space, a hyphen or nothing, when the
 * lines of one reply differ in their code, or when it bears a NUL; it is endless (CODE_FULL) past REPLY_SIZE_MAX octets
 * or REPLY_LINES_MAX lines. A line ends at LF, with or without CR: unlike message content, nothing can be smuggled here.
 *   struct client_reply_line line;
 *   size_t eaten;
 *   struct result r = client_reply_feed(&reply, in, &eaten, &line);
 *   if (is_ok(r) && line.last) { use(client_reply_view(&reply)); client_reply_reset(&reply); }
 * Lifetime: the caller's; views are good until the next call. */
#ifndef MANSIO_SMTP_CLIENT_REPLY_H
#define MANSIO_SMTP_CLIENT_REPLY_H

#include "daemon/base/base.h"
#include "smtp/esmtp.h"

enum { REPLY_LINE_HELD_SIZE_MAX = 1024 }; /* of one line; what follows is counted, not kept */

/* What a peer said, or what we say in its stead (code 0). */
struct peer_reply {
    uint16_t code;                 /* 200..599; 0: no peer said it, `text` is our own reason */
    struct enhanced_status status; /* class 0: none was given */
    struct bytes
        text; /* one line without CR, LF, NUL or other controls, valid UTF-8, at most REPLY_KEPT_SIZE_MAX: for a
                          peer "550 5.1.1 first line second line", with code and status once at the front */
};

struct client_reply {
    uint16_t code; /* of the lines read so far */
    uint16_t line_count;
    uint32_t size; /* octets of this reply so far */
    struct enhanced_status status;
    uint32_t text_size;
    uint32_t line_size; /* held of a line whose end has not come */
    uint8_t line[REPLY_LINE_HELD_SIZE_MAX];
    uint8_t text[REPLY_KEPT_SIZE_MAX];
};

struct client_reply_line {
    uint16_t code;
    bool last;
    struct bytes text;  /* behind the code and its separator, as it came (an EHLO keyword, say) */
    struct bytes whole; /* the line without its end, as it came */
};

void client_reply_reset(struct client_reply *r);

/* Eats up to the end of one line. OK: `line_out` is that line; when line_out->last, the reply is whole and must be reset
 * before the next octet. CODE_MORE: all eaten, no end of line yet. CODE_SYNTAX, CODE_FULL: see above; the reply stays
 * unusable until reset. */
RESULT
client_reply_feed(struct client_reply *r, struct bytes in, size_t *eaten_out, struct client_reply_line *line_out);

/* What has been kept of the reply so far. */
struct peer_reply client_reply_view(const struct client_reply *r);

/* True when nothing of a reply has come yet. */
bool client_reply_empty(const struct client_reply *r);

/* Appends `in` made harmless: controls become spaces, octets that are not UTF-8 become '?'. What has no room is left
 * out at a character's border. */
void peer_text_put(struct buf *out, struct bytes in);

/* RFC 3463: reads "5.1.1" at the start of `text`; true when it is there, is of the class of `code` and ends at a space or
 * the end. size_out is its length. */
bool enhanced_status_read(struct bytes text, uint16_t code, struct enhanced_status *status_out, size_t *size_out);

#endif
