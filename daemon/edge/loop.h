/* loop: a process's one event loop: timers by deadline, and what is done once at the end of each turn.
 *
 * For: every process main and edge object. Not for: cores. Threads: none. Only edge/ knows libuv; others see this header.
 *
 * A turn is: everything that is ready (sockets, timers), then the stage LOOP_WORK, then LOOP_FLUSH, then the log is
 * flushed, then the process sleeps until something happens. A hook asks for one run at the end of the turn it is added
 * in; adding it twice is once. So all that a turn brought goes out together: queued commits its batch in LOOP_WORK, and
 * channels and connections write what gathered with one system call in LOOP_FLUSH. A hook that is added while LOOP_WORK
 * runs gets the next turn, which follows at once (after the sockets had their say); one added in LOOP_FLUSH runs in it.
 *
 * Timers and hooks are embedded in their owner's struct and never allocate; take them back (loop_timer_stop,
 * loop_hook_drop) before that memory goes.
 *   struct loop *loop = loop_new();
 *   struct loop_timer timer = {.fn = session_tick, .ctx = session};
 *   loop_timer_set(loop, &timer, smtp_server_deadline(&session->smtp));     again and again: cheap
 *   struct loop_hook hook = {.fn = batch_commit, .ctx = queued};
 *   loop_hook_add(loop, &hook, LOOP_WORK);
 *   loop_run(loop);  ...  loop_stop(loop);  ...  loop_free(&loop); */
#ifndef MANSIO_EDGE_LOOP_H
#define MANSIO_EDGE_LOOP_H

#include "daemon/base/base.h"

struct loop;
struct uv_loop_s;

struct loop_timer {
    void (*fn)(void *ctx); /* runs once when the deadline is reached; may set the timer again or free its owner */
    void *ctx;
    /* the loop's own */
    struct instant deadline, key;
    struct loop_timer *child, *next, *before;
    bool armed;
};

enum loop_stage { LOOP_WORK, LOOP_FLUSH, LOOP_STAGE_COUNT };

struct loop_hook {
    void (*fn)(void *ctx);
    void *ctx;
    /* the loop's own */
    struct loop_hook *next, **link;
};

/* NULL when the system has no room for it. */
struct loop *loop_new(void);
/* Waits until closing handles are closed. Owners free their things first. */
void loop_free(struct loop **loop);
/* Runs turns until loop_stop. The turn in which it is called is still finished, its flush included. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn, for tests: waits for something to happen only when `wait`. */
void loop_turn(struct loop *loop, bool wait);

/* The time at the start of this turn's callbacks; one reading serves them all. */
struct instant loop_now(const struct loop *loop);

/* (Re)arms; INSTANT_NEVER stops. A deadline in the past runs in the next turn, never inside this call. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, struct instant deadline);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);

void loop_hook_add(struct loop *loop, struct loop_hook *hook, enum loop_stage stage);
void loop_hook_drop(struct loop *loop, struct loop_hook *hook);

/* For files in edge/ alone. */
struct uv_loop_s *loop_uv(struct loop *loop);

/* Room that readers share within one callback: nothing in it outlives the callback that filled it. */
enum { LOOP_SCRATCH_SIZE = 524288 };
struct buf *loop_scratch(struct loop *loop);

#endif
