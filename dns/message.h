/* message: DNS packets: builds one question, reads one answer (RFC 1035, 2308, 3596, 6698, 6891).
 *
 * For: the resolver, the fuzzer and tests. Not for: sockets, retries, caches (resolver.h, cache.h), and not a server.
 * Pure: octets in, a struct of bounded arrays out. An answer never holds a pointer into the packet.
 *   struct dns_question q = {.type = DNS_TYPE_MX, .id = id, .recursion = true};
 *   TRY(dns_name_set(&q.name, domain));
 *   TRY(dns_question_put(&packet, &q));            ... send, receive ...
 *   dns_answer_parse(&q, datagram, &answer);       always fills it: answer.status says what came */
#ifndef MANSIO_DNS_MESSAGE_H
#define MANSIO_DNS_MESSAGE_H

#include "dns/address.h"
#include "dns/name.h"

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_TLSA = 52,
};

/* What a question came to. The permanent ones are OK, NODATA, NXDOMAIN and BAD_NAME; all others may differ tomorrow. */
enum dns_status {
    DNS_OK,          /* the records stand in the answer (possibly none that we can use: see `unusable`) */
    DNS_NODATA,      /* the name exists and has no record of this type */
    DNS_NXDOMAIN,    /* the name (or the last one of its CNAME chain) does not exist */
    DNS_BAD_NAME,    /* the text cannot be a domain name: it was not asked */
    DNS_SERVFAIL,    /* the server could not find out, or its DNSSEC validation failed */
    DNS_REFUSED,     /* the server does not answer us (or said NOTIMP, NOTAUTH, FORMERR...) */
    DNS_TIMEOUT,     /* no answer within the bound */
    DNS_UNREACHABLE, /* the network or the server's host refused the packet */
    DNS_MALFORMED,   /* an answer that is not one: broken, for another question, a CNAME loop */
    DNS_TRUNCATED,   /* cut short; the resolver asks again over TCP, so callers of the resolver never see it */
    DNS_BUSY,        /* our own bound on questions in flight was reached */
    DNS_STATUS_COUNT,
};

enum {
    DNS_TLSA_COUNT_MAX = 16,
    DNS_TLSA_DATA_SIZE_MAX = 8192, /* association data of all records of one answer */
    DNS_PTR_COUNT_MAX = 8,
    DNS_UDP_SIZE = 1232, /* what EDNS0 offers: fits one unfragmented packet everywhere (DNS flag day 2020) */
    DNS_QUESTION_SIZE_MAX = 12 + 255 + 4 + 11,
    DNS_TTL_MAX = 604800, /* seconds; longer ones are cut to it (RFC 8767 4, RFC 2181 8) */
};

struct dns_question {
    struct dns_name name;
    uint16_t type; /* enum dns_type */
    uint16_t id;
    bool recursion;     /* RD */
    bool ask_authentic; /* AD in the question: tell us whether you validated (RFC 6840 5.7) */
    bool edns;          /* EDNS0 with DNS_UDP_SIZE */
    bool dnssec_ok;     /* DO; wants edns */
};

struct dns_mx {
    uint16_t preference;
    struct dns_name host; /* size 0: "." */
};

struct dns_tlsa {
    uint8_t usage;
    uint8_t selector;
    uint8_t matching;
    uint16_t offset; /* of its association data, in tlsa_data */
    uint16_t size;
};

struct dns_answer {
    enum dns_status status;
    uint16_t type;     /* of the question */
    uint32_t ttl;      /* seconds: least of the chain and the records; of NODATA and NXDOMAIN by the SOA (RFC 2308 5),
                               0 when there is none */
    bool authentic;    /* AD as the server sent it; the resolver clears it unless the server is trusted */
    bool edns;         /* the answer had an OPT record */
    bool chain_open;   /* NODATA, but only the server's laziness may be why: the chain ends at `canonical` and nothing
                           was said about that name; the resolver asks on, so its callers never see it */
    unsigned unusable; /* records of the asked type that were left out: odd names, over a bound */
    struct dns_name canonical; /* where the CNAME chain ended; the question's name without a chain */
    unsigned count;            /* of the member of the union that `type` names */
    union {
        struct dns_mx mx[DNS_MX_COUNT_MAX]; /* by preference, the best first; those of equal preference as they came */
        struct dns_address address[DNS_ADDRESS_COUNT_MAX]; /* A or AAAA */
        struct dns_name ptr[DNS_PTR_COUNT_MAX];
        struct {
            struct dns_tlsa tlsa[DNS_TLSA_COUNT_MAX];
            uint8_t tlsa_data[DNS_TLSA_DATA_SIZE_MAX];
        };
    };
};

/* CODE_SYNTAX when the name is not valid, CODE_FULL when `out` has no room (DNS_QUESTION_SIZE_MAX is always enough). */
RESULT
dns_question_put(struct buf *out, const struct dns_question *question);

/* Reads one packet as the answer to `question`: id, question section (ASCII case aside), bounds and compression are
 * checked; a CNAME chain is followed inside the packet up to DNS_CNAME_HOPS_MAX. Whatever does not hold together is
 * DNS_MALFORMED. Always fills *answer_out. */
void dns_answer_parse(const struct dns_question *question, struct bytes packet, struct dns_answer *answer_out);

/* An answer that no packet brought: a time-out, a refused name. */
void dns_answer_fail(struct dns_answer *answer_out, uint16_t type, enum dns_status status);

/* Association data of record `index`; good as long as the answer lives. */
struct bytes dns_tlsa_data(const struct dns_answer *answer, unsigned index);

/* True when asking again later may bring something else: mail waits instead of bouncing. */
bool dns_status_is_temporary(enum dns_status status);
/* "no such domain", "the name server failed"... a literal, for replies and logs. */
const char *dns_status_text(enum dns_status status);

/* The name under which addresses are found in reverse: "1.2.0.192.in-addr.arpa", "...ip6.arpa" (RFC 3596 2.5). */
void dns_reverse_name(const struct dns_address *address, struct dns_name *name_out);

#endif
