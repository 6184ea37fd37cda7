/* ledger_parts: what the files of the ledger share; nobody else includes it. */
#ifndef MANSIO_SIM_LEDGER_PARTS_H
#define MANSIO_SIM_LEDGER_PARTS_H

#include "queue/dsn.h"
#include "tests/sim/lib/ledger.h"

struct letter *ledger_letter_new(const char *from, uint32_t rcpt_count);
void letter_id_set(struct letter *l, struct message_id id);
/* ledger_dsn.c: a notification was queued; reads it out of the store. */
void ledger_dsn_born(struct message_id id);
/* Words of a host that came back, "tok=17": whether it may be said of this recipient. `text` may hold none. 0 or the code. */
unsigned ledger_token_check(struct bytes text, const struct fate *f, const char *where);
bool fate_is_resolved(const struct fate *f);
/* By its number in the queue, else by its address. */
struct fate *letter_fate_n(struct letter *l, uint32_t n, struct bytes address);
bool fate_has_row(const struct fate *f, const struct recipient *rcpt);
/* Under whose name it goes on. */
const char *fate_sender(const struct letter *l, const struct fate *f);
/* Marks what the store holds of it. Inside a read. */
void letter_rows(struct letter *l);
struct bytes header_of(struct bytes content);
struct letter *letter_of_content(struct bytes content);
/* The content as it was sent, at a host (or mailbox) that is called so. */
void content_check(const struct letter *l, struct bytes content, const char *where);
/* ledger_convert.c: the same, where the host may have got it in ASCII; and whether a letter is this content, as it is or so. */
void content_check_converted(const struct letter *l, struct bytes content, const char *where);
bool letter_is_content(const struct letter *l, struct bytes content);
/* ledger_header.c: a submission without our trace field: what was added to its header, and what was taken out. */
void submission_check(const struct letter *l, struct bytes content, const char *where);
bool header_names_bcc(struct bytes content);
void put_without_bcc(struct heap_buf *out, struct bytes content);
/* Of a letter that is split: the only Bcc is his who gets it, when he is blind, and nothing names another blind one. */
void split_check(const struct letter *l, const struct fate *f, struct bytes content, const char *where);
/* Whose copy of a letter that is split this is. */
struct letter *part_of_content(struct letter *l, struct bytes address, struct bytes content);
/* No octets of it name a blind recipient. */
void blind_check(const struct letter *l, struct bytes content, const char *where);
void copy_add(struct letter *l, struct fate *f, bool dsn_offered, struct receipt *receipt);
/* ledger_expand.c: inside no read of the store. */
void ledger_expanded(struct letter *l, uint32_t n, struct bytes address, uint32_t children);
/* A power cut may have undone an expansion: its children are forgotten. Inside a read. */
void letter_unexpand(struct letter *l);

#endif
