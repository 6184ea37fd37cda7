/* rewrite: the addresses in a header are replaced while it passes by, and nothing else of it changes.
 *
 * For: inbound's letters (canonical maps, masquerading) and outbound's deliveries (generic maps); the rules are the caller's
 * function. Not for: envelopes, and not for completing what is missing (completion.h), which comes before.
 * Looked at: the address fields of header.h (From, Sender, Reply-To, To, Cc, Bcc, Resent-*). Each mailbox that the function has
 * another address for gets it in the place of its addr-spec; names, comments, groups, folds and everything else pass octet for
 * octet. What cannot be read passes from there to the end of its field. From a DKIM-Signature or ARC-Seal on nothing is
 * touched (RFC 6376 5.6: a signature stands above what it signs).
 * Content comes in any portions; held is one mailbox at most: one over REWRITE_HELD_SIZE_MAX passes as it is.
 *   rewrite_init(&w, &cfg);
 *   for (;;) {
 *       r = rewrite_feed(&w, &content, &out);       out: at least REWRITE_OUT_SIZE_MIN of room
 *       store(out), buf_reset(&out)
 *       CODE_FULL: call again.  CODE_MORE: all eaten, come with more, or rewrite_end at the end of the content.
 *       CODE_OK: the header is over; the rest of the content is the body
 *   }
 * Lifetime: the caller's memory (6 KiB); cfg is borrowed. */
#ifndef MANSIO_SMTP_REWRITE_H
#define MANSIO_SMTP_REWRITE_H

#include "smtp/address_list.h"
#include "smtp/header.h"

enum {
    REWRITE_HELD_SIZE_MAX = 4096,
    REWRITE_OUT_SIZE_MIN = 2 * REWRITE_HELD_SIZE_MAX,
    REWRITE_NAME_SIZE_MAX = 24, /* a longer field name is none of those */
};

/* Whose address it is: From, Sender and Reply-To name senders. */
enum rewrite_side { REWRITE_SENDER, REWRITE_RECIPIENT };

struct rewrite_config {
    /* True: `out` (ADDRESS_SIZE_MAX of room) holds what stands for `address` (canonical) from now on. */
    bool (*map)(void *ctx, enum rewrite_side side, struct bytes address, struct buf *out);
    void *ctx;
    struct bytes
        origin; /* completes bare names, for the question alone; empty: a field with one passes from there on */
};

struct rewrite {
    const struct rewrite_config *cfg;
    uint8_t state; /* enum rewrite_state, rewrite.c */
    uint8_t side;  /* enum rewrite_side */
    uint8_t last;  /* octet before */
    bool line_begins;
    bool blank_in_name;
    bool sealed;        /* signed: nothing is looked at any more */
    uint64_t held_from; /* offset in the field's value of the first octet held */
    uint32_t count;     /* of addresses replaced */
    struct address_list list;
    struct buf name, held;
    uint8_t name_room[REWRITE_NAME_SIZE_MAX];
    uint8_t held_room[REWRITE_HELD_SIZE_MAX];
};

void rewrite_init(struct rewrite *w, const struct rewrite_config *cfg);
RESULT
rewrite_feed(struct rewrite *w, struct bytes *in, struct buf *out);
/* The content ends within the header. CODE_FULL as above. */
RESULT
rewrite_end(struct rewrite *w, struct buf *out);
/* The content goes on, but no more of it will come here: a mailbox that may have been cut in two passes as it is. */
RESULT
rewrite_leave(struct rewrite *w, struct buf *out);

#endif
