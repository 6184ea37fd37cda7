/* book: all the files of alias data, read; the answers that come from them without asking anybody. Pure.
 *
 * For: the lookup process, which fills it (files.c), and expansion. Not for: reading files or telling that they changed.
 * A page is one file: an alias file, a virtual table, an include list or a list of users. A page without a good reading is
 * `broken`: what depends on it is put off, never refused.
 *   const struct book_page *page = book_find(&book, path, form);
 *   switch (book_ask(&book, cfg, local_part, domain)) … */
#ifndef MANSIO_LOOKUP_BOOK_H
#define MANSIO_LOOKUP_BOOK_H

#include "daemon/config/config.h"
#include "daemon/lookup/alias.h"

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

/* What is known of a recipient in one of our domains. */
enum book_answer {
    BOOK_ALIAS,   /* there is alias data for it */
    BOOK_FINAL,   /* it is delivered as the domain says */
    BOOK_UNKNOWN, /* 5.1.1 */
    BOOK_BROKEN,  /* a file that may decide cannot be read: later */
};

struct book {
    struct book_page *pages;
    enum book_answer (*system_user)(struct bytes name); /* of domains with system_users: FINAL, UNKNOWN or BROKEN */
};

struct book_page *book_find(const struct book *b, struct bytes path, enum alias_form form, bool users);

/* postmaster and abuse, of every domain (RFC 5321 4.5.1, RFC 2142). */
bool book_is_role_mailbox(struct bytes local_part);

/* `local_part` as in the canonical address. entry_out (may be NULL) is set with BOOK_ALIAS, virtual_out tells its form. */
enum book_answer book_ask(const struct book *b, const struct config_domain *d, struct bytes local_part,
    const struct alias_entry **entry_out, bool *virtual_out);
/* One key in the domain's tables, without fall-backs. */
const struct alias_entry *book_entry(
    const struct book *b, const struct config_domain *d, struct bytes key, bool *virtual_out, bool *broken_out);

/* A list of users: the first word of each line, up to a blank or a colon, so /etc/passwd is one. */
RESULT book_users_read(struct alias_table *t, struct bytes text);

#endif
