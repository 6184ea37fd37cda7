/* mailbox: one message into one Maildir: tmp, write, fsync, link into new, fsync of the folder, unlink of tmp.
 *
 * For: local's jobs (and a child per mailbox owner, which would do just this). Not for: choosing the mailbox, replies.
 *   TRY(mailbox_path_put(&path, template, local_part, domain));
 *   TRY(mailbox_open(&box, path, unique));
 *   TRY(mailbox_write(&box, octets));  ...  TRY(mailbox_commit(&box));      or mailbox_abandon(&box)
 * After mailbox_commit the message survives a power cut; before it, nothing of it is in `new`. Line ends become LF, as readers
 * of Maildirs expect (docs/decisions). Missing folders are made, mode 0700.
 * CODE_IO with errno from every step; the caller then abandons. Threads: none. */
#ifndef MANSIO_LOCAL_MAILBOX_H
#define MANSIO_LOCAL_MAILBOX_H

#include "daemon/base/base.h"

enum { MAILBOX_PATH_SIZE_MAX = 1024, MAILBOX_NAME_SIZE_MAX = 200 };

struct mailbox {
    int dir_fd;                /* of the Maildir */
    int fd;                    /* in tmp */
    bool cr;                   /* the last octet was a CR whose fate the next one decides */
    uint64_t size, line_count; /* in the file: the sizes S= and W= of its name come from these */
    char name[MAILBOX_NAME_SIZE_MAX];
};

/* The path with %d, %u and %% replaced. The local part comes without quotes and is written in lower case, so that Alice and
 * alice are one mailbox; only ASCII letters change. CODE_SYNTAX when it cannot be a file's name (empty, '/', NUL or another
 * control) or when the path would hold a component `.` or `..`; CODE_FULL when it is too long. No NUL is put. */
RESULT mailbox_path_put(struct buf *out, struct bytes template, struct bytes local_part, struct bytes domain);

/* `path` ends with NUL; `unique` is the file's name, used once in the life of this host (see mailbox_name_put). */
RESULT mailbox_open(struct mailbox *box, const char *path, struct bytes unique);
RESULT mailbox_write(struct mailbox *box, struct bytes text);
/* What the line ends still hold back; mailbox_commit does this by itself. */
RESULT mailbox_flush(struct mailbox *box);
RESULT mailbox_commit(struct mailbox *box);
/* Leaves nothing behind; harmless after a commit or a failed open. */
void mailbox_abandon(struct mailbox *box);

/* "1795304575.M123P456Q7.host": seconds, then what tells deliveries of one second apart. */
RESULT mailbox_name_put(
    struct buf *out, struct walltime now, uint32_t process_id, uint64_t count, struct bytes hostname);

#endif
