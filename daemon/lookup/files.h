/* files: fills the book from the file system, and keeps it fresh.
 *
 * For: the lookup process and its test. Not for: parsing (alias.h) or answering (book.h).
 *   files_want(&book, cfg);                     the pages that a configuration names
 *   files_refresh(&book);                       reads what has changed since the last time; include lists too
 *   files_fini(&book); */
#ifndef MANSIO_LOOKUP_FILES_H
#define MANSIO_LOOKUP_FILES_H

#include "daemon/lookup/book.h"

enum { FILES_SIZE_MAX = 67108864 /* of one file */ };

/* CODE_FULL when the heap has none. */
RESULT files_want(struct book *b, const struct config *cfg);
/* What cannot be read or has an error is logged once for each of its states. */
void files_refresh(struct book *b);
void files_fini(struct book *b);

#endif
