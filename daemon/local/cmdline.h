/* cmdline: a command line of an alias or a domain as an argument vector, and what an exit status means. No shell.
 *
 * For: local's deliveries to programs. Words are parted by blanks; '…' and "…" keep blanks, a backslash keeps the next octet
 * (not within '…'). Nothing else is special: | ; > $ are letters (say sh -c '…' where a shell is meant).
 * %u user, %e what follows the delimiter of a subaddress, %d domain, %r recipient, %s reverse-path, %% a percent sign; each is
 * part of its word, whatever octets it has. What would make a word begin with '-' is refused, be the value empty: it could be taken for an option.
 *   TRY(cmdline_parse(text, &facts, room, &argv)); */
#ifndef MANSIO_LOCAL_CMDLINE_H
#define MANSIO_LOCAL_CMDLINE_H

#include "daemon/ipc/words.h"

enum { CMDLINE_ARGS_MAX = 64, CMDLINE_ROOM_SIZE = 8192 };

struct cmdline_facts {
    struct bytes user, extension, domain, recipient, sender;
};

struct cmdline {
    char *argv[CMDLINE_ARGS_MAX + 1]; /* into the room, ends with NULL */
    size_t argc;
};

/* CODE_SYNTAX: no command, or an open quote; CODE_REFUSED: a value that could be an option; CODE_FULL: too long. */
RESULT cmdline_parse(
    struct bytes text, const struct cmdline_facts *facts, struct buf *room, struct cmdline *cmdline_out);

struct cmdline_fate {
    enum job_outcome outcome;
    const char *status, *reply; /* literals */
};

/* What sysexits.h says, with mail in mind: what may be otherwise tomorrow is tried again. */
struct cmdline_fate cmdline_exit_fate(int status);
/* "4.2.2 the mailbox is full" as the first line of an output: its status agrees with the outcome; else BYTES_NONE. */
struct bytes cmdline_output_status(struct bytes output, enum job_outcome outcome);
/* The first line, at most 200 octets, without control characters; in `room`. */
struct bytes cmdline_output_line(struct bytes output, struct buf *room);

#endif
