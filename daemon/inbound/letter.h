/* letter: one message on its way from a session that submits it to the depot: its header completed, its Bcc kept, taken out, or
 * split into copies.
 *
 * For: session.c, on run_dir/inject, on listeners for submission, where bcc is not "keep", and for mail whose addresses are
 * rewritten. Not for: other relayed mail, which goes to the depot as it comes. What is done to the header is smtp/completion.h; the policy is docs/envelope-and-headers.md.
 *   letter = letter_new(&setup, tx);           behind depot_tx_open, whose transaction it takes over
 *   letter_rcpt(letter, &rcpt);  letter_body(letter, octets);     the first octets are our Received field
 *   if (!letter_commit(letter, &display, &reply)) ... refused with reply, everything aborted
 *   if (letter_done(letter, tx, outcome, reply)) ... letter_outcome: the last of its transactions is over
 *   letter_free(&letter)                       aborts what is not committed; letter_leave(&letter): the client is gone
 * (L1) With `split` recipients are held until the Bcc fields are known, and the header until its end, both within bounds.
 * (L2) All copies become durable in one commit of queued or none does, so a client that got no 250 sends again and nobody gets a
 *      second copy.
 * Lifetime: from MAIL to the answer; heap. Threads: none. */
#ifndef MANSIO_INBOUND_LETTER_H
#define MANSIO_INBOUND_LETTER_H

#include "daemon/config/rewriting.h"
#include "daemon/inbound/depot.h"
#include "smtp/address.h"
#include "smtp/reply.h"

struct letter;

enum {
    LETTER_COPIES_MAX = 100,              /* blind recipients of one message with `split`; over it 452 */
    LETTER_HEADER_SIZE_MAX = 1024 * 1024, /* held with `split`; over it 552 */
};

struct letter_setup {
    struct depot *depot;
    void *owner; /* of transactions: the session */
    const struct config *cfg;
    enum bcc_policy bcc;
    bool submitted;                    /* complete the header */
    bool authors;                      /* letter_author will be asked */
    struct bytes login;                /* local or authenticated user; empty: unknown */
    const struct rewriting *rewriting; /* of addresses in the header; NULL: none */
};

/* NULL when there is no memory: the transaction is still the caller's. */
struct letter *letter_new(const struct letter_setup *setup, struct depot_tx *tx);
/* False when there is no memory. */
bool letter_rcpt(struct letter *l, const struct recipient *rcpt);
void letter_body(struct letter *l, struct bytes body);
/* False: refused, and what was there is aborted. `display` as for depot_tx_commit; its body_size is replaced. */
bool letter_commit(struct letter *l, const struct envelope_head *display, struct reply *refusal_out);
/* Once all content was fed: the address in From with this number, counted from 0 over all such fields, completed with the origin; good
 * until the next call. CODE_GONE: there are no more; CODE_SYNTAX: a From field cannot be read, is too long, or names nobody. */
RESULT
letter_author(struct letter *l, size_t number, struct address *author_out);
/* One of its transactions is over and gone. True when that was the last. */
bool letter_done(struct letter *l, const struct depot_tx *tx, enum tx_outcome outcome, struct bytes reply);
/* What to tell the client, and under which id; after letter_done said true. */
enum tx_outcome letter_outcome(const struct letter *l, struct bytes *reply_out, struct message_id *id_out);
/* How many octets may be fed now, as depot_tx_allowance. */
size_t letter_allowance(struct letter *l);
void letter_free(struct letter **letter);
void letter_leave(struct letter **letter);

#endif
