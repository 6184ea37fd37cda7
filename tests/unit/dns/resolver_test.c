/* The resolver against name servers of our own in the same loop: each name says in its first label how it is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dns/resolver.h"

enum { TIMEOUT_MS = 150, POLLED_MAX = 256, RESULTS_MAX = 4096 };

/* --- a scripted name server --- */

struct server {
    int udp;
    int tcp;
    int peer; /* one TCP connection at a time */
    uint16_t port;
    unsigned asked_udp;
    unsigned asked_tcp;
    bool silent;
    bool refuses; /* everything */
    uint16_t source_ports[64];
};

static struct server servers[2];

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void server_start(struct server *s)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;

    *s = (struct server){.peer = -1};
    for (int tries = 0; tries < 20; tries++) {
        at = loopback(0);
        s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(s->udp, (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(getsockname(s->udp, (struct sockaddr *)&at, &size), 0);
        s->port = ntohs(at.sin_port);
        if (bind(s->tcp, (struct sockaddr *)&at, sizeof at) == 0 && listen(s->tcp, 8) == 0)
            return;
        close(s->udp);
        close(s->tcp);
    }
    fail_msg("no free port for both UDP and TCP");
}

static void server_stop(struct server *s)
{
    close(s->udp);
    close(s->tcp);
    if (s->peer >= 0)
        close(s->peer);
}

struct reply {
    uint8_t data[4096];
    struct buf out;
};

static bool label_is(const uint8_t *query, const char *label)
{
    return query[12] == strlen(label) && memcmp(query + 13, label, query[12]) == 0;
}

static void put(struct reply *r, struct bytes in)
{
    assert_true(is_ok(buf_put(&r->out, in)));
}

static void put_addresses(struct reply *r, unsigned count, uint8_t ttl)
{
    for (unsigned i = 0; i < count; i++) {
        const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 192, 0, 2, (uint8_t)(i + 1)};
        put(r, (struct bytes){record, sizeof record});
    }
    r->data[7] = (uint8_t)(r->data[7] + count);
}

static void put_opt(struct reply *r)
{
    put(r, BYTES("\0\0\x29\x04\xd0\0\0\0\0\0\0"));
    r->data[11] = 1;
}

/* A CNAME to LABEL.example.net, and no word about that. */
static void put_cname(struct reply *r, const char *label)
{
    uint8_t size = (uint8_t)strlen(label);
    const uint8_t head[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, (uint8_t)(size + 14), size};

    put(r, (struct bytes){head, sizeof head});
    put(r, bytes_of(label));
    put(r, BYTES("\x07"
                 "example\x03"
                 "net\0"));
    r->data[7]++;
}

/* False: no answer. */
static bool answer(const struct server *s, const uint8_t *query, size_t size, bool tcp, struct reply *r)
{
    size_t question_end = 12;
    unsigned asked = s->asked_udp;

    while (question_end < size && query[question_end] != 0)
        question_end += 1u + query[question_end];
    question_end += 5;
    assert_true(question_end <= size);
    r->out = BUF(r->data);
    put(r, (struct bytes){query, question_end});
    r->data[2] = 0x81;
    r->data[3] = 0x80;
    r->data[11] = 0;
    if (s->refuses)
        r->data[3] |= 5;
    else if (label_is(query, "ok") || label_is(query, "slow"))
        put_addresses(r, 2, 60), put_opt(r);
    else if (label_is(query, "ad")) /* as a server that does not wait to be asked; two addresses when it was */
        put_addresses(r, query[3] & 0x20 ? 2 : 1, 60), put_opt(r), r->data[3] |= 0x20;
    else if (label_is(query, "nx"))
        r->data[3] |= 3;
    else if (label_is(query, "nxsoa")) {
        r->data[3] |= 3;
        r->data[9] = 1;
        put(r, BYTES("\xc0\x0c\0\6\0\1\0\0\0\x3c\0\x16\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\x3c"));
    } else if (label_is(query, "servfail"))
        r->data[3] |= 2;
    else if (label_is(query, "refused"))
        r->data[3] |= 5;
    else if (label_is(query, "second")) {
        if (asked < 2)
            return false;
        put_addresses(r, 1, 60), put_opt(r);
    } else if (label_is(query, "cut")) {
        if (tcp)
            put_addresses(r, 20, 60), put_opt(r);
        else
            r->data[2] |= 2;
    } else if (label_is(query, "cutslow")) {
        r->data[2] |= 2;
        return !tcp;
    } else if (label_is(query, "big"))
        put_addresses(r, 60, 60), put_opt(r);
    else if (label_is(query, "broken"))
        put_addresses(r, 1, 60), r->out.size--;
    else if (label_is(query, "wrongid"))
        put_addresses(r, 1, 60), r->data[1] ^= 1;
    else if (label_is(query, "wrongname"))
        put_addresses(r, 1, 60), r->data[14] ^= 1;
    else if (label_is(query, "garbage"))
        memset(r->data + 2, 0xff, r->out.size - 2);
    else if (label_is(query, "tiny"))
        r->out.size = 5;
    else if (label_is(query, "open"))
        put_cname(r, "ok"), put_opt(r);
    else if (label_is(query, "endless"))
        put_cname(r, "endless");
    else if (label_is(query, "formerr")) {
        if (query[11] != 0)
            r->data[3] |= 1;
        else
            put_addresses(r, 1, 60);
    } else
        return false;
    return true;
}

static void server_udp(struct server *s)
{
    uint8_t query[512];
    struct reply reply;
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    ssize_t got;

    while ((got = recvfrom(s->udp, query, sizeof query, 0, (struct sockaddr *)&from, &from_size)) > 0) {
        s->source_ports[s->asked_udp % COUNT_OF(s->source_ports)] = ntohs(from.sin_port);
        s->asked_udp++;
        if (!s->silent && answer(s, query, (size_t)got, false, &reply))
            sendto(s->udp, reply.data, reply.out.size, 0, (struct sockaddr *)&from, from_size);
    }
}

static void server_tcp(struct server *s)
{
    uint8_t query[514];
    struct reply reply;

    ssize_t got = recv(s->peer, query, sizeof query, 0);
    if (got == 0) {
        close(s->peer);
        s->peer = -1;
    }
    if (got < 14)
        return;
    s->asked_tcp++;
    if (!s->silent && answer(s, query + 2, (size_t)got - 2, true, &reply)) {
        const uint8_t head[2] = {(uint8_t)(reply.out.size >> 8), (uint8_t)reply.out.size};
        assert_int_equal(send(s->peer, head, 2, MSG_MORE), 2);
        assert_int_equal(send(s->peer, reply.data, reply.out.size, 0), reply.out.size);
    }
}

/* --- the loop --- */

struct seen {
    bool done;
    enum dns_status status;
    unsigned count;
    uint32_t ttl;
    bool authentic;
    struct dns_name canonical;
};

static struct resolver *resolver;
static struct pollfd polled[POLLED_MAX];
static unsigned polled_count;
static struct seen results[RESULTS_MAX];
static unsigned done_count;

static struct instant now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct instant){t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

static void want(void *context, int fd, bool readable, bool writable)
{
    assert_ptr_equal(context, polled);
    unsigned at = 0;
    while (at < polled_count && polled[at].fd != fd)
        at++;
    if (!readable && !writable) {
        assert_true(at < polled_count); /* it told us of this one before */
        polled[at] = polled[--polled_count];
        return;
    }
    assert_true(at < POLLED_MAX - 6);
    if (at == polled_count)
        polled_count++;
    polled[at] = (struct pollfd){fd, (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0)), 0};
}

static void pull(void)
{
    struct resolver_done done;

    while (resolver_next(resolver, &done)) {
        struct seen *s = &results[done.user];
        assert_false(s->done);
        *s = (struct seen){true, done.answer->status, done.answer->count, done.answer->ttl, done.answer->authentic,
            done.answer->canonical};
        done_count++;
    }
}

/* Until so many answers have come since the start, at most five seconds. */
static void run(unsigned count)
{
    struct instant end = instant_after(now(), 5000);

    pull();
    while (done_count < count) {
        struct pollfd all[POLLED_MAX];
        unsigned n = polled_count;
        memcpy(all, polled, n * sizeof all[0]);
        for (int i = 0; i < 2; i++) {
            all[n++] = (struct pollfd){servers[i].udp, POLLIN, 0};
            all[n++] = (struct pollfd){servers[i].peer >= 0 ? servers[i].peer : servers[i].tcp, POLLIN, 0};
        }
        int64_t wait = resolver_deadline(resolver).ms - now().ms;
        assert_true(poll(all, n, (int)(wait < 0 ? 0 : wait > 1000 ? 1000 : wait)) >= 0);
        for (int i = 0; i < 2; i++) {
            struct server *s = &servers[i];
            if (all[n - 4 + 2 * i].revents)
                server_udp(s);
            if (all[n - 3 + 2 * i].revents && s->peer < 0)
                s->peer = accept4(s->tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            else if (all[n - 3 + 2 * i].revents)
                server_tcp(s);
        }
        for (unsigned i = 0; i < n - 4; i++)
            if (all[i].revents) {
                resolver_ready(resolver, now(), all[i].fd, all[i].revents & ~POLLOUT, all[i].revents & POLLOUT);
                pull();
            }
        resolver_tick(resolver, now());
        pull();
        if (instant_reached(end, now()))
            fail_msg("%u of %u answers came", done_count, count);
    }
    assert_int_equal(done_count, count);
}

static void begin_with(struct resolver_config cfg, size_t server_count)
{
    static char text[2][32];
    struct bytes list[2];

    for (size_t i = 0; i < 2; i++) {
        server_start(&servers[i]);
        snprintf(text[i], sizeof text[i], "127.0.0.1:%u", servers[i].port);
        list[i] = bytes_of(text[i]);
    }
    cfg.servers = list;
    cfg.server_count = server_count;
    cfg.timeout_ms = cfg.timeout_ms ? cfg.timeout_ms : TIMEOUT_MS;
    cfg.tries = cfg.tries ? cfg.tries : 2;
    polled_count = done_count = 0;
    memset(results, 0, sizeof results);
    assert_true(is_ok(resolver_new(&cfg, &(struct resolver_hooks){polled, want}, &resolver)));
}

static void end(void)
{
    resolver_free(&resolver);
    assert_null(resolver);
    assert_int_equal(polled_count, 0); /* every descriptor was given back */
    server_stop(&servers[0]);
    server_stop(&servers[1]);
}

static struct resolver_token ask(const char *name, uint64_t user)
{
    struct resolver_token token;

    assert_true(is_ok(resolver_ask(resolver, now(), bytes_of(name), DNS_TYPE_A, user, &token)));
    return token;
}

/* --- tests --- */

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum dns_status status;
        unsigned count;
    } cases[] = {
        {"ok.example", DNS_OK, 2},
        {"nx.example", DNS_NXDOMAIN, 0},
        {"servfail.example", DNS_SERVFAIL, 0},
        {"refused.example", DNS_REFUSED, 0},
        {"silent.example", DNS_TIMEOUT, 0},
        {"second.example", DNS_OK, 1},
        {"cut.example", DNS_OK, 20},
        {"cutslow.example", DNS_TIMEOUT, 0},
        {"big.example", DNS_OK, 20},
        {"broken.example", DNS_MALFORMED, 0},
        {"wrongid.example", DNS_TIMEOUT, 0},
        {"wrongname.example", DNS_TIMEOUT, 0},
        {"garbage.example", DNS_TIMEOUT, 0},
        {"tiny.example", DNS_TIMEOUT, 0},
        {"open.example", DNS_OK, 2},
        {"formerr.example", DNS_OK, 1},
        {"bad..name", DNS_BAD_NAME, 0},
        {"", DNS_BAD_NAME, 0},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin_with((struct resolver_config){.cache.entries = 10}, 1);
        struct instant start = now();
        ask(cases[i].name, 0);
        run(1);
        if (results[0].status != cases[i].status || results[0].count != cases[i].count)
            fail_msg("%s: %s, %u", cases[i].name, dns_status_text(results[0].status), results[0].count);
        int64_t took = now().ms - start.ms;
        if (cases[i].status == DNS_TIMEOUT && (took < TIMEOUT_MS * 2 - 1 || took > TIMEOUT_MS * 2 + 3000))
            fail_msg("%s: %d ms", cases[i].name, (int)took);
        if (i == 8)
            assert_int_equal(servers[0].asked_tcp, 0);
        if (i == 6)
            assert_int_equal(servers[0].asked_tcp, 1);
        if (cases[i].status == DNS_SERVFAIL)
            assert_int_equal(servers[0].asked_udp, 1); /* a server that said no is not asked again */
        end();
    }
}

static void test_chain(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.cache.entries = 10}, 1);
    ask("open.example", 0);
    run(1);
    assert_true(bytes_equal(dns_name_bytes(&results[0].canonical), BYTES("ok.example.net")));
    assert_int_equal(results[0].ttl, 30); /* the CNAME's */
    ask("endless.example", 1);
    run(2);
    assert_int_equal(results[1].status, DNS_MALFORMED);
    assert_true(servers[0].asked_udp <= 2 + DNS_CNAME_HOPS_MAX + 1);
    end();
}

/* c-ares stops offering EDNS in a channel whose server did not understand it; the next question must not suffer. */
static void test_server_without_edns(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.parallel_max = 1}, 1);
    ask("formerr.a", 0);
    run(1);
    ask("formerr.b", 1);
    run(2);
    assert_int_equal(results[0].status, DNS_OK);
    assert_int_equal(results[1].status, DNS_OK);
    end();
}

static void test_other_server(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.timeout_ms = 600}, 2);
    servers[0].refuses = true;
    ask("ok.example", 0);
    run(1);
    assert_int_equal(results[0].status, DNS_OK);
    assert_int_equal(servers[0].asked_udp, 1);
    servers[0].silent = true;
    struct instant start = now();
    ask("ok.example", 1);
    run(2);
    assert_int_equal(results[1].status, DNS_OK);
    assert_in_range(now().ms - start.ms, 299, 1200); /* each server gets its part of the time */
    ask("ok.example", 2);                            /* the silent one is not the first any more */
    unsigned before = servers[0].asked_udp;
    run(3);
    assert_int_equal(servers[0].asked_udp, before);
    /* Its host is gone: the port says so at once. */
    close(servers[1].udp);
    servers[1].udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    servers[0].silent = servers[0].refuses = false;
    ask("ok.example", 3);
    run(4);
    assert_int_equal(results[3].status, DNS_OK);
    end();
}

static void test_unreachable(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.timeout_ms = 1000}, 1);
    close(servers[0].udp);
    servers[0].udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ask("ok.example", 0);
    run(1);
    assert_int_equal(results[0].status, DNS_UNREACHABLE);
    end();
}

static void test_cache_and_joining(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.cache.entries = 10}, 1);
    ask("ok.example", 0);
    ask("OK.example.", 1);
    ask("ok.Example", 2);
    run(3);
    assert_int_equal(servers[0].asked_udp, 1);
    ask("ok.example", 3);
    run(4);
    assert_int_equal(results[3].count, 2);
    assert_int_equal(servers[0].asked_udp, 1);
    ask("nxsoa.example", 4);
    run(5);
    ask("nxsoa.example", 5);
    run(6);
    assert_int_equal(results[5].status, DNS_NXDOMAIN);
    assert_int_equal(servers[0].asked_udp, 2);
    ask("servfail.example", 6);
    run(7);
    ask("servfail.example", 7);
    run(8);
    assert_int_equal(servers[0].asked_udp, 4); /* a failure is never kept */
    struct resolver_counts counts = resolver_counts(resolver);
    assert_int_equal(counts.asked, 8);
    assert_int_equal(counts.joined, 2);
    assert_int_equal(counts.cached, 2);
    assert_int_equal(counts.sent, 4);
    end();
}

static void test_authentic(void **state)
{
    (void)state;
    for (int trust = 0; trust < 2; trust++) {
        begin_with((struct resolver_config){.cache.entries = 10, .trust_ad = trust}, 1);
        ask("ad.example", 0);
        run(1);
        ask("ad.example", 1);
        run(2);
        assert_int_equal(results[0].count, trust ? 2 : 1);
        assert_int_equal(results[0].authentic, trust);
        assert_int_equal(results[1].authentic, trust);
        end();
    }
}

static void test_cancel(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.parallel_max = 1, .cache.entries = 0, .timeout_ms = 1000}, 1);
    struct resolver_token silent = ask("silent.example", 0);
    struct resolver_token joined = ask("silent.example", 1);
    struct resolver_token waiting = ask("ok.example", 2);
    ask("nx.example", 3);
    resolver_cancel(resolver, waiting);
    resolver_cancel(resolver, waiting);
    resolver_cancel(resolver, silent);
    resolver_cancel(resolver, joined); /* leaves the only slot, and nx.example takes it */
    assert_true(resolver_deadline(resolver).ms <= now().ms);
    resolver_cancel(resolver, (struct resolver_token){0});
    resolver_cancel(resolver, (struct resolver_token){UINT64_MAX});
    run(1);
    assert_int_equal(results[3].status, DNS_NXDOMAIN);
    struct resolver_token old = ask("ok.example", 2);
    resolver_cancel(resolver, old);
    struct resolver_token again = ask("ok.example", 4);
    assert_int_not_equal(again.value, old.value);
    resolver_cancel(resolver, old); /* touches nothing */
    run(2);
    assert_int_equal(results[4].status, DNS_OK);
    struct resolver_token bad = ask("", 5);
    resolver_cancel(resolver, bad);
    struct resolver_done done;
    assert_false(resolver_next(resolver, &done));
    ask("silent.example", 6); /* open at the end */
    ask("ok.example", 7);
    end();
}

static void test_bounds(void **state)
{
    (void)state;
    struct resolver_token token;

    begin_with((struct resolver_config){.parallel_max = 3, .asks_max = 300, .timeout_ms = 2000}, 1);
    char name[64];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "ok.n%u.example", i);
        ask(name, i);
        assert_true(polled_count <= 3);
    }
    assert_int_equal(resolver_ask(resolver, now(), BYTES("ok.example"), DNS_TYPE_A, 0, &token).code, CODE_FULL);
    run(300);
    unsigned ports = 0;
    for (size_t i = 0; i < COUNT_OF(servers[0].source_ports); i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen = seen || servers[0].source_ports[k] == servers[0].source_ports[i];
        ports += !seen;
    }
    assert_in_range(ports, 40, 64); /* RFC 5452 9.2: a fresh port for each question */
    ask("ok.example", 300);
    run(301);
    end();

    begin_with((struct resolver_config){.parallel_max = 1}, 1);
    struct instant one = now();
    assert_true(is_ok(resolver_ask(resolver, one, BYTES("silent.example"), DNS_TYPE_A, 0, &token)));
    assert_true(is_ok(resolver_ask(resolver, one, BYTES("ok.example"), DNS_TYPE_A, 1, &token)));
    run(2);
    assert_int_equal(results[0].status, DNS_TIMEOUT);
    assert_int_equal(results[1].status, DNS_BUSY);
    end();
}

/* The n-th request to the heap fails: an answer comes anyway, or the ask says no. */
static void test_no_memory(void **state)
{
    (void)state;
    begin_with((struct resolver_config){.cache.entries = 10}, 1);
    unsigned asked = 0;
    for (uint64_t n = 1; n < 8; n++) {
        struct resolver_token token;
        mem_fail_nth(n);
        for (int k = 0; k < 3; k++)
            if (is_ok(resolver_ask(
                    resolver, now(), k ? BYTES("ok.example") : BYTES("nx.example"), DNS_TYPE_A, asked, &token)))
                asked++;
        mem_fail_nth(0);
        run(asked);
    }
    end();
    for (uint64_t n = 1; n < 5; n++) {
        struct bytes one = BYTES("127.0.0.1");
        mem_fail_nth(n);
        struct resolver_config cfg = {.servers = &one, .server_count = 1, .timeout_ms = 1};
        assert_int_equal(resolver_new(&cfg, &(struct resolver_hooks){polled, want}, &resolver).code, CODE_FULL);
        mem_fail_nth(0);
        assert_null(resolver);
    }
}

static void test_server_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"127.0.0.1", true}, {"127.0.0.1:5353", true}, {"[::1]:53", true}, {"[::1]", true}, {"::1", true},
        {"[127.0.0.1]:53", true}, {"", false}, {"ns.example", false}, {"127.0.0.1:", false}, {"127.0.0.1:0", false},
        {"127.0.0.1:65536", false}, {"127.0.0.1:x", false}, {"[::1", false}, {"[::1]:", false}, {"[::1]53", false},
        {"[]:53", false}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bytes one = bytes_of(cases[i].text);
        struct resolver_config cfg = {.servers = &one, .server_count = 1, .timeout_ms = 1};
        struct result r = resolver_new(&cfg, &(struct resolver_hooks){polled, want}, &resolver);
        if (is_ok(r) != cases[i].good)
            fail_msg("%s: %s", cases[i].text, r.why ? r.why : "taken");
        if (is_ok(r))
            resolver_free(&resolver);
        else
            assert_int_equal(r.code, CODE_SYNTAX);
    }
    struct resolver_config system = {.timeout_ms = 1};
    assert_true(is_ok(resolver_new(&system, &(struct resolver_hooks){polled, want}, &resolver)));
    resolver_free(&resolver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_server_without_edns),
        cmocka_unit_test(test_other_server),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_cache_and_joining),
        cmocka_unit_test(test_authentic),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_server_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
