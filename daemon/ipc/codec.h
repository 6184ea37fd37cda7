/* codec: messages between our processes as structs and as frames, all made from the table in messages.def.
 *
 * For: the two ends of a channel. Not for: moving octets (edge/channel.h) or descriptors (edge/passing.h).
 * A frame is its payload's size (u32), its kind (u16) and the payload, big-endian (base/wire.h). Nothing in a frame is
 * trusted: a process that was taken over by a stranger can send what it likes, and gets its channel closed for it.
 * Views in a decoded message borrow from the frame.
 *   struct msg m = {.kind = MSG_tx_body, .tx_body = {.id = id, .body = octets}};
 *   TRY(msg_encode(&out, &m));                                        CODE_FULL: no room, and out is as it was
 *   TRY(msg_frame_size(in, &size));                                   CODE_MORE: not yet whole
 *   TRY(msg_decode(bytes_head(in, size), ROLE_INBOUND, ROLE_QUEUED, &m));
 *   switch (m.kind) { case MSG_tx_body: ... m.tx_body.body ... } */
#ifndef MANSIO_IPC_CODEC_H
#define MANSIO_IPC_CODEC_H

#include "daemon/ipc/words.h"
#include "queue/envelope.h"

enum msg_kind {
#define MSG(name, from, to, bound, fields) MSG_##name,
#include "daemon/ipc/messages.def"
#undef MSG
    MSG_KIND_COUNT
};

/* What each field type of the table is in C. */
#define MSG_FIELD_u32 uint32_t
#define MSG_FIELD_u64 uint64_t
#define MSG_FIELD_boolean bool
#define MSG_FIELD_message_id struct message_id
#define MSG_FIELD_job_id struct job_id
#define MSG_FIELD_bytes struct bytes
#define MSG_FIELD_envelope_head struct envelope_head
#define MSG_FIELD_recipient struct recipient
#define MSG_FIELD_ipc_role enum ipc_role
#define MSG_FIELD_tx_outcome enum tx_outcome
#define MSG_FIELD_job_outcome enum job_outcome
#define MSG_FIELD_auth_outcome enum auth_outcome
#define MSG_FIELD_door_family enum door_family
#define MSG_FIELD_password_verdict enum password_verdict
#define MSG_FIELD_lane_verdict enum lane_verdict
#define MSG_FIELD_child_kind enum child_kind
#define MSG_FIELD_rcpt_known enum rcpt_known

#define F(type, name) MSG_FIELD_##type name;
#define MSG(name, from, to, bound, fields)                                                                             \
    struct msg_##name {                                                                                                \
        fields                                                                                                         \
    };
#include "daemon/ipc/messages.def"
#undef MSG
#undef F

struct msg {
    enum msg_kind kind;
    union {
#define MSG(name, from, to, bound, fields) struct msg_##name name;
#include "daemon/ipc/messages.def"
#undef MSG
    };
};

enum { MSG_HEAD_SIZE = 6 };

/* Appends one frame. CODE_FULL leaves `out` untouched. The sender keeps to the table: a payload over its bound is our
 * own mistake and stops the process (ASSERT). */
RESULT
msg_encode(struct buf *out, const struct msg *m);

/* The size of the frame that `in` starts with, head included. CODE_MORE: `in` does not hold all of it yet;
 * CODE_CORRUPT: no frame of ours starts so (then nothing after it can be read either). */
RESULT
msg_frame_size(struct bytes in, size_t *size_out);

/* Decodes exactly one frame that `from` sent to `to`. CODE_CORRUPT when anything is short, long, out of range or left
 * over; CODE_REFUSED when the message is sound but does not go that way. */
RESULT
msg_decode(struct bytes frame, enum ipc_role from, enum ipc_role to, struct msg *msg_out);

/* "tx_begin"; "unknown" for a number that is none. */
const char *msg_name(unsigned kind);
/* The kind that a frame's head names, decodable or not; MSG_KIND_COUNT when there is none. For logs. */
unsigned msg_frame_kind(struct bytes frame);
/* The most octets that a frame of this kind can have, head included. */
size_t msg_frame_size_max(enum msg_kind kind);

/* "inbound"; groups have no name. */
const char *ipc_role_name(enum ipc_role role);

#endif
