/* mailbox: messages into Maildirs: tmp, write, sync, move into new over nothing that is there, sync of the folder.
 *
 * For: the jobs of a hand. Not for: choosing the mailbox, replies.
 *   TRY(mailbox_path_put(&path, template, local_part, domain));
 *   TRY(mailbox_open(&box, path, unique, suspect));
 *   if (!box.there) TRY(mailbox_write(&box, octets));  ...
 *   mailbox_commit_all(boxes, count, results);      or mailbox_abandon(&box)
 * After a commit the message survives a power cut; before it, nothing of it is in `new`. Line ends become LF, as readers
 * of Maildirs expect (docs/decisions). Missing folders are made, mode 0700.
 * A delivery has one name for ever, made from the message and the recipient: when it is done a second time, after a crash, the
 * move finds its name taken and that is as good as done. A reader may have moved the file to `cur` meanwhile, so a `suspect`
 * delivery looks for its name first.
 * CODE_IO with errno from every step; the caller then abandons. Threads: mailbox_commit_all may run in a thread of its own, for
 * boxes that nobody else looks at meanwhile. */
#ifndef MANSIO_LOCAL_MAILBOX_H
#define MANSIO_LOCAL_MAILBOX_H

#include "daemon/base/base.h"

enum { MAILBOX_PATH_SIZE_MAX = 1024, MAILBOX_NAME_SIZE_MAX = 200 };

struct mailbox {
    int dir_fd;                /* of the Maildir */
    int fd;                    /* in tmp */
    bool cr;                   /* the last octet was a CR whose fate the next one decides */
    uint64_t size, line_count; /* in the file: the sizes S= and W= of its name come from these */
    bool there;                /* it has been delivered before */
    bool counted;              /* the Maildir has a quota's file */
    uint64_t device, inode;    /* of the Maildir: its folder is synced once for all of a commit */
    char name[MAILBOX_NAME_SIZE_MAX], tmp_name[MAILBOX_NAME_SIZE_MAX + 40];
};

/* The path with %d, %u and %% replaced. The local part comes without quotes and is written in lower case, so that Alice and
 * alice are one mailbox; only ASCII letters change. CODE_SYNTAX when it cannot be a file's name (empty, '/', NUL or another
 * control) or when the path would hold a component `.` or `..`; CODE_FULL when it is too long. No NUL is put. */
RESULT mailbox_path_put(struct buf *out, struct bytes template, struct bytes local_part, struct bytes domain);

/* `path` ends with NUL; `unique` is the delivery's name (see mailbox_name_put). `suspect`: it may have been done before; `there`
 * tells whether it was, and then nothing is open. */
RESULT mailbox_open(struct mailbox *box, const char *path, struct bytes unique, bool suspect);
RESULT mailbox_write(struct mailbox *box, struct bytes text);
/* What the line ends still hold back; a commit does this by itself. */
RESULT mailbox_flush(struct mailbox *box);
/* All of them, with as few waits for the disk as there may be; each gets its own result and is closed. */
void mailbox_commit_all(struct mailbox *const boxes[], size_t count, struct result results[]);
RESULT mailbox_commit(struct mailbox *box);
/* Leaves nothing behind; harmless after a commit or a failed open. */
void mailbox_abandon(struct mailbox *box);

/* "1795304575.I0001a2b3c4d5e6f7N2.host": the time of arrival, the message and its recipient. */
RESULT mailbox_name_put(
    struct buf *out, struct walltime arrival, struct message_id id, uint32_t n, struct bytes hostname);

#endif
