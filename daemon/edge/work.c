#include "daemon/edge/work.h"

#include <stdio.h>
#include <uv.h>

struct work {
    uv_work_t request;
    void (*run)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static size_t count;

static void on_run(uv_work_t *request)
{
    struct work *w = request->data;

    w->run(w->ctx);
}

static void on_done(uv_work_t *request, int status)
{
    struct work *w = request->data;
    struct work copy = *w;

    (void)status; /* nothing is ever cancelled */
    mem_free(w);
    count--;
    copy.done(copy.ctx);
}

bool work_submit(struct loop *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *w = mem_take_zero(sizeof *w);

    if (w == NULL)
        return false;
    w->run = run;
    w->done = done;
    w->ctx = ctx;
    w->request.data = w;
    if (uv_queue_work(loop_uv(loop), &w->request, on_run, on_done) != 0) {
        mem_free(w);
        return false;
    }
    count++;
    return true;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

void work_prepare(struct loop *loop, unsigned threads)
{
    char text[16];

    snprintf(text, sizeof text, "%u", threads);
    setenv("UV_THREADPOOL_SIZE", text, 1);
    (void)work_submit(loop, nothing, nothing, NULL); /* libuv starts them at the first request */
}

size_t work_count(void)
{
    return count;
}
