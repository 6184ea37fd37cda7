/* delivery, link: jobs from a queued that the test plays over a real channel, carried to a scripted server on loopback; all in
 * one loop, turn by turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/edge/listener.h"
#include "daemon/outbound/parts.h"

enum { TURNS_MAX = 4000, TEXT_MAX = 1024 * 1024 };

static struct loop *loop;
static struct loop_timer heartbeat;
static struct config *cfg;
static struct outbound ob;
static uint16_t port;
static char lane[64];

static void on_heartbeat(void *ctx)
{
    (void)ctx;
    loop_timer_set(loop, &heartbeat, instant_after(loop_now(loop), 5));
}

#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        int turns_ = 0;                                                                                                \
        while (!(condition) && turns_++ < TURNS_MAX)                                                                   \
            loop_turn(loop, true);                                                                                     \
        assert_true(condition);                                                                                        \
    } while (0)

/* --- the receiving server --- */

static struct {
    struct listener *listener;
    unsigned connections, open, messages;
    bool in_data, hang_at_dot;
    unsigned rcpts, rcpts_max; /* of this transaction; 0: no limit */
    struct conn *last;
    char line[1024];
    size_t line_size;
    char *text; /* of the last message, as it came */
    size_t text_size;
} server;

static void server_line(struct conn *c, const char *line)
{
    if (server.in_data) {
        if (strcmp(line, ".") == 0) {
            server.in_data = false;
            if (server.hang_at_dot)
                return;
            server.messages++;
            conn_write(c, BYTES("250 2.0.0 taken\r\n"));
            return;
        }
        assert_true(server.text_size + strlen(line) + 2 < TEXT_MAX);
        server.text_size +=
            (size_t)snprintf(server.text + server.text_size, TEXT_MAX - server.text_size, "%s\r\n", line);
        return;
    }
    if (strncmp(line, "EHLO", 4) == 0)
        conn_write(c, BYTES("250-server\r\n250 PIPELINING\r\n"));
    else if (strncmp(line, "RCPT TO:<bad", 12) == 0)
        conn_write(c, BYTES("550 5.1.1 no such user\r\n"));
    else if (strncmp(line, "RCPT TO:<later", 14) == 0)
        conn_write(c, BYTES("451 4.2.1 later\r\n"));
    else if (strncmp(line, "RCPT", 4) == 0 && server.rcpts_max > 0 && server.rcpts++ >= server.rcpts_max)
        conn_write(c, BYTES("452 4.5.3 too many\r\n"));
    else if (strcmp(line, "DATA") == 0) {
        server.in_data = true;
        server.text_size = 0;
        server.rcpts = 0;
        conn_write(c, BYTES("354 go\r\n"));
    } else if (strcmp(line, "QUIT") == 0) {
        conn_write(c, BYTES("221 bye\r\n"));
        conn_close_after_flush(c);
    } else {
        conn_write(c, BYTES("250 2.1.0 ok\r\n"));
    }
}

static size_t server_input(void *owner, struct conn *c, struct bytes in)
{
    (void)owner;
    for (size_t i = 0; i < in.size; i++) {
        if (in.data[i] == '\n' && server.line_size > 0 && server.line[server.line_size - 1] == '\r') {
            server.line[server.line_size - 1] = 0;
            server.line_size = 0;
            server_line(c, server.line);
            continue;
        }
        assert_true(server.line_size < sizeof server.line);
        server.line[server.line_size++] = (char)in.data[i];
    }
    return in.size;
}
static void server_lost(void *owner, struct conn *c, struct result why)
{
    (void)owner;
    (void)c;
    (void)why;
}
static void server_end(void *owner, struct conn *c)
{
    (void)owner;
    conn_close(c);
}
static void server_closed(void *owner, struct conn *c)
{
    (void)owner;
    server.open--;
    if (server.last == c)
        server.last = NULL;
}
static const struct conn_handler SERVER_HANDLER = {
    .input = server_input, .input_end = server_end, .lost = server_lost, .closed = server_closed};

static void server_accept(void *owner, struct listener *l, int fd)
{
    (void)owner;
    (void)l;
    assert_true(is_ok(conn_adopt(ob.room, fd, &SERVER_HANDLER, NULL, &server.last)));
    server.connections++;
    server.open++;
    server.in_data = false;
    server.line_size = 0;
    conn_write(server.last, BYTES("220 server\r\n"));
}

static void server_start(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    port = ntohs(at.sin_port);
    snprintf(lane, sizeof lane, "relay:[127.0.0.1]:%u", port);
    assert_true(is_ok(listener_new(loop, fd, server_accept, NULL, &server.listener)));
}

/* --- the giving queued --- */

static struct {
    struct channel *channel;
    unsigned results, ends, wants;
    enum job_outcome outcomes[JOB_RCPT_COUNT_MAX];
    char replies[JOB_RCPT_COUNT_MAX][128];
    enum lane_verdict verdict;
    bool uncertain;
    const char *body;
    size_t body_size;
} queued;

static void send_body(struct job_id job, uint64_t offset, size_t size)
{
    size_t left = queued.body_size - (size_t)offset;
    struct msg m = {.kind = MSG_job_body,
        .job_body = {
            .job = job, .offset = offset, .body = {(const uint8_t *)queued.body + offset, left < size ? left : size}}};

    channel_send(queued.channel, &m);
}

static void queued_message(void *ctx, const struct msg *m)
{
    (void)ctx;
    switch (m->kind) {
    case MSG_job_want:
        queued.wants++;
        send_body(m->job_want.job, m->job_want.offset, m->job_want.size);
        break;
    case MSG_job_result:
        queued.results++;
        queued.outcomes[m->job_result.n] = m->job_result.outcome;
        snprintf(queued.replies[m->job_result.n], 128, "%.*s", BYTES_ARG(bytes_head(m->job_result.reply, 120)));
        break;
    case MSG_job_end:
        queued.ends++;
        queued.verdict = m->job_end.verdict;
        queued.uncertain = m->job_end.uncertain;
        break;
    default:
        fail();
    }
}
static void queued_closed(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}
static const struct channel_handlers QUEUED_HANDLERS = {.on_message = queued_message, .on_closed = queued_closed};

static void worker_message(void *ctx, const struct msg *m)
{
    struct outbound *o = ctx;

    switch (m->kind) {
    case MSG_job_begin:
        delivery_begin(o, &m->job_begin);
        break;
    case MSG_job_rcpt:
        delivery_rcpt(o, &m->job_rcpt);
        break;
    case MSG_job_body:
        delivery_body(o, &m->job_body);
        break;
    case MSG_job_run:
        delivery_run(o, m->job_run.job);
        break;
    default:
        delivery_cancel(o, m->job_cancel.job);
        break;
    }
}
static void worker_closed(void *ctx, enum channel_end why)
{
    struct outbound *o = ctx;

    (void)why;
    channel_free(&o->queued);
    deliveries_drop(o);
}
static const struct channel_handlers WORKER_HANDLERS = {.on_message = worker_message, .on_closed = worker_closed};

/* Gives a job of a message to the given recipients (a NULL ends them), numbered from first_n on. */
static void give_of(
    uint64_t job_number, uint64_t message, const char *to_lane, uint32_t first_n, const char *const *rcpts)
{
    struct job_id job = {job_number};
    struct msg m = {.kind = MSG_job_begin};

    m.job_begin.job = job;
    m.job_begin.lane = bytes_of(to_lane);
    m.job_begin.head =
        (struct envelope_head){.id = {message}, .reverse_path = BYTES("a@b.example"), .body_size = queued.body_size};
    channel_send(queued.channel, &m);
    for (uint32_t n = 0; rcpts[n] != NULL; n++) {
        m = (struct msg){.kind = MSG_job_rcpt};
        m.job_rcpt.job = job;
        m.job_rcpt.rcpt =
            (struct recipient){.n = first_n + n, .forward_path = bytes_of(rcpts[n]), .lane = bytes_of(to_lane)};
        channel_send(queued.channel, &m);
    }
    send_body(job, 0, BODY_FRAME_SIZE_MAX);
    channel_send(queued.channel, &(struct msg){.kind = MSG_job_run, .job_run = {.job = job}});
}

static void give(uint64_t id, const char *const *rcpts, const char *body, size_t body_size)
{
    queued.results = 0;
    queued.body = body;
    queued.body_size = body_size;
    give_of(id, id, lane, 0, rcpts);
}

/* Gives `count` jobs of one message to one recipient each, whose lanes differ and lead to the server all the same. */
static void give_lanes(uint64_t first_job, uint64_t message, unsigned count, const char *rcpt)
{
    const char *const rcpts[] = {rcpt, NULL};
    char name[96];

    queued.results = 0;
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s,[192.0.2.%u]", lane, i);
        give_of(first_job + i, message, name, i, rcpts);
    }
}

static const char *const ONE[] = {"x@c.example", NULL};
static const char SMALL[] = "Subject: one\r\n\r\n.dot\r\n";

/* --- set-up --- */

static int setup(void **state)
{
    static const char CONFIG[] = "hostname = \"mail.test.example\"\n"
                                 "limits { jobs_per_connection = 3 }\n";
    static struct dns_endpoint none[1];
    struct config_error error;
    int fd[2];

    (void)state;
    memset(&ob, 0, sizeof ob);
    memset(&queued, 0, sizeof queued);
    memset(&server, 0, sizeof server);
    server.text = mem_take(TEXT_MAX);
    loop = loop_new();
    heartbeat = (struct loop_timer){.fn = on_heartbeat};
    on_heartbeat(NULL);
    if (!is_ok(config_read_text("test", bytes_of(CONFIG), &cfg, &error)) || !is_ok(channel_pair(fd)))
        return -1;
    ob.loop = loop;
    ob.cfg = cfg;
    ob.self = (struct mx_self){.names = &cfg->hostname, .name_count = 1, .endpoints = none};
    ob.courier =
        (struct courier_config){.self = &ob.self, .ipv4 = true, .ipv6 = true, .dial_ms = 5000, .overlap_ms = 2000};
    ob.rng.state = 1;
    if (!is_ok(conn_room_new(loop, &ob.room)) || !is_ok(tls_context_client(&ob.tls)))
        return -1;
    queued.channel = channel_new(loop, fd[0], ROLE_QUEUED, ROLE_OUTBOUND, &QUEUED_HANDLERS, NULL);
    ob.queued = channel_new(loop, fd[1], ROLE_OUTBOUND, ROLE_QUEUED, &WORKER_HANDLERS, &ob);
    server_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    listener_free(&server.listener);
    channel_free(&ob.queued);
    deliveries_drop(&ob);
    deliveries_free_spare(&ob);
    while (ob.pool != NULL)
        link_close(ob.pool);
    conn_room_close_all(ob.room);
    for (int i = 0; i < TURNS_MAX && conn_room_count(ob.room) > 0; i++)
        loop_turn(loop, true);
    conn_room_free(&ob.room);
    tls_context_free(&ob.tls);
    channel_free(&queued.channel);
    config_free(&cfg);
    mem_free(server.text);
    loop_timer_stop(loop, &heartbeat);
    loop_free(&loop);
    return 0;
}

/* --- cases --- */

static void keeps_a_connection_for_the_next_jobs(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 4; i++) {
        give(i, ONE, SMALL, sizeof SMALL - 1);
        TURN_UNTIL(queued.ends == i);
        assert_int_equal(queued.results, 1);
        assert_int_equal(queued.outcomes[0], JOB_DELIVERED);
        assert_int_equal(queued.verdict, LANE_OK);
        assert_int_equal(server.connections, i <= 3 ? 1 : 2); /* jobs_per_connection */
    }
    assert_int_equal(server.messages, 4);
    assert_string_equal(server.text, "Subject: one\r\n\r\n..dot\r\n");
    assert_int_equal(ob.delivery_count, 0);
    assert_int_equal(ob.pool_count, 1);
    assert_string_equal(queued.replies[0], "250 2.0.0 taken");
}

static void says_each_recipients_fate(void **state)
{
    static const char *const RCPTS[] = {
        "x@c.example", "bad@c.example", "later@c.example", "y@c.example", "z@c.example", "q@c.example", NULL};

    (void)state;
    give(1, RCPTS, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(queued.ends == 1);
    assert_int_equal(queued.results, 6);
    assert_int_equal(queued.outcomes[0], JOB_DELIVERED);
    assert_int_equal(queued.outcomes[1], JOB_FAILED);
    assert_int_equal(queued.outcomes[2], JOB_DEFERRED);
    assert_int_equal(queued.outcomes[5], JOB_DELIVERED);
    assert_string_equal(queued.replies[1], "550 5.1.1 no such user");
}

static void fetches_a_large_body(void **state)
{
    size_t size = 700 * 1000;
    char *body = mem_take(size);

    (void)state;
    for (size_t i = 0; i < size; i++)
        body[i] = i % 100 == 98 ? '\r' : i % 100 == 99 ? '\n' : (char)('a' + (i / 100 + i) % 26);
    give(1, ONE, body, size);
    TURN_UNTIL(queued.ends == 1);
    assert_int_equal(queued.outcomes[0], JOB_DELIVERED);
    assert_true(queued.wants >= 10);
    assert_int_equal(server.text_size, size);
    assert_memory_equal(server.text, body, size);
    mem_free(body);
}

static void a_dead_kept_connection_is_dialed_anew(void **state)
{
    (void)state;
    give(1, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(queued.ends == 1);
    conn_close(server.last);
    give(2, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(queued.ends == 2);
    assert_int_equal(queued.outcomes[0], JOB_DELIVERED);
    assert_int_equal(server.connections, 2);
}

static void nobody_listens(void **state)
{
    (void)state;
    listener_free(&server.listener);
    loop_turn(loop, false);
    give(1, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(queued.ends == 1);
    assert_int_equal(queued.outcomes[0], JOB_DEFERRED);
    assert_int_equal(queued.verdict, LANE_CONNECT_FAILED);
    assert_non_null(strstr(queued.replies[0], "refused"));
}

static void a_lost_final_reply_is_uncertain(void **state)
{
    (void)state;
    server.hang_at_dot = true;
    give(1, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(server.text_size > 0 && !server.in_data && server.last != NULL);
    conn_close(server.last);
    TURN_UNTIL(queued.ends == 1);
    assert_int_equal(queued.outcomes[0], JOB_DEFERRED);
    assert_true(queued.uncertain);
}

static void without_queued_nothing_goes_on(void **state)
{
    (void)state;
    server.hang_at_dot = true;
    give(1, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(server.text_size > 0);
    channel_free(&queued.channel);
    TURN_UNTIL(ob.delivery_count == 0 && server.open == 0);
    assert_null(ob.queued);
    assert_int_equal(ob.pool_count, 0);
}

static void a_cancelled_job_ends(void **state)
{
    (void)state;
    server.hang_at_dot = true;
    give(1, ONE, SMALL, sizeof SMALL - 1);
    TURN_UNTIL(server.text_size > 0);
    channel_send(queued.channel, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = {1}}});
    TURN_UNTIL(queued.ends == 1);
    assert_int_equal(queued.results, 0);
    assert_int_equal(ob.delivery_count, 0);
    TURN_UNTIL(server.open == 0);
}

/* --- several jobs, one transaction --- */

static void jobs_of_one_message_share_a_transaction(void **state)
{
    static const char *const THREE[] = {"bad@c.example", "ok@c.example", "later@c.example", NULL};

    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    give_lanes(1, 7, 5, "x@c.example");
    give_of(6, 7, lane, 5, THREE);
    TURN_UNTIL(queued.ends == 6);
    assert_int_equal(queued.results, 8);
    for (unsigned n = 0; n < 8; n++)
        assert_int_equal(queued.outcomes[n], n == 5 ? JOB_FAILED : n == 7 ? JOB_DEFERRED : JOB_DELIVERED);
    assert_string_equal(queued.replies[5], "550 5.1.1 no such user");
    assert_int_equal(server.connections, 1);
    assert_int_equal(server.messages, 1);
    assert_int_equal(ob.delivery_count, 0);
    assert_int_equal(ob.pool_count, 1);

    give_lanes(11, 8, 5, "x@c.example"); /* over the kept connection */
    TURN_UNTIL(queued.ends == 11);
    assert_int_equal(queued.results, 5);
    assert_int_equal(server.connections, 1);
    assert_int_equal(server.messages, 2);
}

static void jobs_of_two_messages_do_not(void **state)
{
    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    give_lanes(1, 7, 1, "x@c.example");
    give_of(2, 8, lane, 1, ONE);
    TURN_UNTIL(server.connections == 2);
}

static void a_transaction_has_a_hundred_recipients_at_most(void **state)
{
    const char *many[61];

    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    for (unsigned i = 0; i < 60; i++)
        many[i] = "x@c.example";
    many[60] = NULL;
    give_of(1, 7, lane, 0, many);
    give_lanes(2, 7, 40, "y@c.example");
    TURN_UNTIL(queued.ends == 41);
    assert_int_equal(server.messages, 1);
    queued.ends = 0;
    give_of(101, 9, lane, 0, many);
    give_lanes(102, 9, 41, "y@c.example");
    TURN_UNTIL(queued.ends == 42);
    assert_int_equal(queued.results, 101);
    assert_int_equal(server.messages, 3);
}

static void those_put_off_follow_at_once(void **state)
{
    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    server.rcpts_max = 2;
    give_lanes(1, 7, 5, "x@c.example");
    TURN_UNTIL(queued.ends == 5);
    assert_int_equal(queued.results, 5);
    for (unsigned n = 0; n < 5; n++)
        assert_int_equal(queued.outcomes[n], JOB_DELIVERED);
    assert_int_equal(server.messages, 3);
    assert_int_equal(server.connections, 1);
}

static void a_shared_dial_fails_for_all(void **state)
{
    (void)state;
    listener_free(&server.listener);
    loop_turn(loop, false);
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    for (unsigned i = 0; i < 3; i++) { /* one hop each, under three names of one kind of lane */
        char name[96];
        snprintf(name, sizeof name, "%s%s", lane, i == 0 ? "" : i == 1 ? "," : ", ");
        give_of(i + 1, 7, name, i, ONE);
    }
    TURN_UNTIL(queued.ends == 3);
    assert_int_equal(queued.results, 3);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(queued.outcomes[n], JOB_DEFERRED);
    assert_int_equal(queued.verdict, LANE_CONNECT_FAILED);
    assert_int_equal(ob.delivery_count, 0);
}

static void a_lost_final_reply_is_uncertain_for_all(void **state)
{
    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    server.hang_at_dot = true;
    give_lanes(1, 7, 3, "x@c.example");
    TURN_UNTIL(server.text_size > 0 && !server.in_data && server.last != NULL);
    conn_close(server.last);
    TURN_UNTIL(queued.ends == 3);
    assert_int_equal(queued.results, 3);
    assert_true(queued.uncertain);
    assert_int_equal(server.connections, 1); /* nobody tries another host now */
}

static void one_of_them_is_cancelled(void **state)
{
    (void)state;
    queued.body = SMALL;
    queued.body_size = sizeof SMALL - 1;
    server.hang_at_dot = true;
    give_lanes(1, 7, 3, "x@c.example");
    TURN_UNTIL(server.text_size > 0 && !server.in_data);
    channel_send(queued.channel, &(struct msg){.kind = MSG_job_cancel, .job_cancel = {.job = {2}}});
    TURN_UNTIL(queued.ends == 3);
    assert_int_equal(queued.results, 2);
    assert_int_equal(queued.outcomes[0], JOB_DEFERRED);
    assert_int_equal(queued.outcomes[2], JOB_DEFERRED);
    assert_int_equal(ob.delivery_count, 0);
    TURN_UNTIL(server.open == 0);
}

static void a_large_body_for_several(void **state)
{
    size_t size = 700 * 1000;
    char *body = mem_take(size);

    (void)state;
    for (size_t i = 0; i < size; i++)
        body[i] = i % 100 == 98 ? '\r' : i % 100 == 99 ? '\n' : (char)('a' + (i / 100 + i) % 26);
    queued.body = body;
    queued.body_size = size;
    give_lanes(1, 7, 4, "x@c.example");
    TURN_UNTIL(queued.ends == 4);
    assert_int_equal(server.messages, 1);
    assert_int_equal(server.text_size, size);
    assert_memory_equal(server.text, body, size);
    assert_true(queued.wants < 20); /* fetched once */
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_a_connection_for_the_next_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(says_each_recipients_fate, setup, teardown),
        cmocka_unit_test_setup_teardown(fetches_a_large_body, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_kept_connection_is_dialed_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_final_reply_is_uncertain, setup, teardown),
        cmocka_unit_test_setup_teardown(without_queued_nothing_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_job_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_of_one_message_share_a_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_of_two_messages_do_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_has_a_hundred_recipients_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(those_put_off_follow_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shared_dial_fails_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_final_reply_is_uncertain_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_them_is_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_body_for_several, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
