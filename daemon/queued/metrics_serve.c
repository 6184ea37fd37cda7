#include <unistd.h>

#include "daemon/edge/clock.h"
#include "daemon/queued/metrics.h"
#include "daemon/queued/metrics_serve.h"
#include "daemon/queued/postmasters.h"
#include "daemon/queued/service.h"

enum { REQUEST_SIZE_MAX = 8192 };

struct metrics_serve {
    struct service service;
    struct engine *engine;
    struct scrape *scrapes;
    uint8_t text[METRICS_SIZE_MAX]; /* shared: filled and written within one call */
};

struct scrape {
    struct scrape *next;
    struct metrics_serve *serve;
    struct conn *conn;
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
    struct metrics m = {.tls = engine_tls(engine), .engine = &stats, .store = &store_stats, .now = now};

    engine_stats_get(engine, &stats);
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
        conn_write(s->conn, buf_bytes(&head));
        conn_write(s->conn, buf_bytes(&text));
    } else {
        conn_write(s->conn, BYTES("HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
    }
    conn_close_after_flush(s->conn);
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
    struct scrape *s = owner;

    (void)c;
    for (struct scrape **at = &s->serve->scrapes; *at != NULL; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    mem_free(s);
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
    struct scrape *s = conn_room_count(serve->service.room) < METRICS_CLIENTS_MAX ? mem_take_zero(sizeof *s) : NULL;
    bool all = postmasters_include(fd);

    (void)l;
    if (s == NULL || !is_ok(conn_adopt(serve->service.room, fd, &scrape_handler, s, &s->conn))) {
        close(fd);
        mem_free(s);
        return;
    }
    s->serve = serve;
    s->all = all;
    s->next = serve->scrapes;
    serve->scrapes = s;
    conn_set_deadline(s->conn, instant_after(loop_now(serve->service.loop), METRICS_IDLE_MS));
}

struct metrics_serve *metrics_serve_new(struct loop *loop, int fd, struct engine *engine)
{
    struct metrics_serve *serve = mem_take_zero(sizeof *serve);

    if (serve == NULL) {
        close(fd);
        return NULL;
    }
    serve->engine = engine;
    if (is_ok(service_open(&serve->service, loop, fd, on_accept, serve)))
        return serve;
    mem_free(serve);
    return NULL;
}

void metrics_serve_free(struct metrics_serve **serve)
{
    struct metrics_serve *s = *serve;

    if (s == NULL)
        return;
    *serve = NULL;
    service_close(&s->service);
    mem_free(s);
}
