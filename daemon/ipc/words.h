/* words: the enums that travel as u8 in frames; every decoder checks them against their count.
 *
 * For: daemon/ipc/messages.def. Values need not stay over versions: all processes are of one build. */
#ifndef MANSIO_IPC_WORDS_H
#define MANSIO_IPC_WORDS_H

#include "daemon/base/base.h"
#include "queue/lane.h" /* enum lane_verdict, of job_end */

enum ipc_role {
    ROLE_SUPERVISOR,
    ROLE_INBOUND,
    ROLE_QUEUED,
    ROLE_OUTBOUND,
    ROLE_LOCAL,
    ROLE_AUTH,
    ROLE_LOOKUP,
    ROLE_KEYS,
    ROLE_PAM,
    ROLE_COUNT,
    /* groups, for the direction check only */
    ROLE_WORKER, /* outbound, local or lookup */
    ROLE_CHILD,  /* any but the supervisor */
};

/* tx_done: what became of a transaction. */
enum tx_outcome {
    TX_ACCEPTED,  /* durable: 250 */
    TX_TRY_LATER, /* 451 4.3.0 */
    TX_NO_SPACE,  /* 452 4.3.1 */
    TX_REFUSED,   /* reply says why; permanent */
    TX_OUTCOME_COUNT,
};

/* auth_answer: what became of one line of a SASL exchange. */
enum auth_outcome {
    AUTH_GOOD,      /* text: the login */
    AUTH_CHALLENGE, /* text: what the client is sent, before base64 */
    AUTH_BAD,       /* wrong, for whatever reason: the client is never told which */
    AUTH_MALFORMED, /* not of the mechanism's grammar */
    AUTH_BUSY,      /* not judged: too much to do, or the users file cannot be read */
    AUTH_SHUT_OUT,  /* not judged: too many failures from this address */
    AUTH_OUTCOME_COUNT,
};

/* door_count: what the front door counts; the labels of each are its own. */
enum door_family {
    DOOR_LOGIN,   /* a login was judged: good, bad, busy, shut_out, malformed */
    DOOR_LIMITED, /* a rate was used up: its key */
    DOOR_REFUSED, /* a connection was turned away: why */
    DOOR_WAITED,  /* an answer or greeting had to wait: tarpit, greeting */
    DOOR_LISTED,  /* a client is on a DNS list: its zone */
    DOOR_SCORED,  /* a client was scored: passed, refused */
    DOOR_FAMILY_COUNT,
};

/* Bans of a login stand among those of address blocks: ff00::/8 is nobody's address. */
static const uint64_t BAN_LOGIN_BITS = UINT64_C(0xff) << 56;

/* password_answer: what somebody else says of a password. */
enum password_verdict {
    PASSWORD_GOOD,
    PASSWORD_BAD,   /* wrong, or no such user */
    PASSWORD_LATER, /* it could not be judged */
    PASSWORD_VERDICT_COUNT,
};

/* job_result: what became of one recipient in this attempt. */
enum job_outcome {
    JOB_DELIVERED,
    JOB_DEFERRED,
    JOB_FAILED,
    JOB_AGAIN, /* not tried in this attempt (452 after some RCPTs, 421 between transactions): due again at once, not counted */
    JOB_EXPANDED, /* lookup, and local for a ~/.forward: its children came before it (Q3) */
    JOB_OUTCOME_COUNT,
};

/* job_child: what one of the recipients is that another one stands for. */
enum child_kind {
    CHILD_ADDRESS, /* text goes where its route leads, and is not expanded again */
    CHILD_UNKNOWN, /* text is an address of ours that does not exist: it fails as if it had been given so */
    CHILD_COMMAND, /* text is a command line */
    CHILD_FILE,    /* text is an absolute path */
    CHILD_FORWARD, /* text is an address that a ~/.forward names: it is expanded in its turn */
    CHILD_MAILBOX, /* the mailbox of `as` itself, past his ~/.forward */
    CHILD_KIND_COUNT,
};

/* rcpt_answer: what lookup knows of a recipient in a domain of ours. */
enum rcpt_known {
    RCPT_FINAL, /* a mailbox, without alias data */
    RCPT_ALIAS, /* to be expanded */
    RCPT_UNKNOWN,
    RCPT_LATER,     /* cannot be told now */
    RCPT_ELSEWHERE, /* in no domain of ours */
    RCPT_FORGED,    /* of the form of SRS, and signed by nobody here */
    RCPT_STALE,     /* signed here too long ago */
    RCPT_KNOWN_COUNT,
};

#endif
