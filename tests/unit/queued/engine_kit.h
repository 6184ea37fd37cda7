/* engine_kit: the engine over a real store in a temporary folder, with a fake clock and peers that only write down what they
 * are told. Shared by the tests of the engine. */
#ifndef MANSIO_TESTS_ENGINE_KIT_H
#define MANSIO_TESTS_ENGINE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/queued/engine.h"
#include "queue/attempt.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEARD_MAX = 4096, HEARD_ROOM = 8 << 20 };

struct heard {
    void *channel;
    struct msg msg; /* views into room */
};

struct bench {
    char dir[64];
    struct config *cfg;
    struct store *store;
    struct engine *engine;
    struct engine_peer *inbound, *worker, *lookup;
    struct walltime now;
    struct heard heard[HEARD_MAX];
    size_t heard_count;
    uint8_t *room;
    struct buf log;
};

static int in_channel, out_channel, look_channel;

static inline void hear(void *context, void *channel, const struct msg *m)
{
    struct bench *b = context;
    size_t from = b->log.size;
    enum ipc_role to = channel == &in_channel ? ROLE_INBOUND : channel == &look_channel ? ROLE_LOOKUP : ROLE_OUTBOUND;

    assert_true(b->heard_count < HEARD_MAX);
    assert_true(is_ok(msg_encode(&b->log, m)));
    struct heard *h = &b->heard[b->heard_count++];
    h->channel = channel;
    assert_true(is_ok(msg_decode(bytes_after(buf_bytes(&b->log), from), ROLE_QUEUED, to, &h->msg)));
}

static const char config_text[] = "hostname = \"mx.test\"\n"
                                  "limits { connections_per_lane = 4 }\n"
                                  "domain \"list.test\" { aliases = \"/aliases\" }\n"
                                  "domain \"box.test\" { maildir = \"/box/%u\" }\n"
                                  "route \"bad.test\" { via = \"error:5.1.1 nobody here\" }\n"
                                  "route \"gone.test\" { via = \"discard\" }\n"
                                  "route \"held.test\" { via = \"hold\" }\n";

static inline void engine_open(struct bench *b)
{
    assert_true(is_ok(store_open(&(struct store_config){.path = b->dir, .size_max = 1 << 30}, &b->store)));
    b->engine = engine_new(
        &(struct engine_setup){.config = b->cfg, .store = b->store, .ports = {.context = b, .send = hear}, .seed = 7});
    assert_non_null(b->engine);
    assert_true(is_ok(engine_start(b->engine, b->now)));
    b->inbound = engine_peer_add(b->engine, ROLE_INBOUND, &in_channel);
    b->worker = engine_peer_add(b->engine, ROLE_OUTBOUND, &out_channel);
    struct msg hello = {.kind = MSG_worker_hello, .worker_hello = {.kind = 0, .slots = 50}};
    assert_true(is_ok(engine_receive(b->engine, b->worker, &hello, b->now)));
    b->lookup = engine_peer_add(b->engine, ROLE_LOOKUP, &look_channel);
    assert_true(is_ok(engine_receive(b->engine, b->lookup, &hello, b->now)));
}

static inline void engine_shut(struct bench *b)
{
    engine_free(&b->engine);
    store_close(&b->store);
}

static inline int set_up(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct config_error error = {""};

    b->room = malloc(HEARD_ROOM);
    buf_init(&b->log, b->room, HEARD_ROOM);
    snprintf(b->dir, sizeof b->dir, "/tmp/mansio-engine-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->now.ms = 1800000000000;
    if (!is_ok(config_read_text("test", bytes_of(config_text), &b->cfg, &error)))
        fail_msg("%s", error.text);
    engine_open(b);
    *state = b;
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline int tear_down(void **state)
{
    struct bench *b = *state;

    engine_shut(b);
    config_free(&b->cfg);
    nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(b->room);
    free(b);
    return 0;
}

static inline const struct msg *heard_last(struct bench *b, enum msg_kind kind)
{
    for (size_t i = b->heard_count; i > 0; i--)
        if (b->heard[i - 1].msg.kind == kind)
            return &b->heard[i - 1].msg;
    return NULL;
}

static inline size_t heard_count(struct bench *b, enum msg_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < b->heard_count; i++)
        count += b->heard[i].msg.kind == kind;
    return count;
}

static inline void forget(struct bench *b)
{
    b->heard_count = 0;
    buf_reset(&b->log);
}

static inline void say(struct bench *b, struct engine_peer *peer, struct msg m)
{
    struct result r = engine_receive(b->engine, peer, &m, b->now);
    if (!is_ok(r))
        fail_msg("%s: %s", msg_name(m.kind), r.why);
}

static inline void turn(struct bench *b, int64_t later_ms)
{
    b->now.ms += later_ms;
    engine_turn(b->engine, b->now);
}

static inline struct message_id take_id(struct bench *b)
{
    say(b, b->inbound, (struct msg){.kind = MSG_ids_want, .ids_want = {.count = 1}});
    const struct msg *grant = heard_last(b, MSG_ids_grant);
    assert_int_equal(grant->ids_grant.count, 1);
    return (struct message_id){grant->ids_grant.first};
}

static inline void tx_say(
    struct bench *b, struct message_id id, const char *from, const char *const *to, struct bytes body)
{
    say(b, b->inbound, (struct msg){.kind = MSG_tx_begin, .tx_begin = {.id = id}});
    for (uint32_t n = 0; to[n] != NULL; n++)
        say(b, b->inbound,
            (struct msg){
                .kind = MSG_tx_rcpt, .tx_rcpt = {.id = id, .rcpt = {.n = n, .forward_path = bytes_of(to[n])}}});
    for (struct bytes rest = body; rest.size > 0; rest = bytes_after(rest, BODY_FRAME_SIZE_MAX))
        say(b, b->inbound,
            (struct msg){.kind = MSG_tx_body, .tx_body = {.id = id, .body = bytes_head(rest, BODY_FRAME_SIZE_MAX)}});
    say(b, b->inbound,
        (struct msg){.kind = MSG_tx_commit,
            .tx_commit = {.id = id,
                .head = {.id = id, .arrival = b->now, .reverse_path = bytes_of(from), .body_size = body.size}}});
}

static const char small_body[] = "Subject: hello\r\n\r\nworld\r\n";

static inline struct message_id accept_one(struct bench *b, const char *from, const char *to)
{
    const char *const list[] = {to, NULL};
    struct message_id id = take_id(b);

    tx_say(b, id, from, list, bytes_of(small_body));
    return id;
}

static inline void job_answer(
    struct bench *b, struct job_id job, uint32_t n, enum job_outcome outcome, const char *reply)
{
    say(b, b->worker,
        (struct msg){.kind = MSG_job_result,
            .job_result = {.job = job,
                .n = n,
                .outcome = outcome,
                .status = BYTES("5.1.1"),
                .reply = bytes_of(reply),
                .host = BYTES("mx.example.org"),
                .address = BYTES("192.0.2.1")}});
}

static inline void job_end(struct bench *b, struct job_id job, enum lane_verdict verdict)
{
    say(b, b->worker, (struct msg){.kind = MSG_job_end, .job_end = {.job = job, .verdict = verdict}});
}

static inline uint64_t message_count(struct bench *b)
{
    struct store_stats stats;
    store_stats_get(b->store, &stats);
    return stats.messages;
}

static inline struct job_id job_of_turn(struct bench *b)
{
    const struct msg *run = heard_last(b, MSG_job_run);
    assert_non_null(run);
    return run->job_run.job;
}

static inline struct walltime next_try_of(struct bench *b, struct message_id id, uint32_t n)
{
    struct recipient rcpt;

    assert_true(is_ok(store_read_begin(b->store)));
    assert_true(is_ok(store_recipient_get(b->store, id, n, &rcpt)));
    struct walltime next = rcpt.next_try;
    store_read_end(b->store);
    return next;
}

/* An order to every recipient that the message may have; until: ms from now, 0: at once. */
static inline uint32_t order_to(
    struct bench *b, struct message_id id, enum order_kind kind, int64_t until, const char *lane)
{
    struct order order = {.kind = kind, .lane = bytes_of(lane)};
    struct order_target targets[10];
    uint32_t count = 0;

    if (until > 0)
        order.until = walltime_after(b->now, until);
    for (uint32_t n = 0; n < COUNT_OF(targets); n++)
        targets[n] = (struct order_target){id, n};
    assert_true(is_ok(engine_order(b->engine, &order, targets, COUNT_OF(targets), b->now, &count)));
    return count;
}

static inline void queue_is_sound(struct bench *b)
{
    struct store_fsck found;

    assert_true(is_ok(store_fsck(b->store, &found, NULL, NULL)));
    assert_true(store_fsck_clean(&found));
}

#define ENGINE_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
