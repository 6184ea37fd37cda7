/* way: what a lane of local says: into a mailbox, a command or a file, and as whom.
 *
 *   local                       the mailbox of each recipient, as its domain says; a ~/.forward is followed
 *   pipe:COMMAND  file:/PATH    of an alias or a domain, as `command_user`
 *   as:USER:mailbox             USER's own mailbox, past his ~/.forward
 *   as:USER:pipe:COMMAND  as:USER:file:/PATH      as his ~/.forward says
 * For: desk.c, which picks the hand, and job.c, which does the work. Pure. */
#ifndef MANSIO_LOCAL_WAY_H
#define MANSIO_LOCAL_WAY_H

#include "daemon/base/base.h"

enum way_kind { WAY_MAILBOX, WAY_COMMAND, WAY_FILE };

struct way {
    enum way_kind kind;
    struct bytes text; /* the command or the path */
    struct bytes as;   /* empty: no ~/.forward led here */
};

struct way way_of(struct bytes lane);

#endif
