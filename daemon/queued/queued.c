/* One link per channel. Frames go to the engine as they come; once a turn, in LOOP_WORK, the engine commits what came and
 * starts jobs; what it said leaves in LOOP_FLUSH. While a commit waits for the disk, peers fill their socket buffers, and
 * that is the next batch. */
#include "daemon/queued/queued.h"

#include "daemon/base/log.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/tls_store.h"
#include "daemon/queued/control_serve.h"
#include "daemon/queued/engine.h"
#include "daemon/queued/metrics_serve.h"
#include "daemon/queued/postmasters.h"

#include <sys/statvfs.h>
#include <unistd.h>

enum {
    DISK_LOOK_EVERY_MS = 10,   /* while mail comes: what a fast disk takes in that time is little beside min_free */
    DISK_LOOK_AGAIN_MS = 1000, /* while there is no room and nothing comes */
    PATH_SIZE = 4096,
};

struct link {
    struct link *next;
    struct queued *q;
    enum ipc_role role;
    uint32_t index;
    struct channel *channel;
    struct engine_peer *peer;
};

struct queued {
    struct process *process;
    struct loop *loop;
    const struct config *cfg;
    struct store *store;
    struct engine *engine;
    struct control_serve *control;
    struct metrics_serve *metrics;
    struct srs srs;
    struct bytes srs_text; /* its keys */
    struct link *links;
    struct loop_hook work;
    struct loop_timer timer;
    struct walltime disk_look;
    char path[PATH_SIZE];
};

static void work_wanted(struct queued *q)
{
    loop_hook_add(q->loop, &q->work, LOOP_WORK);
}

/* The channel has logged its own end. */
static void link_drop(struct link *link)
{
    struct queued *q = link->q;

    for (struct link **at = &q->links; *at != NULL; at = &(*at)->next)
        if (*at == link) {
            *at = link->next;
            break;
        }
    if (link->peer != NULL)
        engine_peer_gone(q->engine, link->peer, clock_walltime());
    channel_free(&link->channel);
    mem_free(link);
    work_wanted(q);
}

static void link_message(void *ctx, const struct msg *m)
{
    struct link *link = ctx;

    struct result r = engine_receive(link->q->engine, link->peer, m, clock_walltime());
    work_wanted(link->q);
    if (is_ok(r))
        return;
    LOG(CHANNEL_MALFORMED, LOG_STR("peer", ipc_role_name(link->role)), LOG_STR("frame", msg_name(m->kind)),
        LOG_STR("why", r.why));
    link_drop(link);
}

static void link_closed(void *ctx, enum channel_end why)
{
    (void)why;
    link_drop(ctx);
}

static const struct channel_handlers link_handlers = {.on_message = link_message, .on_closed = link_closed};

static void on_channel(void *ctx, enum ipc_role role, uint32_t peer_index, int fd)
{
    struct queued *q = ctx;
    struct link *link = mem_take_zero(sizeof *link);

    if (link == NULL) {
        close(fd); /* the peer sees its channel close and asks for another */
        return;
    }
    *link = (struct link){.q = q, .role = role, .index = peer_index};
    link->channel = channel_new(q->loop, fd, ROLE_QUEUED, role, &link_handlers, link);
    if (link->channel != NULL)
        link->peer = engine_peer_add(q->engine, role, link->channel);
    if (link->peer == NULL) {
        channel_free(&link->channel);
        mem_free(link);
        return;
    }
    link->next = q->links;
    q->links = link;
    work_wanted(q);
}

static void on_listener(void *ctx, uint32_t listen_index, uint32_t address_index, int fd)
{
    struct queued *q = ctx;

    if (listen_index == LISTENER_METRICS && address_index > 0 && q->metrics != NULL) {
        metrics_serve_http(q->metrics, fd);
        return;
    }
    if (listen_index == LISTENER_METRICS && q->metrics == NULL) {
        q->metrics = metrics_serve_new(q->loop, fd, q->engine);
        return;
    }
    if (listen_index != LISTENER_CONTROL || q->control != NULL) {
        close(fd);
        return;
    }
    q->control = control_serve_new(q->loop, fd, q->engine, q->cfg);
    if (q->control == NULL)
        process_fail(q->process, "the control socket cannot be served");
}

static int64_t port_clock_us(void *context)
{
    (void)context;
    return clock_instant_us();
}

static void port_send(void *context, void *channel, const struct msg *msg)
{
    (void)context;
    channel_send(channel, msg);
}

static void disk_look(struct queued *q, struct walltime now)
{
    struct statvfs fs;

    if (!walltime_reached(q->disk_look, now) && q->disk_look.ms - now.ms <= DISK_LOOK_EVERY_MS)
        return;
    q->disk_look = walltime_after(now, DISK_LOOK_EVERY_MS);
    if (statvfs(q->path, &fs) == 0)
        engine_disk_free(q->engine, (uint64_t)fs.f_bavail * fs.f_frsize);
}

/* The end of a turn: commit, dispatch, and when to come back. */
static void work(void *ctx)
{
    struct queued *q = ctx;
    struct engine_stats stats;

    disk_look(q, clock_walltime());
    engine_turn(q->engine, clock_walltime());
    struct walltime now = clock_walltime();
    struct walltime next = engine_deadline(q->engine);
    engine_stats_get(q->engine, &stats);
    if (!stats.open) /* look again for room, although nothing comes */
        next = walltime_min(next, walltime_after(now, DISK_LOOK_AGAIN_MS));
    if (next.ms == WALLTIME_NEVER.ms)
        loop_timer_stop(q->loop, &q->timer);
    else
        loop_timer_set(q->loop, &q->timer, instant_after(loop_now(q->loop), next.ms > now.ms ? next.ms - now.ms : 0));
}

/* The keys of SRS, the only table that comes here. */
static void on_table(void *ctx, enum config_table table, int fd)
{
    struct queued *q = ctx;
    unsigned line;

    (void)table;
    engine_srs(q->engine, NULL);
    tls_pack_free(&q->srs_text);
    struct result r = tls_pack_take(fd, &q->srs_text);
    if (is_ok(r))
        r = srs_keys_read(q->srs_text, &q->srs, &line);
    if (!is_ok(r)) {
        process_fail(q->process, r.why);
        return;
    }
    config_srs_fill(q->cfg, &q->srs);
    engine_srs(q->engine, &q->srs);
}

static void on_config(void *ctx, const struct config *cfg)
{
    struct queued *q = ctx;

    q->cfg = cfg;
    engine_configure(q->engine, cfg);
    engine_srs(q->engine, NULL); /* keys come behind it, where there are some */
    control_serve_configure(q->control, cfg);
    if (q->metrics != NULL)
        metrics_serve_http_end(q->metrics); /* those of the new one come behind it */
    work_wanted(q);
}

static void on_go(void *ctx)
{
    struct queued *q = ctx;

    process_ready(q->process);
    work_wanted(q);
}

/* The others have finished when the supervisor says this: one more turn makes durable what they said last. */
static void on_drain(void *ctx)
{
    struct queued *q = ctx;

    work(q);
    process_exit(q->process, 0);
}

static RESULT queue_open(struct queued *q)
{
    struct buf path;
    struct store_stats stats;

    buf_init(&path, q->path, sizeof q->path - 1);
    TRY(buf_put(&path, q->cfg->state_dir));
    TRY(buf_put_str(&path, "/queue"));
    q->path[path.size] = 0;
    TRY(store_open(&(struct store_config){.path = q->path, .size_max = q->cfg->limits.queue_size}, &q->store));
    store_stats_get(q->store, &stats);
    LOG(QUEUE_OPENED, LOG_STR("path", q->path), LOG_NUM("messages", stats.messages), LOG_NUM("schema", STORE_SCHEMA),
        LOG_NUM("swept", stats.swept));
    q->engine = engine_new(&(struct engine_setup){.config = q->cfg,
        .store = q->store,
        .ports = {.context = q, .send = port_send, .clock_us = port_clock_us},
        .seed = clock_seed()});
    if (q->engine == NULL)
        return FAIL(CODE_FULL, "out of memory");
    return engine_start(q->engine, clock_walltime());
}

static void queue_close(struct queued *q)
{
    control_serve_free(&q->control);
    metrics_serve_free(&q->metrics);
    while (q->links != NULL) {
        struct link *next = q->links->next;
        channel_free(&q->links->channel);
        mem_free(q->links);
        q->links = next;
    }
    loop_hook_drop(q->loop, &q->work);
    loop_timer_stop(q->loop, &q->timer);
    engine_free(&q->engine);
    store_close(&q->store);
    tls_pack_free(&q->srs_text);
}

int queued_main(struct process *p)
{
    static const struct process_handlers handlers = {
        .on_channel = on_channel,
        .on_listener = on_listener,
        .on_config = on_config,
        .on_table = on_table,
        .on_go = on_go,
        .on_drain = on_drain,
        .on_stop = on_drain,
    };
    struct queued q = {.process = p, .loop = process_loop(p), .cfg = process_config(p)};

    q.work = (struct loop_hook){.fn = work, .ctx = &q};
    q.timer = (struct loop_timer){.fn = work, .ctx = &q};
    postmasters_know();
    struct result opened = queue_open(&q);
    if (!is_ok(opened))
        process_fail(p, opened.why);
    int status = process_serve(p, &handlers, &q);
    queue_close(&q);
    return status;
}
