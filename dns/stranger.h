/* stranger: what the DNS says of a client's address: a name that leads back to it, and which lists hold it.
 *
 * For: lookup, on behalf of inbound. Not for: what to think of it (inbound/repute.h). Pure: it asks by events and is told.
 * Names: PTR of the address, then A or AAAA of the first STRANGER_NAME_COUNT_MAX names; the first that leads back is the name.
 * Lists (RFC 5782): A of the reversed address in the list's zone; an answer outside 127.0.0.0/8 is a list that is out of order
 * and counts nothing, as does any failure.
 *   stranger_init(&s, &address, lists, count, true);
 *   while (stranger_next(&s, &ask)) dns_edge_ask(dns, dns_name_bytes(&ask.name), ask.type, ask.user, ...);
 *   stranger_answer(&s, user, answer);   ... and again stranger_next, until stranger_done(&s) or time is up */
#ifndef MANSIO_DNS_STRANGER_H
#define MANSIO_DNS_STRANGER_H

#include "dns/message.h"

enum { STRANGER_NAME_COUNT_MAX = 3, STRANGER_LIST_COUNT_MAX = 16 };

struct stranger_list {
    struct bytes zone;
    bool one_answer; /* `answer` alone counts */
    uint8_t answer[4];
};

struct stranger {
    struct dns_address address;
    const struct stranger_list *lists;
    unsigned list_count, lists_asked;
    unsigned name_count, names_asked;
    unsigned asked, names_open; /* questions without an answer; those about names */
    bool wants_name, reverse_asked;
    uint32_t listed;      /* bit i: lists[i] */
    struct dns_name name; /* size 0: none (yet) */
    struct dns_name candidates[STRANGER_NAME_COUNT_MAX];
    bool failed; /* a question about names had no answer: nothing is sure */
};

struct stranger_ask {
    struct dns_name name;
    enum dns_type type;
    uint32_t user;
};

/* `lists` outlives it. */
void stranger_init(struct stranger *s, const struct dns_address *address, const struct stranger_list *lists,
    unsigned list_count, bool names);
/* Each question asked is answered once; one that cannot be asked with stranger_answer(…, NULL). */
bool stranger_next(struct stranger *s, struct stranger_ask *ask_out);
/* NULL: no answer will come. */
void stranger_answer(struct stranger *s, uint32_t user, const struct dns_answer *answer);
bool stranger_done(const struct stranger *s);
/* It is sure that no name leads back; lists may still be asked. */
bool stranger_is_nameless(const struct stranger *s);

#endif
