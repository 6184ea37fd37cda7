/* Design. c-ares opens and closes sockets as it likes; for each there is one watch in a list, made and ended by the
 * resolver's `want`. A watch is stopped at once (its descriptor is about to be closed) and freed when libuv lets go of it.
 * Answers are pulled in LOOP_WORK, so that no caller is called back from inside its own call. */
#include "daemon/edge/dns_edge.h"

#include <uv.h>

#include "daemon/edge/loop.h"

struct watch {
    uv_poll_t poll;
    struct dns_edge *dns;
    struct watch *next;
    int fd;
};

struct dns_edge {
    struct loop *loop;
    struct resolver *resolver;
    dns_edge_on_answer *on_answer;
    void *owner;
    struct watch *watches;
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

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct dns_edge *dns = watch->dns;

    /* An error of the socket is read by the library like data. */
    resolver_ready(dns->resolver, loop_now(dns->loop), watch->fd, status < 0 || (events & UV_READABLE) != 0,
        (events & UV_WRITABLE) != 0);
    settle(dns);
}

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void watch_end(struct dns_edge *dns, struct watch *watch)
{
    struct watch **at = &dns->watches;

    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static void on_want(void *context, int fd, bool readable, bool writable)
{
    struct dns_edge *dns = context;
    struct watch *watch = dns->watches;

    while (watch != NULL && watch->fd != fd)
        watch = watch->next;
    if (!readable && !writable) {
        if (watch != NULL)
            watch_end(dns, watch);
        return;
    }
    if (watch == NULL) {
        watch = mem_take_zero(sizeof *watch);
        if (watch == NULL)
            return; /* nobody listens: the question times out, which is temporary */
        watch->dns = dns;
        watch->fd = fd;
        watch->poll.data = watch;
        if (uv_poll_init(loop_uv(dns->loop), &watch->poll, fd) != 0) {
            mem_free(watch);
            return;
        }
        watch->next = dns->watches;
        dns->watches = watch;
    }
    uv_poll_start(&watch->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
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
    r = resolver_new(cfg, &hooks, &dns->resolver);
    if (!is_ok(r)) {
        mem_free(dns);
        return r;
    }
    *dns_out = dns;
    return OK;
}

void dns_edge_free(struct dns_edge **dns)
{
    struct dns_edge *d = *dns;

    if (d == NULL)
        return;
    loop_timer_stop(d->loop, &d->timer);
    loop_hook_drop(d->loop, &d->work);
    resolver_free(&d->resolver);
    while (d->watches != NULL)
        watch_end(d, d->watches);
    mem_free(d);
    *dns = NULL;
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
