/* envelope: a message's head and its recipients as they travel between processes and rest on disk.
 *
 * For: one definition and one codec, used by frames (daemon/ipc) and rows (store). Not for: header fields; the envelope
 * alone decides who gets mail.
 * All views borrow: a decoded struct is good as long as the bytes it was decoded from; envelope_head_copy and
 * recipient_copy move one into an arena.
 *   TRY(envelope_head_put(&out, &head));
 *   TRY(envelope_head_get(&reader, &head)); */
#ifndef MANSIO_QUEUE_ENVELOPE_H
#define MANSIO_QUEUE_ENVELOPE_H

#include "daemon/base/base.h"
#include "smtp/esmtp.h"

/* Where a message came from. */
enum origin_kind { ORIGIN_SMTP, ORIGIN_SUBMISSION, ORIGIN_LOCAL, ORIGIN_DSN, ORIGIN_RESEND, ORIGIN_KIND_COUNT };

enum envelope_flag {
    ENVELOPE_SMTPUTF8 = 1 << 0,    /* MAIL carried SMTPUTF8 (RFC 6531) */
    ENVELOPE_HEADER_8BIT = 1 << 1, /* raw 8-bit octets in the header block: the next hop needs SMTPUTF8 */
    ENVELOPE_BODY_8BIT = 1 << 2,   /* 8-bit octets were really seen in the content */
    ENVELOPE_HELD = 1 << 3,        /* held by the postmaster: nothing of it is scheduled */
    ENVELOPE_GENERIC = 1 << 4,     /* generic maps are for it when it leaves by SMTP */
};

struct envelope_head {
    struct message_id id;
    struct walltime arrival;
    struct bytes reverse_path; /* without <>; empty: the null reverse-path */
    uint64_t body_size;        /* octets on disk, our trace field included, lines ended by CRLF */
    uint32_t rcpt_count;       /* recipients ever added, children of expansions included; the next free n */
    enum body_type body_type;
    enum dsn_ret ret;
    struct bytes envid; /* decoded from xtext; empty: none */
    uint32_t flags;     /* enum envelope_flag */
    uint8_t priority;   /* 0 normal; kept for later use, no meaning yet on the wire */
    enum origin_kind origin;
    struct bytes client;     /* "192.0.2.1" or "uid 1000"; for display and log */
    struct bytes helo;       /* what the client called itself */
    struct bytes login;      /* authenticated or OS user; empty: none */
    struct bytes message_id; /* the Message-ID field's value, for display, at most DISPLAY_FIELD_SIZE_MAX */
    struct bytes subject;    /* the same for Subject, undecoded */
};

/* Values stand on disk: add at the end. Delivered, failed and expanded recipients have no row: they are gone (Q2, Q3).
 * A leaving recipient was deleted or bounced by the postmaster, who may still take it back: at next_try it really goes.
 * Until then its place in the schedule is in the lane RECIPIENT_LEAVING_LANE, which no worker is ever given.
 * A parked recipient is held like HELD, and its place in the schedule still stands: whoever meets it there when its time has
 * come takes it away (HELD). So holding a large part of the queue does not rewrite the schedule. */
enum recipient_state {
    RECIPIENT_WAITING,
    RECIPIENT_HELD,
    RECIPIENT_DELETED,
    RECIPIENT_DELETED_HELD, /* it was held before */
    RECIPIENT_BOUNCED,
    RECIPIENT_BOUNCED_HELD,
    RECIPIENT_PARKED,
    RECIPIENT_STATE_COUNT
};
#define RECIPIENT_LEAVING_LANE "leaving"
static inline bool recipient_is_leaving(enum recipient_state state)
{
    return state >= RECIPIENT_DELETED && state <= RECIPIENT_BOUNCED_HELD;
}
static inline bool recipient_is_held(enum recipient_state state)
{
    return state == RECIPIENT_HELD || state == RECIPIENT_PARKED;
}

struct recipient {
    uint32_t n;                /* within its message, from 0 */
    struct bytes forward_path; /* local@domain without <>, domain in lower case */
    struct bytes orcpt;        /* RFC 3461: "rfc822;decoded-address", empty: none */
    uint8_t notify;            /* enum dsn_notify */
    struct bytes lane;         /* next hop: mx:example.org, relay:[host]:25, lmtp:…, local; see route.h */
    enum recipient_state state;
    uint32_t attempts;
    struct walltime next_try; /* the time in its lane_due row */
    bool warned;              /* a delay DSN was sent (or was not wanted) */
    struct bytes sender;      /* the reverse-path for this recipient; empty: the message's own */
    struct bytes via;         /* the addresses whose ~/.forward led here, the first one first, parted by LF */
    uint32_t parent;          /* 1 + n of the recipient this one was expanded from; 0: from the envelope */
    struct bytes last_status; /* "4.4.1" */
    struct bytes last_reply;  /* the peer's reply or our reason, at most REPLY_KEPT_SIZE_MAX */
    struct bytes last_host;
};

/* As lane of a recipient that inbound hands in: alias data does not know it, so it is not expanded. */
#define RECIPIENT_LANE_FINAL "final"
/* As lane of a recipient that inbound refused and took in all the same, to have the sender told: why stands in last_status
 * and last_reply. */
#define RECIPIENT_LANE_REFUSED "refused"

enum { ENVELOPE_HEAD_SIZE_MAX = 4096, RECIPIENT_SIZE_MAX = 8192, RECIPIENT_VIA_SIZE_MAX = 2048 }; /* encoded */

/* CODE_FULL when `out` has no room. ASSERTs the bounds that limits.h states. */
RESULT envelope_head_put(struct buf *out, const struct envelope_head *head);
RESULT envelope_head_get(struct wire_reader *in, struct envelope_head *head_out);
RESULT envelope_head_copy(struct arena *a, const struct envelope_head *head, struct envelope_head *copy_out);

RESULT recipient_put(struct buf *out, const struct recipient *rcpt);
RESULT recipient_get(struct wire_reader *in, struct recipient *rcpt_out);
RESULT recipient_copy(struct arena *a, const struct recipient *rcpt, struct recipient *copy_out);

#endif
