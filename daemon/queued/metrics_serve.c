#include <unistd.h>

#include "daemon/edge/clock.h"
#include "daemon/queued/metrics.h"
#include "daemon/queued/metrics_serve.h"
#include "daemon/queued/postmasters.h"
#include "daemon/queued/service.h"
#include "daemon/queued/wards.h"

enum { REQUEST_SIZE_MAX = 8192 };

struct metrics_serve {
    struct service service;
    struct engine *engine;
    struct listener *http[METRICS_HTTP_MAX];
    size_t http_count;
    uint8_t text[METRICS_SIZE_MAX]; /* shared: filled and written within one call */
};

struct scrape {
    struct served served;
    struct metrics_serve *serve;
    size_t seen;       /* octets of the request */
    unsigned newlines; /* in a row */
    bool all;
};

RESULT metrics_of_engine(struct engine *engine, struct walltime now, bool with_lanes, struct buf *out)
{
    struct store *store = engine_store(engine);
    struct engine_stats stats;
    struct store_stats store_stats;
    struct envelope_head oldest;
    struct metrics m = {
        .tls = engine_tls(engine), .doors = engine_doors(engine), .engine = &stats, .store = &store_stats, .now = now};

    engine_stats_get(engine, &stats);
    wards_count(engine, now, &m.bans, &m.logins_held);
    TRY(store_read_begin(store));
    store_stats_get(store, &store_stats);
    if (is_ok(store_message_next(store, (struct message_id){0}, &oldest)))
        m.oldest_ms = now.ms - oldest.arrival.ms;
    store_read_end(store);
    if (with_lanes) {
        m.results = engine_results(engine);
        m.scheduler = engine_scheduler(engine);
    }
    return metrics_put(out, &m);
}

static void answer(struct scrape *s)
{
    struct buf text = BUF(s->serve->text);
    uint8_t head_room[256];
    struct buf head = BUF(head_room);
    struct result r = metrics_of_engine(s->serve->engine, clock_walltime(), s->all, &text);

    if (is_ok(r))
        r = buf_put_str(&head, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                               "Connection: close\r\nContent-Length: ");
    if (is_ok(r))
        r = buf_put_u64(&head, text.size);
    if (is_ok(r))
        r = buf_put_str(&head, "\r\n\r\n");
    if (is_ok(r)) {
        conn_write(s->served.conn, buf_bytes(&head));
        conn_write(s->served.conn, buf_bytes(&text));
    } else {
        conn_write(s->served.conn, BYTES("HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
    }
    conn_close_after_flush(s->served.conn);
}

/* Whatever is asked, the answer is the same, behind the empty line that ends the request. */
static size_t scrape_input(void *owner, struct conn *c, struct bytes in)
{
    struct scrape *s = owner;

    for (size_t i = 0; i < in.size; i++) {
        if (in.data[i] == '\n')
            s->newlines++;
        else if (in.data[i] != '\r')
            s->newlines = 0;
        if (s->newlines == 2 || ++s->seen == REQUEST_SIZE_MAX) {
            conn_pause(c);
            answer(s);
            break;
        }
    }
    return in.size;
}

static void scrape_input_end(void *owner, struct conn *c)
{
    (void)owner;
    conn_close_after_flush(c);
}

static void scrape_deadline(void *owner, struct conn *c)
{
    (void)owner;
    conn_close(c);
}

static void scrape_closed(void *owner, struct conn *c)
{
    (void)c;
    served_end(owner);
}

static const struct conn_handler scrape_handler = {
    .input = scrape_input,
    .input_end = scrape_input_end,
    .deadline = scrape_deadline,
    .closed = scrape_closed,
};

static void on_accept(void *owner, struct listener *l, int fd)
{
    struct metrics_serve *serve = owner;
    bool all = l != serve->service.listener || postmasters_include(fd); /* who opens a port says who may read it */
    struct scrape *s = service_take(&serve->service, fd, sizeof *s, &scrape_handler);

    if (s == NULL)
        return;
    s->serve = serve;
    s->all = all;
}

struct metrics_serve *metrics_serve_new(struct loop *loop, int fd, struct engine *engine)
{
    struct metrics_serve *serve = mem_take_zero(sizeof *serve);

    if (serve == NULL) {
        close(fd);
        return NULL;
    }
    serve->engine = engine;
    serve->service = (struct service){.count_max = METRICS_CLIENTS_MAX, .idle_ms = METRICS_IDLE_MS};
    if (is_ok(service_open(&serve->service, loop, fd, on_accept, serve)))
        return serve;
    mem_free(serve);
    return NULL;
}

void metrics_serve_http(struct metrics_serve *serve, int fd)
{
    if (serve->http_count < METRICS_HTTP_MAX &&
        is_ok(listener_new(serve->service.loop, fd, on_accept, serve, &serve->http[serve->http_count]))) {
        serve->http_count++;
        return;
    }
    close(fd);
}

void metrics_serve_http_end(struct metrics_serve *serve)
{
    while (serve->http_count > 0)
        listener_free(&serve->http[--serve->http_count]);
}

void metrics_serve_free(struct metrics_serve **serve)
{
    struct metrics_serve *s = *serve;

    if (s == NULL)
        return;
    *serve = NULL;
    metrics_serve_http_end(s);
    service_close(&s->service);
    mem_free(s);
}
