/* convert: a message with octets above 127, for a host that takes none (RFC 6152 section 3), or none in the header (RFC 6531).
 *
 * For: the client session. Not for: messages that the host takes as they are; reading mail.
 * The content is read twice. The survey finds each part's encoding and whether all of it may be changed; the second pass, over
 * the same octets, gives out the new content, which is the same however the content is cut into portions.
 *   convert_init(&c, &cfg);
 *   while (convert_survey(&c, portion)) portion = more;     false: what comes behind does not matter
 *   convert_survey_end(&c);                                 when the content ended before that
 *   if (c.verdict != CONVERT_OK) ... c.why
 *   convert_begin(&c);
 *   while (content.size > 0) send(convert_feed(&c, &content));
 *   while ((piece = convert_end(&c)).size > 0) send(piece);
 * Parts of text become quoted-printable (base64 where that is shorter by much), other parts base64; parts that are ASCII stay as
 * they are, lines over 998 octets apart. Fields of headers: downgrade.h. Signed and encrypted multiparts are left alone: ASCII in
 * them passes, the rest is refused. Octets above 127 around the parts of a multipart, which nobody reads, become '?'.
 * Bounds: CONVERT_PARTS_MAX parts, multiparts in CONVERT_DEPTH_MAX levels, a field of CONVERT_FIELD_SIZE_MAX octets; what is
 * over them passes where it is ASCII, and is refused where it is not.
 * Lifetime: plain memory (about 100 KiB), no fini; pieces are good until the next call. */
#ifndef MANSIO_SMTP_CONVERT_H
#define MANSIO_SMTP_CONVERT_H

#include "smtp/downgrade.h"
#include "smtp/mime.h"
#include "smtp/transfer.h"

enum {
    CONVERT_PARTS_MAX = 1024,
    CONVERT_DEPTH_MAX = 16,
    CONVERT_FIELD_SIZE_MAX = 16384,
    CONVERT_FIELD_OUT_SIZE_MAX = 32768, /* of a field in encoded words */
    CONVERT_HOLD_SIZE_MAX = MIME_BOUNDARY_SIZE_MAX + 64,
    CONVERT_STEP_SIZE_MAX = CONVERT_FIELD_OUT_SIZE_MAX + CONVERT_HOLD_SIZE_MAX * TRANSFER_STEP_SIZE_MAX + 1024,
    CONVERT_STAGE_SIZE = CONVERT_STEP_SIZE_MAX + 16384,
    CONVERT_TEXT_LINE_SIZE_MAX = 998, /* RFC 5321 4.5.3.1.6 without CRLF */
};

struct convert_config {
    bool bodies;                 /* and not only the header */
    downgrade_domain_fn *domain; /* idna_to_ascii, but that it is no pure core's */
};

enum convert_verdict {
    CONVERT_OK,
    CONVERT_SEALED, /* what may not be changed is not ASCII: 5.6.3 */
    CONVERT_UTF8,   /* an address in the header needs SMTPUTF8: 5.6.7 */
};

/* A header block being read, and what it says of its body. */
struct convert_entity {
    uint32_t number;
    bool root, message;                      /* the message; one, be it the whole or an enclosed one */
    bool typed, mime_version, transfer_seen; /* fields that were there */
    bool transfer_put;                       /* the new Content-Transfer-Encoding is written */
    bool overlong;                           /* within a field that is not held */
    uint8_t action;                          /* enum convert_action, convert.c */
    enum mime_transfer transfer;
    struct mime_type type;
};

/* What the survey counts of a part. */
struct convert_count {
    uint64_t size, lines, escaped;
    size_t line_size;
    bool eight_bit, overlong, not_utf8;
    uint8_t utf8_left; /* octets that the UTF-8 character still wants */
};

struct convert {
    enum convert_verdict verdict;
    const char *why;     /* a literal, with a verdict that is not OK */
    uint64_t size_added; /* after the survey: at most so many octets more than went in come out */

    /* Private to convert.c from here on. */
    struct convert_config cfg;
    bool surveying, ended;
    uint8_t where; /* enum convert_where */
    uint8_t plan[CONVERT_PARTS_MAX];
    uint32_t part_count;
    bool line_begins, holding;
    bool default_message; /* of the part that begins */
    uint8_t last;         /* octet before, in headers and asides */
    uint8_t line_end;     /* enum convert_line_end: of a part, what is held back */
    unsigned depth;
    struct {
        uint8_t size;
        bool digest;
        uint8_t text[MIME_BOUNDARY_SIZE_MAX];
    } boundaries[CONVERT_DEPTH_MAX];
    struct convert_entity entity;
    struct convert_count count;
    struct transfer transfer;
    struct bytes replay; /* of field_room: was taken for a field, and is body */
    struct buf hold, field, scratch, stage;
    uint8_t hold_room[CONVERT_HOLD_SIZE_MAX], field_room[CONVERT_FIELD_SIZE_MAX];
    uint8_t scratch_room[CONVERT_FIELD_SIZE_MAX + 2], stage_room[CONVERT_STAGE_SIZE];
};

void convert_init(struct convert *c, const struct convert_config *cfg);
/* More of the content. False: all is known, or the verdict is not OK. */
bool convert_survey(struct convert *c, struct bytes content);
void convert_survey_end(struct convert *c);

void convert_begin(struct convert *c);
/* Eats content and gives out what came of it, which may be nothing. */
struct bytes convert_feed(struct convert *c, struct bytes *content);
/* The rest, after the last of the content, in pieces; empty: that was all. */
struct bytes convert_end(struct convert *c);

#endif
