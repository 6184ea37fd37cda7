/* completion: what a submission's header lacks is added, and its Bcc is taken out, while it passes by (RFC 6409 section 8).
 *
 * For: sendmail, and listeners that take submissions. Not for: relayed mail, which is not touched (docs/envelope-and-headers.md).
 * Added at the end of the header: From, Sender, Date, Message-ID, a destination field where only Bcc was; at the end of the
 * newest Resent block its Resent-From, Resent-Date and Resent-Message-ID. Bare names in address fields get "@origin". Every
 * other octet passes as it is. A missing empty line behind the header is put in.
 * Content ends its lines with CRLF and may come in any portions; the bound is one field's memory, not the header's size: a
 * field over COMPLETION_FIELD_SIZE_MAX passes unread (a Bcc that is to go still goes).
 *   completion_init(&c, &cfg);
 *   for (;;) {
 *       r = completion_feed(&c, &content, &out);       out: at least COMPLETION_OUT_SIZE_MIN of room
 *       store(out), buf_reset(&out)
 *       CODE_FULL: call again.  CODE_MORE: all eaten, come with more, or completion_end at the end of the content.
 *       CODE_OK: the header is over; the rest of the content is the body
 *   }
 * Lifetime: the caller's; cfg is borrowed. */
#ifndef MANSIO_SMTP_COMPLETION_H
#define MANSIO_SMTP_COMPLETION_H

#include "smtp/address_list.h"
#include "smtp/header.h"

enum {
    COMPLETION_FIELD_SIZE_MAX = 16384,
    COMPLETION_OUT_SIZE_MIN = 2 * COMPLETION_FIELD_SIZE_MAX,
    COMPLETION_NAME_SIZE_MAX = 256,
    COMPLETION_DESTINATION_SIZE_MAX = 512,
};

struct completion_config {
    bool add;                    /* what is missing; false: only the Bcc policy */
    bool strip_bcc;              /* Bcc and Resent-Bcc */
    bool sender;                 /* Sender where From is somebody else than `user` */
    struct bytes origin;         /* completes bare names */
    struct bytes user;           /* address of the one who submits; empty: unknown, so no Sender */
    struct bytes from;           /* address for a From that is missing; empty: none is added */
    struct bytes full_name;      /* and its name, at most COMPLETION_NAME_SIZE_MAX; may be empty */
    struct bytes message_id;     /* without <>; also used for Resent-Message-ID */
    struct bytes no_destination; /* a whole field without CRLF, at most COMPLETION_DESTINATION_SIZE_MAX; empty: none */
    struct walltime now;
    struct buf
        *bcc; /* takes the values of the Bcc fields that are stripped (not Resent-Bcc), joined by commas; may be NULL */
    struct buf *authors; /* takes the values of the From fields, joined by commas; may be NULL */
};

struct completion {
    const struct completion_config *cfg;
    uint8_t state;     /* enum completion_state, completion.c */
    bool line_begins;  /* the last octets were CRLF: the next one tells whether the field goes on */
    uint8_t last;      /* octet before */
    uint8_t kind;      /* enum header_kind of a field that passes unread */
    bool resent_block; /* within the newest Resent block */
    bool resent_over;
    bool sender_due;   /* From is somebody else */
    bool bcc_lost;     /* cfg->bcc had no room */
    bool authors_lost; /* a From field was too long to be held, or cfg->authors had no room */
    uint32_t seen;     /* kinds, a set of 1 << enum header_kind; of Resent fields the newest block's only */
    uint32_t stripped;
    struct buf field;
    uint8_t field_room[COMPLETION_FIELD_SIZE_MAX];
};

void completion_init(struct completion *c, const struct completion_config *cfg);
RESULT
completion_feed(struct completion *c, struct bytes *in, struct buf *out);
/* The content ends within the header. CODE_FULL as above. */
RESULT
completion_end(struct completion *c, struct buf *out);

#endif
