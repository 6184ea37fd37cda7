/* resolver: questions to the name servers, over c-ares; knows its library but not the loop.
 *
 * For: outbound. It puts a cache in front, joins equal questions in flight, bounds how many are on the wire, goes to TCP
 * when an answer is cut short, and ends each within timeout x tries whatever the servers do. Not for: files or blocking:
 * /etc/resolv.conf is read at resolver_new (only when no server is configured) and nothing after it, so the process may
 * be sandboxed then. (c-ares likes to open /dev/urandom when a channel is made; it may be refused: our ids do not come
 * from there.) Do not call the resolver from inside hooks.want. Each question travels from a socket, port and id of its own (RFC 5452).
 *
 * The edge polls descriptors for it and calls in; answers are pulled afterwards, never called back:
 *   TRY(resolver_new(&cfg, &hooks, &r));
 *   TRY(resolver_ask(r, now, name, DNS_TYPE_MX, my_number, &token));
 *   resolver_ready(r, now, fd, readable, writable);   a descriptor that hooks.want named is ready
 *   resolver_tick(r, now);                            at resolver_deadline(r)
 *   while (resolver_next(r, &done)) ... done.user, done.answer ...      after each of the three calls above
 * Lifetime: resolver_free ends all. Threads: none. */
#ifndef MANSIO_DNS_RESOLVER_H
#define MANSIO_DNS_RESOLVER_H

#include "dns/cache.h"

struct resolver;

enum {
    RESOLVER_SERVER_COUNT_MAX = 4,
    RESOLVER_SERVER_TEXT_SIZE_MAX = 64,
    RESOLVER_PARALLEL_DEFAULT = 64,
    RESOLVER_ASKS_MAX_DEFAULT = 8192,
    RESOLVER_CACHE_ENTRIES_DEFAULT = 4096,
};

struct resolver_config {
    const struct bytes *servers; /* "127.0.0.1:5353", "[::1]:53", "192.0.2.53"; none: the system's */
    size_t server_count;         /* at most RESOLVER_SERVER_COUNT_MAX */
    int64_t timeout_ms;          /* timeout_ms * tries bounds a question whole, TCP included */
    unsigned tries;
    bool trust_ad;         /* believe the servers' AD bit (and ask for it): they are ours and the way to them is safe */
    unsigned parallel_max; /* questions on the wire; 0: RESOLVER_PARALLEL_DEFAULT */
    unsigned asks_max;     /* asks waiting in all; 0: RESOLVER_ASKS_MAX_DEFAULT */
    struct dns_cache_config cache; /* entries as given (0: no cache); its seed is made here */
};

struct resolver_hooks {
    void *context;
    /* From now on poll `fd` for these; both false: stop now, it is about to be closed. May come from inside any call. */
    void (*want)(void *context, int fd, bool readable, bool writable);
};

/* Names one ask until its answer was pulled or it was cancelled. Never reused within one resolver. */
struct resolver_token {
    uint64_t value;
};

struct resolver_done {
    struct resolver_token token;
    uint64_t user;                   /* as given to resolver_ask */
    const struct dns_answer *answer; /* good until the next call on the resolver */
};

/* CODE_SYNTAX for a server text that cannot be read (or too many), CODE_IO when the library cannot start. */
RESULT
resolver_new(const struct resolver_config *cfg, const struct resolver_hooks *hooks, struct resolver **resolver_out);
/* Open asks end without an answer; hooks.want is told to stop for each descriptor. Clears the caller's pointer. */
void resolver_free(struct resolver **r);

/* Asks. The answer is pulled by resolver_next, at once when it was cached or `name` cannot be asked. CODE_FULL when
 * asks_max are open: try again later (to the mail it is a temporary failure). */
RESULT
resolver_ask(struct resolver *r, struct instant now, struct bytes name, enum dns_type type, uint64_t user,
    struct resolver_token *token_out);
/* Its answer will not come. Safe at any time, for tokens already answered too. */
void resolver_cancel(struct resolver *r, struct resolver_token token);

void resolver_ready(struct resolver *r, struct instant now, int fd, bool readable, bool writable);
void resolver_tick(struct resolver *r, struct instant now);
struct instant resolver_deadline(const struct resolver *r);
/* The next finished ask; pull until false after resolver_ask, resolver_ready and resolver_tick. */
bool resolver_next(struct resolver *r, struct resolver_done *done_out);

/* For the statistics: questions sent, joined to one in flight, answered from the cache. */
struct resolver_counts {
    uint64_t asked;
    uint64_t joined;
    uint64_t cached;
    uint64_t sent;
    uint64_t timed_out;
};
struct resolver_counts resolver_counts(const struct resolver *r);

#endif
