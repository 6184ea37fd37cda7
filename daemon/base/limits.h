/* limits: every bound in one place: the RFC's floor, our ceiling, and why.
 *
 * Bounds that an operator may set are defaults in daemon/config; here stand those that the code is built for. */
#ifndef MANSIO_LIMITS_H
#define MANSIO_LIMITS_H

enum {
    /* --- SMTP lines --- */
    COMMAND_SIZE_MAX = 2048,    /* with CRLF. RFC 5321 4.5.3.1.4 asks 512; SIZE, DSN and AUTH= parameters add to it */
    AUTH_LINE_SIZE_MAX = 12288, /* RFC 4954 section 4 */
    TEXT_LINE_SIZE_MAX =
        1048576, /* RFC 5321 4.5.3.1.6 asks 1000; real mail has longer ones and they are carried unchanged */
    REPLY_LINE_SIZE_MAX = 512,  /* RFC 5321 4.5.3.1.5: what we send; longer texts become several lines */
    REPLY_SIZE_MAX = 65536,     /* a peer's whole reply; over it the peer is talking nonsense */
    REPLY_LINES_MAX = 100,      /* the same in lines */
    REPLY_KEPT_SIZE_MAX = 4096, /* of a reply's text, what is stored, logged and shown in a DSN */

    /* --- addresses --- */
    LOCAL_PART_SIZE_MAX = 256, /* RFC 5321 4.5.3.1.1 asks 64; VERP and SRS need more */
    DOMAIN_SIZE_MAX = 255,     /* RFC 5321 4.5.3.1.2 */
    ADDRESS_SIZE_MAX = 512,    /* local part, @, domain; RFC 5321 4.5.3.1.3 asks 256 for a path */
    ORCPT_SIZE_MAX = 512,      /* decoded; RFC 3461 4.2 asks 500 */
    ENVID_SIZE_MAX = 100,      /* RFC 3461 4.4 */
    HELO_SIZE_MAX = 255,

    /* --- transactions --- */
    RCPT_COUNT_MAX = 100000,         /* hard ceiling of limits.recipients; RFC 5321 4.5.3.1.8 asks at least 100 */
    COMMAND_COUNT_MAX_UNPROVEN = 50, /* before its first accepted RCPT a stranger gets fewer tries */
    RECEIVED_COUNT_DEFAULT =
        50, /* RFC 5321 6.3 asks at least 100 hops to be let through or less by choice; CONTRACT: 50 */
    HEADER_SIZE_SCANNED_MAX = 262144, /* of a header block, what is looked at for Received, Message-ID and Subject */
    DISPLAY_FIELD_SIZE_MAX = 255,     /* Message-ID and Subject kept for display */

    /* --- queue --- */
    BODY_CHUNK_SIZE_MAX = 262123, /* 64 pages less page header (16) and row header (5); why: FACTS, docs/decisions */
    LANE_NAME_SIZE_MAX = 400,     /* must leave room for (time, id, n) in LMDB's 511-octet key */
    JOB_RCPT_COUNT_MAX = 100,     /* recipients of one message and one lane in one job */
    ATTEMPT_TRANSCRIPT_SIZE_MAX = 4096,

    /* --- between processes --- */
    FRAME_SIZE_MAX = 131072,     /* of any message in daemon/ipc/messages.def */
    BODY_FRAME_SIZE_MAX = 65536, /* body octets in one frame */
    BODY_WINDOW_SIZE =
        524288, /* body octets a transaction may send ahead of credit: one chunk on its way to the disk, one that gathers */
    CHANNEL_QUEUE_SIZE_HIGH =
        1048576, /* octets waiting in a channel over which its owner stops reading its own peers */
    CHANNEL_QUEUE_SIZE_LOW = 262144,

    /* --- DNS --- */
    DNS_MESSAGE_SIZE_MAX = 65535,
    DNS_CNAME_HOPS_MAX = 8,
    DNS_MX_COUNT_MAX = 50,          /* of one domain, the best by preference */
    DNS_ADDRESS_COUNT_MAX = 20,     /* of one host and family */
    DELIVERY_ADDRESS_TRIES_MAX = 5, /* CONTRACT: within one attempt, over preferences and families */
};

STATIC_ASSERT(COMMAND_SIZE_MAX >= 512);
STATIC_ASSERT(TEXT_LINE_SIZE_MAX >= 1000);
STATIC_ASSERT(RCPT_COUNT_MAX >= 100);
STATIC_ASSERT(LANE_NAME_SIZE_MAX + 1 + 8 + 8 + 4 <= 511);
STATIC_ASSERT(BODY_FRAME_SIZE_MAX + 1024 <= FRAME_SIZE_MAX);

#endif
