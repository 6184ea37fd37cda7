/* ids: one-field structs, so that a message id is never passed as a session id.
 *
 * A message id names a message from the first MAIL command to the last bounce, in every process, log line and file.
 * It is unique for one queue for ever: ids only grow (see store.h). Its text form is 11 to 13 characters of lower-case
 * base 32 (0-9 a-z without i l o u), whose order is that of the numbers within one length.
 *   struct buf line = BUF(room);
 *   TRY(message_id_put(&line, id));
 *   TRY(message_id_parse(text, &id)); */
#ifndef MANSIO_IDS_H
#define MANSIO_IDS_H

struct message_id {
    uint64_t value; /* 0 is never a message */
};
struct session_id {
    uint64_t value; /* of an inbound session or an outbound connection; unique within one process run */
};
struct job_id {
    uint64_t value; /* of one job handed to a worker; unique within one run of queued */
};

enum { MESSAGE_ID_SIZE_MAX = 13 };

RESULT message_id_put(struct buf *out, struct message_id id);
/* CODE_SYNTAX for anything that message_id_put does not write (either case of letters is read). */
RESULT message_id_parse(struct bytes in, struct message_id *id_out);

static inline bool message_id_equal(struct message_id a, struct message_id b)
{
    return a.value == b.value;
}

#endif
