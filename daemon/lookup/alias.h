/* alias: what stands in alias files, virtual tables, include lists and .forward files, as targets. Pure.
 *
 * For: the loader of tables (files.c), expansion (expand.h), tests and the fuzzer. Not for: reading files, deciding who gets
 * mail. Three forms of text, one grammar of targets:
 *   ALIAS_FORM_ALIASES   aliases(5):  name: target, target…      a line that begins with blanks continues the one before
 *   ALIAS_FORM_VIRTUAL   virtual(5):  address target, target…    user@domain, user, @domain; @domain -> @other as well
 *   ALIAS_FORM_LIST      :include: files and .forward: targets alone, parted by commas or line ends
 * A target: local@domain, a bare name, \name (no further expansion), |command, /file, :include:/file; with "…" around the whole of
 * it where it holds blanks or commas, or around what follows the |. Name <address> and (comments) are understood. '#' at the
 * beginning of a line is a comment.
 * A file is taken whole or not at all: the first error ends the reading with its line.
 *
 *   struct alias_table table;
 *   alias_table_init(&table);
 *   if (!is_ok(alias_table_read(&table, ALIAS_FORM_ALIASES, text, &line))) log line and why;
 *   const struct alias_entry *entry = alias_table_find(&table, BYTES("postmaster"));      any case
 *   alias_table_fini(&table);
 * Everything lives in the table's arena until alias_table_fini. */
#ifndef MANSIO_LOOKUP_ALIAS_H
#define MANSIO_LOOKUP_ALIAS_H

#include "daemon/base/map.h"

enum alias_form { ALIAS_FORM_ALIASES, ALIAS_FORM_VIRTUAL, ALIAS_FORM_LIST };

enum alias_kind {
    ALIAS_ADDRESS, /* text: local@domain, canonical, or a local part alone; virtual: "@domain" too */
    ALIAS_USER,    /* text: a local part that is not expanded any further */
    ALIAS_COMMAND, /* text: the command line behind the | */
    ALIAS_FILE,    /* text: an absolute path */
    ALIAS_INCLUDE, /* text: the absolute path of a list */
};

struct alias_target {
    struct alias_target *next;
    enum alias_kind kind;
    struct bytes text;
};

struct alias_entry {
    struct alias_entry *next; /* with the same hash */
    struct bytes key;         /* in lower case; empty for the one entry of a list */
    uint32_t line;
    uint32_t target_count;
    struct alias_target *targets;
};

enum {
    ALIAS_TARGET_SIZE_MAX = 2048,     /* of one target, unquoted */
    ALIAS_TABLE_SIZE_MAX = 268435456, /* of all that one file may take in memory */
};

struct alias_table {
    struct arena arena;
    struct map entries; /* hash of the key -> alias_entry */
    uint32_t entry_count;
};

void alias_table_init(struct alias_table *t);
void alias_table_fini(struct alias_table *t);
/* Into an empty table. CODE_SYNTAX: line_out has the line and why says what was expected; CODE_FULL: too large. The table is
 * then of no use but for alias_table_fini. */
RESULT alias_table_read(struct alias_table *t, enum alias_form form, struct bytes text, uint32_t *line_out);
/* A name without targets, for lists of users; twice is once. */
RESULT alias_table_add_name(struct alias_table *t, struct bytes name);
/* NULL when there is none. ASCII letters compare without case. */
const struct alias_entry *alias_table_find(const struct alias_table *t, struct bytes key);

/* One target by itself, as in a list; `text` in `room` (ALIAS_TARGET_SIZE_MAX). *rest starts at the target and is moved behind
 * the comma or line end that follows it. CODE_GONE: nothing is left. */
RESULT alias_target_take(
    struct bytes *rest, enum alias_form form, struct buf *room, enum alias_kind *kind_out, struct bytes *text_out);

/* Whether the header block at the start of `content` has a Delivered-To field that names `path`: it has been
 * here before. */
bool lookup_was_delivered_to(struct bytes content, struct bytes path);

#endif
