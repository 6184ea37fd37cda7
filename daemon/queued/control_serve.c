#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/queued/control.h"
#include "daemon/queued/control_serve.h"
#include "daemon/queued/metrics_serve.h"
#include "daemon/queued/postmasters.h"
#include "daemon/queued/service.h"

/* While mail comes and goes, a large change takes one part of queued's processor time in so many: the mail goes on. Its waits
 * for the disk do not count, for the mail that meanwhile came shares them. */
enum { CHANGE_SHARE = 4, CHANGE_PAUSE_MAX_MS = 1000 };

struct client {
    struct served served;
    struct control_serve *serve;
    struct control control;
    struct loop_hook hook;
    struct loop_timer pause; /* between two portions of a change */
    bool pausing;
    bool input_ended;
};

struct control_serve {
    struct service service;
    struct engine *engine;
    const struct config *cfg;
    struct control_ports ports;
    void (*changed)(void *ctx);
    void *changed_ctx;
    uint8_t piece[CONTROL_ROOM_MIN]; /* shared: filled and written within one hook */
};

/* --- what the conversation asks of the engine --- */

static RESULT port_order(void *context, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime now, uint32_t *count_out)
{
    return engine_order(((struct control_serve *)context)->engine, order, targets, count, now, count_out);
}

static RESULT port_retry_lane(
    void *context, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out)
{
    return engine_retry_lane(((struct control_serve *)context)->engine, lane, now, count_out, more_out);
}

static void port_hurry(void *context, struct walltime now)
{
    engine_hurry(((struct control_serve *)context)->engine, now);
}

static RESULT port_lane_order(
    void *context, struct bytes lane, enum lane_order order, uint32_t slots, struct walltime now)
{
    return engine_lane_order(((struct control_serve *)context)->engine, lane, order, slots, now);
}

static RESULT port_pause_accepting(void *context, bool paused, struct walltime now)
{
    return engine_pause_accepting(((struct control_serve *)context)->engine, paused, now);
}

static const struct tally_lanes *port_results(void *context)
{
    return engine_results(((struct control_serve *)context)->engine);
}

static RESULT port_metrics(void *context, struct walltime now, struct buf *out)
{
    return metrics_of_engine(((struct control_serve *)context)->engine, now, true, out);
}

static bool port_is_active(void *context, struct message_id id, uint32_t n)
{
    return engine_is_active(((struct control_serve *)context)->engine, id, n);
}

static RESULT port_ban(void *context, struct bytes who, int64_t for_ms, struct walltime now)
{
    return engine_ban(((struct control_serve *)context)->engine, who, for_ms, now);
}

static RESULT port_unban(void *context, struct bytes who, struct walltime now, uint32_t *count_out)
{
    return engine_unban(((struct control_serve *)context)->engine, who, now, count_out);
}

static bool port_ban_next(void *context, size_t *cursor, struct walltime now, struct ward_view *view_out)
{
    return engine_ban_next(((struct control_serve *)context)->engine, cursor, now, view_out);
}

static void port_changed(void *context, uint32_t uid, const char *verb, uint64_t count)
{
    (void)context;
    LOG(CONTROL, LOG_NUM("uid", uid), LOG_STR("command", verb), LOG_NUM("count", count));
}

/* What a command made due goes out now, not at the next unrelated event. */
static void engine_moves(struct control_serve *serve)
{
    if (serve->changed != NULL)
        serve->changed(serve->changed_ctx);
    else
        engine_turn(serve->engine, clock_walltime());
}

/* --- one client --- */

/* Its next piece, in the next turn. */
static void client_go_on(struct client *client)
{
    if (!client->pausing)
        loop_hook_add(client->serve->service.loop, &client->hook, LOOP_WORK);
}

static void client_pause_over(void *ctx)
{
    struct client *client = ctx;

    client->pausing = false;
    client_go_on(client);
}

/* Behind a portion of a change that cost `cost_us`: mail that is on its way goes first for a while. */
static void client_pause(struct client *client, int64_t cost_us)
{
    struct loop *loop = client->serve->service.loop;
    struct engine_stats stats;
    int64_t pause = cost_us * (CHANGE_SHARE - 1) / 1000;

    engine_stats_get(client->serve->engine, &stats);
    if (pause <= 0 || (stats.transactions == 0 && stats.jobs == 0))
        return;
    client->pausing = true;
    loop_timer_set(loop, &client->pause,
        instant_after(clock_instant(), pause < CHANGE_PAUSE_MAX_MS ? pause : CHANGE_PAUSE_MAX_MS));
}

static void client_stop(struct client *client)
{
    loop_hook_drop(client->serve->service.loop, &client->hook);
    loop_timer_stop(client->serve->service.loop, &client->pause);
}

static void client_pump(void *ctx)
{
    struct client *client = ctx;
    struct control_serve *serve = client->serve;
    struct buf piece = BUF(serve->piece);
    bool changes = client->control.verb >= CONTROL_RETRY;
    int64_t began = clock_cpu_us();

    if (client->served.conn == NULL || conn_congested(client->served.conn))
        return; /* `drained` comes back here */
    control_pull(&client->control, clock_walltime(), &piece);
    if (piece.size > 0)
        conn_write(client->served.conn, buf_bytes(&piece));
    served_wait(&client->served);
    if (changes) {
        client_pause(client, clock_cpu_us() - began);
        engine_moves(serve);
    }
    if (control_busy(&client->control))
        client_go_on(client);
    else if (control_dead(&client->control) || client->input_ended)
        conn_close_after_flush(client->served.conn);
    else
        conn_resume(client->served.conn); /* the next request, or the end of input */
}

static size_t client_input(void *owner, struct conn *c, struct bytes in)
{
    struct client *client = owner;
    size_t eaten = 0, step;

    (void)c;
    do {
        step = control_feed(&client->control, bytes_after(in, eaten));
        eaten += step;
    } while (step > 0);
    if (control_busy(&client->control))
        client_go_on(client);
    served_wait(&client->served);
    return eaten;
}

/* The client has no more to ask. It may still wait for the answer to what it asked last. */
static void client_input_end(void *owner, struct conn *c)
{
    struct client *client = owner;

    client->input_ended = true;
    if (!control_busy(&client->control))
        conn_close_after_flush(c);
}

static void client_drained(void *owner, struct conn *c)
{
    struct client *client = owner;

    (void)c;
    if (control_busy(&client->control))
        client_go_on(client);
}

static void client_deadline(void *owner, struct conn *c)
{
    struct client *client = owner;

    client_stop(client);
    client->served.conn = NULL;
    conn_close(c);
}

static void client_lost(void *owner, struct conn *c, struct result why)
{
    struct client *client = owner;

    (void)c;
    (void)why;
    client_stop(client);
    client->served.conn = NULL;
}

static void client_closed(void *owner, struct conn *c)
{
    struct client *client = owner;

    (void)c;
    client_stop(client);
    control_fini(&client->control);
    served_end(&client->served);
}

static const struct conn_handler client_handler = {
    .input = client_input,
    .input_end = client_input_end,
    .drained = client_drained,
    .deadline = client_deadline,
    .lost = client_lost,
    .closed = client_closed,
};

static void on_accept(void *owner, struct listener *l, int fd)
{
    struct control_serve *serve = owner;
    struct control_setup setup = {
        .store = engine_store(serve->engine), .scheduler = engine_scheduler(serve->engine), .ports = &serve->ports};
    bool postmaster = postmasters_include(fd);
    struct client *client = service_take(&serve->service, fd, sizeof *client, &client_handler);

    (void)l;
    if (client == NULL)
        return;
    client->serve = serve;
    client->hook = (struct loop_hook){.fn = client_pump, .ctx = client};
    client->pause = (struct loop_timer){.fn = client_pause_over, .ctx = client};
    if (is_ok(conn_peer_uid(client->served.conn, &setup.uid)))
        setup.may_all = postmaster;
    else
        setup.uid = UINT32_MAX; /* nobody: sees nothing */
    control_init(&client->control, &setup);
}

/* --- all of them --- */

struct control_serve *control_serve_new(struct loop *loop, int fd, struct engine *engine, const struct config *cfg)
{
    struct control_serve *serve = mem_take_zero(sizeof *serve);

    if (serve == NULL) {
        close(fd);
        return NULL;
    }
    serve->engine = engine;
    serve->cfg = cfg;
    serve->service = (struct service){.count_max = CONTROL_CLIENTS_MAX, .idle_ms = CONTROL_IDLE_MS};
    serve->ports = (struct control_ports){.context = serve,
        .order = port_order,
        .retry_lane = port_retry_lane,
        .hurry = port_hurry,
        .lane_order = port_lane_order,
        .pause_accepting = port_pause_accepting,
        .ban = port_ban,
        .unban = port_unban,
        .ban_next = port_ban_next,
        .metrics = port_metrics,
        .results = port_results,
        .is_active = port_is_active,
        .changed = port_changed};
    if (is_ok(service_open(&serve->service, loop, fd, on_accept, serve)))
        return serve;
    mem_free(serve);
    return NULL;
}

void control_serve_configure(struct control_serve *serve, const struct config *cfg)
{
    if (serve != NULL)
        serve->cfg = cfg;
}

void control_serve_on_change(struct control_serve *serve, void (*changed)(void *ctx), void *ctx)
{
    serve->changed = changed;
    serve->changed_ctx = ctx;
}

void control_serve_free(struct control_serve **serve)
{
    struct control_serve *s = *serve;

    if (s == NULL)
        return;
    *serve = NULL;
    s->changed = NULL;
    for (struct served *c = s->service.all; c != NULL; c = c->next)
        client_stop((struct client *)c);
    service_close(&s->service);
    mem_free(s);
}
