/* Design. c-ares opens a socket for each question and closes it with the answer. They stand in an epoll of their own, which is one
 * descriptor to the loop: libuv would take five calls to begin and end watching each.
 * Answers are pulled in LOOP_WORK, so that no caller is called back from inside its own call. */
#include "daemon/edge/dns_edge.h"

#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/edge/loop.h"

enum { READY_COUNT_MAX = 64 };

struct dns_edge {
    uv_poll_t poll; /* of the epoll */
    int epoll;
    struct loop *loop;
    struct resolver *resolver;
    dns_edge_on_answer *on_answer;
    void *owner;
    struct loop_timer timer;
    struct loop_hook work;
};

/* After every call on the resolver: its answers in the turn's work, its next deadline. */
static void settle(struct dns_edge *dns)
{
    loop_hook_add(dns->loop, &dns->work, LOOP_WORK);
    loop_timer_set(dns->loop, &dns->timer, resolver_deadline(dns->resolver));
}

static void on_work(void *ctx)
{
    struct dns_edge *dns = ctx;
    struct resolver_done done;

    while (resolver_next(dns->resolver, &done))
        dns->on_answer(dns->owner, done.user, done.token, done.answer);
    loop_timer_set(dns->loop, &dns->timer, resolver_deadline(dns->resolver));
}

static void on_timer(void *ctx)
{
    struct dns_edge *dns = ctx;

    resolver_tick(dns->resolver, loop_now(dns->loop));
    settle(dns);
}

/* What is left over makes the epoll readable again. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct dns_edge *dns = poll->data;
    struct epoll_event ready[READY_COUNT_MAX];
    int count = epoll_wait(dns->epoll, ready, READY_COUNT_MAX, 0);

    (void)status;
    (void)events;
    for (int i = 0; i < count; i++) /* an error of the socket is read by the library like data */
        resolver_ready(dns->resolver, loop_now(dns->loop), ready[i].data.fd,
            (ready[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0, (ready[i].events & EPOLLOUT) != 0);
    settle(dns);
}

/* A socket that is closed leaves the epoll by itself. */
static void on_want(void *context, int fd, bool readable, bool writable)
{
    struct dns_edge *dns = context;
    struct epoll_event event = {.events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), .data = {.fd = fd}};

    if (!readable && !writable)
        return;
    if (epoll_ctl(dns->epoll, EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST)
        (void)epoll_ctl(dns->epoll, EPOLL_CTL_MOD, fd,
            &event); /* if neither goes nobody listens: it times out, which is temporary */
}

RESULT dns_edge_new(struct loop *loop, const struct resolver_config *cfg, dns_edge_on_answer *on_answer, void *owner,
    struct dns_edge **dns_out)
{
    struct dns_edge *dns = mem_take_zero(sizeof *dns);
    struct resolver_hooks hooks = {.context = dns, .want = on_want};
    struct result r;

    if (dns == NULL)
        return FAIL(CODE_FULL, "out of memory");
    dns->loop = loop;
    dns->on_answer = on_answer;
    dns->owner = owner;
    dns->timer = (struct loop_timer){.fn = on_timer, .ctx = dns};
    dns->work = (struct loop_hook){.fn = on_work, .ctx = dns};
    dns->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (dns->epoll < 0) {
        mem_free(dns);
        return FAIL_SYS(errno, "epoll_create1");
    }
    r = resolver_new(cfg, &hooks, &dns->resolver);
    if (is_ok(r) && uv_poll_init(loop_uv(loop), &dns->poll, dns->epoll) != 0) {
        resolver_free(&dns->resolver);
        r = FAIL(CODE_FULL, "out of memory");
    }
    if (!is_ok(r)) {
        close(dns->epoll);
        mem_free(dns);
        return r;
    }
    dns->poll.data = dns;
    if (uv_poll_start(&dns->poll, UV_READABLE, on_poll) != 0) {
        dns_edge_free(&dns);
        return FAIL(CODE_FULL, "out of memory");
    }
    *dns_out = dns;
    return OK;
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void dns_edge_free(struct dns_edge **dns)
{
    struct dns_edge *d = *dns;

    if (d == NULL)
        return;
    *dns = NULL;
    loop_timer_stop(d->loop, &d->timer);
    loop_hook_drop(d->loop, &d->work);
    resolver_free(&d->resolver);
    uv_poll_stop(&d->poll);
    close(d->epoll);
    uv_close((uv_handle_t *)&d->poll, on_poll_closed);
}

RESULT dns_edge_ask(
    struct dns_edge *dns, struct bytes name, enum dns_type type, uint64_t user, struct resolver_token *token_out)
{
    struct result r = resolver_ask(dns->resolver, loop_now(dns->loop), name, type, user, token_out);

    settle(dns);
    return r;
}

void dns_edge_cancel(struct dns_edge *dns, struct resolver_token token)
{
    resolver_cancel(dns->resolver, token);
}
