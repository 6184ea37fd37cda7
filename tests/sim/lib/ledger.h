/* ledger: what really happened to every message, written down apart from the server, and the properties that must hold.
 *
 * For: clients and hosts, who report what they were told and what they took; for the house, which reports what queued says
 * and logs. The ledger compares, at once where it can and in ledger_close for the rest:
 *   Q1 a 250 means that each recipient is in the queue until it is delivered, reported or given up as the rules say
 *   Q2 each failure that is to be told is told in one notification, no more and no less
 *   Q4 a second copy only where a reply was lost or a process died between the host's 250 and our commit
 *   contents are those that were sent, recipients are those that were named, in their order and at their hosts
 *   notifications say what the hosts said; retries keep the plan; steady lanes do not wait
 * A letter is one message: of a client, or a notification that queued made. */
#ifndef MANSIO_SIM_LEDGER_H
#define MANSIO_SIM_LEDGER_H

#include "daemon/base/log.h"
#include "daemon/config/config.h"
#include "queue/store.h"
#include "tests/sim/lib/places.h"

struct sink;

/* A host's 250: whether it has reached us. */
struct receipt {
    struct receipt *next;
    struct sink *open; /* whose reply is still on its way; NULL: settled */
    bool arrived;
    struct receipt *mate; /* LMTP: of the next recipient, whose reply follows */
    uint64_t at; /* the octet of the host's words by which its reply is whole; 0: not said yet; UINT64_MAX: never */
    bool local;  /* a mailbox or program of ours: no reply travels */
    uint64_t outbound_deaths, local_deaths, queued_deaths, cuts; /* when it was given */
    uint32_t letter;                                             /* local: whose copy it is, and for whom */
    char address[80];
};
bool sink_reply_arrived(struct sink *s, struct receipt *receipt);

struct fate {
    char address[80];
    uint8_t notify;
    bool blind;              /* named in Bcc alone */
    uint32_t part;           /* the letter (part_of) that has it now; 0: this one. Nothing else in here counts then */
    char orcpt[100];         /* as it must come back; empty: none */
    char sender[80];         /* under which it goes on; empty: the letter's */
    uint32_t n;              /* its number in the queue, */
    bool has_n;              /* once that is known */
    bool expands;            /* it stands for others: it goes to lookup */
    bool expanded;           /* they have taken its place */
    unsigned children;       /* how many of them there were to be */
    bool owned, owned_maybe; /* one of them under an owner's name, for sure or by one of its ways */
    bool program;            /* its mail goes into a command or file */
    bool child;              /* it came by an expansion */
    uint64_t born_turn;
    bool accepted;           /* RCPT was answered 250 */
    unsigned copies, extra;  /* extra: those with a reason */
    struct receipt *receipt; /* of the last copy */
    bool copy_dsn;           /* the last copy's host offered DSN */
    bool delivered, failed, discarded, deleted, held;
    bool bounced, delete_asked, rerouted; /* by the postmaster */
    bool maybe;                           /* resolved in the turn that a power cut may have undone */
    uint64_t resolved_turn;
    unsigned told[5]; /* notifications by enum dsn_kind */
    uint64_t told_turn;
    uint64_t flying;       /* the job that has it; 0: none */
    const void *flying_by; /* its worker */
    unsigned deferrals;
    int64_t jumped_ms; /* world.jumped_ms when it was put off */
};

enum letter_told { TOLD_NOTHING, TOLD_YES, TOLD_LATER, TOLD_NO };

struct letter {
    uint32_t number;
    bool is_dsn;
    uint32_t about;   /* dsn: the letter */
    bool split;       /* each blind recipient gets a copy of his own */
    uint32_t part_of; /* a copy for one blind recipient of that letter: it has one fate or, before it is known, none */
    struct message_id id;
    char from[80];
    const char *envid; /* NULL: none */
    enum dsn_ret ret;
    struct heap_buf body; /* as sent; a notification's: as stored */
    struct fate *fates;
    uint32_t fate_count; /* those of the envelope, then those that expansion brought */
    uint32_t rcpt_count;
    uint32_t client;    /* whose letter it is */
    bool eight_bit;     /* BODY=8BITMIME */
    bool utf8;          /* SMTPUTF8: its header is UTF-8, its addresses may be */
    bool submitted;     /* its header is completed, and its Bcc does not leave */
    const char *sender; /* the field that is to be added; NULL: none */
    bool whole;         /* the client has sent all of it */
    bool must_fail;     /* content that may not be taken */
    bool committed;     /* queued said that it is durable */
    bool absent;        /* when it said so, the queue did not hold it: nothing of it is kept */
    bool orders;        /* the postmaster has given some */
    bool over;          /* each of its recipients is resolved */
    uint64_t commit_turn;
    struct walltime arrival;
    enum letter_told told;
    uint64_t queued_deaths; /* when its commit was asked for */
};

struct seen_rcpt {
    char address[80];
    bool has_dsn;
};

struct seen {
    const struct host *host;
    struct bytes from;
    const struct seen_rcpt *rcpts;
    uint32_t rcpt_count;
    struct bytes content;
    bool dsn_offered, eight_bit_offered, eight_bit_said, utf8_said;
};

/* Why there is a second copy; the first that holds. */
enum double_reason {
    DOUBLE_REPLY_LOST,
    DOUBLE_POWER_CUT,
    DOUBLE_QUEUED_DIED,
    DOUBLE_OUTBOUND_DIED,
    DOUBLE_LOCAL_DIED,
    DOUBLE_REASON_COUNT,
};

struct ledger {
    struct letter **letters; /* by number; [0] unused */
    uint32_t letter_count, letter_room;
    struct receipt *receipts;
    uint64_t outbound_deaths, local_deaths, queued_deaths, commit_failures, turn;
    struct store *store; /* to look into; NULL while queued is down */
    const struct config *cfg;
    /* figures */
    uint64_t accepted, recipients, delivered, failed, dsns, deferrals, exact_steps, doubles,
        doubles_by[DOUBLE_REASON_COUNT], attempts, expanded, no_space, local_copies, deleted;
    int64_t worst_wait_ms;
};
extern struct ledger ledger;

void ledger_open(const struct config *cfg);
/* The last look: nothing may be left over. */
void ledger_close(bool drained);
void ledger_free(void);

/* --- clients --- */
struct letter *ledger_letter(const char *from, uint32_t rcpt_count);
/* The one with this address that gets mail itself, before one that only stands for others. */
struct fate *letter_fate(struct letter *l, struct bytes address);
void ledger_told(struct letter *l, enum letter_told told, unsigned code);

/* --- hosts --- */
uint64_t ledger_token(const char *address, unsigned code);
void ledger_offered(const struct host *host, struct bytes from, struct bytes address);
struct receipt *ledger_take(const struct seen *seen);

/* --- the house --- */
void ledger_commit_asked(const struct envelope_head *head);
void ledger_committed(struct message_id id, bool accepted);
void ledger_job_rcpt(struct job_id job, const void *worker, struct message_id id, const struct recipient *rcpt);
void ledger_worker_gone(const void *worker);
void ledger_job_over(struct job_id job);
void ledger_log(enum log_event event, const struct log_field *fields, size_t field_count);
void ledger_died(bool queued);
/* The store was opened again: all that must be there is. `cut`: a power cut may have undone the last turn. */
void ledger_audit(struct store *store, bool cut);
/* Letters of which something is still to come. */
uint32_t ledger_open_letters(void);

/* --- mailboxes and programs of ours --- */
/* A copy for `to` under the name of `from`; `original` may be empty. NULL: of a letter that nobody wrote. */
struct receipt *ledger_copy(
    struct bytes from, struct bytes to, struct bytes original, bool program, struct bytes content);
/* It is there no longer. */
void ledger_copy_gone(struct receipt *receipt);

/* Recipients that the postmaster wanted deleted and that are gone from the queue. */
void ledger_deleted_look(void);

/* The postmaster's hand */
struct letter *ledger_find(struct message_id id);

#endif
