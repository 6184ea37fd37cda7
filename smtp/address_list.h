/* address_list: the mailboxes in a header field's value, RFC 5322 3.4 with the obsolete grammar of section 4.4 and what old
 * software writes.
 *
 * For: `sendmail -t`, addresses on command lines, the completion of bare names, Bcc by SMTP. Not for: envelopes
 * (smtp/address.h), which know no comments, names or folding.
 * Octets come in any portions, folds included (CR and LF count as blanks); memory is this struct, whatever the field's size:
 * a 10 MiB field costs time in proportion and nothing else. Understood: comments anywhere, quoted strings, routes, groups
 * (also without their ';' at the end of the field), empty elements, blanks around dots (Wilt . (the Stilt)
 * Chamberlain@NBA.US), dots and brackets in names before <>, an address used as the name before <>, ';' for ',' outside of
 * groups, UTF-8. What it does not understand it refuses whole, with the octet at which it lost its way: half a list is
 * never an answer.
 *   struct address_list list;
 *   struct address_mailbox mailbox;
 *   address_list_init(&list, origin);
 *   while (is_ok(r = address_list_feed(&list, &value, &mailbox))) use(mailbox);          CODE_MORE: all eaten
 *   while (is_ok(r = address_list_end(&list, &mailbox))) use(mailbox);                   CODE_GONE: the list is complete
 *   r.code == CODE_SYNTAX: r.why at octet address_list_error_offset(&list)
 * Lifetime: the caller's; a mailbox's views are good until the next call. */
#ifndef MANSIO_SMTP_ADDRESS_LIST_H
#define MANSIO_SMTP_ADDRESS_LIST_H

#include "smtp/address.h"

enum { ADDRESS_LIST_COMMENT_DEPTH_MAX = 1000 };

struct address_mailbox {
    struct address address; /* canonical; a bare name has been completed with the origin */
    bool bare;              /* "alice" alone */
    uint64_t bare_end;      /* offset of the octet behind a bare name: where "@origin" belongs */
    uint64_t spec_begin,
        spec_end; /* offsets of the addr-spec's first octet and of the one behind it: what stands between < and >
                                      but for outer blanks and comments */
    bool in_group;
};

struct address_list {
    struct bytes origin;
    uint64_t offset; /* octets eaten */
    uint64_t error_offset;
    uint8_t place;  /* enum address_list_place, address_list.c */
    uint8_t inside; /* enum address_list_inside, address_list.c */
    uint8_t last;   /* enum address_list_token, address_list.c */
    bool escaped;   /* behind a backslash */
    bool gap;       /* blanks or a comment since the last token */
    bool in_group;
    unsigned depth;  /* of comments */
    uint64_t opened; /* offset of the comment, quote, literal or '<' that is open */
    bool begun;      /* the addr-spec, at `begin`, if it is none of a name before <> */
    uint64_t begin, word_end;
    const char *doubt; /* what is wrong unless this turns out to be a name before <> */
    uint64_t doubt_offset;
    struct buf local, domain;
    uint8_t local_room[ADDRESS_SIZE_MAX], domain_room[ADDRESS_SIZE_MAX];
    uint8_t text_room[2 * ADDRESS_SIZE_MAX];
    uint8_t canonical_room[ADDRESS_SIZE_MAX];
};

/* `origin` completes bare names and is borrowed; empty: a bare name is an error. */
void address_list_init(struct address_list *l, struct bytes origin);

/* Eats from *in up to the end of one mailbox. CODE_OK: here it is, call again with the rest; CODE_MORE: *in is eaten;
 * CODE_SYNTAX: the field cannot be read, and nothing more may be fed. */
RESULT
address_list_feed(struct address_list *l, struct bytes *in, struct address_mailbox *mailbox_out);
/* The field ends here. CODE_OK: a last mailbox, call again; CODE_GONE: the list is complete; CODE_SYNTAX as above. */
RESULT
address_list_end(struct address_list *l, struct address_mailbox *mailbox_out);
/* Octets before the one that could not be read. */
uint64_t address_list_error_offset(const struct address_list *l);

#endif
