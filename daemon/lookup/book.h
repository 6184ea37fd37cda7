/* book: all the files of alias data, read; the answers that come from them without asking anybody. Pure.
 *
 * For: the lookup process, which fills it (files.c), and expansion. Not for: reading files or telling that they changed.
 * A page is one file: an alias file, a virtual table, an include list or a list of users. A page without a good reading is
 * `broken`: what depends on it is put off, never refused. What stands in no file is on cards (cards.h): then an answer may be
 * BOOK_WAIT, and the question is asked again when the card is there.
 *   const struct book_page *page = book_find(&book, path, form);
 *   switch (book_ask(&book, cfg, local_part, domain)) … */
#ifndef MANSIO_LOOKUP_BOOK_H
#define MANSIO_LOOKUP_BOOK_H

#include "daemon/config/config.h"
#include "daemon/lookup/alias.h"
#include "daemon/lookup/cards.h"

struct book_page {
    struct book_page *next;
    struct bytes path; /* its own, NUL-terminated */
    enum alias_form form;
    bool users;  /* a list of users: entries without targets */
    bool broken; /* no good reading yet */
    struct alias_table table;
    /* the loader's own */
    int64_t seen_mtime_ns, seen_size, seen_inode;
    bool wanted;
};

/* What hinders an answer: a file or lookup that failed; a card that is not there yet. */
struct book_doubt {
    bool broken, waits;
};

/* What is known of a recipient in one of our domains. */
enum book_answer {
    BOOK_ALIAS,   /* there is alias data for it */
    BOOK_FINAL,   /* it is delivered as the domain says */
    BOOK_UNKNOWN, /* 5.1.1 */
    BOOK_BROKEN,  /* a file or lookup that may decide cannot be read: later */
    BOOK_WAIT,    /* a card is being asked for: the same question again when it is there */
};

struct book {
    struct book_page *pages;
    const struct config *cfg; /* with `cards` */
    struct cards *cards;      /* NULL: the configuration has no lookups */
};

struct book_page *book_find(const struct book *b, struct bytes path, enum alias_form form, bool users);

/* postmaster and abuse, of every domain (RFC 5321 4.5.1, RFC 2142). */
bool book_is_role_mailbox(struct bytes local_part);

/* The block that speaks for a domain. *domain_out is NULL when it is none of ours. BOOK_FINAL, BOOK_BROKEN or BOOK_WAIT. */
enum book_answer book_domain(
    const struct book *b, const struct config *cfg, struct bytes domain, const struct config_domain **domain_out);
/* `local_part` as in the canonical address, `domain` what follows it: d's own name, or one that d is for. entry_out (may be
 * NULL) is set with BOOK_ALIAS, virtual_out tells its form. */
enum book_answer book_ask(const struct book *b, const struct config_domain *d, struct bytes domain,
    struct bytes local_part, const struct alias_entry **entry_out, bool *virtual_out);
/* The route of an address that is not delivered here, by `route_lookups`: for the address, its domain, its parents (.example.org) and
 * *. BOOK_ALIAS with the text of a `via`, BOOK_UNKNOWN when no lookup knows one, BOOK_BROKEN, BOOK_WAIT. */
enum book_answer book_route(const struct book *b, const struct config *cfg, struct bytes path, struct bytes *via_out);
/* Whether a login may write this reverse-path, by `sender_lookups`: BOOK_FINAL, BOOK_UNKNOWN, BOOK_BROKEN, BOOK_WAIT. */
enum book_answer book_sender(const struct book *b, const struct config *cfg, struct bytes login, struct bytes path);
/* One key in the domain's tables, without fall-backs. */
const struct alias_entry *book_entry(const struct book *b, const struct config_domain *d, struct bytes domain,
    struct bytes key, bool *virtual_out, struct book_doubt *doubt);

/* A list of users: the first word of each line, up to a blank or a colon, so /etc/passwd is one. */
RESULT book_users_read(struct alias_table *t, struct bytes text);

#endif
