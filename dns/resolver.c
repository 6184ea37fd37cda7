/* A *query* is one question with all asks that wait for it. It is WAITING (no slot free), on the WIRE (in a slot) or DONE
 * (its answer waits to be pulled). A *slot* is a c-ares channel with at most one query.
 *
 *   (R1) One query a channel: c-ares closes its sockets when a channel falls idle, so each question leaves from a fresh
 *        port, and cancelling a query cannot touch another one.
 *   (R2) c-ares does one attempt at one server (UDP, and TCP when that was cut short). Which server comes next, and when
 *        it is enough, is decided here: c-ares 1.18 hides whether a server failed, refused or was not there.
 *   (R3) c-ares calls back only to note what came (on_answer); what follows from it is done after it returned (settle).
 *   (R4) A query without asks does not exist, but for `given`: its answer was pulled last and is still borrowed. */
#include "dns/resolver.h"

#include <ares.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SLOT_FD_COUNT_MAX = 4, /* one server: UDP and TCP, and one of each being closed */
    BUCKET_COUNT = 1024,
    ATTEMPT_TIMEOUT_MIN_MS = 1,
    TOKEN_INDEX_BITS = 20,
    CANONICAL_HOPS_MAX = DNS_CNAME_HOPS_MAX,
};
static const uint32_t NO_ASK = UINT32_MAX;

enum query_state { QUERY_WAITING, QUERY_WIRE, QUERY_DONE };

struct slot;

struct query {
    struct query *bucket_next;
    struct query *next; /* in the waiting or the done list */
    struct query *previous;
    enum query_state state;
    uint64_t hash;
    struct dns_name key;          /* what was asked first, in lower case */
    struct dns_question question; /* what is asked now: the key, or where its CNAME chain led */
    unsigned hops;
    struct {
        uint32_t ttl;
        bool authentic;
    } chain; /* of the answers on the way */
    unsigned attempts;
    unsigned server;
    unsigned servers_failed; /* bits */
    enum dns_status failure; /* DNS_OK: none yet */
    struct instant deadline;
    struct slot *slot;
    uint32_t first_ask;
    uint32_t last_ask;
    struct dns_answer *answer;
};

struct ask {
    uint64_t generation;
    uint64_t user;
    struct query *query; /* NULL: free */
    uint32_t next;       /* of the query's asks, or next free */
    uint32_t previous;
};

struct slot {
    struct resolver *resolver;
    ares_channel channel; /* NULL until first used */
    struct query *query;
    int fds[SLOT_FD_COUNT_MAX];
    unsigned server; /* that the channel is set to */
    struct instant wake;
    bool replied;
    bool worn; /* start the next query with a new channel */
};

struct list {
    struct query *first;
    struct query *last;
};

struct resolver {
    struct resolver_config cfg;
    struct resolver_hooks hooks;
    struct ares_addr_port_node servers[RESOLVER_SERVER_COUNT_MAX];
    unsigned server_count;
    unsigned server_first; /* where attempts begin: moves on when it was silent */
    struct slot *slots;
    struct query *buckets[BUCKET_COUNT];
    struct list waiting;
    struct list done;
    struct query *given;
    struct ask *asks;
    uint32_t ask_free;
    uint32_t ask_used; /* asks below it have been used */
    uint32_t ask_open;
    void *cache_room;
    struct dns_cache cache;
    struct dns_answer failed; /* what is handed out for a query without an answer of its own */
    uint16_t ids[64];
    unsigned id_count;
    struct resolver_counts counts;
};

/* --- lists and asks --- */

static void list_put(struct list *l, struct query *q)
{
    q->next = NULL;
    q->previous = l->last;
    *(l->last ? &l->last->next : &l->first) = q;
    l->last = q;
}

static void list_drop(struct list *l, struct query *q)
{
    *(q->previous ? &q->previous->next : &l->first) = q->next;
    *(q->next ? &q->next->previous : &l->last) = q->previous;
}

static struct resolver_token ask_token(const struct resolver *r, uint32_t index)
{
    return (struct resolver_token){r->asks[index].generation << TOKEN_INDEX_BITS | index};
}

static uint32_t ask_take(struct resolver *r, uint64_t user)
{
    uint32_t index = r->ask_free;

    if (index != NO_ASK)
        r->ask_free = r->asks[index].next;
    else if (r->ask_used < r->cfg.asks_max)
        index = r->ask_used++;
    else
        return NO_ASK;
    r->asks[index].generation++;
    r->asks[index].user = user;
    r->ask_open++;
    return index;
}

static void ask_join(struct resolver *r, uint32_t index, struct query *q)
{
    struct ask *a = &r->asks[index];

    a->query = q;
    a->next = NO_ASK;
    a->previous = q->last_ask;
    *(q->last_ask == NO_ASK ? &q->first_ask : &r->asks[q->last_ask].next) = index;
    q->last_ask = index;
}

static void ask_free(struct resolver *r, uint32_t index)
{
    struct ask *a = &r->asks[index];

    if (a->query) {
        *(a->previous == NO_ASK ? &a->query->first_ask : &r->asks[a->previous].next) = a->next;
        *(a->next == NO_ASK ? &a->query->last_ask : &r->asks[a->next].previous) = a->previous;
    }
    a->query = NULL;
    a->next = r->ask_free;
    r->ask_free = index;
    r->ask_open--;
}

/* --- queries --- */

static uint64_t query_hash(const struct resolver *r, const struct dns_name *key, uint16_t type)
{
    return bytes_hash(dns_name_bytes(key), r->cfg.cache.seed ^ type);
}

static struct query *query_find(struct resolver *r, const struct dns_name *key, uint16_t type, uint64_t hash)
{
    struct query *q = r->buckets[hash % BUCKET_COUNT];

    while (q &&
           (q->hash != hash || q->question.type != type || !bytes_equal(dns_name_bytes(&q->key), dns_name_bytes(key))))
        q = q->bucket_next;
    return q;
}

static struct query *query_new(enum query_state state, uint16_t type)
{
    struct query *q = mem_take_zero(sizeof *q);

    if (q == NULL)
        return NULL;
    q->state = state;
    q->question.type = type;
    q->first_ask = q->last_ask = NO_ASK;
    return q;
}

static void query_unbucket(struct resolver *r, struct query *q)
{
    struct query **link = &r->buckets[q->hash % BUCKET_COUNT];

    while (*link != q) {
        ASSERT(*link != NULL);
        link = &(*link)->bucket_next;
    }
    *link = q->bucket_next;
}

static void slot_leave(struct slot *s);

/* Out of whatever list it is in, and gone. */
static void query_free(struct resolver *r, struct query *q)
{
    if (q == r->given)
        r->given = NULL;
    else if (q->state == QUERY_DONE)
        list_drop(&r->done, q);
    else
        query_unbucket(r, q);
    if (q->state == QUERY_WAITING)
        list_drop(&r->waiting, q);
    if (q->state == QUERY_WIRE)
        slot_leave(q->slot);
    mem_free(q->answer);
    mem_free(q);
}

static void given_free(struct resolver *r)
{
    if (r->given)
        query_free(r, r->given);
}

/* Its asks can be pulled: q->answer, or this failure. */
static void query_finish(struct resolver *r, struct query *q, enum dns_status failure)
{
    if (q->state == QUERY_WAITING)
        list_drop(&r->waiting, q);
    if (q->state == QUERY_WIRE)
        slot_leave(q->slot);
    query_unbucket(r, q);
    q->state = QUERY_DONE;
    q->failure = failure;
    r->counts.timed_out += failure == DNS_TIMEOUT;
    list_put(&r->done, q);
}

/* --- slots --- */

static void slot_fd(void *context, ares_socket_t fd, int readable, int writable)
{
    struct slot *s = context;
    int at = -1;

    for (int i = SLOT_FD_COUNT_MAX - 1; i >= 0; i--)
        if (s->fds[i] == fd || (s->fds[i] < 0 && (at < 0 || s->fds[at] != fd)))
            at = i;
    ASSERT(at >= 0); /* (R1): one server, so never more sockets than this */
    s->fds[at] = readable || writable ? fd : -1;
    s->resolver->hooks.want(s->resolver->hooks.context, fd, readable, writable);
}

/* c-ares would make each socket non-blocking and close-on-exec with three calls more. */
static ares_socket_t socket_make(int family, int type, int protocol, void *context)
{
    (void)context;
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int socket_close(ares_socket_t fd, void *context)
{
    (void)context;
    return close(fd);
}

static int socket_connect(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t size, void *context)
{
    (void)context;
    return connect(fd, to, size);
}

static ares_ssize_t socket_receive(ares_socket_t fd, void *data, size_t size, int flags, struct sockaddr *from,
    ares_socklen_t *from_size, void *context)
{
    (void)context;
    return recvfrom(fd, data, size, flags, from, from_size);
}

static ares_ssize_t socket_send(ares_socket_t fd, const struct iovec *parts, int count, void *context)
{
    struct msghdr head = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};

    (void)context;
    return sendmsg(fd, &head, MSG_NOSIGNAL);
}

static const struct ares_socket_functions SOCKET_CALLS = {
    socket_make, socket_close, socket_connect, socket_receive, socket_send};

static RESULT slot_open(struct slot *s)
{
    const struct resolver_config *cfg = &s->resolver->cfg;
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS,
        .tries = 1,
        .ndots = 1,
        .ednspsz = DNS_UDP_SIZE,
        .lookups = (char[]){"b"},
        .sock_state_cb = slot_fd,
        .sock_state_cb_data = s};
    int64_t timeout_ms = cfg->timeout_ms / s->resolver->server_count;

    options.timeout = timeout_ms < ATTEMPT_TIMEOUT_MIN_MS ? ATTEMPT_TIMEOUT_MIN_MS
                      : timeout_ms > INT_MAX / 2          ? INT_MAX / 2
                                                          : (int)timeout_ms;
    /* With all of these given c-ares reads no file. */
    int status = ares_init_options(&s->channel, &options,
        ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
            ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ | ARES_OPT_NOROTATE);
    if (status != ARES_SUCCESS) {
        s->channel = NULL;
        return FAIL_SYS(status, "the DNS library does not start");
    }
    ares_set_socket_functions(s->channel, &SOCKET_CALLS, NULL);
    s->server = UINT_MAX;
    s->worn = false;
    return OK;
}

static void slot_close(struct slot *s)
{
    if (s->channel)
        ares_destroy(s->channel);
    s->channel = NULL;
}

/* The query is taken out; what c-ares still had of it ends. */
static void slot_leave(struct slot *s)
{
    s->query->slot = NULL;
    s->query = NULL;
    s->wake = INSTANT_NEVER;
    ares_cancel(s->channel);
}

static void slot_wake(struct slot *s, struct instant now)
{
    struct timeval wait;

    s->wake = INSTANT_NEVER;
    if (s->query && ares_timeout(s->channel, NULL, &wait))
        s->wake = instant_after(now, (int64_t)wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1);
}

/* --- one attempt --- */

static enum dns_status status_of(int ares_status)
{
    switch (ares_status) {
    case ARES_ETIMEOUT:
        return DNS_TIMEOUT;
    case ARES_ESERVFAIL:
        return DNS_SERVFAIL;
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
        return DNS_REFUSED;
    case ARES_EBADRESP:
    case ARES_EFORMERR:
        return DNS_MALFORMED;
    case ARES_ENOMEM:
        return DNS_BUSY;
    default:
        return DNS_UNREACHABLE;
    }
}

/* (R3) */
static void on_answer(void *context, int status, int timeouts, unsigned char *packet, int packet_size)
{
    struct slot *s = context;
    struct query *q = s->query;

    (void)timeouts;
    if (q == NULL) /* cancelled */
        return;
    if (status == ARES_SUCCESS && packet != NULL)
        dns_answer_parse(&q->question, (struct bytes){packet, (size_t)packet_size}, q->answer);
    else
        dns_answer_fail(q->answer, q->question.type, status_of(status));
    if (q->answer->status == DNS_TRUNCATED) /* over TCP: that cannot be */
        q->answer->status = DNS_MALFORMED;
    s->replied = true;
}

static uint16_t random_id(struct resolver *r)
{
    if (r->id_count == 0) {
        ssize_t got = getrandom(r->ids, sizeof r->ids, 0);
        ASSERT(got == sizeof r->ids); /* never short for so few octets, once the system is up */
        r->id_count = COUNT_OF(r->ids);
    }
    return r->ids[--r->id_count];
}

/* Sends the query to q->server. When that cannot even begin s->replied stands and the reason is in q->answer. */
static void slot_send(struct slot *s)
{
    struct resolver *r = s->resolver;
    struct query *q = s->query;
    uint8_t room[DNS_QUESTION_SIZE_MAX];
    struct buf packet = BUF(room);

    s->replied = false;
    if (s->worn)
        slot_close(s);
    if (s->channel == NULL && !is_ok(slot_open(s))) {
        dns_answer_fail(q->answer, q->question.type, DNS_BUSY);
        s->replied = true;
        return;
    }
    if (s->server != q->server) {
        if (ares_set_servers_ports(s->channel, &r->servers[q->server]) != ARES_SUCCESS) {
            dns_answer_fail(q->answer, q->question.type, DNS_BUSY);
            s->replied = true;
            return;
        }
        s->server = q->server;
    }
    q->question.id = random_id(r);
    q->question.recursion = q->question.edns = true;
    q->question.ask_authentic = r->cfg.trust_ad;
    bool fits = is_ok(dns_question_put(&packet, &q->question));
    ASSERT(fits);
    q->attempts++;
    r->counts.sent++;
    ares_send(s->channel, packet.data, (int)packet.size, on_answer, s);
}

/* --- what follows from an attempt --- */

/* The next server that is worth asking, if any. */
static bool next_server(struct resolver *r, struct query *q)
{
    for (unsigned i = 1; i <= r->server_count && q->attempts < r->server_count * r->cfg.tries; i++) {
        unsigned server = (q->server + i) % r->server_count;
        if (!(q->servers_failed & 1u << server)) {
            q->server = server;
            return true;
        }
    }
    return false;
}

/* The answer says where the name leads but nothing about that name: ask for it (RFC 1034 3.6.2). */
static bool next_name(struct query *q)
{
    if (!q->answer->chain_open || ++q->hops > CANONICAL_HOPS_MAX)
        return false;
    q->question.name = q->answer->canonical;
    q->chain.ttl = q->answer->ttl < q->chain.ttl ? q->answer->ttl : q->chain.ttl;
    q->chain.authentic = q->chain.authentic && q->answer->authentic;
    q->attempts = 0;
    q->servers_failed = 0;
    return true;
}

static void query_answered(struct resolver *r, struct query *q, struct instant now)
{
    struct dns_answer *a = q->answer;

    if (a->chain_open)
        dns_answer_fail(a, q->question.type, DNS_MALFORMED); /* a chain without end */
    a->ttl = a->ttl < q->chain.ttl ? a->ttl : q->chain.ttl;
    a->authentic = a->authentic && q->chain.authentic && r->cfg.trust_ad;
    dns_cache_put(&r->cache, now, dns_name_bytes(&q->key), q->question.type, a);
    query_finish(r, q, DNS_OK);
}

/* One failed attempt. The failure that says most is kept: silence says least. */
static void query_failed(struct resolver *r, struct query *q, enum dns_status failure)
{
    if (q->failure == DNS_OK || q->failure == DNS_TIMEOUT)
        q->failure = failure;
    if (failure != DNS_TIMEOUT)
        q->servers_failed |= 1u << q->server;
    if (failure == DNS_TIMEOUT || failure == DNS_UNREACHABLE) {
        if (r->server_first == q->server)
            r->server_first = (q->server + 1) % r->server_count;
    }
}

/* Until the slot waits for an answer or is empty. */
static void settle(struct slot *s, struct instant now)
{
    struct resolver *r = s->resolver;

    while (s->query && s->replied) {
        struct query *q = s->query;
        enum dns_status status = q->answer->status;
        if (!dns_status_is_temporary(status)) {
            /* No OPT came back: c-ares may have switched EDNS off in this channel for good. */
            s->worn = s->worn || !q->answer->edns;
            if (!next_name(q)) {
                query_answered(r, q, now);
                break;
            }
        } else {
            query_failed(r, q, status);
            if (!next_server(r, q)) {
                query_finish(r, q, q->failure);
                break;
            }
        }
        slot_send(s);
    }
    slot_wake(s, now);
}

static void query_start(struct slot *s, struct query *q, struct instant now)
{
    struct resolver *r = s->resolver;

    q->answer = mem_take(sizeof *q->answer);
    if (q->answer == NULL) {
        query_finish(r, q, DNS_BUSY);
        return;
    }
    list_drop(&r->waiting, q);
    q->state = QUERY_WIRE;
    q->slot = s;
    s->query = q;
    q->server = r->server_first;
    slot_send(s);
    settle(s, now);
}

/* Those that wait come into the slots that are free. */
static void start_waiting(struct resolver *r, struct instant now)
{
    for (unsigned i = 0; i < r->cfg.parallel_max && r->waiting.first; i++)
        while (r->slots[i].query == NULL && r->waiting.first)
            query_start(&r->slots[i], r->waiting.first, now);
}

/* --- the outside --- */

static RESULT server_parse(struct bytes text, struct ares_addr_port_node *server_out)
{
    struct dns_address address;
    struct bytes host = text, port = BYTES_NONE;
    uint64_t number = 53;
    ptrdiff_t colon = bytes_rindex(text, ':');

    if (text.size > 0 && text.data[0] == '[') {
        ptrdiff_t end = bytes_index(text, ']');
        if (end == BYTES_NOT_FOUND || (colon > end && colon != end + 1))
            return FAIL(CODE_SYNTAX, "a name server is written 192.0.2.53:53 or [2001:db8::53]:53");
        host = bytes_after(bytes_head(text, (size_t)end), 1);
        port = bytes_after(text, (size_t)end + 1);
    } else if (colon != BYTES_NOT_FOUND && bytes_index(text, ':') == colon) {
        host = bytes_head(text, (size_t)colon);
        port = bytes_after(text, (size_t)colon);
    }
    if (port.size > 0 && (!is_ok(bytes_to_u64(bytes_after(port, 1), 65535, &number)) || number == 0))
        return FAIL(CODE_SYNTAX, "the port of a name server is not a number from 1 to 65535");
    if (port.size > 0 && port.data[0] != ':')
        return FAIL(CODE_SYNTAX, "a name server is written 192.0.2.53:53 or [2001:db8::53]:53");
    if (!is_ok(dns_address_parse(host, &address)))
        return FAIL(CODE_SYNTAX, "a name server is named by its address, not by a name");
    *server_out = (struct ares_addr_port_node){
        .family = address.family == 4 ? AF_INET : AF_INET6, .udp_port = (int)number, .tcp_port = (int)number};
    memcpy(&server_out->addr, address.octets, address.family == 4 ? 4 : 16);
    return OK;
}

/* From /etc/resolv.conf, as c-ares reads it. */
static RESULT servers_of_system(struct resolver *r)
{
    struct ares_addr_port_node *list = NULL;
    ares_channel channel;
    int status = ares_init(&channel);

    if (status != ARES_SUCCESS)
        return FAIL_SYS(status, "the system's name servers cannot be read");
    status = ares_get_servers_ports(channel, &list);
    for (struct ares_addr_port_node *n = list; n && r->server_count < RESOLVER_SERVER_COUNT_MAX; n = n->next) {
        r->servers[r->server_count] = *n;
        r->servers[r->server_count].next = NULL;
        r->servers[r->server_count].udp_port = n->udp_port ? n->udp_port : 53;
        r->servers[r->server_count].tcp_port = n->tcp_port ? n->tcp_port : 53;
        r->server_count++;
    }
    ares_free_data(list);
    ares_destroy(channel);
    return r->server_count > 0 ? OK : FAIL_SYS(status, "the system has no name server");
}

static RESULT resolver_begin(struct resolver *r, const struct resolver_config *cfg)
{
    int status = ares_library_init(ARES_LIB_INIT_ALL);

    if (status != ARES_SUCCESS)
        return FAIL_SYS(status, "the DNS library does not start");
    if (cfg->server_count > RESOLVER_SERVER_COUNT_MAX)
        return FAIL(CODE_SYNTAX, "too many name servers");
    for (size_t i = 0; i < cfg->server_count; i++)
        TRY(server_parse(cfg->servers[i], &r->servers[r->server_count++]));
    r->cfg = *cfg;
    r->cfg.servers = NULL;
    r->cfg.parallel_max = cfg->parallel_max ? cfg->parallel_max : RESOLVER_PARALLEL_DEFAULT;
    r->cfg.asks_max = cfg->asks_max ? cfg->asks_max : RESOLVER_ASKS_MAX_DEFAULT;
    r->cfg.tries = cfg->tries ? cfg->tries : 1;
    if (r->cfg.asks_max > 1u << TOKEN_INDEX_BITS)
        return FAIL(CODE_FULL, "too many asks");
    if (getrandom(&r->cfg.cache.seed, sizeof r->cfg.cache.seed, 0) != sizeof r->cfg.cache.seed)
        return FAIL_SYS(errno, "the system gives no random numbers");
    r->slots = mem_take_zero(r->cfg.parallel_max * sizeof *r->slots);
    r->asks = mem_take_zero(r->cfg.asks_max * sizeof *r->asks);
    r->cache_room = mem_take(dns_cache_room_size(cfg->cache.entries) + 1);
    if (r->slots == NULL || r->asks == NULL || r->cache_room == NULL)
        return FAIL(CODE_FULL, "out of memory");
    for (unsigned i = 0; i < r->cfg.parallel_max; i++) {
        r->slots[i].resolver = r;
        r->slots[i].wake = INSTANT_NEVER;
        for (int k = 0; k < SLOT_FD_COUNT_MAX; k++)
            r->slots[i].fds[k] = -1;
    }
    r->ask_free = NO_ASK;
    dns_cache_init(&r->cache, &r->cfg.cache, r->cache_room, dns_cache_room_size(cfg->cache.entries));
    if (cfg->server_count == 0)
        TRY(servers_of_system(r));
    return slot_open(&r->slots[0]);
}

RESULT
resolver_new(const struct resolver_config *cfg, const struct resolver_hooks *hooks, struct resolver **resolver_out)
{
    struct resolver *r = mem_take_zero(sizeof *r);

    if (r == NULL)
        return FAIL(CODE_FULL, "out of memory");
    r->hooks = *hooks;
    struct result result = resolver_begin(r, cfg);
    if (!is_ok(result)) {
        resolver_free(&r);
        return result;
    }
    *resolver_out = r;
    return OK;
}

void resolver_free(struct resolver **resolver)
{
    struct resolver *r = *resolver;

    *resolver = NULL;
    if (r == NULL)
        return;
    given_free(r);
    while (r->done.first)
        query_free(r, r->done.first);
    for (unsigned i = 0; i < BUCKET_COUNT; i++)
        while (r->buckets[i])
            query_free(r, r->buckets[i]);
    for (unsigned i = 0; r->slots && i < r->cfg.parallel_max; i++)
        slot_close(&r->slots[i]);
    mem_free(r->slots);
    mem_free(r->asks);
    mem_free(r->cache_room);
    mem_free(r);
    ares_library_cleanup();
}

/* A query that never needs the wire. */
static RESULT answered_query(struct resolver *r, uint16_t type, enum dns_status failure,
    const struct dns_answer *answer, struct query **query_out)
{
    struct query *q = query_new(QUERY_DONE, type);

    if (q == NULL)
        return FAIL(CODE_FULL, "out of memory");
    q->failure = failure;
    if (answer) {
        q->answer = mem_take(sizeof *q->answer);
        if (q->answer == NULL)
            q->failure = DNS_BUSY;
        else
            *q->answer = *answer;
    }
    list_put(&r->done, q);
    *query_out = q;
    return OK;
}

static RESULT new_query(struct resolver *r, struct instant now, const struct dns_name *key, uint16_t type,
    uint64_t hash, struct query **out)
{
    struct query *q = query_new(QUERY_WAITING, type);

    if (q == NULL)
        return FAIL(CODE_FULL, "out of memory");
    q->hash = hash;
    q->key = q->question.name = *key;
    q->chain.ttl = DNS_TTL_MAX;
    q->chain.authentic = true;
    q->deadline = instant_after(now, r->cfg.timeout_ms * r->cfg.tries);
    q->bucket_next = r->buckets[hash % BUCKET_COUNT];
    r->buckets[hash % BUCKET_COUNT] = q;
    list_put(&r->waiting, q);
    *out = q;
    return OK;
}

static RESULT query_for(
    struct resolver *r, struct instant now, struct bytes name, uint16_t type, struct query **query_out)
{
    struct dns_answer cached;
    struct dns_name key;

    if (!is_ok(dns_name_set(&key, name)) || key.size == 0)
        return answered_query(r, type, DNS_BAD_NAME, NULL, query_out);
    for (size_t i = 0; i < key.size; i++)
        key.text[i] = octet_lower(key.text[i]);
    if (dns_cache_get(&r->cache, now, dns_name_bytes(&key), type, &cached)) {
        r->counts.cached++;
        return answered_query(r, type, DNS_OK, &cached, query_out);
    }
    uint64_t hash = query_hash(r, &key, type);
    *query_out = query_find(r, &key, type, hash);
    if (*query_out == NULL)
        return new_query(r, now, &key, type, hash, query_out);
    r->counts.joined++;
    return OK;
}

RESULT
resolver_ask(struct resolver *r, struct instant now, struct bytes name, enum dns_type type, uint64_t user,
    struct resolver_token *token_out)
{
    struct query *q;

    given_free(r);
    uint32_t index = ask_take(r, user);
    if (index == NO_ASK)
        return FAIL(CODE_FULL, "too many DNS questions are waiting");
    struct result result = query_for(r, now, name, (uint16_t)type, &q);
    if (!is_ok(result)) {
        ask_free(r, index);
        return result;
    }
    r->counts.asked++;
    ask_join(r, index, q);
    *token_out = ask_token(r, index);
    start_waiting(r, now);
    return OK;
}

void resolver_cancel(struct resolver *r, struct resolver_token token)
{
    uint64_t index = token.value & ((1u << TOKEN_INDEX_BITS) - 1);

    given_free(r);
    if (index >= r->ask_used || r->asks[index].query == NULL || ask_token(r, (uint32_t)index).value != token.value)
        return;
    struct query *q = r->asks[index].query;
    ask_free(r, (uint32_t)index);
    if (q->first_ask == NO_ASK) /* (R4); a free slot is given away at the next call */
        query_free(r, q);
}

void resolver_ready(struct resolver *r, struct instant now, int fd, bool readable, bool writable)
{
    given_free(r);
    for (unsigned i = 0; i < r->cfg.parallel_max; i++)
        for (int k = 0; k < SLOT_FD_COUNT_MAX; k++)
            if (r->slots[i].fds[k] == fd && fd >= 0) {
                ares_process_fd(r->slots[i].channel, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
                settle(&r->slots[i], now);
                start_waiting(r, now);
                return;
            }
}

void resolver_tick(struct resolver *r, struct instant now)
{
    given_free(r);
    for (unsigned i = 0; i < r->cfg.parallel_max; i++) {
        struct slot *s = &r->slots[i];
        if (s->query && instant_reached(s->wake, now)) {
            ares_process_fd(s->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
            settle(s, now);
        }
        if (s->query && instant_reached(s->query->deadline, now)) {
            query_finish(r, s->query, s->query->failure == DNS_OK ? DNS_TIMEOUT : s->query->failure);
        }
    }
    while (r->waiting.first && instant_reached(r->waiting.first->deadline, now))
        query_finish(r, r->waiting.first, DNS_BUSY);
    start_waiting(r, now);
}

struct instant resolver_deadline(const struct resolver *r)
{
    struct instant deadline = r->waiting.first ? r->waiting.first->deadline : INSTANT_NEVER;

    for (unsigned i = 0; i < r->cfg.parallel_max; i++) {
        const struct slot *s = &r->slots[i];
        if (s->query)
            deadline = instant_min(deadline, instant_min(s->wake, s->query->deadline));
        else if (r->waiting.first)
            return (struct instant){0}; /* a cancelled query left its slot: give it away at once */
    }
    return deadline;
}

bool resolver_next(struct resolver *r, struct resolver_done *done_out)
{
    given_free(r);
    struct query *q = r->done.first;
    if (q == NULL)
        return false;
    uint32_t index = q->first_ask;
    ASSERT(index != NO_ASK); /* (R4) */
    if (q->failure != DNS_OK)
        dns_answer_fail(&r->failed, q->question.type, q->failure);
    *done_out =
        (struct resolver_done){ask_token(r, index), r->asks[index].user, q->failure != DNS_OK ? &r->failed : q->answer};
    ask_free(r, index);
    if (q->first_ask == NO_ASK) {
        list_drop(&r->done, q);
        r->given = q;
    }
    return true;
}

struct resolver_counts resolver_counts(const struct resolver *r)
{
    return r->counts;
}
