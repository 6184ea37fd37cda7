/* kin: whom the addresses of local.test stand for: alias files made by the dice, and what they mean worked out here, apart from
 * daemon/lookup. Mailboxes ok0, ok1 …; aliases aN, lists lN with owner-lN, programs pN, files fN, /dev/null vN; loopN lead in a
 * circle; goneN are nobody.
 *
 * For: the configuration of a run, clients who choose recipients, the ledger (what an expansion must come to), helpers.
 *   kin_begin(folder);                     writes folder/aliases, folder/users and the lists
 *   count = kin_expand(address, leaves, KIN_LEAVES_MAX); */
#ifndef MANSIO_SIM_KIN_H
#define MANSIO_SIM_KIN_H

#include "tests/sim/lib/world.h"

#define KIN_DOMAIN "local.test"

enum { KIN_ALIASES = 10, KIN_LISTS = 2, KIN_PROGRAMS = 4, KIN_FILES = 2, KIN_MAILBOXES = 220, KIN_LEAVES_MAX = 80 };
enum { KIN_OWNERS = 1 + KIN_LISTS }; /* the message's own sender, and the lists' owners */

enum kin_kind { KIN_MAILBOX, KIN_ALIAS, KIN_NOBODY };
enum kin_script { KIN_TAKES, KIN_FLAKY, KIN_REFUSES, KIN_ROUGH };

struct kin_leaf {
    char address[80];
    bool program;
    bool nothing;    /* /dev/null */
    unsigned owners; /* bits of those under whose name it may come: bit 0 the sender's own */
};

void kin_begin(const char *folder);
enum kin_kind kin_ask(struct bytes address);
/* How many; each once. A mailbox stands for itself. 0 for who is nobody, or leads in a circle. */
unsigned kin_expand(struct bytes address, struct kin_leaf *leaves_out, unsigned room);
/* The address of an owner, 1 to KIN_LISTS. */
void kin_owner(unsigned owner, char *out, size_t room);
enum kin_script kin_script(struct bytes program);
/* Where the mail of a mailbox lies. */
void kin_maildir(struct bytes address, const char *root, char *out, size_t room);
/* The n-th address of local.test that a client may name; of all kinds. */
void kin_address(uint32_t n, char *out, size_t room);
/* An include list goes away, or comes back as it was. */
void kin_list_away(bool away);

#endif
