/* program: one message into a command or to the end of a file, by a helper with the rights for it.
 *
 * For: local's jobs, once the whole message lies in a spool (an open file without a name). Not for: mailboxes (mailbox.h).
 *   TRY(program_spool(&fd));   ... write the message, LF line ends ...
 *   struct program_order order = {.loop = loop, .cfg = cfg, .command = line, .spool = fd, .head = &head, .rcpt = &rcpt};
 *   program_start(&order, ended, owner, &program)      ended comes once, from a later turn, with the fate of the recipient
 *   program_stop(&program)                             nothing is called any more */
#ifndef MANSIO_LOCAL_PROGRAM_H
#define MANSIO_LOCAL_PROGRAM_H

#include "daemon/config/config.h"
#include "daemon/edge/loop.h"
#include "daemon/ipc/words.h"
#include "daemon/local/owner.h"
#include "queue/envelope.h"

struct program;

struct program_order {
    struct loop *loop;
    const struct config *cfg;
    struct bytes command;      /* outlives the program, as file, head and rcpt do */
    struct bytes file;         /* instead: a path that ends with NUL */
    const struct owner *owner; /* whose home it is in; NULL: none */
    int spool;
    const struct envelope_head *head;
    const struct recipient *rcpt;
    struct walltime now;
};

struct program_fate {
    enum job_outcome outcome;
    struct bytes status, reply; /* good during the call */
};

typedef void program_ended(void *owner, const struct program_fate *fate);

RESULT program_spool(int *fd_out);
/* What cannot be started is told by CODE_SYNTAX or CODE_REFUSED (the order is at fault: why), or CODE_IO. */
RESULT program_start(
    const struct program_order *order, program_ended *ended, void *owner, struct program **program_out);
void program_stop(struct program **program);

#endif
